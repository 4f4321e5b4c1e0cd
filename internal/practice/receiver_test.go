package practice

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A receiver that keeps the rules complains of a client that does not.
func TestViolations(t *testing.T) {
	const hello = "EHLO c.test\r\n"
	for _, tt := range []struct {
		name  string
		host  string
		say   [][]string // octets, then the replies
		fault string
	}{
		{"bare LF in content", "mx1.mailbox.test", [][]string{{hello, "250"}, {fmt.Sprintf(mailTo, "a@x.test"), "250", "250"}, {"DATA\r\n", "354"}, {"a: b\r\n\r\nx\ny\r\n.\r\n", "554 5.6.0"}}, "bare CR or LF"},
		{"bare CR in content", "mx1.mailbox.test", [][]string{{hello, "250"}, {fmt.Sprintf(mailTo, "a@x.test"), "250", "250"}, {"DATA\r\n", "354"}, {"a: b\r\n\r\nx\ry\r\n.\r\n", "554 5.6.0"}}, "bare CR or LF"},
		{"smuggling", "mx1.mailbox.test", [][]string{{hello, "250"}, {fmt.Sprintf(mailTo, "a@x.test"), "250", "250"}, {"DATA\r\n", "354"}, {"a: b\r\n\r\n\n.\r\nQUIT\r\n.\r\n", "554 5.6.0"}, {"NOOP\r\n", "250"}}, "bare CR or LF"},
		{"long line", "mx1.mailbox.test", [][]string{{hello, "250"}, {fmt.Sprintf(mailTo, "a@x.test"), "250", "250"}, {"DATA\r\n", "354"}, {"a: b\r\n\r\n" + strings.Repeat("x", 999) + "\r\n.\r\n", "554 5.6.0"}}, "longer than 1000"},
		{"very long line", "mx1.mailbox.test", [][]string{{hello, "250"}, {fmt.Sprintf(mailTo, "a@x.test"), "250", "250"}, {"DATA\r\n", "354"}, {"a: b\r\n\r\n" + strings.Repeat("x", 9999) + "\r\n.\r\n", "554 5.6.0"}}, "longer than 1000"},
		{"eight bits not announced", "mx1.mailbox.test", [][]string{{hello, "250"}, {fmt.Sprintf(mailTo, "a@x.test"), "250", "250"}, {"DATA\r\n", "354"}, {"a: b\r\n\r\n\xe9\r\n.\r\n", "554 5.6.1"}}, "octets over 127"},
		{"parameter not offered", "mx1.mailbox.test", [][]string{{hello, "250"}, {"MAIL FROM:<a@b> XFOO=1\r\n", "555"}}, "XFOO=1"},
		{"parameter after HELO", "mx1.mailbox.test", [][]string{{"HELO c.test\r\n", "250"}, {"MAIL FROM:<a@b> SIZE=1\r\n", "555"}}, "SIZE=1"},
		{"parameter of a plain host", "mx.plain.test", [][]string{{hello, "502"}, {"HELO c.test\r\n", "250"}, {"MAIL FROM:<a@b> BODY=8BITMIME\r\n", "555"}}, "BODY=8BITMIME"},
		{"UTF-8 address without SMTPUTF8", "mx1.mailbox.test", [][]string{{hello, "250"}, {"MAIL FROM:<a@b>\r\nRCPT TO:<é@x.test>\r\n", "250", "553 5.6.7"}}, "without SMTPUTF8"},
		{"pipelining that was not offered", "mx.plain.test", [][]string{{"HELO c.test\r\n", "250"}, {fmt.Sprintf(mailTo, "a@x.test"), "250", "250"}}, "did not wait"},
		{"content before 354", "mx1.mailbox.test", [][]string{{hello, "250"}, {fmt.Sprintf(mailTo, "a@x.test"), "250", "250"}, {"DATA\r\na: b\r\n\r\nx\r\n.\r\n", "354", "250"}}, "did not wait"},
		{"STARTTLS with more behind it", "mx1.mailbox.test", [][]string{{hello, "250"}, {"STARTTLS\r\nEHLO evil.test\r\n", ""}}, "in clear after STARTTLS"},
		{"space before the path", "mx1.mailbox.test", [][]string{{hello, "250"}, {"MAIL FROM: <a@b>\r\n", "501"}}, "right after FROM:"},
		{"no domain", "mx1.mailbox.test", [][]string{{hello, "250"}, {"MAIL FROM:<a@b>\r\nRCPT TO:<postmaster>\r\n", "250", "501"}}, "no domain"},
		{"MAIL twice", "mx1.mailbox.test", [][]string{{hello, "250"}, {"MAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n", "250", "503"}}, "within a transaction"},
		{"MAIL first", "mx1.mailbox.test", [][]string{{"MAIL FROM:<a@b>\r\n", "503"}}, "before EHLO"},
		{"EHLO without a name", "mx1.mailbox.test", [][]string{{"EHLO\r\n", "501"}}, "without a proper name"},
		{"bare LF after a command", "mx1.mailbox.test", [][]string{{"EHLO c.test\n", "250"}}, "bare LF"},
		{"unknown command", "mx1.mailbox.test", [][]string{{"BDAT 5 LAST\r\n", "500"}}, "unknown command"},
		{"endless command", "mx1.mailbox.test", [][]string{{"NOOP " + strings.Repeat("x", maxLine) + "\r\n", "500"}}, "longer than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, Options{})
			if n.addrOf(tt.host) == "" || tt.host != "mx1.mailbox.test" && len(n.Missing()) > 0 {
				t.Skip("no other loopback address here")
			}
			d := dial(t, n, tt.host)
			for _, s := range tt.say {
				d.say(s[0], s[1:]...)
			}
			if v := n.Violations(); len(v) == 0 || !strings.Contains(v[0], tt.fault) {
				t.Errorf("violations %q, want one with %q", v, tt.fault)
			}
		})
	}
}

