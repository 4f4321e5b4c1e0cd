package mail

import (
	"crypto/sha256"
	"time"
)

// ContentReportID names a report by what it is: the same content received by the same door (scope) at the same time is
// the same report, so that a mail fetched twice is one. Its first 48 bits are the milliseconds of at; the rest is a hash,
// in the form of a UUIDv8 (RFC 9562 §5.8).
func ContentReportID(at time.Time, scope string, content []byte) (id ReportID) {
	h := sha256.New()
	h.Write([]byte("postroad report\x00" + scope + "\x00"))
	h.Write(content)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	ms := max(at.UnixMilli(), 0)
	copy(id[6:], sum[:])
	id[0], id[1], id[2], id[3], id[4], id[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}
