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
