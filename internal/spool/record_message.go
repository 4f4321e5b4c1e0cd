package spool

import (
	"slices"

	"github.com/postroad/postroad/internal/mail"
)

// Flags of a message record.
const (
	messageSolo = 1 << iota // one delivery, whose id follows
)

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
	fMessageResentOf
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
	if !m.ResentOf.IsZero() {
		b = putElem(b, fMessageResentOf, m.ResentOf[:])
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
		case fMessageResentOf:
			f.id((*[16]byte)(&m.ResentOf))
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
