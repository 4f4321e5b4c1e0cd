package smtp

import "testing"

func TestXtext(t *testing.T) {
	for _, tt := range []struct{ plain, coded string }{
		{"", ""},
		{"abc@example.com", "abc@example.com"},
		{"a+b=c", "a+2Bb+3Dc"},
		{"a b\r\n", "a+20b+0D+0A"},
		{"\xff\x00", "+FF+00"},
	} {
		if got := string(AppendXtext(nil, tt.plain)); got != tt.coded {
			t.Errorf("AppendXtext(%q) = %q, want %q", tt.plain, got, tt.coded)
		}
		if got, err := ParseXtext(tt.coded); err != nil || got != tt.plain {
			t.Errorf("ParseXtext(%q) = %q, %v; want %q", tt.coded, got, err, tt.plain)
		}
	}
	for _, bad := range []string{"+", "+2", "a+2", "+2G", "+G2", "a b", "a=b", "a\x00", "\x7f", "ü", "a\r"} {
		if got, err := ParseXtext(bad); err == nil {
			t.Errorf("ParseXtext(%q) = %q, want an error", bad, got)
		}
	}
	if got, err := ParseXtext("+2b"); err != nil || got != "+" {
		t.Errorf("lower-case digits: %q, %v", got, err)
	}
}

func FuzzXtext(f *testing.F) {
	f.Add("a+2B b")
	f.Fuzz(func(t *testing.T, s string) {
		back, err := ParseXtext(string(AppendXtext(nil, s)))
		if err != nil || back != s {
			t.Fatalf("%q came back as %q, %v", s, back, err)
		}
		if plain, err := ParseXtext(s); err == nil {
			again, err := ParseXtext(string(AppendXtext(nil, plain)))
			if err != nil || again != plain {
				t.Fatalf("%q: %q came back as %q, %v", s, plain, again, err)
			}
		}
	})
}
