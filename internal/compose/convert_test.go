package compose

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/message"
)

var longLine = strings.Repeat("0123456789", 100)

func TestTo7Bit(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{
			"nothing to do",
			"Subject: x\n\nplain\n",
			"Subject: x\n\nplain\n",
		},
		{
			"8-bit header alone is left",
			"Subject: caf\xc3\xa9\n\nplain\n",
			"Subject: caf\xc3\xa9\n\nplain\n",
		},
		{
			"text, label replaced where it stood",
			"Subject: x\nMIME-Version: 1.0\nContent-transfer-encoding: 8bit\nContent-Type: text/plain; charset=utf-8\n\ncaf\xc3\xa9 \n.=\n",
			"Subject: x\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\nContent-Type: text/plain; charset=utf-8\n\ncaf=C3=A9=20\n=2E=3D\n",
		},
		{
			"no MIME at all, UTF-8",
			"Subject: x\n\ncaf\xc3\xa9\n",
			"Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\ncaf=C3=A9\n",
		},
		{
			"no MIME at all, something else",
			"Subject: x\n\ncaf\xe9\n",
			"Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\ncaf=E9\n",
		},
		{
			"mostly 8-bit text is shorter in base64",
			"Content-Type: text/plain; charset=utf-8\nMIME-Version: 1.0\n\n" + strings.Repeat("\xd0\xbf\xd1\x80\xd0", 30) + "\n",
			"Content-Type: text/plain; charset=utf-8\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n" + b64(strings.Repeat("\xd0\xbf\xd1\x80\xd0", 30)+"\r\n"),
		},
		{
			"only the part that needs it; boundaries and odd spacing stay",
			"Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\npre\n--b  \n\nfirst\n--b\nContent-Type: text/html\nX-Odd:   y\n\n\xff\n\n--b--\t\nepilogue\n",
			"Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n\npre\n--b  \n\nfirst\n--b\nContent-Type: text/html\nX-Odd:   y\nContent-Transfer-Encoding: quoted-printable\n\n=FF\n\n--b--\t\nepilogue\n",
		},
		{
			"preamble and epilogue that cannot stay go",
			"Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\npr\xe9\n--b\n\nfirst\n--b--\nepi\xe9\n",
			"Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\n\nfirst\n--b--\n",
		},
		{
			"attached message, converted inside",
			"Content-Type: message/rfc822\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\nDKIM-Signature: v=1\nSubject: inner\n\n\xe9t\xe9 comes and goes\n",
			"Content-Type: message/rfc822\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n\nDKIM-Signature: v=1\nSubject: inner\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=E9t=E9 comes and goes\n",
		},
		{
			"file name in a part's header",
			"Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"caf\xc3\xa9.png\"\nContent-Description: caf\xc3\xa9\n\nAAAA\n--b--\n",
			"Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename*=utf-8''caf%C3%A9.png\nContent-Description: =?utf-8?q?caf=C3=A9?=\n\nAAAA\n--b--\n",
		},
		{
			"base64 in one long line",
			"Content-Type: image/png\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat("AAAA", 300) + "\n",
			"Content-Type: image/png\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat(strings.Repeat("AAAA", 19)+"\n", 15) + strings.Repeat("AAAA", 15) + "\n",
		},
		{
			"signed part that is clean beside one that is not",
			"Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\nContent-Type: multipart/signed; boundary=c\n\n--c\n\nx\n--c--\n--b\n\n\xc3\xa9 and more\n--b--\n",
			"Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\nContent-Type: multipart/signed; boundary=c\n\n--c\n\nx\n--c--\n--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9 and more\n--b--\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := To7Bit([]byte(lf(tt.in)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(lf(tt.want), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestConvertRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     error
	}{
		{"DKIM", "DKIM-Signature: v=1\n\n\xe9\n", ErrSigned},
		{"ARC", "ARC-Message-Signature: i=1\n\n\xe9\n", ErrSigned},
		{"multipart/signed", "Content-Type: multipart/signed; boundary=b\n\n--b\n\n\xe9\n--b--\n", ErrSigned},
		{"multipart/encrypted", "Content-Type: multipart/encrypted; boundary=b\n\n--b\n\n\xe9\n--b--\n", ErrSigned},
		{"S/MIME", "Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: binary\n\n\xe9\n", ErrSigned},
		{"signed inside", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/signed; boundary=b\n\n--b\n\n\xe9\n--b--\n--a--\n", ErrSigned},
		{"delivery status", "Content-Type: message/delivery-status\n\n\xe9\n", ErrConvert},
		{"no boundary", "Content-Type: multipart/mixed\n\n\xe9\n", ErrConvert},
		{"boundary never comes", "Content-Type: multipart/mixed; boundary=x\n\n\xe9\n", ErrConvert},
		{"encoded multipart", "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n--b\n\n\xe9\n--b--\n", ErrConvert},
		{"unknown encoding", "Content-Transfer-Encoding: x-uuencode\n\n\xe9\n", ErrConvert},
		{"broken base64", "Content-Transfer-Encoding: base64\n\nAAA\xe9\n", ErrConvert},
		{"header of an attached message", "Content-Type: message/rfc822\n\nSubject: \xe9\n\nx\n", ErrConvert},
		{"too deep", nested(200) + "\xe9\n", ErrConvert},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := To7Bit([]byte(lf(tt.in)))
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, tt.want) || e.Code.IsZero() {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

// b64 is base64 in lines of 76, written with LF.
func b64(s string) string {
	text := base64.StdEncoding.EncodeToString([]byte(s))
	var out strings.Builder
	for len(text) > 76 {
		out.WriteString(text[:76] + "\n")
		text = text[76:]
	}
	return out.String() + text + "\n"
}

func nested(depth int) string {
	return strings.Repeat("Content-Type: message/rfc822\n\n", depth) + "Subject: x\n\n"
}

func TestShortenLines(t *testing.T) {
	in := "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\n" +
		"--b\n\n\xc3\xa9 short\n--b\nContent-Type: text/html; charset=utf-8\n\n" + longLine + "\xc3\xa9\n--b--\n"
	got, err := ShortenLines([]byte(lf(in)))
	if err != nil {
		t.Fatal(err)
	}
	want := "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\n" +
		"--b\n\n\xc3\xa9 short\n--b\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
	if !strings.HasPrefix(string(got), lf(want)) {
		t.Errorf("only the long part is to be changed:\n%s", got)
	}
	sameParts(t, []byte(lf(in)), got)
	short := []byte("Subject: x\r\n\r\n" + longLine[:998] + "\r\n\xe9\r\n")
	if got, err := ShortenLines(short); err != nil || &got[0] != &short[0] {
		t.Errorf("998 octets are allowed (%v)", err)
	}
	if got, err := ShortenLines([]byte("Subject: x\r\n\r\n" + longLine[:999] + "\r\n")); err != nil || hasLongLine(got) {
		t.Errorf("999 octets are not (%v)", err)
	}
}

// parts decodes the leaves of a message.
func parts(t testing.TB, msg []byte) (leaves []string, ok bool) {
	err := message.Walk(msg, message.WalkOptions{Lenient: true, Messages: true, MaxParts: 2000, MaxDepth: 200}, func(p message.Part) error {
		if !p.Children {
			b, _ := p.Decode()
			leaves = append(leaves, p.Media.Type+"\n"+strings.TrimSuffix(string(b), "\r\n"))
		}
		return nil
	})
	return leaves, err == nil
}

func sameParts(t testing.TB, before, after []byte) {
	t.Helper()
	a, ok := parts(t, before)
	if !ok {
		return
	}
	b, ok := parts(t, after)
	if !ok {
		t.Fatalf("the converted message cannot be read:\n%q", after)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Fatalf("parts changed, -before +after:\n%s\n%q\n%q", diff, before, after)
	}
}

func FuzzTo7Bit(f *testing.F) {
	for _, s := range []string{
		"Subject: x\n\n\xe9\n",
		"Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\nfirst\n--b\nContent-Type: text/html\n\n\xff\n\n--b--\nepi\xe9\n",
		"Content-Type: message/rfc822\n\nSubject: inner\nContent-Transfer-Encoding: quoted-printable\n\n=E9\xe9= \n = x\t\n",
		"Content-Type: multipart/digest; boundary=\"a b\"\n\n--a b\n\nSubject: x\n\n\xe9\n--a b--\n",
		"Content-Transfer-Encoding: base64\n\n" + strings.Repeat("AAAA", 300) + "\n",
		"Content-Type: text/plain; charset=us-ascii\n\n.\nFrom x\n" + longLine + ".From " + longLine + "\n",
		"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Disposition: attachment; filename=\"caf\xc3\xa9.png\"\n\nx\n--b--\n",
	} {
		f.Add([]byte(lf(s)))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, c := range []struct {
			name     string
			convert  func([]byte) ([]byte, error)
			sevenBit bool
		}{{"To7Bit", To7Bit, true}, {"ShortenLines", ShortenLines, false}} {
			got, err := c.convert(msg)
			if err != nil {
				var e *Error
				if !errors.As(err, &e) {
					t.Fatalf("%s: %v is no *Error", c.name, err)
				}
				continue
			}
			_, at, err := message.ReadHeader(got, 1<<20)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			k := converter{sevenBit: c.sevenBit}
			if k.needs(got[at:]) {
				t.Fatalf("%s left something:\n%q\n%q", c.name, msg, got)
			}
			if !bytes.Equal(got, msg) {
				sameParts(t, msg, got)
			}
		}
	})
}
