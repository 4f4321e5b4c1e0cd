package smtpclient

import (
	"bytes"
	"fmt"
)

// transcript keeps the dialogue, bounded: passwords are never given to it, of content only the size. The zero value
// with max 0 keeps nothing.
type transcript struct {
	max  int
	buf  []byte // as it went over the wire but for the line ends: text makes it harmless
	mark int    // where the current transaction begins; what comes before is the opening of the connection
	full bool
}

// add appends the lines of text, each behind the prefix.
func (t *transcript) add(prefix string, text []byte) {
	for t.max > 0 && !t.full && len(text) > 0 {
		line := text
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			line, text = text[:i], text[i+1:]
		} else {
			text = nil
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(t.buf)+len(prefix)+len(line)+1 > t.max {
			t.full = true
			t.buf = append(t.buf, "… (cut)\n"...)
			return
		}
		t.buf = append(append(append(t.buf, prefix...), line...), '\n')
	}
}

func (t *transcript) note(format string, args ...any) {
	if t.max > 0 {
		t.add("-- ", fmt.Appendf(nil, format, args...))
	}
}

// begin forgets the last transaction.
func (t *transcript) begin() { t.buf, t.full = t.buf[:t.mark], false }

// opened marks the end of what belongs to every transaction of the connection. At most half the room goes to it.
func (t *transcript) opened() { t.mark = min(len(t.buf), t.max/2) }

// text returns what is kept, harmless to logs and terminals.
func (t *transcript) text() string { return printable(t.buf) }
