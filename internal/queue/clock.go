package queue

import (
	"fmt"
	"time"
)

// clockSlack is how far the wall clock may run ahead before expiry is suspended: nothing should bounce because a
// machine woke up in the wrong year.
const clockSlack = time.Hour

// clock watches the wall clock. All times have the monotonic reading of Options.Now, if that gives one.
type clock struct {
	now     func() time.Time
	since   time.Time // the wall clock was right then, as far as we know
	newest  time.Time // newest time the spools had seen when they were opened
	doubted bool
}

func newClock(now func() time.Time) clock { return clock{now: now, since: now()} }

func (k *clock) start(spools []Spool) {
	k.since = k.now()
	for _, sp := range spools {
		k.newest = later(k.newest, sp.NewestAtOpen())
	}
}

// check returns why the clock is in doubt, or "".
func (k *clock) check() string {
	now := k.now()
	steady := now.Sub(k.since) // monotonic
	return doubtOf(now.Round(0), k.since.Round(0), steady, k.newest)
}

// doubtOf compares the wall clock with what else is known of time: since was the wall clock steady ago; newest is
// the newest time found in the spools at start, zero if none. After an hour of even running a start after a long
// time out is taken for what it is.
func doubtOf(wall, since time.Time, steady time.Duration, newest time.Time) string {
	if ahead := wall.Sub(since) - steady; ahead > clockSlack {
		return fmt.Sprintf("the wall clock jumped ahead by %s; nothing expires until it is right again or trusted", ahead.Round(time.Second))
	}
	if ahead := since.Sub(newest); !newest.IsZero() && ahead > clockSlack && wall.Sub(newest) > clockSlack && steady < clockSlack {
		return fmt.Sprintf("at start the wall clock was %s ahead of the newest time in the spool; nothing expires for an hour, or until the clock is trusted",
			ahead.Round(time.Second))
	}
	return ""
}

// checkClock tells the core when the clock begins or ceases to be in doubt. Only the timer loop calls it.
func (q *Queue) checkClock() {
	q.mu.Lock()
	text := q.clock.check()
	changed := (text != "") != q.clock.doubted
	q.clock.doubted = text != ""
	q.mu.Unlock()
	if changed {
		q.step(doubt{text != "", text})
	}
}

// TrustClock says that the wall clock is right after all: expiry goes on.
func (q *Queue) TrustClock() {
	q.mu.Lock()
	q.clock.since, q.clock.newest = q.clock.now(), time.Time{}
	q.mu.Unlock()
	q.checkClock()
}

// ClockDoubted reports whether the wall clock is in doubt, so that expiry is suspended.
func (q *Queue) ClockDoubted() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.clock.check() != ""
}
