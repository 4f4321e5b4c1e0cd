package queue

import (
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/egress"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// extentPlace is the extent of a gate in front of a domain that could not be located.
const extentPlace egress.Extent = "place"

// gateKey names what a gate rests: an extent, and the part of a lane it covers.
type gateKey struct {
	extent  egress.Extent
	lane    mail.Lane // only the fields the extent names are set
	account string
}

// gate makes mail rest after a failure. It is closed until a time; then it lets one probe through, and it is gone
// with the first success. Its record in the spool keeps it across restarts.
type gate struct {
	key     gateKey
	scope   mail.Scope
	since   time.Time // of the first failure in the row
	until   time.Time
	fails   int // in a row; 0: the gate is gone
	probing int // sessions, or jobs of an account, that are finding out
	last    mail.LastAnswer
	alert   string // kind of alert it raised
	timer   timer
	lanes   []*lane  // existing lanes it covers
	flows   []*flow  // the same for an account
	blocked []*queue // queues that put mail back because of it
}

// open reports whether mail may go as far as this gate is concerned.
func (g *gate) open(c *core) bool { return g.fails == 0 || !c.now.Before(g.until) }

// passable is open for an account's gate, which lets one job through at a time.
func (g *gate) passable(c *core) bool { return g.fails == 0 || g.open(c) && g.probing == 0 }

// laneGates are the keys of all gates that may cover a lane.
func laneGates(l mail.Lane) [4]gateKey {
	return [4]gateKey{
		{extent: egress.ExtentLane, lane: l},
		{extent: egress.ExtentReceiver, lane: mail.Lane{Source: l.Source, Receiver: l.Receiver}},
		{extent: egress.ExtentSource, lane: mail.Lane{Source: l.Source}},
		{extent: egress.ExtentRoute, lane: mail.Lane{Route: l.Route}},
	}
}

func accountGate(account string, l mail.Lane) gateKey {
	k := gateKey{extent: egress.ExtentAccount, account: account, lane: mail.Lane{Receiver: l.Receiver}}
	if l.Receiver == "" {
		k.lane = mail.Lane{Site: l.Site}
	}
	return k
}

func placeGate(k placeKey) gateKey {
	return gateKey{extent: extentPlace, lane: mail.Lane{Route: k.route, Site: k.domain}}
}

// gateFor returns the key of what rests by the effect of a failure on the lane.
func gateFor(extent egress.Extent, l mail.Lane, account string) gateKey {
	keys := laneGates(l)
	switch {
	case extent == egress.ExtentAccount:
		return accountGate(account, l)
	case extent == egress.ExtentReceiver && l.Receiver != "":
		return keys[1]
	case extent == egress.ExtentSource && l.Source != "":
		return keys[2]
	case extent == egress.ExtentRoute:
		return keys[3]
	}
	return keys[0]
}

// name is the key of the gate's record.
func (k gateKey) name() string {
	s := string(k.extent) + ":"
	if k.extent == egress.ExtentAccount {
		s += k.account + ">"
	}
	return s + k.lane.String()
}

// restoreKey makes the key of a record again.
func restoreKey(r spool.LaneRecord) (gateKey, bool) {
	extent, rest, ok := strings.Cut(r.Key, ":")
	k := gateKey{extent: egress.Extent(extent), lane: r.Lane}
	if k.extent == egress.ExtentAccount {
		k.account, _, ok = strings.Cut(rest, ">")
	}
	return k, ok && k.name() == r.Key
}

// rest closes a gate after a failure, for longer each time. A failure while it is closed already is of a dialogue
// that began before: it only heeds what the peer asks for.
func (c *core) rest(k gateKey, effect egress.Effect, o *mail.Outcome) *gate {
	g := c.gates[k]
	if g == nil {
		g = c.newGate(k)
	}
	g.last = answerOf(o, c.now)
	if g.fails > 0 && c.now.Before(g.until) {
		if asked := c.now.Add(o.RetryAfter); asked.After(g.until) {
			g.until = asked
			c.timers.set(&g.timer, g.until)
			c.keep(g)
		}
		return g
	}
	if g.fails == 0 {
		g.since = c.now
	}
	g.fails++
	g.scope = o.Scope
	rest := egress.Backoff(effect, o.Class, g.fails, o.RetryAfter, c.rng.Float64())
	g.until = c.now.Add(time.Duration(float64(rest) * c.opt.Pace))
	c.timers.set(&g.timer, g.until)
	c.stats.LaneRests++
	c.keep(g)
	for _, l := range slices.Clone(g.lanes) {
		l.dismiss(c)
		c.thin(l, g)
	}
	for _, f := range slices.Clone(g.flows) {
		c.deactivate(f)
		c.thinFlow(f, g)
	}
	return g
}

func (c *core) newGate(k gateKey) *gate {
	g := &gate{key: k}
	g.timer.wake = g
	c.gates[k] = g
	switch k.extent {
	case extentPlace:
	case egress.ExtentAccount:
		a := c.account(k.account)
		for _, l := range c.sortedLanes() {
			if accountGate(k.account, l.id) != k {
				continue
			}
			for class := range classes {
				if f := l.flows[flowKey{a, class}]; f != nil {
					f.gate = g
					g.flows = append(g.flows, f)
				}
			}
		}
	case egress.ExtentLane:
		if l := c.lanes[k.lane]; l != nil {
			l.gates = append(l.gates, g)
			g.lanes = append(g.lanes, l)
		}
	default:
		for _, l := range c.sortedLanes() {
			if keys := laneGates(l.id); slices.Contains(keys[:], k) {
				l.gates = append(l.gates, g)
				g.lanes = append(g.lanes, l)
			}
		}
	}
	return g
}

// restPlace closes the gate in front of a domain that could not be located.
func (c *core) restPlace(p *place, o *mail.Outcome) *gate {
	return c.rest(placeGate(p.key), egress.Effect{Delay: egress.ExtentLane}, o)
}

// thin sends what a resting lane need not keep in memory back to the spool.
func (c *core) thin(l *lane, g *gate) {
	for class := range classes {
		for _, f := range l.sortedFlows(class) {
			c.thinFlow(f, g)
		}
	}
}

func (c *core) thinFlow(f *flow, g *gate) {
	for f.entries.n > 0 {
		e := f.entries.head.prev.item
		if f.entries.n <= c.restWindow && !c.crowds(e.q) {
			return
		}
		c.take(e)
		c.block(e.q, g, "")
		c.putBack(e)
	}
}

// evict makes room for an account by sending what it has in front of closed gates and suspended lanes back to the
// spool: mail that cannot go out must not keep out mail that can.
func (c *core) evict(a *account) {
	if c.now.Sub(a.evicted) < evictEvery {
		return
	}
	a.evicted = c.now
	for _, l := range c.sortedLanes() {
		for class := range classes {
			f := l.flows[flowKey{a, class}]
			if f == nil {
				continue
			}
			g := c.restsFlow(f)
			if g == nil && l.suspended == "" {
				continue
			}
			for _, e := range f.entries.all() {
				c.take(e)
				c.blockFor(e.q, l, g)
				c.putBack(e)
			}
		}
		c.dropLane(l)
	}
	for _, g := range c.sortedGates() {
		p := c.places[placeKey{g.key.lane.Route, g.key.lane.Site}]
		if g.key.extent != extentPlace || p == nil || g.open(c) {
			continue
		}
		for _, e := range p.waiting.all() {
			if e.q.acct == a {
				c.take(e)
				c.block(e.q, g, "")
				c.putBack(e)
			}
		}
	}
}

func (l *lane) sortedFlows(class int) []*flow {
	var fs []*flow
	for k, f := range l.flows {
		if k.class == class {
			fs = append(fs, f)
		}
	}
	slices.SortFunc(fs, func(a, b *flow) int { return strings.Compare(a.acct.name, b.acct.name) })
	return fs
}

// wake implements waker: the rest is over, one probe may go.
func (g *gate) wake(c *core) { c.admit(g) }

// admit lets mail at what a gate no longer holds back.
func (c *core) admit(g *gate) {
	blocked := g.blocked
	g.blocked = nil
	for _, q := range blocked {
		c.unblock(q)
	}
	if p := c.places[placeKey{g.key.lane.Route, g.key.lane.Site}]; g.key.extent == extentPlace && p != nil && g.fails > 0 {
		p.wake(c)
	}
	for _, f := range slices.Clone(g.flows) {
		c.activate(f)
		c.serve(f.lane, nil)
	}
	groups := map[*group]bool{}
	for _, l := range slices.Clone(g.lanes) {
		if c.lanes[l.id] == l && !groups[l.group] {
			groups[l.group] = true
			c.serveGroup(l.group)
		}
	}
}

// openGate ends a rest for good.
func (c *core) openGate(g *gate) {
	if g.fails == 0 {
		return
	}
	g.fails, g.probing = 0, 0
	c.timers.stop(&g.timer)
	delete(c.gates, g.key)
	for _, l := range g.lanes {
		l.gates = remove(l.gates, g)
	}
	for _, f := range g.flows {
		f.gate = nil
	}
	c.dropRecord(g.key.name())
	if g.alert != "" {
		c.clearAlert(g.alert, g.subject())
	}
	c.admit(g)
}

// probe notes that one job is finding out for an account.
func (g *gate) probe(c *core) {
	g.probing++
	for _, f := range slices.Clone(g.flows) {
		c.deactivate(f)
	}
}

// tidyGate forgets a gate that nobody has come to since its rest ended long ago, and helps one along whose probe
// was lost.
func (c *core) tidyGate(g *gate) {
	if g.fails == 0 || c.now.Before(g.until) {
		return
	}
	if len(g.lanes) == 0 && len(g.flows) == 0 && len(g.blocked) == 0 && c.now.Sub(g.until) >= gateKept {
		c.openGate(g)
		return
	}
	if g.probing == 0 {
		c.admit(g)
	}
}

// keep writes the gate's record.
func (c *core) keep(g *gate) {
	c.do(&write{lane: &spool.LaneRecord{
		Key: g.key.name(), Lane: g.key.lane, Scope: g.scope, Since: g.since, Until: g.until, Fails: g.fails, Last: g.last,
	}})
}

// subject is what an alert about the gate is about.
func (g *gate) subject() string {
	switch g.key.extent {
	case egress.ExtentRoute:
		return "route/" + g.key.lane.Route
	case egress.ExtentSource:
		return "source/" + g.key.lane.Source
	case egress.ExtentAccount:
		return "account/" + g.key.account
	}
	return "lane/" + g.key.lane.String()
}

// why says in words until when, since when and why mail rests here. People read it who know nothing of lanes.
func (g *gate) why() string {
	l := &g.key.lane
	to := l.Site
	if l.Receiver != "" {
		to = l.Receiver
	}
	from := ""
	if l.Source != "" {
		from = " from source " + l.Source
	}
	what := map[egress.Extent]string{
		egress.ExtentLane: "mail to " + l.Site + " by route " + l.Route + from, extentPlace: "mail to the domain " + l.Site,
		egress.ExtentReceiver: "mail" + from + " to " + to, egress.ExtentSource: "all mail from source " + l.Source,
		egress.ExtentRoute: "all mail by route " + l.Route, egress.ExtentAccount: "mail of account " + g.key.account + " to " + to,
	}[g.key.extent]
	s := "waiting: " + what + " rests until " + g.until.UTC().Format(time.RFC3339) + " (since " + g.since.UTC().Format(time.RFC3339) + ")"
	if g.last.Reply != "" {
		s += " because: " + g.last.Reply
	} else if g.last.Class != "" {
		s += " because: " + string(g.last.Class)
	}
	return s
}

// closedGate returns the gate that keeps a lane's mail for longest, or nil.
func (l *lane) closedGate(c *core) (worst *gate) {
	for _, g := range l.gates {
		if !g.open(c) && (worst == nil || g.until.After(worst.until)) {
			worst = g
		}
	}
	return worst
}

// restsFlow returns the gate that keeps a flow's mail, or nil.
func (c *core) restsFlow(f *flow) *gate {
	if g := f.lane.closedGate(c); g != nil {
		return g
	}
	if f.gate != nil && !f.gate.open(c) {
		return f.gate
	}
	return nil
}

func (c *core) sortedGates() []*gate {
	gs := make([]*gate, 0, len(c.gates))
	for _, g := range c.gates {
		gs = append(gs, g)
	}
	slices.SortFunc(gs, func(a, b *gate) int { return strings.Compare(a.key.name(), b.key.name()) })
	return gs
}

// restore takes up a gate's record at start.
func (c *core) restore(r spool.LaneRecord) {
	if name, ok := strings.CutPrefix(r.Key, holdRecord); ok {
		c.heldSeen[name] = r.Last.Reply
		return
	}
	k, ok := restoreKey(r)
	if !ok || c.gates[k] != nil {
		return
	}
	g := c.newGate(k)
	g.scope, g.since, g.until, g.fails, g.last = r.Scope, r.Since, r.Until, max(r.Fails, 1), r.Last
	c.timers.set(&g.timer, g.until)
}
