package queue

import (
	"context"
	"errors"
	"sync"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// Limits of a committer.
const (
	// commitBatch is how many changes go to the spool in one batch; the spool merges batches into frames.
	commitBatch = 128
	// commitBacklog is how many changes may wait before those who make more have to wait too.
	commitBacklog = 8192
	// commitsAhead is how many batches may be under way.
	commitsAhead = 64
)

// committer writes the changes of one spool in order and tells the core when they are on disk. It owns two
// goroutines: one hands batches to the spool while the other waits for the ones before.
type committer struct {
	q  *Queue
	sp Spool

	mu      sync.Mutex
	pending []*write
	closed  bool
	more    *sync.Cond // pending has grown, or closed
	less    *sync.Cond // pending has shrunk
}

// inHand is a batch under way.
type inHand struct {
	ticket Ticket
	writes []*write
}

func newCommitter(q *Queue, sp Spool) *committer {
	c := &committer{q: q, sp: sp}
	c.more, c.less = sync.NewCond(&c.mu), sync.NewCond(&c.mu)
	return c
}

// push appends a change. It is called under Queue.mu, so that changes keep the order of their steps.
func (c *committer) push(w *write) {
	c.mu.Lock()
	c.pending = append(c.pending, w)
	if len(c.pending) == 1 {
		c.more.Signal()
	}
	c.mu.Unlock()
}

// pace waits while the backlog is long.
func (c *committer) pace() {
	c.mu.Lock()
	for len(c.pending) > commitBacklog && !c.closed {
		c.less.Wait()
	}
	c.mu.Unlock()
}

// close lets run return once everything pushed is on disk.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.more.Broadcast()
	c.less.Broadcast()
	c.mu.Unlock()
}

// flush waits until everything pushed before is on disk.
func (c *committer) flush(ctx context.Context) error {
	w := &write{flush: make(chan struct{})}
	c.push(w)
	select {
	case <-w.flush:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *committer) run() {
	ahead := make(chan inHand, commitsAhead)
	var wg sync.WaitGroup
	wg.Go(func() {
		for h := range ahead {
			c.await(h)
		}
	})
	for {
		c.mu.Lock()
		for len(c.pending) == 0 && !c.closed {
			c.more.Wait()
		}
		if len(c.pending) == 0 {
			c.mu.Unlock()
			break
		}
		n := min(len(c.pending), commitBatch)
		writes := append([]*write(nil), c.pending[:n]...)
		rest := copy(c.pending, c.pending[n:])
		clear(c.pending[rest:])
		c.pending = c.pending[:rest]
		c.less.Broadcast()
		c.mu.Unlock()
		ahead <- inHand{ticket: c.sp.Enqueue(batchOf(writes)), writes: writes}
	}
	close(ahead)
	wg.Wait()
}

func batchOf(writes []*write) *spool.Batch {
	b := &spool.Batch{}
	for _, w := range writes {
		if w.settle != nil {
			b.Settle = append(b.Settle, *w.settle)
		}
		if w.reschedule != nil {
			b.Reschedule = append(b.Reschedule, *w.reschedule)
		}
		if w.lane != nil {
			b.Lanes = append(b.Lanes, *w.lane)
		}
		if w.dropLane != "" {
			b.DropLanes = append(b.DropLanes, w.dropLane)
		}
	}
	return b
}

// await waits for a batch. One that the spool refuses for a single bad change is written change by change.
func (c *committer) await(h inHand) {
	err := h.ticket.Wait(context.Background())
	in := &wrote{}
	switch {
	case err == nil:
	case refused(err):
		in.errs = make([]error, 0, len(h.writes))
	default:
		c.q.fail(err)
		return
	}
	for _, w := range h.writes {
		if w.flush != nil {
			close(w.flush)
			continue
		}
		var one error
		if err != nil {
			if one = c.sp.Enqueue(batchOf([]*write{w})).Wait(context.Background()); one != nil && !refused(one) {
				c.q.fail(one)
				return
			}
		}
		switch {
		case w.entry != nil:
			in.entries = append(in.entries, w.entry)
			if err != nil {
				in.errs = append(in.errs, one)
			}
		case one != nil:
			c.q.opt.Logger.Error("cannot write a lane record", mail.LogErr, one)
		}
	}
	if len(in.entries) > 0 {
		c.q.step(in)
	}
}

// refused reports whether the spool found fault with a batch, rather than being at fault itself.
func refused(err error) bool {
	return errors.Is(err, spool.ErrStale) || errors.Is(err, spool.ErrBadBatch) || errors.Is(err, spool.ErrTooLarge) ||
		errors.Is(err, spool.ErrNotFound)
}
