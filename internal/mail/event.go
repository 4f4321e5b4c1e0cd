package mail

import "time"

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
	Late      bool       `json:"late,omitempty"`     // a bounce after delivery
	Next      time.Time  `json:"next,omitzero"`      // deferred: when it will be tried next
	Reason    string     `json:"reason,omitempty"`   // held, suppressed, cancelled, expired: why, in words
	Attempt   *Attempt   `json:"attempt,omitempty"`  // events of an attempt
	Envelope  *Message   `json:"envelope,omitempty"` // accepted only: the message, so that the record needs no second read
}
