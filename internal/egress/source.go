package egress

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// Resting is the Source.State of a source that sends nothing for now.
const Resting = "resting"

// ErrNoSource is wrapped by every error of Sources: the delivery waits, it never bounces for it.
var ErrNoSource = errors.New("no source")

// Sources returns the sources a delivery may leave from by the route, in the pool's order. The list is empty, without
// an error, where the route has no pool and the system chooses the address. It skips resting and unknown sources.
func Sources(snap *platform.Snapshot, route *platform.Route, account string) ([]*platform.Source, error) {
	if route.Pool == "" {
		return nil, nil
	}
	pool := snap.Pool(route.Pool)
	if pool == nil {
		return nil, fmt.Errorf("egress: %w: route %s names pool %s, which does not exist", ErrNoSource, route.Name, route.Pool)
	}
	if len(pool.Accounts) > 0 && !slices.Contains(pool.Accounts, account) {
		return nil, fmt.Errorf("egress: %w: pool %s is dedicated to other accounts", ErrNoSource, pool.Name)
	}
	var usable []*platform.Source
	for _, name := range pool.Sources {
		if s := snap.Source(name); s != nil && s.State != Resting {
			usable = append(usable, s)
		}
	}
	if len(usable) == 0 {
		return nil, fmt.Errorf("egress: %w: every source of pool %s is resting or unknown", ErrNoSource, pool.Name)
	}
	return usable, nil
}

// Rotation deals mail out over sources by weight (smooth weighted round robin: no source gets a run of its whole
// weight). The zero value is ready. One goroutine at a time may use it.
type Rotation struct {
	credit []share
}

type share struct {
	source string
	credit int
}

// Choice says what is special about one delivery's choice of a source.
type Choice struct {
	// Keep is the source that met greylisting: greylists key on the address, so it is kept. "": none.
	Keep string
	// Avoid is the source that was refused for its reputation; taken again only if it is the only one. "": none.
	Avoid string
	// Blocked reports a source that cannot send at all just now; nil: none. If all are, one of them is chosen and
	// the delivery waits in its lane.
	Blocked func(source string) bool
}

// Next chooses one of the sources, which must not be empty.
func (r *Rotation) Next(sources []*platform.Source, c Choice) *platform.Source {
	if len(sources) == 1 {
		return sources[0]
	}
	if c.Keep != "" {
		for _, s := range sources {
			if s.Name == c.Keep {
				return s
			}
		}
	}
	usable := func(s *platform.Source) bool {
		return s.Name != c.Avoid && (c.Blocked == nil || !c.Blocked(s.Name))
	}
	if !slices.ContainsFunc(sources, usable) {
		usable = func(s *platform.Source) bool { return s.Name != c.Avoid }
		if !slices.ContainsFunc(sources, usable) {
			usable = func(*platform.Source) bool { return true }
		}
	}
	r.match(sources)
	best, total := -1, 0
	for i, s := range sources {
		if !usable(s) {
			continue
		}
		w := max(s.Weight, 1)
		total += w
		r.credit[i].credit += w
		if best < 0 || r.credit[i].credit > r.credit[best].credit {
			best = i
		}
	}
	r.credit[best].credit -= total
	return sources[best]
}

// match makes the credits those of the sources, keeping what is known of each.
func (r *Rotation) match(sources []*platform.Source) {
	if len(r.credit) == len(sources) {
		same := true
		for i, s := range sources {
			if r.credit[i].source != s.Name {
				same = false
				break
			}
		}
		if same {
			return
		}
	}
	old := r.credit
	r.credit = make([]share, len(sources))
	for i, s := range sources {
		r.credit[i].source = s.Name
		for _, o := range old {
			if o.source == s.Name {
				r.credit[i].credit = o.credit
			}
		}
	}
}

// GreylistFor is how long the source that met greylisting is kept for a delivery.
const GreylistFor = 4 * time.Hour

// ChoiceOf returns what a delivery's history says about its source at the moment now.
func ChoiceOf(d *mail.Delivery, now time.Time) Choice {
	c := Choice{Avoid: d.AvoidSource}
	if d.GreylistedBy != "" && now.Before(d.GreylistUntil) {
		c.Keep = d.GreylistedBy
	}
	return c
}