// What is right raises no complaint, odd as it looks.
func TestNoViolation(t *testing.T) {
	n := start(t, Options{})
	d := dial(t, n, "mx1.mailbox.test")
	d.say("ehlo [127.0.0.1]\r\n", "250")
	d.say("mail from:<> SIZE=100 BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=abc\r\nRCPT to:<\"a> b\"@x.test> NOTIFY=NEVER ORCPT=rfc822;x\r\nRSET\r\n", "250", "250", "250")
	d.say("MAIL FROM:<é@b.test> SMTPUTF8\r\nRCPT TO:<ü@x.test>\r\n", "250", "250")
	d.say("DATA\r\n", "354")
	// A line of 998 octets that begins with a dot, the dots doubled.
	d.say("Subject: x\r\n\r\n.."+strings.Repeat("x", 997)+"\r\n..\r\n.\r\nNOOP\r\nQUIT\r\n", "250", "250", "221", "")
	got := n.Received("ü@x.test")
	if len(got) != 1 {
		t.Fatalf("%d messages", len(got))
	}
	if want := "Subject: x\r\n\r\n." + strings.Repeat("x", 997) + "\r\n.\r\n"; string(got[0].Content) != want {
		t.Errorf("content %q", got[0].Content)
	}
	if !strings.HasPrefix(got[0].MessageID, "sha256:") {
		t.Errorf("a message without Message-ID is known as %q", got[0].MessageID)
	}
	if v := n.Violations(); len(v) > 0 {
		t.Errorf("violations %q", v)
	}
}

// What was said before the handshake does not count after it (RFC 3207 §4.2).
func TestStartTLSBeginsAnew(t *testing.T) {
	n := start(t, Options{})
	d := dial(t, n, "mx1.mailbox.test")
	d.say("EHLO c.test\r\nMAIL FROM:<a@b>\r\n", "250", "250")
	d.say("STARTTLS\r\n", "220")
	conn := tls.Client(d.Conn, &tls.Config{InsecureSkipVerify: true})
	d.Conn, d.r = conn, bufio.NewReader(conn)
	d.say("RCPT TO:<r@x.test>\r\n", "503")
	d.say("MAIL FROM:<a@b>\r\n", "503")
	d.say("EHLO c.test\r\n", "250")
	d.say("STARTTLS\r\n", "503")
	d.deliver("r@x.test", "<1@x>", "250")
	if got := n.Received("r@x.test"); len(got) != 1 || !strings.HasPrefix(got[0].TLS, "TLS1.") {
		t.Errorf("received %+v", got)
	}
}

func TestLostReplyMakesADuplicate(t *testing.T) {
	n := start(t, Options{})
	for range 2 {
		d := dial(t, n, "mx1.mailbox.test")
		d.say("EHLO c.test\r\n", "250")
		want := ""
		if n.Counters().Messages == 1 {
			want = "250"
		}
		d.deliver("lost-reply+1@mailbox.test", "<1@x>", want)
	}
	got := n.Received("lost-reply+1@mailbox.test")
	if len(got) != 2 || !got[0].Unanswered || got[0].Duplicate || got[1].Unanswered || !got[1].Duplicate {
		t.Fatalf("received %+v", got)
	}
	// Another message to the same recipient loses its reply again.
	d := dial(t, n, "mx1.mailbox.test")
	d.say("EHLO c.test\r\n", "250")
	d.deliver("lost-reply+1@mailbox.test", "<2@x>", "")
}

