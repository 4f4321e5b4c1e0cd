package sqlite

import (
	"context"
	"slices"
	"time"
)

const (
	// filterPart is how many buckets of a day in the making go without a filter before they get one: a look-up in so many
	// takes about a millisecond.
	filterPart = 128
	// filterMost is how many buckets one filter covers: 16 million deliveries. 32 MiB of memory while it is made.
	filterMost = 2048
	// filterLoose is how many times as many buckets have a filter before others of a past day may go without: deliveries
	// that come late are few, and making the filter of a large day again costs seconds.
	filterLoose = 32
	// filterAfter is how long after its end a day is past. What comes later costs only time.
	filterAfter = time.Hour
	// filterTime is how long Maintain goes on to the next day: the filters of an old record are made over some hours.
	filterTime = 30 * time.Second
)

// makeFilters gives filters to the buckets that need one, the newest day first, and to no day after filterTime.
func (s *Store) makeFilters(ctx context.Context, now time.Time) error {
	s.filtering.Lock()
	defer s.filtering.Unlock()
	begun := time.Now()
	wanting := s.days.list(func(d *day) bool { return !d.filtered })
	slices.Reverse(wanting)
	return s.days.each(ctx, wanting, func(d *day) error {
		if time.Since(begun) > filterTime {
			return errStop
		}
		return s.filterDay(ctx, d, d.name < dayName(now.Add(-filterAfter)))
	})
}

// filterDay makes the filters one day wants, and loads those of a past day.
func (s *Store) filterDay(ctx context.Context, d *day, over bool) error {
	s.days.beginFilters(d)
	done, err := s.makeWanted(ctx, d, over)
	var m *filterMemory
	if err == nil && done && over {
		m, err = d.loadFilters(ctx)
	}
	if err != nil || !done || !over {
		s.days.forgetFilters(d) // it is looked at the next time
		return err
	}
	s.days.remember(d, m)
	return nil
}

// makeWanted reports whether it made all that is wanted.
func (s *Store) makeWanted(ctx context.Context, d *day, over bool) (bool, error) {
	have, last, err := d.filters(ctx)
	if err != nil {
		return false, err
	}
	list := wantedFilters(have, last, over)
	if grow := s.opts.MayGrow; grow != nil && len(list) > 0 && grow() != nil {
		return false, nil
	}
	for _, want := range list {
		if done, err := s.makeFilter(ctx, d, want.first, want.last); err != nil || !done {
			return false, err
		}
	}
	return true, nil
}

// wantedFilters returns the filters to make of a file with these, in order, and this last bucket. A day that still grows
// gets one for the full buckets behind the others, when there are enough; a past day as few as possible, for all.
func wantedFilters(have []filter, last int64, over bool) (list []filter) {
	if !over {
		first := int64(0)
		for _, f := range have {
			if f.first <= first {
				first = max(first, f.last+1)
			}
		}
		if full := last - 1; full-first+1 >= filterPart { // the last bucket may get more
			list = append(list, filter{first: first, last: min(full, first+filterMost-1)})
		}
		return list
	}
	for first := int64(0); first <= last; first += filterMost {
		want := filter{first: first, last: min(last, first+filterMost-1)}
		made := false
		for _, f := range have {
			made = made || f.first == first && f.last <= want.last && (want.last-f.last)*filterLoose <= f.last-f.first+1
		}
		if !made {
			list = append(list, want)
		}
	}
	return list
}

// makeFilter makes the filter of some buckets, in place of those that begin in them. Nothing can be added to the buckets
// while it reads them; if something is erased meanwhile, it does nothing and done is false.
func (s *Store) makeFilter(ctx context.Context, d *day, first, last int64) (done bool, err error) {
	var erasures int
	err = d.db.write(ctx, "close bucket", func(t *tx) error {
		erasures = d.db.erasures
		_, err := t.exec("UPDATE buckets SET filled = $1 WHERE bucket = $2 AND filled < $1", bucketSize, last)
		return err
	})
	if err != nil {
		return false, err
	}
	if err := s.step("before filter"); err != nil {
		return false, err
	}
	const of = " FROM deliveries WHERE bucket >= $1 AND bucket <= $2"
	var n int64
	if err := d.db.row(ctx, "count deliveries", "SELECT count(*)"+of, []any{first, last}, &n); err != nil {
		return false, err
	}
	b := newBloom(n)
	err = d.db.query(ctx, "read recipients", "SELECT rhash"+of, []any{first, last}, func(r rowScanner) error {
		var rhash int64
		err := r.Scan(&rhash)
		b.add(rhash)
		return err
	})
	if err != nil {
		return false, err
	}
	err = d.db.write(ctx, "write filter", func(t *tx) error {
		if d.db.erasures != erasures {
			return nil
		}
		done = true
		return s.putFilter(t, b, first, last)
	})
	return done && err == nil, err
}

func (s *Store) putFilter(t *tx, b *bloom, first, last int64) error {
	var have []filter
	if err := t.query(selectFilters, nil, scanFilters(&have)); err != nil {
		return err
	}
	for _, f := range have {
		if f.first < first || f.first > last {
			continue
		}
		if _, err := t.exec("DELETE FROM filter_pages WHERE page >= $1 AND page < $2", f.page, f.page+f.pages); err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM filters WHERE first_bucket = $1", f.first); err != nil {
			return err
		}
	}
	if err := s.step("in filter"); err != nil {
		return err
	}
	var page int64
	if err := t.row("SELECT coalesce(max(page), 0) + 1 FROM filter_pages", nil, &page); err != nil {
		return err
	}
	for n := range b.pages {
		if _, err := t.exec("INSERT INTO filter_pages (page, bits) VALUES ($1, $2)", page+n, b.page(n)); err != nil {
			return err
		}
	}
	if _, err := t.exec("INSERT INTO filters (first_bucket, last_bucket, first_page, pages) VALUES ($1, $2, $3, $4)", first, last, page, b.pages); err != nil {
		return err
	}
	return s.step("before filter commit")
}
