package webhook

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// endpoint is one webhook at work: this file has what it is and how events reach it, open.go the events in hand, send.go
// and deliver.go what becomes of them. All fields are guarded by Service.mu.
type endpoint struct {
	s       *Service
	account string
	hook    *platform.Webhook     // never changed, only replaced
	pos     store.WebhookPosition // as it was last written, but for At, Ahead and Open, which place makes
	dirty   bool                  // pos is not as it was written

	live   bool          // served by the reader
	queue  []*mail.Event // to be begun next, in order
	read   store.Cursor  // what it wants up to here is in queue, or was begun
	begun  store.Cursor  // what it wants up to here is in open, or done
	open   []*item       // begun and not done, in commit order
	resume []chan struct{}

	sending  int       // requests in hand
	failures int       // in a row, over all its events
	quiet    time.Time // nothing is sent before

	wake    chan struct{} // look again
	manual  chan struct{} // holds a token while a test or a resend is under way
	cancel  context.CancelFunc
	workers sync.WaitGroup
	gone    bool // deleted
	// replaying ends the replay under way; nil: there is none. cancelled reports that the customer ended it.
	replaying context.CancelFunc
	cancelled bool
}

// start begins a webhook's work. It is called with Service.mu held.
func (s *Service) start(ctx context.Context, account string, hook *platform.Webhook, p store.WebhookPosition) *endpoint {
	ctx, cancel := context.WithCancel(ctx)
	e := &endpoint{
		s: s, account: account, hook: hook, pos: p, begun: p.Behind(), wake: make(chan struct{}, 1), manual: make(chan struct{}, 1), cancel: cancel,
	}
	for _, o := range p.Open {
		e.open = append(e.open, &item{id: o.Event, attempts: o.Attempts, since: o.First, next: o.Next})
	}
	e.read = e.begun
	// One that was up to date goes on with the others: the reader begins no later than where it stands.
	e.live = !p.Lagging && p.Stopped.IsZero() && !hook.Disabled && covers(e.begun, s.head)
	s.listen(e) // at once: what the reader hands out next comes to it
	s.work.Go(func() {
		defer cancel()
		e.run(ctx)
		s.mu.Lock()
		gone := e.gone
		s.mu.Unlock()
		if gone {
			if err := s.o.Store.DeleteWebhook(context.WithoutCancel(ctx), hook.ID); err != nil {
				s.o.Logger.Warn("the place of a deleted webhook is still there", mail.LogEvent, "webhook_not_forgotten", "webhook", hook.Name, mail.LogErr, err)
			}
		}
	})
	return e
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// change takes over a new declaration.
func (e *endpoint) change(account string, hook *platform.Webhook) {
	old := e.hook
	e.account, e.hook = account, hook
	rotated := len(old.Keys) != len(hook.Keys) || len(hook.Keys) > 0 && !old.Keys[0].Since.Equal(hook.Keys[0].Since)
	filtered := !slices.Equal(old.Types, hook.Types) || !slices.Equal(old.Streams, hook.Streams) || old.AllAccounts != hook.AllAccounts
	ordered := old.Order != hook.Order || old.Concurrency != hook.Concurrency
	if hook.Disabled {
		e.reset()
	}
	if ordered {
		e.rekey()
	}
	if old.URL != hook.URL || old.Disabled != hook.Disabled || rotated || filtered || ordered {
		e.hurry() // what failed may work now, or not be wanted any more
	}
}

// remove ends the work of a webhook that was deleted.
func (e *endpoint) remove() {
	e.gone, e.live, e.queue = true, false, nil
	e.cancel()
	if e.replaying != nil {
		e.replaying()
	}
}

// push gives a live webhook an event; false: there is no room.
func (e *endpoint) push(event *mail.Event) bool {
	if event.ID.Seq <= e.read[event.ID.Spool] || !e.hook.Wants(event) {
		return true
	}
	if len(e.queue) >= e.room() {
		return false
	}
	e.queue = append(e.queue, event)
	signal(e.wake)
	return true
}

// room is how many events may wait in memory to be begun.
func (e *endpoint) room() int { return max(maxQueued, queuedPerRequest*e.hook.Parallel()) }

// reset gives up what is only queued: it is read again from where the webhook has begun with everything.
func (e *endpoint) reset() { e.live, e.queue, e.read = false, nil, e.begun }

// leave makes the webhook read the stream by itself, from a place up to which it has everything.
func (e *endpoint) leave(at store.Cursor) {
	if e.live {
		// What it had read by itself before it joined may lie behind the others' place.
		for spool, seq := range e.read {
			if at[spool] < seq {
				at = at.With(spool, seq)
			}
		}
	}
	e.live, e.read = false, at
}

// rest brings the place up to date while nothing is queued, and reports whether it is to be written.
func (e *endpoint) rest() bool {
	if len(e.queue) == 0 && e.pos.Stopped.IsZero() && !e.hook.Disabled && !e.gone {
		at := e.read
		if e.live {
			at = higher(e.s.head, at)
		}
		if !covers(e.begun, at) || e.pos.Lagging == e.live {
			e.begun, e.dirty = at, true
		}
	}
	return e.dirty && !e.gone
}

// higher returns the place that is behind both.
func higher(a, b store.Cursor) store.Cursor {
	for spool, seq := range b {
		if a[spool] < seq {
			a = a.With(spool, seq)
		}
	}
	return a
}

// query asks for the next events the webhook wants.
func (e *endpoint) query() store.EventQuery {
	q := store.EventQuery{After: e.read, Account: e.account, Types: e.hook.Types, Max: e.room()}
	if e.hook.AllAccounts {
		q.Account = ""
	}
	if len(e.hook.Streams) == 1 {
		q.Stream = e.hook.Streams[0]
	}
	return q
}

// readOn reads a page by itself and joins the others when there is no more.
func (e *endpoint) readOn(ctx context.Context, q store.EventQuery) {
	page, ok := retried(ctx, e.s.o.Logger, func(ctx context.Context) (store.EventPage, error) { return e.s.o.Store.Events(ctx, q) })
	if !ok {
		return
	}
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if e.live || !reflect.DeepEqual(q, e.query()) { // changed meanwhile
		return
	}
	e.queue, e.read = page.Events, page.Next
	if !page.More {
		e.s.join(e, page.Next)
	}
}
