package spool

import (
	"context"
	"encoding/binary"

	"github.com/postroad/postroad/internal/mail"
)

// ReadOutbox returns up to max events with a sequence number greater than after, in order: durable ones only, and
// only those not trimmed. A damaged event goes to quarantine and leaves a gap.
func (s *Spool) ReadOutbox(ctx context.Context, after uint64, max int) ([]*mail.Event, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	oldest, newest := s.OutboxRange()
	from := oldest
	if after >= from {
		from = after + 1
	}
	if from > newest || max <= 0 {
		return nil, nil
	}
	var events []*mail.Event
	err := s.scan(ctx, seqKey(nil, tabOutbox, from), seqKey(nil, tabOutbox, newest+1), func(key, value []byte) (bool, error) {
		if len(key) != 1+8 {
			return true, nil
		}
		seq := binary.BigEndian.Uint64(key[1:])
		e, err := decodeEvent(mail.EventID{Spool: s.id, Seq: seq}, value)
		if err != nil {
			s.quarantine(key, value, "event "+mail.EventID{Spool: s.id, Seq: seq}.String())
			return true, nil
		}
		events = append(events, e)
		return len(events) < max, nil
	})
	return events, err
}

// OutboxRange returns the sequence numbers of the oldest and newest durable event; oldest is newest+1 when there is
// none.
func (s *Spool) OutboxRange() (oldest, newest uint64) {
	s.seen.Lock()
	defer s.seen.Unlock()
	return s.seen.st.oldest, s.seen.st.event
}

// NewestEvent returns the sequence number of the newest event whose effects a reader may see. A frame shows before it is
// durable: a delivery that is over is gone while its event is not in OutboxRange yet. Who finds something gone, and looks
// for what became of it in the record, waits for the record up to here.
func (s *Spool) NewestEvent() uint64 {
	s.seen.Lock()
	defer s.seen.Unlock()
	return s.seen.shown
}

// TrimOutbox removes the events up to and including upto. It is one range deletion, best done for many events at
// once.
func (s *Spool) TrimOutbox(ctx context.Context, upto uint64) error {
	return s.do(ctx, &item{size: keyOverhead, job: func(f *frame) error {
		// Never an event that is not durable yet: nobody can have read it.
		_, newest := s.OutboxRange()
		upto := min(upto, newest)
		if upto < f.st.oldest {
			return nil
		}
		f.deleteRange(seqKey(nil, tabOutbox, f.st.oldest), seqKey(nil, tabOutbox, upto+1))
		f.st.oldest = upto + 1
		return nil
	}})
}
