package feedback

import (
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/platform"
)

func hourly(receiver string, recent, baseline sample) figures {
	return figures{receiver: receiver, recent: recent, baseline: baseline}
}

func TestGuard(t *testing.T) {
	g := newGuard(DefaultGuard())
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	usual := sample{10_000, 300} // 3 %
	for i, c := range []struct {
		in      figures
		doubted bool
		told    string // "", "raised", "cleared"
	}{
		{hourly("bigmail", sample{1000, 149}, usual), false, ""}, // just below five times
		{hourly("bigmail", sample{1000, 150}, usual), true, "raised"},
		{hourly("bigmail", sample{1000, 400}, sample{10_000, 900}), true, ""}, // told once; what is usual stays as it was
		{hourly("bigmail", sample{1000, 80}, usual), true, ""},                // not back to half
		{hourly("bigmail", sample{1000, 74}, usual), false, "cleared"},
		{hourly("bigmail", sample{1000, 149}, usual), false, ""},
		{hourly("small", sample{49, 49}, usual), false, ""},  // too few to tell
		{hourly("small", sample{100, 19}, usual), false, ""}, // the same
		{hourly("clean", sample{1000, 99}, sample{10_000, 0}), false, ""},
		{hourly("clean", sample{1000, 100}, sample{10_000, 0}), true, "raised"}, // five times the floor
		{hourly("new", sample{100, 29}, sample{}), false, ""},
		{hourly("new", sample{100, 30}, sample{}), true, "raised"},  // nothing is known of it
		{hourly("new", sample{10, 10}, sample{}), false, "cleared"}, // silence ends it
		{hourly("never", sample{}, sample{}), false, ""},
	} {
		now = now.Add(time.Minute)
		told := ""
		for _, a := range g.step(now, c.in) {
			if a.Kind != AlertSpike || a.Scope != "receiver/"+c.in.receiver {
				t.Errorf("%d: alert %+v", i, a)
			}
			if told = "raised"; !a.Cleared.IsZero() {
				told = "cleared"
			} else if !strings.Contains(a.Message, "postroad suppress undo --receiver "+c.in.receiver) {
				t.Errorf("%d: the alert does not say what to do: %s", i, a.Message)
			}
		}
		if told != c.told || g.doubts(c.in.receiver) != c.doubted {
			t.Errorf("%d: %+v: told %q, doubted %v; want %q, %v", i, c.in, told, g.doubts(c.in.receiver), c.told, c.doubted)
		}
	}
	if got := g.open(); len(got) != 1 || got[0] != "clean" {
		t.Errorf("open: %v", got)
	}
	// One that stood before a restart ends like any other.
	g = newGuard(DefaultGuard())
	g.spikes["bigmail"] = spike{since: now}
	if tell := g.step(now, hourly("bigmail", sample{1000, 30}, usual)); len(tell) != 1 || tell[0].Cleared.IsZero() {
		t.Errorf("told %+v", tell)
	}
	var _ []platform.Alert = g.step(now, figures{receiver: "bigmail"})
}

// TestGuardBurst: a busy receiver that errs is seen long before its figures of the hour are bad.
func TestGuardBurst(t *testing.T) {
	g := newGuard(DefaultGuard())
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := begin
	usual := sample{1_000_000, 10_000}
	for i, c := range []struct {
		recent, burst sample
		after         time.Duration
		doubted       bool
		told          string
	}{
		{sample{20_000, 200}, sample{60, 29}, time.Minute, false, ""}, // under half
		{sample{20_060, 230}, sample{49, 49}, time.Minute, false, ""}, // too few
		{sample{20_120, 260}, sample{60, 30}, time.Minute, true, "raised"},
		{sample{20_120, 260}, sample{}, time.Minute, true, ""}, // the hour is fine, and says nothing
		{sample{20_180, 290}, sample{60, 6}, 50 * time.Minute, true, ""},
		{sample{20_240, 300}, sample{60, 6}, 50 * time.Minute, true, ""},
		{sample{20_300, 301}, sample{60, 2}, time.Minute, false, "cleared"},
		{sample{20_360, 400}, sample{60, 59}, time.Minute, true, "raised"},
		{sample{20_360, 400}, sample{}, 59 * time.Minute, true, ""},
		{sample{20_360, 400}, sample{}, time.Minute, false, "cleared"}, // nothing more came: the hour ends it
	} {
		now = now.Add(c.after)
		told := ""
		for _, a := range g.step(now, figures{receiver: "bigmail", recent: c.recent, baseline: usual, burst: c.burst, since: now.Add(-90 * time.Second)}) {
			if told = "raised"; !a.Cleared.IsZero() {
				told = "cleared"
			} else if want := "--since " + now.Add(-2*time.Minute).Truncate(time.Minute).Format(time.RFC3339); !strings.Contains(a.Message, want) {
				t.Errorf("%d: the undo of %q should be %s", i, a.Message, want)
			}
		}
		if told != c.told || g.doubts("bigmail") != c.doubted {
			t.Errorf("%d: told %q, doubted %v; want %q, %v", i, told, g.doubts("bigmail"), c.told, c.doubted)
		}
	}
}
