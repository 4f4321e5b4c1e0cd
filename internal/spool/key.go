package spool

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// The tables. A key is its table's letter and what FORMAT.md says.
const (
	tabMeta       = 'A'
	tabContent    = 'C'
	tabDelivery   = 'D' // where a delivery's record is
	tabStage      = 'G'
	tabIdem       = 'I'
	tabMark       = 'K'
	tabLane       = 'L'
	tabMessage    = 'M'
	tabInbox      = 'N'
	tabOutbox     = 'O'
	tabOwed       = 'V' // content that must be archived before it goes
	tabPending    = 'P' // events of a staged acceptance
	tabQuarantine = 'Q'
	tabLeft       = 'R' // recipients left
	tabSchedule   = 'S' // the delivery records themselves
	tabMember     = 'X' // the deliveries of a message of several
)

const idLen = 16

var (
	keyID     = []byte{tabMeta, 'i', 'd'}
	keyFormat = []byte{tabMeta, 'f', 'o', 'r', 'm', 'a', 't'}
	keyState  = []byte{tabMeta, 's', 't', 'a', 't', 'e'}
)

// appendPart appends a text so that parts keep their order and none is a prefix of another: 00 becomes 00 FF, and
// 00 01 ends it.
func appendPart(b []byte, s string) []byte {
	for i := range len(s) {
		b = append(b, s[i])
		if s[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 1)
}

func cutPart(b []byte) (s string, rest []byte, ok bool) {
	end := bytes.IndexByte(b, 0)
	if end < 0 || end+1 >= len(b) {
		return "", nil, false
	}
	if b[end+1] == 1 {
		return string(b[:end]), b[end+2:], true
	}
	var text []byte
	for {
		if end+1 >= len(b) || b[end+1] != 0xff && b[end+1] != 1 {
			return "", nil, false
		}
		text = append(text, b[:end]...)
		if b[end+1] == 1 {
			return string(text), b[end+2:], true
		}
		text, b = append(text, 0), b[end+2:]
		if end = bytes.IndexByte(b, 0); end < 0 {
			return "", nil, false
		}
	}
}

func appendQueue(b []byte, q mail.QueueKey) []byte {
	return appendPart(appendPart(appendPart(b, q.Account), string(q.Stream)), q.Domain)
}

func cutQueue(b []byte) (q mail.QueueKey, rest []byte, ok bool) {
	if q.Account, b, ok = cutPart(b); !ok {
		return q, nil, false
	}
	var stream string
	if stream, b, ok = cutPart(b); !ok {
		return q, nil, false
	}
	q.Stream = mail.Stream(stream)
	q.Domain, b, ok = cutPart(b)
	return q, b, ok
}

// dueMicros is due in microseconds, rounded up: a delivery is never due early.
func dueMicros(due time.Time) int64 {
	us := due.UnixMicro()
	if due.Nanosecond()%1000 != 0 {
		us++
	}
	return us
}

func appendDue(b []byte, us int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(us)^1<<63) }

func cutDue(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) ^ 1<<63) }

func dueTime(us int64) time.Time { return time.UnixMicro(us).UTC() }

// appendSchedule appends a schedule key; queue is what appendQueue wrote.
func appendSchedule(b, queue []byte, us int64, id mail.DeliveryID) []byte {
	b = append(b, tabSchedule)
	b = append(b, queue...)
	return append(appendDue(b, us), id[:]...)
}

// cutSchedule reads a schedule key.
func cutSchedule(key []byte) (q mail.QueueKey, us int64, id mail.DeliveryID, ok bool) {
	if len(key) == 0 || key[0] != tabSchedule {
		return q, 0, id, false
	}
	q, rest, ok := cutQueue(key[1:])
	if !ok || len(rest) != 8+idLen {
		return q, 0, id, false
	}
	copy(id[:], rest[8:])
	return q, cutDue(rest), id, true
}

// queuePrefix returns the first part of every schedule key of q.
func queuePrefix(q mail.QueueKey) []byte {
	return appendQueue(append(make([]byte, 0, 96), tabSchedule), q)
}

func idKey[T ~[idLen]byte](b []byte, table byte, id T) []byte {
	a := [idLen]byte(id)
	return append(append(b, table), a[:]...)
}

func memberKey(b []byte, m mail.MessageID, d mail.DeliveryID) []byte {
	return append(idKey(b, tabMember, m), d[:]...)
}

func seqKey(b []byte, table byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, table), seq)
}

func pendingKey(b []byte, m mail.MessageID, n uint64) []byte {
	return binary.BigEndian.AppendUint64(idKey(b, tabPending, m), n)
}

// hourOf numbers hours since 1970.
func hourOf(t time.Time) uint32 { return uint32(max(t.Unix(), 0) / 3600) }

func idemKey(b []byte, hour uint32, account string, hash [32]byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, tabIdem), hour)
	return append(append(b, hash[:]...), account...)
}

// afterKey returns the smallest key greater than every key that begins with prefix.
func afterKey(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// cutPending reads a key of a pending event.
func cutPending(key []byte) (id mail.MessageID, n uint64, ok bool) {
	if len(key) != 1+idLen+8 {
		return id, 0, false
	}
	copy(id[:], key[1:])
	return id, binary.BigEndian.Uint64(key[1+idLen:]), true
}
