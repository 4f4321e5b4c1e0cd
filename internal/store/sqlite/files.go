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

	"github.com/postroad/postroad/internal/store"
)

// files are the SQLite files of a folder by name, and those of them that are open. Opening one costs as much as some
// hundred look-ups in it, and an open one memory and descriptors: so some stay open while nobody uses them, those used
// last. T is what else is known of a file.
type files[T interface{ base() *file }] struct {
	dir  string
	set  string // of migrations
	idle int    // how many stay open while nobody uses them
	make func(*file) T
	// ready, if not nil, is called when a file has been opened, with mu held and before anybody uses it.
	ready func(T)

	mu     sync.Mutex
	byName map[string]T
	open   map[string]T
	tick   int64 // counts uses, for the order of leaving
	closed bool
	uses   sync.WaitGroup // uses in hand
}

// file is one of them; it is the part of T that files looks after.
type file struct {
	name string // its path below the folder, without .db
	path string

	gate sync.Mutex // held while the file is opened or closed; guards db
	db   *database

	// of files.mu
	users int
	used  int64
	there bool // it was there at the start, or has been open: what is not holds nothing
}

func (f *file) base() *file { return f }

// add takes a file into the catalogue; mu is held, or nobody else knows c yet. there says whether it exists.
func (c *files[T]) add(name string, there bool) T {
	if c.byName == nil {
		c.byName, c.open = map[string]T{}, map[string]T{}
	}
	x := c.make(&file{name: name, path: filepath.Join(c.dir, filepath.FromSlash(name)+".db"), there: there})
	c.byName[name] = x
	return x
}

// use calls fn with a file open. One that is not there is made, or is store.ErrNotFound. One that could not be opened is
// tried again by the next.
func (c *files[T]) use(ctx context.Context, name string, create bool, fn func(T) error) error {
	x, err := c.acquire(ctx, name, create)
	if err != nil {
		return err
	}
	err = fn(x)
	return errors.Join(err, c.release(x.base()))
}

func (c *files[T]) acquire(ctx context.Context, name string, create bool) (x T, err error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return x, fmt.Errorf("sqlite: %s %s: %w: closed", c.set, name, store.ErrUnavailable)
	}
	x, ok := c.byName[name]
	if !create && !(ok && x.base().there) {
		c.mu.Unlock()
		return x, fmt.Errorf("sqlite: %s %s: %w", c.set, name, store.ErrNotFound)
	}
	if !ok {
		x = c.add(name, false)
	}
	f := x.base()
	c.hold(f)
	c.tick++
	f.used = c.tick
	c.mu.Unlock()

	f.gate.Lock()
	defer f.gate.Unlock()
	if f.db != nil {
		return x, nil
	}
	db, err := c.openFile(ctx, f)
	if err != nil {
		return x, errors.Join(err, c.release(f))
	}
	f.db = db
	c.mu.Lock()
	defer c.mu.Unlock()
	f.there = true
	c.open[name] = x
	if c.ready != nil {
		c.ready(x)
	}
	return x, nil
}

// openFile opens a file, and makes the folder it lies in if it is the first there.
func (c *files[T]) openFile(ctx context.Context, f *file) (*database, error) {
	dir := filepath.Dir(f.path)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("sqlite: make the folder of %s %s: %w", c.set, f.name, err)
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return nil, err
		}
	}
	return openDatabase(ctx, f.path, c.set)
}

// hold begins a use; mu is held.
func (c *files[T]) hold(f *file) {
	c.uses.Add(1)
	f.users++
}

// release ends a use. It forgets a file that could never be opened, and closes the one left alone longest while too many
// are open.
func (c *files[T]) release(f *file) error {
	defer c.uses.Done()
	c.mu.Lock()
	f.users--
	if f.users == 0 && !f.there {
		delete(c.byName, f.name)
	}
	var victim *file
	if len(c.open) > c.idle {
		for _, x := range c.open {
			if v := x.base(); v.users == 0 && (victim == nil || v.used < victim.used) {
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

// shut closes an open file without users. It is called with mu held and lets go of it; who wants the file meanwhile waits
// at its gate.
func (c *files[T]) shut(f *file) error {
	f.gate.Lock() // free: only users take it, and there are none
	defer f.gate.Unlock()
	delete(c.open, f.name)
	c.mu.Unlock()
	return f.close()
}

// close closes the database, if it is open; gate is held.
func (f *file) close() error {
	if f.db == nil {
		return nil
	}
	err := f.db.close()
	f.db = nil
	if err != nil {
		return fmt.Errorf("sqlite: close %s: %w", f.path, err)
	}
	return nil
}

// remove unlinks a file. One in use is store.ErrUnavailable, and stays until the next time.
func (c *files[T]) remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("sqlite: %s %s: %w: closed", c.set, name, store.ErrUnavailable)
	}
	c.uses.Add(1)
	defer c.uses.Done()
	var f *file
	for {
		x, ok := c.byName[name]
		if !ok {
			return fmt.Errorf("sqlite: %s %s: %w", c.set, name, store.ErrNotFound)
		}
		if f = x.base(); f.users > 0 {
			return fmt.Errorf("sqlite: remove %s %s: %w: it is in use", c.set, name, store.ErrUnavailable)
		}
		if _, open := c.open[name]; !open {
			break
		}
		err := c.shut(f)
		c.mu.Lock()
		if err != nil {
			return err
		}
	}
	// With mu held nobody can open the file; unlinking is quick.
	delete(c.byName, name)
	for _, suffix := range []string{"-shm", "-wal", ""} {
		if err := os.Remove(f.path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("sqlite: remove %s %s: %w", c.set, name, err)
		}
	}
	dir := filepath.Dir(f.path)
	for _, x := range c.byName {
		if filepath.Dir(x.base().path) == dir {
			return nil
		}
	}
	if dir != c.dir {
		_ = os.Remove(dir) // nothing is in it any more; if there is, that is somebody else's
	}
	return nil
}

// forget takes a file out of the catalogue, open or not; nobody else knows c yet.
func (c *files[T]) forget(name string) error {
	c.mu.Lock()
	x, open := c.open[name]
	delete(c.byName, name)
	if !open {
		c.mu.Unlock()
		return nil
	}
	return c.shut(x.base())
}

// list returns the files keep says yes to, by name. keep is called with mu held.
func (c *files[T]) list(keep func(T) bool) []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []T
	for _, x := range c.byName {
		if keep(x) {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(a.base().name, b.base().name) })
	return list
}

// close waits for uses in hand and closes all files.
func (c *files[T]) close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.uses.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for name, x := range c.open {
		f := x.base()
		f.gate.Lock()
		err = errors.Join(err, f.close())
		f.gate.Unlock()
		delete(c.open, name)
	}
	return err
}
