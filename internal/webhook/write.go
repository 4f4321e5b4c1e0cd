package webhook

import (
	"context"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// write is what is to be on disk together.
type write struct {
	places   []place
	attempts []*store.WebhookAttempt
	replays  []store.WebhookReplay
	done     chan struct{} // closed when it is on disk, or never will be
}

// place is where a webhook stands, and how new that is: an older one is never written over a newer.
type place struct {
	revision uint64
	pos      store.WebhookPosition
}

const (
	// maxWrites is how many writes share a transaction.
	maxWrites = 256
	// lastTries is how often a write is tried after the stop was asked for. What is not written is sent again.
	lastTries = 5
)

// commit writes positions, log and replays and returns when they are on disk. While the store fails it waits: nothing is
// sent whose place could not be kept.
func (s *Service) commit(w write) {
	w.done = make(chan struct{})
	s.writes <- w
	<-w.done
}

// write serves commit until writes is closed. Writes that come while one is under way share the next transaction.
func (s *Service) write() {
	written := map[string]uint64{} // revision by webhook
	for first := range s.writes {
		batch := []write{first}
	more:
		for len(batch) < maxWrites {
			select {
			case w, ok := <-s.writes:
				if !ok {
					break more
				}
				batch = append(batch, w)
			default:
				break more
			}
		}
		var all write
		var positions []store.WebhookPosition
		at := map[string]int{} // in positions: of a webhook only the newest is written
		for _, w := range batch {
			for _, p := range w.places {
				id := p.pos.Webhook
				if p.revision <= written[id] {
					continue
				}
				written[id] = p.revision
				if i, ok := at[id]; ok {
					positions[i] = p.pos
					continue
				}
				at[id] = len(positions)
				positions = append(positions, p.pos)
			}
			all.attempts = append(all.attempts, w.attempts...)
			all.replays = append(all.replays, w.replays...)
		}
		s.put(positions, all)
		for _, w := range batch {
			close(w.done)
		}
	}
}

func (s *Service) put(positions []store.WebhookPosition, w write) {
	tries := 0
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		err := s.o.Store.WriteWebhooks(context.Background(), positions, w.attempts, w.replays)
		if err == nil {
			for _, a := range w.attempts {
				if a.ID == 0 {
					s.counts.dropped.Add(1)
				}
			}
			return
		}
		s.o.Logger.Error("places of webhooks are not written; nothing more is sent until they are", mail.LogEvent, "webhook_store_failed", mail.LogErr, err)
		if s.stopping() {
			if tries++; tries == lastTries {
				return
			}
			wait = firstPause
		}
		time.Sleep(wait)
	}
}

// stopping reports whether Run is to end.
func (s *Service) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed || s.ctx == nil || s.ctx.Err() != nil
}

// flush writes the places of webhooks that have nothing to send.
func (s *Service) flush() {
	var w write
	s.mu.Lock()
	for _, e := range s.endpoints {
		if e.rest() {
			w.places = append(w.places, e.place())
		}
	}
	s.mu.Unlock()
	if len(w.places) > 0 {
		s.commit(w)
	}
}
