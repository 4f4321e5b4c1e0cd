package queue

import (
	"errors"
	"fmt"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// page reads a page of a queue with the messages of its deliveries.
func (q *Queue) page(a *readPage) {
	sp := q.opt.Spools[a.q.id.spool]
	in := &pageRead{readPage: a}
	in.ds, in.next, in.full, in.err = sp.Page(q.io, a.q.id.key, a.from, a.until, a.max)
	in.more = in.full
	if in.err == nil && !in.full {
		in.next, in.more, in.err = sp.Head(q.io, a.q.id.key, in.next)
	}
	if in.err == nil {
		in.messages = make([]*mail.Message, len(in.ds))
		read := map[mail.MessageID]*mail.Message{}
		for i, d := range in.ds {
			m, ok := read[d.Message]
			if !ok {
				var err error
				if m, err = sp.Message(q.io, d.Message); err != nil && !errors.Is(err, spool.ErrNotFound) {
					in.err = err
					break
				}
				read[d.Message] = m
			}
			in.messages[i] = m
		}
	}
	q.step(in)
}

// locate asks where the domain of a place takes its mail.
func (q *Queue) locate(route string, p *place) {
	target, outcome := q.opt.Locate(q.io, route, p.domain)
	q.step(located{p, target, outcome})
}

// fetch reads a delivery's record for an operation.
func (q *Queue) fetch(a fetch) {
	sp := q.opt.Spools[a.sp]
	in := &fetched{e: a.e}
	in.d, in.err = sp.Delivery(q.io, a.e.d.ID)
	if in.err == nil {
		if in.m, in.err = sp.Message(q.io, in.d.Message); errors.Is(in.err, spool.ErrNotFound) {
			in.m, in.err = nil, nil // damaged, not over: its delivery is there
		}
	}
	q.step(in)
}

// releaseHold looks at every delivery held under a name again.
func (q *Queue) releaseHold(name string) {
	// What is being held at this moment must be on disk to be seen.
	for _, c := range q.committers {
		if c.flush(q.io) != nil {
			return // stopping: the hold's record lets the next start take it up
		}
	}
	if _, err := q.operateAll(q.io, Filter{Held: name}, verbUnhold, name); err != nil {
		if q.io.Err() == nil {
			q.opt.Logger.Error("cannot release a hold", mail.LogErr, fmt.Errorf("queue: release hold %s: %w", name, err))
		}
		return
	}
	q.step(holdsReleased{name})
}
