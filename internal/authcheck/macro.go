package authcheck

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// checkSpec reads a macro string without expanding it (RFC 7208 §7.1). That of a domain must not hold letters that are
// for explanations only.
func checkSpec(spec string, domain bool) error {
	_, err := expandMacros(spec, func(letter byte) (string, error) {
		if domain && strings.IndexByte("crt", letter|0x20) >= 0 {
			return "", errSyntax
		}
		return "x", nil
	})
	if err == nil && domain && !endsAsDomain(spec) {
		err = errSyntax
	}
	return err
}

// endsAsDomain reports whether a domain-spec ends with a macro or a dot and a top label (RFC 7208 §7.1): "a:mail" is
// wrong.
func endsAsDomain(spec string) bool {
	if strings.HasSuffix(spec, "}") || strings.HasSuffix(spec, "%%") || strings.HasSuffix(spec, "%_") || strings.HasSuffix(spec, "%-") {
		return true
	}
	spec = strings.TrimSuffix(spec, ".")
	label := spec[strings.LastIndexByte(spec, '.')+1:]
	if len(label) == len(spec) || label == "" || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	digits := true
	for i := range len(label) {
		c := label[i] | 0x20
		digits = digits && label[i] >= '0' && label[i] <= '9'
		if !(c >= 'a' && c <= 'z' || label[i] >= '0' && label[i] <= '9' || label[i] == '-') {
			return false
		}
	}
	return !digits
}

// expand expands the macros of a domain-spec for a record of domain, and cuts what is too long from the left (RFC 7208
// §7.3).
func (c *check) expand(spec, domain string) (string, error) {
	name, err := expandMacros(spec, func(letter byte) (string, error) {
		value := ""
		switch letter | 0x20 {
		case 's':
			value = c.local + "@" + c.sender
		case 'l':
			value = c.local
		case 'o':
			value = c.sender
		case 'd':
			value = domain
		case 'i':
			value = dotted(c)
		case 'v':
			if value = "in-addr"; c.ip.Is6() {
				value = "ip6"
			}
		case 'h':
			value = c.helo
		case 'p':
			value = c.pointer(domain)
		}
		return value, nil
	})
	if err != nil {
		return "", stop(PermError)
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	for len(name) > maxDomain {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			break
		}
		name = rest
	}
	return name, nil
}

// pointer is the name of the host, for %{p}.
func (c *check) pointer(domain string) string {
	names := c.validated()
	for _, n := range names {
		if n == domain {
			return n
		}
	}
	for _, n := range names {
		if strings.HasSuffix(n, "."+domain) {
			return n
		}
	}
	if len(names) > 0 {
		return names[0]
	}
	return "unknown"
}

// dotted is the host's address for %{i}: IPv6 as 32 digits with dots between.
func dotted(c *check) string {
	if c.ip.Is4() {
		return c.ip.String()
	}
	var b strings.Builder
	for i, x := range c.ip.As16() {
		if i > 0 {
			b.WriteByte('.')
		}
		fmt.Fprintf(&b, "%x.%x", x>>4, x&15)
	}
	return b.String()
}

// expandMacros replaces each %{…} of a macro string by what value gives for its letter, after its transformers.
func expandMacros(spec string, value func(letter byte) (string, error)) (string, error) {
	if len(spec) > maxRecord {
		return "", errSyntax
	}
	var b strings.Builder
	for i := 0; i < len(spec); {
		if spec[i] != '%' {
			b.WriteByte(spec[i])
			i++
			continue
		}
		if i+1 == len(spec) {
			return "", errSyntax
		}
		switch spec[i+1] {
		case '%':
			b.WriteByte('%')
			i += 2
		case '_':
			b.WriteByte(' ')
			i += 2
		case '-':
			b.WriteString("%20")
			i += 2
		case '{':
			end := strings.IndexByte(spec[i:], '}')
			if end < 0 {
				return "", errSyntax
			}
			text, err := macro(spec[i+2:i+end], value)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			i += end + 1
		default:
			return "", errSyntax
		}
	}
	return b.String(), nil
}

// macro expands the inside of one %{…}: letter, number of parts kept, "r" to reverse them, and what delimits them.
func macro(inside string, value func(letter byte) (string, error)) (string, error) {
	if inside == "" || strings.IndexByte("slodiphcrtv", inside[0]|0x20) < 0 {
		return "", errSyntax
	}
	letter, rest := inside[0], inside[1:]
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	keep := maxLabels
	if digits > 0 {
		n, err := strconv.Atoi(rest[:digits])
		if err != nil || n == 0 {
			return "", errSyntax
		}
		keep, rest = min(n, maxLabels), rest[digits:]
	}
	reverse := false
	if rest != "" && rest[0]|0x20 == 'r' {
		reverse, rest = true, rest[1:]
	}
	delimiters := "."
	if rest != "" {
		if strings.Trim(rest, ".-+,/_=") != "" {
			return "", errSyntax
		}
		delimiters = rest
	}
	text, err := value(letter)
	if err != nil {
		return "", err
	}
	parts := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(delimiters, r) })
	if reverse {
		slices.Reverse(parts)
	}
	if len(parts) > keep {
		parts = parts[len(parts)-keep:]
	}
	text = strings.Join(parts, ".")
	if letter >= 'A' && letter <= 'Z' {
		text = url.QueryEscape(text) // RFC 7208 §7.3: an upper-case letter URL-escapes
	}
	return text, nil
}
