package mail

import "testing"

func TestMaskAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		"450 4.2.1 try again later":        "450 4.2.1 try again later",
		"550 <a.b+c@example.com>: unknown": "550 <(address)>: unknown",
		`550 "a b"@example.com unknown`:    "550 (address) unknown",
		"mail for jürgen@bücher.example, and x@y": "mail for (address), and (address)",
	} {
		if got := MaskAddresses(text); got != want {
			t.Errorf("MaskAddresses(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestMaskSecrets(t *testing.T) {
	const secret = "correct horse battery"
	for text, want := range map[string]string{
		"": "", "nothing of it": "nothing of it", secret: "***", "[" + secret + "]": "[***]", secret + secret: "******",
		"cut: correct hor...": "cut: ***...", "its end: e battery!": "its end: ***!", "correct": "correct", "pin 1234 and 123": "pin *** and 123",
		"abc": "abc", "gr\xc3\xbcn\xff": "gr\xc3\xbcn\xff",
	} {
		if got := MaskSecrets(text, secret, "1234", "abc", ""); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
