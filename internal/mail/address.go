package mail

// Address is a mailbox as the envelope names it. Two addresses that compare equal are the same mailbox for us; the
// local part keeps its case, because only the receiver may fold it (RFC 5321 §2.4). The zero Address is the null
// path <>.
type Address struct {
	// Local is the local part unquoted: `john smith`, not `"john smith"`.
	Local string
	// Domain is the domain in lower-case A-labels (RFC 5890), or an address literal with its brackets.
	Domain string
}

// IsZero reports whether a is the null path.
func (a Address) IsZero() bool { return a == Address{} }

// String returns local@domain with the local part quoted where RFC 5321 §4.1.2 needs it, and "" for the null path.
func (a Address) String() string {
	if a.IsZero() {
		return ""
	}
	return a.localText() + "@" + a.Domain
}

// Path returns <local@domain>, or <> for the null path.
func (a Address) Path() string { return "<" + a.String() + ">" }

// IsASCII reports whether the address can go to a peer without SMTPUTF8.
func (a Address) IsASCII() bool { return isASCII(a.Local) }

// MarshalText implements encoding.TextMarshaler.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the empty text is the null path.
func (a *Address) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*a = Address{}
		return nil
	}
	*a, err = ParseAddress(string(text))
	return err
}

func (a Address) localText() string {
	if isDotString(a.Local) {
		return a.Local
	}
	b := make([]byte, 0, len(a.Local)+2)
	b = append(b, '"')
	for i := range len(a.Local) {
		if c := a.Local[i]; c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, a.Local[i])
	}
	return string(append(b, '"'))
}

// isAtext reports whether c may stand in an unquoted local part: atext of RFC 5322 §3.2.3, and every octet of
// UTF-8 (RFC 6531 §3.3).
func isAtext(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c >= 0x80:
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '/', '=', '?', '^', '_', '`', '{', '|', '}', '~':
		return true
	}
	return false
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func isDotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' {
		return false
	}
	for i := range len(s) {
		if s[i] == '.' {
			if s[i-1] == '.' {
				return false
			}
		} else if !isAtext(s[i]) {
			return false
		}
	}
	return true
}
