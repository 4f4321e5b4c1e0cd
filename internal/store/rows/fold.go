package rows

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// Rank orders states by what may replace what: a state replaces one of the same or a lower rank. With it the summary
// is right even when two spools' events of one delivery are recorded out of order.
type Rank int

// The ranks.
const (
	RankNone    Rank = iota - 1 // events that bring no state
	RankQueued                  // accepted
	RankWaiting                 // held, deferred
	RankRelayed                 // a later report may say more
	RankOver
	RankLate // a bounce after delivery
)

// Bits of Summary.Marks.
const (
	MarkLate = 1 << iota
	MarkUncertain
	MarkComplained
	MarkUnsubscribed
	MarkOpened
	MarkClicked
	MarkAutoReplied
	markDeferred // some attempt was put off
)

// Summary is what a batch of events says about one delivery.
type Summary struct {
	store.Delivery
	Known bool // the message's facts are here: the accepted event was in the batch
	Rank  Rank
	Bits  int64

	taken bool          // the batch has the event of its taking …
	took  time.Duration // … which was so long after its acceptance
}

// Batch is a folded batch of events.
type Batch struct {
	Summaries []*Summary      // in order of first mention
	Messages  []*mail.Message // of accepted events, each once
	Accounts  []AccountRollup
	Sites     []SiteRollup
	Routes    []RouteRollup
	Counts
}

// Hour is the number of hours since 1970 UTC.
type Hour int64

// HourOf returns the hour t is in.
func HourOf(t time.Time) Hour {
	s := t.Unix()
	if s < 0 {
		s -= 3599
	}
	return Hour(s / 3600)
}

// Time returns the begin of the hour.
func (h Hour) Time() time.Time { return time.Unix(int64(h)*3600, 0).UTC() }

// Sum is what a rollup row adds up.
type Sum struct {
	N     int64
	Delay time.Duration // from acceptance to the event, of delivered and relayed events
}

// AccountRollup is a row of the question store.PerAccount.
type AccountRollup struct {
	AccountKey
	Sum
}

// AccountKey is the key of an AccountRollup.
type AccountKey struct {
	Hour    Hour
	Account string
	Stream  mail.Stream
	Type    mail.EventType
	Class   mail.Class
}

// SiteRollup is a row of the question store.PerSite.
type SiteRollup struct {
	SiteKey
	Sum
}

// SiteKey is the key of a SiteRollup.
type SiteKey struct {
	Hour           Hour
	Receiver, Site string
	Type           mail.EventType
	Class          mail.Class
}

// RouteRollup is a row of the question store.PerRoute.
type RouteRollup struct {
	RouteKey
	Sum
}

// RouteKey is the key of a RouteRollup.
type RouteKey struct {
	Hour          Hour
	Route, Source string
	Type          mail.EventType
	Class         mail.Class
}

// Fold reduces events, in sequence order, to rows; before is what the record says of their deliveries so far. The result
// is in a fixed order for a given input.
func Fold(events []*mail.Event, before map[mail.DeliveryID]Before) *Batch {
	f := folder{
		before:   before,
		senders:  counter{},
		byID:     make(map[mail.DeliveryID]*Summary, len(events)/2+1),
		messages: map[mail.MessageID]bool{},
		accounts: map[AccountKey]Sum{},
		sites:    map[SiteKey]Sum{},
		routes:   map[RouteKey]Sum{},
	}
	for _, e := range events {
		f.add(e)
	}
	b := &f.batch
	for k, v := range f.accounts {
		b.Accounts = append(b.Accounts, AccountRollup{k, v})
	}
	for k, v := range f.sites {
		b.Sites = append(b.Sites, SiteRollup{k, v})
	}
	for k, v := range f.routes {
		b.Routes = append(b.Routes, RouteRollup{k, v})
	}
	slices.SortFunc(b.Accounts, func(x, y AccountRollup) int {
		return cmp.Or(cmp.Compare(x.Hour, y.Hour), cmp.Compare(x.Account, y.Account), cmp.Compare(x.Stream, y.Stream),
			cmp.Compare(x.Type, y.Type), cmp.Compare(x.Class, y.Class))
	})
	slices.SortFunc(b.Sites, func(x, y SiteRollup) int {
		return cmp.Or(cmp.Compare(x.Hour, y.Hour), cmp.Compare(x.Receiver, y.Receiver), cmp.Compare(x.Site, y.Site),
			cmp.Compare(x.Type, y.Type), cmp.Compare(x.Class, y.Class))
	})
	slices.SortFunc(b.Routes, func(x, y RouteRollup) int {
		return cmp.Or(cmp.Compare(x.Hour, y.Hour), cmp.Compare(x.Route, y.Route), cmp.Compare(x.Source, y.Source),
			cmp.Compare(x.Type, y.Type), cmp.Compare(x.Class, y.Class))
	})
	b.Counts = f.outcomes()
	return b
}

type folder struct {
	before   map[mail.DeliveryID]Before
	senders  counter
	batch    Batch
	byID     map[mail.DeliveryID]*Summary
	messages map[mail.MessageID]bool
	accounts map[AccountKey]Sum
	sites    map[SiteKey]Sum
	routes   map[RouteKey]Sum
}

