package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

func TestGreeting(t *testing.T) {
	for name, test := range map[string]struct{ script, want string }{
		"ok":                {"S: 220-mx\nS: 220 really", ""},
		"refused":           {"S: 554 5.7.1 your address is listed", "greeting 554 5.7.1 your address is listed"},
		"busy":              {"S: 421 later\nCLOSE", "greeting 421 later"},
		"closed":            {"CLOSE", "greeting lost"},
		"another protocol":  {"S: SSH-2.0-OpenSSH_9.6", "greeting nonsense"},
		"334 is no welcome": {"S: 334 go on", "greeting 334 go on"},
		"endless line":      {`RAW "220 ` + strings.Repeat("x", 9000) + `"`, "greeting nonsense"},
		"endless reply":     {strings.Repeat("S: 220-"+strings.Repeat("x", 900)+"\n", 100), "greeting nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := dialogue(t, new(script), test.script+"\nHANG")
			var e *Error
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (!errors.As(err, &e) || words(e) != test.want):
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// TestLongReply holds that a reply longer than we keep still counts.
func TestLongReply(t *testing.T) {
	c, _, err := dialogue(t, new(script), strings.Repeat("S: 220-"+strings.Repeat("x", 900)+"\n", 40)+"S: 220 end\nHANG")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.ans.raw); n > smtp.MaxReplyBytes || n < smtp.MaxReplyBytes-1000 || c.ans.code != 220 {
		t.Errorf("kept %d octets of a %d reply", n, c.ans.code)
	}
}

func TestHello(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   Extensions
		err    string
	}{
		"keywords in any case": {
			script: "C: EHLO client.example.org\nS: 250-mx.example.com PIPELINING\nS: 250-size 35882577\nS: 250-pipelining\nS: 250-StartTLS\nS: 250-AUTH plain LOGIN\n" +
				"S: 250-AUTH=LOGIN CRAM-MD5\nS: 250-LIMITS RCPTMAX=20 MAILMAX=5 RCPTDOMAINMAX=1 x=y\nS: 250-X-OTHER thing\nS: 250 dsn",
			want: Extensions{
				Size: 35882577, Pipelining: true, StartTLS: true, Auth: []string{"PLAIN", "LOGIN", "CRAM-MD5"},
				RcptMax: 20, MailMax: 5, RcptDomainMax: 1, DSN: true,
			},
		},
		"odd values count as not said": {script: "C* EHLO\nS: 250-mx\nS: 250-SIZE -5\nS: 250-SIZE 99999999999999999999999\nS: 250 LIMITS RCPTMAX=0 MAILMAX"},
		"SIZE 0 is no limit":           {script: "C* EHLO\nS: 250-mx\nS: 250 SIZE 0"},
		"HELO where EHLO is unknown":   {script: "C* EHLO\nS: 500 what?\nC: HELO client.example.org\nS: 250 hello"},
		"HELO is refused too":          {script: "C* EHLO\nS: 502 what?\nC* HELO\nS: 550 no", err: "ehlo 550 no"},
		"a refusal of us":              {script: "C* EHLO\nS: 550 5.7.1 I do not like your name", err: "ehlo 550 5.7.1 I do not like your name"},
		"later":                        {script: "C* EHLO\nS: 421 later\nCLOSE", err: "ehlo 421 later"},
		"gone":                         {script: "C* EHLO\nCLOSE", err: "ehlo lost"},
		"out of step":                  {script: "C* EHLO\nS: 354 go", err: "ehlo nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			c, wait, err := dialogue(t, new(script), "S: 220 hi\n"+test.script)
			if err != nil {
				t.Fatal(err)
			}
			err = c.Hello()
			var e *Error
			if errors.As(err, &e) != (test.err != "") || e != nil && words(e) != test.err {
				t.Errorf("got %v, want %q", err, test.err)
			}
			if diff := cmp.Diff(test.want, c.Extensions()); diff != "" {
				t.Errorf("extensions (-want +got):\n%s", diff)
			}
			c.Close()
			if err := wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNameIsChecked(t *testing.T) {
	for _, name := range []string{"", "a b", "a\r\nMAIL FROM:<>", "-", "[1.2.3]"} {
		_, err := Connect(context.Background(), Options{Name: name, Dial: func(context.Context, netip.Addr, netip.AddrPort) (net.Conn, error) {
			t.Errorf("dialled with name %q", name)
			return nil, io.EOF
		}})
		if !errors.Is(err, ErrBadArgument) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestStartTLS(t *testing.T) {
	config, pool := certificate(t, "mx.example.com")
	const offer = greet + "S: 250-mx\nS: 250-AUTH PLAIN\nS: 250 STARTTLS\nC: STARTTLS\n"
	for name, test := range map[string]struct {
		script   string
		want     string
		ext      Extensions
		injected bool
		usable   bool
	}{
		"works, extensions of clear text are forgotten": {
			script: offer + "S: 220 go\nTLS\nC: EHLO client.example.org\nS: 250-mx\nS: 250 PIPELINING\nHANG",
			ext:    Extensions{Pipelining: true}, usable: true,
		},
		"what is sent ahead of the handshake is dropped": {
			// One write, so that the injected reply lies in the same read as the 220.
			script: offer + `RAW "220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n"` + "\nTLS\nC: EHLO client.example.org\nS: 250-mx\nS: 250 PIPELINING\nHANG",
			ext:    Extensions{Pipelining: true}, injected: true, usable: true,
		},
		"refused, connection goes on": {script: offer + "S: 454 not now\nHANG", want: "starttls 454 not now", ext: Extensions{StartTLS: true, Auth: []string{"PLAIN"}}, usable: true},
		"handshake breaks":            {script: offer + "S: 220 go\nREAD 5\nRAW \"garbage\"\nHANG", want: "starttls lost"},
		"closed in the handshake":     {script: offer + "S: 220 go\nREAD 5\nCLOSE", want: "starttls lost"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, err := dialogue(t, &script{config: config}, test.script)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Hello(); err != nil {
				t.Fatal(err)
			}
			err = c.StartTLS(&tls.Config{ServerName: "mx.example.com", RootCAs: pool})
			var e *Error
			if errors.As(err, &e) != (test.want != "") || e != nil && words(e) != test.want {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if diff := cmp.Diff(test.ext, c.Extensions()); diff != "" {
				t.Errorf("extensions (-want +got):\n%s", diff)
			}
			if (c.TLS() != nil) != (test.want == "") || c.Usable() != test.usable || (c.Injected() > 0) != test.injected {
				t.Errorf("TLS %v, usable %v, injected %d", c.TLS() != nil, c.Usable(), c.Injected())
			}
		})
	}
}

func TestWrongCertificate(t *testing.T) {
	config, pool := certificate(t, "other.example.com")
	c, _, err := dialogue(t, &script{config: config}, greet+"S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\nHANG")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	var bad *tls.CertificateVerificationError
	if err := c.StartTLS(&tls.Config{ServerName: "mx.example.com", RootCAs: pool}); !errors.As(err, &bad) || c.Usable() {
		t.Errorf("got %v", err)
	}
}

func TestImplicitTLS(t *testing.T) {
	config, pool := certificate(t, "mx.example.com")
	c, wait, err := dialogue(t, &script{config: config}, "TLS\n"+pipelined+from+toB+"C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok",
		func(o *Options) { o.TLS = &tls.Config{ServerName: "mx.example.com", RootCAs: pool} })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(message(small, "b@example.com"), new(Result)); err != nil || c.TLS() == nil {
		t.Errorf("got %v", err)
	}
	c.Close()
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// pipe returns Options whose peer plays text over a pipe, for tests in virtual time.
func pipe(s *script, text string, played chan<- error) Options {
	return Options{Host: "mx.example.com", Name: "client.example.org", Dial: func(context.Context, netip.Addr, netip.AddrPort) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() { played <- s.play(theirs, text) }()
		return ours, nil
	}}
}

// TestTimeLimits holds each step to its own limit, in virtual time. That of the final dot is never lower than ten
// minutes (RFC 5321 §4.5.3.2.6).
func TestTimeLimits(t *testing.T) {
	const full = pipelined + from + toB + "C: DATA\n"
	for name, test := range map[string]struct {
		script string
		want   string
		after  time.Duration
	}{
		"greeting": {"HANG", "greeting lost", smtp.GreetingTimeout},
		"ehlo":     {greet + "HANG", "ehlo lost", smtp.EhloTimeout},
		"mail":     {full + "HANG", "mail lost", smtp.MailTimeout},
		"rcpt":     {full + "S: 250 ok\nHANG", "rcpt lost", smtp.RcptTimeout},
		"data":     {full + "S: 250 ok\nS: 250 ok\nHANG", "data lost", smtp.DataInitTimeout},
		"body":     {full + "S: 250 ok\nS: 250 ok\nS: 354 go\nSTOP", "body lost", smtp.DataXferTimeout},
		"dot":      {full + "S: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nHANG", "dot lost uncertain", smtp.DataDoneTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stop := strings.HasSuffix(test.script, "STOP") // a peer that does not even read
				played := make(chan error, 1)
				start := time.Now()
				o := pipe(new(script), strings.TrimSuffix(test.script, "STOP"), played)
				if stop {
					o.Dial = func(context.Context, netip.Addr, netip.AddrPort) (net.Conn, error) {
						ours, theirs := net.Pipe()
						go func() { played <- new(script).play(&unclosed{theirs}, strings.TrimSuffix(test.script, "STOP")) }()
						return &deafPeer{Conn: ours}, nil
					}
				}
				c, err := Connect(t.Context(), o)
				if err == nil {
					err = c.Hello()
				}
				if err == nil {
					err = c.Send(message(small, "b@example.com"), new(Result))
				}
				var e *Error
				if !errors.As(err, &e) || words(e) != test.want || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %v, want %s", err, test.want)
				}
				if took := time.Since(start); took < test.after || took > test.after+errorReplyTimeout {
					t.Errorf("gave up after %v, want %v", took, test.after)
				}
				if c != nil {
					c.Close()
				}
				<-played
			})
		})
	}
}

// deafPeer is a connection whose peer takes no content: the third write blocks until its deadline.
type deafPeer struct {
	net.Conn
	writes   int
	deadline time.Time
}

func (d *deafPeer) SetWriteDeadline(t time.Time) error {
	d.deadline = t
	return d.Conn.SetWriteDeadline(t)
}

func (d *deafPeer) Write(b []byte) (int, error) {
	if d.writes++; d.writes < 3 {
		return d.Conn.Write(b)
	}
	time.Sleep(time.Until(d.deadline)) // virtual time
	return 0, os.ErrDeadlineExceeded
}

// TestTrickle holds that a reply that comes an octet at a time does not outlive its limit.
func TestTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for {
				if _, err := theirs.Write([]byte("2")); err != nil {
					return
				}
				time.Sleep(20 * time.Second)
			}
		}()
		start := time.Now()
		_, err := Connect(t.Context(), Options{Name: "client.example.org", Dial: func(context.Context, netip.Addr, netip.AddrPort) (net.Conn, error) { return ours, nil }})
		if err == nil || time.Since(start) > smtp.GreetingTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		theirs.Close()
		<-stop
	})
}

