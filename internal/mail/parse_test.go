package mail

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct{ in, local, domain, text string }{
		{"a@example.com", "a", "example.com", ""},
		{"A.B+c@EXAMPLE.Com", "A.B+c", "example.com", "A.B+c@example.com"},
		{"!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~", "example.com", ""},
		{`"a b"@example.com`, "a b", "example.com", ""},
		{`"a"@example.com`, "a", "example.com", "a@example.com"},
		{`"\a\"\\"@example.com`, `a"\`, "example.com", `"a\"\\"@example.com`},
		{`"a@b"@example.com`, "a@b", "example.com", ""},
		{`"a..b"@example.com`, "a..b", "example.com", ""},
		{`".a"@example.com`, ".a", "example.com", ""},
		{`">"@example.com`, ">", "example.com", ""},
		{"a@localhost", "a", "localhost", ""},
		{"a@under_score.example", "a", "under_score.example", ""},
		{"a@1.example", "a", "1.example", ""},
		{"a@[192.0.2.1]", "a", "[192.0.2.1]", ""},
		{"a@[IPv6:2001:DB8::1]", "a", "[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"},
		{"a@[ipv6:2001:db8:0:0:0:0:0:1]", "a", "[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"},
		{"jürgen@example.com", "jürgen", "example.com", ""},
		{"用户@例子.example", "用户", "xn--fsqu00a.example", "用户@xn--fsqu00a.example"},
		{"a@bücher.example", "a", "xn--bcher-kva.example", "a@xn--bcher-kva.example"},
		{"a@BÜCHER.EXAMPLE", "a", "xn--bcher-kva.example", "a@xn--bcher-kva.example"},
		{"a@bu\u0308cher.example", "a", "xn--bcher-kva.example", "a@xn--bcher-kva.example"}, // decomposed
		{"a@XN--BCHER-KVA.example", "a", "xn--bcher-kva.example", "a@xn--bcher-kva.example"},
		{"a@straße.example", "a", "xn--strae-oqa.example", "a@xn--strae-oqa.example"},
		{"a@例子。example", "a", "xn--fsqu00a.example", "a@xn--fsqu00a.example"}, // ideographic full stop
		{strings.Repeat("a", 64) + "@example.com", strings.Repeat("a", 64), "example.com", ""},
	} {
		a, err := ParseAddress(tt.in)
		if err != nil {
			t.Errorf("ParseAddress(%q): %v", tt.in, err)
			continue
		}
		if a.Local != tt.local || a.Domain != tt.domain {
			t.Errorf("ParseAddress(%q) = %q, %q; want %q, %q", tt.in, a.Local, a.Domain, tt.local, tt.domain)
		}
		text := tt.text
		if text == "" {
			text = tt.in
		}
		if a.String() != text {
			t.Errorf("ParseAddress(%q).String() = %q, want %q", tt.in, a.String(), text)
		}
	}
}

// wrongAddresses are none, whatever form they are asked for in.
var wrongAddresses = []string{
	"", "a", "@", "a@", "@example.com", " a@example.com", "a @example.com", "a@ example.com", "a@example.com ",
	"a@b@example.com", ".a@example.com", "a.@example.com", "a..b@example.com", `""@example.com`, `"a@example.com`,
	`"a"b@example.com`, `a"b"@example.com`, `"a\`, "a,b@example.com", "a;b@example.com", "a:b@example.com", "(c)a@example.com",
	"a@example.com.", "a@.example.com", "a@example..com", "a@-example.com", "a@example-.com", "a@exa mple.com", "a@example.com,b@example.com",
	"a@" + strings.Repeat("x", 64) + ".example", strings.Repeat("a", 65) + "@example.com",
	"a@" + strings.Repeat("x.", 128) + "example",
	strings.Repeat("a", 64) + "@" + strings.Repeat(strings.Repeat("x", 62)+".", 3) + "example",

	// Octets that end a command, an address or a string elsewhere.
	"a\r\nRCPT TO:<b@example.com>@example.com", "a\n@example.com", "a\x00@example.com", "a\t@example.com", "a\x7f@example.com",
	"\"a\r\n\"@example.com", "\"a\\\r\\\n\"@example.com", "\"a\\\x00\"@example.com", "\"a\x00\"@example.com", "\"a\\\x7f\"@example.com",
	"\"a\tb\"@example.com", "a@example.com\r\n", "a@exam\r\nple.com", "a@example.com\x00", "a@[192.0.2.1]\r\n", "a@exa>mple.com",

	"a@[192.0.2.1", "a@192.0.2.1]", "a@[]", "a@[", "a@[192.0.2]", "a@[192.0.2.256]", "a@[01.2.3.4]", "a@[2001:db8::1]", "a@[IPv6:192.0.2.1]",
	"a@[IPv6:fe80::1%eth0]", "a@[IPv6:]", "a@[tag:text]", "a@[192.0.2.1]x", "a@[192.0.2.1]]",

	// Not UTF-8.
	"a\xff@example.com", "\"\xc3\"@example.com", "a@b\xfccher.example", "\"\\\xff\"@example.com",

	// What cannot be seen: C1 control, soft hyphen, joiners, marks and overrides of direction, line separator, spaces
	// that are not the space, byte order mark, fillers, variation selector, tag, blank braille.
	"a\u0085@example.com", "a\u00ad@example.com", "a\u200b@example.com", "a\u200d@example.com", "a\u202e@example.com", "a\u2066@example.com",
	"a\u2028@example.com", "a\u00a0b@example.com", "\"a\u3000b\"@example.com", "a\ufeff@example.com", "a\u3164@example.com", "a\u115f@example.com",
	"a\u034f@example.com", "a\ufe0f@example.com", "a\U000e0041@example.com", "a\u2800@example.com", "a@b\u200bc.example", "a@b\u00adc.example",

	// Letters whose international mapping is an ASCII octet that a domain may not have.
	"a@b\uff1ec.example", // >
	"a@b\uff20c.example", // @
	"a@b\uff1cc.example", // <
	"a@b\uff0fc.example", // /
	"a@\uff3b192.0.2.1]", // [
	"a@b\uff02c.example", // "
	"a@b\u2100.example",  // a/c
	"a@b\u2000c.example", // space
	"a@xn--\u00fc.example",
	"a@\uff0e\uff0e.example", // full-width full stops: empty labels
}

func TestParseAddressRefuses(t *testing.T) {
	for _, in := range wrongAddresses {
		if a, err := ParseAddress(in); !errors.Is(err, ErrBadAddress) {
			t.Errorf("ParseAddress(%q) = %q, %v; want ErrBadAddress", in, a, err)
		} else if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("ParseAddress(%q): the error repeats it: %q", in, err)
		}
		if in == "" {
			continue // <> is the null path
		}
		if a, rest, err := ParsePath("<" + in + ">"); err == nil && rest == "" {
			t.Errorf("ParsePath(<%q>) = %q; want an error", in, a)
		}
	}
}

func TestParsePath(t *testing.T) {
	for _, tt := range []struct{ in, want, rest string }{
		{"<>", "", ""},
		{"<> SIZE=1", "", " SIZE=1"},
		{"<a@example.com>", "a@example.com", ""},
		{"<a@example.com> NOTIFY=NEVER", "a@example.com", " NOTIFY=NEVER"},
		{"<a@example.com>x>", "a@example.com", "x>"},
		{`<">"@example.com> x`, `">"@example.com`, " x"},
		{`<"\">"@example.com>`, `"\">"@example.com`, ""},
		{"<@relay.example:a@example.com>", "a@example.com", ""},
		{"<@one.example,@two.example:a@example.com>", "a@example.com", ""},
		{`<@relay.example:"@x:y"@example.com>`, `"@x:y"@example.com`, ""},
		{"<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", ""},
	} {
		a, rest, err := ParsePath(tt.in)
		if err != nil || a.String() != tt.want || rest != tt.rest {
			t.Errorf("ParsePath(%q) = %q, %q, %v; want %q, %q", tt.in, a, rest, err, tt.want, tt.rest)
		}
	}
	for _, in := range []string{
		"", "a@example.com", " <a@example.com>", "<", "<a@example.com", "< a@example.com>", "<a@example.com >", "< >",
		"<@relay.example>", "<@relay.example:>", "<@:a@example.com>", "<@one.example,two.example:a@example.com>", "<@one.example,:a@example.com>",
		"<@one\r\n.example:a@example.com>", "<@one.example,@t>wo.example:a@example.com>", "<<a@example.com>>", "<a@[192.0.2.1>]>", "<a@example.com\x00>",
	} {
		if a, rest, err := ParsePath(in); !errors.Is(err, ErrBadAddress) {
			t.Errorf("ParsePath(%q) = %q, %q, %v; want ErrBadAddress", in, a, rest, err)
		}
	}
}

func TestAddressText(t *testing.T) {
	var a Address
	if err := a.UnmarshalText([]byte(`"a b"@example.com`)); err != nil || a.Local != "a b" {
		t.Errorf("UnmarshalText: %+v, %v", a, err)
	}
	if text, err := a.MarshalText(); err != nil || string(text) != `"a b"@example.com` {
		t.Errorf("MarshalText: %q, %v", text, err)
	}
	if err := a.UnmarshalText(nil); err != nil || !a.IsZero() || a.Path() != "<>" {
		t.Errorf("the null path: %+v, %v", a, err)
	}
	if err := a.UnmarshalText([]byte("a b@example.com")); !errors.Is(err, ErrBadAddress) {
		t.Errorf("error %v", err)
	}
	if (Address{Local: "ü", Domain: "example.com"}).IsASCII() || !(Address{Local: "u", Domain: "xn--bcher-kva.example"}).IsASCII() {
		t.Error("IsASCII looks at the wrong part")
	}
}

func seedAddresses(f *testing.F, before, after string) {
	for _, s := range wrongAddresses {
		f.Add(before + s + after)
	}
	for _, s := range []string{`"a \"b"@example.com`, "用户@例子.example", "a@[IPv6:2001:db8::1]", "@a,@b:c@example.com", "a@bücher.example"} {
		f.Add(before + s + after)
	}
}

// soundAddress checks what the rest of the platform relies on.
func soundAddress(t *testing.T, in string, a Address) {
	t.Helper()
	text := a.String()
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Fatalf("%q gave %q", in, text)
	}
	if strings.ContainsAny(a.Domain, "<>@ \"\\,;") || a.Domain != strings.ToLower(a.Domain) && a.Domain[0] != '[' {
		t.Fatalf("%q gave domain %q", in, a.Domain)
	}
	for i := range len(a.Domain) {
		if a.Domain[i] >= 0x80 {
			t.Fatalf("%q gave domain %q", in, a.Domain)
		}
	}
	if back, err := ParseAddress(text); err != nil || back != a {
		t.Fatalf("%q: %q came back as %q, %v", in, text, back, err)
	}
	if back, rest, err := ParsePath(a.Path() + " X=1"); err != nil || back != a || rest != " X=1" {
		t.Fatalf("%q: %q came back as %q, %q, %v", in, a.Path(), back, rest, err)
	}
}

func FuzzParseAddress(f *testing.F) {
	seedAddresses(f, "", "")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			if !errors.Is(err, ErrBadAddress) || a != (Address{}) {
				t.Fatalf("%q: %q, %v", s, a, err)
			}
			return
		}
		soundAddress(t, s, a)
	})
}

func FuzzParsePath(f *testing.F) {
	seedAddresses(f, "<", "> SIZE=1")
	f.Fuzz(func(t *testing.T, s string) {
		a, rest, err := ParsePath(s)
		switch {
		case err != nil:
			if !errors.Is(err, ErrBadAddress) || a != (Address{}) || rest != "" {
				t.Fatalf("%q: %q, %q, %v", s, a, rest, err)
			}
		case !strings.HasSuffix(s, ">"+rest):
			t.Fatalf("%q: rest %q", s, rest)
		case !a.IsZero():
			soundAddress(t, s, a)
		}
	})
}
