package spool

import (
	"bytes"
	"context"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// ScheduleKey orders the deliveries of one queue. The zero key is before all others.
type ScheduleKey struct {
	Due      time.Time
	Delivery mail.DeliveryID
}

// Compare returns -1, 0 or 1 as k is before, equal to or after other.
func (k ScheduleKey) Compare(other ScheduleKey) int {
	if c := k.Due.Compare(other.Due); c != 0 {
		return c
	}
	return bytes.Compare(k.Delivery[:], other.Delivery[:])
}

// KeyOf returns the schedule key of a delivery.
func KeyOf(d *mail.Delivery) ScheduleKey {
	return ScheduleKey{Due: dueTime(dueMicros(d.Due)), Delivery: d.ID}
}

// QueueHead is a queue and its first schedule key.
type QueueHead struct {
	Key   mail.QueueKey
	First ScheduleKey
}

// Queues calls fn for every queue that has a live delivery, in the order of account, stream and domain. It makes one
// seek per queue; it is meant for the start.
func (s *Spool) Queues(ctx context.Context, fn func(QueueHead) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	lower := []byte{tabSchedule}
	for {
		var head QueueHead
		found := false
		err := s.scan(ctx, lower, []byte{tabSchedule + 1}, func(key, value []byte) (bool, error) {
			q, due, id, ok := cutSchedule(key)
			if !ok {
				s.quarantine(key, value, "schedule key")
				return true, nil
			}
			if s.invisible(value) {
				return true, nil
			}
			head = QueueHead{Key: q, First: ScheduleKey{Due: dueTime(due), Delivery: id}}
			found = true
			return false, nil
		})
		if err != nil || !found {
			return err
		}
		if err := fn(head); err != nil {
			return err
		}
		lower = afterKey(queuePrefix(head.Key))
	}
}

// Page returns up to max deliveries of queue q whose schedule key is at or after from and whose due time is not
// after until, in order. next is where the following page starts; more tells whether there is one, and false means
// that nothing due by until was left. A caller that keeps next as its cursor must lower it whenever it commits a
// delivery below it; from the right cursor a page does not touch what was consumed before.
func (s *Spool) Page(ctx context.Context, q mail.QueueKey, from ScheduleKey, until time.Time, max int) (ds []*mail.Delivery,
	next ScheduleKey, more bool, err error,
) {
	if err := s.enter(); err != nil {
		return nil, from, false, err
	}
	defer s.leave()
	prefix := queuePrefix(q)
	lower := scheduleBound(prefix, from)
	// The first instant after until.
	end := until.UnixMicro() + 1
	upper := appendDue(bytes.Clone(prefix), end)
	next = ScheduleKey{Due: dueTime(end)}
	if next.Compare(from) < 0 {
		return nil, from, false, nil
	}
	err = s.scan(ctx, lower, upper, func(key, value []byte) (bool, error) {
		n := len(prefix)
		if len(key) != n+8+idLen {
			s.quarantine(key, value, "schedule key")
			return true, nil
		}
		due, id := cutDue(key[n:]), mail.DeliveryID(key[n+8:])
		if len(ds) >= max {
			if s.invisible(value) {
				return true, nil
			}
			next, more = ScheduleKey{Due: dueTime(due), Delivery: id}, true
			return false, nil
		}
		d, err := s.decode(q, due, id, key, value)
		if err != nil {
			return true, nil // not visible yet, or set aside
		}
		ds = append(ds, d)
		return true, nil
	})
	if err != nil {
		return nil, from, false, err
	}
	return ds, next, more, nil
}

// Head returns the first schedule key of queue q at or after from, and whether there is one.
func (s *Spool) Head(ctx context.Context, q mail.QueueKey, from ScheduleKey) (first ScheduleKey, ok bool, err error) {
	if err := s.enter(); err != nil {
		return first, false, err
	}
	defer s.leave()
	prefix := queuePrefix(q)
	err = s.scan(ctx, scheduleBound(prefix, from), afterKey(prefix), func(key, value []byte) (bool, error) {
		n := len(prefix)
		if len(key) != n+8+idLen || s.invisible(value) {
			return true, nil
		}
		first = ScheduleKey{Due: dueTime(cutDue(key[n:])), Delivery: mail.DeliveryID(key[n+8:])}
		ok = true
		return false, nil
	})
	return first, ok, err
}

func scheduleBound(prefix []byte, from ScheduleKey) []byte {
	b := append(make([]byte, 0, len(prefix)+8+idLen), prefix...)
	if from.Due.IsZero() {
		return b
	}
	return append(appendDue(b, dueMicros(from.Due)), from.Delivery[:]...)
}

// invisible reports whether a record belongs to a stage that is not shown yet.
func (s *Spool) invisible(value []byte) bool {
	if len(value) < 2 || value[1]&flagStaged == 0 {
		return false
	}
	f := fields{rest: value[2:]}
	for f.next() {
		if f.field == fDeliveryMessage && len(f.data) == idLen {
			return s.stages.hidden(mail.MessageID(f.data))
		}
	}
	return false
}
