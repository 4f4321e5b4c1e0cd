package platform

import (
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Cause is what speaks against mailing an address.
type Cause string

// The causes. The first four are bounce classes; CauseManual is an entry somebody made.
const (
	CauseNone             Cause = ""
	CauseInvalidRecipient Cause = Cause(mail.ClassInvalidRecipient)
	CauseInvalidDomain    Cause = Cause(mail.ClassInvalidDomain)
	CauseInactive         Cause = Cause(mail.ClassInactive)
	CauseMailboxFull      Cause = Cause(mail.ClassMailboxFull)
	CauseComplaint        Cause = "complaint"
	CauseUnsubscribe      Cause = "unsubscribe"
	CauseManual           Cause = "manual"
)

// Causes lists the causes an entry may have, in the order reports show them.
var Causes = []Cause{
	CauseInvalidRecipient, CauseInvalidDomain, CauseInactive, CauseMailboxFull, CauseComplaint, CauseUnsubscribe, CauseManual,
}

// Valid reports whether c is one of Causes.
func (c Cause) Valid() bool { return slices.Contains(Causes, c) }

// Personal reports whether the recipient spoke, and not a mail system.
func (c Cause) Personal() bool { return c == CauseComplaint || c == CauseUnsubscribe }

// ActorAutomatic is the actor of what the platform does by itself.
const ActorAutomatic = "automatic"

// Suppression is an address that must not be mailed.
type Suppression struct {
	Account string      `json:"account,omitempty"` // "": the whole platform
	Stream  mail.Stream `json:"stream,omitempty"`  // "": both
	// Address is in the form addresses are compared in, or "sha256:" and the hash of that form where the address
	// itself is not kept.
	Address string `json:"address"`
	Class   Cause  `json:"class"`  // what it rests on
	Reason  string `json:"reason"` // in words: the peer's reply, or what somebody wrote
	Actor   string `json:"actor"`  // who made it; ActorAutomatic: made of an event
	// Origin is the event it was made of; zero: none.
	Origin mail.EventID `json:"origin,omitzero"`
	// Receiver is who refused the mail: the mailbox provider, else the site; "" where that is not known.
	Receiver string    `json:"receiver,omitempty"`
	Since    time.Time `json:"since"`
	Expires  time.Time `json:"expires,omitzero"` // zero: never
}

// Failure is one event that speaks against an address, remembered for a while.
type Failure struct {
	Account string
	Address string // in the form addresses are compared in
	Class   Cause
	// Event names it: the same event is remembered once.
	Event    mail.EventID
	Delivery mail.DeliveryID
	At       time.Time
	// Evidence is what tied a report to the delivery; "" for an answer in our own dialogue.
	Evidence mail.Evidence
	Receiver string // as Suppression.Receiver
}
