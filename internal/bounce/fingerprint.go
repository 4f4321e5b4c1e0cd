package bounce

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/smtp"
)

// maxFingerprint is the most octets of a fingerprint: enough of a reply to know it by, short enough for a key.
const maxFingerprint = 200

// What a fingerprint has in place of what differs from one refusal to the next.
const (
	markAddress = "<address>"
	markHost    = "<host>"
	markIP      = "<ip>"
	markURL     = "<url>"
	markID      = "<id>"
	markNumber  = "<n>"
	markName    = "<name>" // one word in quotes or angle brackets: often a local part
)

var marks = []string{markAddress, markHost, markIP, markURL, markID, markNumber, markName}

// Provider codes, which a fingerprint keeps, are at most so many letters and digits: "TSS04", "SC-001", "S3150".
const (
	maxCodeLetters = 4
	maxCodeDigits  = 5
)

// Fingerprint returns a template of a reply's text by which replies of the same wording can be grouped and counted:
// words in normal form, with marks (<address>, <host>, <ip>, <url>, <id>, <n>, <name>) for what differs from one reply
// to the next. Enhanced codes and short provider codes stay. It has at most 200 octets, cut between words; a text
// without words gives "". The fingerprint of a fingerprint is itself.
func Fingerprint(text string) string {
	var f fingerprint
	if len(text) > maxText {
		text = text[:maxText]
	}
	if code := leadingCode(text); code != "" {
		f.tokens, text = append(f.tokens, code), text[len(code):]
	}
	for field := range strings.FieldsSeq(text) {
		f.field(field)
	}
	f.dates()
	f.tokens = slices.CompactFunc(f.tokens, func(a, b string) bool { return a == b && slices.Contains(marks, a) })
	size, n := 0, 0
	for _, t := range f.tokens {
		if size += len(t) + 1; size > maxFingerprint+1 {
			break
		}
		n++
	}
	return strings.Join(f.tokens[:n], " ")
}

// leadingCode returns the reply code a text begins with, "" if none.
func leadingCode(s string) string {
	if len(s) < 3 || s[0] != '4' && s[0] != '5' || !isDigit(s[1]) || !isDigit(s[2]) || len(s) > 3 && s[3] != ' ' && s[3] != '-' {
		return ""
	}
	return s[:3]
}

// fingerprint collects the tokens of one.
type fingerprint struct {
	tokens []string
	norm   normalised
}

func (f *fingerprint) mark(m string) { f.tokens = append(f.tokens, m) }

// field adds a run without white space.
func (f *fingerprint) field(s string) {
	bare := strings.TrimRight(s, ".,;:!?")
	if slices.Contains(marks, bare) {
		f.mark(bare)
		return
	}
	before := len(f.tokens)
	f.chunk(s)
	if enclosed(bare) && !slices.ContainsFunc(f.tokens[before:], func(t string) bool { return slices.Contains(marks, t) }) {
		f.tokens = append(f.tokens[:before], markName)
	}
}

// enclosed reports one word in quotes or angle brackets.
func enclosed(s string) bool {
	if len(s) < 3 {
		return false
	}
	switch s[0] {
	case '<':
		return s[len(s)-1] == '>'
	case '"', '\'':
		return s[len(s)-1] == s[0]
	}
	return false
}

func (f *fingerprint) chunk(s string) {
	if i := strings.Index(s, "://"); i >= 0 {
		for i > 0 && isLetter(s[i-1]) {
			i--
		}
		f.words(s[:i])
		f.mark(markURL)
		return
	}
	for {
		start, end, ok := addressIn(s)
		if !ok {
			break
		}
		f.words(s[:start])
		f.mark(markAddress)
		s = s[end:]
	}
	if f.norm.ipv6(s) {
		f.mark(markIP)
		return
	}
	f.words(s)
}

// words adds what s holds, split at what stands in no host name, number or code.
func (f *fingerprint) words(s string) {
	for i := 0; i < len(s); {
		start, foreign := i, false
		for i < len(s) && (s[i] >= utf8.RuneSelf || isAlnum(s[i]) || i > start && inner(s, i)) {
			foreign = foreign || s[i] >= utf8.RuneSelf
			i++
		}
		switch {
		case i == start:
			i++
		case foreign:
			f.foreign(s[start:i])
		default:
			f.word(s[start:i])
		}
	}
}

