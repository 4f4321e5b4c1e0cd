package projector

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
)

func TestRecordsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOutbox(), &recorder{t: t}
		var told []uint64
		const first = 2*DefaultBatch + 500
		o.commit(first)
		p, stop := start(t, Options{Outbox: o, Store: r, OnEvents: func(list []*mail.Event) {
			for _, e := range list {
				told = append(told, e.ID.Seq)
			}
		}})
		synctest.Wait()
		// Whole batches go at once; the rest too, because nothing was written just before.
		batches, _ := r.writes()
		if diff := cmp.Diff([]int{DefaultBatch, DefaultBatch, 500}, batches); diff != "" {
			t.Errorf("batches (-want +got):\n%s", diff)
		}
		begun := time.Now()
		for range 200 {
			o.commit(1)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(DefaultLinger)
		synctest.Wait()
		batches, _ = r.writes()
		if n := len(batches) - 3; n < 3 || n > 6 {
			t.Errorf("%d writes for events that trickle in over %s, want one each %s", n, time.Since(begun), DefaultLinger)
		}
		if diff := cmp.Diff(upTo(1, first+200), r.sequences()); diff != "" {
			t.Errorf("recorded (-want +got):\n%s", diff)
		}
		if s := p.Status(); s.Watermark != first+200 || s.Lag != 0 || s.Delay != 0 || s.Err != nil {
			t.Errorf("status %+v", s)
		}
		stop()
		if diff := cmp.Diff(upTo(1, first+200), told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestLatency: an event that comes alone is recorded at once, not after the linger.
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOutbox(), &recorder{t: t}
		_, stop := start(t, Options{Outbox: o, Store: r})
		for range 3 {
			time.Sleep(700 * time.Millisecond)
			begun := time.Now()
			o.commit(1)
			synctest.Wait()
			if _, at := r.writes(); len(at) == 0 || !at[len(at)-1].Equal(begun) {
				t.Errorf("not recorded at once")
			}
		}
		stop()
	})
}

// TestLostHint: without any signal the outbox is looked at all the same.
func TestLostHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOutbox(), &recorder{t: t}
		_, stop := start(t, Options{Outbox: o, Store: r})
		time.Sleep(time.Minute)
		synctest.Wait()
		o.commit(1)
		select {
		case <-o.notify: // stolen
		default:
		}
		time.Sleep(poll + DefaultLinger)
		synctest.Wait()
		if diff := cmp.Diff(upTo(1, 1), r.sequences()); diff != "" {
			t.Errorf("recorded (-want +got):\n%s", diff)
		}
		stop()
	})
}

// TestStoreDown: the projector waits longer and longer, says so, and then records everything once.
func TestStoreDown(t *testing.T) {
	for name, late := range map[string]bool{"refused": false, "answer lost": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, r := newOutbox(), &recorder{t: t}
				o.commit(1)
				p, stop := start(t, Options{Outbox: o, Store: r})
				synctest.Wait()
				r.set(errDown, late)
				down := time.Now()
				o.commit(10)
				time.Sleep(10 * time.Minute)
				o.commit(5000)
				synctest.Wait()
				s := p.Status()
				if !errors.Is(s.Err, errDown) || s.Watermark != 1 || s.Lag != 5010 || s.Newest != 5011 || s.Delay != 10*time.Minute || s.ErrSince.Before(down) {
					t.Errorf("status while down: %+v", s)
				}
				if n := r.failed(); n < 15 || n > 40 {
					t.Errorf("%d tries in 10 minutes", n)
				}
				r.set(nil, false)
				time.Sleep(2 * lastPause)
				synctest.Wait()
				if diff := cmp.Diff(upTo(1, 5011), r.sequences()); diff != "" {
					t.Errorf("recorded (-want +got):\n%s", diff)
				}
				if s := p.Status(); s.Err != nil || s.Lag != 0 || !s.ErrSince.IsZero() {
					t.Errorf("status afterwards: %+v", s)
				}
				stop()
			})
		})
	}
}

// TestStopWhileDown: Run ends although the store never comes back, from the first step on.
func TestStopWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOutbox(), &recorder{t: t, fail: errDown}
		o.commit(1)
		p, stop := start(t, Options{Outbox: o, Store: r})
		time.Sleep(time.Minute)
		if s := p.Status(); !errors.Is(s.Err, errDown) {
			t.Errorf("status %+v", s)
		}
		stop()
	})
}

func TestDamagedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOutbox(), &recorder{t: t}
		o.commit(30)
		for _, seq := range []uint64{1, 10, 11, 29, 30} {
			o.damage(seq)
		}
		p, stop := start(t, Options{Outbox: o, Store: r, Batch: 5})
		time.Sleep(time.Second)
		synctest.Wait()
		want := append(upTo(2, 9), upTo(12, 28)...)
		if diff := cmp.Diff(want, r.sequences()); diff != "" {
			t.Errorf("recorded (-want +got):\n%s", diff)
		}
		if s := p.Status(); s.Watermark != 30 {
			t.Errorf("watermark %d, want 30: nothing readable is left below it", s.Watermark)
		}
		stop()
	})
}

