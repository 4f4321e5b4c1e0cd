package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// fakeSpool is a spool in memory that checks what it is given as strictly as the real one.
type fakeSpool struct {
	mu       sync.Mutex
	id       mail.SpoolID
	messages map[mail.MessageID]*mail.Message
	bodies   map[mail.MessageID]mail.Body
	live     map[mail.DeliveryID]*mail.Delivery
	schedule map[mail.QueueKey][]spool.ScheduleKey
	lanes    map[string]spool.LaneRecord
	events   []*mail.Event
	ends     map[mail.DeliveryID]mail.EventType
	atOpen   []*mail.Delivery // open marks when it was opened
	newest   time.Time
	pages    int
	failing  error // every Enqueue fails with it
}

func newFakeSpool() *fakeSpool {
	return &fakeSpool{
		id: 7, messages: map[mail.MessageID]*mail.Message{}, bodies: map[mail.MessageID]mail.Body{},
		live: map[mail.DeliveryID]*mail.Delivery{}, schedule: map[mail.QueueKey][]spool.ScheduleKey{},
		lanes: map[string]spool.LaneRecord{}, ends: map[mail.DeliveryID]mail.EventType{},
	}
}

// reopen does what a restart after a crash does: what was not applied is lost, open marks are found.
func (f *fakeSpool) reopen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.atOpen = nil
	for _, d := range f.live {
		if d.Mark != nil {
			f.atOpen = append(f.atOpen, d)
		}
	}
	slices.SortFunc(f.atOpen, func(a, b *mail.Delivery) int { return spool.KeyOf(a).Compare(spool.KeyOf(b)) })
}

func (f *fakeSpool) insert(d *mail.Delivery) {
	keys := f.schedule[d.Queue]
	k := spool.KeyOf(d)
	i, _ := slices.BinarySearchFunc(keys, k, spool.ScheduleKey.Compare)
	f.schedule[d.Queue] = slices.Insert(keys, i, k)
	f.live[d.ID] = d
}

func (f *fakeSpool) remove(d *mail.Delivery) {
	keys := f.schedule[d.Queue]
	i, ok := slices.BinarySearchFunc(keys, spool.KeyOf(d), spool.ScheduleKey.Compare)
	if !ok {
		panic("the fake spool lost a schedule key")
	}
	if keys = slices.Delete(keys, i, i+1); len(keys) == 0 {
		delete(f.schedule, d.Queue)
	} else {
		f.schedule[d.Queue] = keys
	}
	delete(f.live, d.ID)
}

func (f *fakeSpool) accept(m *mail.Message, ds []*mail.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.messages[m.ID] = m
	f.bodies[m.ID] = mail.BytesBody("x")
	for _, d := range ds {
		f.insert(d)
	}
}

// check reports whether old is what the spool holds.
func (f *fakeSpool) check(old *mail.Delivery) error {
	have := f.live[old.ID]
	if have == nil || !have.Due.Equal(old.Due) || have.Attempts != old.Attempts || (have.Mark != nil) != (old.Mark != nil) || have.Held != old.Held {
		return fmt.Errorf("%w: %v against %v", spool.ErrStale, old, have)
	}
	return nil
}

func (f *fakeSpool) apply(b *spool.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing != nil {
		return f.failing
	}
	for _, m := range b.Mark {
		if err := f.check(m.Delivery); err != nil {
			return err
		}
		if m.Delivery.Mark != nil || m.Next.After(m.Delivery.ExpiresAt) {
			return spool.ErrBadBatch
		}
	}
	for _, s := range b.Settle {
		if err := f.check(s.Old); err != nil {
			return err
		}
		if s.New != nil && (s.New.Mark != nil || s.New.Due.After(s.New.ExpiresAt)) {
			return fmt.Errorf("%w: settle %+v", spool.ErrBadBatch, s.New)
		}
	}
	for _, r := range b.Reschedule {
		if err := f.check(r.Old); err != nil {
			return err
		}
		if r.Old.Mark != nil || r.New == nil || r.New.Mark != nil || r.New.Due.After(r.New.ExpiresAt) {
			return spool.ErrBadBatch
		}
	}
	for _, m := range b.Mark {
		d := m.Marked()
		f.remove(m.Delivery)
		f.insert(d)
	}
	for _, s := range b.Settle {
		f.remove(s.Old)
		f.events = append(f.events, s.Events...)
		if s.New != nil {
			f.insert(s.New)
			continue
		}
		last := s.Events[len(s.Events)-1].Type
		if was, over := f.ends[s.Old.ID]; over {
			panic(fmt.Sprintf("%s ended twice: %s, %s", s.Old.ID, was, last))
		}
		f.ends[s.Old.ID] = last
	}
	for _, r := range b.Reschedule {
		f.remove(r.Old)
		f.insert(r.New)
		f.events = append(f.events, r.Events...)
	}
	for _, l := range b.Lanes {
		f.lanes[l.Key] = l
	}
	for _, k := range b.DropLanes {
		delete(f.lanes, k)
	}
	return nil
}

