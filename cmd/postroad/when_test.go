package main

import (
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	now := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-06-30T08:00:00+02:00": time.Date(2026, 6, 30, 6, 0, 0, 0, time.UTC), "2026-06-30": time.Date(2026, 6, 30, 0, 0, 0, 0, time.UTC),
		"2026-06-30T08:00": time.Date(2026, 6, 30, 8, 0, 0, 0, time.UTC), "36h": now.Add(-36 * time.Hour), "3d": now.AddDate(0, 0, -3), "2w": now.AddDate(0, 0, -14), "0h": now,
	} {
		if got, err := moment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "-1h", "-3d", "yesterday", "2026-13-01", "99999999d"} {
		if _, err := moment(bad, now); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestTimeSpan(t *testing.T) {
	for text, want := range map[string]string{"2d": "48h", "90m": "1h30m", "10m": "10m", "1w": "168h", "100s": "1m40s", "1h5s": "1h0m5s", "10s": "10s", "20h": "20h", "0": ""} {
		var s timeSpan
		if err := s.Set(text); err != nil || s.String() != want {
			t.Errorf("%s is shown as %q (%v), want %q", text, s.String(), err, want)
		}
	}
	if err := new(timeSpan).Set("-1h"); err == nil {
		t.Error("-1h passes")
	}
}
