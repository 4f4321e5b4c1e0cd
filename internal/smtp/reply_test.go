package smtp

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestParseEnhanced(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Enhanced
		rest string
		ok   bool
	}{
		{"5.1.1 No such user", Enhanced{5, 1, 1}, "No such user", true},
		{"2.0.0", Enhanced{2, 0, 0}, "", true},
		{"4.999.123\tx", Enhanced{4, 999, 123}, "x", true},
		{"5.7.1   spaced", Enhanced{5, 7, 1}, "spaced", true},
		{"3.1.1 x", Enhanced{}, "3.1.1 x", false},
		{"5.1 x", Enhanced{}, "5.1 x", false},
		{"5.1.1: x", Enhanced{}, "5.1.1: x", false},
		{"5.1.1000 x", Enhanced{}, "5.1.1000 x", false},
		{"5..1 x", Enhanced{}, "5..1 x", false},
		{"192.0.2.1 refused", Enhanced{}, "192.0.2.1 refused", false},
		{"", Enhanced{}, "", false},
	} {
		e, rest, ok := ParseEnhanced(tt.in)
		if e != tt.want || rest != tt.rest || ok != tt.ok {
			t.Errorf("ParseEnhanced(%q) = %v, %q, %v", tt.in, e, rest, ok)
		}
	}
}

func FuzzParseEnhanced(f *testing.F) {
	f.Add("5.1.1 No such user")
	f.Fuzz(func(t *testing.T, s string) {
		e, rest, ok := ParseEnhanced(s)
		if !ok {
			if rest != s || !e.IsZero() {
				t.Fatalf("%q: %v, %q", s, e, rest)
			}
			return
		}
		if back, _, ok := ParseEnhanced(e.String()); !ok || back != e || !strings.HasSuffix(s, rest) {
			t.Fatalf("%q: %v, %q", s, e, rest)
		}
	})
}

func TestReplyOnTheWire(t *testing.T) {
	for _, tt := range []struct {
		r    Reply
		want string
	}{
		{NewReply(250, Enhanced{2, 0, 0}, "OK"), "250 2.0.0 OK\r\n"},
		{NewReply(451, Enhanced{5, 3, 0}, "%d of %s", 2, "x"), "451 4.3.0 2 of x\r\n"}, // the class follows the code
		{Reply{Code: 250, Lines: []string{"mx.example.net", "SIZE 1", "DSN"}}, "250-mx.example.net\r\n250-SIZE 1\r\n250 DSN\r\n"},
		{Reply{Code: 550, Enhanced: Enhanced{5, 7, 1}, Lines: []string{"a", "b"}}, "550-5.7.1 a\r\n550 5.7.1 b\r\n"},
		{Reply{Code: 334}, "334 \r\n"},
		{NewReply(550, Enhanced{}, "%s", "x\r\n250 2.0.0 forged\n"), "550 x  250 2.0.0 forged \r\n"},
	} {
		if got := string(tt.r.Append(nil)); got != tt.want {
			t.Errorf("%+v goes out as %q, want %q", tt.r, got, tt.want)
		}
	}
	r := Reply{Code: 550, Enhanced: Enhanced{5, 7, 1}, Lines: []string{"a", "b"}}
	if r.String() != "550 5.7.1 a\n550 5.7.1 b" || r.Text() != "a\nb" {
		t.Errorf("String %q, Text %q", r.String(), r.Text())
	}
	if r.Temporary() || !r.Permanent() || !(Reply{Code: 451}).Temporary() || (Reply{Code: 354}).Temporary() || (Reply{Code: 354}).Permanent() {
		t.Error("the classes of replies are wrong")
	}
}

func TestReplyError(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", &ReplyError{Reply: NewReply(451, Enhanced{4, 3, 0}, "later"), Err: io.ErrShortWrite})
	var re *ReplyError
	if !errors.As(err, &re) || re.Reply.Code != 451 || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("%v", err)
	}
	if got := re.Error(); got != "451 4.3.0 later (short write)" {
		t.Errorf("Error() = %q", got)
	}
	if got := string(re.Reply.Append(nil)); strings.Contains(got, "short") {
		t.Errorf("the inner reason goes out: %q", got)
	}
}
