package feedback

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// Somebody who has once got a mail of ours holds its token, and may send what he likes, as often as he likes.

// TestReplayFlood: a true report that comes a thousand times, with an attachment, makes one event; of the others little is
// kept.
func TestReplayFlood(t *testing.T) {
	times := 1000
	if testing.Short() {
		times = 30
	}
	w := newWorld(t)
	s := w.send(mail.EventDelivered, "user@example.com")
	noise := make([]byte, 80<<10) // it does not deflate
	for i := range noise {
		noise[i] = byte(rand.N(256)) //nolint:gosec // noise
	}
	report := dsn("", "user@example.com failed 5.1.1 "+unknownUser)
	raw := strings.Replace(report, "\n--x--\n", "\n--x\nContent-Transfer-Encoding: base64\n\n"+base64.StdEncoding.EncodeToString(noise)+"\n--x--\n", 1)
	const large = 20 // have the attachment: reading it takes longest
	ids := make([]mail.ReportID, times)
	for i := range ids {
		if i < large {
			ids[i] = w.put(s.path(0), raw)
		} else {
			ids[i] = w.put(s.path(0), report)
		}
	}
	w.read()
	if row := w.want(ids[0], store.ReportActed, ""); row.Truncated != 0 || len(row.Raw) < len(raw) {
		t.Errorf("of the report that counted %d octets are kept, %d cut", len(row.Raw), row.Truncated)
	}
	for i, id := range ids[1:] {
		row := w.want(id, store.ReportReplayed, "bounced already")
		if i+1 >= large {
			continue
		}
		if len(row.Raw) > maxIdle || row.Size != int64(len(row.Raw)) || row.Truncated < int64(len(raw)-maxIdle) {
			t.Fatalf("of a replay %d octets are kept (size %d), %d cut", len(row.Raw), row.Size, row.Truncated)
		}
	}
	if list := w.events(s, 0); len(list) != 1 {
		t.Errorf("%d events", len(list))
	}
}

// TestWaitingFlood: a peer that takes the content and then cuts the dialogue off leaves a delivery of which nobody knows whether
// it was taken, and reports on it wait. Only the first that says something is waited for; it still counts when the delivery
// is taken after all, and what others wait for is not held up.
func TestWaitingFlood(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	s := w.accept(now, "web", "user@example.com")
	waiting := w.settle(w.mark(s.deliveries[0], now), mail.EventDeferred, now, func(e *mail.Event) { e.Attempt.Uncertain = true })
	failed := dsn("", "user@example.com failed 5.1.1 "+unknownUser)
	first := w.put(s.path(0), failed)
	var flood []mail.ReportID
	for range 100 {
		flood = append(flood, w.put(s.path(0), failed))
	}
	other := w.send(mail.EventDelivered, "other@example.com")
	behind := w.put(other.path(0), dsn("", "other@example.com failed 5.1.1 "+unknownUser))

	o := w.options()
	in := &countingInbox{Inbox: w.spool}
	o.Inbox = in
	r, stop := w.run(o)
	w.until("one report waits", func() bool { return w.spool.Counts().Inbox == 1 })
	w.settle(w.mark(waiting, now), mail.EventDelivered, now, nil)
	w.until("it is read", func() bool { return w.spool.Counts().Inbox == 0 })
	stop()
	w.recorded()
	w.want(first, store.ReportActed, "")
	w.want(behind, store.ReportActed, "")
	for _, id := range flood {
		w.want(id, store.ReportReplayed, "came before and waits")
	}
	if list := w.events(s, 0); len(list) != 1 || !list[0].Late {
		t.Errorf("events %+v", list)
	}
	if len(r.first) != 0 || len(r.later) != 0 {
		t.Errorf("it still remembers %v and %v", r.first, r.later)
	}
}

// countingInbox counts what is read of an inbox.
type countingInbox struct {
	Inbox
	entries int
}

func (c *countingInbox) ReadInbox(ctx context.Context, after uint64, most int) ([]spool.InboxEntry, error) {
	list, err := c.Inbox.ReadInbox(ctx, after, most)
	c.entries += len(list)
	return list, err
}

