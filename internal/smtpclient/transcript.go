package smtpclient

import (
	"bytes"
	"fmt"
	"strings"
)

// transcript keeps the dialogue in words, bounded: passwords are never given to it, of content only the size. The
// zero value with max 0 keeps nothing.
type transcript struct {
	max  int
	buf  []byte
	mark int // where the current transaction begins; what comes before is the opening of the connection
	full bool
}

// add appends the lines of text, each behind the prefix.
func (t *transcript) add(prefix string, text []byte) {
	if t.max == 0 || t.full {
		return
	}
	text = bytes.TrimSuffix(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"))
	for line := range strings.SplitSeq(printable(text), "\n") {
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
func (t *transcript) begin() {
	if t.max > 0 {
		t.buf, t.full = t.buf[:t.mark], false
	}
}

// opened marks the end of what belongs to every transaction of the connection. At most half the room goes to it.
func (t *transcript) opened() {
	if t.max > 0 {
		t.mark = min(len(t.buf), t.max/2)
	}
}
