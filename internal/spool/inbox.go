package spool

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// InboxEntry is one report as it came in, kept until its events are written.
type InboxEntry struct {
	Seq      uint64 // its number, given by the spool
	Kind     string // by what door it came
	Received time.Time
	Meta     map[string]string
	Raw      []byte
}

// PutInbox stores a report; it is durable when PutInbox returns nil. It returns ErrDiskFull, ErrTooLarge, ErrClosed
// or ErrFailed.
func (s *Spool) PutInbox(ctx context.Context, e InboxEntry) (seq uint64, err error) {
	value := appendInbox(make([]byte, 0, len(e.Raw)+256), &e)
	if len(value) > MaxBatch {
		return 0, fmt.Errorf("%w: a report of %d octets", ErrTooLarge, len(e.Raw))
	}
	err = s.do(ctx, &item{size: len(value) + keyOverhead, job: func(f *frame) error {
		if f.lowSpace() {
			return ErrDiskFull
		}
		f.st.inbox++
		seq = f.st.inbox
		f.set(seqKey(nil, tabInbox, seq), value)
		f.st.counts.Inbox++
		return nil
	}})
	if err != nil {
		return 0, err
	}
	return seq, nil
}

// ReadInbox returns up to max entries with a number greater than after, oldest first. A Batch whose InboxDone names
// an entry removes it.
func (s *Spool) ReadInbox(ctx context.Context, after uint64, max int) ([]InboxEntry, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if max <= 0 || after == 1<<64-1 {
		return nil, nil
	}
	var list []InboxEntry
	err := s.scan(ctx, seqKey(nil, tabInbox, after+1), []byte{tabInbox + 1}, func(key, value []byte) (bool, error) {
		if len(key) != 1+8 {
			return true, nil
		}
		seq := binary.BigEndian.Uint64(key[1:])
		e, err := decodeInbox(seq, value)
		if err != nil {
			s.quarantine(key, value, fmt.Sprintf("inbox entry %d", seq))
			return true, nil
		}
		list = append(list, e)
		return len(list) < max, nil
	})
	return list, err
}
