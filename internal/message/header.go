package message

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/postroad/postroad/internal/smtp"
)

// MaxFields is the most fields one header may have. Real mail stays under 200; the bound keeps a header of many tiny
// fields from costing more memory than its octets.
const MaxFields = 2000

// Errors of ReadHeader; each is wrapped in a HeaderError.
var (
	ErrHeaderTooLarge = errors.New("the header is too large")
	ErrTooManyFields  = errors.New("the header has too many fields")
	ErrBadHeader      = errors.New("the header is malformed")
)

// HeaderError says what is wrong with a header, and where.
type HeaderError struct {
	Line   int    // from 1; 0: the header as a whole
	Reason string // in plain words, safe to show to a client
	Err    error  // ErrHeaderTooLarge, ErrTooManyFields or ErrBadHeader
}

// Error implements error.
func (e *HeaderError) Error() string {
	if e.Line == 0 {
		return "message: " + e.Reason
	}
	return fmt.Sprintf("message: header line %d: %s", e.Line, e.Reason)
}

// Unwrap returns the kind of the error.
func (e *HeaderError) Unwrap() error { return e.Err }

// Field is one header field as it stands.
type Field struct {
	// Name is the field name in the case it was written in.
	Name string
	// Raw is the whole field: name, colon, value, and the line end of each of its lines.
	Raw []byte

	body string // what follows the colon, line ends included
}

// Is reports whether the field has this name, in any case.
func (f Field) Is(name string) bool {
	return len(f.Name) == len(name) && strings.EqualFold(f.Name, name)
}

// Value returns the value unfolded (RFC 5322 §2.2.3): line ends removed, outer white space trimmed. Encoded words
// stay encoded; see DecodeWords.
func (f Field) Value() string { return Unfold(f.body) }

// Header is a header as it stands, in order.
type Header struct{ fields []Field }

// Fields returns the fields from the top down. The slice is the header's own.
func (h Header) Fields() []Field { return h.fields }

// Get returns the unfolded value of the topmost field with this name.
func (h Header) Get(name string) (value string, ok bool) {
	for i := range h.fields {
		if h.fields[i].Is(name) {
			return h.fields[i].Value(), true
		}
	}
	return "", false
}

// Values returns the unfolded values of all fields with this name, from the top down.
func (h Header) Values(name string) (values []string) {
	for i := range h.fields {
		if h.fields[i].Is(name) {
			values = append(values, h.fields[i].Value())
		}
	}
	return values
}

// Count returns how many fields have this name.
func (h Header) Count(name string) (n int) {
	for i := range h.fields {
		if h.fields[i].Is(name) {
			n++
		}
	}
	return n
}

// ReadHeader reads the header that begins b, strictly: each line ends with CRLF, holds no other CR, LF or NUL, and is
// a field or the continuation of one. It returns where the body begins, after the empty line; len(b) if there is no
// empty line. max bounds the octets of the header; 0 means smtp.MaxHeaderBytes. Errors are *HeaderError.
func ReadHeader(b []byte, max int) (h Header, bodyOffset int, err error) {
	raw, bodyOffset, err := cutHeader(b, max)
	if err != nil {
		return Header{}, 0, err
	}
	s := string(raw) // the one copy all names and values are slices of
	if strings.IndexByte(s, 0) >= 0 {
		return Header{}, 0, &HeaderError{Reason: "a NUL octet is not allowed in the header", Err: ErrBadHeader}
	}
	r := reader{raw: raw, s: s, fields: make([]Field, 0, min(strings.Count(s, "\n"), MaxFields))}
	for pos := 0; pos < len(s); {
		r.line++
		n := strings.IndexByte(s[pos:], '\n')
		if n < 1 || strings.IndexByte(s[pos:pos+n], '\r') != n-1 {
			return Header{}, 0, r.bad("a line must end with CRLF and hold no other CR or LF")
		}
		if err := r.add(pos, pos+n+1); err != nil {
			return Header{}, 0, err
		}
		pos += n + 1
	}
	r.close(len(s))
	return Header{r.fields}, bodyOffset, nil
}

// HeaderEnd returns where the body of a message begins whose first octets are b, or -1 if the end of the header has
// not come yet. It serves those who read a stream.
func HeaderEnd(b []byte) int {
	if bytes.HasPrefix(b, crlf) {
		return 2
	}
	if i := bytes.Index(b, crlfcrlf); i >= 0 {
		return i + 4
	}
	return -1
}

var (
	crlf     = []byte("\r\n")
	crlfcrlf = []byte("\r\n\r\n")
)

