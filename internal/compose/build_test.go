package compose

import (
	"bytes"
	"errors"
	"io"
	"mime"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	gomessage "github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"
	"github.com/google/go-cmp/cmp"
	gomail "github.com/wneessen/go-mail"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
)

func box(name, addr string) Mailbox {
	a, err := mail.ParseAddress(addr)
	if err != nil {
		panic(err)
	}
	return Mailbox{Name: name, Address: a}
}

func testMessage() Message {
	return Message{
		From: box("Example Shop", "orders@shop.example.com"), To: []Mailbox{box("", "anna@example.net")},
		Subject: "Your order", Text: "Thank you.\n", Date: testNow, MessageID: "1@shop.example.com", Seed: []byte("seed"),
	}
}

func TestBuildPlain(t *testing.T) {
	got, err := Build(testMessage())
	if err != nil {
		t.Fatal(err)
	}
	want := lf(`From: Example Shop <orders@shop.example.com>
To: anna@example.net
Subject: Your order
Date: Wed, 04 Mar 2026 05:06:07 +0000
Message-ID: <1@shop.example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Thank you.
`)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// fullMessage has everything that is hard to write.
func fullMessage() Message {
	m := testMessage()
	m.From.Name = `Müller, "Jürgen" \ Söhne`
	m.Sender = &Mailbox{Name: "robot@example.com", Address: mail.Address{Local: "o'robot", Domain: "example.org"}}
	m.To = []Mailbox{box("Anna (Home), Jr.", "anna@example.net"), box("日本語の名前がとても長い人、そしてまだまだ続く長い名前", `"a b"@example.net`), box("=?utf-8?q?trick?=", "c@example.net")}
	m.Cc = []Mailbox{box("", "d@bücher.example")}
	m.ReplyTo = []Mailbox{box(strings.Repeat("long ", 30)+"name", "help@example.com")}
	m.Subject = "Grüße aus Köln – " + strings.Repeat("eine ziemlich lange Betreffzeile ", 6)
	m.Text = "Grüße\r\n.\rFrom here\n" + longLine + " \n\ttab\t\n"
	m.HTML = "<p>Grüße <img src=\"cid:logo@example.com\"></p>" + strings.Repeat("<!-- ä -->", 200)
	m.Inline = []Attachment{{Filename: "logo.png", ContentType: "image/png", Content: []byte("\x89PNG\r\n\x00\n"), ContentID: "logo@example.com"}}
	m.Attachments = []Attachment{
		{Filename: "Rechnung – März; \"final\".pdf", ContentType: "application/pdf", Content: bytes.Repeat([]byte("\x00\xff%PDF"), 500)},
		{Filename: strings.Repeat("sehr-langer-näme-", 12) + ".csv", ContentType: "text/csv; charset=utf-8; header=present", Content: []byte("a;b\nü;c\n")},
		{Filename: "mail.eml", ContentType: "message/rfc822", Content: []byte("Subject: inner\r\n\r\nhello\r\n")},
		{Content: nil},
	}
	m.Headers = []HeaderField{
		{"List-Unsubscribe", "<https://shop.example.com/unsubscribe/" + strings.Repeat("x", 80) + ">, <mailto:u@shop.example.com>"},
		{"List-Unsubscribe-Post", "List-Unsubscribe=One-Click"},
		{"X-Campaign", "Frühling 2026"},
		{"X-Campaign", "second"},
		{"References", "<1@example.com> <2@example.com> <3@example.com> <4@example.com> <5@example.com>"},
	}
	return m
}

func TestBuildFull(t *testing.T) {
	m := fullMessage()
	got, err := Build(m)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(got), "\r\n") {
		if len(line) > MaxHeaderLine || hasHigh([]byte(line)) || strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("line %d is not fit for SMTP: %q", i, line)
		}
	}
	again, err := Build(m)
	if err != nil || !bytes.Equal(got, again) {
		t.Error("built twice, it differs")
	}
	if p, err := Prepare(got, Policy{}); err != nil || p.From != m.From.Address || p.Sender != m.Sender.Address {
		t.Errorf("our own policy: %v %+v", err, p.From)
	}
	checkByNetMail(t, m, got)
	checkByGoMessage(t, m, got)
	if _, err := gomail.EMLToMsgFromReader(bytes.NewReader(got)); err != nil {
		t.Errorf("go-mail: %v", err)
	}
}

