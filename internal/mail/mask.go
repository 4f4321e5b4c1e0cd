package mail

import (
	"regexp"
	"strings"
)

// addressLike is what looks like an address in a reply.
var addressLike = regexp.MustCompile(`(?:"[^"]*"|[^\s<>()",;:]+)@[^\s<>()",;:]+`)

// MaskedAddress stands where MaskAddresses has hidden one.
const MaskedAddress = "(address)"

// MaskAddresses hides everything that looks like an address. What a lane was last answered may have been an answer to
// another account's mail: its words help everybody, its addresses are nobody else's business.
func MaskAddresses(text string) string { return addressLike.ReplaceAllString(text, MaskedAddress) }

// MaskedSecret stands where MaskSecrets has hidden one.
const MaskedSecret = "***"

// How much of a secret is hidden, in octets: a part, for an English word is no part of a password but for chance; the whole of a
// shorter one; and none of what is so short that every text has it.
const (
	secretPart  = 8
	secretLeast = 4
)

// MaskSecrets hides secrets in what a peer said that was told them, whole or a good part: peers cut what they quote.
func MaskSecrets(text string, secrets ...string) string {
	var b strings.Builder
	for text != "" {
		n := 0
		for _, s := range secrets {
			k := min(len(s), secretPart)
			if len(s) < secretLeast || len(text) < k || !strings.Contains(s, text[:k]) {
				continue
			}
			for k < len(text) && strings.Contains(s, text[:k+1]) {
				k++
			}
			n = max(n, k)
		}
		if n == 0 {
			b.WriteByte(text[0])
			text = text[1:]
			continue
		}
		b.WriteString(MaskedSecret)
		text = text[n:]
	}
	return b.String()
}
