package projector

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const spoolID mail.SpoolID = 7

// outbox is an Outbox in memory.
type outbox struct {
	mu     sync.Mutex
	oldest uint64
	events []*mail.Event // from oldest
	notify chan struct{}
	trims  []uint64
	fail   error
	reads  int
}

func newOutbox() *outbox { return &outbox{oldest: 1, notify: make(chan struct{}, 1)} }

// commit adds n events.
func (o *outbox) commit(n int) {
	o.mu.Lock()
	for range n {
		seq := o.oldest + uint64(len(o.events))
		o.events = append(o.events, &mail.Event{
			ID: mail.EventID{Spool: spoolID, Seq: seq}, Type: mail.EventDelivered, At: time.Now(), Account: "acme", Recipient: "ann@bigmail.example",
		})
	}
	o.mu.Unlock()
	select {
	case o.notify <- struct{}{}:
	default:
	}
}

// damage sets an event aside, as the spool does with one it cannot read.
func (o *outbox) damage(seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events[seq-o.oldest] = nil
}

func (o *outbox) ID() mail.SpoolID        { return spoolID }
func (o *outbox) Notify() <-chan struct{} { return o.notify }

func (o *outbox) OutboxRange() (oldest, newest uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.oldest, o.oldest + uint64(len(o.events)) - 1
}

func (o *outbox) ReadOutbox(ctx context.Context, after uint64, max int) (list []*mail.Event, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads++
	if o.fail != nil {
		return nil, o.fail
	}
	from := uint64(0)
	if after >= o.oldest {
		from = after + 1 - o.oldest
	}
	for _, e := range o.events[min(from, uint64(len(o.events))):] {
		if e != nil && len(list) < max {
			list = append(list, e)
		}
	}
	return list, nil
}

func (o *outbox) TrimOutbox(ctx context.Context, upto uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = o.events[upto+1-o.oldest:]
	o.oldest = upto + 1
	o.trims = append(o.trims, upto)
	return nil
}

// recorder is a store.Recorder in memory. It checks what the projector promises: nothing missing between two calls.
type recorder struct {
	t         *testing.T
	mu        sync.Mutex
	watermark uint64
	got       []uint64
	batches   []int
	at        []time.Time
	fail      error // of every call
	failures  int   // calls that failed
	late      bool  // record, and then fail: the answer was lost
}

var errDown = errors.New("store is down")

func (r *recorder) Watermark(context.Context, mail.SpoolID) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil && !r.late {
		r.failures++
		return 0, r.fail
	}
	return r.watermark, nil
}

func (r *recorder) WriteEvents(_ context.Context, id mail.SpoolID, upTo uint64, events []*mail.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id != spoolID {
		r.t.Errorf("events of spool %s", id)
	}
	if r.fail != nil && !r.late {
		r.failures++
		return r.fail
	}
	for _, e := range events {
		if e.ID.Seq > r.watermark {
			r.got = append(r.got, e.ID.Seq)
		}
	}
	r.watermark = max(r.watermark, upTo)
	r.batches = append(r.batches, len(events))
	r.at = append(r.at, time.Now())
	if r.fail != nil {
		r.failures++
		return r.fail
	}
	return nil
}

func (r *recorder) set(fail error, late bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail, r.late = fail, late
}

func (r *recorder) sequences() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// writes returns the size of each batch that was recorded, and when.
func (r *recorder) writes() ([]int, []time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches), slices.Clone(r.at)
}

func (r *recorder) failed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failures
}

func (o *outbox) trimmed() []uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.trims)
}

// upTo returns the sequences from first to last.
func upTo(first, last uint64) (list []uint64) {
	for n := first; n <= last; n++ {
		list = append(list, n)
	}
	return list
}

// start runs a projector; stop ends it and waits.
func start(t *testing.T, opts Options) (p *Projector, stop func()) {
	t.Helper()
	p, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	return p, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}
