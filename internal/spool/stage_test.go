package spool

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// TestStagedAcceptance: staged deliveries cannot be seen, changed or counted before the acceptance, and all of them
// can after it, their accepted events first.
func TestStagedAcceptance(t *testing.T) {
	s := openTest(t, testOptions(nil))
	n := 2500
	if testing.Short() {
		n = 1000
	}
	a := newAcceptance("acme", "example.net", n, []byte("to many"))
	id, all, events := a.Message.ID, a.Deliveries, a.Events
	q := all[0].Queue
	if err := s.Stage(t.Context(), id, all[:n-1], events[:n-1]); err != nil {
		t.Fatal(err)
	}
	if c := s.Counts(); c != (Counts{}) {
		t.Errorf("before: %+v", c)
	}
	visible := func() (list, page int) {
		if err := s.All(t.Context(), func(*mail.Delivery) error { list++; return nil }); err != nil {
			t.Fatal(err)
		}
		ds, _, _, err := s.Page(t.Context(), q, ScheduleKey{}, testTime, 2*n)
		if err != nil {
			t.Fatal(err)
		}
		return list, len(ds)
	}
	if list, page := visible(); list != 0 || page != 0 {
		t.Errorf("before: %d listed, %d in the page", list, page)
	}
	if _, ok, err := s.Head(t.Context(), q, ScheduleKey{}); ok || err != nil {
		t.Errorf("before: the queue has a head (%v)", err)
	}
	if err := s.Queues(t.Context(), func(QueueHead) error { return errors.New("a queue") }); err != nil {
		t.Error(err)
	}
	if _, err := s.Delivery(t.Context(), all[0].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	if err := s.Commit(t.Context(), &Batch{Settle: []Settlement{settled(all[0])}}); !errors.Is(err, ErrStale) {
		t.Errorf("a staged delivery was settled: %v", err)
	}

	last := &Acceptance{Message: a.Message, Body: a.Body, Deliveries: all[n-1:], Events: events[n-1:], Staged: n - 2}
	if err := s.Commit(t.Context(), &Batch{Accept: []*Acceptance{last}}); !errors.Is(err, ErrBadBatch) {
		t.Errorf("a wrong number was accepted: %v", err)
	}
	last.Staged = n - 1
	mustCommit(t, s, &Batch{Accept: []*Acceptance{last}})
	if list, page := visible(); list != n || page != n {
		t.Errorf("after: %d listed, %d in the page", list, page)
	}
	if c := s.Counts(); c != (Counts{Deliveries: int64(n), Messages: 1, Outbox: int64(n)}) {
		t.Errorf("after: %+v", c)
	}
	got, err := s.ReadOutbox(t.Context(), 0, 2*n)
	if err != nil || len(got) != n {
		t.Fatalf("%d events, %v", len(got), err)
	}
	audit(t, s)

	// Every delivery takes part in the count of those left.
	for i := 0; i < n; i += 500 {
		b := &Batch{}
		for _, d := range all[i : i+500] {
			b.Settle = append(b.Settle, settled(d))
		}
		if _, err := s.Message(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		mustCommit(t, s, b)
	}
	if _, err := s.Message(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Errorf("at the end: %v", err)
	}
	audit(t, s)
}

// TestUnstage removes a stage; a start removes one that nobody accepted.
func TestUnstage(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testOptions(fs))
	a := newAcceptance("acme", "example.net", 1500, []byte("x"))
	if err := s.Stage(t.Context(), a.Message.ID, a.Deliveries, a.Events); err != nil {
		t.Fatal(err)
	}
	if err := s.Unstage(t.Context(), a.Message.ID); err != nil {
		t.Fatal(err)
	}
	audit(t, s)
	empty := func() {
		t.Helper()
		for table := byte('B'); table < 'Z'; table++ {
			err := s.scan(t.Context(), []byte{table}, []byte{table + 1}, func(key, _ []byte) (bool, error) {
				t.Errorf("key %x is left", key)
				return false, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	empty()
	// The same may be staged again, and forgotten.
	if err := s.Stage(t.Context(), a.Message.ID, a.Deliveries, a.Events); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, testOptions(fs))
	empty()
	audit(t, s)
}