type fakeTicket struct{ err error }

func (t fakeTicket) Wait(context.Context) error { return t.err }

func (f *fakeSpool) ID() mail.SpoolID              { return f.id }
func (f *fakeSpool) NewestAtOpen() time.Time       { return f.newest }
func (f *fakeSpool) Enqueue(b *spool.Batch) Ticket { return fakeTicket{f.apply(b)} }

func (f *fakeSpool) Body(_ context.Context, id mail.MessageID) (mail.Body, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b := f.bodies[id]; b != nil {
		return b, nil
	}
	return nil, spool.ErrNotFound
}

func (f *fakeSpool) Message(_ context.Context, id mail.MessageID) (*mail.Message, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.messages[id]; m != nil {
		return m, nil
	}
	return nil, spool.ErrNotFound
}

func (f *fakeSpool) Delivery(_ context.Context, id mail.DeliveryID) (*mail.Delivery, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.live[id]; d != nil {
		return d, nil
	}
	return nil, spool.ErrNotFound
}

func (f *fakeSpool) Deliveries(_ context.Context, id mail.MessageID, after mail.DeliveryID, max int) ([]*mail.Delivery, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ds []*mail.Delivery
	for _, d := range f.live {
		if d.Message == id && slices.Compare(d.ID[:], after[:]) > 0 {
			ds = append(ds, d)
		}
	}
	slices.SortFunc(ds, func(a, b *mail.Delivery) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return ds[:min(len(ds), max)], nil
}

func (f *fakeSpool) Queues(_ context.Context, fn func(spool.QueueHead) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, keys := range f.schedule {
		if err := fn(spool.QueueHead{Key: k, First: keys[0]}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeSpool) Page(_ context.Context, q mail.QueueKey, from spool.ScheduleKey, until time.Time, max int) (ds []*mail.Delivery, next spool.ScheduleKey, more bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pages++
	keys := f.schedule[q]
	i, _ := slices.BinarySearchFunc(keys, from, spool.ScheduleKey.Compare)
	for ; i < len(keys) && !keys[i].Due.After(until); i++ {
		if len(ds) == max {
			return ds, keys[i], true, nil
		}
		ds = append(ds, f.live[keys[i].Delivery])
	}
	return ds, spool.ScheduleKey{Due: later(until, from.Due), Delivery: mail.DeliveryID{0xff, 0xff, 0xff}}, false, nil
}

func (f *fakeSpool) Head(_ context.Context, q mail.QueueKey, from spool.ScheduleKey) (spool.ScheduleKey, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys := f.schedule[q]
	i, _ := slices.BinarySearchFunc(keys, from, spool.ScheduleKey.Compare)
	if i == len(keys) {
		return spool.ScheduleKey{}, false, nil
	}
	return keys[i], true, nil
}

func (f *fakeSpool) OpenMarks(_ context.Context, fn func(*mail.Delivery) error) error {
	for _, d := range f.atOpen {
		if err := fn(d); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeSpool) Lanes(context.Context) ([]spool.LaneRecord, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var rs []spool.LaneRecord
	for _, r := range f.lanes {
		rs = append(rs, r)
	}
	slices.SortFunc(rs, func(a, b spool.LaneRecord) int { return len(a.Key) - len(b.Key) })
	return rs, nil
}

func (f *fakeSpool) All(_ context.Context, fn func(*mail.Delivery) error) error {
	f.mu.Lock()
	var ds []*mail.Delivery
	for _, d := range f.live {
		ds = append(ds, d)
	}
	f.mu.Unlock()
	slices.SortFunc(ds, func(a, b *mail.Delivery) int { return slices.Compare(a.ID[:], b.ID[:]) })
	for _, d := range ds {
		if err := fn(d); err != nil {
			return err
		}
	}
	return nil
}

var _ Spool = (*fakeSpool)(nil)

func TestFakeSpoolRefusesStale(t *testing.T) {
	f := newFakeSpool()
	d := &mail.Delivery{ID: mail.DeliveryID{1}, Due: t0, ExpiresAt: t0.Add(time.Hour)}
	f.accept(&mail.Message{}, []*mail.Delivery{d})
	other := *d
	other.Attempts = 3
	if err := f.apply(&spool.Batch{Settle: []spool.Settlement{{Old: &other, Events: []*mail.Event{{}}}}}); err == nil {
		t.Fatal("a change of a record the spool does not hold was taken")
	}
}
