package authcheck

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// term is one mechanism of a record, with what follows where it matches.
type term struct {
	result       Result
	name         string
	spec         string       // domain-spec, macros not expanded
	net          netip.Prefix // of ip4 and ip6
	bits4, bits6 int          // prefix lengths of a and mx
}

var errSyntax = errors.New("authcheck: the record is malformed")

// parse reads a record (RFC 7208 §4.6, §12). A syntax error anywhere makes all of it wrong.
func parse(text string) (terms []term, redirect string, err error) {
	seen := map[string]bool{}
	for word := range strings.SplitSeq(text[len("v=spf1"):], " ") {
		if word == "" {
			continue
		}
		for i := range len(word) {
			if word[i] < 0x21 || word[i] > 0x7e {
				return nil, "", errSyntax
			}
		}
		if name, value, ok := modifier(word); ok {
			if err := checkSpec(value, name == "redirect" || name == "exp"); err != nil {
				return nil, "", err
			}
			if name != "redirect" && name != "exp" {
				continue // RFC 7208 §6: unknown ones are ignored
			}
			if seen[name] || value == "" {
				return nil, "", errSyntax
			}
			if seen[name] = true; name == "redirect" {
				redirect = value
			}
			continue
		}
		t, err := mechanism(word)
		if err != nil {
			return nil, "", err
		}
		terms = append(terms, t)
	}
	return terms, redirect, nil
}

// modifier reads name=value.
func modifier(word string) (name, value string, ok bool) {
	i := strings.IndexAny(word, "=:/")
	if i <= 0 || word[i] != '=' {
		return "", "", false
	}
	name = strings.ToLower(word[:i])
	for j := range len(name) {
		c := name[j]
		if !(c >= 'a' && c <= 'z' || j > 0 && (c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')) {
			return "", "", false
		}
	}
	return name, word[i+1:], true
}

// mechanism reads [qualifier]name[:spec][/prefix[//prefix]].
func mechanism(word string) (t term, err error) {
	t = term{result: Pass, bits4: 32, bits6: 128}
	switch word[0] {
	case '+':
		word = word[1:]
	case '-':
		t.result, word = Fail, word[1:]
	case '~':
		t.result, word = SoftFail, word[1:]
	case '?':
		t.result, word = Neutral, word[1:]
	}
	end := strings.IndexAny(word, ":/")
	if end < 0 {
		end = len(word)
	}
	t.name = strings.ToLower(word[:end])
	rest := word[end:]
	switch t.name {
	case "all":
		if rest != "" {
			return t, errSyntax
		}
	case "ip4", "ip6":
		if !strings.HasPrefix(rest, ":") {
			return t, errSyntax
		}
		return t, t.network(rest[1:])
	case "include", "exists":
		if len(rest) < 2 || rest[0] != ':' {
			return t, errSyntax
		}
		t.spec = rest[1:]
		return t, checkSpec(t.spec, true)
	case "ptr":
		if rest == "" {
			return t, nil
		}
		if len(rest) < 2 || rest[0] != ':' {
			return t, errSyntax
		}
		t.spec = rest[1:]
		return t, checkSpec(t.spec, true)
	case "a", "mx":
		if rest, err = t.prefixes(rest); err != nil || rest == "" {
			return t, err
		}
		if len(rest) < 2 || rest[0] != ':' {
			return t, errSyntax
		}
		t.spec = rest[1:]
		return t, checkSpec(t.spec, true)
	default:
		return t, errSyntax
	}
	return t, nil
}

// network reads the address of ip4 or ip6.
func (t *term) network(text string) error {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.Zone() != "" {
			return errSyntax
		}
		p = netip.PrefixFrom(ip, ip.BitLen())
	}
	if p.Addr().Is4() != (t.name == "ip4") {
		return errSyntax
	}
	t.net = p.Masked()
	return nil
}

// prefixes cuts /n, //m or /n//m from the end of what follows a or mx.
func (t *term) prefixes(rest string) (string, error) {
	// A slash within braces delimits a macro (RFC 7208 §7.1), and is no prefix.
	from := strings.LastIndexByte(rest, '}') + 1
	i := strings.IndexByte(rest[from:], '/')
	if i < 0 {
		return rest, nil
	}
	i += from
	four, six, dual := strings.Cut(rest[i+1:], "//")
	if strings.HasPrefix(rest[i:], "//") {
		four, six, dual = "", rest[i+2:], true
	}
	var ok bool
	if four != "" || !dual {
		if t.bits4, ok = prefixLength(four, 32); !ok {
			return "", errSyntax
		}
	}
	if dual {
		if t.bits6, ok = prefixLength(six, 128); !ok {
			return "", errSyntax
		}
	}
	return rest[:i], nil
}

func prefixLength(text string, max int) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && n <= max && text == strconv.Itoa(n)
}
