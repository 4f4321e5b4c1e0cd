package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTime is when every test begins.
var testTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testOptions are small: a new memory file system unless fs is given, and small memtables, so that flushes happen.
func testOptions(fs vfs.FS) Options {
	if fs == nil {
		fs = vfs.NewMem()
	}
	return Options{
		Dir: "/spool", FS: fs, MemTable: 1 << 20, BlockCache: 1 << 20,
		Now:       func() time.Time { return testTime },
		FreeSpace: func(string) (uint64, uint64, error) { return 100 << 30, 200 << 30, nil },
	}
}

func mustOpen(t testing.TB, o Options) *Spool {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openTest(t testing.TB, o Options) *Spool {
	t.Helper()
	s := mustOpen(t, o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

func mustCommit(t testing.TB, s *Spool, b *Batch) {
	t.Helper()
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// newAcceptance makes a message to n recipients of one domain.
func newAcceptance(account, domain string, n int, body []byte) *Acceptance {
	m := &mail.Message{
		ID: mail.NewMessageID(testTime), Account: account, Credential: "app", Stream: mail.Transactional,
		From: mail.Address{Local: "news", Domain: "example.com"}, AcceptedAt: testTime, ExpiresAt: testTime.Add(72 * time.Hour),
		HeaderFrom: "news@example.com", Subject: "Hello", RFC822ID: "1@example.com", Size: int64(len(body)), Recipients: n,
		Content: mail.Content{Kind: mail.ContentRaw},
	}
	a := &Acceptance{Message: m, Body: body}
	for i := range n {
		d := newDelivery(m, domain, i)
		a.Deliveries = append(a.Deliveries, d)
		a.Events = append(a.Events, acceptedEvent(m, d))
	}
	return a
}

func newDelivery(m *mail.Message, domain string, i int) *mail.Delivery {
	return &mail.Delivery{
		ID: mail.NewDeliveryID(testTime), Message: m.ID,
		Queue:     mail.QueueKey{Account: m.Account, Stream: m.Stream, Domain: domain},
		Recipient: mail.Address{Local: fmt.Sprintf("user%d", i), Domain: domain},
		CreatedAt: testTime, ExpiresAt: m.ExpiresAt, Due: testTime,
	}
}

func acceptedEvent(m *mail.Message, d *mail.Delivery) *mail.Event {
	return &mail.Event{
		Type: mail.EventAccepted, At: testTime, Account: m.Account, Stream: m.Stream, Message: m.ID,
		Delivery: d.ID, Recipient: d.Recipient.String(), Envelope: m,
	}
}

func event(t mail.EventType, d *mail.Delivery) *mail.Event {
	return &mail.Event{
		Type: t, At: testTime, Account: d.Queue.Account, Stream: d.Queue.Stream, Message: d.Message,
		Delivery: d.ID, Recipient: d.Recipient.String(),
	}
}

func mark(d *mail.Delivery) MarkChange {
	next := testTime.Add(5 * time.Minute)
	if next.After(d.ExpiresAt) {
		next = d.ExpiresAt
	}
	return MarkChange{Delivery: d, Mark: mail.Mark{Attempt: d.Attempts + 1, Route: "direct", Source: "a", At: testTime}, Next: next}
}

func settled(old *mail.Delivery) Settlement {
	return Settlement{Old: old, Events: []*mail.Event{event(mail.EventDelivered, old)}}
}

func deferred(old *mail.Delivery, due time.Time) Settlement {
	d := *old
	d.Mark, d.Due = nil, due
	d.Last = &mail.LastAnswer{At: testTime, Result: mail.Deferred, Class: mail.ClassGreylisted, Reply: "450 4.2.0 later"}
	return Settlement{Old: old, New: &d, Events: []*mail.Event{event(mail.EventDeferred, old)}}
}

func bodyOf(t testing.TB, s *Spool, id mail.MessageID) []byte {
	t.Helper()
	b, err := s.Body(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return readBody(t, b)
}

func readBody(t testing.TB, b mail.Body) []byte {
	t.Helper()
	r, err := b.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func audit(t testing.TB, s *Spool) {
	t.Helper()
	r, err := s.check(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		t.Error(p)
	}
}

// flush waits until what was added before is done.
func (h *helper) flush() {
	done := make(chan struct{})
	h.add(func() { close(done) })
	<-done
}

// ids returns the stages that are not shown yet.
func (t *stages) ids() []mail.MessageID {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Keys(t.m))
}

// frame is the number of the last synced frame.
func (s *Spool) frame() uint64 {
	s.seen.Lock()
	defer s.seen.Unlock()
	return s.seen.st.frame
}

func TestLifeOfAMessage(t *testing.T) {
	s := openTest(t, testOptions(nil))
	a := newAcceptance("acme", "example.net", 2, []byte("Subject: x\r\n\r\nbody\r\n"))
	mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
	audit(t, s)
	want := Counts{Deliveries: 2, Messages: 1, Outbox: 2}
	if got := s.Counts(); got != want {
		t.Errorf("after acceptance: %+v, want %+v", got, want)
	}
	if got := string(bodyOf(t, s, a.Message.ID)); got != string(a.Body) {
		t.Errorf("body %q", got)
	}
	m, err := s.Message(t.Context(), a.Message.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.Message, m); diff != "" {
		t.Error(diff)
	}

	ds, err := s.Deliveries(t.Context(), a.Message.ID, mail.DeliveryID{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.Deliveries, ds); diff != "" {
		t.Error(diff)
	}

	m1 := mark(ds[0])
	mustCommit(t, s, &Batch{Mark: []MarkChange{m1}})
	audit(t, s)
	if got := s.Counts().InFlight; got != 1 {
		t.Errorf("in flight: %d", got)
	}
	d, err := s.Delivery(t.Context(), ds[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m1.Marked(), d); diff != "" {
		t.Error(diff)
	}

	late := testTime.Add(time.Hour)
	mustCommit(t, s, &Batch{Settle: []Settlement{deferred(d, late)}})
	audit(t, s)
	mustCommit(t, s, &Batch{Settle: []Settlement{settled(ds[1])}})
	audit(t, s)
	page, next, more, err := s.Page(t.Context(), ds[0].Queue, ScheduleKey{}, late, 10)
	if err != nil || len(page) != 1 || more || page[0].ID != ds[0].ID || next.Due != late.Add(time.Microsecond) {
		t.Errorf("page %v next %v more %v err %v", page, next, more, err)
	}

	mustCommit(t, s, &Batch{Settle: []Settlement{settled(page[0])}})
	audit(t, s)
	want = Counts{Outbox: 5}
	if got := s.Counts(); got != want {
		t.Errorf("at the end: %+v, want %+v", got, want)
	}
	if _, err := s.Message(t.Context(), a.Message.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the message outlived its deliveries: %v", err)
	}
	if _, err := s.Body(t.Context(), a.Message.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the content outlived its deliveries: %v", err)
	}
	events, err := s.ReadOutbox(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var types []mail.EventType
	for i, e := range events {
		if e.ID != (mail.EventID{Spool: s.ID(), Seq: uint64(i) + 1}) {
			t.Errorf("event %d has id %v", i, e.ID)
		}
		types = append(types, e.Type)
	}
	wantTypes := []mail.EventType{"accepted", "accepted", "deferred", "delivered", "delivered"}
	if diff := cmp.Diff(wantTypes, types); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(a.Message, events[0].Envelope); diff != "" {
		t.Error(diff)
	}
}

func readAll(b mail.Body) ([]byte, error) {
	r, err := b.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
