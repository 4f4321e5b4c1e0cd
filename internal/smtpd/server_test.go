package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	netsmtp "net/smtp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	gomail "github.com/wneessen/go-mail"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/submission"
)

// house is a running server with a submission and a submissions listener.
type house struct {
	clear, tls string // addresses
	registry   *prometheus.Registry
	stop       func()
	down       chan struct{}
}

func start(t *testing.T, d *desk, change func(*Options)) *house {
	t.Helper()
	certs, err := NewCertificates(CertificateOptions{Hostname: "mx.example.net", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := NewSubmission(d, quiet)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Hostname: "mx.example.net",
		Listeners: []Listener{
			{Name: "submission", Addresses: []string{"127.0.0.1:0"}, Sessions: sessions.Session},
			{Name: "submissions", Addresses: []string{"127.0.0.1:0"}, Sessions: sessions.Session, ImplicitTLS: true},
		},
		Certificates: certs,
		Metrics:      metrics,
		Logger:       quiet,
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &house{registry: registry, down: make(chan struct{})}
	h.clear, h.tls = s.Addrs("submission")[0].String(), s.Addrs("submissions")[0].String()
	go func() {
		defer close(h.down)
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	h.stop = sync.OnceFunc(func() { cancel(); <-h.down })
	t.Cleanup(h.stop)
	return h
}

// count returns the value of a metric whose labels have these values, in the order of their names.
func (h *house) count(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "postroad_smtpd_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if slices.Equal(values, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %q", name, labels)
	return 0
}

// client is one SMTP client by hand.
type client struct {
	t  *testing.T
	nc net.Conn
	br *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(5 * time.Minute)) // a test that hangs fails
	return &client{t, nc, bufio.NewReader(nc)}
}

// dialTLS is past the handshake, the greeting and EHLO.
func dialTLS(t *testing.T, h *house) *client {
	t.Helper()
	c := dial(t, h.tls)
	c.upgrade()
	c.hear("220 ")
	c.ask("EHLO client.example.org", "250 AUTH PLAIN LOGIN")
	return c
}

func (c *client) upgrade() {
	c.nc = tls.Client(c.nc, &tls.Config{InsecureSkipVerify: true})
	c.br = bufio.NewReader(c.nc)
}

func (c *client) say(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, s); err != nil {
		c.t.Fatalf("writing %q: %v", s, err)
	}
}

// hear reads one reply, of which the last line must begin with want.
func (c *client) hear(want string) {
	c.t.Helper()
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			c.t.Fatalf("want %q, got %q, %v", want, line, err)
		}
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		if !strings.HasPrefix(line, want) {
			c.t.Fatalf("want %q, got %q", want, line)
		}
		return
	}
}

func (c *client) ask(s, want string) { c.t.Helper(); c.say(s + "\r\n"); c.hear(want) }

