package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/postroad/postroad/internal/mail"
)

// maxBacklog bounds what waits for the committer, in octets; beyond it Enqueue blocks.
const maxBacklog = 16 << 20

// framesInSync is how many frames may wait behind the one being synced. One is enough to keep the disk busy; more
// would make frames smaller.
const framesInSync = 1

// Ticket tells when a batch is durable.
type Ticket struct {
	group *group
	err   error // why this batch alone was refused; set before the group is done
}

// Done is closed when the batch is durable or has failed; Wait then returns at once.
func (t *Ticket) Done() <-chan struct{} { return t.group.done }

// Wait returns nil once the batch is durable. When ctx ends first the batch may still become so.
func (t *Ticket) Wait(ctx context.Context) error {
	select {
	case <-t.group.done:
	default:
		select {
		case <-t.group.done:
		case <-ctx.Done():
			return fmt.Errorf("spool: wait for the disk: %w", ctx.Err())
		}
	}
	if t.err != nil {
		return t.err
	}
	return t.group.err
}

// group is the items that will be one frame. They share one channel.
type group struct {
	items []*item
	size  int
	done  chan struct{}
	err   error // set before done is closed
}

// backlog is what waits for the committer.
type backlog struct {
	mu     sync.Mutex
	room   sync.Cond // signalled when groups were taken, and at the end
	groups []*group
	queued int
	closed error         // why nothing more is taken
	wake   chan struct{} // capacity 1
}

func (q *backlog) init() {
	q.room.L = &q.mu
	q.wake = make(chan struct{}, 1)
}

// put adds it to the last group, or begins a new one when that would exceed maxFrame.
func (q *backlog) put(it *item, maxFrame int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.queued >= maxBacklog && q.closed == nil {
		q.room.Wait()
	}
	if q.closed != nil {
		return q.closed
	}
	var g *group
	if n := len(q.groups); n > 0 && q.groups[n-1].size+it.size <= maxFrame {
		g = q.groups[n-1]
	} else {
		g = &group{done: make(chan struct{})}
		q.groups = append(q.groups, g)
	}
	it.group = g
	g.items = append(g.items, it)
	g.size += it.size
	q.queued += it.size
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// take waits for the next group; nil: closed and empty.
func (q *backlog) take() *group {
	for {
		q.mu.Lock()
		if len(q.groups) > 0 {
			g := q.groups[0]
			q.groups = q.groups[1:]
			q.queued -= g.size
			q.room.Broadcast()
			q.mu.Unlock()
			return g
		}
		closed := q.closed != nil
		q.mu.Unlock()
		if closed {
			return nil
		}
		<-q.wake
	}
}

func (q *backlog) close(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.closed = why
	}
	q.room.Broadcast()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Enqueue hands a batch to the committer. It blocks only while the committer's backlog is full.
func (s *Spool) Enqueue(b *Batch) *Ticket {
	it, err := s.prepare(b)
	if err != nil {
		return refused(err)
	}
	return s.enqueue(it)
}

// Commit hands a batch in and waits until it is durable. A staged acceptance is also waited for until its deliveries
// can be seen; when ctx ends during that, the mail is accepted and Commit returns nil.
//
// It returns ErrStale, ErrDiskFull, ErrTooLarge, ErrExists or ErrBadBatch when the batch was refused and nothing of
// it was written; ErrClosed or ErrFailed when the spool takes nothing; the context's error when that ended first.
func (s *Spool) Commit(ctx context.Context, b *Batch) error {
	if err := s.Enqueue(b).Wait(ctx); err != nil {
		return err
	}
	for _, a := range b.Accept {
		if a.Staged > 0 {
			_ = s.Published(ctx, a.Message.ID)
		}
	}
	return nil
}

func (s *Spool) enqueue(it *item) *Ticket {
	if err := s.backlog.put(it, s.o.MaxFrame); err != nil {
		return refused(err)
	}
	return &it.Ticket
}

// do commits a change of the spool's own and waits for it.
func (s *Spool) do(ctx context.Context, it *item) error { return s.enqueue(it).Wait(ctx) }

func refused(err error) *Ticket {
	g := &group{done: make(chan struct{}), err: err}
	close(g.done)
	return &Ticket{group: g}
}

// commitLoop is the committer: the one goroutine that writes.
func (s *Spool) commitLoop() {
	defer close(s.syncing)
	for {
		g := s.backlog.take()
		if g == nil {
			return
		}
		f := s.build(g)
		if err := s.Err(); err != nil {
			f.abandon(err)
			continue
		}
		if f.empty() {
			f.abandon(nil)
			continue
		}
		if err := s.apply(f); err != nil {
			s.fail(fmt.Errorf("write frame %d: %w", f.st.frame, err))
			f.abandon(s.Err())
			continue
		}
		s.applied(f)
		s.syncing <- f
	}
}

// apply hands the frame to Pebble without waiting for the sync. Pebble panics when its log is broken.
func (s *Spool) apply(f *frame) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.wedged.Store(true)
			err = fmt.Errorf("%v", r)
		}
	}()
	s.seen.Lock()
	s.seen.shown = f.st.event // before anybody can see the frame
	s.seen.Unlock()
	return s.db.ApplyNoSyncWait(f.b, pebble.Sync)
}

// syncLoop waits for the sync of each frame and tells those who wait.
func (s *Spool) syncLoop() {
	for f := range s.syncing {
		if err := f.b.SyncWait(); err != nil {
			s.fail(fmt.Errorf("sync frame %d: %w", f.st.frame, err))
		}
		// An earlier frame that failed takes the later ones with it: their changes rest on its.
		if err := s.Err(); err != nil {
			f.abandon(err)
			continue
		}
		f.synced()
	}
}

// fail stops the spool: nothing is acknowledged from here on.
func (s *Spool) fail(err error) {
	s.failure.Lock()
	defer s.failure.Unlock()
	if s.failure.err != nil {
		return
	}
	s.failure.err = errors.Join(ErrFailed, err)
	close(s.failure.ch)
	s.o.Logger.Error("spool stopped: a write failed", mail.LogErr, err)
	s.backlog.close(s.failure.err)
}

// Failed is closed when a write or sync failed and the spool stopped. The process must then end and open it again.
func (s *Spool) Failed() <-chan struct{} { return s.failure.ch }

// Err returns nil, or why the spool stopped; it wraps ErrFailed.
func (s *Spool) Err() error {
	s.failure.Lock()
	defer s.failure.Unlock()
	return s.failure.err
}
