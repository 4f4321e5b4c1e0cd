package mail

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Prefixes of the ids people see. An id is its prefix and a 128-bit UUIDv7 (RFC 9562 §5.7) or, for events, the
// spool's id and the event's sequence number, in lower-case Crockford base32, which keeps the order of the bytes.
const (
	PrefixMessage  = "msg_"
	PrefixDelivery = "dlv_"
	PrefixEvent    = "evt_"
	PrefixReport   = "rpt_"
)

// ErrBadID is returned for a text that is not an id of the expected kind.
var ErrBadID = errors.New("mail: not a valid id")

const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

var crockfordValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(crockford) {
		t[crockford[i]] = byte(i)
		t[strings.ToUpper(crockford)[i]] = byte(i)
	}
	return t
}()

// appendBase32 appends b in base32, most significant bits first, the last digit padded with zero bits.
func appendBase32(dst, b []byte) []byte {
	var acc uint32
	var bits uint
	for _, c := range b {
		acc = acc<<8 | uint32(c)
		bits += 8
		for bits >= 5 {
			bits -= 5
			dst = append(dst, crockford[acc>>bits&31])
		}
	}
	if bits > 0 {
		dst = append(dst, crockford[acc<<(5-bits)&31])
	}
	return dst
}

// decodeBase32 fills dst from s, which must have exactly the length and zero padding appendBase32 writes.
func decodeBase32(dst []byte, s string) bool {
	if len(s) != (len(dst)*8+4)/5 {
		return false
	}
	var acc uint32
	var bits uint
	n := 0
	for i := range len(s) {
		v := crockfordValue[s[i]]
		if v == 0xff {
			return false
		}
		acc = acc<<5 | uint32(v)
		bits += 5
		if bits >= 8 {
			bits -= 8
			dst[n] = byte(acc >> bits)
			n++
		}
	}
	return acc&(1<<bits-1) == 0
}

// MessageID names a message. The zero value names none.
type MessageID [16]byte

// DeliveryID names a delivery. Its first 48 bits are the milliseconds since 1970 at which it was made, so it also
// names the day partition its record lives in (see Time). The zero value names none.
type DeliveryID [16]byte

// NewMessageID returns a new id, greater than every id this process made before.
func NewMessageID(now time.Time) MessageID { return MessageID(newUUID(now)) }

// NewDeliveryID returns a new id, greater than every id this process made before.
func NewDeliveryID(now time.Time) DeliveryID { return DeliveryID(newUUID(now)) }

// String returns the id as people see it: msg_ and 26 characters.
func (id MessageID) String() string {
	return string(appendBase32(append(make([]byte, 0, 32), PrefixMessage...), id[:]))
}

// String returns the id as people see it: dlv_ and 26 characters.
func (id DeliveryID) String() string {
	return string(appendBase32(append(make([]byte, 0, 32), PrefixDelivery...), id[:]))
}

// IsZero reports whether the id names nothing.
func (id MessageID) IsZero() bool { return id == MessageID{} }

// IsZero reports whether the id names nothing.
func (id DeliveryID) IsZero() bool { return id == DeliveryID{} }

// Time returns the moment the id was made, to the millisecond, in UTC.
func (id MessageID) Time() time.Time { return uuidTime(id) }

// Time returns the moment the id was made, to the millisecond, in UTC.
func (id DeliveryID) Time() time.Time { return uuidTime(id) }

// MarshalText implements encoding.TextMarshaler; the zero id is the empty text.
func (id MessageID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return []byte{}, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. It returns ErrBadID.
func (id *MessageID) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*id = MessageID{}
		return nil
	}
	*id, err = ParseMessageID(string(text))
	return err
}

// MarshalText implements encoding.TextMarshaler; the zero id is the empty text.
func (id DeliveryID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return []byte{}, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. It returns ErrBadID.
func (id *DeliveryID) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*id = DeliveryID{}
		return nil
	}
	*id, err = ParseDeliveryID(string(text))
	return err
}

// ParseMessageID reads what MessageID.String wrote, in either case. It returns ErrBadID.
func ParseMessageID(s string) (id MessageID, err error) {
	rest, ok := strings.CutPrefix(s, PrefixMessage)
	if !ok || !decodeBase32(id[:], rest) {
		return MessageID{}, fmt.Errorf("%w: %.40q is no message id (%s and 26 characters)", ErrBadID, s, PrefixMessage)
	}
	return id, nil
}

// ParseDeliveryID reads what DeliveryID.String wrote, in either case. It returns ErrBadID.
func ParseDeliveryID(s string) (id DeliveryID, err error) {
	rest, ok := strings.CutPrefix(s, PrefixDelivery)
	if !ok || !decodeBase32(id[:], rest) {
		return DeliveryID{}, fmt.Errorf("%w: %.40q is no delivery id (%s and 26 characters)", ErrBadID, s, PrefixDelivery)
	}
	return id, nil
}

