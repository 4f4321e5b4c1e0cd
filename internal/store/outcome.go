package store

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Outcome is where a delivery stands in figures: its State, but that a bounce after delivery is told apart. Of the mail
// accepted in a time the outcomes add up to what was accepted.
type Outcome string

// The outcomes.
const (
	OutcomeQueued     = Outcome(StateQueued)
	OutcomeHeld       = Outcome(StateHeld)
	OutcomeDeferred   = Outcome(mail.Deferred)
	OutcomeRelayed    = Outcome(mail.Relayed)
	OutcomeDelivered  = Outcome(mail.Delivered)
	OutcomeBounced    = Outcome(mail.Bounced)
	OutcomeLateBounce = Outcome("bounced_late") // taken by the peer, bounced by a report
	OutcomeExpired    = Outcome(mail.Expired)
	OutcomeSuppressed = Outcome(mail.Suppressed)
	OutcomeCancelled  = Outcome(mail.Cancelled)
)

// Waiting reports whether the delivery has no outcome yet.
func (o Outcome) Waiting() bool {
	return o == OutcomeQueued || o == OutcomeHeld || o == OutcomeDeferred
}

// TypeLateBounce is what bounces after delivery are counted as in rollups of events, apart from mail.EventBounced.
const TypeLateBounce mail.EventType = "bounced_late"

// Mark is something that happened to a delivery at least once without ending it.
type Mark string

// The marks.
const (
	MarkDeferred     Mark = "deferred"
	MarkUncertain    Mark = "uncertain"
	MarkComplained   Mark = "complained"
	MarkUnsubscribed Mark = "unsubscribed"
	MarkOpened       Mark = "opened"
	MarkClicked      Mark = "clicked"
	MarkAutoReplied  Mark = "auto_replied"
)

// Speeds are the bounds of how long a delivery took from its acceptance until the peer had taken it. Those that took
// longer than the last are counted under SpeedMore.
var Speeds = []Speed{
	{"1s", time.Second},
	{"2s", 2 * time.Second},
	{"5s", 5 * time.Second},
	{"10s", 10 * time.Second},
	{"30s", 30 * time.Second},
	{"1m", time.Minute},
	{"2m", 2 * time.Minute},
	{"5m", 5 * time.Minute},
	{"10m", 10 * time.Minute},
	{"30m", 30 * time.Minute},
	{"1h", time.Hour},
	{"2h", 2 * time.Hour},
	{"4h", 4 * time.Hour},
	{"8h", 8 * time.Hour},
	{"24h", 24 * time.Hour},
	{"48h", 48 * time.Hour},
	{"96h", 96 * time.Hour},
}

// SpeedMore is the value of BySpeed above the last of Speeds.
const SpeedMore = "more"

// Speed is one bound: its name in StatsRow.Within, and the bound itself, included.
type Speed struct {
	Name string
	Max  time.Duration
}

// SpeedOf returns the name of the bound d is within.
func SpeedOf(d time.Duration) string {
	for _, s := range Speeds {
		if d <= s.Max {
			return s.Name
		}
	}
	return SpeedMore
}

// What rollups keep apart for one account, and what the rest is counted as.
const (
	MaxSenders   = 200 // sender domains of an account in an hour, and in a day
	MaxDomains   = 500 // recipient domains of an account in a day
	OtherSenders = "other"
	OtherDomains = "other"
)

// FailureQuery selects deliveries that failed or are put off.
type FailureQuery struct {
	Account  string    // "": everyone's
	From, To time.Time // of the creation; To is exclusive
	Max      int       // at most so many, the newest; 0: MaxFailures
}

// MaxFailures bounds what one call of Failures goes through: some 10 us each.
const MaxFailures = 50_000

// Failure is a delivery that was bounced, expired, or is deferred at the moment, with the last reply it got.
type Failure struct {
	Delivery mail.DeliveryID
	Account  string
	Domain   string // of the recipient
	State    State
	Late     bool // bounced after delivery
	Class    mail.Class
	Code     int
	Enhanced string
	Reply    string // at most mail.MaxLastReply octets
	Host     string // whose it is
}
