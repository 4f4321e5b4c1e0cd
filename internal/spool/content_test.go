package spool

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
)

// TestSyncOrder: large content is synced, file and folder, before the frame that accepts it.
func TestSyncOrder(t *testing.T) {
	var mu sync.Mutex
	var trace []string
	verbs := map[errorfs.OpKind]string{
		errorfs.OpCreate: "create", errorfs.OpFileWrite: "write", errorfs.OpFileClose: "close",
		errorfs.OpFileSync: "sync", errorfs.OpFileSyncData: "sync",
	}
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		ours := strings.HasPrefix(op.Path, "/spool/content") || strings.HasSuffix(op.Path, ".log")
		if verb := verbs[op.Kind]; ours && verb != "" {
			trace = append(trace, verb+" "+op.Path)
		}
		return nil
	}))
	s := openTest(t, testOptions(fs))
	a := newAcceptance("acme", "example.net", 1, bytes.Repeat([]byte("0123456789abcde\n"), 6<<10))
	body := a.Body
	a.Body, a.Message.Content.External = nil, true

	mu.Lock()
	trace = nil
	mu.Unlock()
	if _, err := writeContent(s, a.Message.ID, body); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	trace = append(trace, "finished")
	mu.Unlock()
	mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
	mu.Lock()
	defer mu.Unlock()
	got := strings.Join(slices.Compact(trace), "\n") + "\n"
	got = strings.ReplaceAll(got, a.Message.ID.String(), "msg")
	golden(t, "testdata/syncorder.golden", got)
}

var update = flag.Bool("update", false, "write the golden files and the fixture of the on-disk format anew")

// golden compares text with a file; -update writes the file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestContentFile(t *testing.T) {
	fs := vfs.NewMem()
	s := openTest(t, testOptions(fs))
	files := func() int {
		names, err := fs.List("/spool/content")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	a := newAcceptance("acme", "example.net", 1, bytes.Repeat([]byte("x"), 200<<10))
	body := a.Body
	if err := s.Commit(t.Context(), &Batch{Accept: []*Acceptance{a}}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("200 KiB in a frame: %v", err)
	}
	a.Body, a.Message.Content.External = nil, true
	if err := s.Commit(t.Context(), &Batch{Accept: []*Acceptance{a}}); !errors.Is(err, ErrBadBatch) {
		t.Errorf("without its file: %v", err)
	}
	w, err := s.NewContent(a.Message.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.NewContent(a.Message.ID); !errors.Is(err, ErrBadBatch) {
		t.Errorf("a second writer: %v", err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), &Batch{Accept: []*Acceptance{a}}); !errors.Is(err, ErrBadBatch) {
		t.Errorf("with half a file: %v", err)
	}
	if err := w.Finish(); err != nil || w.Size() != int64(len(body)) {
		t.Fatal(err)
	}
	if err := s.Maintain(t.Context()); err != nil || files() != 1 { // not an orphan yet
		t.Fatal(err, files())
	}
	mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
	if err := w.Abort(); err != nil { // deferred by the caller
		t.Error(err)
	}
	b, err := s.Body(t.Context(), a.Message.ID)
	if err != nil || b.Bytes() != nil || b.Size() != int64(len(body)) {
		t.Fatalf("%v %v", b, err)
	}
	if !bytes.Equal(readBody(t, b), body) {
		t.Error("the content changed")
	}
	audit(t, s)
	mustCommit(t, s, &Batch{Settle: []Settlement{settled(a.Deliveries[0])}})
	s.helper.flush()
	if files() != 0 {
		t.Error("the file outlived its message")
	}
	if _, err := b.Open(); !errors.Is(err, ErrNotFound) {
		t.Errorf("opened later: %v", err)
	}

	// Given up after Finish; and left by somebody who died.
	if w, err = writeContent(s, a.Message.ID, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil || files() != 0 {
		t.Errorf("after Abort: %v, %d files", err, files())
	}
	if err := writeFile(fs, "/spool/content/"+mail.NewMessageID(testTime).String()+contentSuffix, body); err != nil {
		t.Fatal(err)
	}
	if err := s.Maintain(t.Context()); err != nil || files() != 0 {
		t.Errorf("an orphan: %v, %d files", err, files())
	}
}

// TestAbortAgainstCommit: whichever of Abort and a commit comes first, accepted mail has its content.
func TestAbortAgainstCommit(t *testing.T) {
	s := openTest(t, testOptions(nil))
	accepted := 0
	for i := range 200 {
		a := newAcceptance("acme", "example.net", 1, []byte("content"))
		w, err := writeContent(s, a.Message.ID, a.Body)
		if err != nil {
			t.Fatal(err)
		}
		a.Body, a.Message.Content.External = nil, true
		ticket := s.Enqueue(&Batch{Accept: []*Acceptance{a}})
		if i%3 == 0 {
			<-ticket.Done()
		}
		if err := w.Abort(); err != nil {
			t.Fatal(err)
		}
		if err := ticket.Wait(t.Context()); err == nil {
			accepted++
			if got := string(bodyOf(t, s, a.Message.ID)); got != "content" {
				t.Fatalf("accepted with content %q", got)
			}
		} else if !errors.Is(err, ErrBadBatch) {
			t.Fatal(err)
		}
	}
	if accepted < 67 {
		t.Errorf("%d of 200 accepted", accepted)
	}
	audit(t, s)
}

func TestCacheEvictsTheOldest(t *testing.T) {
	o := testOptions(nil)
	o.MemoryBudget = 3 * (1000 + cachedOverhead)
	s := openTest(t, o)
	var all []*Acceptance
	for i := range 5 {
		a := newAcceptance("acme", "example.net", 1, bytes.Repeat([]byte{byte('a' + i)}, 1000))
		mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
		all = append(all, a)
	}
	for i, a := range all {
		if _, ok := s.cache.get(a.Message.ID); ok != (i >= 2) {
			t.Errorf("body %d in memory: %v", i, ok)
		}
		if !bytes.Equal(bodyOf(t, s, a.Message.ID), a.Body) {
			t.Errorf("body %d differs", i)
		}
	}
	for _, a := range all {
		mustCommit(t, s, &Batch{Settle: []Settlement{settled(a.Deliveries[0])}})
	}
	if s.cache.size != 0 || s.cache.order.Len() != 0 || len(s.cache.m) != 0 {
		t.Errorf("%d octets stay in memory", s.cache.size)
	}
}
