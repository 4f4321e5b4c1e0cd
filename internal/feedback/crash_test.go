package feedback

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

var errDied = errors.New("the process died here")

// dying is a spool in a process that dies at its n-th commit: before it, or after it is on disk.
type dying struct {
	*spool.Spool
	n     int
	after bool
}

func (d *dying) Commit(ctx context.Context, b *spool.Batch) error {
	if d.n--; d.n > 0 {
		return d.Spool.Commit(ctx, b)
	}
	if d.n == 0 && d.after {
		if err := d.Spool.Commit(ctx, b); err != nil {
			return err
		}
	}
	return errDied
}

// failing is a store in a process that dies while rows are written.
type failing struct {
	Store
	n    *atomic.Int32
	stop context.CancelFunc
}

func (f failing) PutReports(ctx context.Context, list []*store.StoredReport) error {
	if f.n.Add(-1) == 0 {
		f.stop()
		return errDied
	}
	return f.Store.PutReports(ctx, list)
}

// TestCrash: whereever the process dies, after the next start every report has its row, every event is there once, and
// the inbox is empty.
func TestCrash(t *testing.T) {
	const messages = 20
	for n := 1; n <= 3; n++ {
		for _, where := range []string{"before rows", "before commit", "after commit"} {
			t.Run(fmt.Sprintf("%s %d", where, n), func(t *testing.T) {
				w := newWorld(t)
				var all []sent
				var ids []mail.ReportID
				for i := range messages {
					s := w.send(mail.EventRelayed, fmt.Sprintf("user%d@example.com", i))
					all = append(all, s)
					ids = append(ids, w.put(s.path(0), dsn("", s.deliveries[0].Recipient.String()+" failed 5.1.1 "+unknownUser)))
				}
				w.recorded()
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				o := w.options()
				switch where {
				case "before rows":
					left := new(atomic.Int32)
					left.Store(int32(n))
					o.Store = failing{w.store, left, cancel}
				default:
					o.Inbox = &dying{w.spool, n, where == "after commit"}
				}
				r, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				r.page = 7
				err = r.Run(ctx)
				if where != "before rows" && !errors.Is(err, errDied) {
					t.Fatalf("Run = %v", err)
				}
				w.close()
				w.open()
				w.read()
				for i, s := range all {
					w.want(ids[i], store.ReportActed, "")
					list := w.events(s, 0)
					if len(list) != 1 || list[0].Report.ID != ids[i] || w.state(s, 0).State != "bounced" {
						t.Errorf("%s: %d events, state %s", s.deliveries[0].Recipient, len(list), w.state(s, 0).State)
					}
				}
				page, err := w.store.ListReports(context.Background(), store.ReportQuery{})
				if err != nil || len(page.Reports) != messages {
					t.Errorf("%d rows, %v", len(page.Reports), err)
				}
			})
		}
	}
}

// TestStoreDown: while the record takes nothing the inbox keeps everything; then it goes on.
func TestStoreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.send(mail.EventDelivered, "user@example.com")
		w.recorded()
		w.down.Store(true)
		w.put(s.path(0), dsn("", "user@example.com failed 5.1.1 "+unknownUser))
		r, stop := w.run(w.options())
		time.Sleep(300 * time.Millisecond)
		if n := w.spool.Counts().Inbox; n != 1 {
			t.Errorf("%d entries in the inbox while the record is down", n)
		}
		if since := r.Stuck(); since.IsZero() || since.After(time.Now()) {
			t.Errorf("the reader says that it waits since %v", since)
		}
		w.down.Store(false)
		for w.spool.Counts().Inbox > 0 && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		if since := r.Stuck(); !since.IsZero() {
			t.Errorf("the reader says that it waits since %v and has read everything", since)
		}
		stop()
		w.recorded()
		if len(w.events(s, 0)) != 1 {
			t.Error("the event is missing")
		}
	})
}

// damaged is a store that cannot tell of one delivery.
type damaged struct {
	Store
	id     mail.DeliveryID
	healed *atomic.Bool
	tries  *atomic.Int32
}

