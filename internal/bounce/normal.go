package bounce

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/postroad/postroad/internal/smtp"
)

// maxText bounds how much of a text is looked at, in octets: all that a reply can hold (smtp.MaxReplyBytes) and what
// a report's explanation says before it begins to quote.
const maxText = 16 << 10

// Words longer than this, and words of letters and digits mixed that are longer than maxMixedWord, are queue ids,
// tokens and hashes; provider codes ("IB105", "TSS04") are shorter.
const (
	maxWord      = 40
	maxMixedWord = 10
	maxNumber    = 4
)

// normalised is a text reduced to what rules compare: lower case, accents folded, ids, addresses and URL schemes
// dropped, every run of other characters one space. It begins and ends with a space. Dots stay inside host names and
// numbers, so that "spam" is not found in "spam.example.com".
type normalised struct {
	text     []byte
	ip       bool          // an IP address stood in it
	address  bool          // a mail address stood in it
	enhanced smtp.Enhanced // the first enhanced code that stood in it
}

func (n *normalised) reset() {
	n.text, n.ip, n.address, n.enhanced = append(n.text[:0], ' '), false, false, smtp.Enhanced{}
}

// normalise replaces n by the normal form of s.
func (n *normalised) normalise(s string) {
	n.reset()
	if len(s) > maxText {
		s = s[:maxText]
	}
	for len(s) > 0 {
		i := 0
		for i < len(s) && s[i] <= ' ' {
			i++
		}
		s = s[i:]
		i = 0
		for i < len(s) && s[i] > ' ' {
			i++
		}
		n.chunk(s[:i])
		s = s[i:]
	}
}

// chunk adds a run without white space.
func (n *normalised) chunk(s string) {
	if i := strings.Index(s, "://"); i >= 0 {
		// The host says whose words these are and the path often what they are; the scheme says nothing.
		scheme := i
		for scheme > 0 && isLetter(s[scheme-1]) {
			scheme--
		}
		if scheme > 0 {
			n.chunk(s[:scheme])
		}
		n.chunk(s[i+3:])
		return
	}
	if start, end, ok := addressIn(s); ok {
		n.address = true
		n.words(s[:start])
		n.chunk(s[end:])
		return
	}
	if n.ipv6(s) {
		return
	}
	n.words(s)
}

// ipv6 takes a chunk that holds an IPv6 address, in brackets or not.
func (n *normalised) ipv6(s string) bool {
	if strings.Count(s, ":") < 2 {
		return false
	}
	inner := strings.Trim(s, "[]()<>.,;'\"")
	inner = strings.TrimPrefix(strings.ToLower(inner), "ipv6:")
	colons := 0
	for i := range len(inner) {
		c := inner[i]
		switch {
		case c == ':':
			colons++
		case c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'f':
		default:
			return false
		}
	}
	// Eight groups, or fewer with the gap that "::" is (RFC 4291 §2.2). What else has colons is a time of day, a MAC.
	if colons < 6 && !strings.Contains(inner, "::") {
		return false
	}
	n.ip = true
	return true
}

// words splits s at what is neither letter nor digit and adds each word.
func (n *normalised) words(s string) {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf && !isAlnum(c) {
			i++
			continue
		}
		start := i
		for i < len(s) {
			c := s[i]
			switch {
			case c >= utf8.RuneSelf || isAlnum(c):
				i++
				continue
			case (c == '.' || c == '-') && i+1 < len(s) && isAlnum(s[i+1]):
				// Inside a host name or number perhaps; word decides.
				i++
				continue
			case c == '\'' && i+1 < len(s) && isLetter(s[i+1]) && (i+2 == len(s) || !isAlnum(s[i+2])):
				i++ // doesn't, user's
				continue
			}
			break
		}
		n.dotted(s[start:i])
	}
}

// dotted adds a word that may have dots, hyphens and apostrophes inside.
func (n *normalised) dotted(s string) {
	dots := strings.Count(s, ".")
	if dots == 0 && strings.IndexByte(s, '-') < 0 {
		n.word(s)
		return
	}
	if dots > 0 {
		switch {
		case isDottedNumber(s):
			if dots == 3 {
				n.ip = true
				return
			}
			if e, rest, ok := smtp.ParseEnhanced(s); ok && rest == "" && e[0] != 2 {
				if n.enhanced.IsZero() {
					n.enhanced = e
				}
				return
			}
			n.emit(s)
			return
		case isHostName(s):
			n.emit(s)
			return
		}
	}
	// A hyphen or dot between words, or a queue id with hyphens in it.
	if len(s) > maxWord && strings.ContainsAny(s, "0123456789") {
		return
	}
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '.' || r == '-' }) {
		n.word(part)
	}
}

// word adds one word without punctuation but apostrophes, unless it is an id.
func (n *normalised) word(s string) {
	letters, digits := 0, 0
	for i := range len(s) {
		switch {
		case '0' <= s[i] && s[i] <= '9':
			digits++
		default:
			letters++
		}
	}
	switch {
	case letters == 0 && digits > maxNumber, letters > 0 && digits > 0 && len(s) > maxMixedWord, len(s) > maxWord && s[0] < utf8.RuneSelf:
		return
	}
	n.emit(s)
}

