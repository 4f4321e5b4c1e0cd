package paper

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/figures"
)

func TestDigest(t *testing.T) {
	for name, r := range map[string]*figures.Report{
		"digest": sampleReport(t, "2026-03", ""), "digest-hostile": sampleReport(t, "7d", hostile),
		"digest-empty": figures.New("acme", sampleReport(t, "today", "").Period, now).Report(),
	} {
		l, err := Digest(r)
		if err != nil {
			t.Fatal(err)
		}
		if *keep != "" {
			if err := os.WriteFile(*keep+"/"+name+".html", []byte(l.HTML), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		checkTags(t, name, l.HTML)
		for _, bad := range []string{"<script", "<style", "<svg", "<img", "<link", "url(", "\x1b", "\u202e", "ZgotmplZ", "class="} {
			if strings.Contains(l.HTML, bad) {
				t.Errorf("%s: the mail has %q", name, bad)
			}
		}
		if !strings.HasPrefix(l.Subject, "acme: ") || strings.ContainsAny(l.Subject, "\r\n") || l.Text == "" {
			t.Errorf("%s: subject %q, text %q", name, l.Subject, l.Text)
		}
		if len(l.HTML) > 100_000 { // programs cut longer ones (Gmail at 102 KB)
			t.Errorf("%s has %d octets of HTML", name, len(l.HTML))
		}
	}
}

// What is composed is read back as it was meant, by somebody else's reader.
func TestCompose(t *testing.T) {
	subject := "Grüße <b> Bcc: evil@example.com" + strings.Repeat(" und Grüße", 20)
	l := Notice(strings.Replace(subject, " Bcc", "\r\nBcc", 1), []string{"One line & <another>, with 100 % ümlauts. " + strings.Repeat("Words and words. ", 80), "\x1b[31mred"})
	b := Compose(l, "postmaster@mail.example", "ada@example.com", "mail.example", "k1", now)
	if !bytes.Equal(b, Compose(l, "postmaster@mail.example", "ada@example.com", "mail.example", "k1", now)) {
		t.Error("the same letter is composed differently")
	}
	m, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil || s != subject {
		t.Errorf("subject %q (%v)", s, err)
	}
	for line := range strings.SplitSeq(string(b), "\r\n") {
		if len(line) > 76 { // RFC 2047 §2 of encoded words, RFC 2045 §6.7 of quoted-printable
			t.Errorf("a line of %d octets: %s", len(line), line)
		}
	}
	for field, want := range map[string]string{
		"From": "Postroad <postmaster@mail.example>", "To": "<ada@example.com>", "Auto-Submitted": "auto-generated", "Bcc": "",
		"Date": "Tue, 31 Mar 2026 14:05:00 +0000", "MIME-Version": "1.0",
	} {
		if got := m.Header.Get(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	if _, err := m.Header.Date(); err != nil {
		t.Error(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []struct{ media, has string }{{"text/plain; charset=utf-8", "One line & <another>, with 100 % ümlauts."}, {"text/html; charset=utf-8", "One line &amp; &lt;another&gt;, with 100 % ümlauts."}} {
		p, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil || p.Header.Get("Content-Type") != want.media || !strings.Contains(strings.ReplaceAll(string(text), "\r\n", " "), want.has) || strings.Contains(string(text), "\x1b") {
			t.Errorf("part %v (%v):\n%s", p.Header, err, text)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("there is more: %v", err)
	}
	for _, line := range bytes.Split(b, []byte("\r\n")) {
		if len(line) > 200 || bytes.ContainsAny(line, "\r\n") {
			t.Errorf("a line has %d octets, or a bare line end: %.80q", len(line), line)
		}
	}
}
