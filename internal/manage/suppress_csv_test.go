package manage

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readAll reads records; a refused one shows as "! line: why".
func readAll(t testing.TB, r io.Reader) (out [][]string, lines []int) {
	t.Helper()
	c, err := newCSVReader(r)
	if err != nil {
		t.Fatal(err)
	}
	for {
		rec, line, err := c.read()
		var bad csvError
		switch {
		case errors.Is(err, io.EOF):
			return out, lines
		case errors.As(err, &bad):
			rec = []string{"!", string(bad)}
		case err != nil:
			t.Fatal(err)
		}
		out, lines = append(out, rec), append(lines, line)
	}
}

func TestCSV(t *testing.T) {
	const bom = "\xef\xbb\xbf"
	long := strings.Repeat("x", maxCSVRecord+10)
	for name, c := range map[string]struct {
		in    string
		want  [][]string
		lines []int
	}{
		"plain":            {"a,b\nc,d\n", [][]string{{"a", "b"}, {"c", "d"}}, []int{1, 2}},
		"no end":           {"a,b\nc,d", [][]string{{"a", "b"}, {"c", "d"}}, []int{1, 2}},
		"CRLF, BOM, blank": {bom + "a,b\r\n\r\n \r\nc,d\r\n", [][]string{{"a", "b"}, {"c", "d"}}, []int{1, 4}},
		"semicolons":       {"a;b\nc,c;d\n", [][]string{{"a", "b"}, {"c,c", "d"}}, []int{1, 2}},
		"tabs":             {"a\tb\nc\t\n", [][]string{{"a", "b"}, {"c", ""}}, []int{1, 2}},
		"quotes":           {"\"a, \"\"b\"\"\",c\n \"d\" , e \n", [][]string{{`a, "b"`, "c"}, {"d", "e"}}, []int{1, 2}},
		"lines in quotes":  {"a,\"b\nc\"\nd,e\n", [][]string{{"a", "b\nc"}, {"d", "e"}}, []int{1, 3}},
		"open quote":       {"a,\"b\nc,d\ne,f\n", [][]string{{"!", "a quote is not closed"}, {"c", "d"}, {"e", "f"}}, []int{1, 2, 3}},
		"after a quote":    {"a,\"b\"x,c\nd,e\n", [][]string{{"!", "something follows a closing quote"}, {"d", "e"}}, []int{1, 2}},
		"too long":         {"a\n" + long + "\nb\n", [][]string{{"a"}, {"!", "it is longer than 65536 octets"}, {"b"}}, []int{1, 2, 3}},
		"too long, no end": {"a\n" + long, [][]string{{"a"}, {"!", "it is longer than 65536 octets"}}, []int{1, 2}},
		"too many fields":  {strings.Repeat(",", 300) + "\na\n", [][]string{{"!", "it has more than 256 fields"}, {"a"}}, []int{1, 2}},
		"empty":            {"", nil, nil},
		"UTF-16":           {"\xff\xfea\x00,\x00\xe9\x00\n\x00", [][]string{{"a", "é"}}, []int{1}},
	} {
		got, lines := readAll(t, strings.NewReader(c.in))
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(c.lines, lines); diff != "" {
			t.Errorf("%s: lines (-want +got):\n%s", name, diff)
		}
	}
	// A quote that is never closed costs one line, however long the file.
	got, _ := readAll(t, strings.NewReader("\"a\n"+strings.Repeat("b,c\n", 10_000)))
	if len(got) != 10_001 || got[0][0] != "!" || got[1][0] != "b" {
		t.Errorf("%d records, the first %v", len(got), got[0])
	}
}

// FuzzCSV: whatever comes in, every line is read or refused once, in order, and records stay within their bounds.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b\nc,d\n", "\"a\nb\",c\n\"d", "\xef\xbb\xbfx;y\r\n", "\xff\xfea\x00", "a,\"b\"\"c\"\n", strings.Repeat("\"\n", 200), "\"" + strings.Repeat(",", 300)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := newCSVReader(strings.NewReader(string(in)))
		if err != nil {
			t.Fatal(err)
		}
		last := 0
		for n := 0; ; n++ {
			rec, line, err := c.read()
			var bad csvError
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil && !errors.As(err, &bad) {
				t.Fatal(err)
			}
			if line <= last {
				t.Fatalf("line %d after %d", line, last)
			}
			last = line
			size := 0
			for _, v := range rec {
				size += len(v)
			}
			if size > maxCSVRecord || len(rec) > maxCSVFields || n > len(in)+1 {
				t.Fatalf("a record of %d octets and %d fields, the %d.", size, len(rec), n)
			}
		}
	})
}
