package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Tests that a document names as those that keep a fault out are there.
func TestNamedTestsExist(t *testing.T) {
	const doc = "../../docs/bounces.md"
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z]+)\\.(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 20 {
		t.Errorf("%s names %d tests", doc, len(named))
	}
	for _, m := range named {
		folders, err := filepath.Glob("../*/" + m[1])
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, dir := range append(folders, "../"+m[1]) {
			files, err := filepath.Glob(dir + "/*_test.go")
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				code, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				found = found || strings.Contains(string(code), "\nfunc "+m[2]+"(t ")
			}
		}
		if !found {
			t.Errorf("%s names %s.%s, which is not there", doc, m[1], m[2])
		}
	}
}
