package queue

import (
	"errors"

	"github.com/postroad/postroad/internal/egress"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// verb is an operation on one delivery.
type verb uint8

const (
	verbRetry  verb = iota // try it now
	verbCancel             // take it out
	verbUnhold             // look again whether it is to be held
)

// operate is the input for an operation. It is answered by operated when its effect is on disk, or there is none.
type operate struct {
	verb  verb
	spool int
	d     *mail.Delivery // as a reader of the spool saw it; only its names are used
	why   string         // verbCancel: the reason; verbUnhold: the name of the hold

	hit  bool // it had an effect, or will have when the attempt in hand is over
	done func()
}

func (in *operate) apply(c *core) {
	e := c.entries[in.d.ID]
	switch {
	case e == nil:
		// Being in memory keeps pages from taking it up while its record is read.
		e = c.enter(c.queue(queueID{in.spool, in.d.Queue}), in.d, nil, nil)
		e.state, e.op = stFetching, in
		c.do(fetch{sp: in.spool, e: e})
	case e.waits():
		c.take(e)
		e.op = in
		c.perform(e)
	default:
		if in.verb == verbCancel {
			in.hit = true
			e.cancel = in.why // in hand: let it finish, cancel what is left
		}
		c.do(operated{in})
	}
}

// fetched is the input that answers fetch.
type fetched struct {
	e   *entry
	d   *mail.Delivery
	m   *mail.Message
	err error
}

func (in *fetched) apply(c *core) {
	e := in.e
	e.state = stNew
	if in.err != nil {
		if !errors.Is(in.err, spool.ErrNotFound) {
			c.do(complain{text: "cannot read a delivery", id: e.d.ID, err: in.err})
			c.putBack(e)
			return
		}
		c.leave(e) // it is over meanwhile
		return
	}
	e.d = in.d
	if in.m != nil {
		c.attach(e, in.m, nil)
	}
	if e.d.Mark != nil {
		// An open mark and not in memory: left by a crash, and not yet settled. Nobody may touch it.
		c.putBack(e)
		return
	}
	if e.cancel != "" {
		c.cancelEntry(e, e.cancel)
		return
	}
	c.perform(e)
}

// perform does the operation e.op on an entry that is in no list.
func (c *core) perform(e *entry) {
	op := e.op
	if op.verb != verbCancel && !c.now.Before(e.d.ExpiresAt) {
		if c.doubtClock {
			c.putBack(e)
			return
		}
		c.expire(e)
		return
	}
	switch op.verb {
	case verbCancel:
		op.hit = true
		c.cancelEntry(e, op.why)
	case verbRetry:
		own := e.d.Held == HeldCrashLoop || e.d.Held == HeldDamaged
		switch {
		case e.d.Held != "" && !own:
			c.putBack(e)
		case own || e.d.Due.After(c.now):
			op.hit = true
			d := *e.d
			d.Held, d.Crashes, d.Due = "", 0, c.now
			if own {
				c.clearAlert(e.d.Held, "delivery/"+d.ID.String())
			}
			c.move(e, &d, nil)
		default: // due already: what keeps it is in front of it
			op.hit = true
			c.hasten(e)
			c.operated(e)
			if e.m == nil {
				c.putBack(e)
				return
			}
			c.dispatch(e)
		}
	case verbUnhold:
		if e.d.Held != op.why || e.m == nil {
			c.putBack(e)
			return
		}
		d := *e.d
		h := c.heldBy(e, mail.Lane{})
		if h != nil && h.Name == e.d.Held {
			c.putBack(e)
			return
		}
		op.hit = true
		if h != nil {
			c.hold(e, h)
			return
		}
		d.Held, d.Due = "", c.now
		c.move(e, &d, nil)
	}
}

// operated tells that the operation e is in memory or changed for is over.
func (c *core) operated(e *entry) {
	if e.op != nil {
		c.do(operated{e.op})
		e.op = nil
	}
}

func (c *core) cancelEntry(e *entry, why string) {
	e.cancel = ""
	o := &mail.Outcome{Delivery: e.d.ID, Result: mail.Cancelled, Action: mail.ActionNone}
	c.finish(e, mail.EventCancelled, o, why)
}

// hasten lets the gates in front of a delivery be probed now.
func (c *core) hasten(e *entry) {
	if g := e.q.gate; g != nil {
		c.probeNow(g)
	}
	if e.place != nil && e.place.gate != nil {
		c.probeNow(e.place.gate)
	}
	if g := e.behind; g != nil && g.key.extent != egress.ExtentRoute {
		c.probeNow(g) // a route that refused our login is not asked again for one delivery's sake
	}
}

func (c *core) probeNow(g *gate) {
	if g.fails == 0 || g.open(c) {
		return
	}
	g.until = c.now
	c.timers.stop(&g.timer)
	c.keep(g)
	c.admit(g)
}
