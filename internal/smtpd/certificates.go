package smtpd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

const (
	// certificateCheck is how often, at most, a handshake looks whether the files have changed.
	certificateCheck = time.Second
	// selfSignedFor is how long a certificate made for a run is good.
	selfSignedFor = 365 * 24 * time.Hour
)

// CertificateOptions name the certificate.
type CertificateOptions struct {
	// CertFile and KeyFile are PEM files; both empty: a self-signed certificate for Hostname is made, in memory.
	CertFile, KeyFile string
	Hostname          string
	Logger            *slog.Logger
	Now               func() time.Time
}

// Certificates gives the certificate to handshakes and loads it anew when its files have changed. While the new files
// do not fit together, as between the writing of the one and of the other, the old certificate stays in use. All
// methods may be called at once.
type Certificates struct {
	o CertificateOptions

	mu      sync.Mutex
	current *tls.Certificate
	loaded  stamp     // of the files current was read from
	failed  stamp     // of files that did not load; logged once
	next    time.Time // no look at the files before
}

// stamp tells two states of the files apart.
type stamp struct {
	cert, key         time.Time
	certSize, keySize int64
}

// NewCertificates loads the certificate, or makes one.
func NewCertificates(o CertificateOptions) (*Certificates, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("smtpd: certificate and key go together")
	}
	c := &Certificates{o: o}
	if o.CertFile == "" {
		cert, err := selfSigned(o.Hostname, o.Now())
		if err != nil {
			return nil, err
		}
		c.current = cert
		return c, nil
	}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// TLSConfig returns a configuration that always uses the newest certificate.
func (c *Certificates) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, // RFC 8997: TLS 1.0 and 1.1 must not be used for submission
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.Current(), nil
		},
	}
}

// Current returns the certificate in use, after a look at the files when the last one was a while ago.
func (c *Certificates) Current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.o.Now(); c.o.CertFile != "" && !now.Before(c.next) {
		c.next = now.Add(certificateCheck)
		if s, err := c.stamp(); err != nil || s != c.loaded {
			if err := c.load(); err != nil && s != c.failed {
				c.failed = s
				c.o.Logger.Error("the new certificate cannot be used; the old one stays", mail.LogErr, err)
			}
		}
	}
	return c.current
}

// Reload loads the files now. On error the old certificate stays in use.
func (c *Certificates) Reload() error {
	if c.o.CertFile == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load()
}

func (c *Certificates) load() error {
	// The stamp is taken first: files that change while they are read are then seen as changed at the next look.
	s, err := c.stamp()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(c.o.CertFile, c.o.KeyFile)
	if err != nil {
		return fmt.Errorf("smtpd: load certificate %s: %w", c.o.CertFile, err)
	}
	if c.current != nil {
		c.o.Logger.Info("certificate loaded anew")
	}
	c.current, c.loaded = &cert, s
	return nil
}

func (c *Certificates) stamp() (s stamp, err error) {
	cert, err := os.Stat(c.o.CertFile)
	if err != nil {
		return s, fmt.Errorf("smtpd: certificate: %w", err)
	}
	key, err := os.Stat(c.o.KeyFile)
	if err != nil {
		return s, fmt.Errorf("smtpd: key of the certificate: %w", err)
	}
	return stamp{cert.ModTime(), key.ModTime(), cert.Size(), key.Size()}, nil
}

// selfSigned makes a certificate for host and for loopback.
func selfSigned(host string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("smtpd: make certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("smtpd: make certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: host},
		DNSNames:              []string{host, "localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(selfSignedFor),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("smtpd: make certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
