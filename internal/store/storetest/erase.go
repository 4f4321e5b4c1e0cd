package storetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

var testErasing = store.Erasing{Address: "Ann@Example.net", Marker: "erased-1@erased.invalid"}

// eraseRecord makes two days with mail to Ann alone, to Ann and Bob, and to Bob, and returns the deliveries to Ann.
func eraseRecord(t *testing.T, s store.Store, n int) (ann []mail.DeliveryID, both, alone *mail.Message) {
	t.Helper()
	for i, at := range []time.Time{Day0, Day0.Add(day)} {
		g := NewMail(mail.SpoolID(7+i), at)
		var events []*mail.Event
		send := func(m *mail.Message, to string) mail.DeliveryID {
			d := g.Delivery()
			tried := g.Tried(mail.EventBounced, m, d, to, 1, 550, "550 5.1.1 <"+to+"> mailbox ann is unknown")
			tried.ID.Seq++
			accepted := g.Accepted(m, d, to)
			accepted.ID.Seq--
			accepted.ID, tried.ID = mail.EventID{Spool: g.Spool, Seq: g.Seq - 1}, mail.EventID{Spool: g.Spool, Seq: g.Seq}
			tried.Attempt.Transcript = "C: RCPT TO:<" + to + ">\n"
			events = append(events, accepted, tried)
			return d
		}
		for range n {
			alone = g.Message("acme")
			alone.Subject, alone.Recipients, alone.Metadata = "Ann, your order", 1, map[string]string{"customer": "4711"}
			ann = append(ann, send(alone, "ann@example.net"))
		}
		both = g.Message("acme")
		both.Subject, both.Recipients = "for ann@example.net and Bob", 2
		ann = append(ann, send(both, "ANN@example.net"))
		send(both, "bob@example.net")
		other := g.Message("beta")
		other.Subject, other.Recipients = "for Bob", 1
		send(other, "bob@example.net")
		must(t, s.WriteEvents(t.Context(), g.Spool, g.Seq, events))
	}
	return ann, both, alone
}

// eraseDays erases day by day and returns what was taken out.
func eraseDays(t *testing.T, s store.Store, e store.Erasing) (sum store.Erased) {
	t.Helper()
	days, err := s.RecordDays(t.Context())
	must(t, err)
	for _, d := range days {
		n, err := s.EraseRecorded(t.Context(), d, e)
		must(t, err)
		sum.Add(n)
	}
	return sum
}

func testErase(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{})
	ann, both, alone := eraseRecord(t, s, 250) // more than a batch a day
	before, err := s.Stats(ctx, store.StatsQuery{Of: store.PerAccount, From: Day0.Add(-time.Hour), To: Day0.Add(3 * day)})
	must(t, err)
	if n := eraseDays(t, s, store.Erasing{Address: testErasing.Address, Marker: testErasing.Marker, Account: "beta"}); n != (store.Erased{}) {
		t.Errorf("of an account that never wrote to her: %+v", n)
	}
	if n := eraseDays(t, s, testErasing); n.Deliveries != 502 || n.Events != 1004 || n.Messages != 500 {
		t.Errorf("%+v", n)
	}
	if n := eraseDays(t, s, testErasing); n != (store.Erased{}) {
		t.Errorf("a second time: %+v", n)
	}
	for _, id := range ann {
		d, err := s.Delivery(ctx, id)
		must(t, err)
		events, err := s.Timeline(ctx, id)
		must(t, err)
		if d.Recipient != testErasing.Marker || d.Domain != "erased.invalid" || d.State != store.State(mail.Bounced) || len(events) != 2 ||
			events[1].Recipient != testErasing.Marker || events[1].Attempt.Reply != "550 5.1.1 <erased-1@erased.invalid> mailbox erased-1 is unknown" || events[1].Attempt.Transcript != "" {
			t.Fatalf("%+v, %+v", d, events[1])
		}
	}
	if m, err := s.Message(ctx, alone.ID); err != nil || m.Subject != "" || m.Metadata != nil || m.RFC822ID != alone.RFC822ID {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := s.Message(ctx, both.ID); err != nil || m.Subject != "for erased-1@erased.invalid and Bob" {
		t.Errorf("%+v, %v", m, err)
	}
	for recipient, want := range map[string]int{"ann@example.net": 0, testErasing.Marker: 502, "bob@example.net": 4} {
		got := 0
		q := store.SearchQuery{Recipient: recipient, Max: store.MaxPage}
		for {
			page, err := s.Search(ctx, q)
			must(t, err)
			got += len(page.Deliveries)
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if got != want {
			t.Errorf("%s is found %d times, want %d", recipient, got, want)
		}
	}
	after, err := s.Stats(ctx, store.StatsQuery{Of: store.PerAccount, From: Day0.Add(-time.Hour), To: Day0.Add(3 * day)})
	must(t, err)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("counts changed:\n%s", diff)
	}
	must(t, s.Close())
	if raw := strings.ToLower(string(onDisk(t, dir))); strings.Contains(raw, "ann@example.net") || strings.Contains(raw, "4711") {
		for _, word := range []string{"ann@example.net", "4711"} {
			if i := strings.Index(raw, word); i >= 0 {
				t.Errorf("%q is still in the files: %q", word, raw[max(0, i-200):min(len(raw), i+100)])
			}
		}
	}
}

