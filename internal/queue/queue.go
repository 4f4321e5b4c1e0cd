package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Queue tries deliveries when they are due. See the package comment.
type Queue struct {
	opt        Options
	committers []*committer
	clock      clock

	mu    sync.Mutex // guards core and armed; nothing waits while it is held
	core  *core
	armed time.Time // when the timer loop wakes by itself; zero: not at all

	kick  chan struct{} // tells the timer loop of an earlier time
	ready chan struct{}
	done  chan struct{} // closed when Run is over
	ran   sync.Once

	// io is the life of reads and of locating, dialogues that of sessions; both are set before core leaves starting.
	io, dialogues context.Context
	tasks         sync.WaitGroup // pages, locating, operations
	sessions      sync.WaitGroup

	failed  chan struct{} // closed by the first fault of a spool
	failure error
	failing sync.Once
}

// New makes a queue. Nothing goes out before Run. It returns ErrOptions.
func New(o Options) (*Queue, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	q := &Queue{
		opt: o, clock: newClock(o.Now), kick: make(chan struct{}, 1), ready: make(chan struct{}),
		done: make(chan struct{}), failed: make(chan struct{}),
	}
	seed := o.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	q.core = newCore(&q.opt, o.Snapshot(), seed)
	for _, sp := range o.Spools {
		q.committers = append(q.committers, newCommitter(q, sp))
	}
	return q, nil
}

// Ready is closed once Run has read the spools and mail flows.
func (q *Queue) Ready() <-chan struct{} { return q.ready }

// Run reads the spools and then tries what is due, until ctx is done. It then hands out nothing more, gives dialogues
// in hand Options.StopGrace to end, cuts the rest off, writes what became of each, and returns when its goroutines
// have. It returns nil then, and an error when a spool cannot be read or written. It may be called once.
func (q *Queue) Run(ctx context.Context) error {
	first := false
	q.ran.Do(func() { first = true })
	if !first {
		return fmt.Errorf("queue: Run was called before")
	}
	defer close(q.done)
	var endIO, endDialogues context.CancelFunc
	q.io, endIO = context.WithCancel(context.WithoutCancel(ctx))
	defer endIO()
	q.dialogues, endDialogues = context.WithCancel(context.WithoutCancel(ctx))
	defer endDialogues()

	var commits sync.WaitGroup
	for _, c := range q.committers {
		commits.Go(c.run)
	}
	q.clock.start(q.opt.Spools)
	q.checkClock()
	if err := q.restoreAll(ctx); err == nil {
		close(q.ready)
		q.tick(ctx)
	} else if ctx.Err() == nil {
		q.fail(err)
	}

	q.step(stop{})
	grace := time.AfterFunc(q.opt.StopGrace, endDialogues)
	q.sessions.Wait()
	grace.Stop()
	endIO()
	q.tasks.Wait()
	for _, c := range q.committers {
		c.close()
	}
	commits.Wait()
	select {
	case <-q.failed:
		return q.failure
	default:
		return nil
	}
}

// fail stops Run with an error: without its spool the queue can do nothing right.
func (q *Queue) fail(err error) {
	q.failing.Do(func() {
		q.failure = fmt.Errorf("queue: the spool failed: %w", err)
		close(q.failed)
	})
}

// tick wakes the core when its timers are due.
func (q *Queue) tick(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.failed:
			return
		case <-q.kick:
		case <-timer.C:
			q.checkClock()
			q.step(nil)
		}
		q.mu.Lock()
		at, ok := q.core.timers.next()
		if q.armed = at; !ok {
			q.armed = time.Time{}
		}
		q.mu.Unlock()
		if ok {
			timer.Reset(max(at.Sub(q.now()), 0))
		} else {
			timer.Stop()
		}
	}
}

// now is the wall clock as the spool keeps times: UTC, to the microsecond.
func (q *Queue) now() time.Time { return q.opt.Now().UTC().Truncate(time.Microsecond) }

// step takes in what happened and carries out what follows.
func (q *Queue) step(in input) {
	q.mu.Lock()
	actions := q.core.step(q.now(), in)
	written := -1
	for _, a := range actions {
		switch a := a.(type) {
		case *write: // here, so that changes are written in the order of their steps
			q.committers[a.sp].push(a)
			written = a.sp
		case openSession:
			a.sess.port.ctx, a.sess.port.cut = context.WithCancel(q.dialogues)
		}
	}
	if at, ok := q.core.timers.next(); ok && (q.armed.IsZero() || at.Before(q.armed)) {
		q.armed = at
		select {
		case q.kick <- struct{}{}:
		default:
		}
	}
	q.mu.Unlock()
	for _, a := range actions {
		q.carry(a)
	}
	if _, answer := in.(*wrote); written >= 0 && !answer { // the committer must not wait for itself
		q.committers[written].pace()
	}
}

// carry does one thing the core wants done. It never blocks.
func (q *Queue) carry(a action) {
	switch a := a.(type) {
	case *write:
		switch {
		case a.settle != nil:
			q.observe(a.settle.Events)
		case a.reschedule != nil:
			q.observe(a.reschedule.Events)
		}
	case give:
		a.sess.port.jobs <- a.grant
	case openSession:
		q.sessions.Go(func() { q.session(a.sess) })
	case cutSession:
		q.opt.Logger.Warn("a dialogue does not end and is cut off", mail.LogQueue, a.sess.lane.name)
		a.sess.port.cut()
	case *readPage:
		q.tasks.Go(func() { q.page(a) })
	case locate:
		q.tasks.Go(func() { q.locate(a.place.key.route, a.place) })
	case ask:
		q.tasks.Go(func() { q.askSuppressed(a) })
	case fetch:
		q.tasks.Go(func() { q.fetch(a) })
	case releaseHold:
		q.tasks.Go(func() { q.releaseHold(a.name) })
	case operated:
		if a.op.done != nil {
			a.op.done()
		}
	case tell:
		q.opt.Alert(a.alert)
	case complain:
		q.opt.Logger.Error(a.text, mail.LogMsg, a.id, mail.LogErr, a.err)
	}
}

func (q *Queue) observe(evs []*mail.Event) {
	if q.opt.Observe == nil {
		return
	}
	for _, ev := range evs {
		q.opt.Observe(ev)
	}
}

// Add takes up deliveries right after their frame was synced into the first spool. All are of msg; body may be nil,
// it is then read when needed. Nothing handed over may be changed afterwards. Before Run has read the spools the
// deliveries are left there; they are not lost.
func (q *Queue) Add(msg *mail.Message, ds []*mail.Delivery, body mail.Body) {
	q.step(&add{m: msg, ds: ds, body: body})
}

// Wake says that a spool holds deliveries of that queue, due from due on, which Add was not told of: those of a
// staged acceptance once they are published. A spool that is not among the queue's is ignored.
func (q *Queue) Wake(sp mail.SpoolID, key mail.QueueKey, due time.Time) {
	for i, s := range q.opt.Spools {
		if s.ID() == sp {
			q.step(wakeQueue{queueID{i, key}, due})
		}
	}
}

// SnapshotChanged says that Options.Snapshot returns something new. It holds for mail that waits as well: holds,
// pauses, routes, pools, weights.
func (q *Queue) SnapshotChanged() { q.step(snapshotChanged{q.opt.Snapshot()}) }