func TestTrim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOutbox(), &recorder{t: t}
		p, stop := start(t, Options{Outbox: o, Store: r})
		begun := time.Now()
		o.commit(12000)
		time.Sleep(30 * time.Second)
		o.commit(3000)
		time.Sleep(TrimAge - 30*time.Second - time.Since(begun) + 30*time.Second - time.Second)
		synctest.Wait()
		if len(o.trimmed()) != 0 {
			t.Errorf("trimmed to %v after %s", o.trimmed(), time.Since(begun))
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]uint64{12000}, o.trimmed()); diff != "" {
			t.Errorf("trims (-want +got):\n%s", diff)
		}
		time.Sleep(10 * time.Minute)
		o.commit(6999)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(o.trimmed()) != 1 {
			t.Errorf("trimmed to %v: for less than %d events", o.trimmed(), TrimEvents)
		}
		o.commit(1)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]uint64{12000, 22000}, o.trimmed()); diff != "" {
			t.Errorf("trims (-want +got):\n%s", diff)
		}
		if s := p.Status(); s.Trimmed != 22000 || s.Watermark != 22000 {
			t.Errorf("status %+v", s)
		}
		stop()
	})
}

func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, r := newOutbox(), &recorder{t: t, watermark: 100}
		o.oldest = 151
		o.commit(10)
		p, err := New(Options{Outbox: o, Store: r})
		if err != nil {
			t.Fatal(err)
		}
		var gap *GapError
		if err := p.Check(t.Context()); !errors.As(err, &gap) || gap.From != 101 {
			t.Fatalf("Check: %v", err)
		}
		if err := p.Run(t.Context()); !errors.As(err, &gap) || gap.From != 101 || gap.To != 150 || gap.Spool != spoolID {
			t.Fatalf("Run: %v", err)
		}
		if len(r.sequences()) != 0 {
			t.Errorf("recorded %v all the same", r.sequences())
		}
		_, stop := start(t, Options{Outbox: o, Store: r, AcceptGap: true})
		synctest.Wait()
		if diff := cmp.Diff(upTo(151, 160), r.sequences()); diff != "" {
			t.Errorf("recorded (-want +got):\n%s", diff)
		}
		stop()
	})
}

func TestNoGap(t *testing.T) {
	for name, c := range map[string]struct{ oldest, watermark uint64 }{
		"new spool":   {1, 0},
		"all trimmed": {101, 100},
		"overlap":     {51, 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, r := newOutbox(), &recorder{t: t, watermark: c.watermark}
				o.oldest = c.oldest
				o.commit(int(c.watermark + 1 - c.oldest))
				_, stop := start(t, Options{Outbox: o, Store: r})
				o.commit(3)
				synctest.Wait()
				if diff := cmp.Diff(upTo(c.watermark+1, c.watermark+3), r.sequences()); diff != "" {
					t.Errorf("recorded (-want +got):\n%s", diff)
				}
				stop()
			})
		})
	}
}

// TestOldSpool: a spool that is older than the record would number new events like old ones.
func TestOldSpool(t *testing.T) {
	o, r := newOutbox(), &recorder{t: t, watermark: 100}
	o.commit(50)
	p, err := New(Options{Outbox: o, Store: r, AcceptGap: true})
	if err != nil {
		t.Fatal(err)
	}
	var ahead *AheadError
	if err := p.Check(t.Context()); !errors.As(err, &ahead) {
		t.Fatalf("Check: %v", err)
	}
	if err := p.Run(t.Context()); !errors.As(err, &ahead) || ahead.Newest != 50 || ahead.Watermark != 100 {
		t.Fatalf("Run: %v", err)
	}
}

func TestNew(t *testing.T) {
	if _, err := New(Options{Outbox: newOutbox()}); err == nil {
		t.Error("a projector without a store was made")
	}
	if _, err := New(Options{Store: &recorder{}}); err == nil {
		t.Error("a projector without an outbox was made")
	}
}

// TestForget: what was told is let go of as soon as it is old enough, however little it is, if somebody asks for that.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		p, stop := start(t, Options{Outbox: o, Store: &recorder{t: t}})
		o.commit(3)
		time.Sleep(2 * TrimAge)
		synctest.Wait()
		if oldest, _ := o.OutboxRange(); oldest != 1 {
			t.Errorf("trimmed up to %d for a few events", oldest-1)
		}
		o.commit(2)
		p.Forget()
		time.Sleep(TrimAge / 2)
		synctest.Wait()
		if oldest, _ := o.OutboxRange(); oldest > 4 {
			t.Errorf("trimmed up to %d before it may be", oldest-1)
		}
		time.Sleep(TrimAge)
		o.commit(1)
		synctest.Wait()
		if oldest, _ := o.OutboxRange(); oldest != 6 {
			t.Errorf("trimmed up to %d, want 5", oldest-1)
		}
		time.Sleep(2 * TrimAge)
		synctest.Wait()
		if oldest, _ := o.OutboxRange(); oldest != 6 {
			t.Errorf("trimmed up to %d without being asked again", oldest-1)
		}
		stop()
	})
}
