package queue

import (
	"bytes"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

// state says where an entry is.
type state uint8

const (
	stNew      state = iota // being looked at, in no list
	stParked                // waits for the platform's state to change
	stLocating              // waits for its place
	stAsking                // waits for the answer of the suppression list
	stLane                  // waits in its lane
	stFlight                // in a session's hand
	stWriting               // its settlement or new record is not yet on disk
	stFetching              // its record is being read for an operation
)

// entry is a delivery in memory.
type entry struct {
	d     *mail.Delivery // the record as last committed, or as the commit under way will have it
	next  *mail.Delivery // while stWriting: the record to come, nil if the delivery is over
	m     *message
	q     *queue
	at    link[*entry] // its place in the list of what it waits for
	state state
	seq   uint64

	route  *platform.Route
	place  *place
	flow   *flow
	sess   *session
	probe  *gate     // while in flight: the account's gate it is finding out about
	picked time.Time // while in flight
	due    time.Time // when it was due for the attempt in flight
	why    string    // while parked
	behind *gate     // what kept it in its lane when it was taken out of it

	ask     uint64    // while stAsking: the number of its question
	cleared time.Time // until then the suppression list is not asked again

	cancel string   // cancel it as soon as its attempt is over; why
	op     *operate // the operation it is in memory or changed for; nil: none
}

// message is what the entries of one message share.
type message struct {
	m    *mail.Message
	body mail.Body // nil: to be read from the spool
	held int64     // octets of body counted in core.bodies
	refs int
}

// waits reports whether e is in memory for nothing but a chance to be tried.
func (e *entry) waits() bool {
	return e.state == stParked || e.state == stLocating || e.state == stAsking || e.state == stLane
}

// enter brings a delivery into memory.
func (c *core) enter(q *queue, d *mail.Delivery, m *mail.Message, body mail.Body) *entry {
	e := &entry{d: d, q: q, seq: c.seq}
	c.seq++
	e.at.item = e
	c.entries[d.ID] = e
	q.loaded++
	q.acct.loaded++
	if m != nil {
		c.attach(e, m, body)
	}
	return e
}

func (c *core) attach(e *entry, m *mail.Message, body mail.Body) {
	msg := c.messages[m.ID]
	if msg == nil {
		msg = &message{m: m}
		c.messages[m.ID] = msg
	}
	if body != nil && msg.body == nil {
		if b := body.Bytes(); b == nil {
			msg.body = body // a file: holding it costs nothing
		} else if n := int64(len(b)); c.bodies+n <= c.opt.BodyBudget {
			msg.body, msg.held = body, n
			c.bodies += n
		}
	}
	msg.refs++
	e.m = msg
}

// leave takes an entry that is in no list out of memory.
func (c *core) leave(e *entry) {
	c.operated(e)
	delete(c.entries, e.d.ID)
	if m := e.m; m != nil {
		if m.refs--; m.refs == 0 {
			c.bodies -= m.held
			delete(c.messages, m.m.ID)
		}
	}
	q := e.q
	q.loaded--
	q.acct.loaded--
	c.freed++
	if q.gone != nil {
		q.gone[e.d.ID] = struct{}{}
	}
	c.reload(q)
}

// putBack takes an entry that is in no list out of memory, as the spool has it: it will be read again when it is due.
func (c *core) putBack(e *entry) {
	q := e.q
	c.noteDeadline(q, e.d.ExpiresAt)
	c.leave(e)
	c.lower(q, spool.KeyOf(e.d))
}

// take takes a waiting entry out of the list it is in.
func (c *core) take(e *entry) {
	if e.state == stLane {
		e.behind = c.restsFlow(e.flow)
		c.unqueue(e)
	} else {
		e.at.remove()
	}
	e.state = stNew
}

// overdue reports whether the delivery's deadline has passed. While the clock is in doubt nothing is over.
func (c *core) overdue(d *mail.Delivery) bool {
	return !c.doubtClock && !c.now.Before(d.ExpiresAt)
}

func sortEntries(es []*entry) {
	slices.SortFunc(es, func(a, b *entry) int {
		if a.seq != b.seq {
			if a.seq < b.seq {
				return -1
			}
			return 1
		}
		return bytes.Compare(a.d.ID[:], b.d.ID[:])
	})
}
