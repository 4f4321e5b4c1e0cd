package smtp

import (
	"fmt"
	"strconv"
	"strings"
)

// Reply is one SMTP reply (RFC 5321 §4.2).
type Reply struct {
	Code     int
	Enhanced Enhanced // zero: the reply has none
	// Lines is the text of each line without code, enhanced code and line end.
	Lines []string
	// Raw is a peer's reply word for word, codes included, its lines joined by LF; "" in a reply of our own.
	Raw string
}

// Enhanced is an enhanced mail system status code (RFC 3463): class.subject.detail. The zero value means none.
type Enhanced [3]uint16

// IsZero reports whether there is no code.
func (e Enhanced) IsZero() bool { return e == Enhanced{} }

// String returns "5.1.1", or "" for the zero value.
func (e Enhanced) String() string {
	if e.IsZero() {
		return ""
	}
	return string(e.append(nil))
}

func (e Enhanced) append(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(e[0]), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(e[1]), 10)
	b = append(b, '.')
	return strconv.AppendUint(b, uint64(e[2]), 10)
}

// ParseEnhanced reads an enhanced code that begins s and is followed by a space or the end, and returns what
// follows. Class is 2, 4 or 5; subject and detail have at most three digits (RFC 3463 §2).
func ParseEnhanced(s string) (e Enhanced, rest string, ok bool) {
	n := 0
	for part := range e {
		start := n
		v := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' && n-start < 3 {
			v = v*10 + int(s[n]-'0')
			n++
		}
		if n == start {
			return Enhanced{}, s, false
		}
		e[part] = uint16(v)
		if part < 2 {
			if n == len(s) || s[n] != '.' {
				return Enhanced{}, s, false
			}
			n++
		}
	}
	if e[0] != 2 && e[0] != 4 && e[0] != 5 {
		return Enhanced{}, s, false
	}
	if n < len(s) && s[n] != ' ' && s[n] != '\t' {
		return Enhanced{}, s, false
	}
	return e, strings.TrimLeft(s[n:], " \t"), true
}

// NewReply makes a reply of one line. The enhanced code's class is made to agree with code.
func NewReply(code int, e Enhanced, format string, args ...any) Reply {
	if !e.IsZero() {
		e[0] = uint16(code / 100)
	}
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	return Reply{Code: code, Enhanced: e, Lines: []string{text}}
}

// Temporary reports a 4xx reply (RFC 5321 §4.2.1).
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }

// Permanent reports a 5xx reply.
func (r Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// Text returns the lines joined by LF, without codes.
func (r Reply) Text() string { return strings.Join(r.Lines, "\n") }

// String returns the reply in full as people quote it: Raw where there is one, else code, enhanced code and text of
// each line, the lines joined by LF.
func (r Reply) String() string {
	if r.Raw != "" {
		return r.Raw
	}
	var b []byte
	for i, line := range r.linesOrEmpty() {
		if i > 0 {
			b = append(b, '\n')
		}
		b = r.appendLine(b, line, ' ')
	}
	return strings.TrimRight(string(b), " ")
}

// Append appends the reply as it goes over the wire, each line ended with CRLF and the enhanced code repeated on
// each (RFC 2034 §4).
func (r Reply) Append(b []byte) []byte {
	lines := r.linesOrEmpty()
	for i, line := range lines {
		sep := byte(' ')
		if i < len(lines)-1 {
			sep = '-'
		}
		b = append(r.appendLine(b, line, sep), '\r', '\n')
	}
	return b
}

func (r Reply) appendLine(b []byte, line string, sep byte) []byte {
	b = strconv.AppendInt(b, int64(r.Code), 10)
	b = append(b, sep)
	if !r.Enhanced.IsZero() {
		b = append(r.Enhanced.append(b), ' ')
	}
	// A line end inside the text would forge a further reply line.
	for i := range len(line) {
		if c := line[i]; c == '\r' || c == '\n' {
			b = append(b, ' ')
		} else {
			b = append(b, c)
		}
	}
	return b
}

func (r Reply) linesOrEmpty() []string {
	if len(r.Lines) == 0 {
		return []string{""}
	}
	return r.Lines
}

// ReplyError is an error that is answered with a reply. Rooms whose callers speak SMTP return it, or wrap it.
type ReplyError struct {
	Reply Reply
	// Err is the inner reason for the log; it is never shown to the peer. May be nil.
	Err error
}

// Error implements error.
func (e *ReplyError) Error() string {
	if e.Err != nil {
		return e.Reply.String() + " (" + e.Err.Error() + ")"
	}
	return e.Reply.String()
}

// Unwrap returns the inner reason.
func (e *ReplyError) Unwrap() error { return e.Err }

// Refuse makes a ReplyError of one line.
func Refuse(code int, e Enhanced, format string, args ...any) *ReplyError {
	return &ReplyError{Reply: NewReply(code, e, format, args...)}
}
