package spool

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/postroad/postroad/internal/mail"
)

// frame is one atomic commit while it is being built, synced and answered. Only the committer writes to it, and only
// until it is applied.
type frame struct {
	s  *Spool
	g  *group
	b  *pebble.Batch
	st state // as it will be once this frame is committed
	at time.Time

	key   []byte // scratch
	value []byte // scratch
	locs  []locator
	owed  map[mail.MessageID]byte // bits of the owed records this frame wrote
	low   int8                    // disk space: 0 not asked, 1 enough, 2 too little
	wrote bool

	// What follows once it is synced.
	fresh  []*Acceptance     // bodies for the cache
	owes   bool              // content for the archive
	over   []mail.MessageID  // messages that are gone
	files  []mail.MessageID  // of them, those whose content is in a file
	stages []*stage          // accepted, to be published
	idem   []uint32          // hours that have records now
	lanes  map[string]bool   // lane records set (true) or dropped
	marks  []mail.DeliveryID // marks closed
	shown  []*stage          // stages that can be seen, or are gone
}

// touched is where a delivery is after the last change the committer made.
type touched struct {
	locator
	over bool
}

// maxTouched bounds each of the two generations of memory. Most mail is accepted, marked and settled within seconds,
// and so its three changes need no look-up.
const maxTouched = 20_000

// memory is what the committer remembers of its own changes: those of the frame being built, which Pebble does not show
// yet, and of the frames before it. Only the committer uses it.
type memory struct {
	newer, older map[mail.DeliveryID]touched
}

func newMemory() memory {
	return memory{newer: make(map[mail.DeliveryID]touched), older: make(map[mail.DeliveryID]touched)}
}

// age forgets the older generation when the newer is full. It is called between frames.
func (m *memory) age() {
	if len(m.newer) >= maxTouched {
		m.newer, m.older = m.older, m.newer
		clear(m.newer)
	}
}

func (m *memory) put(id mail.DeliveryID, t touched) { m.newer[id] = t }

func (m *memory) get(id mail.DeliveryID) (touched, bool) {
	t, ok := m.newer[id]
	if !ok {
		t, ok = m.older[id]
	}
	return t, ok
}

// build makes the frame of a group. Items that are refused get their error and leave nothing in it.
func (s *Spool) build(g *group) *frame {
	f := &frame{s: s, g: g, st: s.st, at: s.o.Now(), b: s.db.NewBatchWithSize(g.size + 512)}
	s.memory.age()
	f.st.frame++
	for _, it := range g.items {
		if it.job != nil {
			it.err = it.job(f)
		} else {
			it.err = f.add(it)
		}
	}
	if !f.wrote {
		return f
	}
	if f.at.After(f.st.newest) {
		f.st.newest = f.at
	}
	f.value = f.st.append(f.value[:0])
	f.set(keyState, f.value)
	s.st = f.st
	return f
}

// empty reports whether every item was refused, or changed nothing.
func (f *frame) empty() bool { return !f.wrote }

// add puts a batch into the frame, or returns why not.
func (f *frame) add(it *item) error {
	if err := f.verify(it); err != nil {
		return err
	}
	b := it.batch
	for _, a := range b.Accept {
		f.accept(it, a)
	}
	n := 0
	for i := range b.Mark {
		m := &b.Mark[i]
		f.change(it, m.Delivery, m.Next, m.Mark.Attempt, true, f.locs[n])
		n++
	}
	for i := range b.Settle {
		c := &b.Settle[i]
		f.changeOrEnd(it, c.Old, c.New, f.locs[n])
		f.events(it, c.Events)
		n++
	}
	for i := range b.Reschedule {
		c := &b.Reschedule[i]
		f.changeOrEnd(it, c.Old, c.New, f.locs[n])
		f.events(it, c.Events)
		n++
	}
	for i := range b.Lanes {
		f.set(f.textKey(tabLane, b.Lanes[i].Key), it.take())
		f.lane(b.Lanes[i].Key, true)
	}
	for _, key := range b.DropLanes {
		f.delete(f.textKey(tabLane, key))
		f.lane(key, false)
	}
	for _, seq := range b.InboxDone {
		f.inboxDone(seq)
	}
	for _, id := range b.Archived {
		f.archived(id)
	}
	f.events(it, b.Events)
	return nil
}

// verify checks all that add relies on, so that add cannot fail half-way: a batch is in its frame as a whole or not
// at all. It leaves the locators of the batch's changes in f.locs, in their order.
func (f *frame) verify(it *item) error {
	b := it.batch
	if it.intake && f.lowSpace() {
		return ErrDiskFull
	}
	for _, a := range b.Accept {
		if err := f.verifyAcceptance(a); err != nil {
			return err
		}
	}
	f.locs = f.locs[:0]
	for i := range b.Mark {
		if err := f.verifyChange(b.Mark[i].Delivery); err != nil {
			return err
		}
	}
	for i := range b.Settle {
		if err := f.verifyChange(b.Settle[i].Old); err != nil {
			return err
		}
	}
	for i := range b.Reschedule {
		if err := f.verifyChange(b.Reschedule[i].Old); err != nil {
			return err
		}
	}
	if len(f.locs) > 1 && repeats(b) {
		return badBatch("a delivery is changed twice in one batch")
	}
	return f.claimContents(b)
}

