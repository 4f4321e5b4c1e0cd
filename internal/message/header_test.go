package message

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// crlfs writes CRLF for LF, for readable literals.
func crlfs(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

type plainField struct{ Name, Raw, Value string }

func plain(h Header) (list []plainField) {
	for _, f := range h.Fields() {
		list = append(list, plainField{f.Name, string(f.Raw), f.Value()})
	}
	return list
}

func TestReadHeader(t *testing.T) {
	in := crlfs("Subject: one\n two\n\tthree \nX-Empty:\nx-odd:a:b\nSUBJECT:  again\n\nbody: no field\n")
	h, at, err := ReadHeader([]byte(in), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []plainField{
		{"Subject", "Subject: one\r\n two\r\n\tthree \r\n", "one two\tthree"},
		{"X-Empty", "X-Empty:\r\n", ""},
		{"x-odd", "x-odd:a:b\r\n", "a:b"},
		{"SUBJECT", "SUBJECT:  again\r\n", "again"},
	}
	if diff := cmp.Diff(want, plain(h)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if in[at:] != "body: no field\r\n" || string(rawOf(h))+"\r\n"+in[at:] != in {
		t.Errorf("body %q", in[at:])
	}
	if v, ok := h.Get("subject"); v != "one two\tthree" || !ok || h.Count("subject") != 2 || len(h.Values("Subject")) != 2 {
		t.Errorf("Get %q %v, Count %d", v, ok, h.Count("subject"))
	}
	if _, ok := h.Get("subjec"); ok || h.Count("none") != 0 {
		t.Error("a field that is not there was found")
	}
}

func TestReadHeaderEnds(t *testing.T) {
	for _, tt := range []struct {
		in     string
		fields int
		body   string
	}{
		{"", 0, ""},
		{"\r\n", 0, ""},
		{"\r\nbody", 0, "body"},
		{"\r\n\r\nbody", 0, "\r\nbody"},
		{"A: b\r\n", 1, ""},
		{"A: b\r\n\r\n", 1, ""},
		{"A: b\r\n\r\nbody\r\n\r\nmore", 1, "body\r\n\r\nmore"},
		{"A: b\r\n \r\n\r\nbody", 1, "body"},
	} {
		h, at, err := ReadHeader([]byte(tt.in), 0)
		if err != nil || len(h.Fields()) != tt.fields || tt.in[at:] != tt.body {
			t.Errorf("%q: %d fields, body %q, %v", tt.in, len(h.Fields()), tt.in[at:], err)
		}
	}
	for in, want := range map[string]int{"": -1, "A: b\r\n": -1, "A: b\r\n\r": -1, "\r\nx": 2, "A: b\r\n\r\nx": 8} {
		if got := HeaderEnd([]byte(in)); got != want {
			t.Errorf("HeaderEnd(%q) = %d, want %d", in, got, want)
		}
	}
}

func TestReadHeaderRefuses(t *testing.T) {
	for _, tt := range []struct {
		in   string
		line int
		kind error
	}{
		{"A: b\nC: d\r\n\r\n", 1, ErrBadHeader},
		{"A: b\r\nC: d\n\r\n", 2, ErrBadHeader},
		{"A: b\rc\r\n\r\n", 1, ErrBadHeader},
		{"A: b\r\r\n\r\n", 1, ErrBadHeader},
		{"A: b", 1, ErrBadHeader},
		{"A: \x00\r\n\r\n", 0, ErrBadHeader},
		{" A: b\r\n\r\n", 1, ErrBadHeader},
		{"A: b\r\nno field\r\n\r\n", 2, ErrBadHeader},
		{"A: b\r\n: c\r\n\r\n", 2, ErrBadHeader},
		{"A : b\r\n\r\n", 1, ErrBadHeader},
		{"A\t: b\r\n\r\n", 1, ErrBadHeader},
		{"A b: c\r\n\r\n", 1, ErrBadHeader},
		{"\xc3\xa9: c\r\n\r\n", 1, ErrBadHeader},
		{"From a@example.com Thu Jan 1 00:00:00 2026\r\nA: b\r\n\r\n", 1, ErrBadHeader},
		{"A: " + strings.Repeat("x", 200) + "\r\n\r\n", 0, ErrHeaderTooLarge},
		{strings.Repeat("A: b\r\n", 50), 0, ErrHeaderTooLarge},
	} {
		_, _, err := ReadHeader([]byte(tt.in), 100)
		var e *HeaderError
		if !errors.As(err, &e) || e.Line != tt.line || !errors.Is(err, tt.kind) {
			t.Errorf("%.40q: %v, want line %d, %v", tt.in, err, tt.line, tt.kind)
		}
	}
	many := []byte(strings.Repeat("A: b\r\n", MaxFields+1))
	if _, _, err := ReadHeader(many, 1<<20); !errors.Is(err, ErrTooManyFields) {
		t.Errorf("many fields: %v", err)
	}
	if _, _, err := ReadHeader(many[6:], 1<<20); err != nil {
		t.Errorf("as many fields as allowed: %v", err)
	}
}

func TestReadHeaderLenient(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []plainField
		body     string
	}{
		{"LF", "A: b\n c\nD: e\n\nbody", []plainField{{"A", "A: b\n c\n", "b c"}, {"D", "D: e\n", "e"}}, "body"},
		{"CR CR LF", "A: b\r\r\nD: e\r\r\n\r\r\nbody", []plainField{{"A", "A: b\r\r\n", "b"}, {"D", "D: e\r\r\n", "e"}}, "body"},
		{"mbox line", "From x@example.com Thu\nA: b\n\nbody", []plainField{{"A", "A: b\n", "b"}}, "body"},
		{"space before colon", "A : b\n\nbody", []plainField{{"A", "A : b\n", "b"}}, "body"},
		{"no empty line", "A: b\nbody text\nmore: x\n", []plainField{{"A", "A: b\n", "b"}}, "body text\nmore: x\n"},
		{"no header", "body text\n", nil, "body text\n"},
		{"continuation of nothing", " body\n", nil, " body\n"},
		{"empty line first", "\nbody\n", nil, "body\n"},
		{"no last line end", "A: b", []plainField{{"A", "A: b", "b"}}, ""},
	} {
		h, at := ReadHeaderLenient([]byte(tt.in), 0)
		if diff := cmp.Diff(tt.want, plain(h)); diff != "" || tt.in[at:] != tt.body {
			t.Errorf("%s: body %q, -want +got:\n%s", tt.name, tt.in[at:], diff)
		}
	}
	large := "A: b\nB: " + strings.Repeat("x", 200) + "\nC: d\n\nbody"
	h, at := ReadHeaderLenient([]byte(large), 100)
	if len(h.Fields()) != 1 || large[at:] != "body" {
		t.Errorf("beyond the limit: %d fields, body %q", len(h.Fields()), large[at:])
	}
}

func rawOf(h Header) (raw []byte) {
	for _, f := range h.Fields() {
		raw = append(raw, f.Raw...)
	}
	return raw
}

func FuzzHeader(f *testing.F) {
	for _, s := range []string{"A: b\r\n c\r\nD:e\r\n\r\nbody", "A : b\n\n", "From x\n>From y\nA:b\r\r\n\r\r\n", " x\r\n", "\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, at, err := ReadHeader(in, 1000)
		if err == nil {
			for _, f := range h.Fields() {
				if v := f.Value(); strings.ContainsAny(v, "\r\n") || f.Name == "" {
					t.Fatalf("field %q has value %q", f.Name, v)
				}
			}
			if raw := rawOf(h); at != len(raw) && at != len(raw)+2 || !bytes.HasPrefix(in, raw) {
				t.Fatalf("fields %q of %q, body at %d", raw, in, at)
			}
			l, lat := ReadHeaderLenient(in, 1000)
			if !bytes.HasPrefix(in, []byte("From ")) && !bytes.HasPrefix(in, []byte(">From ")) && (lat != at || cmp.Diff(plain(h), plain(l)) != "") {
				t.Fatalf("the lenient reader sees something else in %q:\n%s", in, cmp.Diff(plain(h), plain(l)))
			}
		}
		h, at = ReadHeaderLenient(in, 1000)
		if at > len(in) || len(rawOf(h)) > at {
			t.Fatalf("body at %d of %d", at, len(in))
		}
	})
}

func BenchmarkReadHeader(b *testing.B) {
	in := []byte(crlfs("Received: from a by b;\n Thu, 1 Jan 2026 00:00:00 +0000\nFrom: \"Example\" <a@example.com>\nTo: b@example.net\nSubject: something to read\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n" +
		"Message-ID: <1@example.com>\nMIME-Version: 1.0\nContent-Type: multipart/alternative;\n boundary=\"=_0123456789\"\nX-Mailer: Example\nList-Unsubscribe: <https://example.com/u>\n\n"))
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, _, err := ReadHeader(in, 0); err != nil {
			b.Fatal(err)
		}
	}
}
