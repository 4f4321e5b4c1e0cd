package dns

import (
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		err      error
	}{
		{"example.com", "example.com", nil},
		{"Example.COM.", "example.com", nil},
		{"_25._tcp.mx-1.example.com", "_25._tcp.mx-1.example.com", nil},
		{"xn--bcher-kva.example", "xn--bcher-kva.example", nil},
		{"com", "com", nil},
		{"", "", errNameEmpty},
		{".", "", errNameEmpty},
		{"example.com..", "", errNameEmpty},
		{".example.com", "", errNameEmpty},
		{"bücher.example", "", errNameOctet},
		{`a\.b.example`, "", errNameOctet},
		{"a b", "", errNameOctet},
		{strings.Repeat("a", 63) + ".com", strings.Repeat("a", 63) + ".com", nil},
		{strings.Repeat("a", 64) + ".com", "", errNameLong},
		{strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a", nil},
		{strings.Repeat("a.", 126) + "aa", "", errNameLong},
	} {
		got, err := canonical(tt.in)
		if got != tt.want || err != tt.err {
			t.Errorf("canonical(%.70q) = %.70q, %v; want %.70q, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestCanonicalDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { canonical("mail.example.com") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
