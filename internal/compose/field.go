package compose

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Line lengths a written header keeps to where it can (RFC 5322 §2.1.1, RFC 2047 §2).
const (
	foldAt         = 76
	maxEncodedWord = 75
)

// fieldWriter writes one field, folding as it goes. Its caller has checked that no value holds CR, LF or NUL.
type fieldWriter struct {
	dst []byte
	col int // octets on the current line
	// begun: the value has begun. No line holds the name alone: some readers take that for an empty field.
	begun bool
}

func newField(dst []byte, name string) fieldWriter {
	return fieldWriter{dst: append(append(dst, name...), ':'), col: len(name) + 1}
}

// end ends the field.
func (w *fieldWriter) end() []byte { return append(w.dst, crlf...) }

// word writes a space and s, which must not contain any, on a new line if it does not fit on this one.
func (w *fieldWriter) word(s string) {
	if w.begun && w.col+1+len(s) > foldAt {
		w.dst, w.col = append(w.dst, crlf...), 0
	}
	w.begun = true
	w.dst = append(append(w.dst, ' '), s...)
	w.col += 1 + len(s)
}

// glue writes s directly behind what stands there.
func (w *fieldWriter) glue(s string) {
	w.dst = append(w.dst, s...)
	w.col += len(s)
}

// words writes ASCII text, folding only where it has white space. Runs of white space become one space.
func (w *fieldWriter) words(s string) {
	for word := range strings.FieldsSeq(s) {
		w.word(word)
	}
}

// text writes unstructured text, or a display name that needs it: words with characters outside ASCII, or that look
// like encoded words, become encoded words (RFC 2047).
func (w *fieldWriter) text(s string) {
	if isASCIIText(s) && !strings.Contains(s, "=?") && s == strings.Join(strings.Fields(s), " ") && !hasLongWord(s) {
		w.words(s)
		return
	}
	w.encoded(s)
}

// hasLongWord reports whether a word of s fits on no line.
func hasLongWord(s string) bool {
	for word := range strings.FieldsSeq(s) {
		if len(word) > 900 {
			return true
		}
	}
	return false
}

// encoded writes s in encoded words, in the encoding that suits. Characters are never split.
func (w *fieldWriter) encoded(s string) {
	quoted := 0
	for i := range len(s) {
		quoted++
		if !isWordText(s[i]) && s[i] != ' ' {
			quoted += 2
		}
	}
	base64 := (len(s) + 2) / 3 * 4
	const overhead = len("=?utf-8?q??=")
	for len(s) > 0 {
		// What fits on this line; but do not begin a word with no room for some text.
		room := foldAt - w.col - 1
		if room < overhead+12 {
			room = maxEncodedWord
			if w.begun {
				w.dst, w.col = append(w.dst, crlf...), 0
			}
		}
		room = min(room, maxEncodedWord) - overhead
		n := 0
		if quoted <= base64+len(s)/4 { // the more readable one, if it is not much longer
			n = cutQuotedWord(s, room)
			w.word("=?utf-8?q?" + quoteWord(s[:n]) + "?=")
		} else {
			n = cutAtRune(s, room/4*3)
			w.word("=?utf-8?b?" + base64Word(s[:n]) + "?=")
		}
		s = s[n:]
	}
}

func base64Word(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// cutQuotedWord returns how many octets of s fit into room octets of Q encoding.
func cutQuotedWord(s string, room int) int {
	n := 0
	for n < len(s) {
		_, size := utf8.DecodeRuneInString(s[n:])
		width := 3 * size
		if size == 1 && (isWordText(s[n]) || s[n] == ' ') {
			width = 1
		}
		if room -= width; room < 0 && n > 0 {
			break
		}
		n += size
	}
	return n
}

// cutAtRune returns the greatest n up to max at which s can be cut between characters, at least one character.
func cutAtRune(s string, max int) int {
	if len(s) <= max {
		return len(s)
	}
	n := max
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	if n == 0 {
		_, n = utf8.DecodeRuneInString(s)
	}
	return n
}

func quoteWord(s string) string {
	b := make([]byte, 0, len(s)*3)
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			b = append(b, '_')
		case isWordText(c):
			b = append(b, c)
		default:
			b = append(b, '=', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(b)
}

// isWordText reports whether c may stand for itself in every encoded word (RFC 2047 §5 rule 3).
func isWordText(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!*+-/", c) >= 0
}

// isASCIIText reports whether s is printable ASCII.
func isASCIIText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// phrase writes a display name: as it is, in quotes, or encoded. Every name that could be read as something else is
// put in quotes.
func (w *fieldWriter) phrase(name string) {
	plain, ascii := name != "", true
	for i := range len(name) {
		c := name[i]
		ascii = ascii && c >= ' ' && c <= '~'
		plain = plain && (isToken(c) && c != '=' || c == ' ' && i > 0 && i < len(name)-1 && name[i-1] != ' ')
	}
	switch {
	case plain:
		w.words(name)
	case ascii && !strings.Contains(name, "=?") && len(name) < 200:
		w.word(quoteString(name))
	default:
		w.encoded(name)
	}
}

// quoteString writes a quoted string (RFC 5322 §3.2.4).
func quoteString(s string) string {
	b := append(make([]byte, 0, len(s)+4), '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return string(append(b, '"'))
}

// isToken reports whether c is both atext and a token character of RFC 2045 §5.1.
func isToken(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-^_`{|}~", c) >= 0
}

// param writes a parameter of a MIME field: plain, in quotes, or by RFC 2231 where it has other characters than
// ASCII or is too long for a line.
func (w *fieldWriter) param(name, value string) {
	w.glue(";")
	token := value != ""
	for i := range len(value) {
		token = token && (isToken(value[i]) || value[i] == '.') && value[i] != '%' && value[i] != '\'' && value[i] != '*'
	}
	// A long value on a line of its own is better understood than one in pieces.
	const longest = 200
	switch {
	case token && len(value) <= longest:
		w.word(name + "=" + value)
	case isASCIIText(value) && len(value) <= longest:
		w.word(name + "=" + quoteString(value))
	default:
		w.extended(name, value)
	}
}

// extended writes name*=utf-8”… in one piece or in several.
func (w *fieldWriter) extended(name, value string) {
	const room = foldAt - 8 // for "*00*=" and the semicolon
	lead := "utf-8''"
	if len(name)+len(lead)+3*len(value) < room {
		w.word(name + "*=" + lead + percent(value))
		return
	}
	for n := 0; value != "" || n == 0; n++ {
		size, used := 0, len(name)+len(lead)
		for size < len(value) {
			width := 3
			if isAttribute(value[size]) {
				width = 1
			}
			if used += width; used > room && size > 0 {
				break
			}
			size++
		}
		w.word(name + "*" + strconv.Itoa(n) + "*=" + lead + percent(value[:size]))
		if value = value[size:]; value != "" {
			w.glue(";")
		}
		lead = ""
	}
}

func percent(s string) string {
	b := make([]byte, 0, len(s)*3)
	for i := range len(s) {
		if c := s[i]; isAttribute(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(b)
}

// isAttribute reports whether c may stand for itself in an extended value (RFC 2231 §7, and RFC 8187 to be safe).
func isAttribute(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0
}
