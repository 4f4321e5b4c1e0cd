package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type sessionFunc = func(context.Context, mail.Lane, func(context.Context) (mail.Job, bool), func(mail.Job, mail.Outcome))

// answering is a session whose peer answers each delivery by fn.
func answering(fn func(*mail.Delivery) mail.Outcome) sessionFunc {
	return func(ctx context.Context, _ mail.Lane, next func(context.Context) (mail.Job, bool), settle func(mail.Job, mail.Outcome)) {
		for {
			j, ok := next(ctx)
			if !ok {
				return
			}
			if j.Body == nil {
				panic("a job without its content")
			}
			err := j.Durable(ctx)
			for _, d := range j.Deliveries {
				o := mail.Outcome{Result: mail.Deferred}
				if err == nil {
					o = fn(d)
				} else { // the attempt is not known on disk: nothing was sent
					o.Attempt.Reply = err.Error()
				}
				o.Delivery = d.ID
				settle(j, o)
			}
		}
	}
}

func relayed(*mail.Delivery) mail.Outcome { return mail.Outcome{Result: mail.Relayed, Tried: true} }

// eventually waits in virtual time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 10_000 {
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("it never came about: %s", what)
}

func (f *fakeSpool) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.live)
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeSpool()
		s := &sim{now: time.Now().UTC()}
		// One delivery from before, one accepted before the queue is ready, many while it runs.
		m, ds := s.mail("acme", mail.Bulk, time.Hour, "old.test")
		f.accept(m, ds)
		o := relayOptions(f, answering(relayed))
		var mu sync.Mutex
		seen := 0
		o.Observe = func(ev *mail.Event) {
			mu.Lock()
			defer mu.Unlock()
			if ev.Type == mail.EventRelayed {
				seen++
			}
		}
		q, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		m, ds = s.mail("acme", mail.Bulk, time.Hour, "early.test")
		f.accept(m, ds)
		q.Add(m, ds, nil)
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- q.Run(ctx) }()
		<-q.Ready()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 500 {
					mu.Lock()
					m, ds := s.mail(fmt.Sprintf("a%d", i), mail.Transactional, time.Hour, fmt.Sprintf("d%d.test", j%50), "x.test")
					mu.Unlock()
					f.accept(m, ds)
					q.Add(m, ds, mail.BytesBody("x"))
				}
			})
		}
		wg.Wait()
		eventually(t, "all mail gone", func() bool { return f.left() == 0 })
		eventually(t, "sessions idle out", func() bool { s := q.Stats(); return s.Sessions == 0 && s.Loaded == 0 })
		if s := q.Stats(); s.Relayed != 8002 || s.Picked != 8002 {
			t.Errorf("counted %+v", s)
		}
		cancel()
		if err := <-over; err != nil {
			t.Fatal(err)
		}
		if seen != 8002 {
			t.Errorf("observed %d events", seen)
		}
		if err := q.Run(t.Context()); err == nil {
			t.Error("Run may be called twice")
		}
	})
}

// Stopping hands out nothing more, lets what is in hand end, cuts the rest off after the grace, and loses nothing.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeSpool()
		s := &sim{now: time.Now().UTC()}
		cut := 0
		var mu sync.Mutex
		o := relayOptions(f, func(ctx context.Context, _ mail.Lane, next func(context.Context) (mail.Job, bool), settle func(mail.Job, mail.Outcome)) {
			for {
				j, ok := next(ctx)
				if !ok {
					return
				}
				for _, d := range j.Deliveries {
					o := relayed(d)
					wait := time.Second
					if d.Recipient.Domain == "slow.test" {
						wait = time.Hour
					}
					select {
					case <-time.After(wait):
					case <-ctx.Done():
						mu.Lock()
						cut++
						mu.Unlock()
						o = mail.Outcome{Result: mail.Deferred, Class: mail.ClassNetwork, Scope: mail.ScopeSession, Tried: true, Attempt: mail.Attempt{Uncertain: true}}
					}
					o.Delivery = d.ID
					settle(j, o)
				}
			}
		})
		o.StopGrace = 20 * time.Second
		snap := platform.NewSnapshot(platform.State{Routes: []platform.Route{{Name: "gw", Kind: mail.RouteRelay, ReturnPath: platform.ReturnPathVERP}}}, "")
		o.Snapshot = func() *platform.Snapshot { return snap }
		q, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- q.Run(ctx) }()
		<-q.Ready()
		for i := range 50 {
			domain := "quick.test"
			if i == 10 {
				domain = "slow.test"
			}
			m, ds := s.mail("acme", mail.Transactional, 10*time.Hour, domain)
			f.accept(m, ds)
			q.Add(m, ds, nil)
		}
		eventually(t, "the slow one in hand", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, d := range f.live {
				if d.Recipient.Domain == "slow.test" && d.Mark != nil {
					return true
				}
			}
			return false
		})
		began := time.Now()
		cancel()
		if err := <-over; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > o.StopGrace+time.Second {
			t.Errorf("stopping took %s", took)
		}
		if cut != 1 {
			t.Errorf("%d dialogues were cut off, want the slow one", cut)
		}
		for _, d := range f.live {
			if d.Mark != nil {
				t.Errorf("%s was left in flight", d.ID)
			}
		}
		if len(f.live) == 0 {
			t.Error("jobs were handed out after the stop")
		}
	})
}

func TestFailingSpoolEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeSpool()
		s := &sim{now: time.Now().UTC()}
		q, err := New(relayOptions(f, answering(relayed)))
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan error, 1)
		go func() { over <- q.Run(t.Context()) }()
		<-q.Ready()
		f.mu.Lock()
		f.failing = spool.ErrFailed
		f.mu.Unlock()
		m, ds := s.mail("acme", mail.Transactional, time.Hour, "a.test")
		f.accept(m, ds)
		q.Add(m, ds, nil)
		if err := <-over; !errors.Is(err, spool.ErrFailed) {
			t.Fatalf("Run returned %v", err)
		}
	})
}

// Content that is gone sets its delivery aside, visibly; it is not lost in silence.
func TestDamagedContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeSpool()
		s := &sim{now: time.Now().UTC()}
		o := relayOptions(f, answering(relayed))
		var mu sync.Mutex
		var alerts []platform.Alert
		o.Alert = func(a platform.Alert) {
			mu.Lock()
			alerts = append(alerts, a)
			mu.Unlock()
		}
		q, stop := running(t, o)
		defer stop()
		m, ds := s.mail("acme", mail.Transactional, time.Hour, "a.test")
		f.accept(m, ds)
		f.mu.Lock()
		delete(f.bodies, m.ID)
		f.mu.Unlock()
		q.Add(m, ds, nil)
		eventually(t, "set aside", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			d := f.live[ds[0].ID]
			return d != nil && d.Held == HeldDamaged && d.Mark == nil
		})
		mu.Lock()
		if len(alerts) != 1 || alerts[0].Kind != HeldDamaged {
			t.Errorf("alerts %+v", alerts)
		}
		mu.Unlock()
		// Repaired, and told to try again.
		f.mu.Lock()
		f.bodies[m.ID] = mail.BytesBody("x")
		f.mu.Unlock()
		if n, err := q.RetryNow(t.Context(), Filter{Held: HeldDamaged}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		eventually(t, "sent", func() bool { return f.left() == 0 })
	})
}

func TestOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeSpool()
		s := &sim{now: time.Now().UTC()}
		var mu sync.Mutex
		full := true
		o := relayOptions(f, answering(func(d *mail.Delivery) mail.Outcome {
			mu.Lock()
			defer mu.Unlock()
			if full {
				return mail.Outcome{Result: mail.Deferred, Class: mail.ClassMailboxFull, Scope: mail.ScopeRecipient, Tried: true, Attempt: mail.Attempt{Reply: "452 full"}}
			}
			return relayed(d)
		}))
		st := relayState()
		snap := platform.NewSnapshot(st, "")
		o.Snapshot = func() *platform.Snapshot { mu.Lock(); defer mu.Unlock(); return snap }
		q, stop := running(t, o)
		defer stop()
		ctx := t.Context()
		for i := range 40 {
			mu.Lock()
			m, ds := s.mail([]string{"acme", "other"}[i%2], mail.Transactional, 72*time.Hour, fmt.Sprintf("d%d.test", i%5))
			mu.Unlock()
			m.Tags, m.Credential = []string{fmt.Sprintf("t%d", i%4)}, "c1"
			f.accept(m, ds)
			q.Add(m, ds, nil)
		}
		eventually(t, "all deferred", func() bool { st := q.Stats(); return st.Deferred == 40 && st.Loaded == 0 })

		// Listing, in pages.
		seen := map[mail.DeliveryID]bool{}
		cursor := ""
		for {
			list, next, err := q.List(ctx, Filter{Account: "acme"}, cursor, 7)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range list {
				if seen[l.Delivery.ID] || l.Delivery.Queue.Account != "acme" || !strings.Contains(l.Why, "452 full") {
					t.Fatalf("listed %+v", l)
				}
				seen[l.Delivery.ID] = true
			}
			if cursor = next; next == "" {
				break
			}
		}
		if len(seen) != 20 {
			t.Fatalf("listed %d of 20", len(seen))
		}
		if _, _, err := q.List(ctx, Filter{}, "nonsense", 7); !errors.Is(err, ErrBadCursor) {
			t.Fatal(err)
		}
		sum, err := q.Summary(ctx)
		if err != nil || len(sum.Queues) != 10 {
			t.Fatalf("%+v, %v", sum, err)
		}
		for _, x := range sum.Queues {
			if x.Waiting != 4 || x.Last == nil || x.Last.Reply != "452 full" || x.NextDue.IsZero() {
				t.Fatalf("%+v", x)
			}
		}

		// Cancelling by tag; a filter that says nothing is refused.
		if _, err := q.Cancel(ctx, Filter{}, "x"); !errors.Is(err, ErrEverything) {
			t.Fatal(err)
		}
		if n, err := q.Cancel(ctx, Filter{Tag: "t1"}, "wrong list"); n != 10 || err != nil {
			t.Fatal(n, err)
		}
		if f.left() != 30 {
			t.Fatalf("%d left", f.left())
		}

		// A hold comes when mail is waiting already, and goes again.
		mu.Lock()
		st.Holds = []platform.Hold{{Name: "h", Account: "other", Reason: "look"}}
		snap, full = platform.NewSnapshot(st, ""), false
		mu.Unlock()
		q.SnapshotChanged()
		if n, err := q.RetryNow(ctx, Filter{Everything: true}); n != 30 || err != nil {
			t.Fatal(n, err)
		}
		eventually(t, "held or gone", func() bool { st := q.Stats(); return st.Relayed == 20 && st.HeldEvents == 10 && st.Loaded == 0 })
		f.mu.Lock()
		live := slices.Collect(maps.Keys(f.live))
		f.mu.Unlock()
		for _, id := range live {
			if why, err := q.Why(ctx, id); err != nil || !strings.Contains(why, "held by h") {
				t.Fatal(why, err)
			}
		}
		mu.Lock()
		st.Holds = nil
		snap = platform.NewSnapshot(st, "")
		mu.Unlock()
		q.SnapshotChanged()
		eventually(t, "released", func() bool { return f.left() == 0 })
		if _, err := q.Why(ctx, mail.DeliveryID{9}); !errors.Is(err, spool.ErrNotFound) {
			t.Fatal(err)
		}
	})
}

func TestDoubtOf(t *testing.T) {
	for _, tc := range []struct {
		name         string
		wall, steady time.Duration // since start
		down         time.Duration // newest spool time before start; 0: new spool
		doubt        bool
	}{
		{"even", time.Hour, time.Hour, time.Minute, false},
		{"a little ahead", 2 * time.Hour, 61 * time.Minute, time.Minute, false},
		{"jumped", 3 * time.Hour, time.Hour, time.Minute, true},
		{"back", -3 * time.Hour, time.Hour, time.Minute, false},
		{"started after a long time", time.Minute, time.Minute, 48 * time.Hour, true},
		{"and ran evenly since", time.Hour, time.Hour, 48 * time.Hour, false},
		{"and was put right", time.Minute - 48*time.Hour, time.Minute, 48 * time.Hour, false},
		{"new spool", time.Minute, time.Minute, 0, false},
	} {
		newest := time.Time{}
		if tc.down > 0 {
			newest = t0.Add(-tc.down)
		}
		if got := doubtOf(t0.Add(tc.wall), t0, tc.steady, newest); (got != "") != tc.doubt {
			t.Errorf("%s: %q", tc.name, got)
		}
	}
}

func TestOptions(t *testing.T) {
	if _, err := New(Options{}); !errors.Is(err, ErrOptions) {
		t.Fatal(err)
	}
}
