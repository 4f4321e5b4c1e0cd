package spool

import (
	"fmt"

	"github.com/postroad/postroad/internal/mail"
)

// item is one batch, or one change of the spool's own, on its way into a frame.
type item struct {
	Ticket
	batch  *Batch
	job    func(*frame) error // instead of a batch; must write nothing when it returns an error
	intake bool               // new mail: refused below the disk floor
	size   int                // octets it adds to the frame, roughly

	// enc holds the encoded records of batch, in the order the frame writes them; cuts are their ends. Encoding is
	// done by whoever hands the batch in, so that the committer need not.
	enc  []byte
	cuts []int
	used int
}

// keyOverhead is what keys, locators and tombstones of one record come to, in octets.
const keyOverhead = 128

// usualRecord is what a record and its event usually come to, in octets; an acceptance has three times that.
const usualRecord = 320

// cut ends the record being written.
func (it *item) cut() { it.cuts = append(it.cuts, len(it.enc)) }

// take returns the next record.
func (it *item) take() []byte {
	start := 0
	if it.used > 0 {
		start = it.cuts[it.used-1]
	}
	end := it.cuts[it.used]
	it.used++
	return it.enc[start:end:end]
}

func badBatch(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadBatch, fmt.Sprintf(format, args...))
}

// prepare checks a batch and encodes it.
func (s *Spool) prepare(b *Batch) (*item, error) {
	it := &item{batch: b, intake: len(b.Accept) > 0}
	it.size = keyOverhead * len(b.Archived)
	n := len(b.Accept) + len(b.Mark) + len(b.Settle) + len(b.Reschedule) + len(b.Events) + len(b.Lanes)
	it.enc = make([]byte, 0, n*usualRecord+2*len(b.Accept)*usualRecord)
	for _, a := range b.Accept {
		if err := s.prepareAcceptance(it, a); err != nil {
			return nil, err
		}
	}
	for i := range b.Mark {
		m := &b.Mark[i]
		if m.Delivery == nil || m.Delivery.Mark != nil {
			return nil, badBatch("a mark needs a delivery that is not in flight")
		}
		d := m.Marked()
		if err := checkDelivery(d); err != nil {
			return nil, err
		}
		it.enc = appendDelivery(it.enc, deliveryFlags(d), d)
		it.cut()
	}
	for i := range b.Settle {
		c := &b.Settle[i]
		if err := it.prepareChange(c.Old, c.New, c.Events); err != nil {
			return nil, err
		}
	}
	for i := range b.Reschedule {
		c := &b.Reschedule[i]
		if c.New == nil || c.Old == nil || c.Old.Mark != nil {
			return nil, badBatch("only a delivery that is not in flight can be rescheduled")
		}
		if err := it.prepareChange(c.Old, c.New, c.Events); err != nil {
			return nil, err
		}
	}
	for i := range b.Lanes {
		if b.Lanes[i].Key == "" {
			return nil, badBatch("a lane record has no key")
		}
		it.enc = appendLane(it.enc, &b.Lanes[i])
		it.cut()
	}
	it.events(b.Events)
	it.size += len(it.enc) + keyOverhead*len(it.cuts)
	if it.size > MaxBatch {
		return nil, fmt.Errorf("%w: %d octets", ErrTooLarge, it.size)
	}
	return it, nil
}

func (s *Spool) prepareAcceptance(it *item, a *Acceptance) error {
	m := a.Message
	switch {
	case m == nil || m.ID.IsZero():
		return badBatch("an acceptance has no message")
	case len(a.Deliveries) > MaxStage:
		return fmt.Errorf("%w: %d deliveries in one acceptance, over %d need Stage", ErrTooLarge, len(a.Deliveries), MaxStage)
	case len(a.Body) > s.o.MaxInline:
		return fmt.Errorf("%w: content of %d octets, over %d needs NewContent", ErrTooLarge, len(a.Body), s.o.MaxInline)
	}
	live := len(a.Deliveries)+a.Staged > 0
	var solo mail.DeliveryID
	var flags byte
	if len(a.Deliveries) == 1 && a.Staged == 0 {
		solo, flags = a.Deliveries[0].ID, flagSolo
	}
	if m.Content.External {
		flags |= flagExternal
	}
	if a.Archive {
		flags |= flagOwed
	}
	if live {
		checksum, err := s.checkContent(a)
		if err != nil {
			return err
		}
		it.enc = appendMessageRecord(it.enc, solo, checksum, m)
		it.cut()
		it.size += len(a.Body)
	}
	for _, d := range a.Deliveries {
		if err := checkDelivery(d); err != nil {
			return err
		}
		if d.Message != m.ID || d.Mark != nil {
			return badBatch("delivery %s is not a fresh one of message %s", d.ID, m.ID)
		}
		it.enc = appendDelivery(it.enc, flags|deliveryFlags(d), d)
		it.cut()
	}
	it.events(a.Events)
	if r := a.Idempotency; r != nil {
		it.enc = appendIdem(it.enc, r)
		it.cut()
	}
	return nil
}

// checkContent checks that the content of a live acceptance is where its message says, and returns the checksum of
// content in a file.
func (s *Spool) checkContent(a *Acceptance) (uint32, error) {
	m := a.Message
	if !m.Content.External {
		if a.Body == nil {
			return 0, badBatch("message %s has no content", m.ID)
		}
		if m.Size != int64(len(a.Body)) {
			return 0, badBatch("message %s says %d octets, its content has %d", m.ID, m.Size, len(a.Body))
		}
		return 0, nil
	}
	if a.Body != nil {
		return 0, badBatch("message %s has its content twice", m.ID)
	}
	c, ok := s.contents.finished(m.ID)
	if !ok {
		return 0, badBatch("the content file of message %s was not finished", m.ID)
	}
	if c.size != m.Size {
		return 0, badBatch("message %s says %d octets, its content file has %d", m.ID, m.Size, c.size)
	}
	return c.sum, nil
}

func (it *item) prepareChange(old, new *mail.Delivery, events []*mail.Event) error {
	if old == nil {
		return badBatch("a change has no old record")
	}
	if new != nil {
		if err := checkDelivery(new); err != nil {
			return err
		}
		if new.ID != old.ID || new.Message != old.Message || new.Queue != old.Queue || new.Mark != nil {
			return badBatch("delivery %s cannot change its id, message or queue, nor be marked by a settlement", old.ID)
		}
		it.enc = appendDelivery(it.enc, deliveryFlags(new), new)
		it.cut()
	}
	it.events(events)
	return nil
}

func (it *item) events(events []*mail.Event) {
	for _, e := range events {
		it.enc = appendEvent(it.enc, e)
		it.cut()
	}
}

func checkDelivery(d *mail.Delivery) error {
	switch {
	case d == nil || d.ID.IsZero() || d.Message.IsZero():
		return badBatch("a delivery has no id or no message")
	case d.ExpiresAt.IsZero():
		return badBatch("delivery %s has no deadline", d.ID)
	case d.Due.After(d.ExpiresAt):
		// storage: the schedule key is never later than the deadline, else the delivery would never expire.
		return badBatch("delivery %s is due after its deadline", d.ID)
	}
	return nil
}

func deliveryFlags(d *mail.Delivery) (flags byte) {
	if d.Mark != nil {
		flags |= flagMarked
	}
	if d.Held != "" {
		flags |= flagHeld
	}
	return flags
}
