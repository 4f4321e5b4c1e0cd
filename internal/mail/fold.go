package mail

import (
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Fold returns the form in which texts that name a mailbox are compared and looked up: lower case and NFC. It is the one
// rule for it: the suppression list, the record, the archive, legal holds and erasures find an address by it, so that what
// was written in one spelling is found in the other. Only the receiver may say whether case matters (RFC 5321 §2.4); in
// practice receivers fold it. Nothing else is folded: user+tag@ and u.ser@ are addresses of their own.
func Fold(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 0x80 || 'A' <= c && c <= 'Z' {
			return norm.NFC.String(strings.ToLower(s))
		}
	}
	return s
}

// SameMailbox reports whether two texts name the same mailbox.
func SameMailbox(a, b string) bool { return a == b || Fold(a) == Fold(b) }

// Folded returns the address in the form of Fold.
func (a Address) Folded() Address { return Address{Local: Fold(a.Local), Domain: a.Domain} }

// FoldedText is Fold of what a person wrote for an address: where it can be read as one, of its domain in A-labels.
func FoldedText(s string) string {
	s = strings.TrimSpace(s)
	if a, err := ParseAddress(s); err == nil {
		s = a.String()
	}
	return Fold(s)
}
