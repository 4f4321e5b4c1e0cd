package main

import (
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	now := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-06-30T08:00:00+02:00": time.Date(2026, 6, 30, 6, 0, 0, 0, time.UTC), "2026-06-30": time.Date(2026, 6, 30, 0, 0, 0, 0, time.UTC),
		"2026-06-30T08:00": time.Date(2026, 6, 30, 8, 0, 0, 0, time.UTC), "36h": now.Add(-36 * time.Hour), "3d": now.AddDate(0, 0, -3), "0h": now,
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
