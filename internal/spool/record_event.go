package spool

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Fields of an event. Its id is in its key.
const (
	fEventType = iota + 1
	fEventAt
	fEventAccount
	fEventStream
	fEventMessage
	fEventDelivery
	fEventRecipient
	fEventClass
	fEventScope
	fEventAction
	fEventRule
	fEventLate
	fEventNext
	fEventReason
	fEventAttempt
	fEventEnvelope
	fEventReport
	fEventNotify
	fEventORcpt
)

func appendEvent(b []byte, e *mail.Event) []byte {
	b = append(b, recordVersion)
	b = putString(b, fEventType, e.Type)
	b = putTime(b, fEventAt, e.At)
	b = putString(b, fEventAccount, e.Account)
	b = putString(b, fEventStream, e.Stream)
	if !e.Message.IsZero() {
		b = putElem(b, fEventMessage, e.Message[:])
	}
	if !e.Delivery.IsZero() {
		b = putElem(b, fEventDelivery, e.Delivery[:])
	}
	b = putString(b, fEventRecipient, e.Recipient)
	b = putString(b, fEventClass, e.Class)
	b = putString(b, fEventScope, e.Scope)
	b = putString(b, fEventAction, e.Action)
	b = putString(b, fEventRule, e.Rule)
	b = putBool(b, fEventLate, e.Late)
	b = putTime(b, fEventNext, e.Next)
	b = putString(b, fEventReason, e.Reason)
	var at int
	if e.Attempt != nil {
		b, at = openField(b, fEventAttempt)
		b = closeField(appendAttempt(b, e.Attempt), at)
	}
	if e.Envelope != nil {
		b, at = openField(b, fEventEnvelope)
		if !e.Envelope.ID.IsZero() {
			b = putElem(b, fMessageID, e.Envelope.ID[:])
		}
		b = closeField(appendMessage(b, e.Envelope), at)
	}
	if e.Report != nil {
		b, at = openField(b, fEventReport)
		b = closeField(appendReport(b, e.Report), at)
	}
	b = putUint(b, fEventNotify, uint64(e.Notify))
	return putString(b, fEventORcpt, e.ORcpt)
}

func decodeEvent(id mail.EventID, value []byte) (*mail.Event, error) {
	if len(value) < 1 || value[0] != recordVersion {
		return nil, errBadRecord
	}
	e := &mail.Event{ID: id}
	f := fields{rest: value[1:]}
	for f.next() {
		switch f.field {
		case fEventType:
			e.Type = mail.EventType(f.data)
		case fEventAt:
			e.At = f.time()
		case fEventAccount:
			e.Account = f.string()
		case fEventStream:
			e.Stream = mail.Stream(f.data)
		case fEventMessage:
			f.id((*[16]byte)(&e.Message))
		case fEventDelivery:
			f.id((*[16]byte)(&e.Delivery))
		case fEventRecipient:
			e.Recipient = f.string()
		case fEventClass:
			e.Class = mail.Class(f.data)
		case fEventScope:
			e.Scope = mail.Scope(f.data)
		case fEventAction:
			e.Action = mail.Action(f.data)
		case fEventRule:
			e.Rule = f.string()
		case fEventLate:
			e.Late = f.bool()
		case fEventNext:
			e.Next = f.time()
		case fEventReason:
			e.Reason = f.string()
		case fEventAttempt:
			e.Attempt = new(mail.Attempt)
			decodeAttempt(&f, e.Attempt)
		case fEventEnvelope:
			e.Envelope = new(mail.Message)
			var checksum uint32
			inner := fields{rest: f.data}
			decodeMessage(&inner, e.Envelope, &checksum)
			f.bad = f.bad || inner.bad
		case fEventReport:
			e.Report = new(mail.Report)
			decodeReport(&f, e.Report)
		case fEventNotify:
			e.Notify = mail.Notify(f.num)
		case fEventORcpt:
			e.ORcpt = f.string()
		}
	}
	if f.bad {
		return nil, errBadRecord
	}
	return e, nil
}

func appendAttempt(b []byte, a *mail.Attempt) []byte {
	b = putInt(b, 1, int64(a.N))
	b = putTime(b, 2, a.At)
	b = putString(b, 3, a.Route)
	b = putString(b, 4, a.Kind)
	b = putString(b, 5, a.Source)
	b = putString(b, 6, a.Lane)
	b = putString(b, 7, a.Host)
	b = putString(b, 8, a.IP)
	b = putString(b, 9, a.TLS)
	b = putString(b, 10, a.TLSNote)
	b = putString(b, 11, a.Stage)
	b = putInt(b, 12, int64(a.Code))
	b = putString(b, 13, a.Enhanced)
	b = putString(b, 14, a.Reply)
	b = putBool(b, 15, a.Uncertain)
	b = putInt(b, 16, int64(a.Waiting))
	b = putInt(b, 17, int64(a.Connect))
	b = putInt(b, 18, int64(a.Sending))
	b = putString(b, 19, a.Transcript)
	return putBool(b, 20, a.DSN)
}

func decodeAttempt(outer *fields, a *mail.Attempt) {
	f := fields{rest: outer.data}
	for f.next() {
		switch f.field {
		case 1:
			a.N = int(f.int())
		case 2:
			a.At = f.time()
		case 3:
			a.Route = f.string()
		case 4:
			a.Kind = mail.RouteKind(f.data)
		case 5:
			a.Source = f.string()
		case 6:
			a.Lane = f.string()
		case 7:
			a.Host = f.string()
		case 8:
			a.IP = f.string()
		case 9:
			a.TLS = f.string()
		case 10:
			a.TLSNote = f.string()
		case 11:
			a.Stage = mail.Stage(f.data)
		case 12:
			a.Code = int(f.int())
		case 13:
			a.Enhanced = f.string()
		case 14:
			a.Reply = f.string()
		case 15:
			a.Uncertain = f.bool()
		case 16:
			a.Waiting = time.Duration(f.int())
		case 17:
			a.Connect = time.Duration(f.int())
		case 18:
			a.Sending = time.Duration(f.int())
		case 19:
			a.Transcript = f.string()
		case 20:
			a.DSN = f.bool()
		}
	}
	outer.bad = outer.bad || f.bad
}

func appendReport(b []byte, r *mail.Report) []byte {
	if !r.ID.IsZero() {
		b = putElem(b, 1, r.ID[:])
	}
	b = putString(b, 2, r.Door)
	b = putString(b, 3, r.Kind)
	b = putString(b, 4, r.Evidence)
	b = putString(b, 5, r.MTA)
	return putString(b, 6, r.Feedback)
}

func decodeReport(outer *fields, r *mail.Report) {
	f := fields{rest: outer.data}
	for f.next() {
		switch f.field {
		case 1:
			f.id((*[16]byte)(&r.ID))
		case 2:
			r.Door = f.string()
		case 3:
			r.Kind = f.string()
		case 4:
			r.Evidence = mail.Evidence(f.data)
		case 5:
			r.MTA = f.string()
		case 6:
			r.Feedback = f.string()
		}
	}
	outer.bad = outer.bad || f.bad
}
