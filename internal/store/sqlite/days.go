package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
)

// dayLayout is the name of a day; names sort like days.
const dayLayout = "2006-01-02"

// days is the catalogue of day files and the set of those that are open.
type days struct {
	dir string
	cap int

	mu     sync.Mutex
	byName map[string]*day
	tick   int64 // counts uses, for the order of leaving
	open   int
	closed bool
	uses   sync.WaitGroup // uses in hand
}

// day is one day file. Fields below "of days.mu" are guarded by that lock.
type day struct {
	name string
	path string

	gate sync.Mutex // held while the file is opened or closed; guards db
	db   *database

	// of days.mu
	users  int
	used   int64
	isOpen bool
	spans  map[mail.SpoolID]span
	// minHour and maxHour bound the hours of its rollups; minHour > maxHour while there are none.
	minHour, maxHour rows.Hour

	// sites counted apart, per hour; used by the writer alone, under db.mu.
	sites map[rows.Hour]map[string]bool
}

// span is the first and last sequence of a spool's events in a file.
type span struct{ first, last uint64 }

func newDay(dir, name string) *day {
	return &day{name: name, path: filepath.Join(dir, name+".db"), spans: map[mail.SpoolID]span{}, minHour: 1, maxHour: 0}
}

// openDays reads the catalogue. It opens every file once: the files are the truth about themselves, so that nothing
// else can disagree with them after a crash or a restore.
func openDays(ctx context.Context, dir string, limit int) (*days, error) {
	c := &days{dir: dir, cap: limit, byName: map[string]*day{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("sqlite: list the record: %w", err)
	}
	for _, e := range entries {
		name, isDB := cutDB(e.Name())
		if !isDB {
			continue
		}
		c.byName[name] = newDay(dir, name)
	}
	for _, d := range c.between("", "~") {
		if err := c.use(ctx, d.name, false, func(d *day) error { return c.load(ctx, d) }); err != nil {
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

// use calls fn with the day's file open. A day that is not there is made, or is store.ErrNotFound.
func (c *days) use(ctx context.Context, name string, create bool, fn func(*day) error) error {
	d, err := c.acquire(ctx, name, create)
	if err != nil {
		return err
	}
	err = fn(d)
	return errors.Join(err, c.release(d))
}

func (c *days) acquire(ctx context.Context, name string, create bool) (*day, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, fmt.Errorf("sqlite: %w: closed", store.ErrUnavailable)
	}
	d := c.byName[name]
	if d == nil {
		if !create {
			c.mu.Unlock()
			return nil, fmt.Errorf("sqlite: day %s: %w", name, store.ErrNotFound)
		}
		d = newDay(c.dir, name)
		c.byName[name] = d
	}
	c.uses.Add(1)
	d.users++
	c.tick++
	d.used = c.tick
	c.mu.Unlock()

	d.gate.Lock()
	defer d.gate.Unlock()
	if d.db != nil {
		return d, nil
	}
	db, err := openDatabase(ctx, d.path, "record")
	if err != nil {
		err = errors.Join(err, c.release(d))
		c.forget(d)
		return nil, err
	}
	d.db, d.sites = db, map[rows.Hour]map[string]bool{}
	c.mu.Lock()
	c.open++
	d.isOpen = true
	c.mu.Unlock()
	return d, nil
}

// forget drops a day that could not be opened and holds nothing, so that readers do not meet it.
func (c *days) forget(d *day) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.users == 0 && len(d.spans) == 0 {
		delete(c.byName, d.name)
	}
}

// release ends a use, and closes the file that was left alone longest while too many are open.
func (c *days) release(d *day) error {
	defer c.uses.Done()
	c.mu.Lock()
	d.users--
	var victim *day
	if c.open > c.cap {
		for _, v := range c.byName {
			if v.isOpen && v.users == 0 && (victim == nil || v.used < victim.used) {
				victim = v
			}
		}
	}
	if victim == nil {
		c.mu.Unlock()
		return nil
	}
	return c.shut(victim)
}

// shut closes the file of a day without users. It is called with c.mu held and lets go of it. Who wants the day
// meanwhile waits at its gate.
func (c *days) shut(d *day) error {
	d.gate.Lock() // free: only users take it, and there are none
	defer d.gate.Unlock()
	d.isOpen = false
	c.open--
	c.mu.Unlock()
	err := d.db.close()
	d.db = nil
	if err != nil {
		return fmt.Errorf("sqlite: close %s: %w", d.path, err)
	}
	return nil
}

// close waits for uses in hand and closes all files.
func (c *days) close() error {
	c.mu.Lock()
	c.closed = true
	all := make([]*day, 0, len(c.byName))
	for _, d := range c.byName {
		all = append(all, d)
	}
	c.mu.Unlock()
	c.uses.Wait()
	var err error
	for _, d := range all {
		d.gate.Lock()
		if d.db != nil {
			err = errors.Join(err, d.db.close())
			d.db = nil
		}
		d.gate.Unlock()
	}
	return err
}

// remove unlinks a day's file and reports whether it did: a day in use stays until the next time.
func (c *days) remove(name string) (bool, error) {
	c.mu.Lock()
	d := c.byName[name]
	if d == nil || d.users > 0 || c.closed {
		c.mu.Unlock()
		return false, nil
	}
	if d.isOpen {
		if err := c.shut(d); err != nil {
			return false, err
		}
		c.mu.Lock()
		if d.users > 0 || d.isOpen {
			c.mu.Unlock()
			return false, nil
		}
	}
	// With c.mu held nobody can open the file; unlinking is quick.
	defer c.mu.Unlock()
	delete(c.byName, name)
	for _, suffix := range []string{"-shm", "-wal", ""} {
		if err := os.Remove(d.path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, fmt.Errorf("sqlite: remove day %s: %w", name, err)
		}
	}
	return true, nil
}

// between returns the days from first to last, both included, in order.
func (c *days) between(first, last string) []*day {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*day
	for name, d := range c.byName {
		if name >= first && name <= last {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b *day) int { return cmp.Compare(a.name, b.name) })
	return list
}

// withEvents returns the days that hold events of the spool after one sequence and up to another.
func (c *days) withEvents(spool mail.SpoolID, after, upTo uint64) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	for name, d := range c.byName {
		if s, ok := d.spans[spool]; ok && s.last > after && s.first <= upTo {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// withHours returns the days that hold rollups of hours from lo up to but without hi.
func (c *days) withHours(lo, hi rows.Hour) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	for name, d := range c.byName {
		if d.minHour <= d.maxHour && d.minHour < hi && d.maxHour >= lo {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
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
