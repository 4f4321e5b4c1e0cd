package message

import (
	"bytes"
	"fmt"
)

// Multipart is the body of a multipart entity, taken apart. All offsets are into that body: what lies between the
// parts, the boundary lines, can be put back as it stood.
type Multipart struct {
	Parts []Segment
	// Preamble ends where the first boundary line begins, Epilogue begins after the last one.
	Preamble, Epilogue int
}

// Segment is a part: body[Start:End], header included, without the line end that belongs to the next boundary.
type Segment struct{ Start, End int }

// SplitMultipart finds the parts of a multipart body (RFC 2046 §5.1.1). A boundary line is two hyphens, the boundary,
// two more hyphens at the end of all, and nothing but white space. Errors wrap ErrBadMIME (no boundary named or none
// found) or ErrLimit (more than maxParts).
func SplitMultipart(body []byte, boundary string, maxParts int) (m Multipart, err error) {
	if boundary == "" {
		return m, fmt.Errorf("%w: a multipart names no boundary", ErrBadMIME)
	}
	delimiter := append([]byte("--"), boundary...)
	begun := false
	for at := 0; ; {
		start, next, final := nextBoundary(body, at, delimiter)
		if start < 0 {
			break
		}
		if begun {
			last := &m.Parts[len(m.Parts)-1]
			last.End = max(last.Start, start-lineEndBefore(body, start))
		} else {
			begun, m.Preamble = true, start
		}
		at = next
		if final {
			m.Epilogue = next
			return m, nil
		}
		if len(m.Parts) >= maxParts {
			return m, fmt.Errorf("%w: too many parts", ErrLimit)
		}
		m.Parts = append(m.Parts, Segment{next, len(body)})
	}
	if !begun {
		return m, fmt.Errorf("%w: the boundary of a multipart never comes", ErrBadMIME)
	}
	m.Epilogue = len(body)
	return m, nil
}

// nextBoundary finds the next boundary line at or after from: where it begins, where the line after it begins.
func nextBoundary(body []byte, from int, delimiter []byte) (start, next int, final bool) {
	for at := from; ; {
		i := bytes.Index(body[at:], delimiter)
		if i < 0 {
			return -1, 0, false
		}
		start = at + i
		at = start + len(delimiter)
		if start > 0 && body[start-1] != '\n' {
			continue
		}
		next = lineEnd(body, at)
		rest := body[at:next]
		if bytes.HasPrefix(rest, []byte("--")) && len(bytes.TrimRight(rest[2:], " \t\r\n")) == 0 {
			return start, next, true
		}
		if len(bytes.TrimRight(rest, " \t\r\n")) == 0 {
			return start, next, false
		}
	}
}

// lineEndBefore returns the length of the line end that stands before start.
func lineEndBefore(body []byte, start int) int {
	n := 0
	if start > 0 && body[start-1] == '\n' {
		for n = 1; n < 3 && start-n > 0 && body[start-n-1] == '\r'; {
			n++
		}
	}
	return n
}
