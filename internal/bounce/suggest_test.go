package bounce

import (
	"strings"
	"testing"
	"testing/fstest"
)

// TestSuggest: what is suggested loads beside the built-in rules and decides the reply it was made of.
func TestSuggest(t *testing.T) {
	for _, sample := range []string{
		"550 5.9.9 The vault of <joe@example.com> was sealed by order 4711-AB3",
		"554 zugemauert seit 28.11.2026, \"Turm\" und Tor",
		"450 (XY17) quux",
		"599 信箱封存",
		"550 mx7.example.com says 'xyzzy' \\o/ {now} ..never *again* ^top$",
		"550 5.1.1 user unknown",
	} {
		in, err := ParseSample(sample)
		if err != nil {
			t.Fatal(err)
		}
		text, err := Suggest(in)
		if err != nil {
			t.Errorf("%s: %v", sample, err)
			continue
		}
		if strings.Contains(text, "joe@") {
			t.Errorf("%s: the suggestion has the address in it", sample)
		}
		r, err := Load(fstest.MapFS{"own.toml": {Data: []byte(text)}})
		if err != nil {
			t.Errorf("%s: %v\n%s", sample, err, text)
			continue
		}
		if v := r.Reply(in); !strings.HasPrefix(v.Rule, "own-") {
			t.Errorf("%s: decided by %q\n%s", sample, v.Rule, text)
		}
	}
	for _, sample := range []string{"550", "550 5.7.1 192.0.2.1", "550 <a@b.example>"} {
		in, _ := ParseSample(sample)
		if text, err := Suggest(in); err == nil {
			t.Errorf("%s: %s", sample, text)
		}
	}
}

func FuzzSuggest(f *testing.F) {
	f.Add(550, "The vault of <joe@example.com> was sealed")
	f.Add(450, "{a,b} .. \"x\" \\ * ^ $ \xff 5.1.1 #")
	f.Fuzz(func(t *testing.T, code int, text string) {
		got, err := Suggest(Input{Code: code, Text: text})
		if err != nil {
			return
		}
		if err := CheckFile(got); err != nil {
			t.Errorf("%v\n%s", err, got)
		}
	})
}
