package egress

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Rests of a lane after its first, second, … failure in a row; the last one repeats.
var (
	// restNetwork: nobody answers, or the peer says it is not able to. Machines restart in minutes.
	restNetwork = []time.Duration{1 * time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute}
	// restRate: the peer asks us to slow down. It counts our tries, so we begin slower.
	restRate = []time.Duration{2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute}
	// restRefused: somebody has to repair something; each probe is a refused login at the peer, and too many of
	// them lock accounts.
	restRefused = []time.Duration{10 * time.Minute, 20 * time.Minute, 30 * time.Minute, 60 * time.Minute}
)

// BackoffJitter is how much longer than its table says a rest may be drawn, as a fraction: lanes that failed
// together must not come back together.
const BackoffJitter = 0.1

// Backoff returns how long what Effect.Delay names rests after the fails-th failure in a row (from 1). asked is how
// long the peer asked us to wait, or 0; it is never undercut. random is in [0, 1).
func Backoff(effect Effect, class mail.Class, fails int, asked time.Duration, random float64) time.Duration {
	table := restNetwork
	switch {
	case effect.PauseRoute, effect.Delay == ExtentAccount && class != mail.ClassRateLimited:
		table = restRefused
	case class == mail.ClassRateLimited, class == mail.ClassPolicySpam, class == mail.ClassBlocklistedIP:
		table = restRate
	}
	rest := table[min(max(fails, 1), len(table))-1]
	rest += time.Duration(float64(rest) * BackoffJitter * random)
	return max(rest, asked)
}
