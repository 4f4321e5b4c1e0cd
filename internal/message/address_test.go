package message

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseAddresses(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []Mailbox
	}{
		{"", nil},
		{"a@example.com", []Mailbox{{Addr: "a@example.com"}}},
		{"  <a@example.com>\t", []Mailbox{{Addr: "a@example.com"}}},
		{"Anna <a@example.com>", []Mailbox{{Name: "Anna", Addr: "a@example.com"}}},
		{`"Example, Anna" <a@example.com>`, []Mailbox{{Name: "Example, Anna", Addr: "a@example.com"}}},
		{`"say \"hi\" \\" <a@example.com>`, []Mailbox{{Name: `say "hi" \`, Addr: "a@example.com"}}},
		{"Anna B. Example <a@example.com>", []Mailbox{{Name: "Anna B. Example", Addr: "a@example.com"}}},
		{"a@example.com (Anna)", []Mailbox{{Name: "Anna", Addr: "a@example.com"}}},
		{"(x) Anna (y) <a@example.com> (z)", []Mailbox{{Name: "Anna", Addr: "a@example.com"}}},
		{`a@example.com, "B" <b@example.net>,c@example.org`, []Mailbox{{Addr: "a@example.com"}, {Name: "B", Addr: "b@example.net"}, {Addr: "c@example.org"}}},
		{"=?utf-8?q?J=C3=BCrgen?= =?utf-8?q?_X?= <a@example.com>", []Mailbox{{Name: "Jürgen X", Addr: "a@example.com"}}},
		{"Jürgen <jürgen@münchen.example>", []Mailbox{{Name: "Jürgen", Addr: "jürgen@münchen.example"}}},
		{"Team: a@example.com, B <b@example.com>;, c@example.com", []Mailbox{{Addr: "a@example.com", Group: "Team"}, {Name: "B", Addr: "b@example.com", Group: "Team"}, {Addr: "c@example.com"}}},
		{"undisclosed-recipients:;", nil},
		{",,a@example.com,,", []Mailbox{{Addr: "a@example.com"}}},
		{"<@relay.example,@other.example:a@example.com>", []Mailbox{{Addr: "a@example.com"}}},
		{`"a b"@example.com`, []Mailbox{{Addr: `"a b"@example.com`}}},
		{`"ab"@example.com`, []Mailbox{{Addr: "ab@example.com"}}},
		{`"a\"b@x"@example.com`, []Mailbox{{Addr: `"a\"b@x"@example.com`}}},
		{"a@[192.0.2.1]", []Mailbox{{Addr: "a@[192.0.2.1]"}}},
		{"<a@[IPv6:2001:db8::1]>", []Mailbox{{Addr: "a@[IPv6:2001:db8::1]"}}},
		{"a @ example.com", []Mailbox{{Addr: "a@example.com"}}},
		{"< a@example.com >", []Mailbox{{Addr: "a@example.com"}}},
		// A name that is an address, or holds one, is only a name.
		{`"boss@bank.example" <a@example.com>`, []Mailbox{{Name: "boss@bank.example", Addr: "a@example.com"}}},
		{`"boss@bank.example <boss@bank.example>" <a@example.com>`, []Mailbox{{Name: "boss@bank.example <boss@bank.example>", Addr: "a@example.com"}}},
		{"=?utf-8?q?=3Cboss=40bank=2Eexample=3E=0D=0AX=3A?= <a@example.com>", []Mailbox{{Name: "<boss@bank.example>  X:", Addr: "a@example.com"}}},
	} {
		got, err := ParseAddresses(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.in, diff)
		}
	}
}

func TestParseAddressesRefuses(t *testing.T) {
	for _, tt := range []struct{ in, reason string }{
		{"Anna", "no @"},
		{"a@", "domain"},
		{"@example.com", "local part is empty"},
		{"<>", "empty"},
		{"Anna <>", "empty"},
		{"<a@example.com", "closing angle"},
		{"a@example.com>", "follows"},
		{"<a@example.com> <b@example.net>", "follows"},
		{"a@example.com b@example.net", "follows"},
		{"a@example.com <b@example.net>", "follows"},
		{"boss@bank.example <a@example.com>", "follows"},
		{"Anna a@example.com", "white space"},
		{"a@example.com; b@example.com", "follows"},
		{"<a@example.com>x", "follows"},
		{"<<a@example.com>>", "empty"},
		{`"Anna <a@example.com>`, "closing quote"},
		{`"Anna\`, "closing quote"},
		{"(Anna <a@example.com>", "parenthesis"},
		{strings.Repeat("(", 30) + strings.Repeat(")", 30) + "a@example.com", "nested"},
		{"a..b@example.com", "dot"},
		{".a@example.com", "dot"},
		{"a.@example.com", "dot"},
		{`a"b"@example.com`, "quoted string"},
		{`""@example.com`, "empty"},
		{"a@example..com", "domain"},
		{"a@.example.com", "domain"},
		{"a@[192.0.2.1", "literal"},
		{"a@[192.0 .2.1]", "literal"},
		{"a@b@example.com", "follows"},
		{"a\x00@example.com", ""},
		{"a@example.com\r\nBcc: b@example.com", ""},
		{"\"a\r\nb\"@example.com", "control"},
		{"a\xff@example.com", "UTF-8"},
		{"a\u200b@example.com", "U+200B"},
		{"a@exam\u202eple.com", "U+202E"},
		{"Team: a@example.com", "semicolon"},
		{"Team: Inner: a@example.com;;", "inside a group"},
		{": a@example.com;", "no name"},
		{"<@relay.example a@example.com>", "route"},
	} {
		got, err := ParseAddresses(tt.in)
		if !errors.Is(err, ErrBadAddressList) || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("%q: %v, %v; want %q", tt.in, got, err, tt.reason)
		}
	}
	if _, err := ParseAddresses(strings.Repeat("a@b,", MaxAddresses+1)); !errors.Is(err, ErrBadAddressList) {
		t.Errorf("too many: %v", err)
	}
}

func TestParseAddressesLenient(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []Mailbox
	}{
		{"Anna <a@example.com>", []Mailbox{{Name: "Anna", Addr: "a@example.com"}}},
		{"Mail Delivery System <MAILER-DAEMON>", []Mailbox{{Name: "Mail Delivery System", Addr: "MAILER-DAEMON"}}},
		{"boss@bank.example <a@example.com>", []Mailbox{{Name: "boss@bank.example", Addr: "a@example.com"}}},
		{"a@example.com; b@example.com", []Mailbox{{Addr: "a@example.com"}, {Addr: "b@example.com"}}},
		{"<>", nil},
		{"MAILER-DAEMON", []Mailbox{{Addr: "MAILER-DAEMON"}}},
		{"no body", nil},
	} {
		if diff := cmp.Diff(tt.want, ParseAddressesLenient(tt.in)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.in, diff)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"a@example.com", `"x" <a@b>, (c) d@e (f)`, "g: a@b, <@r:c@d>;", `"a b"@[192.0.2.1]`, "=?utf-8?q?x?= <ü@ü>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		list, err := ParseAddresses(in)
		if err != nil {
			if !errors.Is(err, ErrBadAddressList) {
				t.Fatal(err)
			}
			ParseAddressesLenient(in)
			return
		}
		for _, m := range list {
			// What was found, written down again, is one address and the same.
			again, err := ParseAddresses("<" + m.Addr + ">")
			if err != nil || len(again) != 1 || again[0].Addr != m.Addr {
				t.Fatalf("%q of %q reads as %v (%v)", m.Addr, in, again, err)
			}
			if !utf8.ValidString(m.Name) || strings.ContainsAny(m.Name+m.Addr, "\r\n\x00") {
				t.Fatalf("%+v of %q", m, in)
			}
		}
	})
}
