package queue

import (
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// session is one run of Options.Session on a lane, as the core sees it.
type session struct {
	id     uint64
	lane   *lane
	acct   *account // on whose behalf it was opened
	jobs   int      // handed out
	proven bool     // it has had an answer to a job: the connection works
	probes []*gate  // gates it is finding out about
	hand   []*entry // of the job in hand, not yet settled
	picked time.Time
	idle   bool
	cut    bool
	timer  timer

	port *port // the shell's side
}

// open starts a session on the lane.
func (c *core) open(l *lane, a *account) {
	c.lastSession++
	s := &session{id: c.lastSession, lane: l, acct: a, port: newPort()}
	s.timer.wake = s
	for _, g := range l.gates {
		if g.fails > 0 {
			g.probing++
			s.probes = append(s.probes, g)
		}
	}
	c.sessions[s.id] = s
	a.sessions++
	l.sessions++
	l.group.sessions++
	l.noteHunger()
	c.stats.SessionsOpened++
	c.do(openSession{s})
}

// want is the input by which a session asks for a job.
type want struct{ s *session }

func (in want) apply(c *core) {
	s := in.s
	if c.request(s) {
		return
	}
	// Nothing to do for it now: it may wait, unless others wait for its place.
	l := s.lane
	if l.closed(c) || c.crowded(s) || s.jobs >= l.group.limits.MessagesPerConnection {
		c.refuse(s)
		return
	}
	if !s.idle {
		s.idle = true
		l.idle = append(l.idle, s)
		c.timers.set(&s.timer, c.now.Add(c.opt.SessionIdle))
	}
}

// crowded reports whether mail waits for a connection that this session takes up.
func (c *core) crowded(s *session) bool {
	g := s.lane.group
	return g.hungry > 0 && g.sessions >= g.limit(c) || c.starved.n > 0 && len(c.sessions) >= c.opt.MaxSessions
}

// request gives the session a job if there is one it may have, and reports whether that was so.
func (c *core) request(s *session) bool {
	l := s.lane
	g := l.group
	if l.ready == 0 || l.closed(c) || s.jobs >= g.limits.MessagesPerConnection {
		return false
	}
	for _, gate := range l.gates { // half open: only the one that probes
		if gate.fails > 0 && !slices.Contains(s.probes, gate) {
			return false
		}
	}
	if s.jobs >= yieldAfter && c.crowded(s) {
		return false
	}
	if !c.pace(g) {
		return false
	}
	j := c.pick(s)
	if j == nil {
		return false
	}
	c.unpark(s)
	s.jobs++
	s.hand = append(s.hand[:0], j.entries...)
	s.picked = c.now
	l.busy++
	l.lastPick = c.now
	c.do(give{s, j})
	return true
}

// refuse tells a session that there is no more for it.
func (c *core) refuse(s *session) {
	c.unpark(s)
	c.do(give{s, nil})
}

func (c *core) unpark(s *session) {
	if s.idle {
		s.idle = false
		c.timers.stop(&s.timer)
		s.lane.idle = slices.DeleteFunc(s.lane.idle, func(x *session) bool { return x == s })
	}
}

// wake implements waker: it has been without work long enough.
func (s *session) wake(c *core) {
	if s.idle {
		c.refuse(s)
	}
}

// abandon is the input of a session that cannot wait for a job any longer.
type abandon struct{ s *session }

func (in abandon) apply(c *core) {
	if in.s.idle {
		c.refuse(in.s)
	}
}

// ended is the input of a session that is over.
type ended struct{ s *session }

func (in ended) apply(c *core) {
	s := in.s
	l := s.lane
	g := l.group
	c.unpark(s)
	for _, e := range slices.Clone(s.hand) {
		// A session owes an outcome for each of its deliveries. Without one nobody knows what became of it.
		c.do(complain{text: "a session ended without an outcome", id: e.d.ID})
		c.settle(s, &mail.Outcome{
			Delivery: e.d.ID, Result: mail.Deferred, Class: mail.ClassNetwork, Scope: mail.ScopeSession, Tried: true,
			Attempt: mail.Attempt{Uncertain: true, Reply: "the session ended without an outcome"},
		})
	}
	for _, gate := range s.probes {
		if gate.fails > 0 && gate.probing > 0 {
			gate.probing--
		}
	}
	delete(c.sessions, s.id)
	s.acct.sessions--
	l.sessions--
	g.sessions--
	if s.proven {
		g.proven--
	}
	l.noteHunger()
	if c.starved.n > 0 {
		if g.ready > 0 && g.waits.in == nil {
			c.starved.push(&g.waits)
		}
		for range c.starved.n {
			first := c.starved.head.item
			first.waits.remove()
			if c.serveGroup(first) {
				break
			}
		}
	} else {
		c.serveGroup(g)
	}
	c.dropLane(l)
}

func (c *core) sortedSessions() []*session {
	ss := make([]*session, 0, len(c.sessions))
	for _, s := range c.sessions {
		ss = append(ss, s)
	}
	slices.SortFunc(ss, func(a, b *session) int { return int(a.id) - int(b.id) })
	return ss
}
