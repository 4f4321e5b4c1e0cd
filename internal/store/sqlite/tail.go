package sqlite

import (
	"slices"
	"sync"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// maxTail is how many of a spool's last events are kept in memory at least, once there are so many; at most twice as many.
const maxTail = 4096

// tail keeps the events recorded last, as they were written: those who follow the stream are nearly always behind its end
// by less, and reading each event from a file for each of them costs more than recording it did.
type tail struct {
	mu     sync.Mutex
	spools map[mail.SpoolID]*recent
}

// recent are all events of a spool after one sequence and up to another.
type recent struct {
	from, to uint64
	events   []*mail.Event
	// broken: a write failed. It may have recorded events that the next one does not bring again.
	broken bool
}

// wrote takes the events of a write that has succeeded and moved the watermark.
func (t *tail) wrote(spool mail.SpoolID, before, upTo uint64, events []*mail.Event) {
	if upTo <= before {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.spools[spool]
	switch {
	case x == nil || !x.broken && x.to != before:
		x = &recent{from: before}
	case x.broken:
		x, events = &recent{from: upTo}, nil
	}
	for _, e := range events {
		if e.ID.Seq > before {
			x.events = append(x.events, e)
		}
	}
	x.to = upTo
	if n := len(x.events) - maxTail; n > maxTail {
		x.from = x.events[n-1].ID.Seq
		x.events = slices.Clone(x.events[n:])
	}
	if t.spools == nil {
		t.spools = map[mail.SpoolID]*recent{}
	}
	t.spools[spool] = x
}

// failed notes that a write of the spool failed.
func (t *tail) failed(spool mail.SpoolID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.spools == nil {
		t.spools = map[mail.SpoolID]*recent{}
	}
	t.spools[spool] = &recent{broken: true}
}

// clear forgets everything: what is in the files has been changed.
func (t *tail) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, x := range t.spools {
		if !x.broken {
			delete(t.spools, id)
		}
	}
}

// read returns the next rows after a sequence, as far as one more, and how far they reach. ok is false where not all of
// them are here.
func (t *tail) read(spool mail.SpoolID, after, upTo uint64, chunk int, q *store.EventQuery) (list []fetched, bound uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.spools[spool]
	if x == nil || x.broken || after < x.from || upTo > x.to {
		return nil, 0, false
	}
	i, _ := slices.BinarySearchFunc(x.events, after+1, func(e *mail.Event, seq uint64) int {
		if e.ID.Seq < seq {
			return -1
		}
		return 1
	})
	for bound = upTo; i < len(x.events) && x.events[i].ID.Seq <= upTo; i++ {
		if len(list) == chunk {
			bound = list[chunk-1].seq
			break
		}
		e := x.events[i]
		row := fetched{seq: e.ID.Seq}
		if (q.Account == "" || e.Account == q.Account) && (q.Stream == "" || e.Stream == q.Stream) && (len(q.Types) == 0 || slices.Contains(q.Types, e.Type)) {
			own := *e // the reader's own, as one read from a file is
			row.event = &own
		}
		list = append(list, row)
	}
	return list, bound, true
}
