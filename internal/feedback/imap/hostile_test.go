package imap

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/postroad/postroad/internal/platform"
)

// script is a server that answers each command by its verb, and misbehaves as told.
func script(t *testing.T, b *bed, answers map[string]func(w io.Writer, tag string)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b.box.Port = l.Addr().(*net.TCPAddr).Port
	usual := map[string]string{
		"CAPABILITY": "* CAPABILITY IMAP4rev1 MOVE\r\n", "LOGIN": "", "NOOP": "", "LOGOUT": "* BYE\r\n",
		"SELECT": "* FLAGS ()\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT 4] x\r\n",
		"SEARCH": "* SEARCH\r\n", "FETCH": "", "STORE": "",
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if f := answers["greeting"]; f != nil {
					f(c, "")
				}
				fmt.Fprint(c, "* OK hello\r\n")
				for lines := bufio.NewScanner(c); lines.Scan(); {
					words := strings.Fields(lines.Text())
					if len(words) < 2 {
						return
					}
					verb := words[1]
					if verb == "UID" {
						verb = words[2]
					}
					if f := answers[verb]; f != nil {
						f(c, words[0])
						continue
					}
					fmt.Fprintf(c, "%s%s OK done\r\n", usual[verb], words[0])
				}
			}()
		}
	}()
}

// TestHostileServer: whatever a server sends costs bounded memory and time, is an error of its mailbox alone, and ends in
// an alert.
func TestHostileServer(t *testing.T) {
	flood := func(head string) func(io.Writer, string) {
		return func(w io.Writer, tag string) {
			fmt.Fprint(w, head)
			line := strings.Repeat("x", 1<<16)
			for i := 0; i < 4096; i++ { // 256 MiB, if anybody takes it
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
			}
		}
	}
	for name, answers := range map[string]map[string]func(io.Writer, string){
		"endless greeting":   {"greeting": flood("* OK ")},
		"endless answer":     {"LOGIN": flood("* OK ")},
		"endless literal":    {"SEARCH": func(w io.Writer, tag string) { fmt.Fprintf(w, "* SEARCH 4\r\n%s OK\r\n", tag) }, "FETCH": flood("* 1 FETCH (UID 4 BODY[]<0> {268435456}\r\n")},
		"promised literal":   {"SEARCH": func(w io.Writer, tag string) { fmt.Fprintf(w, "* SEARCH 4\r\n%s OK\r\n", tag) }, "FETCH": func(w io.Writer, _ string) { fmt.Fprint(w, "* 1 FETCH (UID 4 BODY[]<0> {9223372036854775807}\r\nxx") }},
		"no such response":   {"SELECT": func(w io.Writer, tag string) { fmt.Fprintf(w, "* SHRUG\r\n%s OK\r\n", tag) }},
		"silence":            {"SELECT": func(io.Writer, string) {}},
		"silent greeting":    {"greeting": func(io.Writer, string) { time.Sleep(time.Minute) }},
		"dynamic search":     {"SEARCH": func(w io.Writer, tag string) { fmt.Fprintf(w, "* ESEARCH (TAG %q) UID ALL 1:*\r\n%s OK\r\n", tag, tag) }},
		"nonsense":           {"LOGIN": func(w io.Writer, _ string) { fmt.Fprint(w, "\x00\xff)))\r\n") }},
		"unknown tag":        {"SELECT": func(w io.Writer, _ string) { fmt.Fprint(w, "zzz OK done\r\n") }},
		"hangs up":           {"SELECT": func(w io.Writer, _ string) { w.(net.Conn).Close() }},
		"nested beyond need": {"SELECT": func(w io.Writer, _ string) { fmt.Fprint(w, "* FLAGS ", strings.Repeat("(", 1<<20), "\r\n") }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.pace, b.patience = 0.0005, 0.0005 // three minutes are 90 ms
			script(t, b, answers)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, stop := b.start()
			b.eventually("the alert", func() bool { return b.alerts[alertMailbox]+b.alerts[alertMail] != "" })
			stop()
			runtime.ReadMemStats(&after)
			if len(b.entries) != 0 {
				t.Errorf("taken: %v", b.entries)
			}
			if sys := int64(after.Sys) - int64(before.Sys); sys > 256<<20 {
				t.Errorf("%d MiB of memory were taken", sys>>20)
			}
		})
	}
}

