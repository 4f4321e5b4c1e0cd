package delivery

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/mx"
	"github.com/postroad/postroad/internal/platform"
)

// elsewhere is a go-smtp server: a peer that is not ours, over real sockets.
type elsewhere struct{ got chan string }

type elsewhereSession struct {
	e  *elsewhere
	to []string
}

func (e *elsewhere) NewSession(*gosmtp.Conn) (gosmtp.Session, error) {
	return &elsewhereSession{e: e}, nil
}
func (s *elsewhereSession) Reset()                                 { s.to = nil }
func (s *elsewhereSession) Logout() error                          { return nil }
func (s *elsewhereSession) Mail(string, *gosmtp.MailOptions) error { return nil }
func (s *elsewhereSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if strings.HasPrefix(to, "no") {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *elsewhereSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		s.e.got <- strings.Join(s.to, ",") + "|" + string(b)
	}
	return err
}

// TestOtherServer delivers to a server written by others, over TLS, several recipients of several messages.
func TestOtherServer(t *testing.T) {
	config, pool := certificate(t, "mx1.example.com")
	e := &elsewhere{got: make(chan string, 10)}
	server := gosmtp.NewServer(e)
	server.Domain, server.TLSConfig = "mx1.example.com", config
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(l) }()
	defer func() { server.Close(); <-ended }()

	w := newWorld(t)
	w.opts.Dial, w.opts.AllowPrivate, w.opts.Roots = nil, true, pool
	w.opts.Port = int(netip.MustParseAddrPort(l.Addr().String()).Port())
	w.addrs["mx1.example.com"] = []string{"127.0.0.1"}
	w.state.Sources[0].IP = netip.MustParseAddr("127.0.0.3")
	w.state.Routes[0].TLS, w.state.Routes[0].ReturnPath, w.state.Routes[0].MaxRecipients = platform.TLSVerify, platform.ReturnPathSender, 10
	words, _ := w.run(w.build(), direct, job(body, "a@example.com"), job(body, "no@example.com", "b@example.com", "c@example.com"), job(body, "no@example.com"), job(body, "d@example.com"))
	want := []string{
		"delivered mx1 TLS1.3", "bounced invalid-recipient/recipient at rcpt 550 mx1 TLS1.3", "delivered mx1 TLS1.3", "delivered mx1 TLS1.3",
		"bounced invalid-recipient/recipient at rcpt 550 mx1 TLS1.3", "delivered mx1 TLS1.3",
	}
	if diff := cmp.Diff(want, words); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	close(e.got)
	var got []string
	for m := range e.got {
		got = append(got, m)
	}
	if diff := cmp.Diff([]string{"a@example.com|" + body, "b@example.com,c@example.com|" + body, "d@example.com|" + body}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOwnAddressIsRefused holds that without leave nothing is connected to on loopback, not even by real sockets.
func TestOwnAddressIsRefused(t *testing.T) {
	w := newWorld(t)
	w.addrs["mx1.example.com"], w.addrs["mx2.example.com"] = []string{"192.0.2.77"}, []string{"198.51.100.1"}
	w.opts.OwnAddrs = []netip.Addr{netip.MustParseAddr("192.0.2.77")}
	words, outcomes := w.run(w.build(), direct, job(body, "b@example.com"))
	if words[0] != "deferred network/host at dns mx2 untried" || !strings.Contains(outcomes[0].Attempt.Reply, "our own") || len(w.dialled) > 0 {
		t.Errorf("%s, dialled %v", words[0], w.dialled)
	}
}

// benchPeer answers pipelined transactions as fast as it can.
func benchPeer(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 64<<10)
	say := func(s string) { _, _ = io.WriteString(conn, s) }
	say("220 mx\r\n")
	have := 0
	for {
		n, err := conn.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		b := buf[:have]
		switch {
		case strings.HasPrefix(string(b[:4]), "EHLO"):
			say("250-mx\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 PIPELINING\r\n")
		case strings.HasPrefix(string(b[:4]), "QUIT"):
			say("221 bye\r\n")
			return
		case strings.HasSuffix(string(b[max(0, have-6):]), "DATA\r\n"):
			say("250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n")
		case strings.HasSuffix(string(b[max(0, have-5):]), "\r\n.\r\n"):
			say("250 2.0.0 ok: queued as 4bJyTQ3qk9z1\r\n")
		default:
			continue
		}
		have = 0
	}
}

type benchMX struct{ plan mx.Plan }

func (m benchMX) Plan(context.Context, string) (mx.Plan, error) { return m.plan, nil }
func (m benchMX) Addrs(context.Context, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func BenchmarkSession(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	defer func() { l.Close(); <-ended }()
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			benchPeer(conn)
		}
	}()
	snap := platform.NewSnapshot(platform.State{Routes: []platform.Route{{Name: "direct", Kind: mail.RouteMX, TLS: platform.TLSNone}}}, "out.example.org")
	d, err := New(Options{
		Snapshot: func() *platform.Snapshot { return snap }, Classify: bounce.Default().Reply, Hostname: "out.example.org", AllowPrivate: true,
		MX:   benchMX{mx.Plan{Domain: "example.com", Hosts: []mx.Host{{Name: "mx.example.com"}}, Site: "site", Expires: time.Now().Add(time.Hour)}},
		Port: int(netip.MustParseAddrPort(l.Addr().String()).Port()), Logger: slog.New(slog.DiscardHandler), Transcripts: 8 << 10, FailuresOnly: true,
		Sign: func(context.Context, SignInput) ([]byte, error) { return []byte("DKIM-Signature: x\r\n"), nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	j := job("From: a@example.org\r\n\r\n"+strings.Repeat("A line of seventy-two octets is what mail has in most of its messages..\r\n", 55), "b@example.com")
	n := 0
	b.ReportAllocs()
	start := time.Now()
	d.Session(context.Background(), mail.Lane{Route: "direct", Site: "site"}, func(context.Context) (mail.Job, bool) { n++; return j, b.Loop() }, func(_ mail.Job, o mail.Outcome) {
		if o.Result != mail.Delivered {
			b.Fatalf("%+v", o)
		}
	})
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "msg/s")
}
