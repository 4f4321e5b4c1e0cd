//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	gomail "github.com/wneessen/go-mail"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/test/rig"
)

// clients submit with other people's programs and libraries; the mail goes to go-smtp's server.
func (w *world) clients(t *testing.T) {
	for name, f := range map[string]func(*testing.T){
		"swaks": w.swaks, "msmtp": w.msmtp, "smtp-source": w.smtpSource, "go-mail": w.goMail, "go-smtp": w.goSMTP,
		"pipelining": w.pipelining, "chunking": w.chunking,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t)
		})
	}
}

// command runs a program with the message on standard input and returns what it printed. Without a name of their own
// these are found in the path.
func command(t *testing.T, stdin []byte, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *world) swaks(t *testing.T) {
	_, plainPort, _ := net.SplitHostPort(w.SMTP)
	_, tlsPort, _ := net.SplitHostPort(w.SMTPS)
	auth := func(mechanism string, more ...string) []string {
		return append([]string{"--auth", mechanism, "--auth-user", login, "--auth-password", password}, more...)
	}
	verify := []string{"--tls-verify", "--tls-ca-path", w.ca.File}
	for name, args := range map[string][]string{
		"starttls-plain":     append(auth("PLAIN", "--port", plainPort, "--tls"), verify...),
		"starttls-login":     append(auth("LOGIN", "--port", plainPort, "--tls"), verify...),
		"starttls-pipelined": append(auth("PLAIN", "--port", plainPort, "--tls", "--pipeline"), verify...),
		"implicit-plain":     append(auth("PLAIN", "--port", tlsPort, "--tls-on-connect"), verify...),
		"implicit-login":     append(auth("LOGIN", "--port", tlsPort, "--tls-on-connect"), verify...),
		"clear-network":      {"--port", plainPort, "--from", stranger},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rcpt := "swaks-" + name + "@gosmtp.test"
			args := append([]string{
				"--server", "127.0.0.1", "--ehlo", "client.test", "--from", sender, "--to", rcpt,
				"--header", "Subject: swaks " + name, "--timeout", "20s",
			}, args...)
			out, err := command(t, nil, "swaks", args...)
			if err != nil {
				t.Fatalf("swaks: %v\n%s", err, out)
			}
			id, ok := findID(out)
			if !ok {
				t.Fatalf("the answer names no message id:\n%s", out)
			}
			w.expect(t, id, rcpt, "delivered", "", w.gosmtp)
		})
	}
	t.Run("wrong-password", func(t *testing.T) {
		t.Parallel()
		out, err := command(t, nil, "swaks", "--server", "127.0.0.1", "--port", plainPort, "--tls", "--from", sender, "--to", "nobody@gosmtp.test",
			"--auth", "PLAIN", "--auth-user", login, "--auth-password", "not it")
		var exit *exec.ExitError
		// 28 is swaks's own code for a login that was refused.
		if !errors.As(err, &exit) || exit.ExitCode() != 28 || !strings.Contains(out, "535 5.7.8") {
			t.Errorf("want exit status 28 and 535 5.7.8, got %v\n%s", err, out)
		}
	})
	t.Run("auth-in-clear", func(t *testing.T) {
		t.Parallel()
		out, err := command(t, nil, "swaks", "--server", "127.0.0.1", "--port", plainPort, "--from", sender, "--to", "nobody@gosmtp.test",
			"--auth", "PLAIN", "--auth-user", login, "--auth-password", password)
		if err == nil || strings.Contains(out, "AUTH PLAIN A") {
			t.Errorf("AUTH must not be offered in clear: %v\n%s", err, out)
		}
	})
	t.Run("foreign-sender", func(t *testing.T) {
		t.Parallel()
		args := auth("PLAIN", "--port", plainPort, "--tls", "--server", "127.0.0.1", "--from", "ceo@bank.test", "--to", "nobody@gosmtp.test")
		out, err := command(t, nil, "swaks", args...)
		if err == nil {
			t.Errorf("a sender that is not the account's was taken:\n%s", out)
		}
	})
}