func (d damaged) Delivery(ctx context.Context, id mail.DeliveryID) (*store.Delivery, error) {
	if id == d.id && !d.healed.Load() {
		d.tries.Add(1)
		return nil, errDied
	}
	return d.Store.Delivery(ctx, id)
}

// TestDamagedDay: a report on a delivery that the record cannot tell of waits in the inbox, those behind it are read, and it
// counts once the record is whole again.
func TestDamagedDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		bad, good := w.send(mail.EventDelivered, "bad@example.com"), w.send(mail.EventDelivered, "good@example.com")
		first := w.put(bad.path(0), dsn("", "bad@example.com failed 5.1.1 "+unknownUser))
		second := w.put(good.path(0), dsn("", "good@example.com failed 5.1.1 "+unknownUser))
		o := w.options()
		d := damaged{w.store, bad.deliveries[0].ID, new(atomic.Bool), new(atomic.Int32)}
		o.Store, o.DecideTime = d, 200*time.Millisecond
		_, stop := w.run(o)
		w.until("the report behind is read", func() bool { return w.spool.Counts().Inbox == 1 })
		n := d.tries.Load()
		w.until("it is tried again", func() bool { return d.tries.Load() > n })
		d.healed.Store(true)
		w.until("the report is read", func() bool { return w.spool.Counts().Inbox == 0 })
		stop()
		w.recorded()
		w.want(first, store.ReportActed, "")
		w.want(second, store.ReportActed, "")
		if list := w.events(bad, 0); len(list) != 1 {
			t.Errorf("events %+v", list)
		}
	})
}

// TestPoison: a report whose reading panics or does not end is set aside with its mail, an alert tells of it, and those
// around it are read.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in virtual time nothing else takes as long as reading may
		w := newWorld(t)
		a, b := w.send(mail.EventDelivered, "a@example.com"), w.send(mail.EventDelivered, "b@example.com")
		first := w.put(a.path(0), dsn("", "a@example.com failed 5.1.1 "+unknownUser))
		panics := w.put(a.path(0), "Subject: panic\n\nx\n")
		endless := w.put(a.path(0), "Subject: endless\n\nx\n")
		last := w.put(b.path(0), dsn("", "b@example.com failed 5.1.1 "+unknownUser))
		release := make(chan struct{})
		o := w.options()
		o.Parse = func(raw []byte, lim report.Limits) *report.Report {
			switch {
			case strings.Contains(string(raw), "Subject: panic"):
				panic("a fault of ours")
			case strings.Contains(string(raw), "Subject: endless"):
				<-release
			}
			return report.Parse(raw, lim)
		}
		w.readWith(o)
		close(release)
		w.want(first, store.ReportActed, "")
		w.want(last, store.ReportActed, "")
		if row := w.want(panics, store.ReportSetAside, "a fault of ours"); !strings.Contains(string(row.Raw), "Subject: panic") {
			t.Error("its mail is lost")
		}
		w.want(endless, store.ReportSetAside, "did not end")
		if len(w.alerts) != 2 || w.alerts[0].Kind != alertUnreadable {
			t.Errorf("alerts %+v", w.alerts)
		}
	})
}

