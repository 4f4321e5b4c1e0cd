package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
)

func TestQueuesAndPages(t *testing.T) {
	s := openTest(t, testOptions(nil))
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[mail.QueueKey][]*mail.Delivery{}
	b := &Batch{}
	for i := range 200 {
		a := newAcceptance(fmt.Sprintf("acct%d", i%2), fmt.Sprintf("d%d.example", i%3), 1, []byte("x"))
		d := a.Deliveries[0]
		d.Due = testTime.Add(time.Duration(rng.IntN(50)) * time.Second)
		want[d.Queue] = append(want[d.Queue], d)
		b.Accept = append(b.Accept, a)
	}
	mustCommit(t, s, b)
	for _, ds := range want {
		slices.SortFunc(ds, func(a, b *mail.Delivery) int { return KeyOf(a).Compare(KeyOf(b)) })
	}
	var heads []string
	err := s.Queues(t.Context(), func(h QueueHead) error {
		heads = append(heads, h.Key.String())
		if h.First != KeyOf(want[h.Key][0]) {
			t.Errorf("queue %s begins with %v", h.Key, h.First)
		}
		return nil
	})
	if err != nil || len(heads) != 6 || !slices.IsSorted(heads) {
		t.Errorf("queues %q, %v", heads, err)
	}
	stop := errors.New("stop")
	if err := s.Queues(t.Context(), func(QueueHead) error { return stop }); err != stop {
		t.Errorf("the callback's error: %v", err)
	}

	until := testTime.Add(30 * time.Second)
	for q, ds := range want {
		due := slices.DeleteFunc(slices.Clone(ds), func(d *mail.Delivery) bool { return d.Due.After(until) })
		var got []*mail.Delivery
		cursor, more := ScheduleKey{}, true
		for more {
			var page []*mail.Delivery
			var err error
			page, cursor, more, err = s.Page(t.Context(), q, cursor, until, 7)
			if err != nil {
				t.Fatal(err)
			}
			if more && len(page) != 7 {
				t.Errorf("a page of %d is not the last", len(page))
			}
			got = append(got, page...)
		}
		if diff := cmp.Diff(due, got); diff != "" {
			t.Errorf("queue %s: %s", q, diff)
		}
		head, ok, err := s.Head(t.Context(), q, cursor)
		if err != nil || !ok || head != KeyOf(ds[len(due)]) {
			t.Errorf("queue %s: the head from %v is %v %v %v", q, cursor, head, ok, err)
		}
	}
	if _, ok, err := s.Head(t.Context(), mail.QueueKey{Account: "none"}, ScheduleKey{}); ok || err != nil {
		t.Errorf("an unknown queue has a head: %v", err)
	}
}

// TestPageFromCursor: behind a million deliveries accepted and settled, with nothing flushed, a page from the right
// cursor takes under a millisecond. A hundred thousand unless POSTROAD_PROOF is set.
func TestPageFromCursor(t *testing.T) {
	n, batch := 100_000, 500
	if testing.Short() {
		n = 10_000
	}
	if proof() {
		n = 1_000_000
	}
	o := testOptions(nil)
	o.MemTable = 2 << 30 // nothing is flushed
	s := openTest(t, o)
	flushes := s.db.Metrics().Flush.Count
	q := mail.QueueKey{Account: "acme", Stream: mail.Transactional, Domain: "example.net"}
	var cursor ScheduleKey
	for done := 0; done < n; done += batch {
		accept, settle := &Batch{}, &Batch{}
		for range batch {
			m := &mail.Message{ID: mail.NewMessageID(testTime), Account: "acme", Stream: mail.Transactional, Size: 1}
			d := &mail.Delivery{
				ID: mail.NewDeliveryID(testTime), Message: m.ID, Queue: q, ExpiresAt: testTime.Add(time.Hour),
				Due: testTime.Add(time.Duration(done) * time.Microsecond),
			}
			accept.Accept = append(accept.Accept, &Acceptance{Message: m, Body: []byte("x"), Deliveries: []*mail.Delivery{d}})
			settle.Settle = append(settle.Settle, Settlement{Old: d})
			cursor = KeyOf(d)
		}
		s.Enqueue(accept)
		if err := s.Enqueue(settle).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b := &Batch{}
	for range 64 {
		a := newAcceptance("acme", "example.net", 1, []byte("x"))
		a.Deliveries[0].Due = cursor.Due.Add(time.Microsecond)
		b.Accept = append(b.Accept, a)
	}
	mustCommit(t, s, b)
	if n := s.db.Metrics().Flush.Count - flushes; n > 0 {
		t.Errorf("%d flushes", n)
	}
	page := func(from ScheduleKey) time.Duration {
		best := time.Hour
		for range 10 { // the machine may be busy
			start := time.Now()
			ds, _, _, err := s.Page(t.Context(), q, from, testTime.Add(time.Hour), 64)
			if err != nil || len(ds) != 64 {
				t.Fatalf("page of %d, %v", len(ds), err)
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	fast, slow := page(cursor), page(ScheduleKey{})
	t.Logf("%d consumed: a page from the cursor takes %v, from the start %v", n, fast, slow)
	// How quick a machine is differs; that the consumed range is not looked at does not.
	if fast*4 > slow {
		t.Errorf("a page from the cursor takes %v, from the start %v: the consumed range is looked at, or costs nothing", fast, slow)
	}
	if proof() && fast >= time.Millisecond {
		t.Errorf("a page from the cursor takes %v", fast)
	}
}
