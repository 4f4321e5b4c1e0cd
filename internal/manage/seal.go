package manage

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// MasterKey is the key all secrets of the platform are sealed under, and all its signing keys are derived from. It
// lies in a file of its own, outside the data folder.
type MasterKey [32]byte

const masterKeyHead = "postroad-master-key-1:"

// ErrSealed is returned for a secret that does not open: it was sealed under another master key, or is damaged.
var ErrSealed = errors.New("the secret does not open with this master key")

// LoadMasterKey reads the master key from file, or makes one there (mode 0600) where there is none. made tells which.
func LoadMasterKey(file string) (key MasterKey, made bool, err error) {
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		_, _ = rand.Read(key[:]) // never fails (crypto/rand)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return MasterKey{}, false, fmt.Errorf("manage: make master key: %w", err)
		}
		if err := writeSynced(file, []byte(masterKeyHead+base64.StdEncoding.EncodeToString(key[:])+"\n")); err != nil {
			return MasterKey{}, false, fmt.Errorf("manage: make master key: %w", err)
		}
		return key, true, nil
	case err != nil:
		return MasterKey{}, false, fmt.Errorf("manage: read master key: %w", err)
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(b)), masterKeyHead)
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) != len(key) {
		return MasterKey{}, false, fmt.Errorf("manage: %s is not a master key file (one line, %s and 44 characters)", file, masterKeyHead)
	}
	copy(key[:], raw)
	return key, false, nil
}

// writeSynced makes a new file and returns when it is on disk; it never overwrites.
func writeSynced(file string, b []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Derive makes the key for one purpose; different purposes give unrelated keys (RFC 5869).
func (k MasterKey) Derive(purpose string) [32]byte {
	b, err := hkdf.Key(sha256.New, k[:], nil, "postroad "+purpose, 32)
	if err != nil {
		panic(err) // only for a length HKDF cannot make
	}
	return [32]byte(b)
}

// Seal encrypts a secret so that it opens only for the same context ("route/gateway/password"): a sealed value moved
// to another place in the store does not open there.
func (k MasterKey) Seal(context string, secret []byte) []byte {
	aead := k.aead()
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(secret)+aead.Overhead())
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	return aead.Seal(nonce, nonce, secret, []byte(context))
}

// Open decrypts what Seal made for the same context. It returns ErrSealed.
func (k MasterKey) Open(context string, sealed []byte) ([]byte, error) {
	aead := k.aead()
	if len(sealed) < aead.NonceSize() {
		return nil, fmt.Errorf("manage: %s: %w", context, ErrSealed)
	}
	secret, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(context))
	if err != nil {
		return nil, fmt.Errorf("manage: %s: %w", context, ErrSealed)
	}
	return secret, nil
}

func (k MasterKey) aead() cipher.AEAD {
	key := k.Derive("seal 1")
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic(err) // only for a key of another length
	}
	return aead
}