// claimContents takes the content files the batch refers to. It is the last check: nothing may fail after it.
func (f *frame) claimContents(b *Batch) error {
	for i, a := range b.Accept {
		if !a.external() || f.s.contents.claim(a.Message.ID) {
			continue
		}
		for _, before := range b.Accept[:i] {
			if before.external() {
				f.s.contents.unclaim(before.Message.ID)
			}
		}
		return badBatch("the content file of message %s was given up or used before", a.Message.ID)
	}
	return nil
}

// external reports whether a live message is accepted whose content is in a file.
func (a *Acceptance) external() bool {
	return a.Message.Content.External && len(a.Deliveries)+a.Staged > 0
}

func (f *frame) verifyAcceptance(a *Acceptance) error {
	for _, d := range a.Deliveries {
		if err := f.verifyNew(d.ID); err != nil {
			return err
		}
	}
	st := f.s.stages.get(a.Message.ID)
	switch {
	case a.Staged == 0 && st == nil:
		return nil
	case st == nil || st.accepted || st.deliveries != a.Staged:
		return badBatch("message %s names %d staged deliveries, the spool holds another number", a.Message.ID, a.Staged)
	}
	return nil
}

// verifyNew checks that a delivery is not in the spool yet. An id made since the spool was opened can only have come
// here since, so memory answers; it is a guard against a batch that is handed over twice, not against colliding ids.
func (f *frame) verifyNew(id mail.DeliveryID) error {
	if t, ok := f.s.memory.get(id); ok {
		if t.over {
			return nil
		}
		return fmt.Errorf("%w: delivery %s", ErrExists, id)
	}
	if id.Time().After(f.s.started) {
		return nil
	}
	f.key = idKey(f.key[:0], tabDelivery, id)
	switch _, err := f.s.locator(f.key); {
	case err == nil:
		return fmt.Errorf("%w: delivery %s", ErrExists, id)
	case errors.Is(err, ErrNotFound):
		return nil
	default:
		return err
	}
}

// verifyChange checks that old is what the spool holds, and appends its locator to f.locs.
func (f *frame) verifyChange(old *mail.Delivery) error {
	loc, err := f.locate(old.ID)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: %s is over", ErrStale, old.ID)
	}
	if err != nil {
		return err
	}
	if loc.due != dueMicros(old.Due) || loc.attempts != old.Attempts || (loc.flags&flagMarked != 0) != (old.Mark != nil) {
		return fmt.Errorf("%w: %s", ErrStale, old.ID)
	}
	if loc.flags&flagStaged != 0 && f.s.stages.hidden(old.Message) {
		return fmt.Errorf("%w: %s is not accepted yet", ErrStale, old.ID)
	}
	f.locs = append(f.locs, loc)
	return nil
}

// repeats reports whether a batch changes a delivery twice.
func repeats(b *Batch) bool {
	seen := make(map[mail.DeliveryID]struct{}, len(b.Mark)+len(b.Settle)+len(b.Reschedule))
	again := func(id mail.DeliveryID) bool {
		n := len(seen)
		seen[id] = struct{}{}
		return len(seen) == n
	}
	for i := range b.Mark {
		if again(b.Mark[i].Delivery.ID) {
			return true
		}
	}
	for i := range b.Settle {
		if again(b.Settle[i].Old.ID) {
			return true
		}
	}
	for i := range b.Reschedule {
		if again(b.Reschedule[i].Old.ID) {
			return true
		}
	}
	return false
}

// locate returns where a delivery is, this frame's own changes included. It returns ErrNotFound.
func (f *frame) locate(id mail.DeliveryID) (locator, error) {
	if t, ok := f.s.memory.get(id); ok {
		if t.over {
			return locator{}, ErrNotFound
		}
		return t.locator, nil
	}
	f.key = idKey(f.key[:0], tabDelivery, id)
	return f.s.locator(f.key)
}

// locator reads a locator record.
func (s *Spool) locator(key []byte) (loc locator, err error) {
	v, closer, err := s.db.Get(key)
	if err != nil {
		return loc, s.readError(err)
	}
	defer closer.Close()
	if err = loc.decode(v); err != nil {
		return loc, err
	}
	loc.queue = bytes.Clone(loc.queue)
	return loc, nil
}

