package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

// crashBatch is how many attempts cut off by a crash are settled in one frame.
const crashBatch = 256

// restored is the input that ends the start: what rests, and the first key of each queue. Nothing else was read.
type restored struct {
	lanes []spool.LaneRecord
	heads []head
}

type head struct {
	spool int
	spool.QueueHead
}

func (in *restored) apply(c *core) {
	for _, r := range in.lanes {
		c.restore(r)
	}
	for _, h := range in.heads {
		c.lower(c.queue(queueID{h.spool, h.Key}), h.First)
	}
	c.starting = false
	c.applyHolds(readHolds(c.snap))
}

// restoreAll reads what the spools hold: first the attempts that a crash cut off, so that their deliveries are
// settled before anything is tried again.
func (q *Queue) restoreAll(ctx context.Context) error {
	in := &restored{}
	for i, sp := range q.opt.Spools {
		if err := q.settleCrashes(ctx, sp); err != nil {
			return err
		}
		lanes, err := sp.Lanes(ctx)
		if err != nil {
			return fmt.Errorf("queue: read lanes of spool %s: %w", sp.ID(), err)
		}
		in.lanes = append(in.lanes, lanes...)
		err = sp.Queues(ctx, func(h spool.QueueHead) error {
			in.heads = append(in.heads, head{i, h})
			return nil
		})
		if err != nil {
			return fmt.Errorf("queue: read queues of spool %s: %w", sp.ID(), err)
		}
	}
	q.step(in)
	return nil
}

func (q *Queue) settleCrashes(ctx context.Context, sp Spool) error {
	var open []*mail.Delivery
	err := sp.OpenMarks(ctx, func(d *mail.Delivery) error {
		open = append(open, d)
		return nil
	})
	if err != nil {
		return fmt.Errorf("queue: read open marks of spool %s: %w", sp.ID(), err)
	}
	now := q.now()
	for len(open) > 0 {
		b := &spool.Batch{}
		for _, d := range open[:min(len(open), crashBatch)] {
			s := crashed(d, now)
			b.Settle = append(b.Settle, *s)
			if s.New.Held != "" {
				q.opt.Alert(platform.Alert{
					Kind: HeldCrashLoop, Scope: "delivery/" + d.ID.String(), Since: now, Last: now, Count: 1,
					Message: s.Events[len(s.Events)-1].Reason,
				})
			}
		}
		open = open[len(b.Settle):]
		if err := sp.Enqueue(b).Wait(ctx); err != nil {
			return fmt.Errorf("queue: settle attempts cut off by a crash: %w", err)
		}
		for _, s := range b.Settle {
			q.observe(s.Events)
		}
		q.mu.Lock()
		q.core.stats.Deferred += uint64(len(b.Settle))
		q.core.stats.Uncertain += uint64(len(b.Settle))
		q.mu.Unlock()
	}
	return nil
}

// crashed settles an attempt whose end nobody saw: the peer may or may not have taken the mail. It counts, and is
// not tried again before the time its mark says; one that meets this at three starts in a row is set aside, because
// it may be what crashes us.
func crashed(d *mail.Delivery, now time.Time) *spool.Settlement {
	n := *d
	n.Mark, n.Uncertain = nil, true
	n.Crashes++
	if least := now.Add(time.Minute); n.Due.Before(least) {
		n.Due = least
	}
	a := &mail.Attempt{N: d.Attempts, Uncertain: true, Reply: "the process ended during the attempt; whether the peer took the mail is not known"}
	if d.Mark != nil {
		a.At, a.Route, a.Source = d.Mark.At, d.Mark.Route, d.Mark.Source
	}
	n.Last = &mail.LastAnswer{At: now, Result: mail.Deferred, Class: mail.ClassNetwork, Scope: mail.ScopeSession, Reply: a.Reply}
	ev := func(t mail.EventType) *mail.Event {
		return &mail.Event{
			Type: t, At: now, Account: d.Queue.Account, Stream: d.Queue.Stream,
			Message: d.Message, Delivery: d.ID, Recipient: d.Recipient.String(),
		}
	}
	deferred := ev(mail.EventDeferred)
	deferred.Class, deferred.Scope, deferred.Action, deferred.Attempt = mail.ClassNetwork, mail.ScopeSession, mail.ActionRetry, a
	s := &spool.Settlement{Old: d, New: &n, Events: []*mail.Event{deferred}}
	if n.Crashes >= crashLimit {
		n.Held, n.Due = HeldCrashLoop, n.ExpiresAt
		held := ev(mail.EventHeld)
		held.Reason = fmt.Sprintf("%s: the process ended during an attempt of it %d times in a row", HeldCrashLoop, n.Crashes)
		s.Events = append(s.Events, held)
	}
	if n.Due.After(n.ExpiresAt) {
		n.Due = n.ExpiresAt
	}
	deferred.Next = n.Due
	return s
}
