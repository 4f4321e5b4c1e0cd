package projector

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func unnamed(line []byte) []byte {
	return bytes.ReplaceAll(line, []byte("ann@bigmail.example"), []byte("erased-1@erased.invalid"))
}

// TestEraseFiles: every file is rewritten, those in rest and the one in use, while events go on being written.
func TestEraseFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	at := time.Now() // it stands still: who waits for a slow disk waits until it is done
	opts := Options{Outbox: nil, Store: &recorder{t: t}, Now: func() time.Time { return at }, Files: &FileOptions{Dir: dir, MaxSize: 2000, MaxFiles: 1000}}
	o := newOutbox()
	opts.Outbox = o
	p, stop := start(t, opts)
	o.commit(100)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 100 {
			o.commit(1)
		}
	})
	n, err := p.EraseFiles(t.Context(), unnamed)
	if err != nil || n < 100 {
		t.Fatalf("%d lines, %v", n, err)
	}
	wg.Wait()
	stop()

	// Everything is there, once and in order, and what was there when it was asked for is erased. Rewriting beside left a
	// file when the process died.
	got, files := lines(t, dir)
	if diff := cmp.Diff(upTo(1, 200), got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(files[0]+rewriting, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	if err := os.Chtimes(files[1], old, old); err != nil {
		t.Fatal(err)
	}
	half := `{"id":"of a line`
	f, err := os.OpenFile(files[len(files)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(half)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	// Files of a platform that writes none any more.
	off := opts
	off.Files = &FileOptions{Dir: dir, Off: true}
	q, err := New(off)
	if err != nil {
		t.Fatal(err)
	}
	back := func(line []byte) []byte {
		return bytes.ReplaceAll(line, []byte("erased-1@erased.invalid"), []byte("erased-2@erased.invalid"))
	}
	if again, err := q.EraseFiles(t.Context(), back); err != nil || again != n {
		t.Errorf("%d lines, want %d: %v", again, n, err)
	}
	if again, err := q.EraseFiles(t.Context(), back); err != nil || again != 0 {
		t.Errorf("a second time %d lines, %v", again, err)
	}
	if _, err := os.Stat(files[0] + rewriting); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a process left that died: %v", err)
	}
	if info, err := os.Stat(files[1]); err != nil || !info.ModTime().Equal(old) {
		t.Errorf("time of a rewritten file: %v, %v", info.ModTime(), err)
	}
	all := ""
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all += string(b)
	}
	if int64(strings.Count(all, "erased-2@erased.invalid")) != n || strings.Contains(all, "erased-1@") || !strings.HasSuffix(all, half) {
		t.Errorf("%d of %d lines are erased; the end is %q", strings.Count(all, "erased-2@"), n, all[len(all)-40:])
	}
	// They go on where they were.
	_, stop = start(t, opts)
	o.commit(1)
	synced(t, dir, 201)
	stop()
	if got, _ := lines(t, dir); len(got) != 201 {
		t.Errorf("%d lines", len(got))
	}
}

// synced waits until an event is in the files.
func synced(t *testing.T, dir string, seq uint64) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		names, _ := filepath.Glob(filepath.Join(dir, "events-*.jsonl"))
		if pos, _, err := lastLine(names[len(names)-1]); err == nil && pos >= seq {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("event %d is not written", seq)
		}
	}
}

// TestEraseFilesBehind: what is not in the files yet would come into them with the address.
func TestEraseFilesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "events")
		if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file in the place of the folder
			t.Fatal(err)
		}
		o := newOutbox()
		p, stop := start(t, Options{Outbox: o, Store: &recorder{t: t}, Files: &FileOptions{Dir: dir}})
		o.commit(1)
		synctest.Wait()
		if _, err := p.EraseFiles(t.Context(), unnamed); !errors.Is(err, ErrFilesBehind) || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("got %v", err)
		}
		stop()
	})
}
