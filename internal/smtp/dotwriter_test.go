package smtp

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

var dotCases = []struct{ name, in, out string }{
	{"empty", "", ".\r\n"},
	{"one line", "a\r\n", "a\r\n.\r\n"},
	{"no line end", "a", "a\r\n.\r\n"},
	{"dot first", ".a\r\n", "..a\r\n.\r\n"},
	{"lone dot", "a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"},
	{"dots in the middle", "a.b\r\n...\r\n", "a.b\r\n....\r\n.\r\n"},
	{"bare LF", "a\nb\r\n", "a\r\nb\r\n.\r\n"},
	{"bare CR", "a\rb\r\n", "a\r\nb\r\n.\r\n"},
	{"smuggled LF.LF", "a\n.\nMAIL FROM:<x@example.com>\r\n", "a\r\n..\r\nMAIL FROM:<x@example.com>\r\n.\r\n"},
	{"smuggled LF.CRLF", "a\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"},
	{"smuggled CR.CR", "a\r.\rb\r\n", "a\r\n..\r\nb\r\n.\r\n"},
	{"smuggled CRCRLF", "a\r\r\n.\r\n", "a\r\n\r\n..\r\n.\r\n"},
	{"CR at the end", "a\r", "a\r\n.\r\n"},
	{"LF alone", "\n", "\r\n.\r\n"},
	{"dot alone", ".", "..\r\n.\r\n"},
}

func TestDotWriter(t *testing.T) {
	for _, c := range dotCases {
		t.Run(c.name, func(t *testing.T) {
			// Every way to cut the input in two gives the same output.
			for cut := 0; cut <= len(c.in); cut++ {
				var w DotWriter
				out := w.Append(nil, []byte(c.in[:cut]))
				out = w.Append(out, []byte(c.in[cut:]))
				if out = w.End(out); string(out) != c.out {
					t.Errorf("cut at %d: got %q, want %q", cut, out, c.out)
				}
			}
			if got, want := IsNormal([]byte(c.in)), normalSlow(c.in); got != want {
				t.Errorf("IsNormal = %v, want %v", got, want)
			}
		})
	}
}

func normalSlow(s string) bool {
	return s == "" || strings.HasSuffix(s, "\r\n") && !strings.ContainsAny(strings.ReplaceAll(s, "\r\n", ""), "\r\n")
}

func FuzzDotWriter(f *testing.F) {
	for _, c := range dotCases {
		f.Add([]byte(c.in), uint(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint) {
		var w DotWriter
		n := int(cut % uint(len(in)+1))
		out := w.End(w.Append(w.Append(nil, in[:n]), in[n:]))
		if !IsNormal(out) {
			t.Fatalf("%q became %q, which has a bare CR or LF", in, out)
		}
		if IsNormal(in) != normalSlow(string(in)) {
			t.Fatalf("IsNormal(%q) = %v", in, IsNormal(in))
		}
		end := []byte("\r\n.\r\n")
		whole := append([]byte("\r\n"), out...)
		if i := bytes.Index(whole, end); i != len(whole)-len(end) {
			t.Fatalf("%q became %q, which ends too early", in, out)
		}
		// Taking the dots out again gives the input in normal form.
		back := bytes.ReplaceAll(whole[:len(whole)-3], []byte("\r\n."), []byte("\r\n"))
		if IsNormal(in) && !bytes.Equal(back[2:], in) {
			t.Fatalf("%q came back as %q", in, back[2:])
		}
	})
}

func BenchmarkDotWriter(b *testing.B) {
	var content []byte
	r := rand.New(rand.NewPCG(1, 2))
	for len(content) < 4096 {
		content = append(append(content, bytes.Repeat([]byte{'x'}, 40+r.IntN(38))...), '\r', '\n')
	}
	dst := make([]byte, 0, 8192)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		var w DotWriter
		dst = w.End(w.Append(dst[:0], content))
	}
}
