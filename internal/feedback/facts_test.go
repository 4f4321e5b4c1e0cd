package feedback

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// watched is a Store that tells what is asked of it.
type watched struct {
	Store
	waits    func(seq uint64)
	timeline func()
}

func (s watched) WaitFor(ctx context.Context, id mail.SpoolID, seq uint64) (uint64, error) {
	s.waits(seq)
	return s.Store.WaitFor(ctx, id, seq)
}

func (s watched) Timeline(ctx context.Context, id mail.DeliveryID) ([]*mail.Event, error) {
	s.timeline()
	return s.Store.Timeline(ctx, id)
}

// before is a Store that read a delivery before its last event was recorded, and reads the rest now.
type before struct {
	Store
	delivery store.Delivery
}

func (s before) Delivery(context.Context, mail.DeliveryID) (*store.Delivery, error) {
	d := s.delivery
	return &d, nil
}

// TestRecordedMeanwhile: an event of an earlier report comes into the record between the look at the delivery's state and the
// look at its timeline. It counts all the same.
func TestRecordedMeanwhile(t *testing.T) {
	w := newWorld(t)
	s := w.send(mail.EventDelivered, "user@example.com")
	w.recorded()
	old, err := w.store.Delivery(t.Context(), s.deliveries[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	e := w.event(mail.EventBounced, s.deliveries[0], time.Now())
	e.Late, e.Report = true, &mail.Report{ID: mail.NewReportID(time.Now())}
	w.commit(&spool.Batch{Events: []*mail.Event{e}})
	w.recorded()

	o := w.options()
	o.Store = before{w.store, *old}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.recent.add(e)
	r.recent.committed([]*mail.Event{e})
	f, err := r.facts(t.Context(), s.deliveries[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if f.State != store.State(mail.Bounced) || !f.Late || len(f.reports) != 1 {
		t.Errorf("state %s, late %t, %d reports", f.State, f.Late, len(f.reports))
	}
}

// TestSettledNotYetDurable: a report is read while the end of its delivery is still being synced. The delivery has left the
// spool, its event is in no outbox and no record yet; it was tried all the same, and the report is no forgery.
func TestSettledNotYetDurable(t *testing.T) {
	disk := make(chan struct{}) // closed: it syncs again
	var slow atomic.Bool
	w := &world{t: t, dir: t.TempDir(), disk: errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if slow.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			<-disk
		}
		return nil
	}))}
	w.open()
	t.Cleanup(w.close)
	syncs := sync.OnceFunc(func() { close(disk) })
	t.Cleanup(syncs)
	s := w.accept(time.Now(), "web", "user@example.com")
	d := w.mark(s.deliveries[0], s.msg.AcceptedAt)
	w.recorded()
	_, durable := w.spool.OutboxRange()

	slow.Store(true)
	done := make(chan error, 1)
	go func() {
		end := w.settlement(d, mail.EventDelivered, s.msg.AcceptedAt.Add(time.Second), nil)
		done <- w.spool.Commit(context.Background(), &spool.Batch{Settle: []spool.Settlement{end}})
	}()
	for {
		if _, err := w.spool.Delivery(t.Context(), d.ID); errors.Is(err, spool.ErrNotFound) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	o := w.options()
	o.Store = watched{w.store, func(seq uint64) {
		if seq > durable {
			syncs()
		}
	}, syncs}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.facts(t.Context(), d.ID)
	for errors.Is(err, errBehind) {
		f, err = r.facts(t.Context(), d.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !f.attempted() || !f.taken() {
		t.Errorf("attempted %t, taken %t: %+v", f.attempted(), f.taken(), f.Delivery)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
