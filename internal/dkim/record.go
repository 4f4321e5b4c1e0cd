package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxRSABits bounds the keys Verify works with: a larger one costs time and is in no one's use.
const MaxRSABits = 8192

// Errors of ParseRecord and Verify.
var (
	ErrNoKey   = errors.New("dkim: no key in DNS")
	ErrRevoked = errors.New("dkim: the key is revoked")
	ErrRecord  = errors.New("dkim: the key record is not usable")
)

// Record is a key record (RFC 6376 §3.6.1).
type Record struct {
	Public  crypto.PublicKey // *rsa.PublicKey or ed25519.PublicKey
	Testing bool             // t=y
	Strict  bool             // t=s: i= must be of exactly the domain d=
}

// ParseRecord reads the text of the TXT record at selector._domainkey.domain. An empty p= gives ErrRevoked; every other
// fault, a key for other hashes or services among them, wraps ErrRecord.
func ParseRecord(txt string) (r Record, err error) {
	tags, err := parseTags(txt)
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if v, ok := tags["v"]; ok && (v != "DKIM1" || !strings.HasPrefix(strings.TrimLeft(txt, fws), "v")) {
		return r, fmt.Errorf("%w: v= is not DKIM1, or not first", ErrRecord)
	}
	lists := func(name, want string) bool {
		v, ok := tags[name]
		return !ok || slices.Contains(strings.Split(withoutSpace(v), ":"), want)
	}
	if !lists("h", "sha256") {
		return r, fmt.Errorf("%w: h= does not allow sha256", ErrRecord)
	}
	if !lists("s", "*") && !lists("s", "email") {
		return r, fmt.Errorf("%w: s= does not allow e-mail", ErrRecord)
	}
	if tags["t"] != "" {
		r.Testing, r.Strict = lists("t", "y"), lists("t", "s")
	}
	p, ok := tags["p"]
	if !ok {
		return r, fmt.Errorf("%w: p= is missing", ErrRecord)
	}
	if p == "" {
		return r, ErrRevoked
	}
	b, err := base64.StdEncoding.DecodeString(withoutSpace(p))
	if err != nil {
		return r, fmt.Errorf("%w: p= is not base64", ErrRecord)
	}
	switch k, ok := tags["k"]; {
	case !ok || k == "rsa":
		r.Public, err = parseRSA(b)
	case k == "ed25519" && len(b) == ed25519.PublicKeySize:
		r.Public = ed25519.PublicKey(b)
	case k == "ed25519":
		err = fmt.Errorf("%w: an Ed25519 key has %d octets, not %d", ErrRecord, ed25519.PublicKeySize, len(b))
	default:
		err = fmt.Errorf("%w: unknown key type %.20q", ErrRecord, k)
	}
	return r, err
}

func parseRSA(b []byte) (*rsa.PublicKey, error) {
	var key *rsa.PublicKey
	if parsed, err := x509.ParsePKIXPublicKey(b); err == nil {
		key, _ = parsed.(*rsa.PublicKey)
	} else if key, err = x509.ParsePKCS1PublicKey(b); err != nil { // RFC 6376 §3.6.1 by its letter
		return nil, fmt.Errorf("%w: p= is no RSA key", ErrRecord)
	}
	if key == nil {
		return nil, fmt.Errorf("%w: p= is no RSA key", ErrRecord)
	}
	// RFC 8301 §3.2
	if n := key.N.BitLen(); n < MinRSABits || n > MaxRSABits {
		return nil, fmt.Errorf("%w: an RSA key of %d bits; %d to %d are taken", ErrRecord, n, MinRSABits, MaxRSABits)
	}
	return key, nil
}