// TestCrashLoop: a report that takes the process down each time it is read is set aside after some starts, and the ones
// around it are read.
func TestCrashLoop(t *testing.T) {
	w := newWorld(t)
	var all []sent
	for i := range 6 {
		s := w.send(mail.EventDelivered, fmt.Sprintf("user%d@example.com", i))
		all = append(all, s)
		raw := dsn("", s.deliveries[0].Recipient.String()+" failed 5.1.1 "+unknownUser)
		if i == 3 {
			raw = "Subject: deadly\n\nx\n"
		}
		w.put(s.path(0), raw)
	}
	w.recorded()
	starts := 0
	for ; w.spool.Counts().Inbox > 0 && starts < 20; starts++ {
		// The process dies where the deadly report is read: nothing of this Reader's happens after it, not even its stop.
		ctx, cancel := context.WithCancel(context.Background())
		var dead atomic.Bool
		o := w.options()
		o.Store = mortal{w.store, &dead}
		o.Inbox = mortalInbox{w.spool, &dead}
		o.Parse = func(raw []byte, lim report.Limits) *report.Report {
			if strings.Contains(string(raw), "Subject: deadly") {
				dead.Store(true)
				cancel()
			}
			return report.Parse(raw, lim)
		}
		r, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = r.Run(ctx) }()
		for w.spool.Counts().Inbox > 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
		<-done
	}
	w.recorded()
	if w.spool.Counts().Inbox > 0 {
		t.Fatal("the inbox is stuck")
	}
	t.Logf("%d starts", starts)
	for i, s := range all {
		if n := len(w.events(s, 0)); n != 1 && i != 3 {
			t.Errorf("report %d made %d events", i, n)
		}
	}
	page, err := w.store.ListReports(context.Background(), store.ReportQuery{Outcome: store.ReportSetAside})
	if err != nil || len(page.Reports) != 1 || page.Reports[0].To != all[3].path(0) {
		t.Errorf("set aside: %+v, %v", page.Reports, err)
	}
}

// mortal and mortalInbox change nothing once the process is dead.
type mortal struct {
	Store
	dead *atomic.Bool
}

func (m mortal) PutReports(ctx context.Context, list []*store.StoredReport) error {
	if m.dead.Load() {
		return errDied
	}
	return m.Store.PutReports(ctx, list)
}

func (m mortal) DeleteMeta(ctx context.Context, key string) error {
	if m.dead.Load() {
		return errDied
	}
	return m.Store.DeleteMeta(ctx, key)
}

type mortalInbox struct {
	*spool.Spool
	dead *atomic.Bool
}

func (m mortalInbox) Commit(ctx context.Context, b *spool.Batch) error {
	if m.dead.Load() {
		return errDied
	}
	return m.Spool.Commit(ctx, b)
}

// TestInFlight: a report that overtakes our own commit of the peer's reply waits for it.
func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		now := time.Now()
		s := w.accept(now, "web", "user@example.com")
		marked := w.mark(s.deliveries[0], now)
		id := w.put(s.path(0), dsn("", "user@example.com failed 5.1.1 "+unknownUser))
		time.AfterFunc(400*time.Millisecond, func() { w.settle(marked, mail.EventDelivered, now, nil) })
		w.read()
		w.want(id, store.ReportActed, "")
		if d := w.state(s, 0); d.State != "bounced" || !d.Late {
			t.Errorf("state %+v", d)
		}
	})
}

// noted tells when the note of a start is taken away.
type noted struct {
	Store
	gone chan<- struct{}
}

func (n noted) DeleteMeta(ctx context.Context, key string) error {
	err := n.Store.DeleteMeta(ctx, key)
	if key == startsKey && err == nil {
		n.gone <- struct{}{}
	}
	return err
}

// TestStartsThatEndBadly: once a start has looked at all it found, its note is gone, so that a report that only waits is
// never taken for one that kills.
func TestStartsThatEndBadly(t *testing.T) {
	w := newWorld(t)
	s := w.accept(time.Now(), "web", "user@example.com")
	w.mark(s.deliveries[0], time.Now()) // in flight: its report waits
	w.put(s.path(0), dsn("", "user@example.com failed 5.1.1 "+unknownUser))
	w.recorded()
	o := w.options()
	gone := make(chan struct{}, 10)
	o.Store = noted{w.store, gone}
	_, stop := w.run(o)
	select {
	case <-gone:
	case <-time.After(5 * time.Minute):
		t.Error("the note is never taken away")
	}
	if text, err := w.store.GetMeta(context.Background(), startsKey); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the note is still there: %s, %v", text, err)
	}
	if n := w.spool.Counts().Inbox; n != 1 {
		t.Errorf("%d entries in the inbox", n)
	}
	stop()
}
