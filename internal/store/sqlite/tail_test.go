package sqlite

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/storetest"
)

// TestTail: what memory answers is what the files answer, event for event and cursor for cursor, also behind the oldest
// event in memory, and after a write that failed.
func TestTail(t *testing.T) {
	fail := false
	// The clock stands still: no page ends early because it took long.
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Now: func() time.Time { return day0 }, Step: func(name string) error {
		if fail && name == "before watermark" {
			return store.ErrUnavailable
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g := storetest.NewMail(7, day0)
	write := func(n int) error {
		events := append(g.Sent("acme", n), g.Sent("beta", n)...)
		m, d := g.Message("acme"), g.Delivery()
		events = append(events, g.Accepted(m, d, "x@bigmail.example"), g.Tried(mail.EventDeferred, m, d, "x@bigmail.example", 1, 451, "451 later"))
		return s.WriteEvents(t.Context(), 7, g.Seq, events)
	}
	compare := func(after store.Cursor) {
		t.Helper()
		for _, q := range []store.EventQuery{
			{After: after},
			{After: after, Max: 3},
			{After: after, Account: "beta", Max: 7},
			{After: after, Types: []mail.EventType{mail.EventDeferred}},
			{After: after, Stream: mail.Bulk},
		} {
			fast, err := s.Events(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			kept := s.tail.spools
			s.tail.spools = nil
			slow, err := s.Events(t.Context(), q)
			s.tail.spools = kept
			if err != nil {
				t.Fatal(err)
			}
			// How far a page without any event looks may differ; what it finds and whether it goes on may not.
			if diff := cmp.Diff(slow.Events, fast.Events); diff != "" {
				t.Errorf("%+v (-files +memory):\n%s", q, diff)
			}
			if len(fast.Events) > 0 && fast.More != slow.More {
				t.Errorf("%+v: more %v, from files %v", q, fast.More, slow.More)
			}
		}
	}
	for range 5 {
		if err := write(20); err != nil {
			t.Fatal(err)
		}
	}
	newest := g.Seq
	for _, seq := range []uint64{0, 1, 81, 82, 83, newest - 1, newest} {
		compare(store.Cursor{7: seq})
	}
	fail = true
	if err := write(5); err == nil {
		t.Fatal("the write did not fail")
	}
	fail = false
	failedTo := g.Seq
	// The next write need not bring again what the failed one has recorded.
	events := g.Sent("acme", 3)
	if err := s.WriteEvents(t.Context(), 7, g.Seq, events); err != nil {
		t.Fatal(err)
	}
	page, err := s.Events(t.Context(), store.EventQuery{After: store.Cursor{7: newest}, Max: 1000})
	if err != nil || len(page.Events) != int(g.Seq-newest) {
		t.Errorf("after a failed write: %d events, %v; want %d", len(page.Events), err, g.Seq-newest)
	}
	compare(store.Cursor{7: failedTo})
	if err := write(2); err != nil {
		t.Fatal(err)
	}
	compare(store.Cursor{7: failedTo})
	// Memory is bounded, and what has left it comes from the files.
	for range 25 {
		if err := write(100); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.tail.spools[7].events); n > 2*maxTail || n < maxTail {
		t.Errorf("%d events are in memory", n)
	}
	oldest := s.tail.spools[7].from
	for _, seq := range []uint64{0, oldest - 1, oldest, oldest + 1} {
		compare(store.Cursor{7: seq})
	}
	// A reader's events are its own.
	page, err = s.Events(t.Context(), store.EventQuery{After: store.Cursor{7: g.Seq - 1}})
	if err != nil || len(page.Events) != 1 {
		t.Fatalf("%v, %v", page, err)
	}
	page.Events[0].Reason = "changed"
	compare(store.Cursor{7: g.Seq - 1})
}
