package webhook

import (
	"context"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

const (
	// readPage is how many events the reader takes at a time.
	readPage = 500
	// keptRecent is how many of the last events are kept in memory, so that a webhook that has caught up can join the others
	// without a gap however fast the stream runs.
	keptRecent = 1000
	// maxQueued is how many events wait in memory for one webhook; one that is slower reads the stream by itself. One that may
	// have several requests under way has room for queuedPerRequest each, if that is more.
	maxQueued        = 32
	queuedPerRequest = 8
	// otherSpools is how often events of other spools than our own are looked for.
	otherSpools = 2 * time.Second
)

// read follows the event stream and hands events to webhooks that are up to date.
func (s *Service) read(ctx context.Context) {
	for ctx.Err() == nil {
		mark, ok := retried(ctx, s.o.Logger, func(ctx context.Context) (uint64, error) { return s.o.Store.Watermark(ctx, s.o.Spool) })
		if !ok {
			return
		}
		s.mu.Lock()
		after := s.head
		s.mu.Unlock()
		page, ok := retried(ctx, s.o.Logger, func(ctx context.Context) (store.EventPage, error) {
			return s.o.Store.Events(ctx, store.EventQuery{After: after, Max: readPage})
		})
		if !ok {
			return
		}
		s.hand(page)
		if page.More {
			continue
		}
		for wait := time.Now().Add(otherSpools); ctx.Err() == nil && time.Now().Before(wait); {
			now, ok := retried(ctx, s.o.Logger, func(ctx context.Context) (uint64, error) { return s.o.Store.WaitFor(ctx, s.o.Spool, mark+1) })
			if !ok || now > mark {
				break
			}
		}
	}
}

// hand gives a page of events to the webhooks that want them.
func (s *Service) hand(page store.EventPage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range page.Events {
		for _, account := range [...]string{e.Account, ""} {
			for _, to := range s.listeners[account] {
				if to.live && !to.push(e) {
					to.leave(s.upTo(page.Events[:i]))
				}
			}
			if e.Account == "" {
				break
			}
		}
	}
	s.recent = append(s.recent, page.Events...)
	if n := len(s.recent) - keptRecent; n > 0 {
		at := s.recentAt
		for _, e := range s.recent[:n] {
			at = at.With(e.ID.Spool, e.ID.Seq)
		}
		s.recent, s.recentAt = append([]*mail.Event(nil), s.recent[n:]...), at
	}
	if s.head = page.Next; len(s.recent) == 0 {
		s.recentAt = s.head
	}
}

// upTo is the place behind events that follow head.
func (s *Service) upTo(events []*mail.Event) store.Cursor {
	at := s.head
	for _, e := range events {
		at = at.With(e.ID.Spool, e.ID.Seq)
	}
	return at
}

// join makes a webhook that has read everything up to at one of those the reader serves, if the events between at and head
// are still in memory and few enough for it.
func (s *Service) join(e *endpoint, at store.Cursor) bool {
	if !covers(at, s.recentAt) {
		return false
	}
	was := len(e.queue)
	e.live, e.read = true, at
	for _, event := range s.recent {
		if (event.Account == e.account || e.hook.AllAccounts) && !e.push(event) {
			e.queue, e.live = e.queue[:was], false
			return false
		}
	}
	return true
}
