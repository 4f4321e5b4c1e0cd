package webhook

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// run sends events until ctx ends.
func (e *endpoint) run(ctx context.Context) {
	defer e.workers.Wait()
	e.recall(ctx)
	for ctx.Err() == nil {
		e.s.mu.Lock()
		if !e.pos.Stopped.IsZero() && len(e.resume) > 0 {
			e.restart() // gives the lock back
			continue
		}
		var next time.Time
		if e.pos.Stopped.IsZero() && !e.hook.Disabled {
			next = e.begin(ctx)
			if !e.live && len(e.queue) == 0 && len(e.open) < e.most() {
				q := e.query()
				e.s.mu.Unlock()
				e.readOn(ctx, q)
				continue
			}
		}
		e.s.mu.Unlock()
		e.idle(ctx, next)
	}
}

// idle waits until there is something to look at, at the latest until a time, if there is one.
func (e *endpoint) idle(ctx context.Context, until time.Time) {
	var at <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		at = t.C
	}
	select {
	case <-e.wake:
	case <-at:
	case <-ctx.Done():
	}
}

// begin starts the requests that may be started now, and returns when another may be; zero: when something changes. It is
// called with Service.mu held.
func (e *endpoint) begin(ctx context.Context) (next time.Time) {
	now := time.Now()
	if e.quiet.After(now) {
		return e.quiet
	}
	if e.careful() {
		if x := e.probe(); x != nil {
			e.request(ctx, x, true)
		}
		return time.Time{}
	}
	for _, x := range e.open {
		if x.sending || !x.first {
			continue
		}
		if x.next.After(now) && !x.skip && e.hook.Wants(x.event) {
			if next.IsZero() || x.next.Before(next) {
				next = x.next
			}
			continue
		}
		if !e.request(ctx, x, false) {
			return next
		}
	}
	for len(e.open) < e.most() && e.free() {
		x := e.take()
		if x == nil {
			return next
		}
		if x.first {
			e.request(ctx, x, false)
		}
	}
	return next
}

// probe returns what a receiver that took nothing lately is asked with, once nothing is under way: in turns the event that
// waited longest, and a new one or another that waits. So a dead receiver is left in peace, and a few events that it cannot
// take do not pass for a dead receiver.
func (e *endpoint) probe() (x *item) {
	if e.sending > 0 {
		return nil
	}
	if e.failures%2 == 0 && len(e.open) < e.most() {
		if x = e.take(); x != nil && x.first {
			return x
		}
	}
	x = nil
	for _, o := range e.open {
		if o.first && (x == nil || e.failures%2 == 0 && o.next.Before(x.next)) {
			x = o
		}
	}
	return x
}

// take opens the next event that is queued and wanted; nil: there is none.
func (e *endpoint) take() *item {
	for len(e.queue) > 0 {
		event := e.queue[0]
		e.queue[0], e.queue = nil, e.queue[1:]
		if event.ID.Seq <= e.begun[event.ID.Spool] {
			continue
		}
		e.begun = e.begun.With(event.ID.Spool, event.ID.Seq)
		if e.hook.Wants(event) {
			return e.add(event)
		}
	}
	e.queue = nil
	return nil
}

// free reports whether one more request may run. One that may not because of the whole platform is woken when one ends.
func (e *endpoint) free() bool {
	if e.sending >= e.hook.Parallel() {
		return false
	}
	if e.sending > 0 && e.s.extra >= e.s.maxExtra {
		e.s.starved[e] = true
		return false
	}
	return true
}

// request starts a request; false: no more may run.
func (e *endpoint) request(ctx context.Context, x *item, probe bool) bool {
	if !e.free() {
		return false
	}
	if e.sending++; e.sending > 1 {
		e.s.extra++
	}
	x.sending = true
	e.workers.Go(func() {
		e.deliver(ctx, x, probe)
		e.s.mu.Lock()
		if x.sending = false; x.done {
			e.drop(x)
		}
		if e.sending--; e.sending > 0 {
			e.s.extra--
			for other := range e.s.starved {
				delete(e.s.starved, other)
				signal(other.wake)
				break
			}
		}
		e.s.mu.Unlock()
		signal(e.wake)
	})
	return true
}

