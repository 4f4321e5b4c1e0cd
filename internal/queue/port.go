package queue

import (
	"context"
	"errors"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// port is the shell's side of a session.
type port struct {
	jobs chan *grant // answers of the core, never more than one at a time; nil: no more
	ctx  context.Context
	cut  context.CancelFunc
}

func newPort() *port { return &port{jobs: make(chan *grant, 1)} }

// session runs one session to its end.
func (q *Queue) session(s *session) {
	defer s.port.cut()
	q.opt.Session(s.port.ctx, s.lane.id,
		func(ctx context.Context) (mail.Job, bool) { return q.next(ctx, s) },
		func(_ mail.Job, o mail.Outcome) { q.step(settled{s, &o}) })
	q.step(ended{s})
}

// next waits for the session's next job. Its marks are on their way to the disk when it returns; Job.Durable waits
// for them.
func (q *Queue) next(ctx context.Context, s *session) (mail.Job, bool) {
	for {
		q.step(want{s})
		var g *grant
		select {
		case g = <-s.port.jobs:
		case <-ctx.Done():
			q.step(abandon{s})
			g = <-s.port.jobs // a job that was already on its way is taken: the session has to settle it
		}
		if g == nil {
			return mail.Job{}, false
		}
		sp := q.opt.Spools[g.spool]
		g.job.Durable = sp.Enqueue(&spool.Batch{Mark: g.marks}).Wait
		if g.job.Body != nil {
			return g.job, true
		}
		body, err := sp.Body(q.io, g.job.Message.ID)
		if err == nil {
			g.job.Body = body
			return g.job, true
		}
		q.step(unreadable{s, err})
	}
}

// unreadable is the input for a job whose content cannot be read: no session has seen it.
type unreadable struct {
	s   *session
	err error
}

func (in unreadable) apply(c *core) {
	s := in.s
	gone := errors.Is(in.err, spool.ErrNotFound)
	for _, e := range append([]*entry(nil), s.hand...) {
		if gone {
			c.unhand(s, e)
			c.setAside(e, HeldDamaged, "its content cannot be read: "+in.err.Error())
			continue
		}
		c.settle(s, &mail.Outcome{
			Delivery: e.d.ID, Result: mail.Deferred, Class: mail.ClassTransientSystem, Scope: mail.ScopeMessage,
			Attempt: mail.Attempt{Reply: "its content cannot be read at the moment: " + in.err.Error()},
		})
	}
}
