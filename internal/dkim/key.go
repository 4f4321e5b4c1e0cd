package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
)

// RSABits is the size of the RSA keys GenerateRSA makes: RFC 8301 §3.2 recommends it, and its record fits one DNS
// response over UDP.
const RSABits = 2048

// GenerateRSA makes a new RSA key of RSABits.
func GenerateRSA() (crypto.Signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, RSABits)
	if err != nil {
		return nil, fmt.Errorf("dkim: generate rsa key: %w", err)
	}
	return key, nil
}

// GenerateEd25519 makes a new Ed25519 key.
func GenerateEd25519() (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("dkim: generate ed25519 key: %w", err)
	}
	return key, nil
}

// PublicRecord returns the text of the TXT record at selector._domainkey.domain for a public key (RFC 6376 §3.6.1, RFC
// 8463 §4). It may be longer than the 255 octets of one DNS character string. It returns "" for a key that is neither
// RSA nor Ed25519.
func PublicRecord(pub crypto.PublicKey) string {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			return ""
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub)
	}
	return ""
}

// MarshalPrivate writes a private key as PKCS#8 in DER.
func MarshalPrivate(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("dkim: marshal private key: %w", err)
	}
	return der, nil
}

// ParsePrivate reads a private key: PKCS#8 as MarshalPrivate writes it, or what other software exports: PKCS#1, and
// either of them in PEM. It refuses keys that Sign would refuse.
func ParsePrivate(b []byte) (crypto.Signer, error) {
	if block, _ := pem.Decode(bytes.TrimSpace(b)); block != nil {
		b = block.Bytes
	}
	parsed, err := x509.ParsePKCS8PrivateKey(b)
	if err != nil {
		pkcs1, err1 := x509.ParsePKCS1PrivateKey(b)
		if err1 != nil {
			return nil, fmt.Errorf("dkim: parse private key: %w", err)
		}
		parsed = pkcs1
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("dkim: parse private key: %w: %T", ErrKey, parsed)
	}
	if _, err := (Key{Domain: "example.com", Selector: "s", Signer: signer}).algorithm(); err != nil {
		return nil, fmt.Errorf("dkim: parse private key: %w", err)
	}
	return signer, nil
}