func (c *client) login(user, password, want string) {
	c.t.Helper()
	c.ask("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)), want)
}

func (c *client) gone() {
	c.t.Helper()
	if b, err := io.ReadAll(c.br); err != nil || len(b) > 0 {
		c.t.Fatalf("want the end, got %q, %v", b, err)
	}
}

func TestSubmit(t *testing.T) {
	d := &desk{}
	h := start(t, d, nil)
	c := dialTLS(t, h)
	c.ask("MAIL FROM:<a@example.org>", "530 5.7.0 ")
	c.login("acme", "secret", "235 2.7.0 ")
	c.ask("MAIL FROM:<foreign@example.org>", "550 5.7.1 MAIL FROM: account acme may not send as this")
	c.ask("MAIL FROM:<a@example.org> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=x+2By", "250 2.1.0 ")
	c.ask("RCPT TO:<b@example.com> NOTIFY=NEVER ORCPT=rfc822;B@example.com", "250 2.1.5 ")
	c.ask("RCPT TO:<bad@example.com>", "553 5.1.3 no??such")
	c.ask("DATA", "354 ")
	c.ask("Subject: x\r\n\r\ny\r\n.", "250 2.6.0 "+messageID.String()+" accepted\r\n")
	c.ask("MAIL FROM:<full@example.org>", "250 ")
	c.ask("RCPT TO:<b@example.com>", "250 ")
	c.ask("DATA", "354 ")
	c.ask("x\r\n.", "452 4.3.1 no room\r\n")
	c.ask("MAIL FROM:<a@example.org>", "250 ")
	c.ask("RCPT TO:<b@example.com>", "250 ")
	c.ask("DATA", "354 ")
	c.ask("bare\nLF\r\n.", "550 5.6.0 ")
	c.ask("QUIT", "221 ")
	c.gone()
	h.stop()

	want := []taken{{
		account: "acme",
		from:    mail.Address{Local: "a", Domain: "example.org"},
		client:  submission.Client{Helo: "client.example.org", Protocol: "ESMTPSA", TLS: "TLS1.3 TLS_AES_128_GCM_SHA256"},
		envelope: submission.Envelope{
			Size: 100, EightBit: true, Ret: "HDRS", EnvID: "x+y",
		},
		recipients: []string{"b@example.com 1 rfc822;B@example.com"},
		content:    "Subject: x\r\n\r\ny\r\n",
	}}
	if diff := cmp.Diff(want, d.messages, cmp.AllowUnexported(taken{}), cmpopts.IgnoreFields(submission.Client{}, "IP")); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if ip := d.messages[0].client.IP.String(); ip != "127.0.0.1" {
		t.Errorf("client at %s", ip)
	}
	if n := h.count(t, "messages_total", "submissions"); n != 1 {
		t.Errorf("messages counted: %v", n)
	}
	if n := h.count(t, "replies_total", "452", "submissions", "CONTENT"); n != 1 {
		t.Errorf("452 counted: %v", n)
	}
	if n := h.count(t, "connections", "submissions"); n != 0 {
		t.Errorf("connections open: %v", n)
	}
}

func TestNormaliseCredential(t *testing.T) {
	d := &desk{newlines: platform.NewlinesNormalise}
	h := start(t, d, nil)
	c := dialTLS(t, h)
	c.login("acme", "secret", "235 ")
	c.ask("MAIL FROM:<a@example.org>", "250 ")
	c.ask("RCPT TO:<b@example.com>", "250 ")
	c.ask("DATA", "354 ")
	c.ask("bare\nLF\r\n.", "250 2.6.0 ")
	if got := d.messages[0].content; got != "bare\r\nLF\r\n" {
		t.Errorf("content %q", got)
	}
}

func TestLoginRefusals(t *testing.T) {
	h := start(t, &desk{}, nil)
	c := dialTLS(t, h)
	c.login("acme", "wrong", "535 5.7.8 wrong\r\n")
	c.login("down", "secret", "454 4.7.0 the log-in could not be checked\r\n")
	c.login("odd", "secret", "454 4.7.0 the log-in could not be checked; try again later\r\n")
	c.login("often", "secret", "421 4.7.0 too many failed log-ins\r\n")
	c.gone()
}

func TestNoLoginInClear(t *testing.T) {
	h := start(t, &desk{}, nil)
	c := dial(t, h.clear)
	c.hear("220 ")
	c.ask("EHLO x", "250 STARTTLS")
	c.login("acme", "secret", "538 5.7.11 ")
}

func TestAccountConnections(t *testing.T) {
	h := start(t, &desk{}, nil)
	first, second := dialTLS(t, h), dialTLS(t, h)
	first.login("acme", "secret", "235 ")
	second.login("acme", "secret", "235 ")
	third := dialTLS(t, h)
	third.login("acme", "secret", "421 4.7.0 Too many connections of this account")
	third.gone()
	dialTLS(t, h).login("other", "secret", "235 ")
	first.ask("QUIT", "221 ")
	first.gone()
	dialTLS(t, h).login("acme", "secret", "235 ")
}

func TestNetworkCredential(t *testing.T) {
	d := &desk{networks: map[string]platform.Principal{"127.0.0.1": principal("lan", 1)}}
	h := start(t, d, nil)
	c := dial(t, h.clear)
	c.hear("220 ")
	c.ask("HELO x", "250 ")
	c.ask("MAIL FROM:<a@example.org>", "250 ")
	c.ask("RSET", "250 ")
	c.ask("MAIL FROM:<a@example.org>", "250 ") // counted once
	more := dial(t, h.clear)
	more.hear("220 ")
	more.ask("HELO x", "250 ")
	more.ask("MAIL FROM:<a@example.org>", "421 4.7.0 ")
	// A log-in on such a connection counts for its own account, and gives the other up.
	both := dialTLS(t, h)
	both.login("acme", "secret", "235 ")
	both.ask("MAIL FROM:<a@example.org>", "250 ")
	if got := d.clients[0]; got.Protocol != "SMTP" || got.TLS != "" {
		t.Errorf("client %+v", got)
	}
}

// Clients that were not written here.
func TestForeignClients(t *testing.T) {
	d := &desk{}
	h := start(t, d, nil)

	host, port, _ := net.SplitHostPort(h.clear)
	nc, err := netsmtp.Dial(h.clear)
	if err != nil {
		t.Fatal(err)
	}
	insecure := &tls.Config{InsecureSkipVerify: true}
	steps := []func() error{
		func() error { return nc.Hello("client.example.org") },
		func() error { return nc.StartTLS(insecure) },
		func() error { return nc.Auth(netsmtp.PlainAuth("", "acme", "secret", host)) },
		func() error { return nc.Mail("a@example.org") },
		func() error { return nc.Rcpt("b@example.com") },
		func() error {
			w, err := nc.Data()
			if err != nil {
				return err
			}
			if _, err := io.WriteString(w, "Subject: std\n\n.\n..\n"); err != nil {
				return err
			}
			return w.Close()
		},
		nc.Quit,
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("net/smtp, step %d: %v", i, err)
		}
	}

	var number int
	for _, ch := range port {
		number = number*10 + int(ch-'0')
	}
	for _, auth := range []gomail.SMTPAuthType{gomail.SMTPAuthPlain, gomail.SMTPAuthLogin} {
		gc, err := gomail.NewClient(host, gomail.WithPort(number), gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithTLSConfig(insecure),
			gomail.WithSMTPAuth(auth), gomail.WithUsername("acme"), gomail.WithPassword("secret"), gomail.WithHELO("client.example.org"),
			gomail.WithDSN())
		if err != nil {
			t.Fatal(err)
		}
		m := gomail.NewMsg()
		if err := m.From("a@example.org"); err != nil {
			t.Fatal(err)
		}
		if err := m.To("b@example.com"); err != nil {
			t.Fatal(err)
		}
		m.Subject("go-mail")
		m.SetBodyString(gomail.TypeTextPlain, ".\r\nhello\r\n")
		if err := gc.DialAndSend(m); err != nil {
			t.Fatalf("go-mail with %s: %v", auth, err)
		}
	}
	h.stop()
	if len(d.messages) != 3 {
		t.Fatalf("%d messages", len(d.messages))
	}
	if got := d.messages[0].content; got != "Subject: std\r\n\r\n.\r\n..\r\n" {
		t.Errorf("net/smtp's message: %q", got)
	}
	if got := d.messages[1]; !strings.Contains(got.content, "\r\n.\r\nhello") || got.envelope.Ret != "FULL" {
		t.Errorf("go-mail's message: %+v", got)
	}
}

