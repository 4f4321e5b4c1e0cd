package message

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mailbox is one address of an address list.
type Mailbox struct {
	// Name is the display name, decoded; "" if there is none. Where the address stands alone and a comment follows
	// it, the old way of naming people, Name is the comment. It is decoration: nothing may be decided by it.
	Name string
	// Addr is the addr-spec, local@domain, without comments and white space; the local part in quotes where it needs
	// them. The domain is as written; mail.ParseAddress checks and normalises it.
	Addr string
	// Group is the name of the group the address stands in (RFC 5322 §3.4); "" outside one.
	Group string
}

// ErrBadAddressList is wrapped by every error of ParseAddresses.
var ErrBadAddressList = errors.New("bad address list")

func badList(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBadAddressList}, args...)...)
}

// MaxAddresses is the most addresses one field may name; a header of smtp.MaxHeaderBytes has room for about as many.
const MaxAddresses = 10000

// maxCommentDepth bounds comments within comments.
const maxCommentDepth = 20

// ParseAddresses reads the value of From, Sender, Reply-To, To or Cc: mailboxes and groups of RFC 5322 §3.4, with the
// UTF-8 of RFC 6532. Of the obsolete forms (§4.4) those are taken that all readers understand alike: empty list
// elements, a source route (dropped), dots in a display name. Everything else is refused, above all what makes one
// reader see another address than the next: text after an address, two addresses without a comma, an unquoted @ in
// a display name, unclosed quotes, control characters. A list without any address, as "undisclosed-recipients:;", is
// no error. Every error wraps ErrBadAddressList.
func ParseAddresses(value string) ([]Mailbox, error) {
	if m, ok := simpleMailbox(value); ok {
		return []Mailbox{m}, nil
	}
	p := addressParser{s: value}
	if err := p.list(""); err != nil {
		return nil, err
	}
	return p.found, nil
}

// simpleMailbox takes the two forms nearly all mail has, local@domain and <local@domain>, both of plain atoms.
func simpleMailbox(s string) (m Mailbox, ok bool) {
	s = strings.Trim(s, " \t")
	if len(s) > 2 && s[0] == '<' && s[len(s)-1] == '>' {
		s = s[1 : len(s)-1]
	}
	at := -1
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '@' && at < 0:
			at = i
		case c >= 0x80 || c != '.' && !isAtext(c):
			return Mailbox{}, false
		}
	}
	if at < 0 || !isDotAtom(s[:at]) || !isDotAtom(s[at+1:]) {
		return Mailbox{}, false
	}
	return Mailbox{Addr: s}, true
}

// addressParser reads a list from s; i is how far it has come.
type addressParser struct {
	s       string
	i       int
	comment string // text of the last comment skipped
	found   []Mailbox
}

// token is a word of a phrase or local part: an atom, a quoted string, or a dot.
type token struct {
	text   string // of a quoted string: what it means
	quoted bool
	spaced bool // white space or a comment stands before it
}

// list reads up to the end, or in a group up to its semicolon.
func (p *addressParser) list(group string) error {
	for {
		if err := p.skip(); err != nil {
			return err
		}
		switch {
		case p.i == len(p.s):
			if group != "" {
				return badList("the semicolon that ends a group is missing")
			}
			return nil
		case p.s[p.i] == ',':
			p.i++
			continue
		case p.s[p.i] == ';' && group != "":
			p.i++
			return nil
		}
		if err := p.element(group); err != nil {
			return err
		}
		if len(p.found) > MaxAddresses {
			return badList("it has more than %d addresses", MaxAddresses)
		}
		if err := p.skip(); err != nil {
			return err
		}
		if p.i < len(p.s) && p.s[p.i] != ',' && (p.s[p.i] != ';' || group == "") {
			return badList("something follows an address where a comma or the end is expected")
		}
	}
}

