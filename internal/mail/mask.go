package mail

import "regexp"

// addressLike is what looks like an address in a reply.
var addressLike = regexp.MustCompile(`(?:"[^"]*"|[^\s<>()",;:]+)@[^\s<>()",;:]+`)

// MaskedAddress stands where MaskAddresses has hidden one.
const MaskedAddress = "(address)"

// MaskAddresses hides everything that looks like an address. What a lane was last answered may have been an answer to
// another account's mail: its words help everybody, its addresses are nobody else's business.
func MaskAddresses(text string) string { return addressLike.ReplaceAllString(text, MaskedAddress) }
