package spool

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// TestOpenMarks: a mark open at a start is found with the number of such starts in a row.
func TestOpenMarks(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testOptions(fs))
	a := newAcceptance("acme", "example.net", 3, []byte("x"))
	mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
	m0, m1, m2 := mark(a.Deliveries[0]), mark(a.Deliveries[1]), mark(a.Deliveries[2])
	mustCommit(t, s, &Batch{Mark: []MarkChange{m0, m1, m2}})
	mustCommit(t, s, &Batch{Settle: []Settlement{deferred(m2.Marked(), testTime.Add(time.Hour))}})
	open := func() map[mail.DeliveryID]*mail.Delivery {
		t.Helper()
		found := map[mail.DeliveryID]*mail.Delivery{}
		if err := s.OpenMarks(t.Context(), func(d *mail.Delivery) error { found[d.ID] = d; return nil }); err != nil {
			t.Fatal(err)
		}
		return found
	}
	if len(open()) != 0 {
		t.Error("marks of this very start count as crashes")
	}
	for start := 1; start <= 3; start++ {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, testOptions(fs))
		found := open()
		for _, m := range []MarkChange{m0, m1} {
			if d := found[m.Delivery.ID]; d == nil || d.Crashes != start || d.Mark == nil || d.Mark.Source != "a" {
				t.Errorf("start %d: %+v", start, d)
			}
		}
		if len(found) != 2 {
			t.Errorf("start %d: %d marks", start, len(found))
		}
		audit(t, s)
	}
	// Settled ones are not reported again, also when they are tried again at once.
	d := open()[m0.Delivery.ID]
	c := deferred(d, testTime)
	c.New.Crashes = d.Crashes
	mustCommit(t, s, &Batch{Settle: []Settlement{c}})
	again := mark(c.New)
	mustCommit(t, s, &Batch{Mark: []MarkChange{again}})
	if found := open(); len(found) != 1 || found[m1.Delivery.ID] == nil {
		t.Errorf("after one was settled: %v", found)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, testOptions(fs))
	if d := open()[m0.Delivery.ID]; d == nil || d.Crashes != 4 {
		t.Errorf("starts in a row are lost: %+v", d)
	}
}
