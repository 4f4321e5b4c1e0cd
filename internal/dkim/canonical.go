package dkim

import "bytes"

// appendRelaxed appends a header field in relaxed canonical form (RFC 6376 §3.4.2), CRLF included.
func appendRelaxed(dst, field []byte) []byte {
	colon := bytes.IndexByte(field, ':')
	if colon < 0 {
		colon = len(field)
	}
	for _, c := range bytes.TrimRight(field[:colon], " \t") {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	dst = append(dst, ':')
	value := field[min(colon+1, len(field)):]
	begin := len(dst)
	for len(value) > 0 {
		// White space, line ends included: those of a field stand only where it is folded.
		n := 0
		for n < len(value) && (value[n] == ' ' || value[n] == '\t' || value[n] == '\r' || value[n] == '\n') {
			n++
		}
		value = value[n:]
		if len(value) == 0 {
			break
		}
		if n > 0 && len(dst) > begin {
			dst = append(dst, ' ')
		}
		for n = 0; n < len(value) && value[n] != ' ' && value[n] != '\t' && value[n] != '\r' && value[n] != '\n'; {
			n++
		}
		dst = append(dst, value[:n]...)
		value = value[n:]
	}
	return append(dst, '\r', '\n')
}
