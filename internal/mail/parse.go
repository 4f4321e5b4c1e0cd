package mail

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of addresses, RFC 5321 §4.5.3.1.1 to §4.5.3.1.3, in octets.
const (
	MaxLocalPart = 64
	MaxDomain    = 255
	MaxPath      = 256
)

// ErrBadAddress is wrapped by every error of ParseAddress and ParsePath.
var ErrBadAddress = errors.New("bad address")

func badAddress(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBadAddress}, args...)...)
}

// idnaProfile turns U-labels into A-labels as registries do (RFC 5891), and lets underscores and other host names
// that DNS carries pass: mail domains in use have them.
var idnaProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.BidiRule())

// ParseAddress reads a mailbox without angle brackets, as RFC 5321 §4.1.2 and RFC 6531 §3.3 write it: dot-string or
// quoted local part, domain or address literal. The domain comes back in lower-case A-labels, so an address with an
// international domain and an ASCII local part is an ASCII address. Every error wraps ErrBadAddress and says what is
// wrong without repeating octets that could harm a log or a reply.
func ParseAddress(s string) (Address, error) {
	a, rest, err := parseMailbox(s)
	if err != nil {
		return Address{}, err
	}
	if rest != "" {
		return Address{}, badAddress("something follows the domain")
	}
	return a, nil
}

// ParsePath reads a reverse-path or forward-path in angle brackets from the start of s and returns what follows it.
// A source route is read and dropped (RFC 5321 appendix C). "<>" gives the zero Address. Every error wraps
// ErrBadAddress.
func ParsePath(s string) (a Address, rest string, err error) {
	if !strings.HasPrefix(s, "<") {
		return Address{}, "", badAddress("it must stand in angle brackets: <user@example.com>")
	}
	s = s[1:]
	if strings.HasPrefix(s, ">") {
		return Address{}, s[1:], nil
	}
	if strings.HasPrefix(s, "@") {
		_, after, ok := strings.Cut(s, ":")
		if !ok {
			return Address{}, "", badAddress("a source route must end with a colon")
		}
		for _, hop := range strings.Split(s[:len(s)-len(after)-1], ",") {
			if !strings.HasPrefix(hop, "@") {
				return Address{}, "", badAddress("each hop of a source route begins with @")
			}
			if _, err := ParseDomain(hop[1:]); err != nil {
				return Address{}, "", err
			}
		}
		s = after
	}
	a, rest, err = parseMailbox(s)
	if err != nil {
		return Address{}, "", err
	}
	if !strings.HasPrefix(rest, ">") {
		return Address{}, "", badAddress("the closing angle bracket is missing")
	}
	return a, rest[1:], nil
}

// parseMailbox reads a mailbox from the start of s, up to a ">" or the end.
func parseMailbox(s string) (a Address, rest string, err error) {
	local, rest, err := parseLocal(s)
	if err != nil {
		return Address{}, "", err
	}
	if !strings.HasPrefix(rest, "@") {
		return Address{}, "", badAddress("the @ and the domain are missing, or the local part needs quotes")
	}
	rest = rest[1:]
	end := strings.IndexByte(rest, '>')
	if strings.HasPrefix(rest, "[") {
		if end = strings.IndexByte(rest, ']'); end >= 0 {
			end++
		}
	}
	if end < 0 {
		end = len(rest)
	}
	domain, err := ParseDomain(rest[:end])
	if err != nil {
		return Address{}, "", err
	}
	a = Address{Local: local, Domain: domain}
	if len(a.localText())+1+len(domain)+2 > MaxPath {
		return Address{}, "", badAddress("it is longer than %d octets", MaxPath)
	}
	return a, rest[end:], nil
}

func parseLocal(s string) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		local, rest, err = parseQuoted(s[1:])
	} else {
		n := 0
		for n < len(s) && (isAtext(s[n]) || s[n] == '.') {
			n++
		}
		local, rest = s[:n], s[n:]
		if !isDotString(local) {
			switch {
			case local == "" && rest != "" && rest[0] != '@':
				err = badAddress("a character that needs quotes, or is not allowed, begins it")
			case local == "":
				err = badAddress("the local part is empty")
			default:
				err = badAddress("a dot begins, ends or follows another in the local part")
			}
		}
	}
	if err != nil {
		return "", "", err
	}
	if len(local) > MaxLocalPart {
		return "", "", badAddress("the local part is longer than %d octets", MaxLocalPart)
	}
	if err := checkText(local); err != nil {
		return "", "", err
	}
	return local, rest, nil
}

