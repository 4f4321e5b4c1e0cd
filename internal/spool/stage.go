package spool

import (
	"context"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/postroad/postroad/internal/mail"
)

// stage is the part of a large acceptance that is written before it. Its deliveries are invisible until the message
// record is committed, which is the instant of acceptance, and its events have then moved to the outbox, so that no
// event of a delivery comes before its accepted event.
//
// deliveries, held, events and accepted are the committer's own.
type stage struct {
	id         mail.MessageID
	deliveries int
	held       int
	events     uint64 // pending events written
	moved      uint64 // of them, moved to the outbox
	accepted   bool
	frame      uint64        // the frame that last wrote to it
	shown      chan struct{} // closed when the deliveries can be seen, or the stage was removed
}

// stages are those not shown yet.
type stages struct {
	mu sync.RWMutex
	m  map[mail.MessageID]*stage
}

func (t *stages) get(id mail.MessageID) *stage {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.m[id]
}

// hidden reports whether the staged deliveries of message id cannot be seen yet.
func (t *stages) hidden(id mail.MessageID) bool { return t.get(id) != nil }

func (t *stages) add(id mail.MessageID) *stage {
	st := &stage{id: id, shown: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = make(map[mail.MessageID]*stage)
	}
	t.m[id] = st
	return st
}

func (t *stages) drop(st *stage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, st.id)
	close(st.shown)
}

// Stage writes deliveries of a message ahead of its acceptance, with the events that tell of them, in frames of at
// most MaxStage. They are durable when it returns nil, and invisible until an Acceptance of the message whose Staged
// is their number commits. It returns ErrDiskFull, ErrBadBatch, ErrClosed, ErrFailed.
func (s *Spool) Stage(ctx context.Context, id mail.MessageID, ds []*mail.Delivery, events []*mail.Event) error {
	for len(ds) > 0 || len(events) > 0 {
		n, m := min(len(ds), MaxStage), min(len(events), MaxStage)
		if err := s.stagePart(ctx, id, ds[:n], events[:m]); err != nil {
			return err
		}
		ds, events = ds[n:], events[m:]
	}
	return nil
}

func (s *Spool) stagePart(ctx context.Context, id mail.MessageID, ds []*mail.Delivery, events []*mail.Event) error {
	it := &item{intake: true}
	for _, d := range ds {
		if err := checkDelivery(d); err != nil {
			return err
		}
		if d.Message != id || d.Mark != nil {
			return badBatch("delivery %s is not a fresh one of message %s", d.ID, id)
		}
		// Whether the content has a file is not known yet; the message's end asks its record.
		it.enc = appendDelivery(it.enc, flagStaged|deliveryFlags(d), d)
		it.cut()
	}
	it.events(events)
	it.size = len(it.enc) + keyOverhead*len(it.cuts)
	it.job = func(f *frame) error {
		if f.lowSpace() {
			return ErrDiskFull
		}
		st := s.stages.get(id)
		if st != nil && st.accepted {
			return badBatch("message %s is accepted already", id)
		}
		for _, d := range ds {
			if err := f.verifyNew(d.ID); err != nil {
				return err
			}
		}
		if st == nil {
			st = s.stages.add(id)
			f.set(f.idKey(tabStage, id), nil)
		}
		st.frame = f.st.frame
		for _, d := range ds {
			f.insert(d, it.take())
			if d.Held != "" {
				st.held++
			}
		}
		if len(ds) > 0 {
			f.merge(id, int64(len(ds)), st.deliveries == 0)
			st.deliveries += len(ds)
		}
		for range events {
			f.key = pendingKey(f.key[:0], id, st.events)
			f.set(f.key, it.take())
			st.events++
		}
		return nil
	}
	return s.do(ctx, it)
}

// Unstage removes what Stage wrote for a message that will not be accepted. An accepted message is left alone.
func (s *Spool) Unstage(ctx context.Context, id mail.MessageID) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if s.stages.get(id) == nil {
		return nil
	}
	return s.unstage(ctx, id)
}

func (s *Spool) unstage(ctx context.Context, id mail.MessageID) error {
	for {
		more := false
		err := s.do(ctx, &item{size: MaxStage * keyOverhead, job: func(f *frame) (err error) {
			more, err = s.unstagePart(ctx, f, id)
			return err
		}})
		if err != nil || !more {
			return err
		}
	}
}