// ReportID names a report: a mail or message that came back. It is made when the report is received, and its first 48
// bits are the milliseconds since 1970 of that moment. The zero value names none.
type ReportID [16]byte

// NewReportID returns a new id, greater than every id this process made before.
func NewReportID(now time.Time) ReportID { return ReportID(newUUID(now)) }

// String returns the id as people see it: rpt_ and 26 characters.
func (id ReportID) String() string {
	return string(appendBase32(append(make([]byte, 0, 32), PrefixReport...), id[:]))
}

// IsZero reports whether the id names nothing.
func (id ReportID) IsZero() bool { return id == ReportID{} }

// Time returns the moment the id was made, to the millisecond, in UTC.
func (id ReportID) Time() time.Time { return uuidTime(id) }

// MarshalText implements encoding.TextMarshaler; the zero id is the empty text.
func (id ReportID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return []byte{}, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. It returns ErrBadID.
func (id *ReportID) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*id = ReportID{}
		return nil
	}
	*id, err = ParseReportID(string(text))
	return err
}

// ParseReportID reads what ReportID.String wrote, in either case. It returns ErrBadID.
func ParseReportID(s string) (id ReportID, err error) {
	rest, ok := strings.CutPrefix(s, PrefixReport)
	if !ok || !decodeBase32(id[:], rest) {
		return ReportID{}, fmt.Errorf("%w: %.40q is no report id (%s and 26 characters)", ErrBadID, s, PrefixReport)
	}
	return id, nil
}

// SpoolID names a spool for ever; it is drawn at random when the spool is made. Zero stands for the store itself,
// which numbers the events of platform changes.
type SpoolID uint32

// String returns the id in seven base32 characters.
func (id SpoolID) String() string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(id))
	return string(appendBase32(nil, b[:]))
}

// EventID names an event: the spool that committed it and its place in that spool's commit order. It is made once,
// in the outbox, and never again.
type EventID struct {
	Spool SpoolID
	Seq   uint64
}

// String returns the id as people see it: evt_ and 20 characters.
func (id EventID) String() string {
	var b [12]byte
	binary.BigEndian.PutUint32(b[:4], uint32(id.Spool))
	binary.BigEndian.PutUint64(b[4:], id.Seq)
	return string(appendBase32(append(make([]byte, 0, 24), PrefixEvent...), b[:]))
}

// IsZero reports whether the id names nothing.
func (id EventID) IsZero() bool { return id == EventID{} }

// ParseEventID reads what EventID.String wrote. It returns ErrBadID.
func ParseEventID(s string) (EventID, error) {
	var b [12]byte
	rest, ok := strings.CutPrefix(s, PrefixEvent)
	if !ok || !decodeBase32(b[:], rest) {
		return EventID{}, fmt.Errorf("%w: %.40q is no event id (%s and 20 characters)", ErrBadID, s, PrefixEvent)
	}
	return EventID{Spool: SpoolID(binary.BigEndian.Uint32(b[:4])), Seq: binary.BigEndian.Uint64(b[4:])}, nil
}

// MarshalText implements encoding.TextMarshaler; the zero id is the empty text.
func (id EventID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return []byte{}, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. It returns ErrBadID.
func (id *EventID) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*id = EventID{}
		return nil
	}
	*id, err = ParseEventID(string(text))
	return err
}

// uuids makes ids of one process: 48 bits of milliseconds, a 12-bit counter that keeps ids of one millisecond in
// order (RFC 9562 §6.2 method 1), 62 random bits.
var uuids struct {
	sync.Mutex
	ms   int64
	n    uint16
	rnd  [512]byte
	left int
}

func newUUID(now time.Time) (u [16]byte) {
	ms := now.UnixMilli()
	g := &uuids
	g.Lock()
	defer g.Unlock()
	if ms > g.ms {
		g.ms, g.n = ms, 0
	} else if g.n++; g.n > 0xfff {
		// More than 4,096 ids in a millisecond, or a clock that went back: borrow from the next millisecond.
		g.ms, g.n = g.ms+1, 0
	}
	if g.left == 0 {
		_, _ = rand.Read(g.rnd[:]) // never fails (crypto/rand)
		g.left = len(g.rnd)
	}
	g.left -= 8
	copy(u[8:], g.rnd[g.left:g.left+8])
	binary.BigEndian.PutUint16(u[6:], 7<<12|g.n)
	u[8] = u[8]&0x3f | 0x80
	u[0], u[1], u[2], u[3], u[4], u[5] = byte(g.ms>>40), byte(g.ms>>32), byte(g.ms>>24), byte(g.ms>>16), byte(g.ms>>8), byte(g.ms)
	return u
}

func uuidTime(u [16]byte) time.Time {
	ms := int64(u[0])<<40 | int64(u[1])<<32 | int64(u[2])<<24 | int64(u[3])<<16 | int64(u[4])<<8 | int64(u[5])
	return time.UnixMilli(ms).UTC()
}
