package report

import (
	"bytes"
	"mime"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	pmail "github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

func sampleNotice() *Notice {
	at := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	return &Notice{
		Kind: Bounce, From: "Mail delivery <postmaster@mail.example>", To: pmail.Address{Local: "ann", Domain: "shop.example"},
		Subject: "Not delivered: Grüße", Date: at.Add(time.Hour), MessageID: "evt_1.notice@mail.example", InReplyTo: "m1@shop.example",
		Text:         "Your message could not be delivered.\n\n<bob@dest.example>: there is no such mailbox.\n" + strings.Repeat("A long line. ", 100),
		ReportingMTA: "mail.example", EnvelopeID: "QQ=314159", Arrival: at,
		Recipients: []NoticeRecipient{
			{
				Final: pmail.Address{Local: "bob", Domain: "dest.example"}, Original: "rfc822;robert@old.example", Action: Failed,
				Status: smtp.Enhanced{5, 1, 1}, RemoteMTA: "mx.dest.example", Diagnostic: "550-5.1.1 No such user\n550 5.1.1 here", LastAttempt: at.Add(time.Minute),
			},
			{Final: pmail.Address{Local: "zoë", Domain: "xn--caf-dma.example"}, Action: Failed},
			{Final: pmail.Address{Local: "eve", Domain: "dest.example"}, Action: Delayed, WillRetryUntil: at.Add(72 * time.Hour)},
		},
		Original: []byte("From: ann@shop.example\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nMessage-ID: <m1@shop.example>\n"),
	}
}

// TestBuildRoundTrip: Parse reads what Build writes.
func TestBuildRoundTrip(t *testing.T) {
	n := sampleNotice()
	raw := Build(n)
	r := Parse(raw, Limits{})
	if r.Kind != Bounce || r.Dialect != "rfc3464" || r.ReportingMTA != "mail.example" || r.EnvelopeID != n.EnvelopeID || !r.Arrival.Equal(n.Arrival) {
		t.Errorf("read as %+v\n%s", r, raw)
	}
	want := []Recipient{
		{
			Address: "bob@dest.example", Final: "bob@dest.example", Original: "robert@old.example", Action: Failed, Status: smtp.Enhanced{5, 1, 1}, Code: 550,
			Diagnostic: "550-5.1.1 No such user 550 5.1.1 here", RemoteMTA: "mx.dest.example", LastAttempt: n.Recipients[0].LastAttempt,
		},
		{Address: "zoë@xn--caf-dma.example", Final: "zoë@xn--caf-dma.example", Action: Failed, Status: smtp.Enhanced{5, 0, 0}},
		{Address: "eve@dest.example", Final: "eve@dest.example", Action: Delayed, Status: smtp.Enhanced{4, 0, 0}, WillRetryUntil: n.Recipients[2].WillRetryUntil},
	}
	for i := range r.Recipients {
		r.Recipients[i].Context, r.Recipients[i].Stage = "", ""
	}
	if diff := cmp.Diff(want, r.Recipients); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	if r.Original.MessageID != "m1@shop.example" || r.Original.Subject != "Grüße" {
		t.Errorf("original %+v", r.Original)
	}
	for _, s := range []string{"Your message could not be delivered.", "there is no such mailbox", "A long line."} {
		if !strings.Contains(r.Text, s) {
			t.Errorf("the text lacks %q: %s", s, r.Text)
		}
	}
}

// TestBuildHeader: what other programs look at.
func TestBuildHeader(t *testing.T) {
	m, err := mail.ReadMessage(bytes.NewReader(Build(sampleNotice())))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"From": "Mail delivery <postmaster@mail.example>", "To": "ann@shop.example", "Auto-Submitted": "auto-replied", NoticeField: "bounce",
		"In-Reply-To": "<m1@shop.example>", "References": "<m1@shop.example>", "Message-Id": "<evt_1.notice@mail.example>", "Mime-Version": "1.0",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if s, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil || s != "Not delivered: Grüße" {
		t.Errorf("subject %q, %v", s, err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Errorf("%s %v %v", kind, params, err)
	}
}

// TestBuildWhole: a message that is returned whole stands in it octet by octet.
func TestBuildWhole(t *testing.T) {
	for _, body := range []string{"plain\r\n", "Grüße\r\n"} {
		n := sampleNotice()
		n.Whole, n.Original = true, []byte("From: ann@shop.example\r\nMessage-ID: <m1@shop.example>\r\n\r\n"+body)
		raw := Build(n)
		if !bytes.Contains(raw, n.Original) {
			t.Errorf("the message is not in it:\n%s", raw)
		}
		if r := Parse(raw, Limits{}); len(r.Recipients) != 3 || r.Original.MessageID != "m1@shop.example" {
			t.Errorf("read as %+v", r)
		}
	}
}

// FuzzBuild: no text a peer or sender chose adds a field, a part or a recipient, or breaks a line's bound.
func FuzzBuild(f *testing.F) {
	f.Add("550 no\r\n\r\nAction: delivered", "subject\r\nBcc: x@y.example", "text\r\n--report_x\r\n", "id>\r\n", "rfc822;x@y.example\r\nAction: delivered", "bob")
	f.Add("550 \x00\xff", "=?utf-8?q?x?=", "\n.\n", "a b", ";", "zoë \"x\"")
	f.Fuzz(func(t *testing.T, diagnostic, subject, text, id, original, local string) {
		n := sampleNotice()
		n.Recipients = n.Recipients[:1]
		r := &n.Recipients[0]
		r.Diagnostic, r.Original, n.Subject, n.Text, n.MessageID, n.EnvelopeID, n.InReplyTo = diagnostic, original, subject, text, id, id, id
		r.RemoteMTA, n.ReportingMTA = local, local
		raw := Build(n)
		head, _, ok := bytes.Cut(raw, []byte("\r\n\r\n"))
		if !ok {
			t.Fatalf("no body:\n%s", raw)
		}
		m, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%v\n%s", err, head)
		}
		for name := range m.Header {
			switch name {
			case "From", "To", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Auto-Submitted", NoticeField, "Mime-Version", "Content-Type":
			default:
				t.Errorf("a field %s", name)
			}
		}
		for line := range bytes.Lines(raw) {
			if len(line) > 1000 || !bytes.HasSuffix(line, []byte("\r\n")) || bytes.ContainsAny(line[:len(line)-2], "\r\n\x00") {
				t.Errorf("line %q", line)
			}
		}
		got := Parse(raw, Limits{})
		if got.Kind != Bounce || len(got.Recipients) != 1 || got.Recipients[0].Action != Failed {
			t.Errorf("read as %s %+v\n%s", got.Kind, got.Recipients, raw)
		}
	})
}
