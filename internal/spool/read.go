package spool

import (
	"bytes"
	"context"
	"errors"

	"github.com/postroad/postroad/internal/mail"
)

// Message returns a live message. It returns ErrNotFound once all its deliveries are over.
func (s *Spool) Message(_ context.Context, id mail.MessageID) (*mail.Message, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	m, err := s.message(id)
	if err != nil {
		return nil, err
	}
	return &m.Message, nil
}

func (s *Spool) message(id mail.MessageID) (*messageRecord, error) {
	key := idKey(nil, tabMessage, id)
	v, closer, err := s.db.Get(key)
	if err != nil {
		return nil, s.readError(err)
	}
	defer closer.Close()
	m, err := decodeMessageRecord(id, v)
	if err != nil {
		s.quarantine(key, v, "message "+id.String())
		return nil, err
	}
	return m, nil
}

// Delivery returns a live delivery, or ErrNotFound.
func (s *Spool) Delivery(_ context.Context, id mail.DeliveryID) (*mail.Delivery, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	return s.delivery(id)
}

func (s *Spool) delivery(id mail.DeliveryID) (*mail.Delivery, error) {
	// Locator and record are two reads; a frame between them moves the record, and the next try finds it.
	for {
		key := idKey(nil, tabDelivery, id)
		loc, err := s.locator(key)
		if err != nil {
			return nil, err
		}
		d, err := s.record(loc, id)
		if !errors.Is(err, ErrNotFound) {
			return d, err
		}
		if again, err := s.locator(key); err != nil || again.due == loc.due {
			return nil, ErrNotFound
		}
	}
}

// record returns the delivery a locator points to. It returns ErrNotFound when it has moved, or cannot be seen yet.
func (s *Spool) record(loc locator, id mail.DeliveryID) (*mail.Delivery, error) {
	key := appendSchedule(nil, loc.queue, loc.due, id)
	v, closer, err := s.db.Get(key)
	if err != nil {
		return nil, s.readError(err)
	}
	defer closer.Close()
	q, rest, ok := cutQueue(loc.queue)
	if !ok || len(rest) != 0 {
		return nil, errBadRecord
	}
	return s.decode(q, loc.due, id, key, v)
}

// decode reads a record that can be seen; a damaged one goes to quarantine.
func (s *Spool) decode(q mail.QueueKey, due int64, id mail.DeliveryID, key, value []byte) (*mail.Delivery, error) {
	d, err := decodeDelivery(q, due, id, value)
	if err != nil {
		s.quarantine(key, value, "delivery "+id.String())
		return nil, err
	}
	if value[1]&flagStaged != 0 && s.stages.hidden(d.Message) {
		return nil, ErrNotFound
	}
	return d, nil
}

// Deliveries returns up to max live deliveries of a message with an id greater than after, in the order of their
// ids.
func (s *Spool) Deliveries(ctx context.Context, id mail.MessageID, after mail.DeliveryID, max int) ([]*mail.Delivery, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	m, err := s.message(id)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ids := []mail.DeliveryID{m.solo}
	if m.solo.IsZero() {
		if ids, err = s.members(ctx, id, after, max); err != nil {
			return nil, err
		}
	} else if bytes.Compare(m.solo[:], after[:]) <= 0 {
		return nil, nil
	}
	ds := make([]*mail.Delivery, 0, len(ids))
	for _, d := range ids {
		rec, err := s.delivery(d)
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, errBadRecord):
			// Over since, or set aside.
		case err != nil:
			return nil, err
		default:
			ds = append(ds, rec)
		}
	}
	return ds, nil
}

// members returns up to max deliveries of a message with an id greater than after.
func (s *Spool) members(ctx context.Context, id mail.MessageID, after mail.DeliveryID, max int) ([]mail.DeliveryID, error) {
	if max <= 0 {
		return nil, nil
	}
	var ids []mail.DeliveryID
	lower := append(memberKey(nil, id, after), 0)
	err := s.scan(ctx, lower, afterKey(idKey(nil, tabMember, id)), func(key, _ []byte) (bool, error) {
		var d mail.DeliveryID
		copy(d[:], key[1+idLen:])
		ids = append(ids, d)
		return len(ids) < max, nil
	})
	return ids, err
}

// All calls fn for every live delivery, queue by queue, as they were at one moment.
func (s *Spool) All(ctx context.Context, fn func(*mail.Delivery) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	var q mail.QueueKey
	var raw []byte
	return s.scan(ctx, []byte{tabSchedule}, []byte{tabSchedule + 1}, func(key, value []byte) (bool, error) {
		n := len(key) - 8 - idLen
		if n < 1 {
			s.quarantine(key, value, "schedule key")
			return true, nil
		}
		if !bytes.Equal(raw, key[:n]) {
			var ok bool
			if q, _, _, ok = cutSchedule(key); !ok {
				s.quarantine(key, value, "schedule key")
				return true, nil
			}
			raw = append(raw[:0], key[:n]...)
		}
		d, err := s.decode(q, cutDue(key[n:]), mail.DeliveryID(key[n+8:]), key, value)
		if err != nil {
			return true, nil // not visible yet, or set aside
		}
		return true, fn(d)
	})
}

// Lanes returns the back-off records of all lanes.
func (s *Spool) Lanes(ctx context.Context) ([]LaneRecord, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	var lanes []LaneRecord
	err := s.scan(ctx, []byte{tabLane}, []byte{tabLane + 1}, func(key, value []byte) (bool, error) {
		l, err := decodeLane(string(key[1:]), value)
		if err != nil {
			s.quarantine(key, value, "lane "+string(key[1:]))
			return true, nil
		}
		lanes = append(lanes, l)
		return true, nil
	})
	return lanes, err
}