func (f *frame) accept(it *item, a *Acceptance) {
	m := a.Message
	n := len(a.Deliveries) + a.Staged
	if n > 0 {
		f.set(f.idKey(tabMessage, m.ID), it.take())
		if a.Body != nil {
			f.set(f.idKey(tabContent, m.ID), a.Body)
		}
		if a.Archive {
			f.owe(m.ID, m.Content.External)
		}
		f.fresh = append(f.fresh, a)
		f.st.counts.Messages++
		f.st.counts.Deliveries += int64(a.Staged)
	}
	for _, d := range a.Deliveries {
		f.insert(d, it.take())
	}
	if n > 1 && len(a.Deliveries) > 0 {
		f.merge(m.ID, int64(len(a.Deliveries)), a.Staged == 0)
	}
	if a.Staged > 0 {
		st := f.s.stages.get(m.ID)
		st.accepted = true
		f.st.counts.Held += int64(st.held)
		f.stages = append(f.stages, st)
	}
	f.events(it, a.Events)
	if r := a.Idempotency; r != nil {
		hour := hourOf(r.At)
		f.key = idemKey(f.key[:0], hour, r.Account, r.KeyHash)
		f.set(f.key, it.take())
		f.idem = append(f.idem, hour)
	}
}

// insert writes a new delivery; value is its record.
func (f *frame) insert(d *mail.Delivery, value []byte) {
	loc := locator{flags: value[1], due: dueMicros(d.Due), attempts: d.Attempts, queue: appendQueue(nil, d.Queue)}
	f.put(d.ID, loc, value)
	if loc.flags&flagSolo == 0 {
		f.key = memberKey(f.key[:0], d.Message, d.ID)
		f.set(f.key, nil)
	}
	if loc.flags&flagStaged == 0 {
		f.st.counts.count(loc.flags, 1)
	}
}

// put writes a delivery's record, at its schedule key, and its locator.
func (f *frame) put(id mail.DeliveryID, loc locator, value []byte) {
	f.key = appendSchedule(f.key[:0], loc.queue, loc.due, id)
	f.set(f.key, value)
	f.value = loc.append(f.value[:0])
	f.set(f.idKey(tabDelivery, id), f.value)
	f.s.memory.put(id, touched{locator: loc})
}

// change replaces the record of a delivery by the next one of it, due at next.
func (f *frame) change(it *item, old *mail.Delivery, next time.Time, attempts int, mark bool, loc locator) {
	value := it.take()
	f.key = appendSchedule(f.key[:0], loc.queue, loc.due, old.ID)
	f.single(f.key)
	f.st.counts.count(loc.flags, -1)
	switch {
	case mark:
		f.set(f.idKey(tabMark, old.ID), nil)
	case loc.flags&flagMarked != 0:
		f.closeMark(old.ID)
	}
	const state = flagMarked | flagHeld
	loc.flags = loc.flags&^state | value[1]&state
	value[1] = loc.flags
	loc.due, loc.attempts = dueMicros(next), attempts
	f.put(old.ID, loc, value)
	f.st.counts.count(loc.flags, 1)
}

// changeOrEnd is change, or the end of the delivery when next is nil.
func (f *frame) changeOrEnd(it *item, old, next *mail.Delivery, loc locator) {
	if next != nil {
		f.change(it, old, next.Due, next.Attempts, false, loc)
		return
	}
	f.remove(old.ID, old.Message, loc)
	f.st.counts.count(loc.flags, -1)
	if loc.flags&flagSolo == 0 && f.merge(old.Message, -1, false) > 0 {
		return
	}
	f.end(old.Message, loc.flags)
}

// remove takes a delivery's keys away.
func (f *frame) remove(id mail.DeliveryID, msg mail.MessageID, loc locator) {
	f.key = appendSchedule(f.key[:0], loc.queue, loc.due, id)
	f.single(f.key)
	f.delete(f.idKey(tabDelivery, id))
	if loc.flags&flagMarked != 0 {
		f.closeMark(id)
	}
	if loc.flags&flagSolo == 0 {
		f.key = memberKey(f.key[:0], msg, id)
		f.single(f.key)
	}
	f.s.memory.put(id, touched{over: true})
}

func (f *frame) closeMark(id mail.DeliveryID) {
	f.single(f.idKey(tabMark, id))
	f.marks = append(f.marks, id)
}

// end takes a message away after its last delivery, unless its content is owed to the archive.
func (f *frame) end(id mail.MessageID, flags byte) {
	if flags&flagSolo == 0 {
		f.delete(f.idKey(tabLeft, id))
		delete(f.s.left, id)
	}
	// A stage is written before it is known whether its content has a file and is to be archived.
	if flags&(flagOwed|flagStaged) != 0 {
		if bits, ok := f.owing(id); ok {
			f.setOwed(id, bits|owedOver)
			return
		}
	}
	f.drop(id, flags&flagExternal != 0 || flags&flagStaged != 0 && f.s.isExternal(id))
}

