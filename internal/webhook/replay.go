package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

const (
	// replayTries is how often an event of a replay is tried before the replay ends.
	replayTries = 6
	// slack is by how much the time of an event may differ from those around it in the stream: its order is that of its
	// commit, its time that of a clock.
	slack = time.Hour
)

// ReplayRequest says which events of the past are sent once more: those of a time, as the webhook's filter has them, or
// those named.
type ReplayRequest struct {
	From, To time.Time // To is exclusive
	Events   []mail.EventID
}

// Replay begins to send events of the past to a webhook once more, beside the live ones: in commit order, or in the order
// they are named, the next one when the one before was taken. They keep their id and carry the field Postroad-Replay. It goes on over restarts, and ends when
// an event was refused replayTries times. It returns store.ErrNotFound, wrapped, for an event that is not in the record,
// and ErrBusy while another replay of the webhook runs.
func (s *Service) Replay(ctx context.Context, id, actor string, q ReplayRequest) (store.WebhookReplay, error) {
	e, leave, err := s.admit(id)
	if err != nil {
		return store.WebhookReplay{}, err
	}
	defer leave()
	now := time.Now().UTC().Truncate(time.Microsecond)
	r := store.WebhookReplay{ID: mail.NewReplayID(now), Webhook: id, From: q.From, To: q.To, State: store.ReplayRunning, Since: now, Actor: actor}
	if !r.To.IsZero() && r.To.After(now) {
		r.To = now
	}
	for _, event := range q.Events {
		if _, err := s.event(ctx, e, event); err != nil {
			return store.WebhookReplay{}, err
		}
		r.Events = append(r.Events, event.String())
	}
	s.mu.Lock()
	running := s.ctx
	if e.replaying != nil {
		s.mu.Unlock()
		return store.WebhookReplay{}, ErrBusy
	}
	work, cancel := context.WithCancel(running)
	e.replaying = cancel
	s.mu.Unlock()
	s.commit(write{replays: []store.WebhookReplay{r}})
	s.work.Go(func() { s.replay(work, e, r) })
	return r, nil
}

// CancelReplay ends the replay of a webhook, if there is one.
func (s *Service) CancelReplay(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.endpoints[id]
	if e == nil || e.replaying == nil {
		return ErrNotFound
	}
	e.cancelled = true
	e.replaying()
	return nil
}

// resumeReplays goes on with the replays that ran when the platform stopped.
func (s *Service) resumeReplays(ctx context.Context, list []store.WebhookReplay) {
	for _, r := range list {
		s.mu.Lock()
		e := s.endpoints[r.Webhook]
		if e == nil {
			s.orphans[r.Webhook] = true
		}
		if e == nil || e.replaying != nil {
			s.mu.Unlock()
			continue
		}
		work, cancel := context.WithCancel(ctx)
		e.replaying = cancel
		s.mu.Unlock()
		s.work.Go(func() { s.replay(work, e, r) })
	}
}

// replay sends the events of one replay.
func (s *Service) replay(ctx context.Context, e *endpoint, r store.WebhookReplay) {
	err := s.replayAll(ctx, e, &r)
	s.mu.Lock()
	cancelled, gone, stopping := e.cancelled, e.gone, s.ctx.Err() != nil
	e.replaying()
	e.replaying, e.cancelled = nil, false
	s.mu.Unlock()
	switch {
	case gone, stopping && ctx.Err() != nil && !cancelled:
		return // it is over with the webhook, or goes on after the start
	case cancelled:
		r.State, r.Error = store.ReplayCancelled, ""
	case err != nil:
		r.State, r.Error = store.ReplayFailed, err.Error()
	default:
		r.State = store.ReplayDone
	}
	r.Ended = time.Now().UTC().Truncate(time.Microsecond)
	s.commit(write{replays: []store.WebhookReplay{r}})
}

