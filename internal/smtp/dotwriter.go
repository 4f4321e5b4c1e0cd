package smtp

import "bytes"

// DotWriter turns content into the octets that follow 354 (RFC 5321 §4.5.2): a dot that begins a line is doubled, and
// the end is CRLF.CRLF. It works on blocks of any size and copies runs, not lines. A CR or LF that stands alone comes
// out as CRLF: a bare one is how a message smuggles a second one past a peer with other ideas about line ends. The
// zero value is ready; it is not safe for concurrent use.
type DotWriter struct {
	mid bool // inside a line
	cr  bool // the last block ended with a CR, held back until its LF is seen
}

// Append appends what block becomes to dst.
func (w *DotWriter) Append(dst, block []byte) []byte {
	if len(block) == 0 {
		return dst
	}
	if w.cr {
		w.cr, w.mid = false, false
		dst = append(dst, '\r', '\n')
		if block[0] == '\n' {
			block = block[1:]
		}
	}
	start, pos := 0, 0 // block[start:pos] is done and not yet copied
	for pos < len(block) {
		if !w.mid && block[pos] == '.' {
			dst = append(dst, block[start:pos]...)
			dst = append(dst, '.')
			start = pos
		}
		line := block[pos:]
		lf := bytes.IndexByte(line, '\n')
		if lf >= 0 {
			line = line[:lf]
		}
		cr := bytes.IndexByte(line, '\r')
		switch {
		case lf >= 0 && cr >= 0 && cr == lf-1:
			pos += lf + 1
			w.mid = false
		case lf < 0 && cr < 0:
			pos = len(block)
			w.mid = true
		case lf < 0 && cr == len(line)-1:
			w.cr, w.mid = true, true
			return append(dst, block[start:pos+cr]...)
		default: // a bare CR, or a bare LF when the line has no CR
			end := cr
			if cr < 0 {
				end = lf
			}
			dst = append(dst, block[start:pos+end]...)
			dst = append(dst, '\r', '\n')
			pos += end + 1
			start = pos
			w.mid = false
		}
	}
	return append(dst, block[start:]...)
}

// End appends the end of the content, completing its last line if need be, and makes w ready for the next one.
func (w *DotWriter) End(dst []byte) []byte {
	if w.mid || w.cr {
		dst = append(dst, '\r', '\n')
	}
	*w = DotWriter{}
	return append(dst, '.', '\r', '\n')
}

// IsNormal reports whether content is made of whole lines: each ends with CRLF, and no CR or LF stands alone. Such
// content may go out with BDAT (RFC 3030) as it is.
func IsNormal(content []byte) bool {
	if len(content) == 0 {
		return true
	}
	if content[len(content)-1] != '\n' {
		return false
	}
	lines := 0
	for pos := 0; pos < len(content); lines++ {
		lf := bytes.IndexByte(content[pos:], '\n')
		if lf < 0 {
			break
		}
		if pos += lf; pos == 0 || content[pos-1] != '\r' {
			return false
		}
		pos++
	}
	// Each LF has its CR; as many CRs as LFs means none is left over.
	return bytes.Count(content, []byte{'\r'}) == lines
}
