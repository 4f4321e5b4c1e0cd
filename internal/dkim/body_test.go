package dkim

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// relaxedBody is the definition of RFC 6376 §3.4.4 written down step by step, slow and plain: what BodyHasher is
// held against.
func relaxedBody(body []byte) []byte {
	lines := bytes.Split(body, []byte("\r\n"))
	var out []byte
	for _, l := range lines {
		l = wspRuns.ReplaceAll(l, []byte(" "))
		out = append(append(out, bytes.TrimRight(l, " ")...), "\r\n"...)
	}
	for bytes.HasSuffix(out, []byte("\r\n\r\n")) {
		out = out[:len(out)-2]
	}
	if string(out) == "\r\n" {
		return nil
	}
	return out
}

var wspRuns = regexp.MustCompile(`[ \t]+`)

func hashInPieces(body []byte, piece func() int) ([32]byte, BodyFacts) {
	h := NewBodyHasher()
	for len(body) > 0 {
		n := min(max(1, piece()), len(body))
		h.Write(body[:n])
		body = body[n:]
	}
	sum := h.Sum()
	return sum, h.Facts()
}

func plainFacts(body []byte) (f BodyFacts) {
	for _, l := range bytes.Split(body, []byte("\r\n")) {
		f.MaxLine = max(f.MaxLine, len(l))
		f.BareCR = f.BareCR || bytes.IndexByte(l, '\r') >= 0
		f.BareLF = f.BareLF || bytes.IndexByte(l, '\n') >= 0
	}
	f.NUL = bytes.IndexByte(body, 0) >= 0
	for _, c := range body {
		f.EightBit = f.EightBit || c >= 0x80
	}
	return f
}

func TestBodyHasher(t *testing.T) {
	// RFC 6376 §3.4.4: the hash of an empty body.
	if got := NewBodyHasher().Sum(); base64.StdEncoding.EncodeToString(got[:]) != "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" {
		t.Errorf("empty body: %x", got)
	}
	for _, tt := range []struct{ body, want string }{
		{"", ""},
		{"\r\n", ""},
		{"\r\n\r\n\r\n", ""},
		{" \r\n\t\r\n", ""},
		{"  ", ""},
		{"a", "a\r\n"},
		{"a\r\n", "a\r\n"},
		{"a\r\n\r\n \r\n", "a\r\n"},
		{"a  ", "a\r\n"},
		{" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"}, // RFC 6376 §3.4.5
		{"\r\n\r\na\r\n", "\r\n\r\na\r\n"},
		{"a \t b", "a b\r\n"},
		{"\ta", " a\r\n"},
		{"a\rb", "a\rb\r\n"},
		{"a \r b", "a \r b\r\n"},
		{"a\nb \n", "a\nb \n\r\n"},
		{"a\r", "a\r\r\n"},
		{"a\r\r\n", "a\r\r\n"},
		{"a\r\n\r", "a\r\n\r\r\n"},
		{strings.Repeat("12345678", 40) + " ", strings.Repeat("12345678", 40) + "\r\n"},
		{"1234567  12345678", "1234567 12345678\r\n"},
		{"1234567 12345678 ", "1234567 12345678\r\n"},
		{"caf\xc3\xa9 \xff\r\n", "caf\xc3\xa9 \xff\r\n"},
	} {
		if got := string(relaxedBody([]byte(tt.body))); got != tt.want {
			t.Fatalf("the plain definition gives %q for %q, want %q", got, tt.body, tt.want)
		}
		for size := 1; size <= len(tt.body)+1; size++ {
			sum, facts := hashInPieces([]byte(tt.body), func() int { return size })
			if sum != sha256.Sum256([]byte(tt.want)) {
				t.Errorf("%q in pieces of %d: hash differs from that of %q", tt.body, size, tt.want)
			}
			if want := plainFacts([]byte(tt.body)); facts != want {
				t.Errorf("%q in pieces of %d: facts %+v, want %+v", tt.body, size, facts, want)
			}
		}
	}
}

func TestBodyHasherRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "bc", " ", "  ", "\t", "\r\n", "\r\n", "\r\n\r\n", "\r", "\n", "\x00", "\xe9", "12345678", "word ", strings.Repeat("x", 300)}
	for range 3000 {
		var body []byte
		for range rnd.IntN(60) {
			body = append(body, alphabet[rnd.IntN(len(alphabet))]...)
		}
		sum, facts := hashInPieces(body, func() int { return rnd.IntN(40) })
		if sum != sha256.Sum256(relaxedBody(body)) {
			t.Fatalf("hash of %q differs from the plain definition", body)
		}
		if want := plainFacts(body); facts != want {
			t.Fatalf("facts of %q: %+v, want %+v", body, facts, want)
		}
	}
}

func TestBodyHasherReset(t *testing.T) {
	h := NewBodyHasher()
	h.Write([]byte("something\x00 \r"))
	h.Sum()
	h.Reset()
	h.Write([]byte("a\r\n"))
	if h.Sum() != sha256.Sum256([]byte("a\r\n")) || h.Facts() != (BodyFacts{MaxLine: 1}) {
		t.Errorf("Reset left something: %+v", h.Facts())
	}
}

func FuzzBodyHasher(f *testing.F) {
	f.Add([]byte("a  b \r\n\r\n c\r\n\r\n"), byte(3))
	f.Add([]byte("12345678 1234567\t\r\r\n\n"), byte(1))
	f.Fuzz(func(t *testing.T, body []byte, size byte) {
		sum, facts := hashInPieces(body, func() int { return int(size) })
		if sum != sha256.Sum256(relaxedBody(body)) {
			t.Fatalf("hash of %q in pieces of %d differs from the plain definition", body, size)
		}
		if want := plainFacts(body); facts != want {
			t.Fatalf("facts of %q: %+v, want %+v", body, facts, want)
		}
	})
}

func textBody(size int) []byte {
	line := "The quick brown fox jumps over the lazy dog, and then rests for a while.\r\n"
	return []byte(strings.Repeat(line, size/len(line)+1)[:size])
}

func BenchmarkBodyHash(b *testing.B) {
	for _, size := range []int{4 << 10, 75 << 10} {
		body := textBody(size)
		name := map[int]string{4 << 10: "4KiB", 75 << 10: "75KiB"}[size]
		b.Run(name, func(b *testing.B) {
			h := NewBodyHasher()
			b.SetBytes(int64(size))
			for b.Loop() {
				h.Reset()
				h.Write(body)
				h.Sum()
			}
		})
		b.Run(name+"/sha256-alone", func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				sha256.Sum256(body)
			}
		})
	}
}