func TestGreylistKeysOnTheTriplet(t *testing.T) {
	now := newClock()
	n := start(t, Options{Now: now.now, GreylistDelay: time.Minute})
	d := dial(t, n, "mx1.mailbox.test")
	d.say("EHLO c.test\r\n", "250")
	ask := func(sender, want string) {
		t.Helper()
		d.say("MAIL FROM:<"+sender+">\r\nRCPT TO:<greylist@mailbox.test>\r\nRSET\r\n", "250", want, "250")
	}
	ask("a@example.com", "451 4.7.1")
	now.add(59 * time.Second)
	ask("a@example.com", "451 4.7.1")
	ask("b@example.com", "451 4.7.1")
	now.add(time.Second)
	ask("a@example.com", "250")
	ask("b@example.com", "451 4.7.1")
}

func TestSeveralRecipients(t *testing.T) {
	n := start(t, Options{})
	d := dial(t, n, "mx1.mailbox.test")
	d.say("EHLO c.test\r\n", "250")
	d.say("MAIL FROM:<s@example.com>\r\nRCPT TO:<a@x.test>\r\nRCPT TO:<unknown@x.test>\r\nRCPT TO:<b@x.test>\r\n", "250", "250", "550 5.1.1", "250")
	d.say("DATA\r\n", "354")
	d.say("Message-ID: <1@x>\r\n\r\n.\r\n", "250")
	if len(n.Received("a@x.test")) != 1 || len(n.Received("B@X.test")) != 1 || len(n.Received("unknown@x.test")) != 0 {
		t.Errorf("received %+v", n.All())
	}
	if c := n.Counters(); c.Messages != 1 || c.Recipients != 2 || c.Refused != 1 || c.Duplicates != 0 {
		t.Errorf("counters %+v", c)
	}
	d.say("MAIL FROM:<s@example.com>\r\n", "250")
	for range 100 {
		d.say("RCPT TO:<a@x.test>\r\n", "250")
	}
	d.say("RCPT TO:<a@x.test>\r\n", "452 4.5.3")
}

func TestSmallHostAnnouncesAndKeepsItsLimit(t *testing.T) {
	n := start(t, Options{})
	if len(n.Missing()) > 0 {
		t.Skip("no other loopback address here")
	}
	d := dial(t, n, "mx.small.test")
	d.say("EHLO c.test\r\n", "250")
	d.say(fmt.Sprintf("MAIL FROM:<a@b> SIZE=%d\r\n", smallSize+1), "552 5.3.4")
	d.say(fmt.Sprintf("MAIL FROM:<a@b> SIZE=%d\r\nRCPT TO:<a@x.test>\r\n", smallSize), "250", "250")
	d.say("DATA\r\n", "354")
	d.say("a: b\r\n\r\n"+strings.Repeat("0123456789\r\n", smallSize/10)+".\r\n", "552 5.3.4")
}

func TestHostCounters(t *testing.T) {
	n := start(t, Options{})
	a, b := dial(t, n, "mx1.mailbox.test"), dial(t, n, "mx1.mailbox.test")
	a.say("QUIT\r\n", "221", "")
	b.say("EHLO c.test\r\n", "250")
	b.deliver("a@x.test", "<1@x>", "250")
	h := n.Hosts()[0]
	if h.Name != "mx1.mailbox.test" || h.Connections != 2 || h.MaxOpen != 2 || h.Messages != 1 || int(h.Addr.Port()) != n.Port() {
		t.Errorf("%+v", h)
	}
}

func TestCloseEndsOpenConnections(t *testing.T) {
	n := start(t, Options{Slow: time.Hour})
	idle := dial(t, n, "mx1.mailbox.test")
	slow := dial(t, n, "mx1.mailbox.test")
	slow.say("EHLO c.test\r\n", "250")
	slow.say("MAIL FROM:<a@b>\r\nRCPT TO:<slow@x.test>\r\n", "250")
	n.Close()
	idle.expect("")
	slow.expect("")
}

func TestContextEndsTheInternet(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	n, err := Start(ctx, Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := dial(t, n, "mx1.mailbox.test")
	cancel()
	d.expect("")
	n.Close()
}

func TestPort(t *testing.T) {
	n := start(t, Options{})
	if _, err := Start(context.Background(), Options{Port: n.Port()}); err == nil {
		t.Error("a port that is taken was opened again")
	}
	other := start(t, Options{})
	if other.Port() == n.Port() {
		t.Error("two practice internets share a port")
	}
}

func TestTooManyConnections(t *testing.T) {
	n := start(t, Options{MaxConnections: 1})
	first := dial(t, n, "mx1.mailbox.test")
	connect(t, n, "mx1.mailbox.test").expect("")
	first.say("NOOP\r\n", "250")
}

func TestWait(t *testing.T) {
	n := start(t, Options{})
	waited := make(chan error)
	go func() {
		waited <- n.Wait(testContext(t), func() bool { return len(n.Received("a@x.test")) == 1 })
	}()
	d := dial(t, n, "mx1.mailbox.test")
	d.say("EHLO c.test\r\n", "250")
	d.deliver("a@x.test", "<1@x>", "250")
	if err := <-waited; err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.Wait(ended, func() bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait after its context ended: %v", err)
	}
}
