package spool

import (
	"encoding/binary"
	"slices"
	"time"

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
)

// Flags of a message record.
const (
	messageSolo = 1 << iota // one delivery, whose id follows
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

// Fields of a message.
const (
	fMessageAccount = iota + 1
	fMessageCredential
	fMessageStream
	fMessageFromLocal
	fMessageFromDomain
	fMessageAccepted
	fMessageSendAt
	fMessageExpires
	fMessageHeaderFrom
	fMessageSubject
	fMessageRFC822ID
	fMessageTag
	fMessageMetaKey // followed by its fMessageMetaValue
	fMessageMetaValue
	fMessageSize
	fMessageRecipients
	fMessageEightBit
	fMessageUTF8
	fMessageRequireTLS
	fMessageVerified
	fMessageEnvID
	fMessageRet
	fMessageKind
	fMessageBodyOffset
	fMessageBodyHash
	fMessageExternal
	fMessageID // only where the key does not say it
	fMessageChecksum
)

// messageRecord is a message and what only the spool knows of it.
type messageRecord struct {
	mail.Message
	solo     mail.DeliveryID // its only delivery; zero where there were more
	checksum uint32          // CRC-32C of external content
}

func appendMessageRecord(b []byte, solo mail.DeliveryID, checksum uint32, m *mail.Message) []byte {
	if solo.IsZero() {
		b = append(b, recordVersion, 0)
	} else {
		b = append(append(b, recordVersion, messageSolo), solo[:]...)
	}
	b = putUint(b, fMessageChecksum, uint64(checksum))
	return appendMessage(b, m)
}

func decodeMessageRecord(id mail.MessageID, value []byte) (*messageRecord, error) {
	if len(value) < 2 || value[0] != recordVersion {
		return nil, errBadRecord
	}
	r := new(messageRecord)
	rest := value[2:]
	if value[1]&messageSolo != 0 {
		if len(rest) < idLen {
			return nil, errBadRecord
		}
		copy(r.solo[:], rest)
		rest = rest[idLen:]
	}
	f := fields{rest: rest}
	decodeMessage(&f, &r.Message, &r.checksum)
	if f.bad {
		return nil, errBadRecord
	}
	r.ID = id
	return r, nil
}

// appendMessage writes all fields but the id.
func appendMessage(b []byte, m *mail.Message) []byte {
	b = putString(b, fMessageAccount, m.Account)
	b = putString(b, fMessageCredential, m.Credential)
	b = putString(b, fMessageStream, m.Stream)
	b = putString(b, fMessageFromLocal, m.From.Local)
	b = putString(b, fMessageFromDomain, m.From.Domain)
	b = putTime(b, fMessageAccepted, m.AcceptedAt)
	b = putTime(b, fMessageSendAt, m.SendAt)
	b = putTime(b, fMessageExpires, m.ExpiresAt)
	b = putString(b, fMessageHeaderFrom, m.HeaderFrom)
	b = putString(b, fMessageSubject, m.Subject)
	b = putString(b, fMessageRFC822ID, m.RFC822ID)
	for _, tag := range m.Tags {
		b = putElem(b, fMessageTag, tag)
	}
	b = appendMap(b, fMessageMetaKey, fMessageMetaValue, m.Metadata)
	b = putInt(b, fMessageSize, m.Size)
	b = putInt(b, fMessageRecipients, int64(m.Recipients))
	b = putBool(b, fMessageEightBit, m.EightBit)
	b = putBool(b, fMessageUTF8, m.UTF8)
	b = putBool(b, fMessageRequireTLS, m.RequireTLS)
	b = putBool(b, fMessageVerified, m.Verified)
	b = putString(b, fMessageEnvID, m.EnvID)
	b = putString(b, fMessageRet, m.Ret)
	b = putString(b, fMessageKind, m.Content.Kind)
	b = putInt(b, fMessageBodyOffset, m.Content.BodyOffset)
	if m.Content.BodyHash != [32]byte{} {
		b = putElem(b, fMessageBodyHash, m.Content.BodyHash[:])
	}
	return putBool(b, fMessageExternal, m.Content.External)
}

func decodeMessage(f *fields, m *mail.Message, checksum *uint32) {
	var metaKey string
	for f.next() {
		switch f.field {
		case fMessageAccount:
			m.Account = f.string()
		case fMessageCredential:
			m.Credential = f.string()
		case fMessageStream:
			m.Stream = mail.Stream(f.data)
		case fMessageFromLocal:
			m.From.Local = f.string()
		case fMessageFromDomain:
			m.From.Domain = f.string()
		case fMessageAccepted:
			m.AcceptedAt = f.time()
		case fMessageSendAt:
			m.SendAt = f.time()
		case fMessageExpires:
			m.ExpiresAt = f.time()
		case fMessageHeaderFrom:
			m.HeaderFrom = f.string()
		case fMessageSubject:
			m.Subject = f.string()
		case fMessageRFC822ID:
			m.RFC822ID = f.string()
		case fMessageTag:
			m.Tags = append(m.Tags, f.string())
		case fMessageMetaKey:
			metaKey = f.string()
		case fMessageMetaValue:
			setMap(&m.Metadata, metaKey, f.string())
		case fMessageSize:
			m.Size = f.int()
		case fMessageRecipients:
			m.Recipients = int(f.int())
		case fMessageEightBit:
			m.EightBit = f.bool()
		case fMessageUTF8:
			m.UTF8 = f.bool()
		case fMessageRequireTLS:
			m.RequireTLS = f.bool()
		case fMessageVerified:
			m.Verified = f.bool()
		case fMessageEnvID:
			m.EnvID = f.string()
		case fMessageRet:
			m.Ret = f.string()
		case fMessageKind:
			m.Content.Kind = mail.ContentKind(f.data)
		case fMessageBodyOffset:
			m.Content.BodyOffset = f.int()
		case fMessageBodyHash:
			f.hash(&m.Content.BodyHash)
		case fMessageExternal:
			m.Content.External = f.bool()
		case fMessageID:
			f.id((*[16]byte)(&m.ID))
		case fMessageChecksum:
			*checksum = uint32(f.num)
		}
	}
}

func appendMap(b []byte, keyField, valueField int, m map[string]string) []byte {
	if len(m) == 0 {
		return b
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys) // the same record for the same map
	for _, k := range keys {
		b = putElem(b, keyField, k)
		b = putElem(b, valueField, m[k])
	}
	return b
}

func setMap(m *map[string]string, k, v string) {
	if *m == nil {
		*m = make(map[string]string)
	}
	(*m)[k] = v
}

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
	return b
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
	return putString(b, 19, a.Transcript)
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
		}
	}
	outer.bad = outer.bad || f.bad
}

