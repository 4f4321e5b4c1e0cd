package suppression

import (
	"errors"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
)

func TestForm(t *testing.T) {
	for text, want := range map[string]string{
		"ann@example.com":                   "ann@example.com",
		"Ann.B@EXAMPLE.com":                 "ann.b@example.com",
		"ann+news@example.com":              "ann+news@example.com", // an address of its own
		" <ann@example.com> ":               "ann@example.com",
		`"Ann Berg"@example.com`:            `"ann berg"@example.com`,
		"ann@bücher.example":                "ann@xn--bcher-kva.example",
		"MÜLLER@example.com":                "müller@example.com",
		"mu\u0308ller@example.com":          "müller@example.com", // NFC
		"ann@[192.0.2.1]":                   "ann@[192.0.2.1]",
		"SHA256:" + strings.Repeat("A", 64): "sha256:" + strings.Repeat("a", 64),
	} {
		if got, err := Subject(text); err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "ann", "@example.com", "ann@", "sha256:", "sha256:12", "sha256:" + strings.Repeat("g", 64), "ann@example.com bob@example.com", "<>"} {
		if got, err := Subject(text); !errors.Is(err, ErrBadSubject) {
			t.Errorf("%q is %q, %v; want ErrBadSubject", text, got, err)
		}
	}
	if Form(mail.Address{}) != "" {
		t.Error("the null path has a form")
	}
}

func TestHash(t *testing.T) {
	// SHA-256 of "ann@example.com".
	const want = "sha256:95c2c67047ca3d96de19b4ccbf9aae67e72163a46b8dbc75bd10beae0e71bfa9"
	got := Hash(Form(mail.Address{Local: "ANN", Domain: "example.com"}))
	if got != Hash("ann@example.com") || len(got) != len(want) || !IsHash(got) || IsHash("ann@example.com") {
		t.Errorf("hash %s", got)
	}
	if s, err := Subject(got); err != nil || s != got {
		t.Errorf("a hash does not read itself: %q, %v", s, err)
	}
}

// FuzzSubject: whatever is read reads again as itself, and never holds what could break a line.
func FuzzSubject(f *testing.F) {
	for _, s := range []string{"ann@example.com", "<Ann@EXAMPLE.com>", `"a b"@example.com`, "sha256:00", "mü@bücher.example", "a@[IPv6:2001:db8::1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Subject(text)
		if err != nil {
			return
		}
		if again, err := Subject(s); err != nil || again != s {
			t.Fatalf("%q gives %q, which gives %q, %v", text, s, again, err)
		}
		if strings.ContainsAny(s, "\r\n\x00") {
			t.Fatalf("%q gives %q", text, s)
		}
	})
}
