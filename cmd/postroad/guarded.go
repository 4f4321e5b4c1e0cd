package main

import (
	"io"
	"os"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
)

// guarded writes to a terminal what strangers may have written: subjects, addresses, replies of servers. What would move its
// cursor, change its title or turn its text around stands there as a question mark; colours, tabs and line ends stay.
type guarded struct{ *os.File }

// guard returns w itself unless it is a terminal: files and pipes get every octet.
func guard(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		return guarded{f}
	}
	return w
}

// terminalOf returns the terminal behind an output, if there is one.
func terminalOf(w io.Writer) (*os.File, bool) {
	if d, ok := w.(*display); ok {
		w = d.out
	}
	if r, ok := w.(*results); ok {
		w = r.Writer
	}
	s, ok := w.(guarded)
	return s.File, ok
}

// Write implements io.Writer.
func (s guarded) Write(b []byte) (int, error) {
	if _, err := s.File.Write(harmless(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// harmless replaces the control characters of text but colours, tabs and line ends.
func harmless(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		if n := colourLen(b); n > 0 {
			out, b = append(out, b[:n]...), b[n:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		switch {
		case r == '\n' || r == '\t' || r == '\r' && n < len(b) && b[n] == '\n':
			out = append(out, b[:n]...)
		case r == utf8.RuneError && n == 1, unicode.IsControl(r), unicode.In(r, unicode.Bidi_Control), r == '\u2028', r == '\u2029':
			out = append(out, '?')
		default:
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return out
}

// colourLen is the length of the sequence for a colour that b begins with (ECMA-48 SGR); 0: it begins with none.
func colourLen(b []byte) int {
	if len(b) < 3 || b[0] != 0x1b || b[1] != '[' {
		return 0
	}
	for i, c := range b[2:] {
		switch {
		case c == 'm':
			return i + 3
		case c != ';' && (c < '0' || c > '9'):
			return 0
		}
	}
	return 0
}
