package mail

import (
	"slices"
	"time"
)

// EventType names a fact about a delivery.
type EventType string

// The event types of the outer contract.
const (
	EventAccepted     EventType = "accepted"
	EventRejected     EventType = "rejected"
	EventSuppressed   EventType = "suppressed"
	EventHeld         EventType = "held"
	EventDeferred     EventType = "deferred"
	EventRelayed      EventType = "relayed"
	EventDelivered    EventType = "delivered"
	EventBounced      EventType = "bounced"
	EventExpired      EventType = "expired"
	EventCancelled    EventType = "cancelled"
	EventComplained   EventType = "complained"
	EventAutoReplied  EventType = "auto_replied"
	EventUnsubscribed EventType = "unsubscribed"
	EventOpened       EventType = "opened"
	EventClicked      EventType = "clicked"
)

// EventTypes returns all types of event, in the order of the contract.
func EventTypes() []EventType {
	return []EventType{
		EventAccepted, EventRejected, EventSuppressed, EventHeld, EventDeferred, EventRelayed, EventDelivered, EventBounced, EventExpired,
		EventCancelled, EventComplained, EventAutoReplied, EventUnsubscribed, EventOpened, EventClicked,
	}
}

// Valid reports whether there is such a type.
func (t EventType) Valid() bool { return slices.Contains(EventTypes(), t) }

// Result returns the delivery result this event brings, or "" if it changes none.
func (t EventType) Result() Result {
	switch t {
	case EventDeferred, EventRelayed, EventDelivered, EventBounced, EventExpired, EventCancelled, EventSuppressed:
		return Result(t)
	}
	return ""
}

// Event is an immutable fact about a delivery. It is written in the same spool frame as the change it tells of;
// webhooks, reports and statistics are made of events alone.
type Event struct {
	ID        EventID    `json:"id"`
	Type      EventType  `json:"type"`
	At        time.Time  `json:"time"`
	Account   string     `json:"account"`
	Stream    Stream     `json:"stream,omitempty"`
	Message   MessageID  `json:"message"`
	Delivery  DeliveryID `json:"delivery"`
	Recipient string     `json:"recipient"`
	Class     Class      `json:"class,omitempty"`
	Scope     Scope      `json:"scope,omitempty"`
	Action    Action     `json:"action,omitempty"`
	Rule      string     `json:"rule,omitempty"`
	Late      bool       `json:"late,omitempty"`    // a bounce after delivery
	Next      time.Time  `json:"next,omitzero"`     // deferred: when it will be tried next
	Reason    string     `json:"reason,omitempty"`  // held, suppressed, cancelled, expired: why, in words
	Attempt   *Attempt   `json:"attempt,omitempty"` // events of an attempt, or what a report tells of one
	Report    *Report    `json:"report,omitempty"`  // events made of a report: which, and what ties it to the delivery
	// Notify is what the submitter asked to be told of this recipient (RFC 3461 §4.1): 1 never, 2 success, 4 failure, 8 delay.
	Notify Notify `json:"notify,omitempty"`
	// ORcpt is the original recipient the submitter gave (RFC 3461 §4.2); accepted only.
	ORcpt    string   `json:"orcpt,omitempty"`
	Envelope *Message `json:"envelope,omitempty"` // accepted only: the message, so that the record needs no second read
}

// Told returns the event as customers are told of it: without how the content is kept.
func (e *Event) Told() *Event {
	if e.Envelope == nil {
		return e
	}
	told, envelope := *e, *e.Envelope
	envelope.Content = Content{}
	told.Envelope = &envelope
	return &told
}

// Evidence says what ties a report to a delivery, from the strongest to the weakest.
type Evidence string

// The ranks of evidence.
const (
	// EvidenceToken: it came to the delivery's own signed return path.
	EvidenceToken Evidence = "token"
	// EvidenceHeader: it carries a header of ours with a signed token.
	EvidenceHeader Evidence = "header"
	// EvidenceProvider: a provider's authenticated event names the id it gave the message.
	EvidenceProvider Evidence = "provider"
	// EvidenceMatch: it came to the account's own bounce mailbox and exactly one sent delivery fits.
	EvidenceMatch Evidence = "match"
)

// Report names the report an event was made of.
type Report struct {
	ID       ReportID `json:"id"`
	Door     string   `json:"door"` // by what way it came: "return-path", "imap", "api", "provider"
	Kind     string   `json:"kind"` // bounce, delay, delivered, complaint, auto-reply, challenge
	Evidence Evidence `json:"evidence"`
	// MTA is who reports: the reporting MTA's name, or the feedback loop's agent; "" where it does not say.
	MTA string `json:"mta,omitempty"`
	// Feedback is the type of a complaint: "abuse", "fraud", "not-spam" … (RFC 5965 §7.3).
	Feedback string `json:"feedback,omitempty"`
}
