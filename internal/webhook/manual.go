package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// The errors callers tell apart.
var (
	// ErrNotFound: there is no such webhook at work.
	ErrNotFound = errors.New("webhook: not found")
	// ErrBusy: another test, resend or replay of the webhook is under way.
	ErrBusy = errors.New("webhook: another one is under way")
	// ErrNotWaiting: the webhook does not wait for that event.
	ErrNotWaiting = errors.New("webhook: it does not wait for that event")
	// ErrUnavailable: the platform starts or stops.
	ErrUnavailable = errors.New("webhook: not now")
)

// State says what a webhook does.
type State string

// The states of a webhook.
const (
	StateLive       State = "live"        // it has had every event there is, or has the last ones in hand
	StateCatchingUp State = "catching-up" // it gets events of the past, one after the other
	StateRetrying   State = "retrying"    // the event in hand was not taken and is tried again
	StateStopped    State = "stopped"     // it was given up and waits to be enabled
	StateDisabled   State = "disabled"    // its declaration says so
)

// Status is where a webhook stands.
type Status struct {
	State  State     `json:"state"`
	Since  time.Time `json:"since,omitzero"`   // stopped: since when; retrying: the first attempt
	Reason string    `json:"reason,omitempty"` // stopped: why
	// Event is the oldest event that failed, or else is in hand, EventTime its time, Attempts how often it was tried, Next
	// when it is tried again.
	Event     string    `json:"event,omitempty"`
	EventTime time.Time `json:"event_time,omitzero"`
	Attempts  int       `json:"attempts,omitempty"`
	Next      time.Time `json:"next,omitzero"`
	// Open counts the events begun and not taken yet, Failing those of them that failed at least once.
	Open    int `json:"open,omitempty"`
	Failing int `json:"failing,omitempty"`
	// Success is when an event was last taken.
	Success time.Time `json:"last_success,omitzero"`
}

func (e *endpoint) state() State {
	switch {
	case e.hook.Disabled:
		return StateDisabled
	case !e.pos.Stopped.IsZero():
		return StateStopped
	case e.tried() != nil:
		return StateRetrying
	case e.live:
		return StateLive
	}
	return StateCatchingUp
}

// Status returns where the webhook with that id stands. It returns ErrNotFound.
func (s *Service) Status(id string) (Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.endpoints[id]
	if e == nil {
		return Status{}, ErrNotFound
	}
	st := Status{State: e.state(), Success: e.pos.Success}
	for _, x := range e.open {
		if x.done {
			continue
		}
		if st.Open++; x.attempts > 0 {
			st.Failing++
		}
	}
	x := e.tried()
	if x == nil {
		x = e.oldest()
	}
	if x != nil {
		st.Event, st.Attempts, st.Next = x.id.String(), x.attempts, x.next
		if e.careful() && e.quiet.After(x.next) {
			st.Next = e.quiet
		}
		if x.event != nil {
			st.EventTime = x.event.At
		}
	}
	switch st.State {
	case StateStopped:
		st.Since, st.Reason = e.pos.Stopped, e.pos.Reason
	case StateRetrying:
		st.Since = x.since
	}
	return st, nil
}

// Ready waits until Run knows where every webhook stands.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// admit finds a webhook and keeps Run from returning until leave is called.
func (s *Service) admit(id string) (e *endpoint, leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || s.closed {
		return nil, nil, ErrUnavailable
	}
	if e = s.endpoints[id]; e == nil {
		return nil, nil, ErrNotFound
	}
	s.work.Add(1)
	return e, s.work.Done, nil
}

// Enable makes a stopped webhook go on from where it stopped, and one that waits for its next attempt try now. It returns
// when that is on disk.
func (s *Service) Enable(ctx context.Context, id string) error {
	return s.goOn(ctx, id, mail.EventID{})
}

// Skip passes over the event a webhook cannot get rid of, and goes on with the next. It returns ErrNotWaiting where it is
// another one.
func (s *Service) Skip(ctx context.Context, id string, event mail.EventID) error {
	if event.IsZero() {
		return ErrNotWaiting
	}
	return s.goOn(ctx, id, event)
}

func (s *Service) goOn(ctx context.Context, id string, skip mail.EventID) error {
	e, leave, err := s.admit(id)
	if err != nil {
		return err
	}
	defer leave()
	s.mu.Lock()
	if !skip.IsZero() {
		i := slices.IndexFunc(e.open, func(x *item) bool { return x.id == skip && x.attempts > 0 && !x.done })
		if i < 0 {
			s.mu.Unlock()
			return ErrNotWaiting
		}
		e.open[i].skip = true
		signal(e.wake)
	} else {
		e.hurry()
	}
	if e.pos.Stopped.IsZero() {
		s.mu.Unlock()
		return nil
	}
	c := make(chan struct{})
	e.resume = append(e.resume, c)
	running := s.ctx
	s.mu.Unlock()
	signal(e.wake)
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-running.Done():
		return ErrUnavailable
	}
}

