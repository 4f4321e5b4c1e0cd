package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/postroad/postroad/internal/store"
)

type plainFile struct{ *file }

func plainFiles(t *testing.T, idle int) *files[plainFile] {
	t.Helper()
	c := &files[plainFile]{dir: t.TempDir(), set: "archive", idle: idle, make: func(f *file) plainFile { return plainFile{f} }}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// touch makes or uses a file.
func touch(t *testing.T, c *files[plainFile], names ...string) {
	t.Helper()
	for _, name := range names {
		if err := c.use(t.Context(), name, true, func(plainFile) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// ask reads from a file in use.
func ask(t *testing.T, f plainFile) error {
	t.Helper()
	var n int
	return f.db.row(t.Context(), "count", "SELECT count(*) FROM messages", nil, &n)
}

func (c *files[T]) openNames() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, x := range c.open {
		if x.base().db != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestFilesIdle: the file left alone longest is closed, and never one in use.
func TestFilesIdle(t *testing.T) {
	c := plainFiles(t, 2)
	touch(t, c, "a", "b", "c")
	if got := c.openNames(); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("open are %v", got)
	}
	touch(t, c, "b", "d")
	if got := c.openNames(); !slices.Equal(got, []string{"b", "d"}) {
		t.Errorf("open are %v, c was used before b", got)
	}
	err := c.use(t.Context(), "a", false, func(a plainFile) error {
		touch(t, c, "b", "c", "d")
		if got := c.openNames(); !slices.Equal(got, []string{"a", "d"}) {
			t.Errorf("open are %v, a is in use", got)
		}
		return ask(t, a)
	})
	if err != nil {
		t.Fatal(err)
	}
	if list := c.list(func(plainFile) bool { return true }); len(list) != 4 || list[0].name != "a" || list[3].name != "d" {
		t.Errorf("the catalogue: %v", list)
	}
}

// TestFilesRemove: a file in use stays, one at rest goes with its journal, and the folder goes with the last file in it.
func TestFilesRemove(t *testing.T) {
	c := plainFiles(t, 4)
	touch(t, c, "acme/1", "acme/2")
	err := c.use(t.Context(), "acme/1", false, func(f plainFile) error {
		if err := c.remove("acme/1"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("removing a file in use: %v", err)
		}
		return ask(t, f)
	})
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(c.dir, "acme")
	if err := c.remove("acme/1"); err != nil {
		t.Fatal(err)
	}
	if found, err := filepath.Glob(filepath.Join(folder, "1.db*")); err != nil || len(found) > 0 {
		t.Errorf("left behind: %v, %v", found, err)
	}
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("the folder of a file that is still there: %v", err)
	}
	if err := c.remove("acme/2"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty folder: %v", err)
	}
	for name, err := range map[string]error{
		"use":    c.use(t.Context(), "acme/1", false, func(plainFile) error { return errors.New("it was called") }),
		"remove": c.remove("acme/1"),
	} {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s of a file that is gone: %v", name, err)
		}
	}
	touch(t, c, "acme/1")
}

// TestFilesOpenFails: who comes later tries again. A file that was never there is in no list meanwhile; one that was stays.
func TestFilesOpenFails(t *testing.T) {
	c := plainFiles(t, 4)
	known := c.add("known", true)
	names := func() (names []string) {
		for _, f := range c.list(func(plainFile) bool { return true }) {
			names = append(names, f.name)
		}
		return names
	}
	for _, name := range []string{"known", "new"} {
		if err := os.Mkdir(filepath.Join(c.dir, name+".db"), 0o700); err != nil { // in the file's place
			t.Fatal(err)
		}
		for range 2 {
			if err := c.use(t.Context(), name, true, func(plainFile) error { return nil }); err == nil {
				t.Errorf("%s: a folder was opened as a database", name)
			}
		}
	}
	if got := names(); !slices.Equal(got, []string{"known"}) || known.users != 0 {
		t.Errorf("after failures: %v, %d users", got, known.users)
	}
	if err := c.use(t.Context(), "new", false, func(plainFile) error { return nil }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a reader of what was never made: %v", err)
	}
	for _, name := range []string{"known", "new"} {
		if err := os.Remove(filepath.Join(c.dir, name+".db")); err != nil {
			t.Fatal(err)
		}
	}
	touch(t, c, "known", "new")
	if got := names(); !slices.Equal(got, []string{"known", "new"}) || len(c.openNames()) != 2 {
		t.Errorf("when the cause is gone: %v, open %v", got, c.openNames())
	}
}

// TestFilesClose: closing waits for uses in hand; nobody begins another.
func TestFilesClose(t *testing.T) {
	c := plainFiles(t, 4)
	touch(t, c, "a", "b")
	var closed atomic.Bool
	done := make(chan error, 1)
	err := c.use(t.Context(), "a", false, func(a plainFile) error {
		go func() {
			err := c.close()
			closed.Store(true)
			done <- err
		}()
		for { // until closing has begun
			err := c.use(t.Context(), "b", false, func(plainFile) error { return nil })
			if errors.Is(err, store.ErrUnavailable) {
				break
			}
			if err != nil {
				return err
			}
		}
		if err := c.remove("b"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("remove while closing: %v", err)
		}
		err := ask(t, a)
		if closed.Load() {
			t.Error("closed while a file was in use")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := c.openNames(); len(got) > 0 {
		t.Errorf("%v stayed open", got)
	}
}

// TestFilesTogether uses, closes and removes few files from many sides at once.
func TestFilesTogether(t *testing.T) {
	c := plainFiles(t, 1)
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 25 {
				name := "acme/" + string(rune('a'+(worker+i)%3))
				if worker == 0 && i%5 == 0 {
					if err := c.remove(name); err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrNotFound) {
						t.Error(err)
					}
					continue
				}
				if err := c.use(t.Context(), name, true, func(f plainFile) error { return ask(t, f) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got := c.openNames(); len(got) > 1 {
		t.Errorf("open are %v", got)
	}
}