// TestCancel holds that the context stops every step but the wait for the reply to the content's end.
func TestCancel(t *testing.T) {
	const full = pipelined + from + toB + "C: DATA\n"
	why := errors.New("told to stop")
	for name, test := range map[string]struct {
		script string
		grace  time.Duration
		want   string // "": delivered
		after  time.Duration
	}{
		"greeting":                 {script: "HANG", want: "greeting lost", after: time.Second},
		"at RCPT":                  {script: full + "S: 250 ok\nHANG", want: "rcpt lost", after: time.Second},
		"at DATA":                  {script: full + "S: 250 ok\nS: 250 ok\nHANG", want: "data lost", after: time.Second},
		"after the dot":            {script: full + "S: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nWAIT\nS: 250 ok", after: 5 * time.Minute},
		"after the dot, no answer": {script: full + "S: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nHANG", grace: 30 * time.Second, want: "dot lost uncertain", after: 31 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(why) })
				played := make(chan error, 1)
				before, after, _ := strings.Cut(test.script, "WAIT\n")
				o := pipe(new(script), before, played)
				if after != "" {
					o.Dial = func(context.Context, netip.Addr, netip.AddrPort) (net.Conn, error) {
						ours, theirs := net.Pipe()
						go func() {
							s := new(script)
							keep := &unclosed{theirs}
							err := s.play(keep, before)
							time.Sleep(5 * time.Minute)
							for line := range strings.Lines(after) {
								_, _ = io.WriteString(theirs, strings.TrimPrefix(strings.TrimSpace(line), "S: ")+"\r\n")
							}
							theirs.Close()
							played <- err
						}()
						return ours, nil
					}
				}
				o.StopGrace = test.grace
				start := time.Now()
				c, err := Connect(ctx, o)
				if err == nil {
					err = c.Hello()
				}
				if err == nil {
					err = c.Send(message(small, "b@example.com"), new(Result))
				}
				var e *Error
				if errors.As(err, &e) != (test.want != "") || e != nil && words(e) != test.want {
					t.Errorf("got %v, want %q", err, test.want)
				}
				if e != nil && !e.Uncertain && !errors.Is(err, why) {
					t.Errorf("%v does not tell why", err)
				}
				if took := time.Since(start); took != test.after {
					t.Errorf("after %v, want %v", took, test.after)
				}
				if c != nil {
					c.Close()
				}
				<-played
			})
		})
	}
}

