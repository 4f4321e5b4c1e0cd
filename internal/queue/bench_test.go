package queue

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store/sqlite"
)

// nullSpool takes everything and keeps nothing: what is measured is the queue alone.
type nullSpool struct{ fakeSpool }

func (n *nullSpool) Enqueue(*spool.Batch) Ticket { return fakeTicket{} }

// running starts a queue and returns what stops it.
func running(tb testing.TB, o Options) (*Queue, func()) {
	tb.Helper()
	q, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- q.Run(ctx) }()
	select {
	case <-q.Ready():
	case err := <-over:
		tb.Fatalf("Run ended: %v", err)
	}
	return q, func() {
		tb.Helper()
		cancel()
		if err := <-over; err != nil {
			tb.Fatalf("Run: %v", err)
		}
	}
}

func relayOptions(sp Spool, session func(context.Context, mail.Lane, func(context.Context) (mail.Job, bool), func(mail.Job, mail.Outcome))) Options {
	snap := platform.NewSnapshot(relayState(), "mx.example.net")
	return Options{
		Spools: []Spool{sp}, Snapshot: func() *platform.Snapshot { return snap }, Session: session,
		Locate: func(context.Context, string, string) (mail.Target, *mail.Outcome) {
			return mail.Target{Site: "gw.example.net:25"}, nil
		},
	}
}

// deliverAll is a session whose peer takes everything at once.
func deliverAll(done chan<- struct{}) func(context.Context, mail.Lane, func(context.Context) (mail.Job, bool), func(mail.Job, mail.Outcome)) {
	return func(ctx context.Context, _ mail.Lane, next func(context.Context) (mail.Job, bool), settle func(mail.Job, mail.Outcome)) {
		for {
			j, ok := next(ctx)
			if !ok {
				return
			}
			res := mail.Relayed
			if j.Durable(ctx) != nil {
				res = mail.Deferred
			}
			for _, d := range j.Deliveries {
				settle(j, mail.Outcome{Delivery: d.ID, Result: res, Tried: true, Attempt: mail.Attempt{Reply: "250 ok"}})
				done <- struct{}{}
			}
		}
	}
}

// BenchmarkOneLane: accepted mail through one lane, one recipient domain; per delivery, all in but the spool.
func BenchmarkOneLane(b *testing.B) { oneLane(b, nil) }

// BenchmarkOneLaneListed: the same with a suppression list of 100,000 addresses, none of them mailed.
func BenchmarkOneLaneListed(b *testing.B) {
	db, err := sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var entries []platform.Suppression
	for i := range 100_000 {
		entries = append(entries, platform.Suppression{Account: "acme", Address: fmt.Sprintf("gone%d@example.com", i), Since: time.Now()})
	}
	if err := db.PutSuppressions(b.Context(), entries); err != nil {
		b.Fatal(err)
	}
	list, err := manage.NewSuppressions(manage.SuppressionOptions{Store: db})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	read := make(chan struct{})
	go func() {
		defer close(read)
		_ = list.Run(ctx)
	}()
	defer func() { cancel(); <-read }()
	for list.Len() == 0 {
		time.Sleep(time.Millisecond)
	}
	oneLane(b, list)
}

func oneLane(b *testing.B, list *manage.Suppressions) {
	done := make(chan struct{}, 1024)
	o := relayOptions(&nullSpool{*newFakeSpool()}, deliverAll(done))
	o.FreshWindow, o.MaxLoaded = 1<<30, 1<<30 // what is left in this spool is gone
	if list != nil {
		o.Listed = list.Listed
		o.Suppressed = func(context.Context, string, mail.Stream, mail.Address) (string, bool, error) {
			b.Error("asked for an address that is not on the list")
			return "", false, nil
		}
	}
	q, stop := running(b, o)
	defer stop()
	s := &sim{now: time.Now().UTC()}
	b.ReportAllocs()
	b.ResetTimer()
	ahead := make(chan struct{}, 2000)
	go func() {
		for range b.N {
			ahead <- struct{}{}
			m, ds := s.mail("acme", mail.Transactional, time.Hour, "example.com")
			q.Add(m, ds, mail.BytesBody("x"))
		}
	}()
	for range b.N {
		<-done
		<-ahead
	}
}

// BenchmarkRestart: 100,000 deferred deliveries over 10,000 domains: time until ready, and memory that stays.
func BenchmarkRestart(b *testing.B) {
	f := newFakeSpool()
	s := &sim{now: time.Now().UTC()}
	for i := range 10_000 {
		m, ds := s.mail("acme", mail.Bulk, 96*time.Hour, fmt.Sprintf("d%d.example.com", i))
		for range 9 {
			m2, more := s.mail("acme", mail.Bulk, 96*time.Hour, ds[0].Queue.Domain)
			f.messages[m2.ID] = m2
			ds = append(ds, more...)
		}
		for _, d := range ds {
			d.Due = d.Due.Add(time.Hour)
		}
		f.accept(m, ds)
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	for range b.N {
		q, stop := running(b, relayOptions(f, deliverAll(nil)))
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-idle")
		stop()
		runtime.KeepAlive(q)
		b.StartTimer()
	}
}