func (w *world) msmtp(t *testing.T) {
	for _, c := range []struct{ name, addr, starttls, auth string }{
		{"starttls-plain", w.SMTP, "on", "plain"},
		{"starttls-login", w.SMTP, "on", "login"},
		{"implicit-plain", w.SMTPS, "off", "plain"},
		{"implicit-login", w.SMTPS, "off", "login"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, port, _ := net.SplitHostPort(c.addr)
			rcpt := "msmtp-" + c.name + "@gosmtp.test"
			m := message{subject: "msmtp " + c.name}
			out, err := command(t, m.text(rcpt), "msmtp", "--host=localhost", "--port="+port, "--tls=on", "--tls-starttls="+c.starttls,
				"--tls-trust-file="+w.ca.File, "--auth="+c.auth, "--user="+login, "--passwordeval=echo "+password, "--from="+sender, "--timeout=20", rcpt)
			if err != nil {
				t.Fatalf("msmtp: %v\n%s", err, out)
			}
			w.expectFound(t, m.id(), rcpt)
		})
	}
}

// expectFound finds a message by its Message-ID field and expects its delivery.
func (w *world) expectFound(t *testing.T, rfc822, rcpt string) rig.Delivery {
	t.Helper()
	var list []rig.Delivery
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := rig.Poll(ctx, 50*time.Millisecond, func() bool {
		list = w.search(t, url.Values{"message_id": {rfc822}})
		return len(list) > 0
	}); err != nil {
		t.Fatalf("no delivery with Message-ID %s in the record", rfc822)
	}
	if len(list) != 1 {
		t.Fatalf("%d deliveries have the Message-ID %s", len(list), rfc822)
	}
	return w.expect(t, list[0].Message, rcpt, "delivered", "", w.gosmtp)
}

