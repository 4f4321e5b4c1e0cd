package mail

import "testing"

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"ann@example.net":         "ann@example.net",
		"Ann@Example.NET":         "ann@example.net",
		"ÜNAL@example.net":        "ünal@example.net",
		"U\u0308nal@example.net":  "ünal@example.net",
		"user+Tag@example.net":    "user+tag@example.net",
		"ΣΑΣ@example.net":         "σασ@example.net",
		"a.n.n@example.net":       "a.n.n@example.net",
		"\"John Smith\"@test.net": "\"john smith\"@test.net",
	} {
		if got := Fold(in); got != want || Fold(got) != got {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if !SameMailbox(in, want) {
			t.Errorf("%q and %q are not the same", in, want)
		}
	}
	if SameMailbox("ann@example.net", "ann.@example.net") {
		t.Error("two mailboxes are one")
	}
	for in, want := range map[string]string{
		" Ünal@BÜCHER.example ": "ünal@xn--bcher-kva.example",
		"no address":            "no address",
	} {
		if got := FoldedText(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