// emit appends s folded, and a space.
func (n *normalised) emit(s string) {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case 'A' <= c && c <= 'Z':
				c += 'a' - 'A'
			case c == '\'':
				continue
			}
			n.text = append(n.text, c)
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size <= 1 {
			r = rune(c) // Latin-1, the usual text that is not UTF-8
		}
		i += size
		n.rune(r)
	}
	if n.text[len(n.text)-1] != ' ' {
		n.text = append(n.text, ' ')
	}
	n.mendWord()
}

// mendWord gives the last word the one spelling rules are written in: does not for doesn't, email for e-mail,
// mailbox for mail box, cannot for can not.
func (n *normalised) mendWord() {
	t := n.text
	if len(t) < 5 {
		return
	}
	switch {
	case bytes.HasSuffix(t, []byte("nt ")):
		start := bytes.LastIndexByte(t[:len(t)-1], ' ') + 1
		if full, ok := contractions[string(t[start:len(t)-1])]; ok {
			n.text = append(append(t[:start], full...), ' ')
		}
	case bytes.HasSuffix(t, []byte(" e mail ")), bytes.HasSuffix(t, []byte(" e mails ")), bytes.HasSuffix(t, []byte(" mail box ")):
		i := bytes.LastIndexByte(t[:len(t)-1], ' ')
		n.text = append(t[:i], t[i+1:]...)
	case bytes.HasSuffix(t, []byte(" can not ")):
		n.text = append(t[:len(t)-5], "not "...)
	}
}

var contractions = map[string]string{
	"doesnt": "does not", "dont": "do not", "didnt": "did not", "isnt": "is not", "arent": "are not", "wasnt": "was not",
	"cant": "cannot", "couldnt": "could not", "wont": "will not", "hasnt": "has not", "havent": "have not",
	"wouldnt": "would not", "werent": "were not",
}

func (n *normalised) rune(r rune) {
	switch {
	case r < foldFrom[0]:
		n.emitASCII(byte(r))
	case r < foldFrom[0]+rune(len(fold[0])):
		n.text = append(n.text, fold[0][r-foldFrom[0]]...)
	case foldFrom[1] <= r && r < foldFrom[1]+rune(len(fold[1])):
		n.text = append(n.text, fold[1][r-foldFrom[1]]...)
	case r == 'ё' || r == 'Ё':
		n.text = utf8.AppendRune(n.text, 'е')
	case r == 0x2019 || r == 0x2018 || r == 0x2bc: // typographic apostrophes
	case 0xff01 <= r && r <= 0xff5e: // full-width ASCII
		n.emitASCII(byte(r - 0xff01 + '!'))
	case !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r):
		if n.text[len(n.text)-1] != ' ' {
			n.text = append(n.text, ' ')
		}
	default:
		n.text = utf8.AppendRune(n.text, unicode.ToLower(r))
	}
}

func (n *normalised) emitASCII(c byte) {
	if isAlnum(c) {
		n.text = append(n.text, c|0x20)
	} else if n.text[len(n.text)-1] != ' ' {
		n.text = append(n.text, ' ')
	}
}

// fold gives Latin and Greek letters without their accents, in lower case; " " for what is no letter. foldFrom are the
// first runes of its two ranges: Latin and Greek, and the blocks of them with more accents than one.
var fold = [...][]string{foldRange(0x80, 0x400), foldRange(0x1e00, 0x2000)}

var foldFrom = [...]rune{0x80, 0x1e00}

func foldRange(from, to rune) []string {
	special := map[rune]string{
		'ß': "ss", 'æ': "ae", 'ø': "o", 'đ': "d", 'ł': "l", 'ı': "i", 'œ': "oe", 'þ': "th", 'ð': "d", 'ħ': "h", 'ŋ': "n", 'ς': "σ",
		'´': "", // written for an apostrophe
	}
	t := make([]string, to-from)
	for r := from; r < to; r++ {
		l := unicode.ToLower(r)
		switch s, ok := special[l]; {
		case ok:
			t[r-from] = s
		case unicode.IsMark(r):
		case !unicode.IsLetter(r):
			t[r-from] = " "
		default:
			base, _ := utf8.DecodeRuneInString(norm.NFD.String(string(l)))
			t[r-from] = string(base)
		}
	}
	return t
}

func isAlnum(c byte) bool { return isLetter(c) || '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isLocalByte(c byte) bool {
	return isAlnum(c) || c >= utf8.RuneSelf || strings.IndexByte(".!#$%&*+-/=?^_{|}~", c) >= 0
}

func isDottedNumber(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '.' && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// isHostName tells a host name from two sentences without a space between them: by its last label.
func isHostName(s string) bool {
	i := strings.LastIndexByte(s, '.')
	tld := s[i+1:]
	if len(tld) == 2 {
		return isLetter(tld[0]) && isLetter(tld[1])
	}
	return commonTLD[strings.ToLower(tld)]
}

var commonTLD = map[string]bool{
	"com": true, "net": true, "org": true, "edu": true, "gov": true, "mil": true, "int": true, "arpa": true,
	"info": true, "biz": true, "name": true, "pro": true, "mobi": true, "app": true, "dev": true, "cloud": true,
	"online": true, "email": true, "example": true, "test": true, "local": true, "invalid": true, "localdomain": true,
}