// TestHugeSearch: a server that says it has four thousand million mails is asked for no more of them than one search may
// bring, one by one.
func TestHugeSearch(t *testing.T) {
	b := newBed(t)
	b.pace = 0.0005
	asked := make(chan string, 10)
	script(t, b, map[string]func(io.Writer, string){
		"SEARCH": func(w io.Writer, tag string) {
			fmt.Fprintf(w, "* ESEARCH (TAG %q) UID ALL 1:4294967295\r\n%s OK\r\n", tag, tag)
		},
		"FETCH": func(w io.Writer, tag string) {
			select {
			case asked <- tag:
				fmt.Fprintf(w, "%s OK there is none\r\n", tag)
			default:
				w.(net.Conn).Close()
			}
		},
	})
	_, stop := b.start()
	b.eventually("ten fetches", func() bool { return len(asked) == cap(asked) })
	stop()
}

// certificate makes a server certificate for 127.0.0.1, and its PEM.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "imap.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestTLS: the password goes out only over TLS to a server whose certificate is trusted, unless the mailbox says otherwise.
func TestTLS(t *testing.T) {
	cert, ca := certificate(t)
	for _, tt := range []struct {
		name     string
		mode     platform.TLSMode
		ca       string
		implicit bool // the server's port
		starttls bool
		want     string // "": it works
	}{
		{"implicit", platform.TLSImplicit, ca, true, false, ""},
		{"implicit, unknown authority", platform.TLSImplicit, "", true, false, "unknown authority"},
		{"implicit at a clear port", platform.TLSImplicit, ca, false, true, "tls"},
		{"verify", platform.TLSVerify, ca, false, true, ""},
		{"verify, unknown authority", platform.TLSVerify, "", false, true, "unknown authority"},
		{"verify, no STARTTLS", platform.TLSVerify, ca, false, false, "secure"},
		{"required", platform.TLSRequired, "", false, true, ""},
		{"required, no STARTTLS", platform.TLSRequired, "", false, false, "secure"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			b.pace = 0.001
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			config := &tls.Config{Certificates: []tls.Certificate{cert}}
			o := &imapserver.Options{Caps: b.caps, InsecureAuth: true, Logger: log.New(io.Discard, "", 0), NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
				return &session{UserSession: imapmemserver.NewUserSession(b.user), b: b}, nil, nil
			}}
			if tt.starttls {
				o.TLSConfig = config
			}
			b.box.Port, b.box.TLS, b.box.CA = l.Addr().(*net.TCPAddr).Port, tt.mode, tt.ca
			if tt.implicit {
				l = tls.NewListener(l, config)
			}
			s := imapserver.New(o)
			go func() { _ = s.Serve(l) }()
			t.Cleanup(func() { s.Close() })
			if tt.want == "" {
				b.pace = 1
				b.start()
				b.positioned()
				return
			}
			b.start()
			b.eventually("the alert", func() bool { return strings.Contains(b.alerts[alertMailbox], tt.want) })
			b.look(func() {
				if b.logins != 0 {
					t.Error("the password was sent")
				}
			})
		})
	}
}

// TestClearPasswordFar: tls = "none" is refused where the name leads out of the private network.
func TestClearPasswordFar(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:143": true, "10.1.2.3:143": true, "[::1]:143": true, "[fd00::1]:143": true,
		"192.0.2.1:143": false, "[2001:db8::1]:143": false, "8.8.8.8:1": false,
	} {
		a, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if near(a) != want {
			t.Errorf("near(%s) = %v", address, !want)
		}
	}
}

// TestLoginTrouble: a server that says that the trouble is its own has not refused the password.
func TestLoginTrouble(t *testing.T) {
	for code, refused := range map[string]bool{"[AUTHENTICATIONFAILED] ": true, "[UNAVAILABLE] ": false, "": true} {
		b := newBed(t)
		b.pace = 1
		script(t, b, map[string]func(io.Writer, string){"LOGIN": func(w io.Writer, tag string) {
			fmt.Fprintf(w, "%s NO %ssorry, LOGIN %q %q is wrong\r\n", tag, code, b.box.Username, password)
		}})
		p, err := New(b.options())
		if err != nil {
			t.Fatal(err)
		}
		_, err = newReader(p, place{"shop", "isp"}, b.box).connect(t.Context())
		var no *loginError
		if err == nil || errors.As(err, &no) != refused {
			t.Errorf("%q: %v", code, err)
		}
		if err == nil || strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "***") {
			t.Errorf("%q: the error tells the password: %v", code, err)
		}
	}
}
