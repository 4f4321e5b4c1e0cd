package spool

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/postroad/postroad/internal/mail"
)

// TestRefusedBatches: a batch that is refused leaves nothing, and does not hinder its neighbours.
func TestRefusedBatches(t *testing.T) {
	s := openTest(t, testOptions(nil))
	a := newAcceptance("acme", "example.net", 2, []byte("x"))
	mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
	d0, d1 := a.Deliveries[0], a.Deliveries[1]
	m := mark(d0)
	mustCommit(t, s, &Batch{Mark: []MarkChange{m}})
	fresh := func() *Acceptance { return newAcceptance("acme", "example.net", 1, []byte("x")) }
	lateDue, noDeadline, otherQueue, noContent, wrongSize := fresh(), fresh(), *d1, fresh(), fresh()
	lateDue.Deliveries[0].Due = lateDue.Deliveries[0].ExpiresAt.Add(time.Second)
	noDeadline.Deliveries[0].ExpiresAt = time.Time{}
	otherQueue.Queue.Domain = "elsewhere.example"
	noContent.Body = nil
	wrongSize.Message.Size = 9
	wrongOld, unmarkedOld := *d1, *d0
	wrongOld.Due = wrongOld.Due.Add(time.Second)
	unmarkedOld.Attempts, unmarkedOld.Due = 1, m.Next
	before := s.Counts()
	for _, tc := range []struct {
		name string
		b    *Batch
		want error
	}{
		{"accepted twice", &Batch{Accept: []*Acceptance{a}}, ErrExists},
		{"due after its deadline", &Batch{Accept: []*Acceptance{lateDue}}, ErrBadBatch},
		{"no deadline", &Batch{Accept: []*Acceptance{noDeadline}}, ErrBadBatch},
		{"no content", &Batch{Accept: []*Acceptance{noContent}}, ErrBadBatch},
		{"another size", &Batch{Accept: []*Acceptance{wrongSize}}, ErrBadBatch},
		{"too many deliveries", &Batch{Accept: []*Acceptance{newAcceptance("a", "b", MaxStage+1, []byte("x"))}}, ErrTooLarge},
		{"another queue", &Batch{Reschedule: []Reschedule{{Old: d1, New: &otherQueue}}}, ErrBadBatch},
		{"marked twice", &Batch{Mark: []MarkChange{mark(m.Marked())}}, ErrBadBatch},
		{"marked with an old record", &Batch{Mark: []MarkChange{mark(d0)}}, ErrStale},
		{"settled with an old record", &Batch{Settle: []Settlement{settled(d0)}}, ErrStale},
		{"settled as if unmarked", &Batch{Settle: []Settlement{settled(&unmarkedOld)}}, ErrStale},
		{"settled from a wrong time", &Batch{Settle: []Settlement{settled(&wrongOld)}}, ErrStale},
		{"unknown", &Batch{Settle: []Settlement{settled(fresh().Deliveries[0])}}, ErrStale},
		{"changed twice", &Batch{Settle: []Settlement{settled(d1), settled(d1)}}, ErrBadBatch},
		{"one bad among good", &Batch{Accept: []*Acceptance{fresh()}, Settle: []Settlement{settled(d1), settled(d0)}}, ErrStale},
	} {
		good := fresh()
		bad := s.Enqueue(tc.b)
		ok := s.Enqueue(&Batch{Accept: []*Acceptance{good}})
		if err := bad.Wait(t.Context()); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if err := ok.Wait(t.Context()); err != nil {
			t.Errorf("%s: its neighbour: %v", tc.name, err)
		}
		mustCommit(t, s, &Batch{Settle: []Settlement{settled(good.Deliveries[0])}})
	}
	audit(t, s)
	got := s.Counts()
	got.Outbox = before.Outbox
	if got != before {
		t.Errorf("counts %+v, before %+v", got, before)
	}
	mustCommit(t, s, &Batch{Settle: []Settlement{settled(m.Marked()), settled(d1)}})
	if err := s.Commit(t.Context(), &Batch{Settle: []Settlement{settled(d1)}}); !errors.Is(err, ErrStale) {
		t.Errorf("settled again: %v", err)
	}
}

// TestNobodyIsLeft: an acceptance all of whose recipients are suppressed leaves its events and no message.
func TestNobodyIsLeft(t *testing.T) {
	s := openTest(t, testOptions(nil))
	a := newAcceptance("acme", "example.net", 1, []byte("x"))
	a.Deliveries, a.Events[0].Type = nil, mail.EventSuppressed
	mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
	if c := s.Counts(); c != (Counts{Outbox: 1}) {
		t.Errorf("%+v", c)
	}
	audit(t, s)
}

