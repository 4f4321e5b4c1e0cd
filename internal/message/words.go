package message

import (
	"strings"
	"unicode/utf8"
)

// DecodeWords decodes the encoded words (RFC 2047) of an unfolded value, in any charset DecodeCharset knows, and
// returns valid UTF-8 on one line: control characters, also decoded ones, become spaces, so that the result can go
// into a log or a reply. White space between two encoded words goes; a character split over two of them is joined. An
// encoded word that cannot be decoded stays as it is.
func DecodeWords(s string) string {
	at := strings.Index(s, "=?")
	if at < 0 {
		return oneLine(s)
	}
	var out strings.Builder
	var pending []byte // decoded octets of neighbouring words of one charset
	var charset string
	flush := func() {
		if len(pending) > 0 {
			text, _ := DecodeCharset(charset, pending)
			out.WriteString(text)
			pending = pending[:0]
		}
	}
	afterWord := false
	for at >= 0 {
		w, n := cutWord(s[at:])
		if n == 0 {
			// Not a word: keep these two octets and look on behind them.
			flush()
			out.WriteString(utf8OrGuess(s[:at+2]))
			s, afterWord = s[at+2:], false
			at = strings.Index(s, "=?")
			continue
		}
		if gap := s[:at]; !afterWord || strings.Trim(gap, " \t\r\n") != "" {
			flush()
			out.WriteString(utf8OrGuess(gap))
		}
		if !strings.EqualFold(charset, w.charset) {
			flush()
			charset = w.charset
		}
		pending = w.appendDecoded(pending)
		s, afterWord = s[at+n:], true
		at = strings.Index(s, "=?")
	}
	flush()
	out.WriteString(utf8OrGuess(s))
	return oneLine(out.String())
}

// word is one encoded word.
type word struct {
	charset string
	base64  bool
	text    string
}

// maxWord bounds an encoded word, in octets: far above what RFC 2047 §2 allows, so that a whole subject in one word is
// read, and low enough that looking for the end of many words without one costs little.
const maxWord = 8 << 10

// cutWord reads an encoded word from the start of s, which begins with "=?", and returns its length; 0: it is none.
// Longer words than RFC 2047 §2 allows, and spaces in the text, are taken: mail in use has them.
func cutWord(s string) (w word, n int) {
	charset, rest, ok := strings.Cut(s[2:], "?")
	if !ok || charset == "" || len(charset) > 60 || strings.ContainsAny(charset, " \t=") || len(rest) < 4 || rest[1] != '?' {
		return word{}, 0
	}
	switch rest[0] {
	case 'B', 'b':
		w.base64 = true
	case 'Q', 'q':
	default:
		return word{}, 0
	}
	end := strings.Index(rest[2:min(len(rest), maxWord)], "?=")
	if end < 0 || strings.Contains(rest[2:2+end], "=?") {
		return word{}, 0
	}
	w.charset, _, _ = strings.Cut(charset, "*") // RFC 2231 §5: a language may follow
	if !knownCharset(w.charset) {
		return word{}, 0
	}
	w.text = rest[2 : 2+end]
	return w, 2 + len(charset) + 1 + 2 + end + 2
}

func (w word) appendDecoded(dst []byte) []byte {
	if w.base64 {
		return appendBase64(dst, []byte(w.text))
	}
	for i := 0; i < len(w.text); i++ {
		switch c := w.text[i]; {
		case c == '_':
			dst = append(dst, ' ')
		case c == '=' && i+2 < len(w.text) && hexValue(w.text[i+1]) >= 0 && hexValue(w.text[i+2]) >= 0:
			dst = append(dst, byte(hexValue(w.text[i+1])<<4|hexValue(w.text[i+2])))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func utf8OrGuess(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return guess([]byte(s))
}

// oneLine returns s as valid UTF-8 without control characters; s itself where it has none.
func oneLine(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return strings.Map(func(r rune) rune {
				if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 {
					return ' '
				}
				return r
			}, utf8OrGuess(s))
		}
	}
	return s
}

// Bounds of what EncodeWords writes (RFC 2047 §2): a line that holds encoded words, and one word.
const (
	maxWordLine    = 76
	maxEncodedWord = 75
)

// EncodeWords returns text as it may stand in a header field on one line, of which col octets are taken already. Plain text
// stays as it is; what is not plain becomes encoded words (RFC 2047) in UTF-8, folded so that no line is too long (behind a name of
// up to 50 octets). No character is split over two words.
func EncodeWords(text string, col int) string {
	if !strings.Contains(text, "=?") && strings.IndexFunc(text, func(r rune) bool { return (r < ' ' && r != '\t') || r > '~' }) < 0 {
		return text
	}
	const open, end, hexDigits = "=?utf-8?q?", "?=", "0123456789ABCDEF"
	var b strings.Builder
	room := 0 // octets left in the word that is open
	for i, r := range strings.ToValidUTF8(text, string(utf8.RuneError)) {
		char := string(r)
		width := 3 * len(char)
		literal := r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune(" !*+-/", r) // RFC 2047 §5 (3)
		if literal {
			width = 1
		}
		if i == 0 {
			room = max(min(maxWordLine-col, maxEncodedWord)-len(open)-len(end), 3*utf8.UTFMax) // no word is empty
			b.WriteString(open)
		}
		if room < width {
			b.WriteString(end + "\r\n " + open)
			room = maxEncodedWord - len(open) - len(end)
		}
		room -= width
		switch {
		case r == ' ':
			b.WriteByte('_')
		case literal:
			b.WriteRune(r)
		default:
			for _, c := range []byte(char) {
				b.Write([]byte{'=', hexDigits[c>>4], hexDigits[c&15]})
			}
		}
	}
	b.WriteString(end)
	return b.String()
}
