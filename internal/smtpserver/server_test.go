package smtpserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a Handler whose sessions write down their calls. What a session does follows from the local parts of
// addresses: refuse, later, broken, panic, bye for any; early and blackhole for senders whose content is not read.
type recorder struct {
	newlines smtp.Newlines
	noAuth   bool

	mu     sync.Mutex
	calls  []string
	closed int
	opened int
}

func (r *recorder) call(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

func (r *recorder) session(_ context.Context, info *ConnInfo) (Session, error) {
	r.mu.Lock()
	r.opened++
	r.mu.Unlock()
	s := &recording{r: r, info: info}
	if r.noAuth {
		return s, nil
	}
	return &recordingAuth{s}, nil
}

type recording struct {
	r    *recorder
	info *ConnInfo
	from mail.Address
	open bool
}

type recordingAuth struct{ *recording }

func (s *recordingAuth) Auth(_ context.Context, c Credentials) error {
	s.r.call("Auth %s %s %s", c.Mechanism, c.Username, c.Password)
	switch {
	case c.Username == "down":
		return smtp.Refuse(454, smtp.Enhanced{4, 7, 0}, "Cannot check now")
	case c.Username != "user" || c.Password != "secret":
		return smtp.Refuse(535, smtp.Enhanced{5, 7, 8}, "Wrong")
	}
	return nil
}

func behave(local string) error {
	switch local {
	case "refuse":
		return smtp.Refuse(550, smtp.Enhanced{5, 1, 1}, "No such mailbox")
	case "later":
		return fmt.Errorf("wrapped: %w", smtp.Refuse(450, smtp.Enhanced{4, 2, 1}, "Not now"))
	case "broken":
		return errors.New("the disk says: /var/spool is gone")
	case "bye":
		return smtp.Refuse(421, smtp.Enhanced{4, 3, 2}, "Going away")
	case "panic":
		panic("as asked")
	}
	return nil
}

func (s *recording) Mail(_ context.Context, from mail.Address, o MailOptions) error {
	line := fmt.Sprintf("Mail %s", from.Path())
	if o != (MailOptions{}) {
		line += fmt.Sprintf(" %+v", o)
	}
	s.r.call("%s", line)
	if s.open {
		s.r.call("FAULT: Mail within a transaction")
	}
	if err := behave(from.Local); err != nil {
		return err
	}
	s.from, s.open = from, true
	return nil
}

func (s *recording) Rcpt(_ context.Context, to mail.Address, o RcptOptions) error {
	line := fmt.Sprintf("Rcpt %s", to.Path())
	if o != (RcptOptions{}) {
		line += fmt.Sprintf(" %+v", o)
	}
	s.r.call("%s", line)
	return behave(to.Local)
}

func (s *recording) Newlines() smtp.Newlines { return s.r.newlines }

func (s *recording) Data(_ context.Context, r io.Reader) (smtp.Reply, error) {
	switch s.from.Local {
	case "early":
		s.r.call("Data refused unread")
		return smtp.Reply{}, smtp.Refuse(554, smtp.Enhanced{5, 7, 1}, "I do not like it")
	case "blackhole":
		s.r.call("Data accepted unread")
		return smtp.Reply{}, nil
	case "half":
		_, err := io.ReadFull(r, make([]byte, 3))
		s.r.call("Data refused after 3 octets, %v", err)
		return smtp.Reply{}, smtp.Refuse(554, smtp.Enhanced{5, 7, 1}, "I do not like it")
	}
	b, err := io.ReadAll(r)
	if err != nil {
		s.r.call("Data failed: %.40s", err)
		return smtp.Reply{}, fmt.Errorf("reading: %w", err)
	}
	text := string(b)
	if len(text) > 200 {
		text = fmt.Sprintf("%s... (%d)", text[:20], len(text))
	}
	s.r.call("Data %q %s", text, s.info.Protocol())
	if strings.Contains(text, "dislike") {
		return smtp.Reply{}, smtp.Refuse(554, smtp.Enhanced{5, 6, 0}, "Disliked")
	}
	return smtp.NewReply(250, smtp.Enhanced{2, 6, 0}, "msg_1 accepted"), nil
}

func (s *recording) Reset() {
	if !s.open {
		s.r.call("FAULT: Reset without a transaction")
	}
	s.open = false
	s.r.call("Reset")
}

func (s *recording) Close() {
	s.r.mu.Lock()
	s.r.closed++
	s.r.mu.Unlock()
}

// testTLS is the server's TLS, made once.
var testTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example.net"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
})

// clientTLS does not check: what is tested is the dialogue.
func clientTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "mx.example.net"}
}

var quiet = slog.New(slog.DiscardHandler)

// start runs a server on a loopback port until the test ends.
func start(t testing.TB, o Options) (addr string, stop func()) {
	t.Helper()
	if o.Hostname == "" {
		o.Hostname = "mx.example.net"
	}
	if o.Logger == nil {
		o.Logger = quiet
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(5 * time.Minute)) // a test that hangs fails
	return nc
}

func TestNewRefusesWrongOptions(t *testing.T) {
	r := &recorder{}
	for name, o := range map[string]Options{
		"no handler":       {Hostname: "mx.example.net"},
		"no host name":     {Handler: r.session},
		"bad host name":    {Handler: r.session, Hostname: "mx example"},
		"line end in name": {Handler: r.session, Hostname: "mx\r\n250 x"},
		"implicit TLS":     {Handler: r.session, Hostname: "mx.example.net", ImplicitTLS: true},
		"few recipients":   {Handler: r.session, Hostname: "mx.example.net", MaxRecipients: 99},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRunReportsAFailedListener(t *testing.T) {
	s, err := New(Options{Hostname: "mx.example.net", Handler: (&recorder{}).session, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := s.Run(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run = %v, want net.ErrClosed", err)
	}
}
