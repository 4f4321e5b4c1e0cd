//go:build interop

package interop

import (
	"bytes"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/test/interop/peer"
)

// receiver is a peer that takes mail for a domain.
type receiver struct {
	name, domain string
	at           *peer.Sink
	utf8, grey   bool
	// brokenTLS: its handshakes may fail; then the same attempt must go on in clear (RFC 7435), and say why.
	brokenTLS bool
	limit     int    // 0: larger than what is tried
	keywords  string // extensions it must have been seen to offer, in the transcript
}

func (w *world) receivers(t *testing.T) {
	for _, r := range []receiver{
		{"postfix", "postfix.test", w.sink, true, true, false, 0, "PIPELINING CHUNKING 8BITMIME SMTPUTF8 DSN STARTTLS"},
		{"exim", "exim.test", w.sink, true, true, false, largeLimit, "PIPELINING CHUNKING 8BITMIME STARTTLS"},
		// OpenSMTPD 6.8 of Debian 12 is older than the OpenSSL 3 it is built with: its handshakes end with an internal
		// error, whoever calls (openssl s_client, too).
		{"opensmtpd", "opensmtpd.test", w.sink, false, false, true, largeLimit, "8BITMIME STARTTLS"},
		{"gosmtp", "gosmtp.test", w.gosmtp, true, false, false, 0, "PIPELINING CHUNKING 8BITMIME SMTPUTF8 DSN STARTTLS"},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w.receiver(t, r)
		})
	}
	t.Run("small", func(t *testing.T) {
		t.Parallel()
		id := w.submit(t, message{subject: "too large for small", body: strings.Repeat("A line to fill it up.\n", smallLimit/20)}, "user@small.test")
		w.expect(t, id, "user@small.test", "bounced", mail.ClassContentSize, w.sink)
	})
	t.Run("old", func(t *testing.T) {
		t.Parallel()
		w.old(t)
	})
	t.Run("null-mx", func(t *testing.T) {
		t.Parallel()
		id := w.submit(t, message{subject: "null mx"}, "user@null.test")
		w.expect(t, id, "user@null.test", "bounced", mail.ClassInvalidDomain, w.sink)
	})
}

