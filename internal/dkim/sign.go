package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/message"
)

// Key signs for one domain and selector. Signer holds an RSA key of at least MinRSABits or an Ed25519 key; its Sign
// gets a SHA-256 digest.
type Key struct {
	Domain   string // d=, in A-labels
	Selector string // s=
	Signer   crypto.Signer
}

// MinRSABits is the smallest RSA key that signs or verifies: RFC 8301 §3.2.
const MinRSABits = 1024

// Options of Sign. The zero value signs without t= and x=.
type Options struct {
	Time    time.Time     // t=; zero: left out
	Expires time.Duration // x= is Time plus this; 0: left out. Needs Time
	// Fields and Over say which fields are signed, and which once more than they occur; nil: SignedFields and
	// OverSigned. Names in lower case.
	Fields, Over []string
}

// SignedFields are the fields a signature covers where the message has them (RFC 6376 §5.4.1, RFC 8058, RFC 9477).
// Return-Path, Received and Bcc change or vanish on the way and are never among them.
var SignedFields = []string{
	"from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "mime-version", "content-type",
	"content-transfer-encoding", "in-reply-to", "references", "list-unsubscribe", "list-unsubscribe-post",
	"feedback-id", "cfbl-address", "cfbl-feedback-id",
}

// OverSigned are the fields named once more than the message has them, so that none can be added to a signed message
// (RFC 6376 §8.15).
var OverSigned = []string{"from", "subject", "date", "to", "cc", "reply-to", "content-type"}

// ErrKey is wrapped where a key cannot sign.
var ErrKey = errors.New("dkim: key cannot sign")

// Sign returns one DKIM-Signature field for each key, in order, each with its line ends, to be put before header. The
// header is that of the message as it will go out, with or without the empty line after it; bodyHash is that of
// BodyHasher. Errors wrap ErrKey, or come from reading the header or from the signer.
func Sign(header []byte, bodyHash [32]byte, keys []Key, o Options) ([]byte, error) {
	h, _, err := message.ReadHeader(header, 0)
	if err != nil {
		return nil, fmt.Errorf("dkim: sign: %w", err)
	}
	if o.Fields == nil {
		o.Fields = SignedFields
	}
	if o.Over == nil {
		o.Over = OverSigned
	}
	// What is hashed: the signed fields, then the new field itself, which alone differs from key to key.
	var list strings.Builder
	hashed := make([]byte, 0, min(len(header), 4<<10)+1<<10)
	hashed = appendSigned(hashed, &list, h, o)
	fields := make([]byte, 0, 800*len(keys))
	prefix := len(hashed)
	for _, k := range keys {
		start := len(fields)
		if fields, err = appendUnsigned(fields, k, list.String(), bodyHash, o); err != nil {
			return nil, err
		}
		// RFC 6376 §3.7: with an empty b= and without its CRLF.
		hashed = appendRelaxed(hashed[:prefix], fields[start:])
		digest := sha256.Sum256(hashed[:len(hashed)-2])
		sig, err := k.sign(digest)
		if err != nil {
			return nil, fmt.Errorf("dkim: sign for %s._domainkey.%s: %w", k.Selector, k.Domain, err)
		}
		fields = appendFolded(fields, sig)
		fields = append(fields, '\r', '\n')
	}
	return fields, nil
}

// appendSigned appends the canonical form of the fields to be signed, and names them in list. Fields of one name are
// taken from the bottom up (RFC 6376 §5.4.2).
func appendSigned(dst []byte, list *strings.Builder, h message.Header, o Options) []byte {
	all := h.Fields()
	list.Grow(256)
	for _, name := range o.Fields {
		n := 0
		for i := len(all) - 1; i >= 0; i-- {
			if all[i].Is(name) {
				dst = appendRelaxed(dst, all[i].Raw)
				n++
			}
		}
		if slices.Contains(o.Over, name) {
			n++
		}
		for range n {
			if list.Len() > 0 {
				list.WriteByte(':')
			}
			list.WriteString(name)
		}
	}
	return dst
}

// maxLine is where a signature field is folded.
const maxLine = 76

