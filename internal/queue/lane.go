package queue

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/egress"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

// The two classes of a lane, in the order they are served.
const (
	classTransactional = iota
	classBulk
	classes
)

func classOf(s mail.Stream) int {
	if s == mail.Bulk {
		return classBulk
	}
	return classTransactional
}

// lane is one way out and the mail that waits for it in memory.
type lane struct {
	id       mail.Lane
	name     string
	route    *platform.Route
	maxRcpt  int
	group    *group
	gates    []*gate // those of lane, receiver, source and route that exist
	flows    map[flowKey]*flow
	rounds   [classes]ring[*flow] // flows with mail that may go, in turn
	turn     int                  // picks since bulk had one
	ready    int                  // entries in rounds
	waiting  int                  // entries in all flows
	busy     int                  // jobs in hand
	sessions int
	hungry   bool       // has mail that may go and no session; counted in group.hungry
	idle     []*session // waiting for a job, the one used last at the end
	hurry    timer      // opens one more session when mail waits too long on busy ones
	lastPick time.Time
	// suspended is the name of the hold that suspends the lane.
	suspended string
}

type flowKey struct {
	acct  *account
	class int
}

// flow is the mail of one account and stream in a lane, first in, first out. Flows share the lane by deficit round
// robin; a delivery costs one.
type flow struct {
	lane    *lane
	acct    *account
	class   int
	entries ring[*entry]
	credit  int
	round   link[*flow] // in lane.rounds while it has mail that may go
	share   link[*flow] // in its account's share of the group, likewise
	gate    *gate       // rests the account at this receiver; nil: none
}

func (c *core) lane(id mail.Lane, r *platform.Route) *lane {
	l := c.lanes[id]
	if l != nil {
		return l
	}
	l = &lane{id: id, name: id.String(), route: r, maxRcpt: egress.MaxRecipients(r), flows: map[flowKey]*flow{}}
	l.hurry.wake = l
	l.group = c.group(l)
	l.group.lanes = append(l.group.lanes, l)
	if len(c.gates) > 0 {
		for _, k := range laneGates(id) {
			if g := c.gates[k]; g != nil {
				l.gates = append(l.gates, g)
				g.lanes = append(g.lanes, l)
			}
		}
	}
	l.suspended = c.suspends(id)
	c.lanes[id] = l
	return l
}

// dropLane forgets a lane that has neither mail nor sessions.
func (c *core) dropLane(l *lane) {
	if l.waiting > 0 || l.sessions > 0 {
		return
	}
	c.timers.stop(&l.hurry)
	delete(c.lanes, l.id)
	for _, g := range l.gates {
		g.lanes = remove(g.lanes, l)
	}
	for _, f := range l.flows {
		if f.gate != nil {
			f.gate.flows = remove(f.gate.flows, f)
		}
	}
	g := l.group
	if g.lanes = remove(g.lanes, l); len(g.lanes) == 0 {
		c.timers.stop(&g.timer)
		g.waits.remove()
		delete(c.groups, g.key)
	}
}

func remove[T comparable](list []T, x T) []T {
	if i := slices.Index(list, x); i >= 0 {
		list[i] = list[len(list)-1]
		clear(list[len(list)-1:])
		list = list[:len(list)-1]
	}
	return list
}

func (c *core) flow(l *lane, a *account, class int) *flow {
	k := flowKey{a, class}
	f := l.flows[k]
	if f == nil {
		f = &flow{lane: l, acct: a, class: class}
		f.round.item, f.share.item = f, f
		if len(c.gates) > 0 {
			if f.gate = c.gates[accountGate(a.name, l.id)]; f.gate != nil {
				f.gate.flows = append(f.gate.flows, f)
			}
		}
		l.flows[k] = f
	}
	return f
}

// enqueue puts an entry into its lane.
func (c *core) enqueue(e *entry, l *lane) {
	f := c.flow(l, e.q.acct, classOf(e.q.id.key.Stream))
	if g := c.restsFlow(f); (g != nil || l.suspended != "") && (f.entries.n >= c.restWindow || c.crowds(e.q)) {
		c.blockFor(e.q, l, g)
		c.putBack(e)
		c.dropLane(l)
		return
	}
	e.state, e.flow, e.behind = stLane, f, nil
	f.entries.push(&e.at)
	l.waiting++
	if f.round.in != nil {
		l.count(1)
	} else {
		c.activate(f)
	}
	c.serve(l, e.q.acct)
}

