package queue

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Schedule says how long after an attempt the next one follows.
type Schedule struct {
	// Steps after the first, second, … attempt; the last one repeats.
	Steps []time.Duration
	// Jitter is how much longer than its step a wait may be drawn, as a fraction; 0: DefaultJitter, negative: none.
	Jitter float64
}

// DefaultJitter of a schedule.
const DefaultJitter = 0.1

// TransactionalSchedule is the default for transactional mail: dense at first, because somebody is waiting.
func TransactionalSchedule() Schedule {
	return Schedule{
		Steps: []time.Duration{
			1 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute,
			1 * time.Hour, 2 * time.Hour, 4 * time.Hour,
		},
		Jitter: DefaultJitter,
	}
}

// BulkSchedule is the default for bulk mail.
func BulkSchedule() Schedule {
	return Schedule{
		Steps:  []time.Duration{10 * time.Minute, 30 * time.Minute, 1 * time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour},
		Jitter: DefaultJitter,
	}
}

// After returns the wait after the n-th attempt (from 1); random is in [0, 1).
func (s Schedule) After(n int, random float64) time.Duration {
	step := s.Steps[min(max(n, 1), len(s.Steps))-1]
	jitter := s.Jitter
	if jitter == 0 {
		jitter = DefaultJitter
	}
	return step + time.Duration(float64(step)*max(jitter, 0)*random)
}

func (c *core) schedule(s mail.Stream) Schedule {
	if s == mail.Bulk {
		return c.opt.Bulk
	}
	return c.opt.Transactional
}