// checkByNetMail reads the header with the standard library.
func checkByNetMail(t *testing.T, m Message, b []byte) {
	t.Helper()
	r, err := netmail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	word := mime.WordDecoder{}
	if s, err := word.DecodeHeader(r.Header.Get("Subject")); err != nil || s != strings.TrimRight(m.Subject, " ") && s != m.Subject {
		t.Errorf("Subject %q, %v", s, err)
	}
	if s, err := word.DecodeHeader(r.Header.Get("X-Campaign")); err != nil || s != "Frühling 2026" {
		t.Errorf("X-Campaign %q, %v", s, err)
	}
	for name, want := range map[string][]Mailbox{"From": {m.From}, "Sender": {*m.Sender}, "To": m.To, "Cc": m.Cc, "Reply-To": m.ReplyTo} {
		list, err := r.Header.AddressList(name)
		if err != nil || len(list) != len(want) {
			t.Errorf("%s: %v %v", name, list, err)
			continue
		}
		for i, a := range list {
			parsed, err := mail.ParseAddress(strings.Trim((&netmail.Address{Address: a.Address}).String(), "<>"))
			if err != nil || a.Name != want[i].Name || parsed != want[i].Address {
				t.Errorf("%s: %q <%s>, want %q <%s> (%v)", name, a.Name, a.Address, want[i].Name, want[i].Address, err)
			}
		}
	}
	if d, err := r.Header.Date(); err != nil || !d.Equal(m.Date) {
		t.Errorf("Date %v, %v", d, err)
	}
	if got := r.Header.Get("List-Unsubscribe"); got != m.Headers[0].Value {
		t.Errorf("List-Unsubscribe %q", got)
	}
}

