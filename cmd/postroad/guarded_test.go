package main

import "testing"

func TestHarmless(t *testing.T) {
	for in, want := range map[string]string{
		"plain Grüße\tx\r\n":              "plain Grüße\tx\r\n",
		"\x1b[1mstrong\x1b[0;22m":         "\x1b[1mstrong\x1b[0;22m",
		"title \x1b]0;owned\x07 end":      "title ?]0;owned? end",
		"clear \x1b[2J\x1b[H, back\rover": "clear ?[2J?[H, back?over",
		"c1 \u009b31m, nul \x00, \xff":    "c1 ?31m, nul ?, ?",
		"turned \u202egpj.exe":            "turned ?gpj.exe",
		"cut \x1b[31":                     "cut ?[31",
	} {
		if got := string(harmless([]byte(in))); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func FuzzHarmless(f *testing.F) {
	f.Add([]byte("\x1b[31mred\x1b[0m\x1b]0;x\x07"))
	f.Fuzz(func(t *testing.T, b []byte) {
		once := harmless(b)
		if twice := harmless(once); string(once) != string(twice) {
			t.Errorf("%q is not harmless yet: %q", once, twice)
		}
	})
}