// parseQuoted reads the inside of a quoted string up to and with its closing quote. Control characters are refused
// even when quoted: CR, LF or NUL in an address is how commands are smuggled.
func parseQuoted(s string) (local, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '"' {
			if b.Len() == 0 {
				return "", "", badAddress("the local part is empty")
			}
			return b.String(), s[i+1:], nil
		}
		if c == '\\' {
			if i++; i == len(s) {
				break
			}
			c = s[i]
		}
		if c < ' ' || c == 0x7f {
			return "", "", badAddress("a control character is not allowed, quoted or not")
		}
		b.WriteByte(c)
	}
	return "", "", badAddress("the closing quote is missing")
}

// checkText refuses what is not UTF-8 and what cannot be seen: an invisible character makes two addresses look alike.
func checkText(s string) error {
	if !utf8.ValidString(s) {
		return badAddress("it is not valid UTF-8")
	}
	for _, r := range s {
		if r >= 0x80 && (r == blankBraille || unicode.In(r, invisible...)) {
			return badAddress("an invisible character (U+%04X) is not allowed", r)
		}
	}
	return nil
}

// invisible are the characters that show as nothing or as a space.
var invisible = []*unicode.RangeTable{
	unicode.Cc, unicode.Cf, unicode.Z, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector,
}

const blankBraille = '\u2800'

// ParseDomain reads a domain or an address literal and returns it in lower-case A-labels. A domain of one label is
// allowed: a relay may know it. A trailing dot is refused (RFC 5321 §4.1.2). Every error wraps ErrBadAddress.
func ParseDomain(s string) (string, error) {
	if s == "" {
		return "", badAddress("the domain is empty")
	}
	if s[0] == '[' {
		return parseLiteral(s)
	}
	if len(s) > 4*MaxDomain { // UTF-8 takes at most four octets where an A-label takes one; the mapping is slow on more
		return "", badAddress("the domain is longer than %d octets", MaxDomain)
	}
	if err := checkText(s); err != nil {
		return "", err
	}
	domain := s
	if !isASCII(s) {
		var err error
		if domain, err = idnaProfile.ToASCII(s); err != nil {
			return "", badAddress("the domain is not a valid international name")
		}
	}
	domain = strings.ToLower(domain)
	// Looked at after the mapping: full-width forms of ">", "@" or the space map to the octets themselves.
	for i := range len(domain) {
		switch c := domain[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			return "", badAddress("a character is not allowed in a domain")
		}
	}
	if len(domain) > MaxDomain {
		return "", badAddress("the domain is longer than %d octets", MaxDomain)
	}
	for label := range strings.SplitSeq(domain, ".") {
		switch {
		case label == "":
			return "", badAddress("the domain has an empty label")
		case len(label) > 63:
			return "", badAddress("a label of the domain is longer than 63 octets")
		case label[0] == '-' || label[len(label)-1] == '-':
			return "", badAddress("a hyphen begins or ends a label of the domain")
		}
	}
	return domain, nil
}

// parseLiteral reads [1.2.3.4] or [IPv6:2001:db8::1] (RFC 5321 §4.1.3).
func parseLiteral(s string) (string, error) {
	if s[len(s)-1] != ']' {
		return "", badAddress("the closing bracket of the address literal is missing")
	}
	text := s[1 : len(s)-1]
	want6 := false
	if len(text) > 5 && strings.EqualFold(text[:5], "IPv6:") {
		text, want6 = text[5:], true
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Is6() != want6 || ip.Zone() != "" {
		return "", badAddress("the address literal is neither [IPv4] nor [IPv6:address]")
	}
	if want6 {
		return "[IPv6:" + ip.String() + "]", nil
	}
	return "[" + ip.String() + "]", nil
}
