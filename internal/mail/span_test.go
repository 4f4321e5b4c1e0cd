package mail

import (
	"testing"
	"time"
)

func TestParseSpan(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "0d": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "36h": 36 * time.Hour,
		"3d": 3 * day, "2w": 14 * day, "1w2d12h": 9*day + 12*time.Hour, "1d30m": day + 30*time.Minute, "1w1h": 7*day + time.Hour, "35000d": 35_000 * day,
	} {
		if got, err := ParseSpan(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{
		"", "d", "w", "3", "-1h", "+1h", "-3d", "+3d", "3d-1h", "1.5d", "2d1w", "1h2d", "3 d", "3d ", "1d1d", "soon", "2weeks", "5 minutes",
		"35001d", "5001w", "5000w1d", "34999d48h", "840001h", "99999999999d", "9999999999999999999999w", "9999999999h",
	} {
		if got, err := ParseSpan(bad); err == nil {
			t.Errorf("%q passes as %v", bad, got)
		}
	}
}

func FuzzParseSpan(f *testing.F) {
	f.Add("1w2d12h")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := ParseSpan(text); err == nil && (got < 0 || got > maxSpan) {
			t.Errorf("%q is %v", text, got)
		}
	})
}
