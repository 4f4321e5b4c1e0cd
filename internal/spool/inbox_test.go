package spool

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
)

// TestInbox: a report is kept until the frame with its events removes it.
func TestInbox(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testOptions(fs))
	var want []InboxEntry
	for _, raw := range []string{"one", "two", "three"} {
		e := InboxEntry{Kind: "return-path", Received: testTime, Meta: map[string]string{"rcpt": raw}, Raw: []byte(raw)}
		seq, err := s.PutInbox(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		e.Seq = seq
		want = append(want, e)
	}
	mustCommit(t, s, &Batch{InboxDone: []uint64{want[1].Seq}, Events: []*mail.Event{{Type: mail.EventComplained, At: testTime}}})
	mustCommit(t, s, &Batch{InboxDone: []uint64{want[1].Seq, 99}}) // again, and one that never was
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, testOptions(fs))
	got, err := s.ReadInbox(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]InboxEntry{want[0], want[2]}, got); diff != "" {
		t.Error(diff)
	}
	if got, err := s.ReadInbox(t.Context(), want[0].Seq, 10); err != nil || len(got) != 1 {
		t.Errorf("after the first: %v, %v", got, err)
	}
	if seq, err := s.PutInbox(t.Context(), InboxEntry{}); err != nil || seq != want[2].Seq+1 {
		t.Errorf("the next number is %d, %v", seq, err)
	}
	audit(t, s)
}

func TestOutboxIsTrimmed(t *testing.T) {
	s := openTest(t, testOptions(nil))
	for range 10 {
		mustCommit(t, s, &Batch{Events: []*mail.Event{{Type: mail.EventOpened}, {Type: mail.EventClicked}}})
	}
	if err := s.TrimOutbox(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if oldest, newest := s.OutboxRange(); oldest != 8 || newest != 20 {
		t.Errorf("range %d to %d", oldest, newest)
	}
	for after, first := range map[uint64]uint64{0: 8, 7: 8, 10: 11} {
		events, err := s.ReadOutbox(t.Context(), after, 3)
		if err != nil || len(events) != 3 || events[0].ID.Seq != first {
			t.Errorf("after %d: %v, %v", after, events, err)
		}
	}
	if err := s.TrimOutbox(t.Context(), 1000); err != nil { // no further than the newest
		t.Fatal(err)
	}
	if oldest, newest := s.OutboxRange(); oldest != 21 || newest != 20 || s.Counts().Outbox != 0 {
		t.Errorf("range %d to %d, %+v", oldest, newest, s.Counts())
	}
	if events, err := s.ReadOutbox(t.Context(), 20, 3); err != nil || len(events) != 0 {
		t.Errorf("%v, %v", events, err)
	}
	audit(t, s)
	b := &Batch{Events: []*mail.Event{{Type: mail.EventOpened}}}
	mustCommit(t, s, b)
	if b.Events[0].ID != (mail.EventID{Spool: s.ID(), Seq: 21}) {
		t.Errorf("its id is %v", b.Events[0].ID)
	}
}

func TestIdempotency(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs)
	now := testTime
	o.Now = func() time.Time { return now }
	s := mustOpen(t, o)
	put := func(account string, key byte, at time.Time) {
		t.Helper()
		a := newAcceptance(account, "example.net", 1, []byte("x"))
		a.Idempotency = &IdempotencyRecord{Account: account, KeyHash: [32]byte{key}, BodyHash: [32]byte{1, key}, At: at, Response: []byte(account)}
		mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
	}
	get := func(account string, key byte) *IdempotencyRecord {
		t.Helper()
		r, err := s.Idempotency(t.Context(), account, [32]byte{key}, now)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	put("acme", 1, testTime)
	put("acme", 2, testTime.Add(5*time.Hour))
	put("beta", 1, testTime)
	want := &IdempotencyRecord{Account: "acme", KeyHash: [32]byte{1}, BodyHash: [32]byte{1, 1}, At: testTime, Response: []byte("acme")}
	if diff := cmp.Diff(want, get("acme", 1)); diff != "" {
		t.Error(diff)
	}
	if get("beta", 1) == nil || get("beta", 2) != nil || get("gamma", 1) != nil {
		t.Error("accounts are mixed up")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, o)
	now = testTime.Add(24*time.Hour - 1)
	if get("acme", 1) == nil {
		t.Error("forgotten too early")
	}
	now = testTime.Add(24 * time.Hour)
	if get("acme", 1) != nil || get("acme", 2) == nil {
		t.Error("an expired record is given, or a live one is not")
	}
	keys := func() (n int) {
		err := s.scan(t.Context(), []byte{tabIdem}, []byte{tabIdem + 1}, func(_, _ []byte) (bool, error) { n++; return true, nil })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	now = testTime.Add(26 * time.Hour)
	if err := s.Maintain(t.Context()); err != nil || keys() != 1 {
		t.Errorf("%d records are left (%v)", keys(), err)
	}
	now = testTime.Add(31 * time.Hour)
	if err := s.Maintain(t.Context()); err != nil || keys() != 0 || len(s.hours()) != 0 {
		t.Errorf("%d records are left (%v)", keys(), err)
	}
}
