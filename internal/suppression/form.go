package suppression

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/postroad/postroad/internal/mail"
)

// HashPrefix begins the form of an entry whose address is not kept, only its hash.
const HashPrefix = "sha256:"

// ErrBadSubject is wrapped by every error of Subject.
var ErrBadSubject = errors.New("neither an address nor " + HashPrefix + " and 64 hexadecimal digits")

// Form returns the form addresses are compared in (mail.Fold); "" for the null path. To mail somebody who asked not to be
// mailed because a list writes him in capitals is the worse mistake.
func Form(a mail.Address) string { return a.Folded().String() }

// Hash returns the form of an entry that keeps no address: HashPrefix and the SHA-256 of the address's Form in lower-case
// hexadecimal. It matches the same mail as the address itself.
func Hash(form string) string {
	sum := sha256.Sum256([]byte(form))
	return HashPrefix + hex.EncodeToString(sum[:])
}

// IsHash reports whether the subject of an entry is a hash.
func IsHash(subject string) bool { return strings.HasPrefix(subject, HashPrefix) }

// Subject reads what an entry is about, as people and lists write it: an address, perhaps with the angle brackets or the
// spaces around it that lists have, or a hash. It returns the Form, or the hash. Errors wrap ErrBadSubject and do not
// repeat the text.
func Subject(text string) (string, error) {
	text = strings.TrimSpace(text)
	if len(text) >= len(HashPrefix) && strings.EqualFold(text[:len(HashPrefix)], HashPrefix) {
		digits := strings.ToLower(text[len(HashPrefix):])
		if b, err := hex.DecodeString(digits); err != nil || len(b) != sha256.Size {
			return "", ErrBadSubject
		}
		return HashPrefix + digits, nil
	}
	if strings.HasPrefix(text, "<") && strings.HasSuffix(text, ">") {
		text = text[1 : len(text)-1]
	}
	a, err := mail.ParseAddress(text)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadSubject, err)
	}
	return Form(a), nil
}
