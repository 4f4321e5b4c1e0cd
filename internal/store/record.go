package store

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// State is where a delivery stands according to the record.
type State string

// The states a delivery is in before its first result; afterwards its state is the mail.Result last recorded.
const (
	StateQueued State = "queued"
	StateHeld   State = "held"
)

// Final reports whether the delivery is over.
func (s State) Final() bool { return s != StateQueued && s != StateHeld && mail.Result(s).Final() }

// Delivery is the summary of one delivery: what a list shows, and what can be searched. Facts of the message are
// empty where its accepted event is not in the record.
type Delivery struct {
	ID         mail.DeliveryID `json:"id"`
	Message    mail.MessageID  `json:"message"`
	Account    string          `json:"account"`
	Stream     mail.Stream     `json:"stream,omitempty"`
	Recipient  string          `json:"recipient"`
	Domain     string          `json:"domain"`
	Sender     string          `json:"sender,omitempty"`      // envelope sender
	HeaderFrom string          `json:"header_from,omitempty"` // first address of the From field
	Subject    string          `json:"subject,omitempty"`
	Tags       []string        `json:"tags,omitempty"`

	State    State      `json:"state"`
	Class    mail.Class `json:"class,omitempty"`
	Scope    mail.Scope `json:"scope,omitempty"`
	Attempts int        `json:"attempts"`
	Code     int        `json:"code,omitempty"`
	Enhanced string     `json:"enhanced,omitempty"`
	Reply    string     `json:"reply,omitempty"`  // of the last attempt, at most mail.MaxLastReply octets
	Reason   string     `json:"reason,omitempty"` // held, suppressed, cancelled, expired: why
	Route    string     `json:"route,omitempty"`
	Source   string     `json:"source,omitempty"`
	Host     string     `json:"mx,omitempty"`

	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at"`    // when State was last set
	Next    time.Time `json:"next,omitzero"` // deferred: when it will be tried next
	Marks
}

// Marks are facts about a delivery that do not change its state.
type Marks struct {
	Late         bool `json:"late,omitempty"`         // bounced after it was delivered
	Uncertain    bool `json:"uncertain,omitempty"`    // some attempt ended between the final dot and the reply
	Complained   bool `json:"complained,omitempty"`   // the recipient called it spam
	Unsubscribed bool `json:"unsubscribed,omitempty"` // the recipient wants no more of it
	Opened       bool `json:"opened,omitempty"`
	Clicked      bool `json:"clicked,omitempty"`
	AutoReplied  bool `json:"auto_replied,omitempty"`
}

// EventQuery selects events after a cursor. Filters that are empty match everything.
type EventQuery struct {
	After   Cursor // nil: from the oldest event kept
	Account string
	Stream  mail.Stream
	Types   []mail.EventType
	Max     int // 0: DefaultPage
}

// EventPage is one page of events, in commit order within each spool.
type EventPage struct {
	Events []*mail.Event
	// Next is the cursor behind the last event looked at, also when none matched.
	Next Cursor
	// More reports that there are events behind Next by now.
	More bool
}

// SearchQuery selects deliveries. Filters that are empty match everything. With Recipient or RFC822ID an index
// answers; every other search goes through the summaries of the account (of everyone, without Account) newest first.
type SearchQuery struct {
	Account   string
	Stream    mail.Stream
	Recipient string // full address, any case
	RFC822ID  string // Message-ID without angle brackets
	Message   mail.MessageID
	Domain    string // of the recipient, A-labels
	Sender    string // envelope or header sender: an address, or a domain
	Subject   string // part of it, any case
	Tag       string
	State     State
	Class     mail.Class
	Route     string
	Source    string
	// Hosts are MX hosts of the last attempt, any case: one of them, or with a leading dot any host below the name.
	Hosts    []string
	From, To time.Time // of the creation; zero: unbounded; To is exclusive
	Cursor   string    // SearchPage.Next of the page before
	Max      int       // 0: DefaultPage
}

// SearchPage is one page of a search.
type SearchPage struct {
	Deliveries []*Delivery
	// Next continues the search; "" when everything has been searched. A page may be short, or empty, and still have
	// a Next: then MaxScan was over.
	Next string
	// SearchedTo is the creation time down to which everything has been looked at; zero at the end.
	SearchedTo time.Time
}

// Question names a family of rollups. There is one table per question, never their cross product.
type Question string

