package queue

import (
	"context"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

type Queue struct{}

func New(o Options) (*Queue, error)            { _, err := o.withDefaults(); return nil, err }
func (q *Queue) Run(ctx context.Context) error { panic("soon") }

// Ready is closed once Run has read the spools and mail flows.
func (q *Queue) Ready() <-chan struct{} { panic("soon") }

// Add takes up deliveries right after their frame was synced into the first spool; body may be nil.
func (q *Queue) Add(msg *mail.Message, ds []*mail.Delivery, body mail.Body) { panic("soon") }

// Wake says that the spool holds deliveries of that queue from due on that Add was not told of (staged acceptances).
func (q *Queue) Wake(sp mail.SpoolID, key mail.QueueKey, due time.Time) { panic("soon") }

// SnapshotChanged says that Options.Snapshot returns something new: holds, pauses, routes, pools, weights.
func (q *Queue) SnapshotChanged() { panic("soon") }

func (q *Queue) RetryNow(ctx context.Context, f Filter) (n int, err error) { panic("soon") }
func (q *Queue) Cancel(ctx context.Context, f Filter, reason string) (n int, err error) {
	panic("soon")
}
func (q *Queue) List(ctx context.Context, f Filter, cursor string, max int) (list []Listed, next string, err error) {
	panic("soon")
}
func (q *Queue) Summary(ctx context.Context) (Summary, error)                { panic("soon") }
func (q *Queue) Why(ctx context.Context, id mail.DeliveryID) (string, error) { panic("soon") }
func (q *Queue) Stats() Stats                                                { panic("soon") }

// TrustClock says that the wall clock is right after all and lets expiry go on (see Options.Now).
func (q *Queue) TrustClock() { panic("soon") }
