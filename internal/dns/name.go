package dns

import (
	"errors"
	"strings"
)

// maxName is the longest name in text form, in octets, without the trailing dot (RFC 1035 §2.3.4: 255 on the wire).
const maxName = 253

var (
	errNameEmpty = errors.New("the name is empty or has an empty label")
	errNameLong  = errors.New("the name or a label of it is too long")
	errNameOctet = errors.New("the name has a character that no A-label has")
)

// canonical returns name in lower case without a trailing dot. It does not allocate for a name in that form.
func canonical(name string) (string, error) {
	name = strings.TrimSuffix(name, ".")
	if len(name) > maxName {
		return "", errNameLong
	}
	upper := false
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return "", errNameEmpty
			}
			label = 0
			continue
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case 'A' <= c && c <= 'Z':
			upper = true
		default:
			return "", errNameOctet
		}
		if label++; label > 63 {
			return "", errNameLong
		}
	}
	if label == 0 {
		return "", errNameEmpty
	}
	if upper {
		name = strings.ToLower(name)
	}
	return name, nil
}

// published returns a name of an answer as we hand it on: lower case, no trailing dot; "" for the root. Octets that no
// host name has stay escaped as in a zone file (RFC 1035 §5.1), so the text is safe to log.
func published(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