// unstagePart removes up to MaxStage deliveries, and with the last of them all the rest.
func (s *Spool) unstagePart(ctx context.Context, f *frame, id mail.MessageID) (more bool, err error) {
	st := s.stages.get(id)
	if st == nil || st.accepted {
		return false, nil
	}
	if st.frame == f.st.frame {
		return true, nil // part of it is in this very frame: the next one can see it
	}
	type gone struct {
		id  mail.DeliveryID
		loc locator
	}
	var list []gone
	prefix := idKey(nil, tabMember, id)
	err = s.scan(ctx, prefix, afterKey(prefix), func(key, _ []byte) (bool, error) {
		if len(list) == MaxStage {
			more = true
			return false, nil
		}
		var g gone
		copy(g.id[:], key[len(prefix):])
		var err error
		if g.loc, err = f.locate(g.id); err == nil {
			list = append(list, g)
		}
		return true, nil
	})
	if err != nil {
		return false, err
	}
	for _, g := range list {
		f.remove(g.id, id, g.loc)
	}
	if more {
		return true, nil
	}
	pending := idKey(nil, tabPending, id)
	f.deleteRange(pending, afterKey(pending))
	f.deleteRange(prefix, afterKey(prefix))
	f.delete(f.idKey(tabLeft, id))
	f.delete(f.idKey(tabStage, id))
	delete(s.left, id)
	f.shown = append(f.shown, st)
	return false, nil
}

// publish moves the events of an accepted stage to the outbox, and with the last of them shows its deliveries.
func (s *Spool) publish(st *stage) {
	for {
		done := false
		err := s.do(context.Background(), &item{size: MaxStage * keyOverhead, job: func(f *frame) (err error) {
			done, err = s.publishPart(f, st)
			return err
		}})
		if err != nil {
			// Closing, or a failed disk: the next start goes on here.
			return
		}
		if done {
			return
		}
	}
}

func (s *Spool) publishPart(f *frame, st *stage) (done bool, err error) {
	var values [][]byte
	from := pendingKey(nil, st.id, st.moved)
	err = s.scan(context.Background(), from, afterKey(idKey(nil, tabPending, st.id)), func(_, value []byte) (bool, error) {
		values = append(values, append([]byte(nil), value...))
		return len(values) < MaxStage, nil
	})
	if err != nil {
		return false, err
	}
	for _, v := range values {
		f.event(v)
	}
	st.moved += uint64(len(values))
	if len(values) > 0 {
		f.deleteRange(from, pendingKey(nil, st.id, st.moved))
	}
	if len(values) == MaxStage {
		return false, nil
	}
	f.delete(f.idKey(tabStage, st.id))
	f.shown = append(f.shown, st)
	return true, nil
}

// Published waits until the deliveries of a staged acceptance can be seen by Page and All. Commit does so by itself.
// Whoever keeps cursors must then lower those of the queues concerned.
func (s *Spool) Published(ctx context.Context, id mail.MessageID) error {
	st := s.stages.get(id)
	if st == nil {
		return nil
	}
	select {
	case <-st.shown:
		return nil
	case <-s.Failed():
		return s.Err()
	case <-ctx.Done():
		return fmt.Errorf("spool: wait for a staged message: %w", ctx.Err())
	}
}

// recoverStages goes on with the stages found at open: accepted ones are published, the others removed.
func (s *Spool) recoverStages(ctx context.Context) error {
	var ids []mail.MessageID
	err := s.scan(ctx, []byte{tabStage}, []byte{tabStage + 1}, func(key, _ []byte) (bool, error) {
		if len(key) == 1+idLen {
			ids = append(ids, mail.MessageID(key[1:]))
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		st := s.stages.add(id)
		_, closer, err := s.db.Get(idKey(nil, tabMessage, id))
		if err != nil && err != pebble.ErrNotFound {
			return s.readError(err)
		}
		if err == nil {
			_ = closer.Close()
			st.accepted = true
			if err := s.resume(ctx, st); err != nil {
				return err
			}
			s.helper.add(func() { s.publish(st) })
			continue
		}
		if err := s.unstage(ctx, id); err != nil {
			return err
		}
		s.o.Logger.Info("deliveries of a message that was never accepted were removed", mail.LogMsg, id)
	}
	return nil
}

// resume finds the first pending event of an accepted stage.
func (s *Spool) resume(ctx context.Context, st *stage) error {
	prefix := idKey(nil, tabPending, st.id)
	return s.scan(ctx, prefix, afterKey(prefix), func(key, _ []byte) (bool, error) {
		_, n, ok := cutPending(key)
		if ok {
			st.moved = n
		}
		return !ok, nil
	})
}