func (f *folder) add(e *mail.Event) {
	if e.Envelope != nil && !f.messages[e.Message] {
		f.messages[e.Message] = true
		f.batch.Messages = append(f.batch.Messages, e.Envelope)
	}
	f.count(e)
	if e.Delivery.IsZero() || e.Type == mail.EventRejected {
		return // no delivery came to be
	}
	s := f.byID[e.Delivery]
	if s == nil {
		s = &Summary{Rank: RankNone}
		s.ID, s.Message, s.Account, s.Stream = e.Delivery, e.Message, e.Account, e.Stream
		s.Recipient, s.Domain = e.Recipient, DomainOf(e.Recipient)
		s.State, s.Created, s.Updated = store.StateQueued, e.Delivery.Time(), e.At
		f.byID[e.Delivery] = s
		f.batch.Summaries = append(f.batch.Summaries, s)
	}
	s.apply(e)
	s.take(e)
	f.countSender(e, s)
}

func (f *folder) count(e *mail.Event) {
	one := Sum{N: 1}
	if (e.Type == mail.EventDelivered || e.Type == mail.EventRelayed) && !e.Delivery.IsZero() {
		one.Delay = max(0, e.At.Sub(e.Delivery.Time()))
	}
	hour, kind := HourOf(e.At), typeOf(e)
	tally(f.accounts, AccountKey{hour, e.Account, e.Stream, kind, e.Class}, one)
	if a := e.Attempt; a != nil {
		if receiver, site := mail.LaneParts(a.Kind, a.Lane); site != "" {
			tally(f.sites, SiteKey{hour, receiver, site, kind, e.Class}, one)
		}
		if a.Route != "" {
			tally(f.routes, RouteKey{hour, a.Route, a.Source, kind, e.Class}, one)
		}
	}
}

func tally[K comparable](m map[K]Sum, k K, s Sum) {
	v := m[k]
	v.N += s.N
	v.Delay += s.Delay
	m[k] = v
}

// apply moves the summary on by one event.
func (s *Summary) apply(e *mail.Event) {
	if m := e.Envelope; m != nil {
		s.Known = true
		s.Stream, s.Sender, s.HeaderFrom = m.Stream, m.From.String(), m.HeaderFrom
		s.Subject, s.Tags = m.Subject, m.Tags
	}
	s.Bits |= bitsOf(e)
	if a := e.Attempt; a != nil {
		s.Attempts = max(s.Attempts, a.N)
	}
	state, rank := stateOf(e)
	if rank == RankNone || rank < s.Rank {
		return
	}
	s.State, s.Rank, s.Updated = state, rank, e.At
	s.Class, s.Scope, s.Reason, s.Next = e.Class, e.Scope, e.Reason, e.Next
	if a := e.Attempt; a != nil {
		if a.Code > 0 || a.Reply != "" {
			s.Code, s.Enhanced, s.Reply = a.Code, a.Enhanced, mail.Cut(a.Reply, mail.MaxLastReply)
		}
		// A report comes from hosts behind the one that took the mail: where it went out stays.
		if a.Route != "" && a.Stage != mail.StageReport {
			s.Route, s.Source, s.Host = a.Route, a.Source, a.Host
		}
	}
}

// stateOf returns the state an event brings, and how strong it is.
func stateOf(e *mail.Event) (store.State, Rank) {
	switch e.Type {
	case mail.EventAccepted:
		return store.StateQueued, RankQueued
	case mail.EventHeld:
		return store.StateHeld, RankWaiting
	case mail.EventDeferred:
		return store.State(mail.Deferred), RankWaiting
	case mail.EventRelayed:
		return store.State(mail.Relayed), RankRelayed
	case mail.EventBounced:
		if e.Late {
			return store.State(mail.Bounced), RankLate
		}
	}
	if r := e.Type.Result(); r != "" {
		return store.State(r), RankOver
	}
	return "", RankNone
}

func bitsOf(e *mail.Event) (b int64) {
	switch e.Type {
	case mail.EventDeferred:
		b = markDeferred
	case mail.EventComplained:
		b = MarkComplained
	case mail.EventUnsubscribed:
		b = MarkUnsubscribed
	case mail.EventOpened:
		b = MarkOpened
	case mail.EventClicked:
		b = MarkClicked
	case mail.EventAutoReplied:
		b = MarkAutoReplied
	case mail.EventBounced:
		if e.Late {
			b = MarkLate
		}
	}
	if e.Attempt != nil && e.Attempt.Uncertain {
		b |= MarkUncertain
	}
	return b
}

// MarksOf spells the bits out.
func MarksOf(b int64) store.Marks {
	return store.Marks{
		Late: b&MarkLate != 0, Uncertain: b&MarkUncertain != 0, Complained: b&MarkComplained != 0,
		Unsubscribed: b&MarkUnsubscribed != 0, Opened: b&MarkOpened != 0, Clicked: b&MarkClicked != 0,
		AutoReplied: b&MarkAutoReplied != 0,
	}
}

// DomainOf returns the domain of an address in lower case; "" where there is none.
func DomainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}

// HashText is the key text is indexed by: 64 bits of the SHA-256 of its mail.Fold.
func HashText(s string) int64 {
	sum := sha256.Sum256([]byte(mail.Fold(s)))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}
