package store

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
)

// Cursor is a place in the stream of all events: for each spool the sequence up to which its events are behind. The
// nil Cursor is the beginning. A Cursor is a value: methods return changed copies.
type Cursor map[mail.SpoolID]uint64

// maxCursorSpools bounds the spools a cursor text may name: far more than a cluster has, few enough to be harmless.
const maxCursorSpools = 1024

// cursorVersion begins the bytes of a cursor.
const cursorVersion = 1

// String returns the cursor as clients keep it: "" for the beginning, else URL-safe text. It means nothing to them.
func (c Cursor) String() string {
	b := []byte{cursorVersion}
	for _, spool := range slices.Sorted(maps.Keys(c)) {
		if seq := c[spool]; seq > 0 {
			b = binary.BigEndian.AppendUint32(b, uint32(spool))
			b = binary.AppendUvarint(b, seq)
		}
	}
	if len(b) == 1 {
		return ""
	}
	return EncodeCursor(b)
}

// EncodeCursor returns the URL-safe text of a cursor's octets.
func EncodeCursor(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// DecodeCursor reads what EncodeCursor wrote and nothing else. It returns ErrBadCursor.
func DecodeCursor(text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // base64 overlooks line ends
		return nil, fmt.Errorf("%w: %.60q", ErrBadCursor, text)
	}
	return b, nil
}

// With returns c with the spool at seq.
func (c Cursor) With(spool mail.SpoolID, seq uint64) Cursor {
	n := make(Cursor, len(c)+1)
	maps.Copy(n, c)
	n[spool] = seq
	return n
}

// ParseCursor reads what String wrote and nothing else. It returns ErrBadCursor.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return nil, nil
	}
	b, err := DecodeCursor(text)
	if err != nil || len(b) < 2 || b[0] != cursorVersion {
		return nil, fmt.Errorf("%w: %.40q", ErrBadCursor, text)
	}
	c := Cursor{}
	last := int64(-1)
	for b = b[1:]; len(b) > 0; {
		if len(b) < 5 || len(c) == maxCursorSpools {
			return nil, fmt.Errorf("%w: %.40q", ErrBadCursor, text)
		}
		spool := binary.BigEndian.Uint32(b)
		seq, n := binary.Uvarint(b[4:])
		// One text per cursor: rising spools, no zero sequence, shortest form; sequences fit the signed columns.
		if int64(spool) <= last || n <= 0 || seq == 0 || seq > math.MaxInt64 || n > 1 && b[4+n-1] == 0 {
			return nil, fmt.Errorf("%w: %.40q", ErrBadCursor, text)
		}
		last = int64(spool)
		c[mail.SpoolID(spool)] = seq
		b = b[4+n:]
	}
	return c, nil
}