func TestNewOpensAllOrNone(t *testing.T) {
	sessions, err := NewSubmission(&desk{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	free, err := net.Listen("tcp", "127.83.19.7:0") // where no other process takes the port meanwhile
	if err != nil {
		t.Skip("no other loopback address here")
	}
	_ = free.Close()
	_, err = New(Options{Hostname: "mx.example.net", Listeners: []Listener{
		{Name: "one", Addresses: []string{free.Addr().String(), taken.Addr().String()}, Sessions: sessions.Session},
	}})
	if err == nil || !strings.Contains(err.Error(), "listener one") || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Fatalf("error %v", err)
	}
	again, err := net.Listen("tcp", free.Addr().String())
	if err != nil {
		t.Fatalf("the first address is still open: %v", err)
	}
	_ = again.Close()
	if _, err := New(Options{Hostname: "mx.example.net", Listeners: []Listener{{Name: "tls", ImplicitTLS: true, Sessions: sessions.Session}}}); err == nil {
		t.Error("implicit TLS without a certificate: no error")
	}
	if _, err := NewSubmission(nil, quiet); err == nil {
		t.Error("sessions without an intake: no error")
	}
}

// A message in hand survives a shutdown; all listeners end.
func TestShutdown(t *testing.T) {
	d := &desk{networks: map[string]platform.Principal{"127.0.0.1": principal("lan", 5)}}
	h := start(t, d, nil)
	c := dial(t, h.clear)
	c.hear("220 ")
	c.ask("HELO x", "250 ")
	c.ask("MAIL FROM:<a@example.org>", "250 ")
	c.ask("RCPT TO:<b@example.com>", "250 ")
	c.ask("DATA", "354 ")
	idle := dialTLS(t, h)
	stopped := make(chan struct{})
	go func() { defer close(stopped); h.stop() }()
	idle.hear("421 4.3.2 ")
	c.ask("x\r\n.", "250 2.6.0 ")
	c.hear("421 4.3.2 ")
	c.gone()
	<-stopped
	if len(d.messages) != 1 {
		t.Errorf("%d messages", len(d.messages))
	}
	if _, err := net.Dial("tcp", h.clear); err == nil {
		t.Error("the listener is still open")
	}
}
