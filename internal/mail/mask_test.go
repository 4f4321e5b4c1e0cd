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
