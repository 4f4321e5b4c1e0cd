package message

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Media is a Content-Type or Content-Disposition value.
type Media struct {
	// Type is the value without parameters, in lower case: "text/plain", "attachment".
	Type string
	// Params are the parameters, names in lower case, values decoded (RFC 2231). Nil if there are none.
	Params map[string]string
}

// Is reports whether the type is major/anything; major in lower case.
func (m Media) Is(major string) bool {
	return len(m.Type) > len(major) && m.Type[len(major)] == '/' && m.Type[:len(major)] == major
}

// maxParams bounds the parameters read of one value.
const maxParams = 100

// ParseMedia reads an unfolded Content-Type or Content-Disposition value (RFC 2045 §5.1, RFC 2183, RFC 2231), and
// never fails: comments are skipped, values that should be quoted are taken up to the semicolon, the first of two
// parameters with one name stands, and encoded words in values are decoded, as common clients write them.
func ParseMedia(value string) Media {
	p := mediaParser{s: value}
	m := Media{Type: strings.ToLower(p.until(";"))}
	var long []section
	for n := 0; p.next() && n < maxParams; n++ {
		name := strings.ToLower(p.until("=;"))
		if !p.at('=') || name == "" {
			continue
		}
		p.i++
		v := p.value()
		if base, rest, ok := strings.Cut(name, "*"); ok {
			long = append(long, newSection(base, rest, v))
			continue
		}
		if name != "boundary" { // that is compared octet by octet
			v = DecodeWords(v)
		}
		m.set(name, v)
	}
	m.join(long)
	return m
}

func (m *Media) set(name, value string) {
	if m.Params == nil {
		m.Params = make(map[string]string, 4)
	}
	if _, ok := m.Params[name]; !ok {
		m.Params[name] = value
	}
}

// section is one piece of a parameter of RFC 2231: name*0*, name*1, name*.
type section struct {
	name    string
	n       int
	encoded bool
	value   string
}

func newSection(name, rest, value string) section {
	s := section{name: name, value: value}
	rest, s.encoded = strings.CutSuffix(rest, "*")
	if rest == "" && !s.encoded { // name*
		s.encoded = true
		return s
	}
	s.n, _ = strconv.Atoi(rest)
	return s
}

// join puts the sections together. What is encoded begins with charset'language'.
func (m *Media) join(long []section) {
	slices.SortStableFunc(long, func(a, b section) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.n, b.n)) })
	for len(long) > 0 {
		name, charset := long[0].name, ""
		var octets []byte
		for i := 0; len(long) > 0 && long[0].name == name; i++ {
			v := long[0].value
			if long[0].encoded {
				if i == 0 {
					if cs, rest, ok := strings.Cut(v, "'"); ok {
						if _, text, ok := strings.Cut(rest, "'"); ok {
							charset, v = cs, text
						}
					}
				}
				octets = appendPercent(octets, v)
			} else {
				octets = append(octets, v...)
			}
			long = long[1:]
		}
		text, _ := DecodeCharset(charset, octets)
		// The extended form is the better one where both are given (RFC 6266 §4.3 says so for its like).
		delete(m.Params, name)
		m.set(name, oneLine(text))
	}
}

func appendPercent(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && hexValue(s[i+1]) >= 0 && hexValue(s[i+2]) >= 0 {
			dst = append(dst, byte(hexValue(s[i+1])<<4|hexValue(s[i+2])))
			i += 2
			continue
		}
		dst = append(dst, s[i])
	}
	return dst
}

type mediaParser struct {
	s string
	i int
}

func (p *mediaParser) at(c byte) bool { return p.i < len(p.s) && p.s[p.i] == c }

// next goes past the semicolon before a parameter.
func (p *mediaParser) next() bool {
	for p.i < len(p.s) && p.s[p.i] != ';' {
		p.i++
	}
	if p.i == len(p.s) {
		return false
	}
	p.i++
	return true
}

// until reads up to one of stop, without comments and outer white space.
func (p *mediaParser) until(stop string) string {
	var b strings.Builder
	start, depth := p.i, 0
	for ; p.i < len(p.s); p.i++ {
		c := p.s[p.i]
		switch {
		case c == '(':
			if depth == 0 {
				b.WriteString(p.s[start:p.i])
			}
			depth++
		case c == ')' && depth > 0:
			if depth--; depth == 0 {
				start = p.i + 1
			}
		case depth == 0 && strings.IndexByte(stop, c) >= 0:
			return strings.Trim(b.String()+p.s[start:p.i], " \t\r\n")
		}
	}
	if depth > 0 {
		start = p.i
	}
	return strings.Trim(b.String()+p.s[start:p.i], " \t\r\n")
}

// value reads a token or quoted string.
func (p *mediaParser) value() string {
	for p.at(' ') || p.at('\t') || p.at('\r') || p.at('\n') {
		p.i++
	}
	if !p.at('"') {
		return p.until(";")
	}
	var b strings.Builder
	for p.i++; p.i < len(p.s) && p.s[p.i] != '"'; p.i++ {
		c := p.s[p.i]
		if c == '\\' && p.i+1 < len(p.s) {
			p.i++
			c = p.s[p.i]
		}
		if c != '\r' && c != '\n' {
			b.WriteByte(c)
		}
	}
	return b.String()
}
