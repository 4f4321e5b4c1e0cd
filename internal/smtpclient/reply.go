package smtpclient

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// Bounds of one reply. RFC 5321 §4.5.3.1.5 allows lines of 512 octets; peers in use write longer ones, which are
// taken. What goes beyond smtp.MaxReplyBytes is read and left out, so that a chatty peer's 250 still counts as one.
const (
	maxReplyLine  = 4 << 10
	maxReplyTotal = 64 << 10
)

// answer is one reply while it is being read; it is used again and again, so that a reply nobody keeps costs nothing.
type answer struct {
	code  int
	raw   []byte // the lines joined by LF, codes included
	lines int
	total int // octets taken in
	// secrets the peer has been told while it is logged in to; it may quote them.
	secrets []string
}

func (a *answer) reset() { *a = answer{raw: a.raw[:0], secrets: a.secrets} }

// class returns the first digit of the code.
func (a *answer) class() int { return a.code / 100 }

// add takes the next line, without its line end, and reports whether it was the last.
func (a *answer) add(line []byte) (last bool, err error) {
	if a.total += len(line) + 2; a.total > maxReplyTotal {
		return false, fmt.Errorf("%w: a reply of more than %d octets", ErrProtocol, maxReplyTotal)
	}
	code, last, ok := parseLine(line)
	if len(a.secrets) > 0 {
		line = []byte(mail.MaskSecrets(string(line), a.secrets...))
	}
	if !ok {
		return false, fmt.Errorf("%w: %q is no reply line", ErrProtocol, clip(line, 80))
	}
	// RFC 5321 §4.2.1: every line has the same code. Where only the last digits differ the last line counts; codes
	// of two classes say two things at once.
	if a.lines > 0 && code/100 != a.code/100 {
		return false, fmt.Errorf("%w: a reply with the codes %d and %d", ErrProtocol, a.code, code)
	}
	a.code = code
	if len(a.raw)+len(line)+1 <= smtp.MaxReplyBytes {
		if a.lines > 0 {
			a.raw = append(a.raw, '\n')
		}
		a.raw = append(a.raw, line...)
	}
	a.lines++
	return last, nil
}

// hide keeps secrets out of the answers from now on.
func (a *answer) hide(secrets ...string) { a.secrets = append(a.secrets, secrets...) }

// parseLine reads the code of a reply line and whether the reply ends with it: "250 text", "250-text", "250".
func parseLine(line []byte) (code int, last, ok bool) {
	if len(line) < 3 {
		return 0, false, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, false
		}
		code = code*10 + int(c-'0')
	}
	if code < 200 || code > 599 {
		return 0, false, false
	}
	if len(line) == 3 {
		return code, true, true
	}
	switch line[3] {
	case ' ', '\t':
		return code, true, true
	case '-':
		return code, false, true
	}
	return 0, false, false
}

// reply makes a Reply of its own memory.
func (a *answer) reply() smtp.Reply {
	r := smtp.Reply{Code: a.code, Raw: printable(a.raw)}
	n := strings.Count(r.Raw, "\n") + 1
	r.Lines = make([]string, 0, n)
	for rest, more := r.Raw, true; more; {
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		if line = line[min(3, len(line)):]; line != "" {
			line = line[1:]
		}
		e, text, ok := smtp.ParseEnhanced(line)
		if ok && len(r.Lines) == 0 {
			r.Enhanced = e
		}
		if ok && e == r.Enhanced {
			line = text
		}
		r.Lines = append(r.Lines, line)
	}
	return r
}

// printable returns b as a string that harms no log, database or terminal: control characters but TAB and LF become
// '?', octets that are not UTF-8 become U+FFFD.
func printable(b []byte) string {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' || c >= 0x7f {
			return strings.Map(func(r rune) rune {
				if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
					return '?'
				}
				return r
			}, strings.ToValidUTF8(string(b), string(utf8.RuneError)))
		}
	}
	return string(b)
}

func clip(b []byte, n int) string { return printable(b[:min(len(b), n)]) }

// reader cuts a peer's octets into lines.
type reader struct {
	src        io.Reader
	buf        []byte
	start, end int
}

// line returns the next line without its line end, which is CRLF or, from careless peers, LF. The line is valid until
// the next call. wait is called before each read that may block.
func (r *reader) line(wait func() error) ([]byte, error) {
	seen := 0
	for {
		if i := bytes.IndexByte(r.buf[r.start+seen:r.end], '\n'); i >= 0 {
			line := r.buf[r.start : r.start+seen+i]
			r.start += seen + i + 1
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
			return line, nil
		}
		seen = r.end - r.start
		if seen >= maxReplyLine {
			return nil, fmt.Errorf("%w: a reply line of more than %d octets", ErrProtocol, maxReplyLine)
		}
		if r.start > 0 {
			copy(r.buf, r.buf[r.start:r.end])
			r.start, r.end = 0, seen
		}
		if r.buf == nil {
			r.buf = make([]byte, maxReplyLine+512)
		}
		if err := wait(); err != nil {
			return nil, err
		}
		n, err := r.src.Read(r.buf[r.end:])
		if r.end += n; n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			} else if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// answer reads one whole reply into a.
func (r *reader) answer(a *answer, wait func() error) error {
	for a.reset(); ; {
		line, err := r.line(wait)
		if err != nil {
			return err
		}
		if last, err := a.add(line); err != nil || last {
			return err
		}
	}
}

// buffered returns how many octets wait in the buffer.
func (r *reader) buffered() int { return r.end - r.start }

// drop throws away what waits in the buffer, and returns how much that was.
func (r *reader) drop() int {
	n := r.buffered()
	r.start, r.end = 0, 0
	return n
}