// The questions, with the dimensions each can be asked by.
const (
	// PerAccount: account, stream, type, class.
	PerAccount Question = "account"
	// PerSite: receiver, site, type, class. Sites beyond MaxSites in an hour are counted as OtherSites.
	PerSite Question = "site"
	// PerRoute: route, source, type, class.
	PerRoute Question = "route"
	// PerSender: account, sender, type, class. Beyond MaxSenders of an account in an hour they are OtherSenders.
	PerSender Question = "sender"

	// The next ones tell what became of the mail accepted in the time asked for, as of now: see Question.Cohort.

	// PerOutcome: account, stream, outcome, class.
	PerOutcome Question = "outcome"
	// PerSenderOutcome: account, sender, outcome, class; whole days. Beyond MaxSenders a day they are OtherSenders.
	PerSenderOutcome Question = "sender_outcome"
	// PerDomainOutcome: account, domain, outcome, class; whole days, and only what is over. Recipient domains beyond
	// MaxDomains of an account in a day are OtherDomains.
	PerDomainOutcome Question = "domain_outcome"
	// PerMark: account, stream, mark; whole days.
	PerMark Question = "mark"
	// PerSpeed: account, stream, within (see Speeds); whole days. The delay is the sum of the times.
	PerSpeed Question = "speed"
)

// Cohort reports whether the question counts deliveries by when they were accepted, rather than events by when they
// happened.
func (q Question) Cohort() bool {
	switch q {
	case PerOutcome, PerSenderOutcome, PerDomainOutcome, PerMark, PerSpeed:
		return true
	}
	return false
}

// Dimension is what a question can be asked by.
type Dimension string

// The dimensions.
const (
	ByAccount  Dimension = "account"
	ByStream   Dimension = "stream"
	ByType     Dimension = "type"
	ByClass    Dimension = "class"
	ByReceiver Dimension = "receiver"
	BySite     Dimension = "site"
	ByRoute    Dimension = "route"
	BySource   Dimension = "source"
	BySender   Dimension = "sender" // domain of the author, else of the envelope sender
	ByDomain   Dimension = "domain" // of the recipient
	ByOutcome  Dimension = "outcome"
	ByMark     Dimension = "mark"
	BySpeed    Dimension = "within"
)

// Dimensions returns what the question can be asked by; nil for an unknown question.
func (q Question) Dimensions() []Dimension {
	switch q {
	case PerAccount:
		return []Dimension{ByAccount, ByStream, ByType, ByClass}
	case PerSite:
		return []Dimension{ByReceiver, BySite, ByType, ByClass}
	case PerRoute:
		return []Dimension{ByRoute, BySource, ByType, ByClass}
	case PerSender:
		return []Dimension{ByAccount, BySender, ByType, ByClass}
	case PerOutcome:
		return []Dimension{ByAccount, ByStream, ByOutcome, ByClass}
	case PerSenderOutcome:
		return []Dimension{ByAccount, BySender, ByOutcome, ByClass}
	case PerDomainOutcome:
		return []Dimension{ByAccount, ByDomain, ByOutcome, ByClass}
	case PerMark:
		return []Dimension{ByAccount, ByStream, ByMark}
	case PerSpeed:
		return []Dimension{ByAccount, ByStream, BySpeed}
	}
	return nil
}

// Sites kept apart in the rollups of an hour, and what the rest is counted as.
const (
	MaxSites   = 1000
	OtherSites = "other"
)

// Step is the width of one row of statistics.
type Step string

// The steps.
const (
	StepTotal Step = ""     // one row for the whole time
	StepHour  Step = "hour" // UTC
	StepDay   Step = "day"  // UTC
)

// StatsQuery asks how many events, or deliveries, there were. Times are widened to whole hours, for questions that count
// whole days to whole days.
type StatsQuery struct {
	Of       Question
	From, To time.Time // of the event, of a Cohort question of the acceptance; To is exclusive
	Step     Step
	By       []Dimension          // kept apart; the others are summed
	Where    map[Dimension]string // only rows with these values
}

// StatsRow is one sum. Dimensions not asked for are empty.
type StatsRow struct {
	Time     time.Time      `json:"time,omitzero"` // begin of the step
	Account  string         `json:"account,omitempty"`
	Stream   mail.Stream    `json:"stream,omitempty"`
	Type     mail.EventType `json:"type,omitempty"`
	Class    mail.Class     `json:"class,omitempty"`
	Receiver string         `json:"receiver,omitempty"`
	Site     string         `json:"site,omitempty"`
	Route    string         `json:"route,omitempty"`
	Source   string         `json:"source,omitempty"`
	Sender   string         `json:"sender,omitempty"`
	Domain   string         `json:"domain,omitempty"`
	Outcome  Outcome        `json:"outcome,omitempty"`
	Mark     Mark           `json:"mark,omitempty"`
	Within   string         `json:"within,omitempty"`
	Count    int64          `json:"count"`
	// Delay is the sum of the times from acceptance to the event, of delivered and relayed events.
	Delay time.Duration `json:"delay_ns,omitempty"`
}

// AcceptedQuery asks when an address last took mail.
type AcceptedQuery struct {
	Recipient string // full address, any case
	// Since is how far back is looked.
	Since time.Time
	// Delivered and Relayed are up to when an acceptance counts, by the recipient's own MX and by a relay: what a report
	// may still contradict does not prove as much. Both are exclusive.
	Delivered, Relayed time.Time
}
