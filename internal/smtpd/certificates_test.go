package smtpd

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writePair writes a fresh certificate and key with that modification time; either file may be left out.
func writePair(t *testing.T, dir string, at time.Time, files ...string) *tls.Certificate {
	t.Helper()
	cert, err := selfSigned("mx.example.net", at)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		block := &pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}
		if name == "key.pem" {
			block = &pem.Block{Type: "PRIVATE KEY", Bytes: key}
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return cert
}

func TestCertificatesFollowTheFiles(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first := writePair(t, dir, now, "cert.pem", "key.pem")
	c, err := NewCertificates(CertificateOptions{
		CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"), Logger: quiet, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	is := func(want *tls.Certificate, when string) {
		t.Helper()
		if !bytes.Equal(c.Current().Certificate[0], want.Certificate[0]) {
			t.Errorf("%s: another certificate is in use", when)
		}
	}
	is(first, "at the start")

	second := writePair(t, dir, now.Add(time.Minute), "cert.pem", "key.pem")
	is(first, "within the second")
	now = now.Add(time.Second)
	is(second, "after a second")

	// The certificate is written, the key not yet: they do not fit together.
	writePair(t, dir, now.Add(2*time.Minute), "cert.pem")
	now = now.Add(time.Second)
	is(second, "between two writes")
	if err := c.Reload(); err == nil {
		t.Error("Reload of files that do not fit: no error")
	}
	is(second, "after a failed Reload")
	third := writePair(t, dir, now.Add(3*time.Minute), "cert.pem", "key.pem")
	now = now.Add(time.Second)
	is(third, "after both writes")

	fourth := writePair(t, dir, now.Add(4*time.Minute), "cert.pem", "key.pem")
	if err := c.Reload(); err != nil {
		t.Error(err)
	}
	is(fourth, "after Reload")

	if err := os.Remove(filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	is(fourth, "with a file gone")
}

func TestCertificatesRefuse(t *testing.T) {
	dir := t.TempDir()
	for _, o := range []CertificateOptions{
		{CertFile: filepath.Join(dir, "cert.pem")},
		{KeyFile: filepath.Join(dir, "key.pem")},
		{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")},
	} {
		if _, err := NewCertificates(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

func TestSelfSigned(t *testing.T) {
	c, err := NewCertificates(CertificateOptions{Hostname: "mx.example.net", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); err != nil {
		t.Error(err)
	}
	leaf, err := x509.ParseCertificate(c.Current().Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	for _, name := range []string{"mx.example.net", "localhost", "127.0.0.1", "::1"} {
		client, server := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- tls.Server(server, c.TLSConfig()).Handshake() }()
		if err := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: name}).Handshake(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, _ = client.Close(), server.Close()
	}
}
