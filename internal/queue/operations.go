package queue

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/postroad/postroad/internal/mail"
)

// operationsAhead is how many deliveries an operation has under way at one time.
const operationsAhead = 256

// Errors of operations.
var (
	// ErrEverything: a filter without conditions must say so.
	ErrEverything = errors.New("queue: a filter without conditions needs Everything")
	// ErrStopped: Run is over.
	ErrStopped = errors.New("queue: stopped")
)

// RetryNow makes deliveries due at once, and lets a lane that rests in front of one be probed now. Held deliveries
// stay held, but for those the queue set aside itself. It returns how many it found, when that is on disk.
func (q *Queue) RetryNow(ctx context.Context, f Filter) (int, error) {
	return q.operateAll(ctx, f, verbRetry, "")
}

// Cancel ends deliveries with a cancelled event that gives the reason. One whose dialogue is in hand is let finish
// and is cancelled only if it was not taken. It returns how many it found, when that is on disk.
func (q *Queue) Cancel(ctx context.Context, f Filter, reason string) (int, error) {
	return q.operateAll(ctx, f, verbCancel, reason)
}

// operateAll does v on every delivery that the filter matches, in all spools.
func (q *Queue) operateAll(ctx context.Context, f Filter, v verb, why string) (int, error) {
	if f.Empty() && !f.Everything {
		return 0, ErrEverything
	}
	var hits atomic.Int64
	slots := make(chan struct{}, operationsAhead)
	take := func() error {
		select {
		case slots <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-q.done:
			return ErrStopped
		}
	}
	for i := range q.opt.Spools {
		err := q.each(ctx, i, f, func(d *mail.Delivery) error {
			if err := take(); err != nil {
				return err
			}
			op := &operate{verb: v, spool: i, d: d, why: why}
			op.done = func() {
				if op.hit {
					hits.Add(1)
				}
				<-slots
			}
			q.step(op)
			return nil
		})
		if err != nil {
			return int(hits.Load()), fmt.Errorf("queue: go through spool %s: %w", q.opt.Spools[i].ID(), err)
		}
	}
	for range operationsAhead { // all of them back: all done
		if err := take(); err != nil {
			return int(hits.Load()), err
		}
	}
	return int(hits.Load()), nil
}

// each calls fn with every live delivery of a spool that the filter matches.
func (q *Queue) each(ctx context.Context, i int, f Filter, fn func(*mail.Delivery) error) error {
	sp := q.opt.Spools[i]
	var lastID mail.MessageID
	var last *mail.Message
	check := func(d *mail.Delivery) error {
		if !f.matchesDelivery(d) {
			return nil
		}
		if f.needsMessage() {
			if last == nil || d.Message != lastID {
				m, err := sp.Message(ctx, d.Message)
				if err != nil {
					return nil // over meanwhile, or damaged: not known to match
				}
				last, lastID = m, d.Message
			}
			if !f.matchesMessage(last) {
				return nil
			}
		}
		return fn(d)
	}
	switch {
	case !f.Delivery.IsZero():
		d, err := sp.Delivery(ctx, f.Delivery)
		if err != nil {
			return ignoreMissing(err)
		}
		return check(d)
	case !f.Message.IsZero():
		for after := (mail.DeliveryID{}); ; {
			ds, err := sp.Deliveries(ctx, f.Message, after, operationsAhead)
			if err != nil {
				return ignoreMissing(err)
			}
			for _, d := range ds {
				if err := check(d); err != nil {
					return err
				}
				after = d.ID
			}
			if len(ds) < operationsAhead {
				return nil
			}
		}
	}
	return sp.All(ctx, check)
}
