package spool

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/postroad/postroad/internal/mail"
)

// OpenMarks calls fn for every delivery whose mark was open when the spool was opened and has not been settled
// since: the attempt's outcome is unknown. Crashes says at how many starts in a row that was so, this one included;
// the settlement decides whether it stays. From the third on the delivery is better set aside (held, with an alert)
// than tried again.
func (s *Spool) OpenMarks(_ context.Context, fn func(*mail.Delivery) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	for _, id := range s.openMarks() {
		d, err := s.delivery(id)
		if errors.Is(err, ErrNotFound) || errors.Is(err, errBadRecord) {
			continue
		}
		if err != nil {
			return err
		}
		if d.Mark == nil {
			continue
		}
		if err := fn(d); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) openMarks() []mail.DeliveryID {
	s.seen.Lock()
	defer s.seen.Unlock()
	return slices.SortedFunc(maps.Keys(s.seen.marks), func(a, b mail.DeliveryID) int { return slices.Compare(a[:], b[:]) })
}

// countCrashes adds one to Crashes of every delivery with an open mark.
func (s *Spool) countCrashes(ctx context.Context) error {
	for part := range slices.Chunk(s.openMarks(), MaxStage) {
		err := s.do(ctx, &item{size: len(part) * 512, job: func(f *frame) error {
			for _, id := range part {
				loc, err := f.locate(id)
				if errors.Is(err, ErrNotFound) {
					f.closeMark(id) // its record is in quarantine or gone
					continue
				}
				if err != nil {
					return err
				}
				d, err := s.record(loc, id)
				if err != nil {
					continue
				}
				d.Crashes++
				// The same key is set again: the old value must go first, see single.
				f.key = appendSchedule(f.key[:0], loc.queue, loc.due, id)
				f.single(f.key)
				f.put(id, loc, appendDelivery(nil, loc.flags, d))
			}
			return nil
		}})
		if err != nil {
			return err
		}
	}
	return nil
}
