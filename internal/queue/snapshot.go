package queue

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/egress"
	"github.com/postroad/postroad/internal/platform"
)

// snapshotChanged is the input for a new state of the platform. It holds for mail that waits as well, at its next
// pickup: route, pool and source are chosen late.
type snapshotChanged struct{ snap *platform.Snapshot }

func (in snapshotChanged) apply(c *core) {
	old, now := c.snap.State(), in.snap.State()
	changed := c.setSnapshot(in.snap)
	routes := !reflect.DeepEqual(old.Routes, now.Routes)
	if !changed && !routes && reflect.DeepEqual(old.Pools, now.Pools) && reflect.DeepEqual(old.Sources, now.Sources) &&
		reflect.DeepEqual(old.Policies, now.Policies) && reflect.DeepEqual(old.Holds, now.Holds) {
		return
	}
	c.applyHolds(readHolds(in.snap))
	if routes {
		c.refreshRoutes(old.Routes)
	}
	c.redispatch()
}

// setSnapshot takes up the parts of a snapshot that are kept ready, and reports whether an account changed.
func (c *core) setSnapshot(snap *platform.Snapshot) (changed bool) {
	c.snap = snap
	clear(c.sources)
	for _, a := range c.accounts {
		paused, weight := a.paused, a.weight
		c.readAccount(a)
		changed = changed || paused != a.paused || weight != a.weight
	}
	return changed
}

func (c *core) readAccount(a *account) {
	a.paused, a.weight = false, 1
	if p := c.snap.Account(a.name); p != nil {
		a.paused = p.State == platform.AccountPaused
		a.weight = max(p.Weight, 1)
	}
}

// refreshRoutes lets changed routes begin anew: where they lead, their limits, and what rested for them.
func (c *core) refreshRoutes(old []platform.Route) {
	before := map[string]*platform.Route{}
	for i := range old {
		before[old[i].Name] = &old[i]
	}
	same := func(name string) bool {
		a, b := before[name], c.snap.Route(name)
		return a != nil && b != nil && reflect.DeepEqual(a, b)
	}
	for k, p := range c.places {
		if !same(k.route) {
			p.known, p.failed, p.stale = false, nil, p.asking
			p.expires = c.now
		}
	}
	for _, l := range c.sortedLanes() {
		if r := c.snap.Route(l.id.Route); r != nil && !same(r.Name) {
			l.route, l.maxRcpt = r, egress.MaxRecipients(r)
			l.group.limits = egress.Limits(r, l.id.Receiver)
			l.dismiss(c) // connections of the old ways are not used again
		}
	}
	for _, g := range c.sortedGates() {
		if name := g.key.lane.Route; name != "" && !same(name) {
			c.openGate(g)
		}
	}
}

// redispatch sends everything that waits in memory through dispatch again, in the order it came.
func (c *core) redispatch() {
	queues := c.parkedQueues
	c.parkedQueues = nil
	for _, q := range queues {
		if q.blocked && q.gate == nil {
			c.unblock(q)
		}
	}
	paused := false
	for _, a := range c.accounts {
		paused = paused || a.paused
	}
	if paused {
		for _, q := range c.sortedQueues() {
			if q.acct.paused {
				c.block(q, nil, "account "+q.acct.name+" is paused")
			}
		}
	}
	var waiting []*entry
	for _, e := range c.entries {
		if e.waits() {
			waiting = append(waiting, e)
		}
	}
	sortEntries(waiting)
	for _, e := range waiting {
		c.take(e)
	}
	// What stood for want of a route or a source is over, unless it is met again.
	c.met = map[string]bool{}
	for _, e := range waiting {
		e.why = ""
		c.dispatch(e)
	}
	met := c.met
	c.met = nil
	for _, key := range slices.Sorted(maps.Keys(c.alerts)) {
		if kind, scope, _ := strings.Cut(key, " "); (kind == alertNoRoute || kind == alertNoSource) && !met[key] {
			c.clearAlert(kind, scope)
		}
	}
	for _, l := range c.sortedLanes() {
		c.serve(l, nil)
	}
}

func (c *core) sortedQueues() []*queue {
	qs := make([]*queue, 0, len(c.queues))
	for _, q := range c.queues {
		qs = append(qs, q)
	}
	slices.SortFunc(qs, func(a, b *queue) int { return a.id.compare(b.id) })
	return qs
}