type unclosed struct{ net.Conn }

func (unclosed) Close() error { return nil }

// TestIdleConnection holds that after a pause content is not sent before the peer has shown that it is there, and that
// a peer seen to be gone costs nothing.
func TestIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		played := make(chan error, 1)
		o := pipe(new(script), chunking+from+toB+"CHUNK\nS: 250 ok\nS: 250 ok\nS: 250 ok\n"+from+toB+"C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 ok\nHANG", played)
		c, err := Connect(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Hello(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := c.Send(message(small, "b@example.com"), new(Result)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(trustIdle + time.Second)
		}
		c.Close()
		if err := <-played; err != nil {
			t.Error(err)
		}
	})
}

func TestAlive(t *testing.T) {
	for name, test := range map[string]struct {
		end  string
		want bool
	}{"quiet": {"SYNC\nHANG", true}, "closed": {"CLOSE", false}, "421": {"SYNC\nS: 421 too long\nHANG", false}} {
		t.Run(name, func(t *testing.T) {
			c, wait, err := dialogue(t, new(script), "S: 220 hi\n"+test.end)
			if err != nil {
				t.Fatal(err)
			}
			if name == "closed" {
				_ = wait()
			}
			// What the peer does arrives in its own time; quiet is quiet at once.
			for end := time.Now().Add(5 * time.Minute); !test.want && alive(c.raw) && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if got := alive(c.raw); got != test.want {
				t.Errorf("alive = %v", got)
			}
		})
	}
}

