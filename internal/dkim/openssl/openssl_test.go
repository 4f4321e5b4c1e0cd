//go:build openssl && cgo

package openssl

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"
)

func TestAccelerate(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	fast, err := Accelerate(key)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range byte(8) {
		wg.Go(func() {
			digest := sha256.Sum256([]byte{i})
			want, err1 := key.Sign(nil, digest[:], crypto.SHA256)
			got, err2 := fast.Sign(nil, digest[:], crypto.SHA256)
			if err1 != nil || err2 != nil || !bytes.Equal(want, got) {
				t.Errorf("signatures differ (%v, %v)", err1, err2)
			}
		})
	}
	wg.Wait()
	if _, err := fast.Sign(nil, make([]byte, 20), crypto.SHA1); !errors.Is(err, errDigest) {
		t.Errorf("SHA-1: %v", err)
	}
	ed := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	if same, err := Accelerate(ed); err != nil || !ed.Equal(same) {
		t.Errorf("Ed25519: %v", err)
	}
}

func BenchmarkSign(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	fast, err := Accelerate(key)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256(nil)
	for name, k := range map[string]crypto.Signer{"go": key, "openssl": fast} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := k.Sign(nil, digest[:], crypto.SHA256); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
