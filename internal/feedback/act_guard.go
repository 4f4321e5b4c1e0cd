package feedback

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/platform"
)

// AlertSpike is the kind of alert of a receiver that calls far more recipients unknown than it used to; its scope is
// spikeScope and the receiver.
const (
	AlertSpike = "invalid-recipient-spike"
	spikeScope = "receiver/"
)

// GuardRules say when a receiver's "no such user" is doubted. Receivers have answered so for valid users by mistake, for
// hours; then every address that was mailed meanwhile is on the list. While a receiver is doubted, one such answer
// suppresses nobody: a second one, a day later, is needed.
type GuardRules struct {
	// Factor is how many times its usual rate a receiver's rate of invalid-recipient must be.
	Factor float64
	// MinAnswers and MinInvalid are the least there must be in Recent: small figures jump by themselves.
	MinAnswers, MinInvalid int64
	// Floor is the least that counts as a usual rate; Unknown is taken for it where Baseline has fewer than
	// MinBaseline answers.
	Floor, Unknown float64
	MinBaseline    int64
	// Burst is the rate of the answers since the last look, MinAnswers of them at least, that is doubted at once: of a receiver
	// that answers much, an hour's figures show its error only after a thousand addresses.
	Burst float64
	// Recent is the time whose rate is looked at, Baseline the time before it that says what is usual. Both are widened
	// to whole hours.
	Recent, Baseline time.Duration
}

// DefaultGuard are the rules where nothing else is set.
func DefaultGuard() GuardRules {
	return GuardRules{
		Factor: 5, MinAnswers: 50, MinInvalid: 20, Floor: 0.02, Unknown: 0.06, MinBaseline: 500, Burst: 0.5,
		Recent: time.Hour, Baseline: 7 * 24 * time.Hour,
	}
}

// sample is how many answers a receiver gave, and how many of them called the recipient unknown.
type sample struct{ answers, invalid int64 }

func (s sample) rate() float64 {
	if s.answers == 0 {
		return 0
	}
	return float64(s.invalid) / float64(s.answers)
}

// guard is the deterministic core: step takes in what is known of a receiver at a time, and says what is to be told. It
// is not safe for concurrent use.
type guard struct {
	rules  GuardRules
	spikes map[string]spike
}

// spike is a receiver that is doubted.
type spike struct {
	since time.Time
	usual float64   // 0: of before a restart; it is worked out anew
	burst time.Time // when the answers since the last look were looked at; zero: the hour's rate began it, and ends it
}

func newGuard(r GuardRules) *guard { return &guard{rules: r, spikes: map[string]spike{}} }

// figures is the input: what a receiver answered of late, and before that; and since the last look, which was at since.
type figures struct {
	receiver                string
	recent, baseline, burst sample
	since                   time.Time
}

// step begins or ends the doubt in a receiver. A spike ends when the rate is back to half of what began it, or too little
// is answered to tell.
func (g *guard) step(now time.Time, in figures) (tell []platform.Alert) {
	s, doubted := g.spikes[in.receiver]
	usual := s.usual
	if usual == 0 {
		usual = g.usual(in.baseline)
	}
	limit := g.rules.Factor * usual
	if !doubted {
		switch {
		case g.exceeds(in.recent, limit):
			return g.begin(now, in.receiver, in.recent, spike{since: now.Add(-g.rules.Recent).Truncate(time.Hour), usual: usual})
		case g.exceeds(in.burst, max(limit, g.rules.Burst)):
			return g.begin(now, in.receiver, in.burst, spike{since: in.since.Truncate(time.Minute), usual: usual, burst: now})
		}
		return nil
	}
	of := in.recent
	if !s.burst.IsZero() && now.Sub(s.burst) < g.rules.Recent {
		// The hour's rate may never have been high.
		if of = in.burst; of.answers < g.rules.MinAnswers {
			return nil
		}
		s.burst = now
		g.spikes[in.receiver] = s
	}
	if of.answers >= g.rules.MinAnswers && of.rate() >= limit/2 {
		return nil
	}
	delete(g.spikes, in.receiver)
	return []platform.Alert{{Kind: AlertSpike, Scope: spikeScope + in.receiver, Last: now, Count: 1, Cleared: now}}
}

// exceeds reports whether there are answers enough, and at least that part of them calls the recipient unknown.
func (g *guard) exceeds(s sample, limit float64) bool {
	return s.answers >= g.rules.MinAnswers && s.invalid >= g.rules.MinInvalid && s.rate() >= limit
}

// begin begins to doubt a receiver.
func (g *guard) begin(now time.Time, receiver string, of sample, s spike) []platform.Alert {
	g.spikes[receiver] = s
	return []platform.Alert{{
		Kind: AlertSpike, Scope: spikeScope + receiver, Since: now, Last: now, Count: 1,
		Message: fmt.Sprintf("%s calls %.0f %% of recipients unknown (%d of %d answers since %s; usual are %.1f %%): either it errs, or somebody mails a bad list. "+
			"Until it passes one such answer suppresses nobody. If it errs, undo what came before: postroad suppress undo --receiver %s --class invalid-recipient --since %s",
			receiver, 100*of.rate(), of.invalid, of.answers, s.since.UTC().Format(time.RFC3339), 100*s.usual, receiver, s.since.UTC().Format(time.RFC3339)),
	}}
}

func (g *guard) usual(baseline sample) float64 {
	if baseline.answers < g.rules.MinBaseline {
		return g.rules.Unknown
	}
	return max(baseline.rate(), g.rules.Floor)
}

// doubts reports whether a receiver is doubted.
func (g *guard) doubts(receiver string) bool {
	_, ok := g.spikes[receiver]
	return ok
}

// open lists the receivers that are doubted.
func (g *guard) open() []string { return slices.Sorted(maps.Keys(g.spikes)) }
