package queue

import (
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Filter chooses deliveries. Empty conditions match everything; those set must all match. An operation refuses a
// filter without any condition unless Everything is set.
type Filter struct {
	Delivery   mail.DeliveryID
	Message    mail.MessageID
	Account    string
	Stream     mail.Stream
	Domain     string // of the recipient
	Recipient  mail.Address
	Sender     string // envelope or header sender, or its domain
	Credential string
	Tag        string
	Held       string    // name of the hold; "*": any
	Before     time.Time // accepted before; zero: any
	Everything bool
}

// Empty reports whether the filter has no condition.
func (f Filter) Empty() bool {
	f.Everything = false
	return f == Filter{}
}

// needsMessage reports whether matching looks at the message.
func (f *Filter) needsMessage() bool { return f.Sender != "" || f.Credential != "" || f.Tag != "" }

func (f *Filter) matchesQueue(k mail.QueueKey) bool {
	return (f.Account == "" || f.Account == k.Account) && (f.Stream == "" || f.Stream == k.Stream) &&
		(f.Domain == "" || strings.EqualFold(f.Domain, k.Domain))
}

func (f *Filter) matchesDelivery(d *mail.Delivery) bool {
	return f.matchesQueue(d.Queue) &&
		(f.Delivery.IsZero() || f.Delivery == d.ID) && (f.Message.IsZero() || f.Message == d.Message) &&
		(f.Recipient.IsZero() || f.Recipient.Folded() == d.Recipient.Folded()) && (f.Before.IsZero() || d.CreatedAt.Before(f.Before)) &&
		(f.Held == "" || f.Held == d.Held || f.Held == "*" && d.Held != "")
}

func (f *Filter) matchesMessage(m *mail.Message) bool {
	return (f.Sender == "" || senderIs(m, f.Sender)) && (f.Credential == "" || f.Credential == m.Credential) &&
		(f.Tag == "" || slices.Contains(m.Tags, f.Tag))
}

// senderIs reports whether s is the envelope sender, the header sender, or the domain of one of them.
func senderIs(m *mail.Message, s string) bool {
	if strings.Contains(s, "@") {
		return !m.From.IsZero() && strings.EqualFold(m.From.String(), s) || strings.EqualFold(m.HeaderFrom, s)
	}
	return m.From.Domain != "" && strings.EqualFold(m.From.Domain, s) || strings.EqualFold(domainOf(m.HeaderFrom), s)
}

func domainOf(address string) string {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return address[i+1:]
	}
	return ""
}

// Listed is a delivery as List shows it.
type Listed struct {
	Delivery *mail.Delivery
	Why      string // why it waits
}

// QueueSummary is one scheduled queue as `postroad queue` shows it.
type QueueSummary struct {
	Key      mail.QueueKey    `json:"queue"`
	Waiting  int              `json:"waiting"` // all live deliveries but those held or in flight
	Held     int              `json:"held"`
	InFlight int              `json:"in_flight"`
	Oldest   time.Time        `json:"oldest"` // when the oldest of them was accepted
	NextDue  time.Time        `json:"next_due,omitzero"`
	Last     *mail.LastAnswer `json:"last,omitempty"` // the newest answer any of them got
	Why      string           `json:"why,omitempty"`
}

// LaneSummary is one lane as `postroad queue` shows it. Only lanes in use or resting are listed.
type LaneSummary struct {
	Lane      mail.Lane        `json:"lane"`
	Waiting   int              `json:"waiting"` // in memory
	Sessions  int              `json:"sessions"`
	Limit     int              `json:"limit"`
	Since     time.Time        `json:"since,omitzero"` // resting since
	Until     time.Time        `json:"until,omitzero"`
	Fails     int              `json:"fails,omitempty"` // in a row
	Suspended string           `json:"suspended,omitempty"`
	Last      *mail.LastAnswer `json:"last,omitempty"`
	Why       string           `json:"why,omitempty"`
}

// Summary is what waits and why.
type Summary struct {
	Queues []QueueSummary `json:"queues"`
	Lanes  []LaneSummary  `json:"lanes"`
}

// Stats are counters and gauges for metrics. Counters count from the start of the process.
type Stats struct {
	// Gauges.
	Queues, Lanes, Loaded, InFlight, Sessions, Settling, Resting, Places int
	// Counters.
	Added, Paged, Picked, Delivered, Relayed, Deferred, Bounced, Suppressed, Expired, Cancelled, HeldEvents, Uncertain uint64
	SessionsOpened, LaneRests                                                                                          uint64
}
