package smtpclient

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/smtp"
)

func TestReply(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		want smtp.Reply
	}{
		"bare code": {"250\r\n", smtp.Reply{Code: 250, Lines: []string{""}, Raw: "250"}},
		"enhanced":  {"550 5.1.1 no user\r\n", smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 1, 1}, Lines: []string{"no user"}, Raw: "550 5.1.1 no user"}},
		"enhanced on each line": {
			"550-5.1.1 a\r\n550 5.1.1 b\r\n",
			smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 1, 1}, Lines: []string{"a", "b"}, Raw: "550-5.1.1 a\n550 5.1.1 b"},
		},
		"enhanced on the first line only": {
			"550-5.1.1 a\r\n550 b\r\n",
			smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 1, 1}, Lines: []string{"a", "b"}, Raw: "550-5.1.1 a\n550 b"},
		},
		"another number on the second line is text": {
			"550-no\r\n550 5.1.1 b\r\n",
			smtp.Reply{Code: 550, Lines: []string{"no", "5.1.1 b"}, Raw: "550-no\n550 5.1.1 b"},
		},
		"last code counts": {"450-a\r\n451 b\r\n", smtp.Reply{Code: 451, Lines: []string{"a", "b"}, Raw: "450-a\n451 b"}},
		"tab and 571":      {"571\tno\r\n", smtp.Reply{Code: 571, Lines: []string{"no"}, Raw: "571\tno"}},
		"empty lines":      {"250-\r\n250 \r\n", smtp.Reply{Code: 250, Lines: []string{"", ""}, Raw: "250-\n250 "}},
	} {
		t.Run(name, func(t *testing.T) {
			r := reader{src: iotest.OneByteReader(strings.NewReader(test.in))}
			var a answer
			if err := r.answer(&a, func() error { return nil }); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, a.reply()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if a.reply().String() != test.want.Raw {
				t.Errorf("String is not the reply word for word: %q", a.reply().String())
			}
		})
	}
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"250 ok\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 x\n", "250\r\n", "\r\n", "250", "250_x\r\n", "250-a\r\n550 b\r\n",
		"999 x\r\n", "550-\x00\xff\r\n550 5.1.1\r\n", "354 go\r\n250 ok\r\n", strings.Repeat("250-x\r\n", 20) + "250 x\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, octets := reader{src: bytes.NewReader(in)}, reader{src: iotest.OneByteReader(bytes.NewReader(in))}
		var a, b answer
		for range 20 {
			// However the octets arrive, the replies are the same.
			errA := whole.answer(&a, func() error { return nil })
			errB := octets.answer(&b, func() error { return nil })
			if (errA == nil) != (errB == nil) || errors.Is(errA, ErrProtocol) != errors.Is(errB, ErrProtocol) {
				t.Fatalf("%v, and octet by octet %v", errA, errB)
			}
			if errA != nil {
				if !errors.Is(errA, ErrProtocol) && !errors.Is(errA, io.ErrUnexpectedEOF) {
					t.Fatalf("unexpected error %v", errA)
				}
				return
			}
			r := a.reply()
			if diff := cmp.Diff(r, b.reply()); diff != "" {
				t.Fatal(diff)
			}
			if r.Code < 200 || r.Code > 599 || len(r.Lines) == 0 || len(r.Raw) > 4*smtp.MaxReplyBytes {
				t.Fatalf("%+v", r)
			}
			if !utf8.ValidString(r.Raw) || strings.ContainsAny(r.Raw, "\x00\r\x1b\x7f") {
				t.Fatalf("%q is not harmless", r.Raw)
			}
			for _, l := range r.Lines {
				if strings.Contains(l, "\n") {
					t.Fatalf("a line end in %q", l)
				}
			}
		}
	})
}

func FuzzExtensions(f *testing.F) {
	f.Add("mx\nSIZE 1\nAUTH PLAIN\nAUTH=LOGIN\nLIMITS RCPTMAX=1 MAILMAX=x")
	f.Fuzz(func(t *testing.T, s string) {
		e := parseExtensions(strings.Split(s, "\n"))
		if e.Size < 0 || e.MailMax < 0 || e.RcptMax < 0 || e.RcptDomainMax < 0 {
			t.Fatalf("%+v", e)
		}
	})
}
