package queue

import (
	"context"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// The suppression list is asked again when a delivery is picked up: its address may have come on it while it waited. What
// the list has in memory answers for almost everybody, at once, within the step. Only where an entry may be there is the
// delivery taken out of its lane and the list asked in full, beside the queue, like the place of a domain.

const (
	// askTime is how long an answer of the list is waited for.
	askTime = 5 * time.Second
	// clearedFor is how long an answer "not on the list" is believed: enough to get through the lane.
	clearedFor = time.Minute
)

// alertList is the kind of alert of a list that cannot be asked.
const alertList = "suppressions-unread"

// listed reports whether an entry's address may be on the suppression list.
func (c *core) listed(e *entry) bool {
	return c.opt.Listed != nil && !c.now.Before(e.cleared) && c.opt.Listed(e.q.id.key.Account, e.d.Recipient)
}

// askList keeps an entry that is in no list until the suppression list has been asked.
func (c *core) askList(e *entry) {
	c.asked++
	e.state, e.ask = stAsking, c.asked
	if c.askers >= c.opt.Askers {
		c.askQueue.push(&e.at)
		return
	}
	c.startAsking(e)
}

func (c *core) startAsking(e *entry) {
	c.askers++
	c.asking.push(&e.at)
	c.do(ask{e: e, n: e.ask, account: e.q.id.key.Account, stream: e.q.id.key.Stream, to: e.d.Recipient})
}

// ask asks the suppression list about one entry; answered answers it.
type ask struct {
	e       *entry
	n       uint64 // the entry's question: it may have moved on, and asked again, when the answer comes
	account string
	stream  mail.Stream
	to      mail.Address
}

func (ask) action() {}

// answered is the input that answers ask.
type answered struct {
	ask
	why  string
	is   bool
	err  error
	over bool // the queue stops; nothing is known
}

func (in answered) apply(c *core) {
	c.askers--
	if c.askQueue.n > 0 && !c.stopping {
		next := c.askQueue.head.item
		next.at.remove()
		c.startAsking(next)
	}
	e := in.e
	if c.entries[e.d.ID] != e || e.state != stAsking || e.ask != in.n {
		return // it ended, or began anew, meanwhile
	}
	c.take(e)
	switch {
	case in.over:
		c.putBack(e)
		return
	case in.err != nil:
		// Mail flows although the list cannot be read: whom it holds was asked for at acceptance, and nobody else may
		// have to wait for the store.
		c.alert(alertList, "node", "the suppression list cannot be read; mail that was accepted goes out as if nobody had come on it since: "+in.err.Error())
	default:
		c.clearAlert(alertList, "node")
	}
	if in.is {
		c.finish(e, mail.EventSuppressed, &mail.Outcome{Delivery: e.d.ID, Result: mail.Suppressed, Action: mail.ActionNone}, in.why)
		return
	}
	e.cleared = c.now.Add(clearedFor)
	c.dispatch(e)
}

// askSuppressed asks the list.
func (q *Queue) askSuppressed(a ask) {
	ctx, cancel := context.WithTimeout(q.io, askTime)
	defer cancel()
	in := answered{ask: a}
	in.why, in.is, in.err = q.opt.Suppressed(ctx, a.account, a.stream, a.to)
	in.over = in.err != nil && q.io.Err() != nil
	q.step(in)
}
