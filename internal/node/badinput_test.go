package node

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
)

// login says EHLO and logs in.
func (d *dialogue) login() *dialogue {
	d.t.Helper()
	d.reply()
	d.say("EHLO client.test\r\n")
	if r := d.say("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00shop\x00"+testPassword)) + "\r\n"); !strings.HasPrefix(r, "235 ") {
		d.t.Fatalf("log-in: %s", r)
	}
	return d
}

const (
	mailOK = "MAIL FROM:<info@shop.test>\r\n"
	rcptOK = "RCPT TO:<you@example.com>\r\n"
	headOK = "From: info@shop.test\r\nSubject: x\r\n"
)

// step is what a client says, and how the reply begins; reply "": the connection ends.
type step struct{ say, reply string }

// transaction is a whole dialogue up to the content, which gets the reply.
func transaction(content, reply string) []step {
	return []step{{mailOK, "250 2.1.0"}, {rcptOK, "250 2.1.5"}, {"DATA\r\n", "354"}, {content + "\r\n.\r\n", reply}}
}

// Whatever a client writes: it gets the documented reply, and nothing of it is in the spool, its content folder or the
// record.
func TestBadInputOverSMTP(t *testing.T) {
	r := start(t, testConfig(t, nil), testAccounts)
	long := strings.Repeat("x", 70<<10)
	big := strings.Repeat(strings.Repeat("y", 76)+"\r\n", 1200) // 94 kB: goes to a file
	for _, tt := range []struct {
		name   string
		clear  bool // do not log in
		dialog []step
	}{
		{"no log-in", true, []step{{mailOK, "530 5.7.0"}}},
		{"wrong password", true, []step{{"AUTH PLAIN AHNob3AAd3Jvbmc=\r\n", "535 5.7.8"}, {mailOK, "530 5.7.0"}}},
		{"no base64", true, []step{{"AUTH PLAIN !!!\r\n", "501 5.5.2"}}},
		{"unknown mechanism", true, []step{{"AUTH GSSAPI\r\n", "504 5.5.4"}}},
		{"not SMTP", true, []step{{"GET / HTTP/1.1\r\n", ""}}},
		{"unknown command", false, []step{{"NONSENSE\r\n", "500 5.5.1"}}},
		{"VRFY", false, []step{{"VRFY shop\r\n", "252"}}},

		{"no brackets", false, []step{{"MAIL FROM:info@shop.test\r\n", "501 5.1.7"}}},
		{"no domain", false, []step{{"MAIL FROM:<info>\r\n", "501 5.1.7"}}},
		{"two at signs", false, []step{{"MAIL FROM:<info@shop.test@rival.test>\r\n", "501 5.1.7"}}},
		{"another account's sender", false, []step{{"MAIL FROM:<ceo@rival.test>\r\n", "550 5.7.1"}}},
		{"another account's sender behind a source route", false, []step{{"MAIL FROM:<@shop.test:ceo@rival.test>\r\n", "550 5.7.1"}}},
		{"another account's sender, quoted and in capitals", false, []step{{"MAIL FROM:<\"ceo\"@RIVAL.Test>\r\n", "550 5.7.1"}}},
		{"sender nobody has", false, []step{{"MAIL FROM:<a@elsewhere.test>\r\n", "550 5.7.1"}}},
		{"unknown parameter", false, []step{{"MAIL FROM:<info@shop.test> FOO=1\r\n", "555 5.5.4"}}},
		{"declared too large", false, []step{{"MAIL FROM:<info@shop.test> SIZE=99999999\r\n", "552 5.3.4"}}},
		{"size is no number", false, []step{{"MAIL FROM:<info@shop.test> SIZE=-1\r\n", "501 5.5.4"}}},
		{"two MAIL", false, []step{{mailOK, "250"}, {mailOK, "503 5.5.1"}}},

		{"RCPT without MAIL", false, []step{{rcptOK, "503 5.5.1"}}},
		{"DATA without RCPT", false, []step{{mailOK, "250"}, {"DATA\r\n", "503 5.5.1"}}},
		{"DATA with no good recipient", false, []step{{mailOK, "250"}, {"RCPT TO:<>\r\n", "501 5.1.3"}, {"DATA\r\n", "554 5.5.1"}}},
		{"null recipient", false, []step{{mailOK, "250"}, {"RCPT TO:<>\r\n", "501 5.1.3"}}},
		{"quotes not closed", false, []step{{mailOK, "250"}, {"RCPT TO:<\"you@example.com>\r\n", "501 5.1.3"}}},
		{"dots", false, []step{{mailOK, "250"}, {"RCPT TO:<.you@example.com>\r\n", "501 5.1.3"}, {"RCPT TO:<y..u@example.com>\r\n", "501 5.1.3"}}},
		{"space", false, []step{{mailOK, "250"}, {"RCPT TO:<y u@example.com>\r\n", "501 5.1.3"}}},
		{"local part of 65 octets", false, []step{{mailOK, "250"}, {"RCPT TO:<" + strings.Repeat("a", 65) + "@example.com>\r\n", "501 5.1.3"}}},
		{"source route without its end", false, []step{{mailOK, "250"}, {"RCPT TO:<@relay.test you@example.com>\r\n", "501 5.1.3"}}},
		{"international local part, not announced", false, []step{{mailOK, "250"}, {"RCPT TO:<jürgen@example.com>\r\n", "553 5.6.7"}}},
		{"bare CR in a path", false, []step{{mailOK, "250"}, {"RCPT TO:<you@example.com>\rRCPT TO:<me@example.com>\r\n", "500 5.5.2"}}},
		{"NUL in a path", false, []step{{mailOK, "250"}, {"RCPT TO:<you\x00@example.com>\r\n", "500 5.5.2"}}},
		{"bare LF ends a command", false, []step{{mailOK, "250"}, {"RCPT TO:<you@example.com>\nDATA\n\r\n", "500 5.5.2"}}},
		{"a command of 70 kB", false, []step{{mailOK, "250"}, {"RCPT TO:<" + long + "@example.com>\r\n", "500 5.5.2"}}},

		{"no From", false, transaction("Subject: x\r\n\r\nx", "554 5.6.0 From: ")},
		{"two From fields", false, transaction(headOK+"From: ceo@rival.test\r\n\r\nx", "554 5.6.0 From: ")},
		{"two addresses in From", false, transaction("From: info@shop.test, ceo@rival.test\r\n\r\nx", "554 5.6.0 From: ")},
		{"another account's From", false, transaction("From: ceo@rival.test\r\n\r\nx", "550 5.7.1 From: ")},
		{"another account's From in a large message", false, transaction("From: ceo@rival.test\r\n\r\n"+big, "550 5.7.1 From: ")},
		{"another account's Sender", false, transaction(headOK+"Sender: ceo@rival.test\r\n\r\nx", "550 5.7.1 Sender: ")},
		{"nonsense in the header", false, transaction(headOK+"no field\r\n\r\nx", "554 5.6.0")},
		{"NUL", false, transaction(headOK+"\r\na\x00b", "554 5.6.0")},
		{"NUL behind 94 kB", false, transaction(headOK+"\r\n"+big+"a\x00b", "554 5.6.0")},
		{"bare LF", false, transaction(headOK+"\r\na\nb", "550 5.6.0")},
		{"bare CR behind 94 kB", false, transaction(headOK+"\r\n"+big+"a\rb", "550 5.6.0")},
		{"an end of data that is none, and a second message", false, transaction(headOK+"\r\nx\n.\nMAIL FROM:<info@shop.test>\r\nRCPT TO:<smuggled@example.com>\r\nDATA\r\n"+headOK+"\r\nx", "550 5.6.0")},
		{"a line of 70 kB", false, transaction(headOK+"\r\n"+long, "554 5.6.0")},
		{"long lines in signed content", false, transaction(headOK+"DKIM-Signature: v=1\r\n\r\n"+strings.Repeat("x", 2000), "554 5.6.0")},
		{"a mail that goes round", false, transaction(strings.Repeat("Received: by a\r\n", 101)+headOK+"\r\nx", "554 5.4.6 Received: ")},
		{"too large", false, transaction(headOK+"\r\n"+strings.Repeat(big, 12), "552 5.3.4")},
		{"a header without end", false, transaction(headOK+strings.Repeat("X-A: "+strings.Repeat("b", 70)+"\r\n", 4000), "554 5.6.0")},
		{"unknown control field", false, transaction(headOK+"X-Postroad-Steam: bulk\r\n\r\nx", "554 5.6.0 X-Postroad-Steam: ")},
		{"wrong time", false, transaction(headOK+"X-Postroad-Send-At: tomorrow\r\n\r\nx", "554 5.6.0 X-Postroad-Send-At: ")},
		{"expired before it begins", false, transaction(headOK+"X-Postroad-Expires-At: 2020-01-01T00:00:00Z\r\n\r\nx", "550 5.6.0 expires_at: ")},
		{"metadata is a list", false, transaction(headOK+"X-Postroad-Metadata: [1]\r\n\r\nx", "554 5.6.0 X-Postroad-Metadata: ")},
		{"chunk that is larger than anything", false, []step{{mailOK, "250"}, {rcptOK, "250"}, {"BDAT 99999999999999999999 LAST\r\n", "501 5.5.4"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := r.traces()
			d := dial(t, r.Addrs("submission")[0])
			if tt.clear {
				d.reply()
				d.say("EHLO client.test\r\n")
			} else {
				d.login()
			}
			for _, s := range tt.dialog {
				got := d.say(s.say)
				if s.reply == "" && got != "" && !strings.HasPrefix(got, "421") && !strings.HasPrefix(got, "5") || !strings.HasPrefix(got, s.reply) {
					t.Errorf("%.80q: %q, want %q", s.say, got, s.reply)
				}
			}
			d.Close()
			r.quiet(before)
		})
	}
	// A connection that breaks off in the middle of a message has sent none.
	before := r.traces()
	d := dial(t, r.Addrs("submission")[0]).login()
	for _, s := range []string{mailOK, rcptOK, "DATA\r\n"} {
		d.say(s)
	}
	if _, err := d.Write([]byte(headOK + "\r\n" + big)); err != nil {
		t.Fatal(err)
	}
	d.Close()
	r.quiet(before)

	// What is unusual and right is taken.
	d = dial(t, r.Addrs("submission")[0]).login()
	for _, s := range []step{
		{"MAIL FROM:<@relay.test,@other.test:info@shop.test> BODY=8BITMIME SMTPUTF8\r\n", "250"},
		{"RCPT TO:<@relay.test:routed@example.com>\r\n", "250"},
		{"RCPT TO:<\"a quoted\\\"one\"@example.com>\r\n", "250"},
		{"RCPT TO:<jürgen@bücher.example>\r\n", "250"},
		{"RCPT TO:<user@[192.0.2.1]>\r\n", "250"},
		{"RCPT TO:<ROUTED@EXAMPLE.com>\r\n", "250"},
		{"DATA\r\n", "354"},
		{headOK + "\r\n..a dot\r\n.\r\n", "250 2.6.0 msg_"},
	} {
		if got := d.say(s.say); !strings.HasPrefix(got, s.reply) {
			t.Errorf("%.80q: %q, want %q", s.say, got, s.reply)
		}
	}
	b := r.await("/v1/queues/deliveries", func(b []byte) bool { return strings.Count(string(b), `"recipient"`) == 5 })
	for _, want := range []string{`"routed@example.com"`, `"\"a quoted\\\"one\"@example.com"`, `"jürgen@xn--bcher-kva.example"`, `"user@[192.0.2.1]"`, `"ROUTED@example.com"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not among the recipients: %s", want, b)
		}
	}
}

// quiet waits until the traces are as before: a connection that broke off is noticed, and a file removed, a moment later.
func (r *running) quiet(before string) {
	r.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); r.traces() != before; {
		if time.Now().After(deadline) {
			r.t.Fatalf("a trace is left:\n before %s\n now    %s", before, r.traces())
		}
	}
}

// The same over HTTP, at the level of connections; internal/api tests what is in the requests.
func TestBadInputOverHTTP(t *testing.T) {
	r := start(t, testConfig(t, nil), testAccounts)
	before := r.traces()
	auth := "Host: x\r\nAuthorization: Bearer " + testKey + "\r\n"
	for _, tt := range []struct{ name, say, reply string }{
		{"not HTTP", "EHLO client.test\r\n\r\n", "HTTP/1.1 400"},
		{"no host", "GET /v1/messages HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
		{"length and chunks", "POST /v1/messages HTTP/1.1\r\n" + auth + "Content-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n", "HTTP/1.1 400"},
		{"two lengths", "POST /v1/messages HTTP/1.1\r\n" + auth + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345", "HTTP/1.1 400"},
		{"chunks that are none", "POST /v1/messages HTTP/1.1\r\n" + auth + "Content-Type: message/rfc822\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400"},
		{"bare CR in a header", "GET /healthz HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", "HTTP/1.1 400"},
		{"NUL in a header", "GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", "HTTP/1.1 400"},
		{"a header of 200 kB", "GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 200<<10) + "\r\n\r\n", "HTTP/1.1 431"},
		{"CRLF in the path", "GET /v1/messages/%0d%0aSet-Cookie:x HTTP/1.1\r\n" + auth + "Connection: close\r\n\r\n", "HTTP/1.1 400"},
		{"out of the tree", "GET /v1/../../etc/passwd HTTP/1.1\r\n" + auth + "Connection: close\r\n\r\n", "HTTP/1.1 404"},
	} {
		d := dial(t, r.Addrs("http")[0])
		if _, err := d.Write([]byte(tt.say)); err != nil && tt.reply != "HTTP/1.1 431" {
			t.Fatal(err)
		}
		if got, _ := d.in.ReadString('\n'); !strings.HasPrefix(got, tt.reply) {
			t.Errorf("%s: %q, want %s", tt.name, got, tt.reply)
		}
		d.Close()
	}
	// A request that breaks off in the middle of its body has sent nothing.
	for _, media := range []string{"application/json", "message/rfc822", "application/x-ndjson"} {
		d := dial(t, r.Addrs("http")[0])
		if _, err := d.Write([]byte("POST /v1/messages HTTP/1.1\r\n" + auth + "Content-Type: " + media + "\r\nContent-Length: 9999\r\n\r\n" + message("you@example.com"))); err != nil {
			t.Fatal(err)
		}
		d.Close()
	}
	r.quiet(before)
	if status, b := r.request(testKey, http.MethodPost, "/v1/messages", message("you@example.com")); status != 202 {
		t.Errorf("and a good one: %d %s", status, b)
	}
}
