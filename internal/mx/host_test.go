package mx

import "testing"

func TestMatchHost(t *testing.T) {
	for _, tt := range []struct {
		pattern, host string
		want          bool
	}{
		{"mx.example.com", "mx.example.com", true},
		{"MX.example.com.", "mx.example.com", true},
		{"*.example.com", "mx.example.com", true},
		{"*.example.com", "a.mx.example.com", false},
		{"*.example.com", "example.com", false},
		{"*.", "com", false},
		{"*", "mx.example.com", false},
		{"", "mx.example.com", false},
	} {
		if got := matchHost(tt.pattern, tt.host); got != tt.want {
			t.Errorf("matchHost(%q, %q) = %v", tt.pattern, tt.host, got)
		}
	}
}

func TestHostName(t *testing.T) {
	for in, want := range map[string]string{
		"MX.Example.com": "mx.example.com", "mx_1.example.com": "mx_1.example.com", "localhost": "localhost",
		"192.0.2.1": "", "127.1": "", "2130706433": "", "mx.example.1": "", "2001:db8::1": "", "[192.0.2.1]": "",
		"a b": "", `a\.b.example`: "", "": "", "-a.example": "",
	} {
		got, ok := hostName(in)
		if got != want || ok != (want != "") {
			t.Errorf("hostName(%q) = %q, %v", in, got, ok)
		}
	}
}

// FuzzHostName: what passes is a name that can be asked for and logged.
func FuzzHostName(f *testing.F) {
	for _, s := range []string{"mx.example.com", "192.0.2.1", `a\000b`, "[::1]", "xn--bcher-kva.example", "Ünïcode.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, ok := hostName(s)
		if !ok {
			return
		}
		if again, ok := hostName(name); !ok || again != name {
			t.Fatalf("hostName(%q) = %q, then %q, %v", s, name, again, ok)
		}
		for i := range len(name) {
			if c := name[i]; c <= ' ' || c >= 0x7f || 'A' <= c && c <= 'Z' {
				t.Fatalf("hostName(%q) = %q", s, name)
			}
		}
	})
}