// checkByGoMessage reads the parts with another library.
func checkByGoMessage(t *testing.T, m Message, b []byte) {
	t.Helper()
	e, err := gomessage.Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	type leaf struct{ Path, Type, Name, ID, Content string }
	var got []leaf
	tree := ""
	if err := e.Walk(func(path []int, e *gomessage.Entity, err error) error {
		if err != nil {
			return err
		}
		mediaType, params, err := e.Header.ContentType()
		if err != nil {
			return err
		}
		tree += strings.Repeat(" ", len(path)) + mediaType + "\n"
		if e.MultipartReader() != nil {
			return nil
		}
		content, err := io.ReadAll(e.Body)
		_, disposition, _ := e.Header.ContentDisposition()
		if mediaType == "text/csv" && params["header"] != "present" {
			t.Errorf("parameters %v", params)
		}
		got = append(got, leaf{Type: mediaType, Name: disposition["filename"], ID: e.Header.Get("Content-Id"), Content: string(content)})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	wantTree := "multipart/mixed\n multipart/alternative\n  text/plain\n  multipart/related\n   text/html\n   image/png\n application/pdf\n text/csv\n message/rfc822\n application/octet-stream\n"
	if diff := cmp.Diff(wantTree, tree); diff != "" {
		t.Errorf("tree, -want +got:\n%s", diff)
	}
	want := []leaf{
		{Type: "text/plain", Content: string(withCRLF(m.Text))},
		{Type: "text/html", Content: string(withCRLF(m.HTML))},
		{Type: "image/png", Name: "logo.png", ID: "<logo@example.com>", Content: string(m.Inline[0].Content)},
		{Type: "application/pdf", Name: m.Attachments[0].Filename, Content: string(m.Attachments[0].Content)},
		{Type: "text/csv", Name: m.Attachments[1].Filename, Content: string(m.Attachments[1].Content)},
		{Type: "message/rfc822", Name: "mail.eml", Content: string(m.Attachments[2].Content)},
		{Type: "application/octet-stream"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parts, -want +got:\n%s", diff)
	}
}

func TestBuildNesting(t *testing.T) {
	file := []Attachment{{Filename: "a.bin", Content: []byte("x")}}
	inline := []Attachment{{ContentID: "i", Content: []byte("x")}}
	for _, tt := range []struct {
		name         string
		text, html   string
		inline, file []Attachment
		want         string
	}{
		{"text", "x", "", nil, nil, "text/plain"},
		{"html", "", "x", nil, nil, "text/html"},
		{"both", "x", "x", nil, nil, "multipart/alternative(text/plain text/html)"},
		{"file alone", "", "", nil, file, "application/octet-stream"},
		{"text and file", "x", "", nil, file, "multipart/mixed(text/plain application/octet-stream)"},
		{"html and inline", "", "x", inline, nil, "multipart/related(text/html application/octet-stream)"},
		{"all", "x", "x", inline, file, "multipart/mixed(multipart/alternative(text/plain multipart/related(text/html application/octet-stream)) application/octet-stream)"},
	} {
		m := testMessage()
		m.Text, m.HTML, m.Inline, m.Attachments = tt.text, tt.html, tt.inline, tt.file
		b, err := Build(m)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		depth := 0
		if err := message.Walk(b, message.WalkOptions{}, func(p message.Part) error {
			for ; depth > p.Depth; depth-- {
				out.WriteByte(')')
			}
			if depth < p.Depth {
				out.WriteByte('(')
				depth++
			} else if out.Len() > 0 {
				out.WriteByte(' ')
			}
			out.WriteString(p.Media.Type)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := out.String() + strings.Repeat(")", depth); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestBuildEncodings(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"ASCII", "hello", "7bit"},
		{"a few others", strings.Repeat("Grüße und sonst nur einfacher Text. ", 20), "quoted-printable"},
		{"many others", strings.Repeat("Привет мир ", 50), "base64"},
		{"long line", longLine, "quoted-printable"},
		{"control characters", "a\x07b", "quoted-printable"},
	} {
		m := testMessage()
		m.Text = tt.text
		b, err := Build(m)
		if err != nil {
			t.Fatal(err)
		}
		p, err := message.ReadPart(b, "text/plain", 0, false)
		if err != nil || p.Encoding != tt.want || p.Text() != tt.text+"\r\n" {
			t.Errorf("%s: %s, %v, %.40q", tt.name, p.Encoding, err, p.Text())
		}
	}
}

// TestBuildBoundary checks that no content can hold the boundary around it, though the seed is known.
func TestBuildBoundary(t *testing.T) {
	m := testMessage()
	m.HTML = "x"
	for range 3 {
		b, err := Build(m)
		if err != nil {
			t.Fatal(err)
		}
		p, err := message.ReadPart(b, "", 0, false)
		if err != nil {
			t.Fatal(err)
		}
		boundary := p.Media.Params["boundary"]
		if n := bytes.Count(b, []byte(boundary)) - strings.Count(m.Text, boundary); n != 4 {
			t.Fatalf("the boundary stands %d times:\n%s", n, b)
		}
		m.Text += "--" + boundary + "--\n"
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, tt := range []struct {
		field  string
		change func(*Message)
	}{
		{"from", func(m *Message) { m.From = Mailbox{} }},
		{"from.name", func(m *Message) { m.From.Name = "a\r\nBcc: x@example.com" }},
		{"from.address", func(m *Message) { m.From.Address.Local = "a\r\nBcc: x" }},
		{"from.address", func(m *Message) { m.From.Address.Domain = "example.com>\r\nX: y" }},
		{"sender.address", func(m *Message) { m.Sender = &Mailbox{} }},
		{"to[1].name", func(m *Message) { m.To = append(m.To, Mailbox{Name: "a\nb", Address: m.From.Address}) }},
		{"cc[0].address", func(m *Message) { m.Cc = []Mailbox{{}} }},
		{"reply_to[0].name", func(m *Message) { m.ReplyTo = []Mailbox{{Name: "a\x00", Address: m.From.Address}} }},
		{"subject", func(m *Message) { m.Subject = "a\nX: y" }},
		{"subject", func(m *Message) { m.Subject = "a\xff" }},
		{"subject", func(m *Message) { m.Subject = "a\u0085b" }},
		{"text", func(m *Message) { m.Text = "a\x00" }},
		{"html", func(m *Message) { m.HTML = "\xff" }},
		{"text", func(m *Message) { m.Text = "" }},
		{"inline", func(m *Message) { m.Inline = []Attachment{{ContentID: "a"}} }},
		{"inline[0].content_id", func(m *Message) { m.HTML, m.Inline = "x", []Attachment{{}} }},
		{"inline[0].content_id", func(m *Message) { m.HTML, m.Inline = "x", []Attachment{{ContentID: "a>\r\nX: y"}} }},
		{"attachments[0].filename", func(m *Message) { m.Attachments = []Attachment{{Filename: "a\r\nb"}} }},
		{"attachments[0].content_type", func(m *Message) { m.Attachments = []Attachment{{ContentType: "text/plain\r\nX: y"}} }},
		{"attachments[0].content_type", func(m *Message) { m.Attachments = []Attachment{{ContentType: "plain"}} }},
		{"attachments[0].content_type", func(m *Message) { m.Attachments = []Attachment{{ContentType: "text/pl ain"}} }},
		{"attachments[0].content_type", func(m *Message) { m.Attachments = []Attachment{{ContentType: "multipart/mixed; boundary=x"}} }},
		{"message_id", func(m *Message) { m.MessageID = "" }},
		{"message_id", func(m *Message) { m.MessageID = "a@b>\r\nX: y" }},
		{"message_id", func(m *Message) { m.MessageID = "no-at" }},
		{"message_id", func(m *Message) { m.Date = time.Time{} }},
		{"headers[0].name", func(m *Message) { m.Headers = []HeaderField{{"X: y\r\nZ", "v"}} }},
		{"headers[0].name", func(m *Message) { m.Headers = []HeaderField{{"", "v"}} }},
		{"headers[0].name", func(m *Message) { m.Headers = []HeaderField{{"BCC", "v"}} }},
		{"headers[0].name", func(m *Message) { m.Headers = []HeaderField{{"content-Type", "v"}} }},
		{"headers[0].name", func(m *Message) { m.Headers = []HeaderField{{"Resent-To", "v"}} }},
		{"headers[0].name", func(m *Message) { m.Headers = []HeaderField{{"X-Postroad-Stream", "bulk"}} }},
		{"headers[0].name", func(m *Message) { m.Headers = []HeaderField{{"DKIM-Signature", "v=1"}} }},
		{"headers[0].value", func(m *Message) { m.Headers = []HeaderField{{"X-A", "a\nb"}} }},
		{"headers[0].value", func(m *Message) { m.Headers = []HeaderField{{"X-A", " "}} }},
		{"headers[0].value", func(m *Message) { m.Headers = []HeaderField{{"List-Unsubscribe", "<https://exämple>"}} }},
		{"headers[1].name", func(m *Message) { m.Headers = []HeaderField{{"References", "<a@b>"}, {"references", "<a@b>"}} }},
	} {
		m := testMessage()
		tt.change(&m)
		b, err := Build(m)
		var e *Error
		if !errors.As(err, &e) || e.Field != tt.field || e.Reason == "" {
			t.Errorf("%s: %v\n%s", tt.field, err, b)
		}
	}
}

// FuzzBuild checks that no value can add a field or a part, and that all values come out as they went in.
func FuzzBuild(f *testing.F) {
	f.Add("Anna", "subject", "text", "X-A", "value", "file.txt", "text/plain; a=b")
	f.Add(`a"b\c, <x@y>`, "Grüße =?utf-8?q?x?=  y", "--=_x\n.\nü", "List-Id", "<a.b>", "ü;\".txt", "image/png; name*0=x")
	f.Add(strings.Repeat("日", 100), strings.Repeat("x", 2000), longLine, "X-B", "\t a", strings.Repeat("é", 300), "message/rfc822")
	f.Fuzz(func(t *testing.T, name, subject, text, header, value, file, mediaType string) {
		m := testMessage()
		m.To[0].Name, m.Subject, m.Text = name, subject, text
		m.Headers = []HeaderField{{header, value}}
		m.Attachments = []Attachment{{Filename: file, ContentType: mediaType, Content: []byte(text)}}
		b, err := Build(m)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Field == "" {
				t.Fatalf("%v names no field", err)
			}
			return
		}
		h, at, err := message.ReadHeader(b, 1<<20)
		if err != nil || hasLongLine(b) || hasHigh(b) {
			t.Fatalf("%v\n%q", err, b)
		}
		want := 8 // From To Subject Date Message-ID, the one given, MIME-Version, Content-Type
		if subject == "" {
			want--
		}
		if text == "" {
			want += 2 // the file alone: its encoding and disposition
		}
		if len(h.Fields()) != want || at > len(b) {
			t.Fatalf("%d fields:\n%q", len(h.Fields()), b)
		}
		if s, _ := h.Get("Subject"); message.DecodeWords(s) != strings.ReplaceAll(subject, "\t", " ") && subject != "" {
			t.Fatalf("subject %q became %q: %q", subject, message.DecodeWords(s), s)
		}
		to, _ := h.Get("To")
		list, err := message.ParseAddresses(to)
		if err != nil || len(list) != 1 || list[0].Addr != "anna@example.net" || list[0].Name != strings.ReplaceAll(name, "\t", " ") {
			t.Fatalf("name %q became %+v, %v: %q", name, list, err, to)
		}
		leaves := 0
		if err := message.Walk(b, message.WalkOptions{}, func(p message.Part) error {
			if p.Children {
				return nil
			}
			content, err := p.Decode()
			if leaves++; leaves == 1 && text != "" {
				if string(content) != string(withCRLF(text)) {
					t.Fatalf("text %q became %q", text, content)
				}
			} else if string(content) != text || p.Filename() != message.DecodeWords(strings.ReplaceAll(file, "\t", " ")) && file != "" {
				t.Fatalf("file %q %q became %q %q", file, text, p.Filename(), content)
			}
			return err
		}); err != nil || text != "" && leaves != 2 {
			t.Fatalf("%d parts, %v:\n%q", leaves, err, b)
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	m := testMessage()
	m.Text, m.HTML = strings.Repeat("Grüße aus Köln, wie immer.\n", 40), strings.Repeat("<p>Grüße aus Köln, wie immer.</p>\n", 60)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(m); err != nil {
			b.Fatal(err)
		}
	}
}
