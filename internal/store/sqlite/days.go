package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
)

// dayLayout is the name of a day; names sort like days.
const dayLayout = "2006-01-02"

// days are the day files, by day, and what the catalogue says of each.
type days struct{ files[*day] }

// day is one day file. Fields below "of days.mu" are guarded by that lock.
type day struct {
	*file

	// of days.mu
	wrote int64 // the use that wrote to it last; 0: its writer rests
	spans map[mail.SpoolID]span
	// minHour and maxHour bound the hours of its rollups; minHour > maxHour while there are none.
	minHour, maxHour rows.Hour
	// filtered: no filter is to be made until the day grows. memory is then all its filters, nil where it is not loaded.
	filtered bool
	memory   *filterMemory

	// sites counted apart, per hour; used by the writer alone, under db.mu.
	sites map[rows.Hour]map[string]bool
	// kept are the sender and recipient domains counted apart; used like sites.
	kept  map[keptKey]map[string]bool
	names int // in kept, and a little for each set
}

// span is the first and last sequence of a spool's events in a file.
type span struct{ first, last uint64 }

// openDays reads the catalogue. It opens every file once: the files are the truth about themselves, so that nothing
// else can disagree with them after a crash or a restore. leave, if not nil, says of a day that cannot be read whether it is to be
// left out.
func openDays(ctx context.Context, dir string, idle int, leave func(day string, err error) bool) (*days, error) {
	c := &days{files[*day]{
		dir: dir, set: "record", idle: idle,
		make: func(f *file) *day { return &day{file: f, spans: map[mail.SpoolID]span{}, minHour: 1, maxHour: 0} },
		ready: func(d *day) {
			d.wrote, d.sites, d.kept, d.names = 0, map[rows.Hour]map[string]bool{}, map[keptKey]map[string]bool{}, 0
		},
	}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("sqlite: list the record: %w", err)
	}
	for _, e := range entries {
		if name, isDB := cutDB(e.Name()); isDB {
			c.add(name, true)
		}
	}
	for _, d := range c.between("", "~") {
		err := c.use(ctx, d.name, false, func(d *day) error { return c.load(ctx, d) })
		switch {
		case err == nil:
		case leave != nil && leave(d.name, err):
			if err := c.forget(d.name); err != nil {
				return nil, errors.Join(err, c.close())
			}
		default:
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func cutDB(file string) (day string, ok bool) {
	name, isDB := file[:max(0, len(file)-3)], filepath.Ext(file) == ".db"
	if !isDB {
		return "", false
	}
	_, err := time.Parse(dayLayout, name)
	return name, err == nil
}

// load reads what the catalogue says of one file.
func (c *days) load(ctx context.Context, d *day) error {
	spans := map[mail.SpoolID]span{}
	err := d.db.query(ctx, "read the catalogue", "SELECT spool, first_seq, last_seq FROM applied", nil, func(r rowScanner) error {
		var spool, first, last int64
		if err := r.Scan(&spool, &first, &last); err != nil {
			return err
		}
		spans[mail.SpoolID(spool)] = span{uint64(first), uint64(last)}
		return nil
	})
	if err != nil {
		return err
	}
	var lo, hi rows.Hour
	err = d.db.row(ctx, "read the catalogue", "SELECT coalesce(min(hour), 1), coalesce(max(hour), 0) FROM rollup_account", nil, &lo, &hi)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d.spans, d.minHour, d.maxHour = spans, lo, hi
	return nil
}

// note widens what the catalogue says of a day by a batch that was committed to it.
func (c *days) note(d *day, spool mail.SpoolID, s span, lo, hi rows.Hour) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := d.spans[spool]; ok {
		s.first, s.last = min(s.first, have.first), max(s.last, have.last)
	}
	d.spans[spool] = s
	if d.minHour <= d.maxHour {
		lo, hi = min(lo, d.minHour), max(hi, d.maxHour)
	}
	d.minHour, d.maxHour = lo, hi
}

// maxWriters is how many days keep a writer's memory: the days that get events all the time are few, and one event for an
// old day should not cost a large cache until the file is closed.
const maxWriters = 4

// wroteTo notes that a day was written to, and lets the writers rest that have not written for longest.
func (c *days) wroteTo(ctx context.Context, name string) error {
	c.mu.Lock()
	if d := c.byName[name]; d != nil {
		d.wrote = d.used
	}
	var awake []*day
	for _, d := range c.open {
		if d.wrote > 0 {
			awake = append(awake, d)
		}
	}
	slices.SortFunc(awake, func(a, b *day) int { return cmp.Compare(b.wrote, a.wrote) })
	awake = awake[min(maxWriters, len(awake)):]
	for _, d := range awake {
		d.wrote = 0
		c.hold(d.file) // so that nobody closes it meanwhile
	}
	c.mu.Unlock()
	var err error
	for _, d := range awake {
		err = errors.Join(err, d.db.rest(ctx), c.release(d.file))
	}
	return err
}

// each calls fn with each of the days, open, until it returns errStop. A day that has expired since it was listed is passed over.
func (c *days) each(ctx context.Context, list []*day, fn func(*day) error) error {
	for _, d := range list {
		err := c.use(ctx, d.name, false, fn)
		switch {
		case errors.Is(err, errStop):
			return nil
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	return nil
}

// between returns the days from first to last, both included, in order.
func (c *days) between(first, last string) []*day {
	return c.list(func(d *day) bool { return d.name >= first && d.name <= last })
}

// newestFirst returns the same, the last of them first.
func (c *days) newestFirst(first, last string) []*day {
	list := c.between(first, last)
	slices.Reverse(list)
	return list
}

// withEvents returns the days that hold events of the spool after one sequence and up to another.
func (c *days) withEvents(spool mail.SpoolID, after, upTo uint64) []*day {
	return c.list(func(d *day) bool {
		s, ok := d.spans[spool]
		return ok && s.last > after && s.first <= upTo
	})
}

// withHours returns the days that hold rollups of hours from lo up to but without hi.
func (c *days) withHours(lo, hi rows.Hour) []*day {
	return c.list(func(d *day) bool { return d.minHour <= d.maxHour && d.minHour < hi && d.maxHour >= lo })
}

// lowest returns an id that is not above any of the day.
func (d *day) lowest() mail.DeliveryID {
	t, err := time.Parse(dayLayout, d.name)
	if err != nil {
		return mail.DeliveryID{} // never: days are named by dayName, and others are not in the catalogue
	}
	return lowestID(t)
}

// dayName returns the day t is in.
func dayName(t time.Time) string { return t.UTC().Format(dayLayout) }
