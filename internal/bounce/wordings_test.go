package bounce

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
)

// wording is one line of testdata/wordings.tsv.
type wording struct {
	line    int
	classes []mail.Class
	sample  string
}

func readWordings(t testing.TB, file string) (all []wording) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		if strings.HasPrefix(sc.Text(), "#") || sc.Text() == "" {
			continue
		}
		classes, sample, ok := strings.Cut(sc.Text(), "\t")
		if !ok {
			t.Fatalf("%s:%d: no tab", file, n)
		}
		w := wording{line: n, sample: sample}
		for c := range strings.SplitSeq(classes, "|") {
			if c == "*" {
				continue
			}
			if !slices.Contains(mail.Classes, mail.Class(c)) {
				t.Fatalf("%s:%d: %q is no class", file, n, c)
			}
			w.classes = append(w.classes, mail.Class(c))
		}
		all = append(all, w)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// badAddress are the classes an address may be suppressed for.
var badAddress = []mail.Class{mail.ClassInvalidRecipient, mail.ClassInactive, mail.ClassInvalidDomain}

// TestWordings: the replies of widespread systems come to their class, and suppress nobody who is not unknown.
func TestWordings(t *testing.T) {
	r := Default()
	for _, file := range []string{"wordings.tsv", "short.tsv"} {
		for _, w := range readWordings(t, "testdata/"+file) {
			in, err := ParseSample(w.sample)
			if err != nil {
				t.Fatal(err)
			}
			v := r.Reply(in)
			where := fmt.Sprintf("%s:%d: %s", file, w.line, w.sample)
			if !slices.Contains(w.classes, v.Class) {
				t.Errorf("%s\n  is %s by %q, not %v", where, v.Class, v.Rule, w.classes)
			}
			if v.Action == mail.ActionSuppress && !slices.ContainsFunc(w.classes, func(c mail.Class) bool { return slices.Contains(badAddress, c) }) {
				t.Errorf("%s\n  suppresses, by %q", where, v.Rule)
			}
		}
	}
}

// TestInnocent: what says nothing clear against the recipient's address suppresses nobody.
func TestInnocent(t *testing.T) {
	r := Default()
	for _, w := range readWordings(t, "testdata/innocent.tsv") {
		in, err := ParseSample(w.sample)
		if err != nil {
			t.Fatal(err)
		}
		v := r.Reply(in)
		if v.Action == mail.ActionSuppress {
			t.Errorf("innocent.tsv:%d: %s\n  suppresses, by %q", w.line, w.sample, v.Rule)
		}
		if len(w.classes) > 0 && !slices.Contains(w.classes, v.Class) {
			t.Errorf("innocent.tsv:%d: %s\n  is %s by %q, not %v", w.line, w.sample, v.Class, v.Rule, w.classes)
		}
	}
}

// TestUnknownSuppresses: the caution of TestInnocent must not go so far that a plain "no such user" passes.
func TestUnknownSuppresses(t *testing.T) {
	r := Default()
	for _, w := range readWordings(t, "testdata/unknown.tsv") {
		in, err := ParseSample(w.sample)
		if err != nil {
			t.Fatal(err)
		}
		if v := r.Reply(in); v.Action != mail.ActionSuppress {
			t.Errorf("unknown.tsv:%d: %s\n  is %s, %s by %q", w.line, w.sample, v.Class, v.Action, v.Rule)
		}
	}
}
