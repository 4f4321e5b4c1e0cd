package spool

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// TestFullDisk: below the floor nothing new is taken, and what is there is settled.
func TestFullDisk(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs)
	var free atomic.Uint64
	free.Store(20 << 30)
	o.FreeSpace = func(string) (uint64, uint64, error) { return free.Load(), 100 << 30, nil }
	s := openTest(t, o)
	if sp := s.Space(); sp.Floor != 5<<30 || sp.Low || sp.Total != 100<<30 {
		t.Errorf("%+v", sp)
	}
	a := newAcceptance("acme", "example.net", 2, []byte("x"))
	mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
	w, err := s.NewContent(mail.NewMessageID(testTime))
	if err != nil {
		t.Fatal(err)
	}

	free.Store(5<<30 - 1)
	if sp := s.Space(); !sp.Low {
		t.Errorf("%+v", sp)
	}
	b := newAcceptance("acme", "example.net", 2, []byte("x"))
	if err := s.Commit(t.Context(), &Batch{Accept: []*Acceptance{b}}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("acceptance: %v", err)
	}
	if err := s.Stage(t.Context(), b.Message.ID, b.Deliveries, nil); !errors.Is(err, ErrDiskFull) {
		t.Errorf("stage: %v", err)
	}
	if _, err := s.NewContent(mail.NewMessageID(testTime)); !errors.Is(err, ErrDiskFull) {
		t.Errorf("content: %v", err)
	}
	if _, err := w.Write(make([]byte, spaceEvery+1)); !errors.Is(err, ErrDiskFull) {
		t.Errorf("content going on: %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	if _, err := s.PutInbox(t.Context(), InboxEntry{Raw: []byte("x")}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("inbox: %v", err)
	}
	m := mark(a.Deliveries[0])
	mustCommit(t, s, &Batch{Mark: []MarkChange{m}})
	mustCommit(t, s, &Batch{Settle: []Settlement{settled(m.Marked()), settled(a.Deliveries[1])}})
	if err := s.TrimOutbox(t.Context(), 2); err != nil {
		t.Error(err)
	}
	audit(t, s)

	free.Store(6 << 30)
	mustCommit(t, s, &Batch{Accept: []*Acceptance{b}})
	audit(t, s)
}

func TestBallast(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs)
	o.Ballast, o.MinFree = 3<<20+5, 1<<30
	var free atomic.Uint64
	free.Store(100 << 30)
	o.FreeSpace = func(string) (uint64, uint64, error) { return free.Load(), 200 << 30, nil }
	s := openTest(t, o)
	s.helper.flush()
	size := func() int64 {
		info, err := fs.Stat("/spool/ballast")
		if err != nil {
			return -1
		}
		return info.Size()
	}
	if size() != o.Ballast {
		t.Errorf("ballast of %d", size())
	}
	free.Store(0)
	if n, err := Free("/spool", fs); err != nil || n != o.Ballast || size() != -1 {
		t.Errorf("released %d: %v, %d", n, err, size())
	}
	if err := s.Maintain(t.Context()); err != nil || size() != -1 {
		t.Errorf("made again on a full disk: %v, %d", err, size())
	}
	free.Store(100 << 30)
	if err := s.Maintain(t.Context()); err != nil || size() != o.Ballast {
		t.Errorf("not made again: %v, %d", err, size())
	}
	for _, want := range []int64{o.Ballast, 0} {
		if n, err := Free("/spool", fs); err != nil || n != want || size() != -1 {
			t.Errorf("freed %d: %v, %d", n, err, size())
		}
	}
	if _, err := Free("/elsewhere", fs); err == nil || !strings.Contains(err.Error(), "no spool") {
		t.Errorf("freed where there is no spool: %v", err)
	}
}
