package sqlite

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

const (
	// eventChunk is how many rows of a file are read at once.
	eventChunk = 512
	// eventSpan is how many sequences are looked through at once for one account's: SQLite passes over the others'.
	eventSpan = 8192
)

// Events implements store.Record. Each spool's events are merged from its day files by sequence, up to its watermark
// and no further: above it some file may still lack events that others have. Between spools there is no order; they
// take turns.
func (s *Store) Events(ctx context.Context, q store.EventQuery) (store.EventPage, error) {
	if err := s.ready(); err != nil {
		return store.EventPage{}, err
	}
	limit := store.PageSize(q.Max)
	deadline := s.opts.Now().Add(store.MaxScan)
	page := store.EventPage{Next: maps.Clone(q.After)}
	if page.Next == nil {
		page.Next = store.Cursor{}
	}
	marks := s.progress.all()
	var feeds []*feed
	for _, spool := range slices.Sorted(maps.Keys(marks)) {
		if upTo := marks[spool]; upTo > page.Next[spool] {
			feeds = append(feeds, &feed{s: s, q: &q, spool: spool, after: page.Next[spool], passed: page.Next[spool], upTo: upTo, limit: limit})
		}
	}
	for len(feeds) > 0 && len(page.Events) < limit && s.opts.Now().Before(deadline) {
		for i, f := range feeds {
			e, err := f.next(ctx, deadline)
			if err != nil {
				return store.EventPage{}, err
			}
			page.Next[f.spool] = f.passed
			if e == nil {
				if f.passed == f.upTo {
					feeds[i] = nil
				}
				continue
			}
			if page.Events = append(page.Events, e); len(page.Events) == limit {
				break
			}
		}
		feeds = slices.DeleteFunc(feeds, func(f *feed) bool { return f == nil })
	}
	for _, f := range feeds {
		page.More = page.More || f.passed < f.upTo
	}
	return page, nil
}

// feed reads one spool's events in sequence.
type feed struct {
	s     *Store
	q     *store.EventQuery
	spool mail.SpoolID
	limit int

	after  uint64 // rows up to here were fetched
	upTo   uint64 // the watermark
	passed uint64 // rows up to here were looked at
	ready  []fetched
}

// fetched is a row looked at: its event is nil where the filters refuse it.
type fetched struct {
	seq   uint64
	event *mail.Event
}

// next returns the next event that matches, or nil when there is none before the watermark or the deadline; passed
// says how far it got.
func (f *feed) next(ctx context.Context, deadline time.Time) (*mail.Event, error) {
	for {
		for len(f.ready) > 0 {
			x := f.ready[0]
			f.ready = f.ready[1:]
			f.passed = x.seq
			if x.event != nil {
				return x.event, nil
			}
		}
		f.passed = f.after
		if f.after == f.upTo || !f.s.opts.Now().Before(deadline) {
			return nil, nil
		}
		if err := f.fetch(ctx); err != nil {
			return nil, err
		}
	}
}

// fetch reads the next rows of all files that can have some. A file that gave as many as were asked for may have
// more, so nothing above its last row is used yet.
func (f *feed) fetch(ctx context.Context) error {
	if list, bound, ok := f.s.tail.read(f.spool, f.after, f.upTo, eventChunk, f.q); ok {
		f.ready, f.after = list, bound
		return nil
	}
	bound := f.upTo
	if f.q.Account != "" {
		bound = min(bound, f.after+eventSpan)
	}
	upTo := bound
	var all []fetched
	chunk := min(eventChunk, max(f.limit, 16))
	err := f.s.days.each(ctx, f.s.days.withEvents(f.spool, f.after, upTo), func(d *day) error {
		list, last, err := f.read(ctx, d, upTo, chunk)
		if err != nil {
			return err
		}
		all = append(all, list...)
		if len(list) == chunk {
			bound = min(bound, last)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b fetched) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	n, _ := slices.BinarySearchFunc(all, bound, func(x fetched, seq uint64) int {
		if x.seq <= seq {
			return -1
		}
		return 1
	})
	f.ready, f.after = all[:n], bound
	return nil
}

func (f *feed) read(ctx context.Context, d *day, upTo uint64, chunk int) (list []fetched, last uint64, err error) {
	var raw []rawEvent
	args, only := []any{int64(f.spool), int64(f.after), int64(upTo), chunk}, ""
	if f.q.Account != "" {
		args, only = append(args, f.q.Account), " AND e.account = $5"
	}
	err = d.db.query(ctx, "read events", "SELECT "+eventColumns+` FROM events e
		WHERE e.spool = $1 AND e.seq > $2 AND e.seq <= $3`+only+` ORDER BY e.seq LIMIT $4`, args, func(r rowScanner) error {
		x, err := scanEvent(r)
		raw = append(raw, x)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	seen := map[mail.MessageID]*mail.Message{}
	list = make([]fetched, len(raw))
	for i := range raw {
		x := &raw[i]
		list[i].seq = uint64(x.seq)
		if len(f.q.Types) > 0 && !slices.Contains(f.q.Types, mail.EventType(x.kind)) {
			continue
		}
		e, err := x.decode(ctx, d, seen)
		if err != nil {
			return nil, 0, err
		}
		if f.q.Stream == "" || e.Stream == f.q.Stream {
			list[i].event = e
		}
	}
	if len(raw) > 0 {
		last = uint64(raw[len(raw)-1].seq)
	}
	return list, last, nil
}
