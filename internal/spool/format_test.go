package spool

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// TestFormat1 opens the spool of format 1 that lies in testdata as its program left it, and reads every kind of
// record out of it. It must pass for as long as format 1 is to be read: never write the fixture anew for a change
// that does not make a new format.
func TestFormat1(t *testing.T) {
	const dir = "testdata/format1"
	if *update {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		makeFixture(t, dir)
	}
	fs := vfs.NewMem()
	if ok, err := vfs.Clone(vfs.Default, fs, dir, "/spool"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	s := openTest(t, testOptions(fs))
	for _, id := range s.stages.ids() {
		if err := s.Published(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, dir+".golden", dump(t, s))
	r, err := s.check(t.Context())
	if err != nil || len(r.Problems) != 1 { // the record in quarantine
		t.Errorf("check: %q, %v", r.Problems, err)
	}
}

// makeFixture makes a spool with every kind of record, some in tables and some in the log.
func makeFixture(t *testing.T, dir string) {
	o := testOptions(vfs.Default)
	o.Dir = dir
	s := mustOpen(t, o)
	full := newAcceptance("acme", "example.net", 1, []byte("Subject: full\r\n\r\nEvery field is set.\r\n"))
	m, d := full.Message, full.Deliveries[0]
	m.SendAt, m.Tags, m.Metadata = testTime.Add(time.Minute), []string{"one", "two"}, map[string]string{"order": "17", "shop": "north"}
	m.EightBit, m.UTF8, m.RequireTLS, m.Verified, m.EnvID, m.Ret = true, true, true, true, "envelope", "HDRS"
	m.Content.BodyOffset, m.Content.BodyHash = 17, [32]byte{1, 2, 3}
	d.Notify, d.ORcpt, d.Data, d.Recipient.Domain = mail.NotifyFailure|mail.NotifyDelay, "rfc822;user0@example.net", []byte("data"), "other.example"
	d.GreylistedBy, d.GreylistUntil, d.AvoidSource, d.Uncertain = "a", testTime.Add(time.Hour), "b", true
	full.Idempotency = &IdempotencyRecord{Account: "acme", KeyHash: [32]byte{7}, BodyHash: [32]byte{8}, At: testTime, Response: []byte(`{"id":1}`)}

	many := newAcceptance("acme", "example.org", 3, []byte("three recipients"))
	many.Deliveries[2].Held, many.Deliveries[2].Due = "hold", many.Deliveries[2].ExpiresAt
	gone := newAcceptance("acme", "example.org", 1, []byte("settled at once"))
	mustCommit(t, s, &Batch{
		Accept: []*Acceptance{full, many, gone},
		Lanes: []LaneRecord{{
			Key: "direct>mx.example.net", Lane: mail.Lane{Route: "direct", Source: "a", Receiver: "r", Site: "mx.example.net"},
			Scope: mail.ScopeSite, Since: testTime, Until: testTime.Add(time.Hour), Fails: 3,
			Last: mail.LastAnswer{At: testTime, Result: mail.Deferred, Class: mail.ClassNetwork, Scope: mail.ScopeSite, Stage: mail.StageConnect, Reply: "no route", Host: "mx"},
		}},
	})
	delivered := settled(gone.Deliveries[0])
	delivered.Events[0].Attempt = &mail.Attempt{
		N: 1, At: testTime, Route: "direct", Kind: mail.RouteMX, Source: "a", Lane: "direct>x",
		Host: "mx.example.org", IP: "192.0.2.1", TLS: "TLS1.3", TLSNote: "note", Stage: mail.StageDot, Code: 250, Enhanced: "2.0.0",
		Reply: "250 2.0.0 ok", Uncertain: true, Waiting: 1, Connect: 2, Sending: 3, Transcript: "EHLO",
	}
	delivered.Events[0].Class, delivered.Events[0].Scope, delivered.Events[0].Action = mail.ClassOther, mail.ScopeRecipient, mail.ActionNone
	delivered.Events[0].Rule, delivered.Events[0].Late, delivered.Events[0].Next, delivered.Events[0].Reason = "rule", true, testTime, "why"
	mustCommit(t, s, &Batch{Settle: []Settlement{delivered}})
	if err := s.TrimOutbox(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}

	large := newAcceptance("acme", "example.com", 1, bytes.Repeat([]byte("in a file\r\n"), 100))
	body := large.Body
	large.Body, large.Message.Content.External = nil, true
	if _, err := writeContent(s, large.Message.ID, body); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, &Batch{
		Accept: []*Acceptance{large}, Mark: []MarkChange{mark(many.Deliveries[0])},
		Settle: []Settlement{deferred(many.Deliveries[1], testTime.Add(time.Hour))},
	})
	staged := newAcceptance("acme", "example.com", 2, []byte("staged"))
	if err := s.Stage(t.Context(), staged.Message.ID, staged.Deliveries[:1], staged.Events[:1]); err != nil {
		t.Fatal(err)
	}
	staged.Deliveries, staged.Events, staged.Staged = staged.Deliveries[1:], staged.Events[1:], 1
	mustCommit(t, s, &Batch{Accept: []*Acceptance{staged}})
	// A record in quarantine.
	if err := s.db.Set(append([]byte{tabQuarantine}, "Lbad"...), []byte{9}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	err := s.do(t.Context(), &item{job: func(f *frame) error { f.wrote = true; f.st.counts.Quarantined++; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutInbox(t.Context(), InboxEntry{Kind: "dsn", Received: testTime, Meta: map[string]string{"from": "x"}, Raw: []byte("raw")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/LOCK", "/db/LOCK", "/owner"} { // differ with each machine
		if err := os.Remove(dir + name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(dir + "/quarantine"); err != nil {
		t.Fatal(err)
	}
}

// dump writes all that can be read from a spool.
func dump(t *testing.T, s *Spool) string {
	t.Helper()
	ctx := context.Background()
	type message struct {
		Message *mail.Message
		Body    string
		IDs     []mail.DeliveryID
	}
	var all struct {
		Spool       string
		Newest      time.Time
		Counts      Counts
		Deliveries  []*mail.Delivery
		Data        []string
		OpenMarks   []mail.DeliveryID
		Messages    []message
		Events      []*mail.Event
		Lanes       []LaneRecord
		Inbox       []InboxEntry
		Idempotency *IdempotencyRecord
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	all.Spool, all.Newest, all.Counts = s.ID().String(), s.NewestAtOpen(), s.Counts()
	seen := map[mail.MessageID]bool{}
	check(s.All(ctx, func(d *mail.Delivery) error {
		all.Deliveries = append(all.Deliveries, d)
		all.Data = append(all.Data, string(d.Data))
		if seen[d.Message] {
			return nil
		}
		seen[d.Message] = true
		m, err := s.Message(ctx, d.Message)
		check(err)
		ds, err := s.Deliveries(ctx, d.Message, mail.DeliveryID{}, 10)
		check(err)
		entry := message{Message: m, Body: string(bodyOf(t, s, m.ID))}
		for _, d := range ds {
			entry.IDs = append(entry.IDs, d.ID)
		}
		all.Messages = append(all.Messages, entry)
		return nil
	}))
	check(s.OpenMarks(ctx, func(d *mail.Delivery) error { all.OpenMarks = append(all.OpenMarks, d.ID); return nil }))
	var err error
	all.Events, err = s.ReadOutbox(ctx, 0, 1000)
	check(err)
	all.Lanes, err = s.Lanes(ctx)
	check(err)
	all.Inbox, err = s.ReadInbox(ctx, 0, 1000)
	check(err)
	all.Idempotency, err = s.Idempotency(ctx, "acme", [32]byte{7}, testTime)
	check(err)
	text, err := json.MarshalIndent(all, "", "  ")
	check(err)
	return string(text) + "\n"
}