// cutHeader finds the end of a strictly written header.
func cutHeader(b []byte, max int) (raw []byte, bodyOffset int, err error) {
	if max <= 0 {
		max = smtp.MaxHeaderBytes
	}
	window := b[:min(len(b), max+4)] // a hostile message without an end costs no scan of the whole
	switch end := HeaderEnd(window); {
	case end == 2:
		return b[:0], 2, nil
	case end >= 0:
		raw, bodyOffset = b[:end-2], end
	default:
		raw, bodyOffset = b, len(b)
	}
	if len(raw) > max {
		return nil, 0, &HeaderError{Reason: fmt.Sprintf("the header is larger than %d octets", max), Err: ErrHeaderTooLarge}
	}
	return raw, bodyOffset, nil
}

// reader collects the fields of a strictly read header.
type reader struct {
	raw    []byte
	s      string
	fields []Field
	line   int

	start, colon int // of the field being read; start == colon: none
}

func (r *reader) bad(reason string) error {
	return &HeaderError{Line: r.line, Reason: reason, Err: ErrBadHeader}
}

// add takes the line s[from:to].
func (r *reader) add(from, to int) error {
	if c := r.s[from]; c == ' ' || c == '\t' {
		if r.colon == r.start {
			return r.bad("it begins with white space, but there is no field to continue")
		}
		return nil
	}
	n := nameLen(r.s[from:to])
	switch {
	case n == 0 && r.s[from] == ':':
		return r.bad("the field name is empty")
	case from+n < to && r.s[from+n] == ':':
	case from+n < to && (r.s[from+n] == ' ' || r.s[from+n] == '\t') && strings.HasPrefix(strings.TrimLeft(r.s[from+n:to], " \t"), ":"):
		// RFC 5322 §4.5 has it as obsolete syntax, but readers disagree on which field it is.
		return r.bad("white space between field name and colon is not allowed")
	default:
		return r.bad("it is no header field: no colon follows a field name")
	}
	r.close(from)
	if len(r.fields) == MaxFields {
		return &HeaderError{Reason: fmt.Sprintf("the header has more than %d fields", MaxFields), Err: ErrTooManyFields}
	}
	r.start, r.colon = from, from+n
	return nil
}

// close ends the field being read at end.
func (r *reader) close(end int) {
	if r.colon > r.start {
		r.fields = append(r.fields, Field{Name: r.s[r.start:r.colon], Raw: r.raw[r.start:end:end], body: r.s[r.colon+1 : end]})
	}
}

// nameLen returns how many octets of s are ftext (RFC 5322 §3.6.8).
func nameLen(s string) int {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return i
		}
	}
	return len(s)
}

// ReadHeaderLenient reads the header that begins b as far as it is one. Lines may end with LF, CRLF or CR CR LF; a
// leading mbox "From " line is skipped; a line that is no field ends the header, and the body begins with it. Fields
// past max octets (0: smtp.MaxHeaderBytes) or past MaxFields are left out, though the body still begins after the
// empty line.
func ReadHeaderLenient(b []byte, max int) (h Header, bodyOffset int) {
	if max <= 0 {
		max = smtp.MaxHeaderBytes
	}
	pos := 0
	if bytes.HasPrefix(b, []byte("From ")) || bytes.HasPrefix(b, []byte(">From ")) {
		pos = lineEnd(b, 0)
	}
	first, start, full := pos, -1, false
	closeField := func(end int) {
		if start < 0 {
			return
		}
		if full = full || end-first > max || len(h.fields) == MaxFields; full {
			start = -1
			return
		}
		s := string(b[start:end])
		colon := strings.IndexByte(s, ':')
		h.fields = append(h.fields, Field{Name: strings.TrimRight(s[:colon], " \t"), Raw: b[start:end:end], body: s[colon+1:]})
		start = -1
	}
	for pos < len(b) {
		next := lineEnd(b, pos)
		line := bytes.TrimRight(b[pos:next], "\r\n")
		if len(line) == 0 {
			closeField(pos)
			return h, next
		}
		if c := line[0]; c == ' ' || c == '\t' {
			if start < 0 && !full {
				break
			}
			pos = next
			continue
		}
		n := nameLen(string(line[:min(len(line), maxNameScan)]))
		if rest := bytes.TrimLeft(line[n:], " \t"); n == 0 || len(rest) == 0 || rest[0] != ':' {
			break
		}
		closeField(pos)
		start, pos = pos, next
	}
	closeField(pos)
	return h, pos
}

// maxNameScan bounds how far a lenient reader looks for the colon of a field.
const maxNameScan = 1000

// lineEnd returns where the line that contains pos ends, its line end included.
func lineEnd(b []byte, pos int) int {
	if n := bytes.IndexByte(b[pos:], '\n'); n >= 0 {
		return pos + n + 1
	}
	return len(b)
}

// Unfold removes the line ends of a folded value and its outer white space. A value without any comes back as it is,
// without a copy.
func Unfold(s string) string {
	s = strings.Trim(s, " \t\r\n")
	if strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, '\r') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if c := s[i]; c != '\r' && c != '\n' {
			b = append(b, c)
		}
	}
	return string(b)
}
