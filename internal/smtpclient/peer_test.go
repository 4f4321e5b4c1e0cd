package smtpclient

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script plays the server's side of a dialogue, a line each:
//
//	S: text     sends the text and CRLF; RAW "text" sends exactly that
//	C: text     wants this line; C* text wants a line that begins so
//	CONTENT     reads to the final dot and keeps what came, dots undone
//	CHUNK       wants BDAT n LAST and n octets, and keeps them
//	READ n      reads n octets
//	TLS         goes on with TLS
//	CLOSE       closes; RESET closes so that the other side gets an error
//	SYNC        wants that nothing is waiting: the client has not sent ahead
//	HANG        reads until the client closes
type script struct {
	t       *testing.T
	conn    net.Conn
	r       *bufio.Reader
	content []string
	reads   int // calls of Read on the connection, about the writes of the client
	config  *tls.Config
}

// play runs the script on conn. Its error says where the client left it.
func (s *script) play(conn net.Conn, text string) error {
	s.conn, s.r = conn, bufio.NewReaderSize(&countingReader{conn, &s.reads}, 256<<10)
	defer func() { s.conn.Close() }()
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		line = strings.TrimSpace(line)
		if err := s.step(line); err != nil {
			return fmt.Errorf("at %q: %w", line, err)
		}
	}
	return nil
}

func (s *script) step(line string) error {
	verb, arg, _ := strings.Cut(line, " ")
	switch verb {
	case "":
	case "S:":
		_, err := io.WriteString(s.conn, arg+"\r\n")
		return err
	case "RAW":
		text, err := strconv.Unquote(arg)
		if err != nil {
			return err
		}
		_, err = io.WriteString(s.conn, text)
		return err
	case "C:", "C*":
		got, err := s.r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("got %q: %w", got, err)
		}
		if !strings.HasSuffix(got, "\r\n") {
			return fmt.Errorf("got a bare LF in %q", got)
		}
		got = strings.TrimSuffix(got, "\r\n")
		if verb == "C:" && got != arg || !strings.HasPrefix(got, arg) {
			return fmt.Errorf("got %q", got)
		}
	case "CONTENT":
		var b strings.Builder
		for {
			l, err := s.r.ReadString('\n')
			if err != nil {
				return err
			}
			if l == ".\r\n" {
				break
			}
			b.WriteString(strings.TrimPrefix(l, "."))
		}
		s.content = append(s.content, b.String())
	case "CHUNK":
		l, err := s.r.ReadString('\n')
		if err != nil {
			return err
		}
		var n int
		if _, err := fmt.Sscanf(l, "BDAT %d LAST\r\n", &n); err != nil {
			return fmt.Errorf("got %q", l)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(s.r, b); err != nil {
			return err
		}
		s.content = append(s.content, string(b))
	case "READ":
		n, _ := strconv.Atoi(arg)
		_, err := io.CopyN(io.Discard, s.r, int64(n))
		return err
	case "TLS":
		conn := tls.Server(s.conn, s.config)
		if err := conn.Handshake(); err != nil {
			return err
		}
		s.conn, s.r = conn, bufio.NewReader(conn)
	case "SYNC":
		_ = s.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		b, err := s.r.Peek(1)
		_ = s.conn.SetReadDeadline(time.Time{})
		if err == nil {
			return fmt.Errorf("%q is sent ahead", b)
		}
	case "CLOSE":
		return s.conn.Close()
	case "RESET":
		_ = s.conn.(*net.TCPConn).SetLinger(0)
		return s.conn.Close()
	case "HANG":
		_, _ = io.Copy(io.Discard, s.r)
	default:
		return fmt.Errorf("no such step")
	}
	return nil
}

type countingReader struct {
	r io.Reader
	n *int
}

func (c *countingReader) Read(b []byte) (int, error) { *c.n++; return c.r.Read(b) }

// serve plays text for one client. The returned function waits for the end and returns the script's error.
func serve(t *testing.T, s *script, text string) (addr netip.AddrPort, wait func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		l.Close()
		if err == nil {
			err = s.play(conn, text)
		}
		result <- err
	}()
	var once sync.Once
	wait = func() (err error) {
		once.Do(func() {
			select {
			case err = <-result:
			case <-time.After(5 * time.Minute):
				err = fmt.Errorf("the script does not end")
			}
		})
		return err
	}
	t.Cleanup(func() { l.Close(); _ = wait() })
	return netip.MustParseAddrPort(l.Addr().String()), wait
}

// dialogue connects to a peer that plays text.
func dialogue(t *testing.T, s *script, text string, change ...func(*Options)) (*Conn, func() error, error) {
	t.Helper()
	s.t = t
	addr, wait := serve(t, s, text)
	o := Options{Peer: addr, Host: "mx.example.com", Name: "client.example.org", Transcript: 8 << 10}
	for _, f := range change {
		f(&o)
	}
	c, err := Connect(context.Background(), o)
	if c != nil {
		t.Cleanup(c.Close)
	}
	return c, wait, err
}

func address(s string) mail.Address {
	if s == "" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// message makes a transaction from a@example.org to the recipients.
func message(content string, to ...string) *Transaction {
	t := &Transaction{From: address("a@example.org"), Body: mail.BytesBody(content)}
	for _, r := range to {
		t.Rcpts = append(t.Rcpts, Recipient{Addr: address(r)})
	}
	return t
}

// certificate makes a self-signed certificate for name, and the pool that trusts it.
func certificate(t testing.TB, name string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}