// TestWaitingIsNotReadAgain: what waits is not read again before its time, whatever else comes in.
func TestWaitingIsNotReadAgain(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	const waiters = 50
	for i := range waiters {
		s := w.accept(now, "web", fmt.Sprintf("user%d@example.com", i))
		w.mark(s.deliveries[0], now)
		w.put(s.path(0), dsn("", "x@example.com failed 5.1.1 "+unknownUser))
	}
	o := w.options()
	in := &countingInbox{Inbox: w.spool}
	at := now
	o.Inbox, o.Now = in, func() time.Time { return at } // it stands still: nothing is due
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := r.pass(ctx, caution{}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		s := w.send(mail.EventDelivered, "fresh@example.com")
		w.recorded()
		w.put(s.path(0), dsn("", "fresh@example.com failed 5.1.1 "+unknownUser))
		if err := r.pass(ctx, caution{}); err != nil {
			t.Fatal(err)
		}
		if got := w.spool.Counts().Inbox; got != waiters {
			t.Errorf("%d reports are left", got)
		}
		if want := waiters + i + 1; in.entries != want {
			t.Errorf("%d entries read, want %d", in.entries, want)
		}
	}
	at = at.Add(waiterLast)
	if err := r.pass(ctx, caution{}); err != nil || in.entries != 2*waiters+5 {
		t.Errorf("%d entries read when all are due: %v", in.entries, err)
	}
}

// TestSlowReporters: reporters whose name servers never answer hold up nobody for long.
func TestSlowReporters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.send(mail.EventDelivered, "user@example.com")
		w.recorded()
		signature := ""
		for i := range 10 {
			signature += fmt.Sprintf("DKIM-Signature: v=1; a=rsa-sha256; d=slow%d.example; s=x; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\n", i)
		}
		const hostile = 2 * maxPage
		for range hostile {
			w.putBy(spool.InboxReturnPath, time.Now(), map[string]string{spool.MetaRecipient: "fbl@example.org", spool.MetaClient: "192.0.2.1", spool.MetaHelo: "slow.example"}, signature+arf("abuse", "Subject: x\n"))
		}
		id := w.put(s.path(0), dsn("", "user@example.com failed 5.1.1 "+unknownUser))
		o := w.options()
		o.LookupTXT = func(ctx context.Context, _ string) ([]string, error) { <-ctx.Done(); return nil, ctx.Err() }
		o.CheckTime = 500 * time.Millisecond
		began := time.Now()
		w.readWith(o)
		if took := time.Since(began); took > hostile*o.CheckTime/2 {
			t.Errorf("%d reports took %s, one after the other it would be %s", hostile, took, hostile*o.CheckTime)
		}
		w.want(id, store.ReportActed, "")
	})
}

// TestHugeReports: mails made to be costly are read within bounds, and the report behind them counts.
func TestHugeReports(t *testing.T) {
	many := make([]string, 100_000)
	for i := range many {
		many[i] = fmt.Sprintf("u%d@x.example failed 5.1.1 550 5.1.1 %s", i, strings.Repeat("no ", 20))
	}
	nested := "From: a@x.example\nMIME-Version: 1.0\n"
	for i := range 5000 {
		nested += fmt.Sprintf("Content-Type: multipart/report; boundary=b%d\n\n--b%d\n", i, i)
	}
	rfc822 := "From: a@x.example\n" + strings.Repeat("Content-Type: message/rfc822\n\n", 20_000)
	bomb := "Subject: x\n\n" + strings.Repeat("b1-", 1<<18)
	for range 3 {
		bomb = "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(bomb))
	}
	nul := strings.ReplaceAll(dsn("", "user@example.com failed 5.1.1 "+unknownUser), "Subject:", "X\x00Y: \x00\x1b[31m\nSubject: \x00\x1b]0;x\x07")
	w := newWorld(t)
	s := w.send(mail.EventDelivered, "user@example.com")
	for name, raw := range map[string]string{
		"100,000 recipients": dsn(tokenField+": "+s.token()+"\n", many...), "nested": nested, "messages in messages": rfc822, "encoded thrice": bomb,
		"tokens":      "From: MAILER-DAEMON@x.example\nSubject: failure notice\n\n" + strings.Repeat("b1-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ", 60_000),
		"one line":    "From: MAILER-DAEMON@x.example\nSubject: failure notice\n\n" + strings.Repeat("x", spool.MaxReport-200),
		"header only": strings.Repeat("X-A: b\n", 400_000),
	} {
		t.Run(name, func(t *testing.T) {
			if len(raw) > spool.MaxReport/2 { // doors cut it; put makes CRLF of LF
				raw = raw[:spool.MaxReport/2]
			}
			id := w.put("fbl@example.org", raw)
			o := w.options()
			o.ParseTime = time.Minute // a fraction of a second is usual, hours are what a square of the size would take
			w.readWith(o)
			row := w.report(id)
			if row.Outcome == store.ReportActed || row.Outcome == store.ReportSetAside || len(row.Recipients) > maxTargets {
				t.Errorf("outcome %s (%s), %d recipients", row.Outcome, row.Why, len(row.Recipients))
			}
			if name == "100,000 recipients" && (row.Omitted == 0 || !row.Partial) {
				t.Errorf("what is left out is not told: %d omitted, partial %v", row.Omitted, row.Partial)
			}
		})
	}
	if list := w.events(s, 0); len(list) > 0 {
		t.Errorf("events %+v", list)
	}
	id := w.put(s.path(0), nul)
	w.read()
	if row := w.want(id, store.ReportActed, ""); bytes.IndexByte([]byte(row.Subject), 0) >= 0 {
		t.Errorf("subject %q", row.Subject)
	}
}

