package smtpclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/postroad/postroad/internal/mail"
)

// otherServer is a server that is not ours: go-smtp. It keeps what it takes.
type otherServer struct {
	server *gosmtp.Server
	addr   netip.AddrPort
	got    []string
}

type otherSession struct {
	s  *otherServer
	to []string
}

func (s *otherServer) NewSession(*gosmtp.Conn) (gosmtp.Session, error) {
	return &otherSession{s: s}, nil
}

func (o *otherSession) Reset()        { o.to = nil }
func (o *otherSession) Logout() error { return nil }

func (o *otherSession) Mail(from string, _ *gosmtp.MailOptions) error {
	if strings.HasPrefix(from, "bad") {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 7, 1}, Message: "not you"}
	}
	return nil
}

func (o *otherSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if strings.HasPrefix(to, "no") {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	o.to = append(o.to, to)
	return nil
}

func (o *otherSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	o.s.got = append(o.s.got, strings.Join(o.to, ",")+"|"+string(b))
	return nil
}

func startOther(t testing.TB, config *tls.Config) *otherServer {
	t.Helper()
	s := new(otherServer)
	s.server = gosmtp.NewServer(s)
	s.server.Domain, s.server.TLSConfig, s.server.EnableSMTPUTF8, s.server.MaxMessageBytes = "mx.example.com", config, true, 1<<20
	s.server.ErrorLog = discardLog{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = netip.MustParseAddrPort(l.Addr().String())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.server.Serve(l) }()
	t.Cleanup(func() { s.server.Close(); <-ended })
	return s
}

type discardLog struct{}

func (discardLog) Printf(string, ...any) {}
func (discardLog) Println(...any)        {}

// TestOtherServer talks to a server written by others, in clear and with TLS, one and many recipients, in every order
// of good and bad messages.
func TestOtherServer(t *testing.T) {
	config, pool := certificate(t, "mx.example.com")
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			s := startOther(t, config)
			c, err := Connect(context.Background(), Options{Peer: s.addr, Host: "mx.example.com", Name: "client.example.org"})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Hello(); err != nil {
				t.Fatal(err)
			}
			if secure {
				if err := c.StartTLS(&tls.Config{ServerName: "mx.example.com", RootCAs: pool}); err != nil {
					t.Fatal(err)
				}
			}
			if e := c.Extensions(); !e.Pipelining || !e.Chunking || !e.EightBit || e.Size != 1<<20 {
				t.Fatalf("the peer offers %+v: the test proves nothing", e)
			}
			large := strings.Repeat("0123456789 0123456789\r\n..two dots\r\n", 6000)
			var res Result
			var want []string
			for i, m := range []*Transaction{
				message(small, "b@example.com"),
				message(small, "no@example.com"),
				message(small, "b@example.com", "no@example.com", "c@example.com"),
				message(large, "b@example.com"),
				{From: address("bad@example.org"), Rcpts: []Recipient{{Addr: address("b@example.com")}}, Body: mail.BytesBody(small)},
				{Rcpts: []Recipient{{Addr: address("b@example.com")}}, Body: mail.BytesBody(small)},
				message(large, "no@example.com", "no2@example.com"),
				message(small, "last@example.com"),
			} {
				err := c.Send(m, &res)
				var to []string
				for j := range m.Rcpts {
					a := m.Rcpts[j].Addr.String()
					refused := strings.HasPrefix(a, "no")
					if (res.Refused[j] != nil) != (refused && m.From.Local != "bad") {
						t.Errorf("message %d to %s: %v", i, a, res.Refused[j])
					}
					if !refused {
						to = append(to, a)
					}
				}
				var e *Error
				if m.From.Local == "bad" {
					if !errors.As(err, &e) || e.Code() != 550 || e.Reply.Enhanced.String() != "5.7.1" || e.Stage != mail.StageMail {
						t.Errorf("message %d: %v", i, err)
					}
				} else if err != nil {
					t.Fatalf("message %d: %v", i, err)
				} else if len(to) > 0 {
					want = append(want, strings.Join(to, ",")+"|"+string(m.Body.Bytes()))
				}
			}
			c.Quit()
			if len(s.got) != len(want) {
				t.Fatalf("%d messages arrived, want %d", len(s.got), len(want))
			}
			for i := range want {
				if s.got[i] != want[i] {
					t.Errorf("message %d arrived as %.100q, want %.100q", i, s.got[i], want[i])
				}
			}
		})
	}
}

// sink is the fastest server there can be: it answers what it must.
func sink(b testing.TB, chunking bool) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	b.Cleanup(func() { l.Close(); <-ended })
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		offer := "250-sink\r\n250 PIPELINING\r\n"
		if chunking {
			offer = "250-sink\r\n250-CHUNKING\r\n250 PIPELINING\r\n"
		}
		buf := make([]byte, 128<<10)
		_, _ = io.WriteString(conn, "220 sink\r\n")
		if _, err := conn.Read(buf); err != nil {
			return
		}
		_, _ = io.WriteString(conn, offer)
		have, end := 0, []byte("\r\n.\r\n")
		for {
			n, err := conn.Read(buf[have:])
			if err != nil {
				return
			}
			have += n
			switch {
			case chunking && have > 4096:
				_, _ = io.WriteString(conn, "250 ok\r\n250 ok\r\n250 2.0.0 taken as 12345\r\n")
			case !chunking && bytes.HasSuffix(buf[:have], []byte("DATA\r\n")):
				_, _ = io.WriteString(conn, "250 ok\r\n250 ok\r\n354 go\r\n")
			case !chunking && bytes.HasSuffix(buf[:have], end):
				_, _ = io.WriteString(conn, "250 2.0.0 taken as 12345\r\n")
			default:
				continue
			}
			have = 0
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func BenchmarkSend(b *testing.B) {
	var content []byte
	for len(content) < 4000 {
		content = append(content, "A line of seventy-two octets is what mail has in most of its messages..\r\n"...)
	}
	for name, chunking := range map[string]bool{"DATA": false, "BDAT": true} {
		b.Run(name, func(b *testing.B) {
			c, err := Connect(context.Background(), Options{Peer: sink(b, chunking), Host: "sink", Name: "client.example.org"})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			if err := c.Hello(); err != nil {
				b.Fatal(err)
			}
			m := message(string(content), "b@example.com")
			m.Prefix = []byte("X-Signature: " + strings.Repeat("x", 200) + "\r\n")
			m.Durable = func(context.Context) error { return nil }
			var res Result
			b.ReportAllocs()
			start := time.Now()
			for b.Loop() {
				if err := c.Send(m, &res); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "msg/s")
		})
	}
}
