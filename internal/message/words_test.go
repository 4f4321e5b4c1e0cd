package message

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecodeWords(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"plain text", "plain text"},
		{"=?UTF-8?Q?caf=C3=A9_au_lait?=", "café au lait"},
		{"=?utf-8?B?Y2Fmw6k=?=", "café"},
		{"=?iso-8859-1?q?caf=E9?=", "café"},
		{"=?ISO-8859-15?Q?10_=A4?=", "10 €"},
		{"=?windows-1251?b?z/Do4uXy?=", "Привет"},
		{"=?koi8-r?B?8NLJ18XU?=", "Привет"},
		{"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"},
		{"=?gb2312?B?1tDOxA==?=", "中文"},
		{"=?big5?B?pKSk5Q==?=", "中文"},
		{"=?euc-kr?B?x9GxuQ==?=", "한국"},
		{"=?shift_jis?B?k/qWew==?=", "日本"},
		{"=?cp1252?q?=80?=", "€"},
		{"=?utf-7?q?Hi_Mom_+Jjo-!_A+ImIDkQ.?=", "Hi Mom ☺! A≢Α."}, // RFC 2152
		{"=?unicode-1-1-utf-7?q?1_+-_1_+AGE?=", "1 + 1 a"},
		{"=?utf-8*de?q?=C3=BC?=", "ü"},
		// RFC 2047 §8
		{"=?ISO-8859-1?Q?a?= b", "a b"},
		{"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
		{"=?ISO-8859-1?Q?a?=  \t =?UTF-8?Q?b?=", "ab"},
		{"=?ISO-8859-1?Q?a_b?=", "a b"},
		{"x =?utf-8?q?y?= z", "x y z"},
		{"(=?utf-8?q?y?=)", "(y)"},
		{"=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"}, // a character split over two words
		{"=?utf-8?b?w7w?=", "ü"},                 // padding missing
		{"=?utf-8?q?a b?=", "a b"},               // a space that must not be there
		{"=?x-unknown?q?=E9?= x", "=?x-unknown?q?=E9?= x"},
		{"=?utf-8?x?y?=", "=?utf-8?x?y?="},
		{"=?utf-8?q?no end", "=?utf-8?q?no end"},
		{"a =? b ?= c", "a =? b ?= c"},
		{"=?utf-8?q?=ZZ=4?=", "=ZZ=4"},
		{"=?utf-8?q?=FF?=", "ÿ"}, // the charset is a lie: read as windows-1252
		{"raw \xe9", "raw é"},
		{"raw \xc3\xa9 =?utf-8?q?=C3=A9?=", "raw é é"},
		{"=?utf-8?q?a=0D=0ABcc:_x=00?=", "a  Bcc: x "},
		{"line\u2028end\u0085", "line end "},
		{"=?=?utf-8?q?x?=", "=?x"},
	} {
		if got := DecodeWords(tt.in); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

// TestDecodeWordsHostile decodes what makes a careless reader look to the end of the value again and again.
func TestDecodeWordsHostile(t *testing.T) {
	in := strings.Repeat("=?utf-8?q?x ", 100_000)
	if got := DecodeWords(in); got != in {
		t.Errorf("words without an end changed: %.80q", got)
	}
}

func TestDecodeCharset(t *testing.T) {
	if got, ok := DecodeCharset("x-nobody-knows", []byte("caf\xe9")); got != "café" || ok {
		t.Errorf("unknown charset: %q %v", got, ok)
	}
	if got, ok := DecodeCharset(" UTF-8 ", []byte("café")); got != "café" || !ok {
		t.Errorf("utf-8: %q %v", got, ok)
	}
	if got, ok := DecodeCharset("utf-16le", []byte("a\x00b\x00")); got != "ab" || !ok {
		t.Errorf("utf-16: %q %v", got, ok)
	}
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "=?=?=?utf-8?b?====?=", "a\xff=?x?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := DecodeWords(in)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00\u2028") {
			t.Fatalf("%q: %q", in, got)
		}
		if !strings.Contains(in, "=?") && utf8.ValidString(in) && !strings.ContainsFunc(in, func(r rune) bool { return r < ' ' || r >= 0x7f }) && got != in {
			t.Fatalf("plain %q became %q", in, got)
		}
	})
}

// TestEncodeWords: what is written can be read, and keeps to the lengths of RFC 2047 §2.
func TestEncodeWords(t *testing.T) {
	for _, plain := range []string{"", "Your order: 100 % sure?", "a\tb"} {
		if got := EncodeWords(plain, 9); got != plain {
			t.Errorf("%q became %q", plain, got)
		}
	}
	for _, text := range []string{
		"ü", "Grüße aus Köln, wo wir auf Ihre Antwort warten, und zwar schon seit dem vergangenen Mittwoch, dem 25.",
		strings.Repeat("x", 200) + "ü", strings.Repeat("日本語", 40), "=?utf-8?q?no?= word", "one =? two", " ü ", "a ü  b",
		"tab\tand ü", "🙂 _=?.,", strings.Repeat("é ", 60),
	} {
		for _, col := range []int{0, 9, 20, 60, 70, 90} {
			written := EncodeWords(text, col)
			if got := DecodeWords(strings.ReplaceAll(written, "\r\n ", " ")); got != strings.ReplaceAll(text, "\t", " ") {
				t.Errorf("%q behind %d columns is read as %q", text, col, got)
			}
			for i, line := range strings.Split(written, "\r\n") {
				word := strings.TrimPrefix(line, " ")
				if i == 0 && col > 50 {
					continue // it may hold no more than the shell of a word, which cannot be shorter
				}
				if taken := map[bool]int{true: col}[i == 0]; taken+len(line) > 76 || len(word) > 75 {
					t.Errorf("%q behind %d columns: the line %q", text, col, line)
				}
				if got := DecodeWords(word); !utf8.ValidString(got) || strings.ContainsRune(got, utf8.RuneError) || strings.Contains(word, " ") {
					t.Errorf("%q: the word %q is read as %q", text, word, got)
				}
			}
		}
	}
}
