package webhook

import (
	"net/http"
	"testing"
	"time"
)

func TestPause(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 5 * time.Second, 1: 5 * time.Second, 4: time.Minute, 9: 30 * time.Minute, 500: 30 * time.Minute} {
		low, high := time.Duration(1<<62), time.Duration(0)
		for range 1000 {
			d := pause(n, 0)
			low, high = min(low, d), max(high, d)
		}
		if low < want*8/10 || high > want*12/10 || high-low < want/10 {
			t.Errorf("pause %d lies between %v and %v, want %v give or take a fifth", n, low, high, want)
		}
	}
	if d := pause(1, time.Hour); d != time.Hour {
		t.Errorf("asked for an hour, it is %v", d)
	}
	if d := pause(1, 1000*time.Hour); d != maxRetryAfter {
		t.Errorf("asked for very long, it is %v", d)
	}
	// Over three days an event is tried often enough that a receiver is not missed for long.
	total, n := time.Duration(0), 0
	for total < DefaultGiveUp {
		n++
		total += steps[min(n, len(steps))-1]
	}
	if n < 100 || n > 200 {
		t.Errorf("%d attempts in three days", n)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, " 7 ": 7 * time.Second, "-1": 0, "1.5": 0, "soon": 0, "9999999999": 0, "2000000000": maxRetryAfter,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
		"Wednesday, 01-Jul-26 10:00:30 GMT": 30 * time.Second, "Fri, 31 Dec 9999 23:59:59 GMT": maxRetryAfter,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

// FuzzRetryAfter: whatever a receiver says, the pause stays within its bounds.
func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "120", "Wed, 21 Oct 2015 07:28:00 GMT", "-5", "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if d := retryAfter(value, time.Now()); d < 0 || d > maxRetryAfter {
			t.Errorf("%q: %v", value, d)
		}
	})
}