// deliver makes one attempt and writes what came of it.
func (e *endpoint) deliver(ctx context.Context, x *item, probe bool) {
	e.s.mu.Lock()
	hook, n, skip := e.hook, x.attempts+1, x.skip
	e.s.mu.Unlock()
	if !skip && !hook.Wants(x.event) {
		e.done(x, nil)
		return
	}
	event := x.event
	if n > 1 { // Since the first attempt somebody may have been erased from it.
		now, ok := retried(ctx, e.s.o.Logger, func(ctx context.Context) (*mail.Event, error) { return e.s.recorded(ctx, x.id) })
		if !ok {
			return
		}
		if now != nil {
			event = now
		}
	}
	body, err := Body(event)
	if err != nil { // no event the store can hold
		e.s.o.Logger.Error("an event cannot be written as JSON and is passed over", mail.LogEvent, "webhook_event_skipped", mail.LogErr, err)
		e.done(x, nil)
		return
	}
	if skip {
		e.done(x, &store.WebhookAttempt{
			Webhook: hook.ID, Kind: store.WebhookLive, Event: x.id.String(), Type: event.Type, N: n, At: time.Now().UTC().Truncate(time.Microsecond),
			URL: hook.URL, Error: "passed over, as its owner asked", RequestBody: string(body),
		})
		return
	}
	a, after, ok := e.s.send(ctx, request{hook: hook, kind: store.WebhookLive, event: x.id.String(), typ: event.Type, n: n, body: body})
	if !ok {
		return // the platform stops; the event is sent again when it starts
	}
	e.s.count(a)
	if a.Taken {
		e.done(x, a)
	} else {
		e.failed(x, a, after, probe)
	}
}

// done writes that an event was taken or passed over.
func (e *endpoint) done(x *item, a *store.WebhookAttempt) {
	e.s.mu.Lock()
	x.done = true
	w := write{}
	if a != nil {
		w.attempts = []*store.WebhookAttempt{a}
	}
	if a != nil && a.Taken {
		e.pos.Success = a.At
		if e.careful() {
			e.hurry() // it works again
		}
		e.failures = 0
	}
	w.places = []place{e.place()}
	gone := e.gone
	e.s.mu.Unlock()
	if !gone {
		e.s.commit(w)
	}
}

// failed writes that an event was not taken, and stops the webhook if that has gone on for too long.
func (e *endpoint) failed(x *item, a *store.WebhookAttempt, after time.Duration, probe bool) {
	e.s.mu.Lock()
	if e.hook.Order != platform.OrderDelivery {
		e.reset() // while it fails it keeps one event in memory and is served by nobody
	}
	p := &e.pos
	if probe || e.failures < downAfter { // those that were under way when it went down count no more
		e.failures++
	}
	if x.attempts++; x.since.IsZero() {
		x.since = a.At
	}
	end := a.At.Add(a.Took).UTC()
	stops := p.Stopped.IsZero()
	switch tried := end.Sub(x.since); {
	case !stops: // by another event
	case a.Status == http.StatusGone:
		p.Stopped, p.Reason = end, "it answered 410 Gone"
	case tried >= e.s.o.GiveUp:
		p.Stopped = end
		p.Reason = fmt.Sprintf("event %s was not taken in %d attempts over %s; at last: %s", x.id, x.attempts, tried.Round(time.Second), a.Error)
	default:
		// The last attempt is at the end, not before it.
		x.next = end.Add(min(pause(x.attempts, after), max(e.s.o.GiveUp-tried, time.Second)))
		a.Next = x.next
		if e.careful() {
			after = pause(e.failures-downAfter+1, after)
		}
		if until := end.Add(after); e.hook.Parallel() > 1 && until.After(e.quiet) {
			e.quiet = until
		}
	}
	stopped := stops && !p.Stopped.IsZero()
	if !p.Stopped.IsZero() {
		x.next = time.Time{}
		e.reset()
	}
	hook, account, gone, at := e.hook, e.account, e.gone, e.place()
	e.s.mu.Unlock()
	if gone {
		return
	}
	e.s.commit(write{places: []place{at}, attempts: []*store.WebhookAttempt{a}})
	if stopped {
		e.s.tellStopped(account, hook, &at.pos)
	}
}

// restart makes a stopped webhook go on from where it stopped. It is called with Service.mu held and gives it back.
func (e *endpoint) restart() {
	waiting := e.resume
	e.resume = nil
	e.pos.Stopped, e.pos.Reason = time.Time{}, ""
	for _, x := range e.open {
		x.attempts, x.since = 0, time.Time{}
	}
	e.hurry()
	e.reset()
	w := write{places: []place{e.place()}}
	account, hook := e.account, e.hook
	e.s.mu.Unlock()
	e.s.commit(w)
	e.s.tellResumed(account, hook)
	for _, c := range waiting {
		close(c)
	}
}

// count adds an attempt to the figures.
func (s *Service) count(a *store.WebhookAttempt) {
	switch {
	case a.Taken:
		s.counts.taken.Add(1)
	case a.Status != 0:
		s.counts.refused.Add(1)
	default:
		s.counts.failed.Add(1)
	}
}