// drop takes a message and its content away.
func (f *frame) drop(id mail.MessageID, external bool) {
	f.single(f.idKey(tabMessage, id))
	if external {
		f.files = append(f.files, id)
	} else {
		f.single(f.idKey(tabContent, id))
	}
	f.st.counts.Messages--
	f.over = append(f.over, id)
}

// merge adds n to the recipients left of a message and returns how many are left; fresh: there are none yet.
func (f *frame) merge(id mail.MessageID, n int64, fresh bool) int64 {
	left, ok := f.s.left[id]
	if !ok {
		if !fresh {
			left = f.s.readLeft(id)
		}
		if len(f.s.left) >= maxLeft {
			clear(f.s.left)
		}
	}
	left += n
	f.s.left[id] = left
	if left > 0 {
		f.value = appendCounter(f.value[:0], n)
		f.wrote = true
		_ = f.b.Merge(f.idKey(tabLeft, id), f.value, nil)
	}
	return left
}

// maxLeft bounds the counters kept in memory; beyond it they are read again.
const maxLeft = 1 << 16

// manyLeft stands for a counter that cannot be read: its message is then kept for ever rather than removed under its
// deliveries, and Check names it.
const manyLeft = 1 << 40

func (s *Spool) readLeft(id mail.MessageID) int64 {
	v, closer, err := s.db.Get(idKey(nil, tabLeft, id))
	if err == nil {
		defer closer.Close()
		if n, ok := counterValue(v); ok {
			return n
		}
		err = errBadRecord
	}
	s.o.Logger.Error("the recipients left of a message cannot be read; it will be kept", mail.LogMsg, id, mail.LogErr, err)
	return manyLeft
}

func (f *frame) events(it *item, events []*mail.Event) {
	for _, e := range events {
		e.ID = f.event(it.take())
	}
}

// event gives the event with this record its number.
func (f *frame) event(value []byte) mail.EventID {
	f.st.event++
	f.key = seqKey(f.key[:0], tabOutbox, f.st.event)
	f.set(f.key, value)
	return mail.EventID{Spool: f.s.id, Seq: f.st.event}
}

func (f *frame) lane(key string, set bool) {
	if f.lanes == nil {
		f.lanes = make(map[string]bool)
	}
	f.lanes[key] = set
}

func (f *frame) inboxDone(seq uint64) {
	f.key = seqKey(f.key[:0], tabInbox, seq)
	if !f.s.has(f.key) {
		return
	}
	f.delete(f.key)
	f.st.counts.Inbox--
}

func (f *frame) idKey(table byte, id [idLen]byte) []byte {
	f.key = append(append(f.key[:0], table), id[:]...)
	return f.key
}

func (f *frame) textKey(table byte, text string) []byte {
	f.key = append(append(f.key[:0], table), text...)
	return f.key
}

// The batch is in memory and its operations fail only on a batch that was committed already.

func (f *frame) set(key, value []byte) {
	f.wrote = true
	_ = f.b.Set(key, value, nil)
}

func (f *frame) delete(key []byte) {
	f.wrote = true
	_ = f.b.Delete(key, nil)
}

// single deletes a key that was set once since it was last deleted: Pebble then drops both early.
func (f *frame) single(key []byte) {
	f.wrote = true
	_ = f.b.SingleDelete(key, nil)
}

func (f *frame) deleteRange(from, to []byte) {
	f.wrote = true
	_ = f.b.DeleteRange(from, to, nil)
}

// lowSpace asks once per frame.
func (f *frame) lowSpace() bool {
	if f.low == 0 {
		f.low = 1
		if f.s.Space().Low {
			f.low = 2
		}
	}
	return f.low == 2
}

// synced follows the sync: the frame is durable.
func (f *frame) synced() {
	s := f.s
	for _, a := range f.fresh {
		if a.Body == nil {
			s.contents.forget(a.Message.ID)
		} else {
			s.cache.put(a.Message.ID, a.Body)
		}
	}
	for _, id := range f.over {
		s.cache.drop(id)
	}
	newEvents := s.synced(f)
	for _, st := range f.shown {
		s.stages.drop(st)
	}
	// Before anybody hears of the frame: who waits for the helper afterwards waits for these too.
	for _, id := range f.files {
		s.helper.add(func() { s.removeContent(id) })
	}
	for _, st := range f.stages {
		s.helper.add(func() { s.publish(st) })
	}
	if f.owes || len(f.shown) > 0 {
		s.signalOwed()
	}
	if newEvents {
		select {
		case s.notify <- struct{}{}:
		default:
		}
	}
	close(f.g.done)
	_ = f.b.Close()
}

// abandon answers the group of a frame that was not committed.
func (f *frame) abandon(err error) {
	f.g.err = err
	close(f.g.done)
}