func (s *Service) replayAll(ctx context.Context, e *endpoint, r *store.WebhookReplay) error {
	if len(r.Events) > 0 {
		for r.Done < len(r.Events) {
			id, err := mail.ParseEventID(r.Events[r.Done])
			if err != nil {
				return err
			}
			event, err := s.event(ctx, e, id)
			if err != nil {
				return err
			}
			r.Done++
			if err := s.replayOne(ctx, e, r, event); err != nil {
				return err
			}
		}
		return nil
	}
	tail, err := s.o.Store.Tail(ctx)
	if err != nil {
		return err
	}
	if !r.Looked {
		if r.At, err = s.seek(ctx, tail, r.From.Add(-slack)); err != nil {
			return err
		}
		r.Looked = true
	}
	end, err := s.seek(ctx, tail, r.To.Add(slack))
	if err != nil {
		return err
	}
	for !covers(r.At, end) {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.mu.Lock()
		account, hook := e.account, e.hook
		s.mu.Unlock()
		q := store.EventQuery{After: r.At, Account: account, Types: hook.Types, Max: maxQueued}
		if hook.AllAccounts {
			q.Account = ""
		}
		page, err := s.o.Store.Events(ctx, q)
		if err != nil {
			return err
		}
		for _, event := range page.Events {
			at := r.At.With(event.ID.Spool, event.ID.Seq)
			if event.At.Before(r.From) || !event.At.Before(r.To) || !hook.Wants(event) {
				r.At = at
				continue
			}
			was := r.At
			r.At = at
			if err := s.replayOne(ctx, e, r, event); err != nil {
				r.At = was
				return err
			}
		}
		r.At = page.Next
		if !page.More && len(page.Events) == 0 {
			return nil
		}
	}
	return nil
}

// replayOne sends one event until it is taken; with it the progress of the replay is written.
func (s *Service) replayOne(ctx context.Context, e *endpoint, r *store.WebhookReplay, event *mail.Event) error {
	body, err := Body(event)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		s.mu.Lock()
		hook, stopped := e.hook, !e.pos.Stopped.IsZero()
		s.mu.Unlock()
		if stopped || hook.Disabled {
			return errors.New("the webhook is not enabled")
		}
		a, after, ok := s.send(ctx, request{
			hook: hook, kind: store.WebhookReplayed, event: event.ID.String(), typ: event.Type, n: n, body: body, mark: [2]string{headerReplay, r.ID},
		})
		if !ok {
			return context.Canceled
		}
		s.count(a)
		s.counts.replayed.Add(1)
		if a.Taken {
			r.Sent++
			s.commit(write{attempts: []*store.WebhookAttempt{a}, replays: []store.WebhookReplay{*r}})
			return nil
		}
		wait := pause(n, after)
		last := n == replayTries
		if !last {
			a.Next = a.At.Add(a.Took + wait)
		}
		s.commit(write{attempts: []*store.WebhookAttempt{a}})
		if last {
			return fmt.Errorf("event %s was not taken in %d attempts; at last: %s", event.ID, n, a.Error)
		}
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// event reads one event of the webhook's account.
func (s *Service) event(ctx context.Context, e *endpoint, id mail.EventID) (*mail.Event, error) {
	found, err := s.recorded(ctx, id)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	account, hook := e.account, e.hook
	s.mu.Unlock()
	if found == nil || found.Account != account && !hook.AllAccounts {
		return nil, fmt.Errorf("webhook: event %s is not in the record: %w", id, store.ErrNotFound)
	}
	return found, nil
}

// recorded reads one event, or returns nil where the record has none of that id.
func (s *Service) recorded(ctx context.Context, id mail.EventID) (*mail.Event, error) {
	tail, err := s.o.Store.Tail(ctx)
	if err != nil || id.Seq == 0 || id.Seq > tail[id.Spool] {
		return nil, err
	}
	found, err := s.first(ctx, tail, id.Spool, id.Seq)
	if err != nil || found == nil || found.ID != id {
		return nil, err
	}
	return found, nil
}

// first returns the first event of a spool at or behind a sequence, or nil.
func (s *Service) first(ctx context.Context, tail store.Cursor, spool mail.SpoolID, seq uint64) (*mail.Event, error) {
	q := store.EventQuery{After: tail.With(spool, seq-1), Max: 1}
	for {
		page, err := s.o.Store.Events(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Events {
			if e.ID.Spool == spool {
				return e, nil
			}
		}
		if !page.More {
			return nil, nil
		}
		q.After = page.Next
	}
}

// seek returns the place before the first events of a time or later. Times in the stream are nearly in order, so it asks in
// the middle, again and again; who needs it exact allows for slack.
func (s *Service) seek(ctx context.Context, tail store.Cursor, at time.Time) (store.Cursor, error) {
	place := store.Cursor{}
	for spool, last := range tail {
		low, high := uint64(1), last+1 // the first event of the time lies in low..high; last+1: there is none
		for low < high {
			middle := low + (high-low)/2
			e, err := s.first(ctx, tail, spool, middle)
			if err != nil {
				return nil, err
			}
			if e != nil && e.At.Before(at) {
				low = max(e.ID.Seq, middle) + 1
			} else {
				high = middle
			}
		}
		if low > 1 {
			place[spool] = low - 1
		}
	}
	return place, nil
}