// testEraseCrash ends an erasure between its batches; begun again, it finishes.
func testEraseCrash(t *testing.T, open Opener) {
	errDied := errors.New("died")
	for at := 1; at <= 2; at++ {
		dir, n := t.TempDir(), 0
		s := open(t, dir, Options{})
		eraseRecord(t, s, 450)
		must(t, s.Close())
		s = open(t, dir, Options{Step: func(name string) error {
			if name == "between erase batches" {
				if n++; n == at {
					return errDied
				}
			}
			return nil
		}})
		_, err := s.EraseRecorded(t.Context(), "2026-07-01", testErasing)
		wantErr(t, err, errDied)
		must(t, s.Close())
		s = open(t, dir, Options{})
		if n := eraseDays(t, s, testErasing); n.Deliveries != int64(902-at*200) {
			t.Errorf("died at %d: %+v afterwards", at, n)
		}
		if page, err := s.Search(t.Context(), store.SearchQuery{Recipient: "ann@example.net"}); err != nil || len(page.Deliveries) > 0 {
			t.Errorf("died at %d: she is still found: %v", at, err)
		}
		must(t, s.Close())
	}
}

func testErasures(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{})
	must(t, s.RecordAudit(ctx, store.AuditEntry{At: Day0, Actor: "operator/local", Action: "queue.cancel", Kind: "queue", After: `{"filter":{"recipient":"Ann@example.net"}}`}))
	_, _, err := s.RaiseAlert(ctx, "imap", "x", "mail of ann@example.net is odd", Day0)
	must(t, err)
	e := store.Erasure{ID: "ers_1", At: Day0, Actor: "operator/local", Hash: "sha256:1", Marker: testErasing.Marker, State: store.ErasureRunning, Sealed: []byte("SEALEDADDRESS")}
	must(t, s.PutErasure(ctx, e))
	must(t, s.Close())
	s = open(t, dir, Options{})
	list, err := s.ListErasures(ctx, true, 0)
	must(t, err)
	if diff := cmp.Diff([]store.Erasure{e}, list); diff != "" {
		t.Fatal(diff)
	}
	n, err := s.EraseState(ctx, testErasing)
	must(t, err)
	audit, err := s.ListAudit(ctx, store.AuditQuery{})
	must(t, err)
	alerts, err := s.ListAlerts(ctx, store.AlertQuery{})
	must(t, err)
	if n != 2 || audit[0].After != `{"filter":{"recipient":"erased-1@erased.invalid"}}` || alerts[0].Message != "mail of erased-1@erased.invalid is odd" {
		t.Errorf("%d, %+v, %+v", n, audit, alerts)
	}
	e.State, e.Sealed, e.Ended, e.Counts = store.ErasureDone, nil, Day0.Add(time.Hour), store.Erased{Deliveries: 3}
	must(t, s.PutErasure(ctx, e, store.AuditEntry{At: e.Ended, Actor: e.Actor, Action: "erase.done", Kind: "erasure", Name: e.ID}))
	if list, err := s.ListErasures(ctx, true, 0); err != nil || len(list) > 0 {
		t.Errorf("%+v, %v", list, err)
	}
	got, err := s.FindErasure(ctx, "ers_1")
	must(t, err)
	if diff := cmp.Diff(e, got); diff != "" {
		t.Error(diff)
	}
	_, err = s.FindErasure(ctx, "ers_2")
	wantErr(t, err, store.ErrNotFound)
	must(t, s.Close())
	raw := string(onDisk(t, dir))
	if strings.Contains(raw, "U0VBTEVEQUREUkVTU") || strings.Contains(strings.ToLower(raw), "ann@example.net") {
		t.Error("the address is still in the files")
	}
}

