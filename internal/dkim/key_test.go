package dkim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
)

func TestKeys(t *testing.T) {
	ed, err := GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	type comparable interface{ Equal(crypto.PublicKey) bool }
	for name, key := range map[string]crypto.Signer{"rsa": rsaKey(), "ed25519": ed} {
		der, err := MarshalPrivate(key)
		if err != nil {
			t.Fatal(err)
		}
		forms := map[string][]byte{"der": der, "pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}
		if k, ok := key.(*rsa.PrivateKey); ok {
			forms["pkcs1"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})
		}
		for form, b := range forms {
			parsed, err := ParsePrivate(b)
			if err != nil || !parsed.Public().(comparable).Equal(key.Public()) {
				t.Errorf("%s %s: %v", name, form, err)
			}
		}
		rec, err := ParseRecord(PublicRecord(key.Public()))
		if err != nil || !rec.Public.(comparable).Equal(key.Public()) {
			t.Errorf("%s record: %v", name, err)
		}
		if !strings.HasPrefix(PublicRecord(key.Public()), "v=DKIM1; k="+name+"; p=") {
			t.Errorf("record %s", PublicRecord(key.Public()))
		}
	}
	if n := rsaKey().Public().(*rsa.PublicKey).N.BitLen(); n != 2048 {
		t.Errorf("RSA key of %d bits", n)
	}
}

func TestKeysRefused(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := MarshalPrivate(ec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParsePrivate(der); !errors.Is(err, ErrKey) {
		t.Errorf("ecdsa: %v", err)
	}
	if PublicRecord(ec.Public()) != "" {
		t.Error("a record for ecdsa")
	}
	for _, b := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := ParsePrivate([]byte(b)); err == nil {
			t.Errorf("%q is taken for a key", b)
		}
	}
}

func TestParseRecordRefuses(t *testing.T) {
	for _, tt := range []struct {
		txt  string
		want error
	}{
		{"v=DKIM1; p=", ErrRevoked},
		{"v=DKIM1; k=rsa", ErrRecord},
		{"v=DKIM2; p=AAAA", ErrRecord},
		{"p=AAAA; v=DKIM1", ErrRecord},
		{"v=spf1 -all", ErrRecord},
		{"p=AAAA", ErrRecord},
		{"p=%", ErrRecord},
		{"k=ed25519; p=AAAA", ErrRecord},
		{"k=dsa; p=AAAA", ErrRecord},
		{"k=rsa; p=" + strings.TrimPrefix(PublicRecord(testKey.Public()), "v=DKIM1; k=ed25519; p="), ErrRecord},
		{PublicRecord(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 511, 1), E: 65537}), ErrRecord},
		{PublicRecord(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 9000, 1), E: 65537}), ErrRecord},
	} {
		if _, err := ParseRecord(tt.txt); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.txt, err, tt.want)
		}
	}
}
