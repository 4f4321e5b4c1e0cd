package smtp

import "errors"

// ErrXtext is returned for a text that is not xtext.
var ErrXtext = errors.New("smtp: not valid xtext")

const upperHex = "0123456789ABCDEF"

// AppendXtext appends s in the xtext form of RFC 3461 §4: every octet outside "!" to "~", and "+" and "=", as a plus
// sign and two upper-case hexadecimal digits. The result has no space and no control character.
func AppendXtext(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c < '!' || c > '~' || c == '+' || c == '=' {
			b = append(b, '+', upperHex[c>>4], upperHex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// ParseXtext decodes what AppendXtext wrote. Lower-case digits, which RFC 3461 does not allow, are read as well,
// because clients write them. What comes back may hold any octet: callers check it. It returns ErrXtext.
func ParseXtext(s string) (string, error) {
	plain := true
	for i := range len(s) {
		c := s[i]
		if c < '!' || c > '~' || c == '=' {
			return "", ErrXtext
		}
		plain = plain && c != '+'
	}
	if plain {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", ErrXtext
		}
		hi, ok1 := hexValue(s[i+1])
		lo, ok2 := hexValue(s[i+2])
		if !ok1 || !ok2 {
			return "", ErrXtext
		}
		b = append(b, hi<<4|lo)
		i += 2
	}
	return string(b), nil
}

func hexValue(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
