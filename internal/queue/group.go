package queue

import (
	"time"

	"github.com/postroad/postroad/internal/egress"
)

// groupKey names what limits hold for: a source and a receiver, or one lane where no receiver is recognised.
type groupKey struct {
	source, receiver string
	lane             string // "" where receiver is set
}

// group shares the connections between one source and one receiver among lanes (hosted mail gives each customer a
// site of its own) and among accounts: whoever has none is served first.
type group struct {
	key      groupKey
	limits   egress.Limit
	lanes    []*lane
	sessions int
	proven   int // sessions that have delivered something
	ready    int // entries of all its lanes that may go
	hungry   int // lanes with such entries and no session

	shares map[flowKey]*share
	rounds [classes]ring[*share]
	turn   int

	// ceiling is a lower limit learnt from a peer that serves us but refused one connection more.
	ceiling      int
	ceilingUntil time.Time
	// nextAt is when the next message may begin where a rate is set.
	nextAt time.Time
	timer  timer
	waits  link[*group] // in core.starved
}

// share is an account's mail of one class in a group, over all its lanes.
type share struct {
	key   flowKey
	flows ring[*flow]
	round link[*share]
}

func groupKeyOf(l *lane) groupKey {
	if l.id.Receiver != "" {
		return groupKey{source: l.id.Source, receiver: l.id.Receiver}
	}
	return groupKey{lane: l.name}
}

func (c *core) group(l *lane) *group {
	k := groupKeyOf(l)
	g := c.groups[k]
	if g == nil {
		g = &group{key: k, shares: map[flowKey]*share{}}
		g.timer.wake, g.waits.item = g, g
		c.groups[k] = g
	}
	g.limits = egress.Limits(l.route, l.id.Receiver)
	return g
}

// limit is how many sessions the group may have.
func (g *group) limit(c *core) int {
	if g.ceiling > 0 && c.now.Before(g.ceilingUntil) {
		return min(g.ceiling, g.limits.Connections)
	}
	return g.limits.Connections
}

// join and part keep the shares as flows begin and cease to have mail that may go.
func (g *group) join(f *flow) {
	k := flowKey{f.acct, f.class}
	s := g.shares[k]
	if s == nil {
		s = &share{key: k}
		s.round.item = s
		g.shares[k] = s
	}
	s.flows.push(&f.share)
	if s.round.in == nil {
		g.rounds[f.class].push(&s.round)
	}
}

func (g *group) part(f *flow) {
	s := f.share.in
	f.share.remove()
	if s.n == 0 {
		k := flowKey{f.acct, f.class}
		g.shares[k].round.remove()
		delete(g.shares, k)
	}
}

// mayOpen reports whether the lane may have one more session.
func (c *core) mayOpen(l *lane) bool {
	g := l.group
	return !l.closed(c) && l.probes(c) && g.sessions < g.limit(c)
}

// probes reports whether every gate that was just opened lets one more session through: one at a time.
func (l *lane) probes(c *core) bool {
	for _, g := range l.gates {
		if g.fails > 0 && g.probing > 0 {
			return false
		}
	}
	return true
}

// openFor opens a session on the lane on account a's behalf (nil: of the flow served next). It returns false when
// the total does not allow it; the group then gets its chance when a session ends.
func (c *core) openFor(l *lane, a *account) bool {
	if a == nil {
		f := l.served()
		if f == nil {
			return false
		}
		a = f.acct
	}
	// As with memory: nobody may take more of what is there than it leaves to others, so newcomers find some.
	if free := c.opt.MaxSessions - len(c.sessions); free <= 0 || a.sessions >= max(free, 1) {
		if l.group.waits.in == nil {
			c.starved.push(&l.group.waits)
		}
		return false
	}
	c.open(l, a)
	return true
}

// serveGroup opens sessions for the group's lanes, account after account, as far as the limits go. It returns
// whether it opened any.
func (c *core) serveGroup(g *group) (opened bool) {
	for g.sessions < g.limit(c) && g.ready > 0 {
		l, a := c.neediest(g)
		if l == nil || !c.openFor(l, a) {
			return opened
		}
		opened = true
	}
	return opened
}

// neediest returns the lane that gets the group's next session, and the account on whose behalf.
func (c *core) neediest(g *group) (*lane, *account) {
	order := [classes]int{classTransactional, classBulk}
	if g.rounds[classBulk].n > 0 && g.turn >= bulkTurn-1 {
		order = [classes]int{classBulk, classTransactional}
	}
	for _, class := range order {
		for range g.rounds[class].n {
			s := g.rounds[class].head.item
			g.rounds[class].turn()
			for range s.flows.n {
				l := s.flows.head.item.lane
				s.flows.turn()
				if len(l.idle) == 0 && l.sessions < l.wanted(c) && c.mayOpen(l) {
					if class == classBulk {
						g.turn = 0
					} else {
						g.turn++
					}
					return l, s.key.acct
				}
			}
		}
	}
	return nil, nil
}

// wake implements waker: the group's rate lets a message begin again.
func (g *group) wake(c *core) {
	for _, l := range append([]*lane(nil), g.lanes...) {
		if c.lanes[l.id] == l {
			c.serve(l, nil)
		}
	}
}

// pace reports whether a message may begin now under the group's rate, and books it; if not, it sees to it that the
// group wakes up when one may.
func (c *core) pace(g *group) bool {
	if g.limits.PerSecond <= 0 {
		return true
	}
	if c.now.Before(g.nextAt) {
		c.timers.set(&g.timer, g.nextAt)
		return false
	}
	g.nextAt = c.now.Add(time.Duration(float64(time.Second) / g.limits.PerSecond))
	return true
}
