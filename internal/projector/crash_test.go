package projector

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/store/storetest"
)

// TestCrash dies at every step of the store's writes and comes back with the outbox as it is: every event is recorded
// once.
func TestCrash(t *testing.T) {
	g := storetest.NewMail(spoolID, storetest.Day0)
	o := newOutbox()
	for range 2 { // mail of two days
		o.events = append(o.events, g.Sent("acme", 6)...)
		g.Clock = g.Clock.Add(24 * time.Hour)
	}
	stride := 1
	if testing.Short() {
		stride = 3
	}
	for k := 0; ; k += stride {
		dir := t.TempDir()
		var steps atomic.Int64
		died := make(chan struct{})
		s := openStore(t, dir, func(string) error {
			step := int(steps.Add(1))
			if step <= k {
				return nil
			}
			if step == k+1 {
				close(died)
			}
			return errors.New("crash") // and everything after it: nothing runs in a dead process
		})
		crashed := run(t, o, s, died)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, dir, nil)
		run(t, o, s, nil)
		page, err := s.Events(t.Context(), store.EventQuery{Max: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(o.events, page.Events); diff != "" {
			t.Fatalf("crash at step %d (-want +got):\n%s", k, diff)
		}
		rows, err := s.Stats(t.Context(), store.StatsQuery{Of: store.PerAccount, From: storetest.Day0, To: storetest.Day0.Add(100 * time.Hour)})
		if err != nil || len(rows) != 1 || rows[0].Count != 24 {
			t.Fatalf("crash at step %d: counts %+v, %v", k, rows, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if !crashed {
			return
		}
	}
}

func openStore(t *testing.T, dir string, step func(string) error) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Now: storetest.Still(), Dir: dir, Step: step})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run lets a projector work until everything is recorded, or until it dies; it reports which.
func run(t *testing.T, o *outbox, s store.Recorder, died <-chan struct{}) (crashed bool) {
	t.Helper()
	last := o.events[len(o.events)-1].ID.Seq
	if w, err := s.Watermark(t.Context(), spoolID); err != nil || w == last {
		return false // recorded before it died
	}
	done := make(chan struct{})
	_, stop := start(t, Options{Outbox: o, Store: s, Batch: 7, Linger: time.Nanosecond, OnEvents: func(list []*mail.Event) {
		if list[len(list)-1].ID.Seq == last {
			close(done)
		}
	}})
	defer stop()
	select {
	case <-done:
		return false
	case <-died:
		return true
	}
}

// BenchmarkProjector measures deliveries (accepted and delivered) from outbox to disk with all defaults.
func BenchmarkProjector(b *testing.B) {
	g := storetest.NewMail(spoolID, storetest.Day0)
	o := newOutbox()
	o.events = g.Sent("acme", b.N)
	s, err := sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	done := make(chan struct{})
	p, err := New(Options{Outbox: o, Store: s, OnEvents: func(list []*mail.Event) {
		if list[len(list)-1].ID.Seq == uint64(2*b.N) {
			close(done)
		}
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	result := make(chan error)
	ctx, cancel := context.WithCancel(b.Context())
	go func() { result <- p.Run(ctx) }()
	<-done
	b.StopTimer()
	cancel()
	if err := <-result; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
}

// A spool is an outbox.
var _ Outbox = (*spool.Spool)(nil)
