package node

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"strings"
	"testing"
	"time"
)

// Mail for postmaster@ and abuse@ is sent on to the operator as an attachment, once, and mail of our own is not.
func TestForward(t *testing.T) {
	internet := testInternet(t)
	c := testConfig(t, internet)
	c.ReturnPath.ForwardTo = "operator@mailbox.test"
	n := start(t, c, testAccounts+testRoute)
	send := func(to, content string) {
		t.Helper()
		d := dial(t, n.Addrs("return-path")[0])
		d.reply()
		for _, step := range []struct{ say, want string }{
			{"EHLO peer.test\r\n", "250"},
			{"MAIL FROM:<angry@peer.test>\r\n", "250"},
			{"RCPT TO:<" + to + ">\r\n", "250"},
			{"DATA\r\n", "354"},
			{content + ".\r\n", "250"},
			{"QUIT\r\n", "221"},
		} {
			if got := d.say(step.say); !strings.HasPrefix(got, step.want) {
				t.Fatalf("%.40q: %s", step.say, got)
			}
		}
	}
	mails := map[string]string{
		"seven":  "From: a@peer.test\r\nSubject: stop =?utf-8?q?=07_it?=\r\n\r\nYou sent me this:\r\n> X-Postroad-Token: b1-x\r\n",
		"eight":  "From: a@peer.test\r\nSubject: eight\r\n\r\nGr\xfc\xdfe\r\n",
		"long":   "From: a@peer.test\r\nSubject: long\r\n\r\n" + strings.Repeat("x", 5000) + "\r\n",
		"header": "no header at all\r\n",
	}
	send("abuse@mail.shop.test", "X-Postroad-Token: b1-x\r\n"+mails["seven"]) // ours, come back
	send("fbl@mail.shop.test", mails["seven"])
	// Answers of machines to what was sent on.
	send("postmaster@mail.shop.test", "From: operator@mailbox.test\r\nSubject: Out of office: postmaster: stop\r\nAuto-Submitted: auto-replied\r\n\r\nI am out of office until Monday.\r\n")
	send("postmaster@mail.shop.test", "From: MAILER-DAEMON@mailbox.test\r\nSubject: Undelivered Mail Returned to Sender\r\n\r\nI could not deliver your message.\r\n\r\n<operator@mailbox.test>: 550 5.1.1 User unknown\r\n")
	for _, name := range []string{"seven", "eight", "long", "header"} {
		send("postmaster@mail.shop.test", mails[name])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := internet.Wait(ctx, func() bool { return len(internet.Received("operator@mailbox.test")) >= len(mails) }); err != nil {
		t.Fatal(err, internet.Violations())
	}
	n.idle()
	got := internet.Received("operator@mailbox.test")
	if len(got) != len(mails) {
		t.Errorf("%d mails are sent on, want %d", len(got), len(mails))
	}
	for _, r := range got {
		if r.Duplicate {
			t.Errorf("%s came twice", r.MessageID)
		}
		m, err := netmail.ReadMessage(bytes.NewReader(r.Content))
		if err != nil {
			t.Fatal(err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil || !strings.HasPrefix(subject, "postmaster: ") || m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("From") != "Postroad <postmaster@mail.shop.test>" {
			t.Errorf("header %v", m.Header)
		}
		_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		parts := multipart.NewReader(m.Body, params["boundary"])
		if _, err := parts.NextPart(); err != nil {
			t.Fatal(err)
		}
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		if p.Header.Get("Content-Transfer-Encoding") == "base64" {
			if body, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(body), "\r\n", "")); err != nil {
				t.Fatal(err)
			}
		}
		found := ""
		for name, text := range mails {
			if strings.HasSuffix(strings.TrimRight(string(body), "\r\n"), strings.TrimRight(text, "\r\n")) {
				found = name
			}
		}
		if want := found == "seven" || found == "header"; found == "" || strings.HasPrefix(p.Header.Get("Content-Type"), "message/rfc822") != want {
			t.Errorf("%q is attached as %s: %.300q", found, p.Header.Get("Content-Type"), body)
		}
		delete(mails, found)
	}
	if len(mails) > 0 {
		t.Errorf("not sent on: %v", mails)
	}
}