func (w *world) receiver(t *testing.T, r receiver) {
	t.Run("delivered over TLS, byte by byte", func(t *testing.T) {
		t.Parallel()
		rcpt := "user@" + r.domain
		m := message{subject: "plain to " + r.name}
		d := w.expect(t, w.submit(t, m, rcpt), rcpt, "delivered", "", r.at)
		events, err := w.Timeline(t.Context(), d.ID)
		if err != nil {
			t.Fatal(err)
		}
		last := events[len(events)-1]
		switch {
		case last.Attempt == nil:
			t.Fatalf("the last event is of no attempt:\n%s", w.story(t, d.ID))
		case last.Attempt.TLS == "TLS1.3":
		case r.brokenTLS && last.Attempt.TLS == "" && strings.Contains(last.Attempt.TLSNote, "handshake") && last.Attempt.N == 1:
		default:
			t.Errorf("not over TLS 1.3:\n%s", w.story(t, d.ID))
		}
		if !r.brokenTLS {
			for _, k := range strings.Fields(r.keywords) {
				if !strings.Contains(last.Attempt.Transcript, k) {
					t.Errorf("the peer was expected to offer %s:\n%s", k, last.Attempt.Transcript)
				}
			}
		}
		sameBody(t, r.at.Of(rcpt)[0].Content, m.text(rcpt))
	})
	t.Run("8 bit", func(t *testing.T) {
		t.Parallel()
		rcpt := "eightbit@" + r.domain
		m := message{subject: "eight bit to " + r.name, headers: "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", body: "Grüße aus Köln, ça va\n"}
		w.expect(t, w.submit(t, m, rcpt), rcpt, "delivered", "", r.at)
		sameBody(t, r.at.Of(rcpt)[0].Content, m.text(rcpt))
	})
	t.Run("unknown user", func(t *testing.T) {
		t.Parallel()
		rcpt := "unknown@" + r.domain
		w.expect(t, w.submit(t, message{subject: "unknown at " + r.name}, rcpt), rcpt, "bounced", mail.ClassInvalidRecipient, r.at)
	})
	t.Run("many recipients, one of them unknown", func(t *testing.T) {
		t.Parallel()
		rcpts := []string{"m1@" + r.domain, "m2@" + r.domain, "unknown-among@" + r.domain, "m3@" + r.domain}
		id := w.submit(t, message{subject: "many at " + r.name}, rcpts...)
		for _, rcpt := range rcpts {
			if strings.HasPrefix(rcpt, "unknown") {
				w.expect(t, id, rcpt, "bounced", mail.ClassInvalidRecipient, r.at)
			} else {
				w.expect(t, id, rcpt, "delivered", "", r.at)
			}
		}
	})
	t.Run("large", func(t *testing.T) {
		t.Parallel()
		rcpt := "large@" + r.domain
		m := message{subject: "large to " + r.name, body: strings.Repeat("A line of a large message, which fills many packets.\n", 12_000)}
		w.expect(t, w.submit(t, m, rcpt), rcpt, "delivered", "", r.at)
		sameBody(t, r.at.Of(rcpt)[0].Content, m.text(rcpt))
	})
	if r.limit > 0 {
		t.Run("too large", func(t *testing.T) {
			t.Parallel()
			rcpt := "toolarge@" + r.domain
			m := message{subject: "too large for " + r.name, body: strings.Repeat("A line of a message that is too large.\n", r.limit/30)}
			w.expect(t, w.submit(t, m, rcpt), rcpt, "bounced", mail.ClassContentSize, r.at)
		})
	}
	if r.grey {
		t.Run("greylisted", func(t *testing.T) {
			t.Parallel()
			rcpt := "greylist@" + r.domain
			d := w.expect(t, w.submit(t, message{subject: "greylisted by " + r.name}, rcpt), rcpt, "delivered", "", r.at)
			events, err := w.Timeline(t.Context(), d.ID)
			if err != nil {
				t.Fatal(err)
			}
			if e := events[1]; e.Type != mail.EventDeferred || e.Class != mail.ClassGreylisted || d.Attempts < 2 {
				t.Errorf("want a greylisted first attempt, got %s %s, %d attempts\n%s", e.Type, e.Class, d.Attempts, w.story(t, d.ID))
			}
		})
	}
	t.Run("SMTPUTF8", func(t *testing.T) {
		t.Parallel()
		rcpt := "δοκιμή@" + r.domain
		m := message{subject: "utf8 to " + r.name, headers: "X-Greeting: grüß Gott\n"}
		id := w.submit(t, m, rcpt)
		if r.utf8 {
			w.expect(t, id, rcpt, "delivered", "", r.at)
			return
		}
		d := w.fate(t, id)[rcpt]
		// The words are ours: the peer was not asked.
		if d.State != "bounced" || !strings.HasPrefix(d.Reply, "5.6.7 ") {
			t.Errorf("%s %s %q, want bounced 5.6.7: the peer does not offer SMTPUTF8\n%s", d.State, d.Enhanced, d.Reply, w.story(t, d.ID))
		}
	})
}

// old sends to a Postfix that offers nothing beyond plain SMTP: the content must have become 7 bit on the way.
func (w *world) old(t *testing.T) {
	rcpt := "user@old.test"
	m := message{subject: "to the old one", headers: "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", body: "Grüße\n"}
	d := w.expect(t, w.submit(t, m, rcpt), rcpt, "delivered", "", w.sink)
	content := w.sink.Of(rcpt)[0].Content
	if i := bytes.IndexFunc(content, func(r rune) bool { return r > 127 }); i >= 0 {
		t.Errorf("octets over 127 were sent to a peer without 8BITMIME:\n%s\n%s", content, w.story(t, d.ID))
	}
	if !bytes.Contains(content, []byte("Gr=C3=BC=C3=9Fe")) {
		t.Errorf("the body is not in quoted-printable:\n%s", content)
	}
}

// sameBody compares the bodies, octet by octet.
func sameBody(t *testing.T, got, sent []byte) {
	t.Helper()
	_, g, _ := bytes.Cut(got, []byte("\r\n\r\n"))
	_, s, _ := bytes.Cut(sent, []byte("\r\n\r\n"))
	if !bytes.Equal(g, s) {
		t.Errorf("the body changed: %d octets were sent, %d arrived\nsent:    %.300q\narrived: %.300q", len(s), len(g), s, g)
	}
}