// testTranscripts: dialogues go before their events do, also those of attempts that were made days after acceptance; the
// rest of the event stays.
func testTranscripts(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{Retention: 30 * day, Transcripts: 2 * day})
	g := NewMail(7, Day0)
	m, d := g.Message("acme"), g.Delivery()
	var events []*mail.Event
	add := func(at time.Time, n int) {
		g.Clock = at
		e := g.Tried(mail.EventDeferred, m, d, "ann@example.net", n, 451, "451 later")
		e.Attempt.Transcript = "C: EHLO"
		events = append(events, e)
	}
	for n := range 600 { // more than a batch
		add(Day0.Add(time.Duration(n)*time.Second), n+1)
	}
	add(Day0.Add(3*day), 601)
	must(t, s.WriteEvents(ctx, 7, g.Seq, events))
	left := func(at time.Time) (n int) {
		t.Helper()
		_, err := s.Maintain(ctx, at)
		must(t, err)
		list, err := s.Timeline(ctx, d)
		must(t, err)
		if len(list) != 601 || list[0].Attempt.Reply != "451 later" {
			t.Fatalf("%d events", len(list))
		}
		for _, e := range list {
			if e.Attempt.Transcript != "" {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{day, 601}, {3 * day, 1}, {4*day + time.Hour, 1}, {6 * day, 0}} {
		if got := left(Day0.Add(tt.after)); got != tt.want {
			t.Errorf("%s later: %d dialogues, want %d", tt.after, got, tt.want)
		}
	}
}

// testHeld: a day that a legal hold covers does not go.
func testHeld(t *testing.T, open Opener) {
	held := true
	s := fresh(t, open, Options{Retention: day, Held: func(_ context.Context, d string) (bool, error) { return held && d == "2026-07-01", nil }})
	eraseRecord(t, s, 1)
	done, err := s.Maintain(t.Context(), Day0.Add(30*day))
	must(t, err)
	if diff := cmp.Diff([]string{"2026-07-02"}, done.Days); diff != "" {
		t.Error(diff)
	}
	held = false
	done, err = s.Maintain(t.Context(), Day0.Add(30*day))
	must(t, err)
	if diff := cmp.Diff([]string{"2026-07-01"}, done.Days); diff != "" {
		t.Error(diff)
	}
}

// testEraseSpellings erases addresses that the record has in another spelling, and leaves alone whoever has a longer one.
func testEraseSpellings(t *testing.T, open Opener) {
	ctx := t.Context()
	for written, asked := range map[string]string{
		"ÜNAL.k@xn--bcher-kva.example": "ünal.K@bücher.example",
		"U\u0308nal@example.net":       "ünal@example.net",
		"r&d@example.net":              "R&D@example.net",
		`"john smith"@example.net`:     `"John Smith"@example.net`,
	} {
		dir := t.TempDir()
		s := open(t, dir, Options{})
		to, err := mail.ParseAddress(asked)
		must(t, err)
		other := "jo" + strings.Trim(written, `"`) // of a longer name; of the quoted one another's
		if strings.HasPrefix(written, `"`) {
			other = "smith@example.net"
		}
		g := NewMail(7, Day0)
		var events []*mail.Event
		sent := map[string]mail.DeliveryID{}
		for _, recipient := range []string{written, other} {
			m, d := g.Message("acme"), g.Delivery()
			sent[recipient] = d
			accepted := g.Accepted(m, d, recipient)
			tried := g.Tried(mail.EventBounced, m, d, recipient, 1, 550, "550 5.1.1 <"+recipient+"> unknown")
			accepted.ID, tried.ID = mail.EventID{Spool: g.Spool, Seq: g.Seq - 1}, mail.EventID{Spool: g.Spool, Seq: g.Seq}
			events = append(events, accepted, tried)
		}
		must(t, s.WriteEvents(ctx, g.Spool, g.Seq, events))
		var reports []*store.StoredReport
		for i, recipient := range []string{written, other} {
			r := newReport(i, Day0)
			r.Account, r.Recipients, r.Deliveries = "acme", []store.ReportRecipient{{Address: recipient}}, nil
			r.Raw = []byte("To: " + recipient + "\r\n\r\n")
			reports = append(reports, r)
			must(t, s.RecordAudit(ctx, store.AuditEntry{At: Day0, Actor: "operator/local", Action: "create", Kind: "queue", Name: recipient, Note: "for <" + recipient + ">"}))
		}
		must(t, s.PutReports(ctx, reports))

		for _, spelt := range []string{written, asked, to.String(), mail.Fold(to.String())} {
			page, err := s.Search(ctx, store.SearchQuery{Recipient: mail.FoldedText(spelt)})
			must(t, err)
			if len(page.Deliveries) != 1 || page.Deliveries[0].ID != sent[written] {
				t.Errorf("%s is found %d times as %s", written, len(page.Deliveries), spelt)
			}
		}
		e := store.Erasing{Address: to.String(), Marker: testErasing.Marker}
		if n := eraseDays(t, s, e); n.Deliveries != 1 || n.Events != 2 || n.Reports != 1 {
			t.Errorf("%s: %+v", written, n)
		}
		n, err := s.EraseState(ctx, e)
		must(t, err)
		if n != 1 {
			t.Errorf("%s: %d log entries", written, n)
		}
		if n := eraseDays(t, s, e); n != (store.Erased{}) {
			t.Errorf("%s a second time: %+v", written, n)
		}
		if d, err := s.Delivery(ctx, sent[other]); err != nil || d.Recipient != other || !strings.Contains(d.Reply, other) {
			t.Errorf("%s lost what is said of it: %+v, %v", other, d, err)
		}
		if r, err := s.Report(ctx, reports[1].ID); err != nil || len(r.Raw) == 0 || r.Recipients[0].Address != other {
			t.Errorf("the report about %s: %+v, %v", other, r, err)
		}
		audit, err := s.ListAudit(ctx, store.AuditQuery{})
		must(t, err)
		if audit[0].Name != other || audit[1].Name != testErasing.Marker {
			t.Errorf("%s: the audit log: %+v", written, audit)
		}
		must(t, s.Close())
		left := strings.NewReplacer(other, "", strings.ReplaceAll(other, "&", `\u0026`), "").Replace(string(onDisk(t, dir)))
		for _, form := range []string{written, to.String(), strings.ReplaceAll(written, `"`, `\"`), strings.ReplaceAll(written, "&", `\u0026`)} {
			if strings.Contains(left, form) {
				t.Errorf("%s is still in the files as %s", written, form)
			}
		}
	}
}
