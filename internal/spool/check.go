package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// Report is what Check or Salvage found.
type Report struct {
	Counts   Counts
	Problems []string // in words, at most MaxProblems
	More     int      // further problems
}

// MaxProblems bounds Report.Problems.
const MaxProblems = 1000

func (r *Report) problem(format string, args ...any) {
	if len(r.Problems) >= MaxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// Check reads the whole spool in dir, changing nothing, and names everything that is not as it must be. The spool must
// not be open: else it returns ErrLocked. fs nil: the operating system's file system.
func Check(ctx context.Context, dir string, fs vfs.FS) (Report, error) {
	s, err := openReadOnly(dir, fs)
	if err != nil {
		return Report{}, err
	}
	defer s.closeFiles()
	return s.check(ctx)
}

// openReadOnly opens a spool for reading only, without recovery and without goroutines of the spool's own.
func openReadOnly(dir string, fs vfs.FS) (*Spool, error) {
	s := &Spool{o: withDefaults(Options{Dir: dir, FS: fs})}
	s.tap = &pebbleLog{log: s.o.Logger}
	err := isSpool(s.o.FS, dir)
	if err != nil {
		return nil, err
	}
	if s.lock, err = takeLock(s.o.FS, dir); err != nil {
		return nil, err
	}
	po := s.pebbleOptions()
	po.ReadOnly, po.ErrorIfNotExists = true, true
	if s.db, err = openPebble(s.o.FS.PathJoin(dir, dbDir), po, s.tap); err != nil {
		s.closeFiles()
		return nil, err
	}
	return s, nil
}

// check audits the records against each other. It is also run on open spools by tests, while nothing is written.
func (s *Spool) check(ctx context.Context) (r Report, err error) {
	c := checker{s: s, r: &r}
	for _, key := range [][]byte{keyID, keyFormat} {
		if _, err := readUint32(s.db, key); err != nil {
			r.problem("the record of the spool's %s cannot be read: %v", key[1:], err)
		}
	}
	if v, closer, err := s.db.Get(keyState); err != nil {
		r.problem("the state record is missing: %v", err)
	} else {
		if err := c.st.decode(v); err != nil {
			r.problem("the state record cannot be decoded")
		}
		_ = closer.Close()
	}
	tables := []struct {
		table byte
		fn    func(key, value []byte)
	}{
		{tabStage, c.stage},
		{tabSchedule, c.schedule},
		{tabDelivery, c.delivery},
		{tabMark, c.mark},
		{tabMember, c.member},
		{tabMessage, c.message},
		{tabContent, c.content},
		{tabOwed, c.owed},
		{tabLeft, c.left},
		{tabOutbox, c.outbox},
		{tabPending, c.pending},
		{tabInbox, c.inbox},
		{tabLane, c.lane},
		{tabIdem, c.idem},
		{tabQuarantine, c.aside},
	}
	for _, t := range tables {
		err := s.scan(ctx, []byte{t.table}, []byte{t.table + 1}, func(key, value []byte) (bool, error) {
			t.fn(key, value)
			return true, nil
		})
		if err != nil {
			if ctx.Err() != nil {
				return r, err
			}
			r.problem("table %c: %v", t.table, err)
		}
	}
	c.files(ctx)
	c.sums()
	return r, nil
}

// checker holds what one audit has seen.
type checker struct {
	s  *Spool
	r  *Report
	st state

	events    uint64
	lastEvent uint64
	stages    map[mail.MessageID]bool // true: accepted
	external  map[mail.MessageID]*messageRecord
}

func (c *checker) get(key []byte) ([]byte, bool) {
	v, closer, err := c.s.db.Get(key)
	if err != nil {
		if !errors.Is(err, pebble.ErrNotFound) {
			c.r.problem("key %x: %v", key, err)
		}
		return nil, false
	}
	defer closer.Close()
	return bytes.Clone(v), true
}

func (c *checker) has(table byte, id [idLen]byte) bool {
	_, ok := c.get(idKey(nil, table, id))
	return ok
}

func (c *checker) stage(key, _ []byte) {
	if len(key) != 1+idLen {
		c.r.problem("stage key %x has a wrong length", key)
		return
	}
	if c.stages == nil {
		c.stages = make(map[mail.MessageID]bool)
	}
	c.stages[mail.MessageID(key[1:])] = c.has(tabMessage, [idLen]byte(key[1:]))
}

func (c *checker) schedule(key, value []byte) {
	q, due, id, ok := cutSchedule(key)
	if !ok {
		c.r.problem("schedule key %x cannot be decoded", key)
		return
	}
	d, err := decodeDelivery(q, due, id, value)
	if err != nil {
		c.r.problem("delivery %s of queue %s cannot be decoded", id, q)
		return
	}
	if d.Due.After(d.ExpiresAt.Add(1000)) { // a microsecond: Due is rounded up
		c.r.problem("delivery %s is due after its deadline", id)
	}
	var loc locator
	v, ok := c.get(idKey(nil, tabDelivery, id))
	if !ok || loc.decode(v) != nil {
		c.r.problem("delivery %s has a schedule key and no locator", id)
		return
	}
	if loc.due != due || !bytes.Equal(loc.queue, appendQueue(nil, q)) {
		c.r.problem("delivery %s has a schedule key its locator does not name", id)
	}
	flags := value[1]
	if loc.flags != flags || loc.attempts != d.Attempts {
		c.r.problem("delivery %s: record and locator disagree", id)
	}
	if (flags&flagMarked != 0) != (d.Mark != nil) || (flags&flagHeld != 0) != (d.Held != "") {
		c.r.problem("delivery %s: its flags do not tell its state", id)
	}
	if (flags&flagMarked != 0) != c.has(tabMark, id) {
		c.r.problem("delivery %s: its mark and the list of open marks disagree", id)
	}
	accepted, staged := c.stages[d.Message]
	if staged && !accepted {
		return
	}
	c.r.Counts.count(flags, 1)
	if !c.has(tabMessage, d.Message) {
		c.r.problem("delivery %s: its message %s is missing", id, d.Message)
	}
	if _, ok := c.get(memberKey(nil, d.Message, id)); ok == (flags&flagSolo != 0) {
		c.r.problem("delivery %s: its message's list of deliveries is wrong", id)
	}
}

func (c *checker) delivery(key, value []byte) {
	if len(key) != 1+idLen {
		c.r.problem("locator key %x has a wrong length", key)
		return
	}
	id := mail.DeliveryID(key[1:])
	var loc locator
	if loc.decode(value) != nil {
		c.r.problem("locator of delivery %s cannot be decoded", id)
		return
	}
	if _, ok := c.get(appendSchedule(nil, loc.queue, loc.due, id)); !ok {
		c.r.problem("delivery %s has no record", id)
	}
}

func (c *checker) mark(key, _ []byte) {
	if len(key) != 1+idLen || !c.has(tabDelivery, [idLen]byte(key[1:])) {
		c.r.problem("open mark %x of no delivery", key[1:])
	}
}

func (c *checker) member(key, _ []byte) {
	if len(key) != 1+2*idLen || !c.has(tabDelivery, [idLen]byte(key[1+idLen:])) {
		c.r.problem("list of deliveries: %x names none", key[1:])
	}
}

func (c *checker) message(key, value []byte) {
	if len(key) != 1+idLen {
		c.r.problem("message key %x has a wrong length", key)
		return
	}
	id := mail.MessageID(key[1:])
	m, err := decodeMessageRecord(id, value)
	if err != nil {
		c.r.problem("message %s cannot be decoded", id)
		return
	}
	c.r.Counts.Messages++
	if m.Content.External {
		if c.external == nil {
			c.external = make(map[mail.MessageID]*messageRecord)
		}
		c.external[id] = m
	} else if v, ok := c.get(idKey(nil, tabContent, id)); !ok || int64(len(v)) != m.Size {
		c.r.problem("message %s: its content is missing or has another size", id)
	}
	if !m.solo.IsZero() {
		if !c.has(tabDelivery, m.solo) && !c.over(id) {
			c.r.problem("message %s: its only delivery is missing", id)
		}
		return
	}
	n := int64(0)
	prefix := idKey(nil, tabMember, id)
	_ = c.s.scan(context.Background(), prefix, afterKey(prefix), func(_, _ []byte) (bool, error) { n++; return true, nil })
	left := int64(-1)
	if v, ok := c.get(idKey(nil, tabLeft, id)); ok {
		left, _ = counterValue(v)
	}
	if n == 0 && left < 0 && c.over(id) {
		return
	}
	if n == 0 || left != n {
		c.r.problem("message %s has %d deliveries and counts %d", id, n, left)
	}
}

// over reports whether a message stays only because its content must still be archived.
func (c *checker) over(id mail.MessageID) bool {
	v, ok := c.get(idKey(nil, tabOwed, id))
	if !ok {
		return false
	}
	bits, ok := decodeOwed(v)
	return ok && bits&owedOver != 0
}

func (c *checker) owed(key, value []byte) {
	if len(key) != 1+idLen {
		c.r.problem("archive key %x has a wrong length", key)
		return
	}
	id := mail.MessageID(key[1:])
	bits, ok := decodeOwed(value)
	if !ok {
		c.r.problem("the note that message %s is to be archived cannot be decoded", id)
		return
	}
	v, ok := c.get(idKey(nil, tabMessage, id))
	if !ok {
		c.r.problem("message %s is to be archived and missing", id)
		return
	}
	m, err := decodeMessageRecord(id, v)
	if err != nil {
		return // named with the messages
	}
	if m.Content.External != (bits&owedExternal != 0) {
		c.r.problem("message %s: where its content lies and the note for the archive disagree", id)
	}
	_, left := c.get(idKey(nil, tabLeft, id))
	if !m.solo.IsZero() {
		left = c.has(tabDelivery, m.solo)
	}
	if left == (bits&owedOver != 0) {
		c.r.problem("message %s: the note for the archive is wrong about its deliveries", id)
	}
}

func (c *checker) content(key, _ []byte) {
	if len(key) != 1+idLen || !c.has(tabMessage, [idLen]byte(key[1:])) {
		c.r.problem("content %x of no message", key[1:])
	}
}

func (c *checker) left(key, _ []byte) {
	if len(key) != 1+idLen || !c.has(tabMessage, [idLen]byte(key[1:])) && !c.has(tabStage, [idLen]byte(key[1:])) {
		c.r.problem("recipients left of no message: %x", key[1:])
	}
}

func (c *checker) outbox(key, value []byte) {
	if len(key) != 1+8 {
		c.r.problem("event key %x has a wrong length", key)
		return
	}
	seq := binary.BigEndian.Uint64(key[1:])
	if c.events == 0 && seq != c.st.oldest {
		c.r.problem("the outbox begins with event %d, not %d", seq, c.st.oldest)
	}
	if c.events > 0 && seq != c.lastEvent+1 {
		c.r.problem("the outbox misses events %d to %d", c.lastEvent+1, seq-1)
	}
	c.events++
	c.lastEvent = seq
	if _, err := decodeEvent(mail.EventID{}, value); err != nil {
		c.r.problem("event %d cannot be decoded", seq)
	}
}

func (c *checker) pending(key, value []byte) {
	id, n, ok := cutPending(key)
	if !ok {
		c.r.problem("pending event key %x has a wrong length", key)
		return
	}
	if _, ok := c.stages[id]; !ok {
		c.r.problem("pending event %d of message %s, which has no stage", n, id)
	}
	if _, err := decodeEvent(mail.EventID{}, value); err != nil {
		c.r.problem("pending event %d of message %s cannot be decoded", n, id)
	}
}

func (c *checker) inbox(key, value []byte) {
	if len(key) != 1+8 {
		c.r.problem("inbox key %x has a wrong length", key)
		return
	}
	c.r.Counts.Inbox++
	seq := binary.BigEndian.Uint64(key[1:])
	if seq > c.st.inbox {
		c.r.problem("inbox entry %d has a number not given yet", seq)
	}
	if _, err := decodeInbox(seq, value); err != nil {
		c.r.problem("inbox entry %d cannot be decoded", seq)
	}
}

func (c *checker) lane(key, value []byte) {
	c.r.Counts.Lanes++
	if _, err := decodeLane(string(key[1:]), value); err != nil {
		c.r.problem("lane %s cannot be decoded", key[1:])
	}
}

func (c *checker) idem(key, value []byte) {
	if len(key) < 1+4+32 {
		c.r.problem("idempotency key %x has a wrong length", key)
	} else if _, err := decodeIdem("", [32]byte{}, value); err != nil {
		c.r.problem("idempotency record %x cannot be decoded", key)
	}
}

func (c *checker) aside(key, _ []byte) {
	c.r.Counts.Quarantined++
	c.r.problem("a damaged record is in quarantine: key %x", key[1:])
}

// files compares the content folder with the messages.
func (c *checker) files(ctx context.Context) {
	fs := c.s.o.FS
	names, err := fs.List(fs.PathJoin(c.s.o.Dir, contentDir))
	if err != nil {
		c.r.problem("content folder: %v", err)
	}
	for _, name := range names {
		id, ok := contentName(name)
		if ok && c.external[id] == nil && !c.s.contents.pending(id) {
			c.r.problem("content file %s of no message; the next start removes it", name)
		}
	}
	for id, m := range c.external {
		if ctx.Err() != nil {
			return
		}
		b := &fileBody{fs: fs, path: c.s.contentPath(id), size: m.Size, sum: m.checksum}
		r, err := b.Open()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			_ = r.Close()
		}
		if err != nil {
			c.r.problem("message %s: %v", id, err)
		}
	}
}

// sums compares what was seen with what the state record says.
func (c *checker) sums() {
	if c.events > 0 && c.lastEvent != c.st.event {
		c.r.problem("the outbox misses events %d to %d", c.lastEvent+1, c.st.event)
	}
	if c.events == 0 && c.st.oldest != c.st.event+1 {
		c.r.problem("the outbox misses events %d to %d", c.st.oldest, c.st.event)
	}
	c.r.Counts.Outbox = int64(c.events)
	want := c.st.snapshot(int(c.r.Counts.Lanes))
	if c.r.Counts != want {
		c.r.problem("the spool holds %+v, its state record says %+v", c.r.Counts, want)
	}
}