// element reads one mailbox or group.
func (p *addressParser) element(group string) error {
	var buf [8]token
	words, err := p.words(buf[:0])
	if err != nil {
		return err
	}
	if p.i == len(p.s) {
		return badList("the address has no @ and no domain")
	}
	switch c := p.s[p.i]; c {
	case '<':
		p.i++
		addr, err := p.angle()
		if err != nil {
			return err
		}
		p.found = append(p.found, Mailbox{Name: phrase(words), Addr: addr, Group: group})
		return nil
	case '@':
		p.comment = ""
		addr, err := p.addrSpec(words)
		if err != nil {
			return err
		}
		p.found = append(p.found, Mailbox{Name: DecodeWords(strings.TrimSpace(p.comment)), Addr: addr, Group: group})
		return nil
	case ':':
		if group != "" {
			return badList("a group stands inside a group")
		}
		name := phrase(words)
		if name == "" {
			return badList("a group has no name")
		}
		p.i++
		return p.list(name)
	case ',', ';':
		return badList("an address has no @ and no domain")
	default:
		return badList("a character is not allowed here, or the name needs quotes")
	}
}

// words reads atoms, quoted strings and dots.
func (p *addressParser) words(words []token) ([]token, error) {
	for {
		before := p.i
		if err := p.skip(); err != nil {
			return nil, err
		}
		spaced := p.i > before
		if p.i == len(p.s) {
			return words, nil
		}
		switch c := p.s[p.i]; {
		case c == '"':
			text, err := p.quoted()
			if err != nil {
				return nil, err
			}
			words = append(words, token{text, true, spaced})
		case c == '.':
			p.i++
			words = append(words, token{".", false, spaced})
		case isAtext(c):
			start := p.i
			for p.i < len(p.s) && isAtext(p.s[p.i]) {
				p.i++
			}
			words = append(words, token{p.s[start:p.i], false, spaced})
		default:
			return words, nil
		}
	}
}

// angle reads an addr-spec and the closing bracket.
func (p *addressParser) angle() (string, error) {
	if err := p.skip(); err != nil {
		return "", err
	}
	if p.i < len(p.s) && p.s[p.i] == '@' { // obs-route: "@a,@b:"
		colon := strings.IndexAny(p.s[p.i:], ":<>\"()")
		if colon < 0 || p.s[p.i+colon] != ':' {
			return "", badList("a source route has no colon")
		}
		p.i += colon + 1
	}
	var buf [8]token
	words, err := p.words(buf[:0])
	if err != nil {
		return "", err
	}
	if p.i == len(p.s) || p.s[p.i] != '@' {
		if len(words) == 0 {
			return "", badList("the angle brackets are empty")
		}
		return "", badList("the address in angle brackets has no @, or a character that needs quotes")
	}
	addr, err := p.addrSpec(words)
	if err != nil {
		return "", err
	}
	if p.i == len(p.s) || p.s[p.i] != '>' {
		return "", badList("the closing angle bracket is missing")
	}
	p.i++
	return addr, nil
}

// addrSpec makes local@domain of the words before the @ and what follows it; it also skips white space behind.
func (p *addressParser) addrSpec(local []token) (string, error) {
	p.i++ // the @
	if len(local) == 0 {
		return "", badList("the local part is empty")
	}
	var b strings.Builder
	plain := true
	for i, t := range local {
		switch {
		case i > 0 && t.spaced:
			return "", badList("white space stands inside a local part, or a name holds an unquoted @")
		case (t.text == "." && !t.quoted) != (i%2 == 1):
			return "", badList("a dot begins, ends or follows another in the local part, or a quoted string touches a word")
		}
		plain = plain && !t.quoted
		b.WriteString(t.text)
	}
	if len(local)%2 == 0 {
		return "", badList("a dot ends the local part")
	}
	text := b.String()
	if !plain && !isDotAtom(text) {
		if text == "" {
			return "", badList("the local part is empty")
		}
		text = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
	}
	domain, err := p.domain()
	if err != nil {
		return "", err
	}
	addr := text + "@" + domain
	if err := checkVisible(addr); err != nil {
		return "", err
	}
	return addr, nil
}

