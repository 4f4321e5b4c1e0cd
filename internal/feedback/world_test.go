package feedback

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/projector"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testKey = mail.ReturnPathKey{7}

// world is a real spool, a real store and a projector between them, in a folder of the test.
type world struct {
	t     testing.TB
	dir   string
	disk  vfs.FS // of the spool; nil: the system's
	spool *spool.Spool
	store *sqlite.Store
	down  atomic.Bool   // the store takes no reports
	ahead time.Duration // of the clock when ids were made
	stop  func()

	mu     sync.Mutex
	alerts []platform.Alert
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: t.TempDir()}
	w.open()
	t.Cleanup(func() { w.close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	w.spool, err = spool.Open(context.Background(), spool.Options{
		Dir: w.dir + "/spool", FS: w.disk, MemTable: 4 << 20, FreeSpace: func(string) (uint64, uint64, error) { return 100 << 30, 200 << 30, nil },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store, err = sqlite.Open(context.Background(), sqlite.Options{Now: storetest.Still(), Dir: w.dir + "/store", Step: func(name string) error {
		if w.down.Load() && strings.Contains(name, "reports") {
			return store.ErrUnavailable
		}
		return nil
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := projector.New(projector.Options{Outbox: w.spool, Store: w.store, Linger: time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) close() {
	w.stop()
	if err := errors.Join(w.spool.Close(), w.store.Close()); err != nil {
		w.t.Error(err)
	}
}

func (w *world) alert(a platform.Alert) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alerts = append(w.alerts, a)
}

func (w *world) options() Options {
	return Options{Inbox: w.spool, Store: w.store, Key: testKey, Alert: w.alert}
}

// read runs a reader until the inbox is empty.
func (w *world) read() *Reader { w.t.Helper(); return w.readWith(w.options()) }

// run starts a reader; stop ends it in order.
func (w *world) run(o Options) (r *Reader, stop func()) {
	w.t.Helper()
	r, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() {
		w.t.Helper()
		cancel()
		if err := <-done; err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) readWith(o Options) *Reader {
	w.t.Helper()
	r, stop := w.run(o)
	deadline := time.Now().Add(5 * time.Minute)
	for w.spool.Counts().Inbox > 0 {
		if time.Now().After(deadline) {
			w.t.Error("the inbox is not read")
			break
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	w.recorded()
	return r
}

// recorded waits for the projector.
func (w *world) recorded() {
	w.t.Helper()
	_, newest := w.spool.OutboxRange()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); {
		mark, err := w.store.WaitFor(context.Background(), w.spool.ID(), newest)
		if err != nil {
			w.t.Fatal(err)
		}
		if mark >= newest {
			return
		}
	}
	w.t.Fatal("the record does not catch up")
}

// sent is a message that went out.
type sent struct {
	msg        *mail.Message
	deliveries []*mail.Delivery
}

// accept takes a message of the account shop in.
func (w *world) accept(at time.Time, credential string, to ...string) sent {
	w.t.Helper()
	at = at.UTC().Truncate(time.Microsecond)
	m := &mail.Message{
		ID: mail.NewMessageID(at), Account: "shop", Credential: credential, Stream: mail.Transactional,
		From: mail.Address{Local: "news", Domain: "shop.example"}, AcceptedAt: at, ExpiresAt: at.Add(72 * time.Hour),
		HeaderFrom: "news@shop.example", Subject: "Your order", Size: 4, Recipients: len(to), Content: mail.Content{Kind: mail.ContentRaw},
	}
	w.age(m.ID[:])
	m.RFC822ID = m.ID.String() + "@shop.example"
	a := &spool.Acceptance{Message: m, Body: []byte("text")}
	for _, addr := range to {
		rcpt, err := mail.ParseAddress(addr)
		if err != nil {
			w.t.Fatal(err)
		}
		d := &mail.Delivery{
			ID: mail.NewDeliveryID(at), Message: m.ID, Queue: mail.QueueKey{Account: m.Account, Stream: m.Stream, Domain: rcpt.Domain},
			Recipient: rcpt, CreatedAt: at, ExpiresAt: m.ExpiresAt, Due: at,
		}
		w.age(d.ID[:])
		a.Deliveries = append(a.Deliveries, d)
		e := w.event(mail.EventAccepted, d, at)
		e.Envelope = m
		a.Events = append(a.Events, e)
	}
	w.commit(&spool.Batch{Accept: []*spool.Acceptance{a}})
	return sent{m, a.Deliveries}
}

// age makes an id that of a process whose clock was ahead.
func (w *world) age(id []byte) {
	if w.ahead != 0 {
		ms := time.Now().Add(w.ahead).UnixMilli()
		for i := range 6 {
			id[i] = byte(ms >> (8 * (5 - i)))
		}
	}
}

func (w *world) event(t mail.EventType, d *mail.Delivery, at time.Time) *mail.Event {
	return &mail.Event{
		Type: t, At: at, Account: d.Queue.Account, Stream: d.Queue.Stream, Message: d.Message, Delivery: d.ID, Recipient: d.Recipient.String(),
	}
}

func (w *world) commit(b *spool.Batch) {
	w.t.Helper()
	if err := w.spool.Commit(context.Background(), b); err != nil {
		w.t.Fatal(err)
	}
}

// mark begins an attempt of a delivery.
func (w *world) mark(d *mail.Delivery, at time.Time) *mail.Delivery {
	w.t.Helper()
	c := spool.MarkChange{Delivery: d, Mark: mail.Mark{Attempt: d.Attempts + 1, Route: "direct", Source: "a", At: at}, Next: at.Add(5 * time.Minute)}
	w.commit(&spool.Batch{Mark: []spool.MarkChange{c}})
	return c.Marked()
}

// settle ends the attempt of a delivery that is marked; deferred leaves it waiting.
func (w *world) settle(d *mail.Delivery, t mail.EventType, at time.Time, change func(*mail.Event)) *mail.Delivery {
	w.t.Helper()
	s := w.settlement(d, t, at, change)
	w.commit(&spool.Batch{Settle: []spool.Settlement{s}})
	return s.New
}

func (w *world) settlement(d *mail.Delivery, t mail.EventType, at time.Time, change func(*mail.Event)) spool.Settlement {
	e := w.event(t, d, at)
	e.Attempt = &mail.Attempt{
		N: d.Attempts, At: at, Route: "direct", Kind: mail.RouteMX, Source: "a", Lane: "direct/a>google:mx1.example.net", Host: "mx1.example.net",
		Stage: mail.StageDot, Code: 250, Reply: "250 2.0.0 queued",
	}
	if change != nil {
		change(e)
	}
	s := spool.Settlement{Old: d, Events: []*mail.Event{e}}
	if t == mail.EventDeferred {
		next := *d
		next.Mark, next.Due, next.Uncertain = nil, at.Add(time.Hour), e.Attempt.Uncertain
		s.New = &next
	}
	return s
}

// send sends a message; every delivery ends with the result.
func (w *world) send(result mail.EventType, to ...string) sent {
	w.t.Helper()
	return w.sendAt(time.Now(), "web", result, to...)
}

func (w *world) sendAt(at time.Time, credential string, result mail.EventType, to ...string) sent {
	w.t.Helper()
	s := w.accept(at, credential, to...)
	for _, d := range s.deliveries {
		w.settle(w.mark(d, s.msg.AcceptedAt), result, s.msg.AcceptedAt.Add(time.Second), nil)
	}
	return s
}

// path is the return path of the i-th delivery.
func (s sent) path(i int) string {
	return testKey.ReturnPath(s.deliveries[i].ID, "bounces.example.org").String()
}

func (s sent) token() string { return testKey.MessageToken(s.msg.ID) }

// put lays a mail into the inbox as the return-path listener does, and returns the report's id.
func (w *world) put(rcpt, raw string) mail.ReportID {
	w.t.Helper()
	return w.putBy(spool.InboxReturnPath, time.Now(), map[string]string{spool.MetaRecipient: rcpt}, raw)
}

func (w *world) putBy(door string, at time.Time, meta map[string]string, raw string) mail.ReportID {
	w.t.Helper()
	id := mail.NewReportID(time.Now())
	meta[spool.MetaReport] = id.String()
	raw = strings.ReplaceAll(strings.ReplaceAll(raw, "\r\n", "\n"), "\n", "\r\n")
	if _, err := w.spool.PutInbox(context.Background(), spool.InboxEntry{Kind: door, Received: at, Meta: meta, Raw: []byte(raw)}); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// report reads a row.
func (w *world) report(id mail.ReportID) *store.StoredReport {
	w.t.Helper()
	r, err := w.store.Report(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// events are those that reports have made for the i-th delivery.
func (w *world) events(s sent, i int) (list []*mail.Event) {
	w.t.Helper()
	all, err := w.store.Timeline(context.Background(), s.deliveries[i].ID)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range all {
		if e.Report != nil {
			list = append(list, e)
		}
	}
	return list
}

func (w *world) state(s sent, i int) store.Delivery {
	w.t.Helper()
	d, err := w.store.Delivery(context.Background(), s.deliveries[i].ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return *d
}

// want checks outcome and reason of a report, and the types of the events its first delivery has got.
func (w *world) want(id mail.ReportID, outcome store.ReportOutcome, why string) *store.StoredReport {
	w.t.Helper()
	r := w.report(id)
	if r.Outcome != outcome || !strings.Contains(r.Why, why) {
		w.t.Errorf("report of kind %s: outcome %s (%s), want %s (%s); deliveries %+v", r.Kind, r.Outcome, r.Why, outcome, why, r.Deliveries)
	}
	return r
}

// dsn is a delivery status notification. Each recipient is "address action status diagnostic"; header is that of the
// returned message.
func dsn(header string, recipients ...string) string {
	var b strings.Builder
	b.WriteString(`From: MAILER-DAEMON@mx.example.net
To: <bounces@example.org>
Subject: Delivery Status Notification
Date: Thu, 1 Oct 2026 12:00:00 +0000
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="x"

--x
Content-Type: text/plain

This is the mail system at mx.example.net.

--x
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

`)
	for _, rc := range recipients {
		f := strings.SplitN(rc, " ", 4)
		fmt.Fprintf(&b, "Final-Recipient: rfc822; %s\nAction: %s\nStatus: %s\n", f[0], f[1], f[2])
		if len(f) == 4 {
			fmt.Fprintf(&b, "Remote-MTA: dns; store.example.net\nDiagnostic-Code: smtp; %s\n", f[3])
		}
		b.WriteString("\n")
	}
	b.WriteString("--x\nContent-Type: text/rfc822-headers\n\n" + header + "\n--x--\n")
	return b.String()
}

const unknownUser = "550 5.1.1 User unknown"

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatal("waited in vain: " + what)
		}
	}
}
