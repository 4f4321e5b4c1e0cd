package spool

import (
	"encoding/binary"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/postroad/postroad/internal/mail"
)

// formatVersion is the number of the on-disk format, see FORMAT.md.
const formatVersion = 1

// Counts are what the spool holds.
type Counts struct {
	Deliveries  int64 // live, those of unfinished stages not counted
	Held        int64 // of them, kept by a hold
	InFlight    int64 // of them, with an open mark
	Messages    int64
	Outbox      int64 // events not trimmed
	Inbox       int64
	Lanes       int64
	Quarantined int64 // damaged records set aside
}

// state is written with every frame, so that it is right after every crash.
type state struct {
	frame  uint64 // number of the last frame
	event  uint64 // sequence number of the last event
	oldest uint64 // sequence number of the first event not trimmed
	inbox  uint64 // number of the last inbox entry
	newest time.Time
	counts Counts
	id     mail.SpoolID // of the spool, a second time: Salvage finds it here where the other is lost
}

func (st *state) append(b []byte) []byte {
	b = append(b, recordVersion)
	b = putUint(b, 1, st.frame)
	b = putUint(b, 2, st.event)
	b = putUint(b, 3, st.oldest)
	b = putUint(b, 4, st.inbox)
	b = putTime(b, 5, st.newest)
	b = putInt(b, 6, st.counts.Deliveries)
	b = putInt(b, 7, st.counts.Held)
	b = putInt(b, 8, st.counts.InFlight)
	b = putInt(b, 9, st.counts.Messages)
	b = putInt(b, 10, st.counts.Inbox)
	b = putInt(b, 11, st.counts.Quarantined)
	return putUint(b, 12, uint64(st.id))
}

func (st *state) decode(b []byte) error {
	if len(b) < 1 || b[0] != recordVersion {
		return errBadRecord
	}
	*st = state{oldest: 1}
	f := fields{rest: b[1:]}
	for f.next() {
		switch f.field {
		case 1:
			st.frame = f.num
		case 2:
			st.event = f.num
		case 3:
			st.oldest = f.num
		case 4:
			st.inbox = f.num
		case 5:
			st.newest = f.time()
		case 6:
			st.counts.Deliveries = f.int()
		case 7:
			st.counts.Held = f.int()
		case 8:
			st.counts.InFlight = f.int()
		case 9:
			st.counts.Messages = f.int()
		case 10:
			st.counts.Inbox = f.int()
		case 11:
			st.counts.Quarantined = f.int()
		case 12:
			st.id = mail.SpoolID(f.num)
		}
	}
	return f.err()
}

// snapshot returns the counts as readers see them.
func (st *state) snapshot(lanes int) Counts {
	c := st.counts
	c.Outbox = int64(st.event - st.oldest + 1)
	c.Lanes = int64(lanes)
	return c
}

// count adds n to the counters a delivery with these flags belongs to.
func (c *Counts) count(flags byte, n int64) {
	c.Deliveries += n
	if flags&flagHeld != 0 {
		c.Held += n
	}
	if flags&flagMarked != 0 {
		c.InFlight += n
	}
}

// setIdentity puts into b what a spool is, which is written once, and where it stands.
func setIdentity(b *pebble.Batch, st *state) {
	_ = b.Set(keyID, binary.BigEndian.AppendUint32(nil, uint32(st.id)), nil)
	_ = b.Set(keyFormat, binary.BigEndian.AppendUint32(nil, formatVersion), nil)
	_ = b.Set(keyState, st.append(nil), nil)
}

func readUint32(db pebble.Reader, key []byte) (uint32, error) {
	v, closer, err := db.Get(key)
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	if len(v) != 4 {
		return 0, errBadRecord
	}
	return binary.BigEndian.Uint32(v), nil
}
