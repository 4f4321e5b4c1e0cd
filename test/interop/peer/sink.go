package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// Sink takes mail with go-smtp's server and keeps it. It stands for the mailboxes behind the other peers, and is a
// receiver of its own.
type Sink struct {
	Addr string

	mu       sync.Mutex
	received []Received
	slow     map[string]int // how often a slow mailbox was tried
}

// slowTries is how often mail for a mailbox that begins with "slow" is put off.
const slowTries = 3

// Received is a message as it arrived for one recipient.
type Received struct {
	From, To string
	Envelope smtp.MailOptions
	Rcpt     smtp.RcptOptions
	TLS      bool
	Content  []byte
}

// NewSink listens at addr until the test ends. cert may be nil: then it offers no STARTTLS.
func NewSink(t testing.TB, addr string, cert *tls.Certificate) *Sink {
	t.Helper()
	k := &Sink{slow: map[string]int{}}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	k.Addr = l.Addr().String()
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &sinkSession{k: k, conn: c}, nil
	}))
	s.Domain, s.EnableSMTPUTF8, s.EnableDSN, s.MaxMessageBytes = "sink.test", true, true, 64<<20
	s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
	if cert != nil {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}}
	}
	ended := make(chan struct{})
	go func() {
		_ = s.Serve(l) // ends with Close
		close(ended)
	}()
	t.Cleanup(func() {
		_ = s.Close() // connections of peers that keep theirs are cut off
		<-ended
	})
	return k
}

// Of returns what arrived for a recipient.
func (k *Sink) Of(recipient string) []Received {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []Received
	for _, r := range k.received {
		if strings.EqualFold(r.To, recipient) {
			out = append(out, r)
		}
	}
	return out
}

// Await returns the first message that arrives for a recipient.
func (k *Sink) Await(ctx context.Context, t testing.TB, recipient string) Received {
	t.Helper()
	for {
		if got := k.Of(recipient); len(got) > 0 {
			return got[0]
		}
		select {
		case <-ctx.Done():
			t.Fatalf("nothing arrived for %s", recipient)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type sinkSession struct {
	k     *Sink
	conn  *smtp.Conn
	from  string
	opts  smtp.MailOptions
	to    []string
	rcpts []smtp.RcptOptions
}

func (s *sinkSession) Reset() { s.from, s.opts, s.to, s.rcpts = "", smtp.MailOptions{}, nil, nil }

func (s *sinkSession) Logout() error { return nil }

func (s *sinkSession) Mail(from string, opts *smtp.MailOptions) error {
	s.from = from
	if opts != nil {
		s.opts = *opts
	}
	return nil
}

func (s *sinkSession) Rcpt(to string, opts *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "slow") {
		s.k.mu.Lock()
		s.k.slow[to]++
		tried := s.k.slow[to]
		s.k.mu.Unlock()
		if tried <= slowTries {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "not now"}
		}
	}
	// What begins with "late" is taken by the peers before us, and refused behind them.
	if strings.HasPrefix(to, "unknown") || strings.HasPrefix(to, "late") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.to = append(s.to, to)
	var o smtp.RcptOptions
	if opts != nil {
		o = *opts
	}
	s.rcpts = append(s.rcpts, o)
	return nil
}

func (s *sinkSession) Data(r io.Reader) error {
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		return err
	}
	_, overTLS := s.conn.TLSConnectionState()
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	for i, to := range s.to {
		s.k.received = append(s.k.received, Received{From: s.from, To: to, Envelope: s.opts, Rcpt: s.rcpts[i], TLS: overTLS, Content: b.Bytes()})
	}
	return nil
}
