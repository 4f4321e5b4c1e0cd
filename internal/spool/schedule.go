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

// QueueHead is a queue and its first schedule key.
type QueueHead struct {
	Key   mail.QueueKey
	First ScheduleKey
}

func (s *Spool) Queues(ctx context.Context, fn func(QueueHead) error) error { panic("stub") }
func (s *Spool) Page(ctx context.Context, q mail.QueueKey, from ScheduleKey, until time.Time, max int) (ds []*mail.Delivery, next ScheduleKey, more bool, err error) {
	panic("stub")
}
func (s *Spool) Head(ctx context.Context, q mail.QueueKey, from ScheduleKey) (ScheduleKey, bool, error) {
	panic("stub")
}
