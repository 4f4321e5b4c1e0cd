package projector

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/store/storetest"
)

// recordGoals are what reading a full record may cost at most, and how fast it must be written.
var recordGoals = struct {
	timeline, search, accepted, stats time.Duration
	perSecond                         float64 // deliveries recorded
	rss                               int64   // octets, more than before
}{20 * time.Millisecond, 100 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 10_000, 512 << 20}

// TestFullRecord fills the record through the projector with events over 30 days and asks it what people ask: what
// became of this delivery, what did we send to this person, how was that day. With POSTROAD_PROOF=1 it writes ten million
// events and holds the figures against the goals; otherwise it writes fewer, and looks at the answers alone.
func TestFullRecord(t *testing.T) {
	deliveries, full := 20_000, os.Getenv("POSTROAD_PROOF") != ""
	if full {
		deliveries = 4_400_000 // at 2.28 events each
	}
	const days = 30
	if testing.Short() {
		deliveries = 100 * days
	}
	dir := t.TempDir()
	before := rss(t)
	s, err := sqlite.Open(t.Context(), sqlite.Options{Now: storetest.Still(), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	m := newMonth(deliveries, days)
	p, err := New(Options{Outbox: m, Store: s})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	begun, cpu := time.Now(), cpuTime(t)
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for p.Status().Watermark < m.total {
		if err := p.Status().Err; err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	took, used := time.Since(begun), cpuTime(t)-cpu
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	grown := rss(t) - before
	rate := float64(deliveries) / took.Seconds()
	t.Logf("%d events of %d deliveries over %d days recorded in %.0f s: %.0f deliveries a second, %.1f us of processor each; %d MiB on disk, %d MiB of memory more than before",
		m.total, deliveries, days, took.Seconds(), rate, float64(used.Microseconds())/float64(deliveries), size(t, dir)>>20, grown>>20)

	r := rand.New(rand.NewPCG(1, 2))
	timelines := quantiles(200, func() {
		x := m.known[r.IntN(len(m.known))]
		events, err := s.Timeline(t.Context(), x.delivery)
		if err != nil || len(events) != x.events || events[0].Envelope == nil {
			t.Fatalf("timeline of %s: %d events, %v; want %d", x.delivery, len(events), err, x.events)
		}
	})
	end := firstDay.AddDate(0, 0, days+1)
	accepted := func(recipient string) time.Time {
		at, err := s.LastAccepted(t.Context(), store.AcceptedQuery{Recipient: recipient, Since: firstDay, Delivered: end, Relayed: end})
		if err != nil {
			t.Fatalf("last acceptance by %s: %v", recipient, err)
		}
		return at
	}
	byRecipient := func() (searches, hits, misses [2]time.Duration) {
		searches = quantiles(100, func() {
			x := m.known[r.IntN(len(m.known))]
			var found []*store.Delivery
			for q := (store.SearchQuery{Account: x.account, Recipient: x.recipient}); ; { // a page ends early on a slow machine
				page, err := s.Search(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, page.Deliveries...)
				if q.Cursor = page.Next; q.Cursor == "" {
					break
				}
			}
			if len(found) != 1 || found[0].ID != x.delivery {
				t.Fatalf("search for %s: %d found", x.recipient, len(found))
			}
		})
		hits = quantiles(100, func() {
			x := m.known[r.IntN(len(m.known))]
			if at := accepted(x.recipient); at.IsZero() == x.taken {
				t.Fatalf("last acceptance by %s: %s, taken: %v", x.recipient, at, x.taken)
			}
		})
		misses = quantiles(100, func() {
			if at := accepted(fmt.Sprintf("stranger%d@domain7.example", r.Int())); !at.IsZero() {
				t.Fatalf("last acceptance by somebody never written to: %s", at)
			}
		})
		return searches, hits, misses
	}
	searches, hits, misses := byRecipient()
	t.Logf("by the index alone: search by recipient: median %v, 99th of 100 %v; last acceptance: %v, %v; by nobody: %v, %v",
		searches[0], searches[1], hits[0], hits[1], misses[0], misses[1])
	begun = time.Now()
	if _, err := s.Maintain(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	t.Logf("filters made in %.1f s", time.Since(begun).Seconds())
	searches, hits, misses = byRecipient()
	statistics := quantiles(60, func() {
		day := firstDay.AddDate(0, 0, r.IntN(days))
		rows, err := s.Stats(t.Context(), store.StatsQuery{
			Of: store.PerAccount, From: day, To: day.AddDate(0, 0, 1), Step: store.StepHour, By: []store.Dimension{store.ByAccount, store.ByType, store.ByClass},
		})
		var accepted int64
		for _, row := range rows {
			if row.Type == mail.EventAccepted {
				accepted += row.Count
			}
		}
		if err != nil || accepted != int64(deliveries/days) {
			t.Fatalf("statistics of %s: %d accepted, %v; want %d", day, accepted, err, deliveries/days)
		}
	})
	t.Logf("timeline of a delivery: median %v, 99th of 100 %v; search by recipient: %v, %v; last acceptance: %v, %v; by nobody: %v, %v; a day's statistics: %v, %v",
		timelines[0], timelines[1], searches[0], searches[1], hits[0], hits[1], misses[0], misses[1], statistics[0], statistics[1])
	if !full {
		return
	}
	g := recordGoals
	if timelines[1] > g.timeline || searches[1] > g.search || max(hits[1], misses[1]) > g.accepted || statistics[1] > g.stats {
		t.Errorf("over the goals: timeline %v, search %v, last acceptance %v, statistics %v", g.timeline, g.search, g.accepted, g.stats)
	}
	if rate < g.perSecond {
		t.Errorf("%.0f deliveries a second, the goal is %.0f", rate, g.perSecond)
	}
	if grown > g.rss {
		t.Errorf("memory grew by %d MiB, the goal is %d", grown>>20, g.rss>>20)
	}
}

var firstDay = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// sent is a delivery the test remembers.
type sent struct {
	delivery           mail.DeliveryID
	account, recipient string
	events             int
	taken              bool
}

// month is an outbox that makes the events of a month as they are read: most deliveries are taken at the first attempt,
// some are deferred first, some bounce.
type month struct {
	total        uint64 // events
	perDay, days int    // deliveries of a day
	made         int    // deliveries so far
	gen          *storetest.Mail
	pending      []*mail.Event
	known        []sent
	notify       chan struct{}
}

// accounts share the month.
const accounts = 50

func newMonth(deliveries, days int) *month {
	m := &month{gen: storetest.NewMail(spoolID, firstDay), perDay: deliveries / days, days: days, notify: make(chan struct{}, 1)}
	for i := range m.perDay * days {
		m.total += uint64(eventsOf(i))
	}
	return m
}

// eventsOf is how many events the i-th delivery has.
func eventsOf(i int) int {
	if i%5 == 0 && i%20 != 0 {
		return 4 // deferred twice
	}
	return 2
}

func (o *month) ID() mail.SpoolID                         { return spoolID }
func (o *month) Notify() <-chan struct{}                  { return o.notify }
func (o *month) OutboxRange() (oldest, newest uint64)     { return 1, o.total }
func (o *month) TrimOutbox(context.Context, uint64) error { return nil }

// ReadOutbox makes the next events. The projector reads each once, in order.
func (o *month) ReadOutbox(_ context.Context, after uint64, max int) ([]*mail.Event, error) {
	if after+uint64(len(o.pending)) != o.gen.Seq {
		return nil, fmt.Errorf("read behind %d, made up to %d with %d pending", after, o.gen.Seq, len(o.pending))
	}
	for len(o.pending) < max && o.made < o.perDay*o.days {
		o.next()
	}
	n := min(max, len(o.pending))
	list := slices.Clone(o.pending[:n])
	o.pending = append(o.pending[:0:0], o.pending[n:]...)
	return list, nil
}

func (o *month) next() {
	i := o.made
	o.made++
	g := o.gen
	g.Clock = firstDay.AddDate(0, 0, i/o.perDay).Add(time.Duration(i%o.perDay) * (23 * time.Hour / time.Duration(o.perDay)))
	account := fmt.Sprintf("account%02d", i%accounts)
	m, d := g.Message(account), g.Delivery()
	rcpt := fmt.Sprintf("user%d@domain%d.example", i, i%5000)
	events := []*mail.Event{g.Accepted(m, d, rcpt)}
	n := 1
	if eventsOf(i) == 4 {
		events = append(events, g.Tried(mail.EventDeferred, m, d, rcpt, 1, 451, "451 4.7.1 try again later"),
			g.Tried(mail.EventDeferred, m, d, rcpt, 2, 451, "451 4.7.1 try again later"))
		n = 3
	}
	if i%20 == 0 {
		e := g.Tried(mail.EventBounced, m, d, rcpt, n, 550, "550 5.1.1 no such user here")
		e.Class, e.Scope, e.Action = mail.ClassInvalidRecipient, mail.ScopeRecipient, mail.ActionSuppress
		events = append(events, e)
	} else {
		events = append(events, g.Tried(mail.EventDelivered, m, d, rcpt, n, 250, "250 2.0.0 Ok: queued as 4F2A3B1C9D"))
	}
	if i%997 == 0 {
		o.known = append(o.known, sent{d, account, rcpt, len(events), i%20 != 0})
	}
	o.pending = append(o.pending, events...)
}

// quantiles calls f n times and returns the median and the 99th of 100.
func quantiles(n int, f func()) [2]time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		begun := time.Now()
		f()
		all[i] = time.Since(begun)
	}
	slices.Sort(all)
	return [2]time.Duration{all[n/2].Round(time.Microsecond), all[n*99/100].Round(time.Microsecond)}
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rss is the memory of this process, 0 where the system does not tell.
func rss(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