func (p *addressParser) domain() (string, error) {
	if err := p.skip(); err != nil {
		return "", err
	}
	start := p.i
	if p.i < len(p.s) && p.s[p.i] == '[' {
		for p.i++; p.i < len(p.s) && p.s[p.i] > ' ' && p.s[p.i] < 0x7f && !strings.ContainsRune(`[]\`, rune(p.s[p.i])); {
			p.i++
		}
		if p.i == len(p.s) || p.s[p.i] != ']' {
			return "", badList("the address literal is malformed")
		}
		p.i++
		return p.s[start:p.i], p.skip()
	}
	for p.i < len(p.s) && (p.s[p.i] == '.' || isAtext(p.s[p.i])) {
		p.i++
	}
	domain := p.s[start:p.i]
	if !isDotAtom(domain) {
		return "", badList("the domain is empty or malformed")
	}
	return domain, p.skip()
}

// quoted reads a quoted string and returns what it means.
func (p *addressParser) quoted() (string, error) {
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		c := p.s[p.i]
		if c == '"' {
			p.i++
			return b.String(), nil
		}
		if c == '\\' {
			if p.i++; p.i == len(p.s) {
				break
			}
			c = p.s[p.i]
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			return "", badList("a control character is not allowed, quoted or not")
		}
		b.WriteByte(c)
	}
	return "", badList("the closing quote is missing")
}

// skip passes white space and comments.
func (p *addressParser) skip() error {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t':
			p.i++
		case '(':
			if err := p.skipComment(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

func (p *addressParser) skipComment() error {
	start, depth := p.i+1, 0
	for ; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '(':
			if depth++; depth > maxCommentDepth {
				return badList("comments are nested more than %d deep", maxCommentDepth)
			}
		case c == ')':
			if depth--; depth == 0 {
				p.comment = p.s[start:p.i]
				p.i++
				return nil
			}
		case c == '\\':
			p.i++
		case c < ' ' && c != '\t' || c == 0x7f:
			return badList("a control character is not allowed in a comment")
		}
	}
	return badList("the closing parenthesis of a comment is missing")
}

// phrase makes the display name of its words.
func phrase(words []token) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		if words[0].quoted {
			return oneLine(words[0].text)
		}
		return DecodeWords(words[0].text)
	}
	// Encoded words are recognised in atoms only (RFC 2047 §5 rule 3), over several of them.
	var out, atoms strings.Builder
	flush := func() {
		out.WriteString(DecodeWords(atoms.String()))
		atoms.Reset()
	}
	for i, t := range words {
		if t.spaced && i > 0 {
			atoms.WriteByte(' ')
		}
		if t.quoted {
			flush()
			out.WriteString(oneLine(t.text))
		} else {
			atoms.WriteString(t.text)
		}
	}
	flush()
	return out.String()
}

// checkVisible refuses an address that is not UTF-8 or has characters that cannot be seen.
func checkVisible(s string) error {
	if !utf8.ValidString(s) {
		return badList("an address is not valid UTF-8")
	}
	for _, r := range s {
		if r >= 0x80 && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Zs)) {
			return badList("an invisible character (U+%04X) is not allowed in an address", r)
		}
	}
	return nil
}

// isAtext is atext of RFC 5322 §3.2.3 with the UTF-8 of RFC 6532 §3.2.
func isAtext(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c >= 0x80 ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// isDotAtom reports whether s is dot-atom-text.
func isDotAtom(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		if s[i] != '.' && !isAtext(s[i]) {
			return false
		}
	}
	return true
}

// ParseAddressesLenient reads what it can of an address list of mail that came from the world: as ParseAddresses if
// that succeeds, else every text in angle brackets, else every word with an @, else the value if it is a single word. An
// Addr may then lack a domain, as MAILER-DAEMON does.
func ParseAddressesLenient(value string) (found []Mailbox) {
	value = Unfold(value)
	if found, err := ParseAddresses(value); err == nil {
		return found
	}
	for rest := value; ; {
		name, after, ok := strings.Cut(rest, "<")
		addr, next, ok2 := strings.Cut(after, ">")
		if !ok || !ok2 || len(found) == MaxAddresses {
			break
		}
		if addr = oneLine(strings.TrimSpace(addr)); addr != "" && !strings.ContainsAny(addr, " <\"") {
			found = append(found, Mailbox{Name: DecodeWords(strings.Trim(name, " \t\",;")), Addr: addr})
		}
		rest = next
	}
	if found != nil {
		return found
	}
	for _, w := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" \t,;:<>()\"", r) }) {
		if at := strings.IndexByte(w, '@'); at > 0 && at < len(w)-1 && len(found) < MaxAddresses {
			found = append(found, Mailbox{Addr: oneLine(w)})
		}
	}
	if found == nil && isDotAtom(value) {
		found = append(found, Mailbox{Addr: oneLine(value)})
	}
	return found
}
