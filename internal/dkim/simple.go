package dkim

import (
	"bytes"
	"hash"
)

// simpleHasher hashes a body in simple canonical form (RFC 6376 §3.4.3): as it is, but for empty lines at its end.
type simpleHasher struct {
	h     hash.Hash
	crlfs int  // line ends held back: they count only if something follows
	cr    bool // a CR held back: an LF may follow
}

// Write takes the next piece of the body.
func (s *simpleHasher) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if i := bytes.IndexByte(p, '\r'); s.cr || i == 0 || p[0] == '\n' {
			s.step(p[0])
			p = p[1:]
		} else {
			if i < 0 {
				i = len(p)
			}
			s.release()
			s.h.Write(p[:i])
			p = p[i:]
		}
	}
	return n, nil
}

func (s *simpleHasher) step(c byte) {
	if s.cr {
		if s.cr = false; c == '\n' {
			s.crlfs++
			return
		}
		s.release()
		s.h.Write([]byte{'\r'})
	}
	if c == '\r' {
		s.cr = true
		return
	}
	s.release()
	s.h.Write([]byte{c})
}

func (s *simpleHasher) release() {
	for ; s.crlfs > 0; s.crlfs-- {
		s.h.Write([]byte("\r\n"))
	}
}

// Sum ends the body, with one CRLF in any case, and returns its hash.
func (s *simpleHasher) Sum() (sum [32]byte) {
	if s.cr {
		s.release()
		s.h.Write([]byte{'\r'})
	}
	s.h.Write([]byte("\r\n"))
	s.h.Sum(sum[:0])
	return sum
}

// countedHash hashes the first limit octets written to it, and counts all.
type countedHash struct {
	hash.Hash
	limit, total int64
}

// Write implements io.Writer.
func (c *countedHash) Write(p []byte) (int, error) {
	n := len(p)
	if room := c.limit - c.total; room > 0 {
		c.Hash.Write(p[:min(int64(n), room)])
	}
	c.total += int64(n)
	return n, nil
}