func TestTranscript(t *testing.T) {
	c, wait, err := dialogue(t, new(script), greet+"S: 250-mx\nS: 250-PIPELINING\nS: 250 AUTH PLAIN\nC* AUTH PLAIN\nS: 235 in\n"+
		from+toB+"C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 one\n"+
		from+toB+"C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 two")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(Credentials{Username: "me", Password: "secret", AllowClear: true, Mechanism: "plain"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Send(message("very private\r\n", "b@example.com"), new(Result)); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if err := wait(); err != nil {
		t.Error(err)
	}
	want := `S: 220 mx.example.com ESMTP
C: EHLO client.example.org
S: 250-mx
S: 250-PIPELINING
S: 250 AUTH PLAIN
C: AUTH PLAIN ***
S: 235 in
C: MAIL FROM:<a@example.org>
C: RCPT TO:<b@example.com>
C: DATA
S: 250 ok
S: 250 ok
S: 354 go
-- 14 octets of content
S: 250 two
`
	if diff := cmp.Diff(want, c.Transcript()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTranscriptIsBounded(t *testing.T) {
	c, _, err := dialogue(t, new(script), "S: 220 hi\nC* EHLO\n"+strings.Repeat("S: 250-x"+strings.Repeat("y", 200)+"\n", 50)+"S: 250 end", func(o *Options) { o.Transcript = 1000 })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	if n := len(c.Transcript()); n > 1020 {
		t.Errorf("%d octets", n)
	}
}

func TestConnectFails(t *testing.T) {
	peer := netip.MustParseAddrPort("127.0.0.1:1") // nobody listens
	_, err := Connect(context.Background(), Options{Peer: peer, Host: "mx.example.com", Name: "client.example.org"})
	var e *Error
	if !errors.As(err, &e) || e.Stage != mail.StageConnect || e.Reply != nil || e.Host != "mx.example.com[127.0.0.1]" {
		t.Errorf("got %v", err)
	}
}

// TestSourceAddress holds that the connection comes from the address it is told to.
func TestSourceAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	from := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			from <- err.Error()
			return
		}
		from <- conn.RemoteAddr().(*net.TCPAddr).IP.String()
		conn.Close()
	}()
	_, _ = Connect(context.Background(), Options{Peer: netip.MustParseAddrPort(l.Addr().String()), Name: "client.example.org", Local: netip.MustParseAddr("127.0.0.2")})
	if got := <-from; got != "127.0.0.2" {
		t.Errorf("came from %s", got)
	}
}
