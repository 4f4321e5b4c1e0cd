package smtpserver

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// canned is a connection whose client has said everything already.
type canned struct {
	in  io.Reader
	out bytes.Buffer
}

func (c *canned) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *canned) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *canned) Close() error                { return nil }
func (c *canned) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

func (c *canned) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 999} }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }

// clientOctets is what the client says in a dialogue file.
func clientOctets(text string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, "C: "):
			b.WriteString(line[3:] + "\r\n")
		case strings.HasPrefix(line, "C:"):
			b.WriteString("\r\n")
		case strings.HasPrefix(line, `C" `):
			s, _ := strconv.Unquote(line[3:])
			b.WriteString(s)
		}
	}
	return b.String()
}

// chunked gives s in pieces of n octets.
type chunked struct {
	s string
	n int
}

func (r *chunked) Read(p []byte) (int, error) {
	if r.s == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.n)], r.s)
	r.s = r.s[n:]
	return n, nil
}

// talk has the whole dialogue with a client that says in, and returns what the server said and the session's calls.
func talk(t *testing.T, in string, piece int, normalise bool) (said string, calls []string) {
	rec := &recorder{}
	if normalise {
		rec.newlines = smtp.NewlinesNormalise
	}
	paniced := false
	s, err := New(Options{
		Hostname: "mx.example.net", Handler: rec.session, Logger: quiet, TLS: testTLS(), ClearAuth: true, MaxSize: 1000,
		Observer: Observer{Refused: func(reason string) { paniced = paniced || reason == "panic" }},
	})
	if err != nil {
		t.Fatal(err)
	}
	v := &service{Server: s, o: &s.o, ctx: t.Context(), conns: map[*conn]struct{}{}}
	nc := &canned{in: &chunked{in, piece}}
	v.handle(nc)
	if paniced {
		for _, call := range rec.calls {
			paniced = paniced && !strings.Contains(call, "panic@") // the session was asked to
		}
	}
	if paniced {
		t.Fatalf("%q: panic", in)
	}
	if rec.opened != rec.closed {
		t.Fatalf("%q: %d sessions begun, %d closed", in, rec.opened, rec.closed)
	}
	return nc.out.String(), rec.calls
}

// FuzzDialogue checks what holds in every dialogue: replies are well-formed, the session's calls are in order, and
// how the octets are cut into packets changes nothing.
func FuzzDialogue(f *testing.F) {
	files, err := filepath.Glob("testdata/*.dialog")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if s := clientOctets(string(text)); !strings.Contains(s, "STARTTLS") {
			f.Add(s, false)
			f.Add(s, true)
		}
	}
	f.Fuzz(func(t *testing.T, in string, normalise bool) {
		if strings.Contains(strings.ToUpper(in), "STARTTLS") {
			return // what follows is a handshake
		}
		said, calls := talk(t, in, 1<<20, normalise)
		for line := range strings.SplitAfterSeq(said, "\n") {
			if line == "" {
				continue
			}
			if len(line) < 6 || !strings.HasSuffix(line, "\r\n") || strings.ContainsAny(line[:len(line)-2], "\r\n\x00") ||
				line[0] < '2' || line[0] > '5' || line[3] != ' ' && line[3] != '-' {
				t.Fatalf("%q: malformed reply line %q", in, line)
			}
		}
		open := false
		for i, call := range calls {
			verb, _, _ := strings.Cut(call, " ")
			switch verb {
			case "Mail":
				if open {
					t.Fatalf("%q: Mail within a transaction: %q", in, calls)
				}
				open = i+1 < len(calls) && !strings.HasPrefix(calls[i+1], "Mail ") && !strings.HasPrefix(calls[i+1], "Auth ")
			case "Rcpt", "Data", "Reset":
				if !open {
					t.Fatalf("%q: %s outside of a transaction: %q", in, verb, calls)
				}
				open = verb != "Reset"
			case "Auth":
				if open {
					t.Fatalf("%q: Auth within a transaction: %q", in, calls)
				}
			default:
				t.Fatalf("%q: %q", in, calls)
			}
		}
		if open {
			t.Fatalf("%q: a transaction was left open: %q", in, calls)
		}
		said2, calls2 := talk(t, in, len(in)%7+1, normalise)
		if said != said2 || strings.Join(calls, "\n") != strings.Join(calls2, "\n") {
			t.Fatalf("%q: cut otherwise, the dialogue differs:\n%q\n%q\n%q\n%q", in, said, said2, calls, calls2)
		}
	})
}

// FuzzCommand checks that what comes out of MAIL and RCPT is what the rest of the platform may rely on.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		"FROM:<a@example.org> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=<>",
		"TO:<b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B+2Bx@example.com",
		"TO:<j\u00fcrgen@b\u00fccher.example> ORCPT=utf-8;j\u00fcrgen@example.com",
		`FROM:<"a b"@[IPv6:2001:db8::1]>`, "TO:<Postmaster>", "TO:<@a,@b:c@d>", "FROM:<>",
	} {
		f.Add(s)
	}
	c := &conn{o: &Options{Hostname: "mx.example.net", RequireTLS: true}}
	c.info.UTF8 = true
	f.Fuzz(func(t *testing.T, s string) {
		if a, o, err := c.parseMail([]byte(s)); err == nil {
			roundTrip(t, s, a)
			if strings.ContainsFunc(o.EnvID, func(r rune) bool { return r < ' ' || r > '~' }) || o.Size < 0 ||
				o.Ret != "" && o.Ret != "FULL" && o.Ret != "HDRS" || !o.UTF8 && !isASCII([]byte(s)) {
				t.Fatalf("%q: %+v", s, o)
			}
		}
		if a, o, err := c.parseRcpt([]byte(s)); err == nil {
			roundTrip(t, s, a)
			if a.IsZero() || strings.ContainsFunc(o.ORcpt, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) ||
				o.ORcpt != "" && !strings.Contains(o.ORcpt, ";") || o.Notify&mail.NotifyNever != 0 && o.Notify != mail.NotifyNever {
				t.Fatalf("%q: %v %+v", s, a, o)
			}
		}
	})
}

func roundTrip(t *testing.T, s string, a mail.Address) {
	t.Helper()
	if strings.ContainsAny(a.String(), "\r\n\x00") {
		t.Fatalf("%q: %q holds what begins a command", s, a.String())
	}
	if back, rest, err := mail.ParsePath(a.Path()); err != nil || back != a || rest != "" {
		t.Fatalf("%q: %s came back as %v, %q, %v", s, a.Path(), back, rest, err)
	}
}
