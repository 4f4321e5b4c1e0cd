package compose

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
)

var testNow = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func testPolicy() Policy {
	return Policy{Now: testNow, MessageID: "msg_1@mx.example.com"}
}

// lf writes CRLF for LF, for readable literals.
func lf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

const typicalHeader = `From: "Example Shop" <orders@shop.example.com>
To: Anna Example <anna@example.net>
Subject: =?UTF-8?Q?Deine_Bestellung_=E2=80=93_danke!?=
Date: Wed, 04 Mar 2026 06:06:07 +0100
Message-ID: <20260304050607.12345@shop.example.com>
MIME-Version: 1.0
Content-Type: multipart/alternative;
 boundary="=_0123456789abcdef"
Reply-To: help@shop.example.com
List-Unsubscribe: <https://shop.example.com/u/1>, <mailto:u@shop.example.com>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
X-Mailer: Example 1.0
X-Postroad-Stream: bulk
X-Postroad-Tags: spring, welcome

`

func TestPrepare(t *testing.T) {
	got, err := Prepare([]byte(lf(typicalHeader)), Policy{Now: testNow, MessageID: "x", Received: []byte("Received: from submission\r\n by mx\r\n")})
	if err != nil {
		t.Fatal(err)
	}
	header, _, _ := strings.Cut(lf(typicalHeader), "X-Postroad-Stream")
	want := Prepared{
		Header:    []byte("Received: from submission\r\n by mx\r\n" + header + "\r\n"),
		From:      mail.Address{Local: "orders", Domain: "shop.example.com"},
		Subject:   "Deine Bestellung – danke!",
		MessageID: "20260304050607.12345@shop.example.com",
		Controls:  Controls{Stream: mail.Bulk, Tags: []string{"spring", "welcome"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPrepareHeader(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{
			"date and id added, no empty line given", "From: a@example.com\n",
			"From: a@example.com\nDate: Wed, 04 Mar 2026 05:06:07 +0000\nMessage-ID: <msg_1@mx.example.com>\n\n",
		},
		{
			"hidden fields removed", "Return-Path: <x@example.com>\nBCC: secret@example.net,\n other@example.net\nFrom: a@example.com\nResent-Bcc: y@example.com\nbcc: z@example.com\nDate: x\nmessage-id: <1@example.com>\n\n",
			"From: a@example.com\nDate: x\nmessage-id: <1@example.com>\n\n",
		},
		{
			"odd bytes kept", "fRoM:a@example.com\nX-Odd:\n  two \n\tthree\t \nX-Odd: again\nDate: x\nMessage-ID: y\nX-Empty:\n\n",
			"fRoM:a@example.com\nX-Odd:\n  two \n\tthree\t \nX-Odd: again\nDate: x\nMessage-ID: y\nX-Empty:\n\n",
		},
		{
			"long line folded at white space", "From: a@example.com\nDate: x\nMessage-ID: y\nX-Long: " + strings.Repeat("word ", 300) + "end\n\n",
			"From: a@example.com\nDate: x\nMessage-ID: y\nX-Long: " + strings.TrimSuffix(strings.Repeat("word ", 198), " ") + "\n " + strings.Repeat("word ", 102) + "end\n\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Prepare([]byte(lf(tt.in)), testPolicy())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(lf(tt.want), string(got.Header)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if hasLongLine(got.Header) {
				t.Error("a line is too long")
			}
		})
	}
}

func TestPrepareFacts(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     func(*Prepared)
	}{
		{"sender", "Sender: Robot <robot@example.org>\n", func(p *Prepared) { p.Sender = mail.Address{Local: "robot", Domain: "example.org"} }},
		{"utf-8", "X-A: caf\xc3\xa9\n", func(p *Prepared) { p.EightBit, p.UTF8 = true, true }},
		{"latin-1", "X-A: caf\xe9\n", func(p *Prepared) { p.EightBit = true }},
		{"latin-1 behind utf-8", "X-A: caf\xc3\xa9\nX-B: caf\xe9\n", func(p *Prepared) { p.EightBit = true }},
		{"latin-1 before utf-8", "X-A: caf\xe9\nX-B: caf\xc3\xa9\n", func(p *Prepared) { p.EightBit = true }},
		{"8-bit only in what is removed", "Bcc: caf\xc3\xa9@example.com\n", func(*Prepared) {}},
		{"received", "Received: a\nReceived: b\n", func(p *Prepared) { p.Received = 2 }},
		{"subject folded", "Subject: one\n two =?iso-8859-1?q?=E9?=\n", func(p *Prepared) { p.Subject = "one two é" }},
		{"subject cut at a character", "Subject: a" + strings.Repeat("é", 200) + "\n", func(p *Prepared) {
			p.Subject, p.EightBit, p.UTF8 = "a"+strings.Repeat("é", 124), true, true
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Prepare([]byte(lf("From: a@EXAMPLE.com\nMessage-ID: <1@example.com>\n"+tt.in+"\n")), testPolicy())
			if err != nil {
				t.Fatal(err)
			}
			want := Prepared{Header: got.Header, From: mail.Address{Local: "a", Domain: "example.com"}, MessageID: "1@example.com"}
			tt.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	from := "From: a@example.com\n"
	for _, tt := range []struct {
		name, in, field, reason string
		kind                    error
	}{
		{"no From", "Subject: x\nSender: a@example.com\n", "From", "missing", ErrInvalid},
		{"two From", from + "FROM: b@example.com\n", "FROM", "twice", ErrInvalid},
		{"two addresses", "From: a@example.com, b@example.com\n", "From", "2 addresses", ErrInvalid},
		{"no address", "From: nobody:;\n", "From", "no address", ErrInvalid},
		{"unquoted address as name", "From: boss@bank.example <a@example.com>\n", "From", "", ErrInvalid},
		{"bad domain", "From: a@-example.com\n", "From", "hyphen", ErrInvalid},
		{"two senders", from + "Sender: a@example.com, b@example.com\n", "Sender", "2 addresses", ErrInvalid},
		{"two To", from + "To: a@example.com\nTo: b@example.com\n", "To", "twice", ErrInvalid},
		{"two Subject", from + "Subject: a\nX-A: b\nSubject: a\n", "Subject", "twice", ErrInvalid},
		{"two Content-Type", from + "Content-Type: text/plain\nContent-type: text/html\n", "Content-type", "twice", ErrInvalid},
		{"two Message-ID", from + "Message-ID: <a@b>\nMessage-Id: <a@b>\n", "Message-Id", "twice", ErrInvalid},
		{"two Date", from + "Date: x\nDate: x\n", "Date", "twice", ErrInvalid},
		{"loop", from + strings.Repeat("Received: from a by b; x\n", 101), "Received", "round", ErrLoop},
		{"no field", from + "what is this\n", "", "line 2", message.ErrBadHeader},
		{"space before colon", from + "Subject : x\n", "", "colon", message.ErrBadHeader},
		{"bare LF", "From: a@example.com\nX: a\rb\n", "", "CRLF", message.ErrBadHeader},
		{"NUL", "From: a@example.com\nX: a\x00b\n", "", "NUL", message.ErrBadHeader},
		{"long word", from + "X-Long: " + strings.Repeat("x", 1000) + "\n", "X-Long", "cannot be folded", ErrInvalid},
		{"unknown control", from + "X-Postroad-Sendat: now\n", "X-Postroad-Sendat", "no such", ErrInvalid},
		{"stream", from + "X-Postroad-Stream: fast\n", "X-Postroad-Stream", "transactional or bulk", ErrInvalid},
		{"stream twice", from + "X-Postroad-Stream: bulk\nX-Postroad-Stream: bulk\n", "X-Postroad-Stream", "twice", ErrInvalid},
		{"tag too long", from + "X-Postroad-Tag: " + strings.Repeat("x", 65) + "\n", "X-Postroad-Tag", "64", ErrInvalid},
		{"too many tags", from + "X-Postroad-Tags: " + strings.Repeat("x,", 21) + "\n", "X-Postroad-Tags", "20", ErrInvalid},
		{"metadata no JSON", from + "X-Postroad-Metadata: a=b\n", "X-Postroad-Metadata", "JSON", ErrInvalid},
		{"metadata not strings", from + "X-Postroad-Metadata: {\"a\": 1}\n", "X-Postroad-Metadata", "JSON", ErrInvalid},
		{"metadata trailing", from + "X-Postroad-Metadata: {\"a\": \"1\"} x\n", "X-Postroad-Metadata", "follows", ErrInvalid},
		{"metadata twice", from + "X-Postroad-Metadata: {\"a\": \"1\"}\nX-Postroad-Metadata: {\"a\": \"2\"}\n", "X-Postroad-Metadata", "twice", ErrInvalid},
		{"send at", from + "X-Postroad-Send-At: tomorrow\n", "X-Postroad-Send-At", "time", ErrInvalid},
		{"tls", from + "X-Postroad-Require-TLS: maybe\n", "X-Postroad-Require-TLS", "yes or no", ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Prepare([]byte(lf(tt.in+"\n")), testPolicy())
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v is no *Error", err)
			}
			if e.Field != tt.field || !strings.Contains(e.Reason, tt.reason) || !errors.Is(err, tt.kind) || e.Code.IsZero() {
				t.Errorf("field %q, reason %q, kind %v, code %v; want %q, %q, %v", e.Field, e.Reason, e.Err, e.Code, tt.field, tt.reason, tt.kind)
			}
		})
	}
}

func TestPrepareControls(t *testing.T) {
	yes := true
	in := `From: a@example.com
X-Postroad-Stream: Transactional
x-postroad-tag: one
X-POSTROAD-TAGS: two words,
 =?utf-8?q?dr=C3=A9i?=,
X-Postroad-Metadata: {"order": "1234",
 "name": "=?utf-8?q?J=C3=BCrgen?="}
X-Postroad-Metadata: {"b": ""}
X-Postroad-Send-At: 2026-05-01T10:00:00+02:00
X-Postroad-Expires-At: Fri, 1 May 2026 12:30:00 +0000
X-Postroad-Require-TLS: Yes

`
	got, err := Prepare([]byte(lf(in)), testPolicy())
	if err != nil {
		t.Fatal(err)
	}
	want := Controls{
		Stream: mail.Transactional, Tags: []string{"one", "two words", "dréi"},
		Metadata: map[string]string{"order": "1234", "name": "Jürgen", "b": ""},
		SendAt:   time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC), ExpiresAt: time.Date(2026, 5, 1, 12, 30, 0, 0, time.UTC),
		RequireTLS: &yes,
	}
	if diff := cmp.Diff(want, got.Controls); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if bytes.Contains(bytes.ToLower(got.Header), []byte("postroad")) {
		t.Errorf("a control field stayed:\n%s", got.Header)
	}
}