// blockFor blocks a queue because of gate g or, without one, the hold that suspends the lane.
func (c *core) blockFor(q *queue, l *lane, g *gate) {
	if g != nil {
		c.block(q, g, "")
	} else {
		c.block(q, nil, "lane "+l.name+" is suspended by hold "+l.suspended)
	}
}

// unqueue takes a waiting entry out of its lane.
func (c *core) unqueue(e *entry) {
	f := e.flow
	l := f.lane
	e.at.remove()
	e.flow = nil
	l.waiting--
	if f.round.in != nil {
		l.count(-1)
		if f.entries.n == 0 {
			c.deactivate(f)
		}
	}
	if f.entries.n == 0 && len(l.flows) > maxIdleFlows && f.gate == nil {
		delete(l.flows, flowKey{f.acct, f.class})
	}
}

// maxIdleFlows bounds the empty flows a lane keeps for their next mail.
const maxIdleFlows = 64

// activate lets a flow take part in its lane's rounds, if it may.
func (c *core) activate(f *flow) {
	if f.round.in != nil || f.entries.n == 0 || f.gate != nil && !f.gate.passable(c) {
		return
	}
	l := f.lane
	l.rounds[f.class].push(&f.round)
	f.credit = 0
	l.group.join(f)
	l.count(f.entries.n)
}

func (c *core) deactivate(f *flow) {
	if f.round.in == nil {
		return
	}
	l := f.lane
	f.round.remove()
	l.group.part(f)
	l.count(-f.entries.n)
	if l.ready == 0 {
		c.timers.stop(&l.hurry)
	}
}

// count books n more entries that may go.
func (l *lane) count(n int) {
	l.ready += n
	l.group.ready += n
	l.noteHunger()
}

// noteHunger keeps group.hungry right after ready or sessions changed.
func (l *lane) noteHunger() {
	if hungry := l.ready > 0 && l.sessions == 0; hungry != l.hungry {
		if l.hungry = hungry; hungry {
			l.group.hungry++
		} else {
			l.group.hungry--
		}
	}
}

// served returns the flow whose turn it is, or nil. Its first entry is to be taken next; charge follows.
func (l *lane) served() *flow {
	class := classTransactional
	if l.rounds[classTransactional].n == 0 || l.rounds[classBulk].n > 0 && l.turn >= bulkTurn-1 {
		class = classBulk
	}
	r := &l.rounds[class]
	if r.n == 0 {
		return nil
	}
	for r.head.item.credit <= 0 {
		f := r.head.item
		if f.credit += f.acct.weight; f.credit <= 0 {
			r.turn()
		}
	}
	return r.head.item
}

// charge books n deliveries taken from a flow that served returned, and passes the turn on when it is used up.
func (l *lane) charge(f *flow, n int) {
	if f.class == classBulk {
		l.turn = 0
	} else if l.rounds[classBulk].n > 0 {
		l.turn++
	}
	if f.credit -= n; f.credit <= 0 && f.round.in != nil && l.rounds[f.class].head == &f.round {
		l.rounds[f.class].turn()
	}
}

// closed reports whether nothing may be started on the lane now.
func (l *lane) closed(c *core) bool {
	if c.stopping || l.suspended != "" {
		return true
	}
	for _, g := range l.gates {
		if !g.open(c) {
			return true
		}
	}
	return false
}

// wanted is how many sessions the lane's mail calls for: few for little, all for much. A backlog of one opens one.
func (l *lane) wanted(c *core) int {
	for _, g := range l.gates {
		if g.fails > 0 {
			return 1 // a rest is just over: probe first
		}
	}
	n := l.ready + l.busy
	limit := float64(l.group.limit(c))
	want := int(math.Ceil(limit * (1 - math.Exp(-0.023*float64(n)))))
	// Slow start: one connection finds out whether anybody answers, each that works allows two more.
	most := 2*l.group.proven + 1
	if l.ready > 0 && c.now.Sub(l.lastPick) >= patience && l.busy >= l.sessions {
		want = max(want, l.sessions+1)
		most++
	}
	return min(want, n, most)
}