// Test sends an event that never happened and returns what came of it. It is not tried again.
func (s *Service) Test(ctx context.Context, id string, typ mail.EventType) (*store.WebhookAttempt, error) {
	return s.byHand(ctx, id, func(account string, hook *platform.Webhook) (request, error) {
		event := sample(account, typ)
		body, err := Body(event)
		if err != nil {
			return request{}, err
		}
		// Its id must not be one that an event can have.
		name := "test_" + strings.TrimPrefix(mail.NewReplayID(time.Now()), mail.PrefixReplay)
		body, err = withID(body, name)
		return request{hook: hook, kind: store.WebhookTest, event: name, typ: typ, n: 1, body: body, mark: [2]string{headerTest, "1"}}, err
	})
}

// withID puts an id into the data of a body.
func withID(body []byte, id string) ([]byte, error) {
	var p struct {
		Type      mail.EventType             `json:"type"`
		Timestamp time.Time                  `json:"timestamp"`
		Data      map[string]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, fmt.Errorf("webhook: test event: %w", err)
	}
	p.Data["id"], _ = json.Marshal(id) // text always marshals
	return json.Marshal(p)
}

// sample is an event as it might be.
func sample(account string, typ mail.EventType) *mail.Event {
	now := time.Now().UTC().Truncate(time.Millisecond)
	e := &mail.Event{
		Type: typ, At: now, Account: account, Stream: mail.Transactional, Message: mail.NewMessageID(now), Delivery: mail.NewDeliveryID(now),
		Recipient: "recipient@example.com", Reason: "this is a test: nothing happened",
	}
	if typ == mail.EventBounced {
		e.Class, e.Scope, e.Action = mail.ClassInvalidRecipient, mail.ScopeRecipient, mail.ActionSuppress
	}
	return e
}

// Resend sends what an attempt of the log sent once more, signed anew, and returns what came of it. It does not wait for
// other events, is marked as sent before, and is not tried again. It returns store.ErrNotFound, wrapped, for an attempt that is
// no longer there.
func (s *Service) Resend(ctx context.Context, id string, attempt int64) (*store.WebhookAttempt, error) {
	old, err := s.o.Store.WebhookAttempt(ctx, id, attempt)
	if err != nil {
		return nil, err
	}
	return s.byHand(ctx, id, func(_ string, hook *platform.Webhook) (request, error) {
		if len(old.RequestBody) >= maxLoggedBody {
			return request{}, fmt.Errorf("%w: the log has the begin of its body only; replay the event", store.ErrBadQuery)
		}
		return request{
			hook: hook, kind: store.WebhookResend, event: old.Event, typ: old.Type, n: 1, body: []byte(old.RequestBody),
			mark: [2]string{headerReplay, "resend"},
		}, nil
	})
}

// byHand makes one attempt besides the live ones, and logs it.
func (s *Service) byHand(ctx context.Context, id string, make func(account string, hook *platform.Webhook) (request, error)) (*store.WebhookAttempt, error) {
	e, leave, err := s.admit(id)
	if err != nil {
		return nil, err
	}
	defer leave()
	select {
	case e.manual <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	defer func() { <-e.manual }()
	s.mu.Lock()
	account, hook, running := e.account, e.hook, s.ctx
	s.mu.Unlock()
	r, err := make(account, hook)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(running, cancel)()
	a, _, ok := s.send(ctx, r)
	if !ok {
		return nil, ErrUnavailable
	}
	s.count(a)
	s.commit(write{attempts: []*store.WebhookAttempt{a}})
	return a, nil
}

// alertStopped is the kind of alert of a webhook that was given up.
const alertStopped = "webhook_stopped"

func (s *Service) tellStopped(account string, hook *platform.Webhook, p *store.WebhookPosition) {
	s.counts.stopped.Add(1)
	s.o.Alert(platform.Alert{
		Kind: alertStopped, Scope: "webhook/" + account + "/" + hook.Name, Last: p.Stopped,
		Message: fmt.Sprintf("webhook %s of account %s gets no more events: %s. Its events are kept; enable it when its receiver works", hook.Name, account, p.Reason),
	})
	s.o.Stopped(Stopped{Account: account, Webhook: hook.Name, URL: hook.URL, Reason: p.Reason, Since: p.Stopped})
}

func (s *Service) tellResumed(account string, hook *platform.Webhook) {
	s.o.Alert(platform.Alert{Kind: alertStopped, Scope: "webhook/" + account + "/" + hook.Name, Cleared: time.Now().UTC()})
}