func TestPrepareLimits(t *testing.T) {
	p := testPolicy()
	p.MaxHeader = 100
	_, err := Prepare([]byte("From: a@example.com\r\nX: "+strings.Repeat("y", 200)+"\r\n\r\n"), p)
	if !errors.Is(err, message.ErrHeaderTooLarge) {
		t.Errorf("large header: %v", err)
	}
	var many strings.Builder
	for i := range message.MaxFields + 1 {
		fmt.Fprintf(&many, "X-%d: y\r\n", i)
	}
	if _, err := Prepare([]byte(many.String()+"\r\n"), testPolicy()); !errors.Is(err, message.ErrTooManyFields) {
		t.Errorf("many fields: %v", err)
	}
}

func FuzzPrepare(f *testing.F) {
	f.Add([]byte(lf(typicalHeader)))
	f.Add([]byte("From: a@b\r\nX: " + strings.Repeat("long ", 300) + "\r\n\r\n"))
	f.Add([]byte("From: (c(c)) \"q\\\"q\" <\"a b\"@[192.0.2.1]>\r\nBcc: x\r\n y\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := Prepare(in, testPolicy())
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%v is no *Error", err)
			}
			return
		}
		h, at, err := message.ReadHeader(got.Header, 1<<20)
		if err != nil || at != len(got.Header) || hasLongLine(got.Header) {
			t.Fatalf("the new header does not stand up (%v):\n%q", err, got.Header)
		}
		for _, name := range []string{"From", "Date", "Message-ID"} {
			if h.Count(name) != 1 {
				t.Fatalf("%d %s fields in %q", h.Count(name), name, got.Header)
			}
		}
		for _, name := range []string{"Bcc", "Return-Path", "X-Postroad-Stream"} {
			if h.Count(name) != 0 {
				t.Fatalf("%s stayed in %q", name, got.Header)
			}
		}
		if _, err := mail.ParseAddress(got.From.String()); err != nil {
			t.Fatalf("From %q: %v", got.From.String(), err)
		}
		again, err := Prepare(got.Header, Policy{})
		if err != nil || !bytes.Equal(again.Header, got.Header) {
			t.Fatalf("preparing twice changes it (%v):\n%q\n%q", err, got.Header, again.Header)
		}
	})
}

func BenchmarkPrepare(b *testing.B) {
	header := []byte(lf(typicalHeader))
	p := testPolicy()
	b.ReportAllocs()
	b.SetBytes(int64(len(header)))
	for b.Loop() {
		if _, err := Prepare(header, p); err != nil {
			b.Fatal(err)
		}
	}
}
