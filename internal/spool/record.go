package spool

import (
	"encoding/binary"
	"slices"

	"github.com/postroad/postroad/internal/mail"
)

// recordVersion is the first octet of every record.
const recordVersion = 1

// Flags of a delivery, kept in its record and in its locator, so that neither need be decoded to know them.
const (
	flagSolo     = 1 << iota // the only delivery of its message
	flagStaged               // written by Stage
	flagMarked               // an attempt is in flight
	flagHeld                 // kept by a hold
	flagExternal             // the content is in a file
	flagOwed                 // the content was owed to the archive at acceptance
)

// locator says where a delivery's record is and in which state.
type locator struct {
	flags    byte
	due      int64
	attempts int
	queue    []byte // as appendQueue writes it
}

func (l *locator) append(b []byte) []byte {
	b = append(b, recordVersion, l.flags)
	b = appendDue(b, l.due)
	b = binary.AppendUvarint(b, uint64(l.attempts))
	return append(b, l.queue...)
}

// decode reads a locator; its queue is a part of b.
func (l *locator) decode(b []byte) error {
	if len(b) < 10 || b[0] != recordVersion {
		return errBadRecord
	}
	l.flags, l.due = b[1], cutDue(b[2:])
	n, m := binary.Uvarint(b[10:])
	if m <= 0 || n > 1<<31 {
		return errBadRecord
	}
	l.attempts, l.queue = int(n), b[10+m:]
	return nil
}

// Fields of a delivery record. Its id, queue and due time are in its key.
const (
	fDeliveryMessage = iota + 1
	fDeliveryLocal
	fDeliveryDomain // only where it is not the queue's
	fDeliveryCreated
	fDeliveryExpires
	fDeliveryNotify
	fDeliveryORcpt
	fDeliveryData
	fDeliveryAttempts
	fDeliveryHeld
	fDeliveryMark
	fDeliveryCrashes
	fDeliveryLast
	fDeliveryGreylistedBy
	fDeliveryGreylistUntil
	fDeliveryAvoid
	fDeliveryUncertain
)

func appendDelivery(b []byte, flags byte, d *mail.Delivery) []byte {
	b = append(b, recordVersion, flags)
	b = putString(b, fDeliveryMessage, d.Message[:])
	b = putString(b, fDeliveryLocal, d.Recipient.Local)
	if d.Recipient.Domain != d.Queue.Domain {
		b = putElem(b, fDeliveryDomain, d.Recipient.Domain)
	}
	b = putTime(b, fDeliveryCreated, d.CreatedAt)
	b = putTime(b, fDeliveryExpires, d.ExpiresAt)
	b = putUint(b, fDeliveryNotify, uint64(d.Notify))
	b = putString(b, fDeliveryORcpt, d.ORcpt)
	b = putString(b, fDeliveryData, d.Data)
	b = putInt(b, fDeliveryAttempts, int64(d.Attempts))
	b = putString(b, fDeliveryHeld, d.Held)
	if d.Mark != nil {
		var at int
		b, at = openField(b, fDeliveryMark)
		b = closeField(appendMark(b, d.Mark), at)
	}
	b = putInt(b, fDeliveryCrashes, int64(d.Crashes))
	if d.Last != nil {
		var at int
		b, at = openField(b, fDeliveryLast)
		b = closeField(appendLast(b, d.Last), at)
	}
	b = putString(b, fDeliveryGreylistedBy, d.GreylistedBy)
	b = putTime(b, fDeliveryGreylistUntil, d.GreylistUntil)
	b = putString(b, fDeliveryAvoid, d.AvoidSource)
	return putBool(b, fDeliveryUncertain, d.Uncertain)
}

// decodeDelivery reads a delivery record; q, us and id come from its key.
func decodeDelivery(q mail.QueueKey, us int64, id mail.DeliveryID, value []byte) (*mail.Delivery, error) {
	if len(value) < 2 || value[0] != recordVersion {
		return nil, errBadRecord
	}
	d := &mail.Delivery{ID: id, Queue: q, Due: dueTime(us)}
	d.Recipient.Domain = q.Domain
	f := fields{rest: value[2:]}
	for f.next() {
		switch f.field {
		case fDeliveryMessage:
			f.id((*[16]byte)(&d.Message))
		case fDeliveryLocal:
			d.Recipient.Local = f.string()
		case fDeliveryDomain:
			d.Recipient.Domain = f.string()
		case fDeliveryCreated:
			d.CreatedAt = f.time()
		case fDeliveryExpires:
			d.ExpiresAt = f.time()
		case fDeliveryNotify:
			d.Notify = mail.Notify(f.num)
		case fDeliveryORcpt:
			d.ORcpt = f.string()
		case fDeliveryData:
			d.Data = slices.Clone(f.data)
		case fDeliveryAttempts:
			d.Attempts = int(f.int())
		case fDeliveryHeld:
			d.Held = f.string()
		case fDeliveryMark:
			d.Mark = new(mail.Mark)
			decodeMark(&f, d.Mark)
		case fDeliveryCrashes:
			d.Crashes = int(f.int())
		case fDeliveryLast:
			d.Last = new(mail.LastAnswer)
			decodeLast(&f, d.Last)
		case fDeliveryGreylistedBy:
			d.GreylistedBy = f.string()
		case fDeliveryGreylistUntil:
			d.GreylistUntil = f.time()
		case fDeliveryAvoid:
			d.AvoidSource = f.string()
		case fDeliveryUncertain:
			d.Uncertain = f.bool()
		}
	}
	if f.bad || d.Message.IsZero() {
		return nil, errBadRecord
	}
	return d, nil
}

func appendMark(b []byte, m *mail.Mark) []byte {
	b = putInt(b, 1, int64(m.Attempt))
	b = putString(b, 2, m.Route)
	b = putString(b, 3, m.Source)
	return putTime(b, 4, m.At)
}

func decodeMark(outer *fields, m *mail.Mark) {
	f := fields{rest: outer.data}
	for f.next() {
		switch f.field {
		case 1:
			m.Attempt = int(f.int())
		case 2:
			m.Route = f.string()
		case 3:
			m.Source = f.string()
		case 4:
			m.At = f.time()
		}
	}
	outer.bad = outer.bad || f.bad
}

func appendLast(b []byte, l *mail.LastAnswer) []byte {
	b = putTime(b, 1, l.At)
	b = putString(b, 2, l.Result)
	b = putString(b, 3, l.Class)
	b = putString(b, 4, l.Scope)
	b = putString(b, 5, l.Stage)
	b = putString(b, 6, l.Reply)
	return putString(b, 7, l.Host)
}

func decodeLast(outer *fields, l *mail.LastAnswer) {
	f := fields{rest: outer.data}
	for f.next() {
		switch f.field {
		case 1:
			l.At = f.time()
		case 2:
			l.Result = mail.Result(f.data)
		case 3:
			l.Class = mail.Class(f.data)
		case 4:
			l.Scope = mail.Scope(f.data)
		case 5:
			l.Stage = mail.Stage(f.data)
		case 6:
			l.Reply = f.string()
		case 7:
			l.Host = f.string()
		}
	}
	outer.bad = outer.bad || f.bad
}