// foreign adds a word with letters beyond ASCII. Scripts without spaces write numbers inside it.
func (f *fingerprint) foreign(s string) {
	for s != "" {
		i := 0
		for i < len(s) && isDigit(s[i]) == isDigit(s[0]) {
			i++
		}
		if isDigit(s[0]) {
			f.mark(markNumber)
		} else {
			for part := range strings.FieldsFuncSeq(s[:i], joins) {
				f.plain(part)
			}
		}
		s = s[i:]
	}
}

func joins(r rune) bool { return r == '.' || r == '-' || r == '_' }

// inner reports whether s[i] joins two halves of one word.
func inner(s string, i int) bool {
	return strings.IndexByte(".-_'", s[i]) >= 0 && i+1 < len(s) && isAlnum(s[i+1])
}

// word adds an ASCII word that may have dots, hyphens, underscores and apostrophes inside.
func (f *fingerprint) word(s string) {
	letters, digits := count(s)
	switch {
	case letters == 0 && isDottedNumber(s):
		if e, rest, ok := smtp.ParseEnhanced(s); ok && rest == "" && e[0] != 2 {
			f.tokens = append(f.tokens, s)
		} else if strings.Count(s, ".") == 3 {
			f.mark(markIP)
		} else {
			f.mark(markNumber)
		}
	case letters == 0:
		f.mark(markNumber)
	case strings.IndexByte(s, '.') > 0 && strings.IndexByte(s, '_') < 0 && isHostName(s):
		f.mark(markHost)
	case digits == 0 && len(s) <= maxWord:
		for part := range strings.FieldsFuncSeq(s, joins) {
			f.plain(part)
		}
	case isProviderCode(s):
		f.tokens = append(f.tokens, strings.ToLower(s))
	default:
		f.mark(markID)
	}
}

// isProviderCode reports some letters followed by some digits, with at most a hyphen between them.
func isProviderCode(s string) bool {
	i := 0
	for i < len(s) && isLetter(s[i]) {
		i++
	}
	letters := i
	if i < len(s) && s[i] == '-' {
		i++
	}
	digits := len(s) - i
	return letters >= 1 && letters <= maxCodeLetters && digits >= 1 && digits <= maxCodeDigits &&
		strings.Trim(s[i:], "0123456789") == ""
}

// plain adds words as rules see them.
func (f *fingerprint) plain(s string) {
	f.norm.reset()
	f.norm.emit(s)
	for w := range strings.FieldsSeq(string(f.norm.text)) {
		f.tokens = append(f.tokens, w)
	}
}

// dateWords are what stands beside the numbers of a date.
var dateWords = []string{
	"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
	"mon", "tue", "wed", "thu", "fri", "sat", "sun", "am", "pm", "utc", "gmt",
}

// dates turns the words of dates into numbers.
func (f *fingerprint) dates() {
	isNumber := func(i int) bool { return i >= 0 && i < len(f.tokens) && f.tokens[i] == markNumber }
	for changed := true; changed; {
		changed = false
		for i, t := range f.tokens {
			if (isNumber(i-1) || isNumber(i+1)) && slices.Contains(dateWords, t) {
				f.tokens[i], changed = markNumber, true
			}
		}
	}
}

// count returns how many letters and digits s has.
func count(s string) (letters, digits int) {
	for i := range len(s) {
		switch {
		case isLetter(s[i]):
			letters++
		case isDigit(s[i]):
			digits++
		}
	}
	return letters, digits
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// addressIn finds the first mail address in s.
func addressIn(s string) (start, end int, ok bool) {
	at := strings.IndexByte(s, '@')
	if at < 0 {
		return 0, 0, false
	}
	start, end = at, at+1
	for start > 0 && isLocalByte(s[start-1]) {
		start--
	}
	for end < len(s) && (isAlnum(s[end]) || s[end] == '-' || s[end] == '.' && end+1 < len(s) && isAlnum(s[end+1])) {
		end++
	}
	return start, end, start < at && end > at+1
}
