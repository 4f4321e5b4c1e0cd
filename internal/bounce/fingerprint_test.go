package bounce

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFingerprint(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"550 5.7.1 Ticket 4711-AB3 opened for <joe@example.com>", "550 5.7.1 ticket <id> opened for <address>"},
		{"The vault of 'joe.doe' is sealed, ask mx7.example.net[192.0.2.1]", "the vault of <name> is sealed ask <host> <ip>"},
		{"Frozen since Sat, 28 Nov 2026 18:10:04 GMT", "frozen since <n>"},
		{"(S3150) see https://example.net/x?id=17", "s3150 see <url>"},
		{"[TSS04] SC-001 IB105 4F2A81C03 q12si123ejk.7 - gsmtp", "tss04 sc-001 ib105 <id> gsmtp"},
		{"client 2001:db8::17 and [IPv6:2001:db8::1] refused", "client <ip> and <ip> refused"},
		{"Das Fach ist übervoll, doesn't help: 99 %", "das fach ist ubervoll does not help <n>"},
		{"信箱4711封存", "信箱 <n> 封存"},
		{"Ящик user@example.org заморожен", "ящик <address> заморожен"},
		{"a@example.com, b@example.org;c@example.net: no", "<address> no"},
		{"<joe>: quux", "<name> quux"},
		{"*** !!! ---", ""},
		{"", ""},
	} {
		if got := Fingerprint(c.in); got != c.want {
			t.Errorf("%q\n got %q\nwant %q", c.in, got, c.want)
		}
	}
}

// TestFingerprintGroups: replies that differ in what is particular to one delivery have one fingerprint, others not.
func TestFingerprintGroups(t *testing.T) {
	same := []string{
		"550 5.9.9 <a.b@example.com>: gate closed (ref 20261128-0AF3, host mx1.example.net [192.0.2.7]) at 18:10",
		"550 5.9.9 <joe@mail.example.org>: Gate closed (ref 20250101-77BC, host in-2.example.org [198.51.100.250]) at 07:59",
	}
	if a, b := Fingerprint(same[0]), Fingerprint(same[1]); a != b || a == "" {
		t.Errorf("%q and %q", a, b)
	}
	if a, b := Fingerprint("550 gate closed"), Fingerprint("550 gate open"); a == b {
		t.Errorf("one fingerprint for two wordings: %q", a)
	}
	if a, b := Fingerprint("550 error PH01"), Fingerprint("550 error PH02"); a == b {
		t.Errorf("one fingerprint for two codes: %q", a)
	}
}

func FuzzFingerprint(f *testing.F) {
	for _, rule := range Default().Rules() {
		f.Add(rule.Hits[0])
	}
	f.Add("<a@b> '\"<x>' \xff\xfe 1.2.3 5.1.1 http:// a@ @b \u212a İ e mail can not mon 5")
	f.Fuzz(func(t *testing.T, text string) {
		got := Fingerprint(text)
		if len(got) > maxFingerprint || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\t") {
			t.Errorf("%q", got)
		}
		if again := Fingerprint(got); again != got {
			t.Errorf("%q, again %q", got, again)
		}
	})
}