// appendLane writes a lane record; its Key is in its key.
func appendLane(b []byte, l *LaneRecord) []byte {
	b = append(b, recordVersion)
	b = putString(b, 1, l.Lane.Route)
	b = putString(b, 2, l.Lane.Source)
	b = putString(b, 3, l.Lane.Receiver)
	b = putString(b, 4, l.Lane.Site)
	b = putString(b, 5, l.Scope)
	b = putTime(b, 6, l.Since)
	b = putTime(b, 7, l.Until)
	b = putInt(b, 8, int64(l.Fails))
	b, at := openField(b, 9)
	return closeField(appendLast(b, &l.Last), at)
}

func decodeLane(key string, value []byte) (l LaneRecord, err error) {
	if len(value) < 1 || value[0] != recordVersion {
		return l, errBadRecord
	}
	l.Key = key
	f := fields{rest: value[1:]}
	for f.next() {
		switch f.field {
		case 1:
			l.Lane.Route = f.string()
		case 2:
			l.Lane.Source = f.string()
		case 3:
			l.Lane.Receiver = f.string()
		case 4:
			l.Lane.Site = f.string()
		case 5:
			l.Scope = mail.Scope(f.data)
		case 6:
			l.Since = f.time()
		case 7:
			l.Until = f.time()
		case 8:
			l.Fails = int(f.int())
		case 9:
			decodeLast(&f, &l.Last)
		}
	}
	return l, f.err()
}

// appendInbox writes an inbox entry; its Seq is in its key.
func appendInbox(b []byte, e *InboxEntry) []byte {
	b = append(b, recordVersion)
	b = putString(b, 1, e.Kind)
	b = putTime(b, 2, e.Received)
	b = appendMap(b, 3, 4, e.Meta)
	return putString(b, 5, e.Raw)
}

func decodeInbox(seq uint64, value []byte) (e InboxEntry, err error) {
	if len(value) < 1 || value[0] != recordVersion {
		return e, errBadRecord
	}
	e.Seq = seq
	var key string
	f := fields{rest: value[1:]}
	for f.next() {
		switch f.field {
		case 1:
			e.Kind = f.string()
		case 2:
			e.Received = f.time()
		case 3:
			key = f.string()
		case 4:
			setMap(&e.Meta, key, f.string())
		case 5:
			e.Raw = slices.Clone(f.data)
		}
	}
	return e, f.err()
}

// appendIdem writes an idempotency record; account and key hash are in its key.
func appendIdem(b []byte, r *IdempotencyRecord) []byte {
	b = append(b, recordVersion)
	b = putElem(b, 1, r.BodyHash[:])
	b = putTime(b, 2, r.At)
	return putString(b, 3, r.Response)
}

func decodeIdem(account string, keyHash [32]byte, value []byte) (*IdempotencyRecord, error) {
	if len(value) < 1 || value[0] != recordVersion {
		return nil, errBadRecord
	}
	r := &IdempotencyRecord{Account: account, KeyHash: keyHash}
	f := fields{rest: value[1:]}
	for f.next() {
		switch f.field {
		case 1:
			f.hash(&r.BodyHash)
		case 2:
			r.At = f.time()
		case 3:
			r.Response = slices.Clone(f.data)
		}
	}
	if f.bad {
		return nil, errBadRecord
	}
	return r, nil
}
