package webhook

import (
	"context"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

const (
	// maxOpen is how many events of a webhook in delivery order are begun and not done at one time: those being sent, those
	// that failed and wait to be tried again, and those behind them of the same delivery. At so many it waits. In strict order
	// there is one.
	maxOpen = 500
	// downAfter is how many failures in a row, over all events, make a webhook in delivery order careful: one request at a
	// time, with pauses that grow, until one is taken.
	downAfter = 5
	// maxExtra is how many requests run on the whole platform besides the first of each webhook: each is a connection.
	maxExtra = 1000
)

// item is an event that was begun and is not done.
type item struct {
	id       mail.EventID
	event    *mail.Event // nil: to be read again after a start
	key      string      // events of one key are sent in order
	first    bool        // none of its key is before it
	sending  bool        // a request is under way, or what came of it is being written
	done     bool        // taken or passed over; it stays until that is written
	skip     bool        // to be passed over, as its owner asked
	attempts int
	since    time.Time // of the first attempt
	next     time.Time // not before
}

// key says which events have to stay in order.
func (e *endpoint) key(event *mail.Event) string {
	switch {
	case e.hook.Order != platform.OrderDelivery || event == nil:
		return ""
	case !event.Delivery.IsZero():
		return event.Delivery.String()
	case !event.Message.IsZero():
		return event.Message.String()
	}
	return "account/" + event.Account
}

// most is how many events may be open.
func (e *endpoint) most() int {
	if e.hook.Order == platform.OrderDelivery {
		return e.s.maxOpen
	}
	return 1
}

// add opens an event.
func (e *endpoint) add(event *mail.Event) *item {
	x := &item{id: event.ID, event: event, key: e.key(event)}
	x.first = !slices.ContainsFunc(e.open, func(o *item) bool { return o.key == x.key })
	e.open = append(e.open, x)
	return x
}

// drop closes an item that is done; the next of its key may follow.
func (e *endpoint) drop(x *item) {
	i := slices.Index(e.open, x)
	e.open = slices.Delete(e.open, i, i+1)
	if x.first {
		if next := slices.IndexFunc(e.open[i:], func(o *item) bool { return o.key == x.key }); next >= 0 {
			e.open[i+next].first = true
		}
	}
}

// rekey finds out anew what has to stay in order.
func (e *endpoint) rekey() {
	seen := map[string]bool{}
	for _, x := range e.open {
		x.key = e.key(x.event)
		x.first, seen[x.key] = !seen[x.key], true
	}
}

// hurry makes what waits for its next attempt be tried now.
func (e *endpoint) hurry() {
	for _, x := range e.open {
		x.next = time.Time{}
	}
	e.failures, e.quiet = 0, time.Time{}
	signal(e.wake)
}

// careful reports that the receiver takes nothing: it is asked now and then.
func (e *endpoint) careful() bool { return e.hook.Parallel() > 1 && e.failures >= downAfter }

// oldest returns the first item that is not done, or nil.
func (e *endpoint) oldest() *item {
	for _, x := range e.open {
		if !x.done {
			return x
		}
	}
	return nil
}

// tried returns the first item that has failed and is not done, or nil.
func (e *endpoint) tried() *item {
	for _, x := range e.open {
		if !x.done && x.attempts > 0 {
			return x
		}
	}
	return nil
}

// place returns where the webhook stands, to be written: the place before the first event that is not done, and what is
// done behind it.
func (e *endpoint) place() place {
	e.s.revision++
	e.dirty = false
	p := &e.pos
	p.At, p.Ahead, p.Open, p.Lagging = e.begun, nil, nil, !e.live
	for _, x := range e.open {
		if x.done {
			continue
		}
		p.Open = append(p.Open, store.WebhookOpen{Event: x.id, Attempts: x.attempts, First: x.since, Next: x.next})
		if p.At[x.id.Spool] >= x.id.Seq {
			p.At = p.At.With(x.id.Spool, x.id.Seq-1)
		}
	}
	if len(p.Open) > 0 {
		p.Ahead = e.begun
	}
	return place{e.s.revision, e.pos}
}

// recall reads the events again that were open when the platform stopped.
func (e *endpoint) recall(ctx context.Context) {
	for {
		e.s.mu.Lock()
		i := slices.IndexFunc(e.open, func(x *item) bool { return x.event == nil })
		if i < 0 {
			e.rekey()
			e.s.mu.Unlock()
			return
		}
		x := e.open[i]
		e.s.mu.Unlock()
		event, ok := retried(ctx, e.s.o.Logger, func(ctx context.Context) (*mail.Event, error) { return e.s.recorded(ctx, x.id) })
		if !ok {
			return
		}
		e.s.mu.Lock()
		if x.event = event; event == nil {
			e.drop(x)
			e.dirty = true
			e.s.o.Logger.Warn("an event a webhook has not had is no longer in the record and is passed over", mail.LogEvent, "webhook_event_skipped",
				mail.LogTenant, e.account, "webhook", e.hook.Name, "id", x.id.String())
		}
		e.s.mu.Unlock()
	}
}