// serve gives a lane's mail to a session that waits for it, or opens one. a is the account whose mail came in, nil:
// whoever is first.
func (c *core) serve(l *lane, a *account) {
	for l.ready > 0 && len(l.idle) > 0 {
		s := l.idle[len(l.idle)-1]
		if !c.request(s) {
			break
		}
	}
	for l.ready > 0 && len(l.idle) == 0 && l.sessions < l.wanted(c) && c.mayOpen(l) {
		if !c.openFor(l, a) {
			break
		}
	}
	if l.ready > 0 && l.sessions > 0 && l.hurry.pos == 0 && !l.closed(c) {
		c.timers.set(&l.hurry, later(l.lastPick.Add(patience), c.now.Add(patience/4)))
	}
	c.dropLane(l)
}

// wake implements waker: mail has been waiting.
func (l *lane) wake(c *core) {
	if c.lanes[l.id] == l {
		c.serve(l, nil)
	}
}

// dismiss ends the sessions of a lane that have nothing in hand.
func (l *lane) dismiss(c *core) {
	for len(l.idle) > 0 {
		c.refuse(l.idle[len(l.idle)-1])
	}
}

func (c *core) sortedLanes() []*lane {
	ls := make([]*lane, 0, len(c.lanes))
	for _, l := range c.lanes {
		ls = append(ls, l)
	}
	slices.SortFunc(ls, func(a, b *lane) int { return strings.Compare(a.name, b.name) })
	return ls
}

// grant is a job handed to a session.
type grant struct {
	job     mail.Job
	spool   int
	entries []*entry
	marks   []spool.MarkChange
	message *message

	oneD [1]*mail.Delivery
	oneN [1]int
	oneE [1]*entry
	oneM [1]spool.MarkChange
}

// markedDelivery is a record with its mark, in one piece of memory.
type markedDelivery struct {
	d mail.Delivery
	m mail.Mark
}

// pick takes the next job from the lane, or returns nil. What is over on the way ends.
func (c *core) pick(s *session) *grant {
	l := s.lane
	for {
		f := l.served()
		if f == nil {
			return nil
		}
		e := f.entries.head.item
		if !c.now.Before(e.d.ExpiresAt) {
			c.take(e)
			c.dispatch(e) // expires it, or keeps it if the clock is in doubt
			continue
		}
		if c.listed(e) {
			c.take(e)
			c.askList(e)
			continue
		}
		g := &grant{spool: e.q.id.spool, message: e.m}
		g.entries, g.marks = g.oneE[:0], g.oneM[:0]
		g.job = mail.Job{Lane: l.id, Message: e.m.m, Body: e.m.body, Deliveries: g.oneD[:0], Attempts: g.oneN[:0]}
		for {
			c.take(e)
			c.mark(e, s, g)
			// Only the deliveries right behind it: those of one acceptance came in together.
			// Private copies differ, so each has a transaction of its own.
			if len(g.entries) >= l.maxRcpt || f.entries.n == 0 || e.m.m.Content.Kind == mail.ContentPrivate {
				break
			}
			if e = f.entries.head.item; e.m != g.message || e.q.id.spool != g.spool || !c.now.Before(e.d.ExpiresAt) || c.listed(e) {
				break
			}
		}
		l.charge(f, len(g.entries))
		if f.gate != nil && f.gate.fails > 0 {
			g.entries[0].probe = f.gate // one job finds out; the rest of the account's mail waits for its outcome
			f.gate.probe(c)
		}
		return g
	}
}

// mark begins an attempt of e.
func (c *core) mark(e *entry, s *session, g *grant) {
	n := e.d.Attempts + 1
	next := c.now.Add(c.schedule(e.q.id.key.Stream).After(n, c.rng.Float64()))
	if next.After(e.d.ExpiresAt) {
		next = e.d.ExpiresAt
	}
	md := &markedDelivery{d: *e.d, m: mail.Mark{Attempt: n, Route: s.lane.id.Route, Source: s.lane.id.Source, At: c.now}}
	md.d.Mark, md.d.Attempts, md.d.Due = &md.m, n, next
	g.marks = append(g.marks, spool.MarkChange{Delivery: e.d, Mark: md.m, Next: next})
	e.due, e.picked, e.sess, e.state = e.d.Due, c.now, s, stFlight
	e.d = &md.d
	g.entries = append(g.entries, e)
	g.job.Deliveries = append(g.job.Deliveries, e.d)
	g.job.Attempts = append(g.job.Attempts, n)
	c.stats.Picked++
}
