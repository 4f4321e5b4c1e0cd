package dkim

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math/bits"
)

// BodyHasher computes the SHA-256 of a body in relaxed canonical form (RFC 6376 §3.4.4) while the body streams in, in
// pieces of any size, and notes on the same pass what else must be known of it (Facts). Lines end with CRLF; a bare CR
// or LF is an octet like any other. Use NewBodyHasher; it is an io.Writer that never fails.
type BodyHasher struct {
	h     hash.Hash
	buf   [bufSize]byte // short pieces are gathered before they are hashed
	n     int
	facts BodyFacts

	line   int  // octets of the line so far, a CR that is held back included
	crlfs  int  // line ends held back: they count only if something follows
	space  bool // white space held back: it counts only if something but CRLF follows on this line
	cr     bool // a CR held back: an LF may follow
	filled bool // the canonical body is not empty
}

// BodyFacts is what BodyHasher saw on its way.
type BodyFacts struct {
	MaxLine  int  // octets of the longest line, without its CRLF
	EightBit bool // octets over 127
	NUL      bool
	BareCR   bool // a CR without LF
	BareLF   bool // an LF without CR
}

const (
	bufSize = 1 << 10
	// direct is the piece length from which hashing it where it lies beats gathering it.
	direct = 256
)

// NewBodyHasher returns a BodyHasher for one body.
func NewBodyHasher() *BodyHasher { return newBodyHasher(sha256.New()) }

func newBodyHasher(h hash.Hash) *BodyHasher { return &BodyHasher{h: h} }

// Reset makes b ready for another body.
func (b *BodyHasher) Reset() {
	h := b.h
	h.Reset()
	*b = BodyHasher{h: h}
}

// Write takes the next piece of the body.
func (b *BodyHasher) Write(p []byte) (int, error) {
	i := 0
	for i < len(p) {
		// What is held back is settled octet by octet; then the rest is run through in words.
		if b.space || b.cr || b.crlfs > 0 {
			b.step(p[i])
			i++
			continue
		}
		i = b.run(p, i)
	}
	return len(p), nil
}

// Octets of a 64-bit word, each with the same value.
const (
	ones   = 0x0101010101010101
	highs  = 0x8080808080808080
	spaces = ' ' * ones
)

// run takes octets from i on for as long as they stand in the canonical form as they are, hands the first other one
// to step, and returns where to go on.
func (b *BodyHasher) run(p []byte, i int) int {
	start, line := i, i-b.line // line: where the line begins, were all of it in p
	var seen uint64            // all octets or-ed together, for their high bits
	for i < len(p) {
		// Eight octets at once. An event is a control character, or a space with white space or a line end behind it.
		if i+8 <= len(p) {
			w := binary.LittleEndian.Uint64(p[i:])
			seen |= w
			low := (w - spaces) &^ w & highs               // octets < ' '; exact up to the first one
			x := w ^ spaces                                // zero octets where w has spaces
			sp := ^(x&^highs + ^uint64(highs) | x) & highs // exact
			event := low | sp&((low|sp)>>8)
			if sp>>63 != 0 && (i+8 == len(p) || p[i+8] <= ' ') {
				event |= 1 << 63
			}
			if event == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(event) / 8
		} else if c := p[i]; c > ' ' || c == ' ' && i+1 < len(p) && p[i+1] > ' ' {
			seen |= uint64(c)
			i++
			continue
		}
		b.line = i - line
		// A line end with text behind it, the usual event, stands as it is.
		if p[i] == '\r' && i+2 < len(p) && p[i+1] == '\n' && p[i+2] > ' ' {
			b.endLine()
			i += 2
			line = i
			continue
		}
		b.take(p[start:i], seen)
		b.step(p[i])
		return i + 1
	}
	b.line = i - line
	b.take(p[start:i], seen)
	return i
}

func (b *BodyHasher) take(p []byte, seen uint64) {
	if seen&highs != 0 {
		b.facts.EightBit = true
	}
	if len(p) > 0 {
		b.emit(p)
	}
}

// step takes one octet, with regard to what is held back.
func (b *BodyHasher) step(c byte) {
	if b.cr {
		b.cr = false
		if c == '\n' {
			b.line--
			b.endLine()
			b.space = false
			b.crlfs++
			return
		}
		b.facts.BareCR = true
		b.release()
		b.emit([]byte{'\r'})
	}
	switch c {
	case '\r':
		b.cr = true
		b.line++
		return
	case ' ', '\t':
		b.space = true
		b.line++
		return
	case '\n':
		b.facts.BareLF = true
	case 0:
		b.facts.NUL = true
	}
	b.line++
	if c >= 0x80 {
		b.facts.EightBit = true
	}
	b.release()
	b.emit([]byte{c})
}

// release writes the line ends and white space held back.
func (b *BodyHasher) release() {
	for ; b.crlfs > 0; b.crlfs-- {
		b.emit([]byte("\r\n"))
	}
	if b.space {
		b.space = false
		b.emit([]byte{' '})
	}
}

func (b *BodyHasher) endLine() {
	b.facts.MaxLine = max(b.facts.MaxLine, b.line)
	b.line = 0
}

func (b *BodyHasher) emit(p []byte) {
	b.filled = true
	if len(p) >= direct {
		b.flush()
		b.h.Write(p)
		return
	}
	if len(p) > len(b.buf)-b.n {
		b.flush()
	}
	b.n += copy(b.buf[b.n:], p)
}

func (b *BodyHasher) flush() {
	if b.n > 0 {
		b.h.Write(b.buf[:b.n])
		b.n = 0
	}
}

// Sum ends the body and returns its hash. The BodyHasher must be Reset before it is used again.
func (b *BodyHasher) Sum() (sum [32]byte) {
	b.endLine()
	if b.cr {
		b.cr, b.facts.BareCR = false, true
		b.release()
		b.emit([]byte{'\r'})
		b.crlfs = 0
	}
	// RFC 6376 §3.4.4: empty lines at the end go; a body that is not empty ends with CRLF.
	if b.filled {
		b.emit([]byte("\r\n"))
	}
	b.flush()
	b.h.Sum(sum[:0])
	return sum
}

// Facts returns what was seen of the body; complete after Sum.
func (b *BodyHasher) Facts() BodyFacts { return b.facts }
