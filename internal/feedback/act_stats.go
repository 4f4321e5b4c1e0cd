package feedback

import "sync/atomic"

// actCounters count what an Actor did since the start.
type actCounters struct{ seen, counted, suppressed atomic.Uint64 }

// ActStats is what an Actor did since the start.
type ActStats struct {
	Seen       uint64 // events that were looked at
	Counted    uint64 // that spoke against their address
	Suppressed uint64 // that put it on the list
	Guarded    int    // receivers that are doubted now
}

// Stats returns the counters. It may be called at any time.
func (a *Actor) Stats() ActStats {
	return ActStats{
		Seen: a.stats.seen.Load(), Counted: a.stats.counted.Load(), Suppressed: a.stats.suppressed.Load(), Guarded: a.watch.open(),
	}
}
