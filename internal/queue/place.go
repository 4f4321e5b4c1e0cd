package queue

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// placeKey names where a domain's mail goes by a route; domain is "" where a route has one place for all.
type placeKey struct{ route, domain string }

// place is the answer of Locate, kept for a while, and the entries that wait for it.
type place struct {
	key     placeKey
	domain  string // asked with
	target  mail.Target
	known   bool
	failed  *mail.Outcome // a final answer: no mail can go there
	expires time.Time
	asking  bool
	stale   bool // asked under a snapshot that is gone
	waiting ring[*entry]
	gate    *gate // rests after a temporary failure
	timer   timer
}

func placeKeyOf(r *platform.Route, domain string) placeKey {
	if r.Kind != mail.RouteMX {
		return placeKey{route: r.Name}
	}
	return placeKey{r.Name, domain}
}

// locateEntry goes on with an entry whose route is chosen.
func (c *core) locateEntry(e *entry) {
	k := placeKeyOf(e.route, e.q.id.key.Domain)
	p := c.places[k]
	if p == nil {
		p = &place{key: k, domain: e.q.id.key.Domain}
		p.timer.wake = p
		if len(c.gates) > 0 {
			p.gate = c.gates[placeGate(k)]
		}
		c.places[k] = p
	}
	e.place = p
	if !p.asking && c.now.Before(p.expires) {
		if p.failed != nil {
			c.settleLocated(e, p.failed)
			return
		}
		if p.known {
			c.assign(e, p)
			return
		}
	}
	rests := p.gate != nil && !p.gate.open(c)
	if rests && (p.waiting.n >= c.restWindow || c.crowds(e.q)) {
		c.block(e.q, p.gate, "")
		c.putBack(e)
		return
	}
	e.state = stLocating
	p.waiting.push(&e.at)
	if rests {
		c.timers.set(&p.timer, p.gate.until)
	} else {
		c.ask(p)
	}
}

func (c *core) ask(p *place) {
	if p.asking || c.stopping {
		return
	}
	p.asking, p.stale = true, false
	c.timers.stop(&p.timer)
	if c.locating >= c.opt.Locators {
		c.locateQueue = append(c.locateQueue, p)
		return
	}
	c.locating++
	c.do(locate{p})
}

// wake implements waker: the answer is too old to be kept, or a rest is over.
func (p *place) wake(c *core) {
	if p.waiting.n > 0 {
		c.ask(p)
	} else if !p.asking {
		delete(c.places, p.key)
	}
}

// located is the input that answers locate.
type located struct {
	place   *place
	target  mail.Target
	outcome *mail.Outcome
}

func (in located) apply(c *core) {
	p := in.place
	c.locating--
	if len(c.locateQueue) > 0 {
		next := c.locateQueue[0]
		c.locateQueue = c.locateQueue[1:]
		c.locating++
		c.do(locate{next})
	}
	p.asking = false
	if p.stale {
		if p.waiting.n > 0 {
			c.ask(p)
		} else if c.places[p.key] == p {
			delete(c.places, p.key)
		}
		return
	}
	waiting := p.waiting.all()
	if o := in.outcome; o != nil && !o.Result.Final() {
		p.known, p.failed, p.expires = false, nil, time.Time{}
		p.gate = c.restPlace(p, o)
		c.timers.set(&p.timer, p.gate.until)
		if len(waiting) > 0 { // one of them tells of it; the others are untouched
			c.take(waiting[0])
			c.settleLocated(waiting[0], o)
		}
		for i, e := range waiting {
			if i > c.restWindow || i > 0 && c.crowds(e.q) {
				c.take(e)
				c.block(e.q, p.gate, "")
				c.putBack(e)
			}
		}
		return
	}
	if p.gate != nil {
		c.openGate(p.gate)
		p.gate = nil
	}
	p.target, p.known, p.failed = in.target, in.outcome == nil, in.outcome
	p.expires = c.now.Add(c.opt.PlaceFor)
	c.timers.set(&p.timer, p.expires)
	for _, e := range waiting {
		c.take(e)
		c.dispatch(e)
	}
}