// smtpSource sends fast, over several connections at once, kept and new ones.
func (w *world) smtpSource(t *testing.T) {
	const n = 100
	total := 0
	for _, kept := range []bool{false, true} {
		args := []string{"-s", "10", "-m", strconv.Itoa(n), "-l", "4096", "-N", "-f", stranger, "-t", fmt.Sprintf("rcpt%v@smtpsource.test", kept), w.SMTP}
		if kept {
			args = append([]string{"-d"}, args...)
		}
		if out, err := command(t, nil, "smtp-source", args...); err != nil {
			t.Fatalf("smtp-source: %v\n%s", err, out)
		}
		total += n
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var list []rig.Delivery
	err := rig.Poll(ctx, 100*time.Millisecond, func() bool {
		list = w.search(t, url.Values{"domain": {"smtpsource.test"}, "account": {"source"}, "max": {"1000"}})
		done := 0
		for _, d := range list {
			if d.State.Final() {
				done++
			}
		}
		return done >= total
	})
	if err != nil || len(list) != total {
		t.Fatalf("%d messages were accepted, the record has %d deliveries: %v", total, len(list), err)
	}
	for _, d := range list {
		if d.State != "delivered" {
			t.Errorf("%s: %s %s", d.Recipient, d.State, d.Reply)
		} else if copies := len(w.gosmtp.Of(d.Recipient)); copies != 1 {
			t.Errorf("%s: %d copies arrived", d.Recipient, copies)
		}
	}
}

func (w *world) goMail(t *testing.T) {
	config := &tls.Config{RootCAs: w.ca.Pool, ServerName: "localhost"}
	for _, c := range []struct {
		name, addr string
		options    []gomail.Option
	}{
		{"starttls-plain", w.SMTP, []gomail.Option{gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithSMTPAuth(gomail.SMTPAuthPlain)}},
		{"starttls-login", w.SMTP, []gomail.Option{gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithSMTPAuth(gomail.SMTPAuthLogin)}},
		{"implicit-plain", w.SMTPS, []gomail.Option{gomail.WithSSL(), gomail.WithSMTPAuth(gomail.SMTPAuthPlain)}},
		{"starttls-dsn", w.SMTP, []gomail.Option{
			gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithSMTPAuth(gomail.SMTPAuthPlain), gomail.WithDSNMailReturnType(gomail.DSNMailReturnHeadersOnly),
			gomail.WithDSNRcptNotifyType(gomail.DSNRcptNotifyFailure, gomail.DSNRcptNotifyDelay),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, port, _ := net.SplitHostPort(c.addr)
			p, err := strconv.Atoi(port)
			if err != nil {
				t.Fatal(err)
			}
			options := append([]gomail.Option{
				gomail.WithPort(p), gomail.WithTLSConfig(config), gomail.WithUsername(login), gomail.WithPassword(password), gomail.WithTimeout(patience),
			}, c.options...)
			client, err := gomail.NewClient("127.0.0.1", options...)
			if err != nil {
				t.Fatal(err)
			}
			rcpt := "go-mail-" + c.name + "@gosmtp.test"
			m := gomail.NewMsg()
			if err := errors.Join(m.From(sender), m.To(rcpt)); err != nil {
				t.Fatal(err)
			}
			m.Subject("go-mail " + c.name + " with ümlauts")
			m.SetBodyString(gomail.TypeTextPlain, "Grüße.\n.\nThe end.")
			m.AddAlternativeString(gomail.TypeTextHTML, "<p>Grüße.</p>")
			rfc822 := "go-mail-" + c.name + "@shop.test"
			m.SetMessageIDWithValue(rfc822)
			if err := client.DialAndSendWithContext(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			w.expectFound(t, rfc822, rcpt)
			if c.name == "starttls-dsn" {
				got := w.gosmtp.Of(rcpt)[0]
				if got.Envelope.Return != smtp.DSNReturnHeaders || len(got.Rcpt.Notify) != 2 {
					t.Errorf("RET and NOTIFY were not passed on: %q %q", got.Envelope.Return, got.Rcpt.Notify)
				}
			}
		})
	}
}

func (w *world) goSMTP(t *testing.T) {
	config := &tls.Config{RootCAs: w.ca.Pool, ServerName: "localhost"}
	for _, c := range []struct {
		name string
		dial func() (*smtp.Client, error)
		auth sasl.Client
	}{
		{"starttls-plain", func() (*smtp.Client, error) { return smtp.DialStartTLS(w.SMTP, config) }, sasl.NewPlainClient("", login, password)},
		{"starttls-login", func() (*smtp.Client, error) { return smtp.DialStartTLS(w.SMTP, config) }, sasl.NewLoginClient(login, password)},
		{"implicit-plain", func() (*smtp.Client, error) { return smtp.DialTLS(w.SMTPS, config) }, sasl.NewPlainClient("", login, password)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, err := c.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := client.Auth(c.auth); err != nil {
				t.Fatal(err)
			}
			// Two messages over one connection: one with DSN, one with SMTPUTF8.
			rcpt := "go-smtp-" + c.name + "@gosmtp.test"
			m := message{subject: "go-smtp " + c.name}
			w.sendGoSMTP(t, client, m, rcpt, &smtp.MailOptions{EnvelopeID: "order=42+" + c.name, Return: smtp.DSNReturnFull},
				&smtp.RcptOptions{Notify: []smtp.DSNNotify{smtp.DSNNotifySuccess, smtp.DSNNotifyFailure}, OriginalRecipientType: smtp.DSNAddressTypeRFC822, OriginalRecipient: "first@example.com"})
			w.expectFound(t, m.id(), rcpt)
			got := w.gosmtp.Of(rcpt)[0]
			if got.Envelope.EnvelopeID != "order=42+"+c.name || got.Envelope.Return != smtp.DSNReturnFull || len(got.Rcpt.Notify) != 2 || got.Rcpt.OriginalRecipient != "first@example.com" {
				t.Errorf("the DSN parameters were not passed on: %+v %+v", got.Envelope, got.Rcpt)
			}
			rcpt = "postbüro-" + c.name + "@gosmtp.test"
			m = message{subject: "go-smtp utf8 " + c.name, headers: "X-Greeting: grüß Gott\n"}
			w.sendGoSMTP(t, client, m, rcpt, &smtp.MailOptions{UTF8: true}, nil)
			w.expectFound(t, m.id(), rcpt)
			if err := client.Quit(); err != nil {
				t.Error(err)
			}
		})
	}
}

func (w *world) sendGoSMTP(t *testing.T, c *smtp.Client, m message, rcpt string, mo *smtp.MailOptions, ro *smtp.RcptOptions) {
	t.Helper()
	if err := c.Mail(sender, mo); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt(rcpt, ro); err != nil {
		t.Fatal(err)
	}
	data, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := data.Write(m.text(rcpt)); err != nil {
		t.Fatal(err)
	}
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
}

// raw opens a connection by hand, for what no client at hand does.
func (w *world) raw(t *testing.T) (net.Conn, *textproto.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", w.SMTP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c, textproto.NewReader(bufio.NewReader(c))
}

// pipelining sends whole dialogues without waiting (RFC 2920): two messages in two writes.
func (w *world) pipelining(t *testing.T) {
	c, r := w.raw(t)
	rcpts := []string{"pipe1@gosmtp.test", "pipe2@gosmtp.test"}
	first, second := message{subject: "pipelined 1", from: stranger}, message{subject: "pipelined 2", from: stranger}
	read := func(want int) string {
		t.Helper()
		_, text, err := r.ReadResponse(want)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	read(220)
	fmt.Fprint(c, "EHLO client.test\r\n")
	read(250)
	fmt.Fprintf(c, "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", stranger, rcpts[0])
	read(250)
	read(250)
	read(354)
	// The end of the first message and the beginning of the next go out together.
	fmt.Fprintf(c, "%s\r\n.\r\nMAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", stuffed(first.text(rcpts[0])), stranger, rcpts[1])
	id1, ok1 := findID(read(250))
	read(250)
	read(250)
	read(354)
	fmt.Fprintf(c, "%s\r\n.\r\nQUIT\r\n", stuffed(second.text(rcpts[1])))
	id2, ok2 := findID(read(250))
	read(221)
	if !ok1 || !ok2 {
		t.Fatal("an answer names no message id")
	}
	for i, id := range []mail.MessageID{id1, id2} {
		w.expect(t, id, rcpts[i], "delivered", "", w.gosmtp)
	}
}

// stuffed doubles the dots at the beginning of lines and drops the last line end.
func stuffed(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n."), []byte("\r\n.."))
	return bytes.TrimSuffix(b, []byte("\r\n"))
}

// chunking sends with BDAT (RFC 3030), in three chunks that are cut anywhere.
func (w *world) chunking(t *testing.T) {
	c, r := w.raw(t)
	rcpt := "chunks@gosmtp.test"
	m := message{subject: "in chunks", from: stranger}
	content := m.text(rcpt)
	a, b := len(content)/3, len(content)/2
	if _, _, err := r.ReadResponse(220); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "EHLO client.test\r\n")
	if _, text, err := r.ReadResponse(250); err != nil || !strings.Contains(text, "CHUNKING") {
		t.Fatalf("CHUNKING is not offered: %v %s", err, text)
	}
	fmt.Fprintf(c, "MAIL FROM:<%s> BODY=8BITMIME\r\nRCPT TO:<%s>\r\nBDAT %d\r\n%sBDAT %d\r\n%sBDAT %d LAST\r\n%s",
		stranger, rcpt, a, content[:a], b-a, content[a:b], len(content)-b, content[b:])
	var last string
	for range 5 {
		_, text, err := r.ReadResponse(250)
		if err != nil {
			t.Fatal(err)
		}
		last = text
	}
	id, ok := findID(last)
	if !ok {
		t.Fatalf("the answer names no message id: %s", last)
	}
	w.expect(t, id, rcpt, "delivered", "", w.gosmtp)
	sameBody(t, w.gosmtp.Of(rcpt)[0].Content, content)
}