// TestManyRecipients: a report on a transaction of as many recipients as one can have is worked off whole.
func TestManyRecipients(t *testing.T) {
	w := newWorld(t)
	const n = 100
	to, said := make([]string, n), make([]string, n)
	for i := range to {
		to[i] = fmt.Sprintf("user%d@example.com", i)
		said[i] = to[i] + " failed 5.1.1 " + unknownUser
	}
	s := w.send(mail.EventDelivered, to...)
	id := w.put("fbl@example.org", dsn(tokenField+": "+s.token()+"\n", said...))
	w.read()
	if row := w.want(id, store.ReportActed, ""); len(row.Deliveries) != n || row.Omitted != 0 || row.Partial {
		t.Errorf("%d deliveries", len(row.Deliveries))
	}
	for i := range to {
		if st := w.state(s, i).State; st != store.State(mail.Bounced) {
			t.Errorf("%s is %s", to[i], st)
		}
	}
}

// TestWrongClock: while the clock is in doubt no report is called too late.
func TestWrongClock(t *testing.T) {
	for _, doubted := range []bool{false, true} {
		w := newWorld(t)
		s := w.send(mail.EventDelivered, "user@example.com")
		ahead := time.Now().AddDate(5, 0, 0)
		id := w.putBy(spool.InboxReturnPath, ahead, map[string]string{spool.MetaRecipient: s.path(0)}, dsn("", "user@example.com failed 5.1.1 "+unknownUser))
		o := w.options()
		o.Now, o.ClockDoubted = func() time.Time { return ahead }, func() bool { return doubted }
		w.readWith(o)
		want := store.ReportExpired
		if doubted {
			want = store.ReportActed
		}
		w.want(id, want, "")
	}
	// After the clock was set back: a report that came before its mail was sent counts, and ids that go on from where they
	// were do not hide a delivery from a match.
	w := newWorld(t)
	w.ahead = 48 * time.Hour
	s := w.send(mail.EventDelivered, "user@example.com")
	path := dsn("", "user@example.com failed 5.1.1 "+unknownUser)
	id := w.putBy(spool.InboxReturnPath, time.Now().Add(-48*time.Hour), map[string]string{spool.MetaRecipient: s.path(0)}, path)
	s = w.send(mail.EventRelayed, "other@example.com")
	matched := w.putBy(spool.InboxIMAP, time.Now(), map[string]string{spool.MetaAccount: "shop"}, dsn("Subject: Your order\n", "other@example.com failed 5.1.1 "+unknownUser))
	w.read()
	w.want(id, store.ReportActed, "")
	if row := w.want(matched, store.ReportActed, ""); row.Evidence != mail.EvidenceMatch || w.state(s, 0).State != store.State(mail.Bounced) {
		t.Errorf("row %+v", row)
	}
}

// TestForwardBudget: one mail that cannot be handed on for long counts once, however often it is tried.
func TestForwardBudget(t *testing.T) {
	w := newWorld(t)
	w.put("abuse@example.org", "From: a@example.net\nSubject: stop\n\nPlease.\n")
	at := time.Now().Truncate(time.Hour)
	o := w.options()
	o.Now = func() time.Time { return at }
	tries := 0
	o.Forward = func(context.Context, *store.StoredReport) error {
		if tries++; tries <= 2*maxForwards {
			return store.ErrUnavailable
		}
		return nil
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 3*maxForwards && w.spool.Counts().Inbox > 0; i++ {
		if err := r.pass(context.Background(), caution{}); err != nil {
			t.Fatal(err)
		}
		at = at.Add(waiterLast)
	}
	if tries != 2*maxForwards+1 || w.spool.Counts().Inbox != 0 {
		t.Errorf("%d tries, %d left", tries, w.spool.Counts().Inbox)
	}
}