// appendUnsigned appends the field up to and with its "b=", without a line end.
func appendUnsigned(dst []byte, k Key, list string, bodyHash [32]byte, o Options) ([]byte, error) {
	algorithm, err := k.algorithm()
	if err != nil {
		return nil, err
	}
	f := folder{dst: dst, line: len(dst)}
	f.dst = append(f.dst, "DKIM-Signature: v=1;"...)
	f.tag("a", algorithm)
	f.tag("c", "relaxed/relaxed")
	f.tag("d", k.Domain)
	f.tag("s", k.Selector)
	if !o.Time.IsZero() {
		f.tag("t", strconv.FormatInt(o.Time.Unix(), 10))
		if o.Expires > 0 {
			f.tag("x", strconv.FormatInt(o.Time.Add(o.Expires).Unix(), 10))
		}
	}
	f.list("h", list)
	f.tag("bh", base64.StdEncoding.EncodeToString(bodyHash[:]))
	f.fold(len("b=") + 20)
	return append(f.dst, " b="...), nil
}

// folder appends tags, folding before the one that would make a line too long.
type folder struct {
	dst  []byte
	line int // where the current line begins
}

func (f *folder) fold(next int) {
	if len(f.dst)-f.line+1+next > maxLine {
		f.dst = append(f.dst, '\r', '\n')
		f.line = len(f.dst)
	}
}

func (f *folder) tag(name, value string) {
	f.fold(len(name) + len(value) + 2)
	f.dst = append(append(append(append(append(f.dst, ' '), name...), '='), value...), ';')
}

// list appends a tag whose value may be folded after its colons.
func (f *folder) list(name, value string) {
	f.fold(len(name) + 20)
	f.dst = append(append(append(f.dst, ' '), name...), '=')
	for {
		item, rest, more := strings.Cut(value, ":")
		if len(f.dst)-f.line+len(item)+1 > maxLine {
			f.dst = append(f.dst, "\r\n "...)
			f.line = len(f.dst) - 1
		}
		f.dst = append(f.dst, item...)
		if !more {
			break
		}
		f.dst = append(f.dst, ':')
		value = rest
	}
	f.dst = append(f.dst, ';')
}

// appendFolded appends base64, folded; the line that dst ends with is counted.
func appendFolded(dst, sig []byte) []byte {
	text := base64.StdEncoding.EncodeToString(sig)
	room := maxLine - (len(dst) - 1 - bytes.LastIndexByte(dst, '\n'))
	for {
		n := min(max(room, 0), len(text))
		dst = append(dst, text[:n]...)
		if text = text[n:]; text == "" {
			return dst
		}
		dst = append(dst, "\r\n "...)
		room = maxLine - 1
	}
}

func (k Key) algorithm() (string, error) {
	if k.Signer == nil {
		return "", fmt.Errorf("%w: it has no private key", ErrKey)
	}
	if !validName(k.Domain) || !validName(k.Selector) {
		return "", fmt.Errorf("%w: domain %.80q or selector %.80q is not a DNS name", ErrKey, k.Domain, k.Selector)
	}
	switch pub := k.Signer.Public().(type) {
	case *rsa.PublicKey:
		if pub.N.BitLen() < MinRSABits {
			return "", fmt.Errorf("%w: RSA with %d bits, fewer than %d", ErrKey, pub.N.BitLen(), MinRSABits)
		}
		return "rsa-sha256", nil
	case ed25519.PublicKey:
		return "ed25519-sha256", nil
	default:
		return "", fmt.Errorf("%w: %T is neither RSA nor Ed25519", ErrKey, pub)
	}
}

func (k Key) sign(digest [32]byte) ([]byte, error) {
	opts := crypto.SHA256
	if _, ok := k.Signer.Public().(ed25519.PublicKey); ok {
		opts = 0 // RFC 8463 §3: the digest is the message PureEdDSA signs
	}
	return k.Signer.Sign(rand.Reader, digest[:], opts)
}

// validName reports whether s can stand in d= or s=: a DNS name in A-labels, without anything that could end the tag.
func validName(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}
