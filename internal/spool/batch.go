package spool

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Batch is a set of changes that become durable together, in one frame. It must be small (one acceptance of at most
// MaxStage deliveries, a handful of settles); larger acceptances go through Stage. A Batch handed to the spool is
// read-only from then on.
type Batch struct {
	Accept     []*Acceptance
	Mark       []MarkChange
	Settle     []Settlement
	Reschedule []Reschedule
	Lanes      []LaneRecord
	DropLanes  []string // keys of lane records to remove
	InboxDone  []uint64 // inbox entries whose events this batch writes
	// Archived names messages whose content is safe in the archive, or is not wanted there any more.
	Archived []mail.MessageID
	Events   []*mail.Event
}

// MaxStage is the most deliveries one acceptance may carry in one frame.
const MaxStage = 1000

// Acceptance is one message with its deliveries. Its commit is the instant of acceptance.
type Acceptance struct {
	Message    *mail.Message
	Body       []byte           // the content; nil where it was written through NewContent or staged
	Deliveries []*mail.Delivery // all, or the last part of a staged acceptance
	// Events are the accepted (and suppressed) events. Their ID is filled in when they are committed.
	Events []*mail.Event
	// Staged is the number of deliveries already written by Stage.
	Staged      int
	Idempotency *IdempotencyRecord
	// Archive keeps message and content until a Batch names the message in Archived, also after the last delivery. It
	// has no meaning for an acceptance without deliveries, which stores no content.
	Archive bool
}

// MarkChange commits an attempt mark: the attempt of Delivery begins, its schedule key moves to Next.
type MarkChange struct {
	Delivery *mail.Delivery // as it was before
	Mark     mail.Mark
	Next     time.Time // when it is due again should no settlement follow; never after the deadline
}

// Marked returns the delivery as it stands once m is committed: the Old of the settlement that ends the attempt.
func (m *MarkChange) Marked() *mail.Delivery {
	d := *m.Delivery
	mark := m.Mark
	d.Mark, d.Attempts, d.Due = &mark, mark.Attempt, m.Next
	return &d
}

// Settlement ends an attempt or a delivery. Old is the record as last committed (by acceptance, mark or settlement);
// New is nil when the delivery is over, else the record that replaces it, with Mark nil.
type Settlement struct {
	Old    *mail.Delivery
	New    *mail.Delivery
	Events []*mail.Event
}

// Reschedule moves a delivery that is not in flight: hold, release, retry now.
type Reschedule struct {
	Old, New *mail.Delivery
	Events   []*mail.Event
}

// IdempotencyRecord ties an account's idempotency key to what it made, for IdempotencyFor.
type IdempotencyRecord struct {
	Account  string
	KeyHash  [32]byte
	BodyHash [32]byte
	At       time.Time
	Response []byte // the response to give again
}

// IdempotencyFor is how long an idempotency record is kept.
const IdempotencyFor = 24 * time.Hour

// LaneRecord keeps a lane's back-off across restarts: one record per lane, the waiting deliveries are untouched.
type LaneRecord struct {
	Key   string          `json:"key"` // Lane.String of the narrowest part the back-off covers
	Lane  mail.Lane       `json:"lane"`
	Scope mail.Scope      `json:"scope"` // site, receiver, source, route, account …
	Since time.Time       `json:"since"`
	Until time.Time       `json:"until"`
	Fails int             `json:"fails"` // in a row
	Last  mail.LastAnswer `json:"last"`
}