// TestGroupCommit: what waits while a frame syncs goes into one frame.
func TestGroupCommit(t *testing.T) {
	gate := make(chan struct{})
	var once sync.Once
	syncing := make(chan struct{})
	var armed atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			once.Do(func() { close(syncing) })
			<-gate
		}
		return nil
	}))
	s := openTest(t, testOptions(fs))
	armed.Store(true)
	frame := s.frame()
	accept := func() *Ticket {
		return s.Enqueue(&Batch{Accept: []*Acceptance{newAcceptance("acme", "example.net", 1, []byte("x"))}})
	}
	tickets := []*Ticket{accept()}
	<-syncing
	for range 500 {
		tickets = append(tickets, accept())
	}
	for _, ticket := range tickets {
		select {
		case <-ticket.Done():
			t.Fatal("acknowledged before the sync")
		default:
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tickets[0].Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that was given up: %v", err)
	}
	if events, err := s.ReadOutbox(t.Context(), 0, 10); err != nil || len(events) > 0 {
		t.Errorf("%d events can be read before they are durable (%v)", len(events), err)
	}
	close(gate)
	for _, ticket := range tickets {
		if err := ticket.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.frame() - frame; n > 20 {
		t.Errorf("501 batches took %d frames", n)
	}
	audit(t, s)
}

// TestNewestEvent: what a frame has taken away is gone before the frame is durable; who misses it learns up to where the
// record must come.
func TestNewestEvent(t *testing.T) {
	gate := make(chan struct{})
	var armed atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			<-gate
		}
		return nil
	}))
	s := openTest(t, testOptions(fs))
	a := newAcceptance("acme", "example.net", 1, []byte("x"))
	mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
	if n := s.NewestEvent(); n != 1 {
		t.Errorf("newest event %d", n)
	}
	armed.Store(true)
	d := a.Deliveries[0]
	ticket := s.Enqueue(&Batch{Settle: []Settlement{settled(d)}})
	for {
		_, err := s.Delivery(t.Context(), d.ID)
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	if _, durable := s.OutboxRange(); durable != 1 || s.NewestEvent() != 2 {
		t.Errorf("durable up to %d, shown up to %d", durable, s.NewestEvent())
	}
	close(gate)
	if err := ticket.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, durable := s.OutboxRange(); durable != 2 {
		t.Errorf("durable up to %d", durable)
	}
}

// TestFrameLimit: groups end at MaxFrame, and a larger batch has a frame of its own.
func TestFrameLimit(t *testing.T) {
	var q backlog
	q.init()
	for _, size := range []int{400, 400, 400, 5000, 100} {
		if err := q.put(&item{size: size}, 1000); err != nil {
			t.Fatal(err)
		}
	}
	var sizes []int
	for range 4 {
		sizes = append(sizes, q.take().size)
	}
	if fmt.Sprint(sizes) != "[800 400 5000 100]" {
		t.Errorf("groups of %v", sizes)
	}
	q.close(ErrClosed)
	if q.take() != nil || q.put(&item{}, 1000) != ErrClosed {
		t.Error("the closed backlog goes on")
	}
}

// TestBacklogBlocks: whoever hands in more than the backlog holds waits, and is let go by the committer or the end.
func TestBacklogBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q backlog
		q.init()
		if err := q.put(&item{size: maxBacklog}, DefaultMaxFrame); err != nil {
			t.Fatal(err)
		}
		results := make(chan error, 2)
		for range 2 {
			go func() { results <- q.put(&item{size: maxBacklog}, DefaultMaxFrame) }()
		}
		synctest.Wait()
		if len(results) != 0 {
			t.Fatal("the backlog has no bound")
		}
		q.take()
		synctest.Wait()
		if len(results) != 1 || <-results != nil {
			t.Fatal("room was made, and nobody came in")
		}
		q.close(ErrFailed)
		synctest.Wait()
		if len(results) != 1 || !errors.Is(<-results, ErrFailed) {
			t.Fatal("the end was not told")
		}
	})
}

// TestManySubmitters runs whole lives of messages side by side, with readers among them.
func TestManySubmitters(t *testing.T) {
	s := openTest(t, testOptions(nil))
	ctx := t.Context()
	var wg sync.WaitGroup
	const workers, each = 16, 40
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				a := newAcceptance("acme", fmt.Sprintf("d%d.example", w%4), 1+i%3, []byte("x"))
				if err := s.Commit(ctx, &Batch{Accept: []*Acceptance{a}}); err != nil {
					t.Error(err)
					return
				}
				for _, d := range a.Deliveries {
					m := mark(d)
					first := s.Enqueue(&Batch{Mark: []MarkChange{m}})
					if err := s.Enqueue(&Batch{Settle: []Settlement{settled(m.Marked())}}).Wait(ctx); err != nil {
						t.Error(err)
					}
					if err := first.Wait(ctx); err != nil {
						t.Error(err)
					}
				}
			}
		}()
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Add(1)
	go func() {
		defer readers.Done()
		var last uint64
		for {
			select {
			case <-stop:
				return
			case <-s.Notify():
			}
			events, err := s.ReadOutbox(ctx, last, 100)
			if err != nil {
				t.Error(err)
				return
			}
			for _, e := range events {
				if e.ID.Seq != last+1 {
					t.Errorf("event %d follows %d", e.ID.Seq, last)
				}
				last = e.ID.Seq
			}
			if err := s.TrimOutbox(ctx, last); err != nil {
				t.Error(err)
			}
			if err := s.All(ctx, func(*mail.Delivery) error { return nil }); err != nil {
				t.Error(err)
			}
		}
	}()
	wg.Wait()
	close(stop)
	readers.Wait()
	audit(t, s)
	if c := s.Counts(); c.Deliveries != 0 || c.Messages != 0 {
		t.Errorf("%+v", c)
	}
}

func TestCloseWaitsForWhatWasHandedIn(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testOptions(fs))
	var tickets []*Ticket
	for range 100 {
		tickets = append(tickets, s.Enqueue(&Batch{Accept: []*Acceptance{newAcceptance("acme", "example.net", 1, []byte("x"))}}))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, ticket := range tickets {
		if err := ticket.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(t.Context(), &Batch{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	if _, err := s.Message(t.Context(), mail.NewMessageID(testTime)); !errors.Is(err, ErrClosed) {
		t.Errorf("Message after Close: %v", err)
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("Close after Close: %v", err)
	}
	s = openTest(t, testOptions(fs))
	if c := s.Counts(); c.Deliveries != 100 {
		t.Errorf("%+v", c)
	}
}
