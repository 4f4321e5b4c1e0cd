package practice

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// certificates are the server side of STARTTLS. They are made anew at each start and signed by nobody.
type certificates struct {
	good, odd *tls.Config
}

func makeCertificates(now time.Time) (certificates, error) {
	good, err := selfSigned(now.Add(-time.Hour), now.Add(90*24*time.Hour), "mx1.mailbox.test", "*.test", "*.mailbox.test",
		"mx.brokentls.test", "mx.small.test", "mx.tlsonly.test", "mx.crowded.test", "mx.load.test", "implicit.test")
	if err != nil {
		return certificates{}, fmt.Errorf("make a certificate: %w", err)
	}
	odd, err := selfSigned(now.Add(-90*24*time.Hour), now.Add(-time.Hour), "somebody-else.example")
	if err != nil {
		return certificates{}, fmt.Errorf("make a certificate: %w", err)
	}
	return certificates{good: good, odd: odd}, nil
}

func selfSigned(from, until time.Time, names ...string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS12,
	}, nil
}
