package queue

import (
	"errors"

	"github.com/postroad/postroad/internal/egress"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/route"
)

// dispatch sends a due entry that is in no list on its way: deadline, holds, pause, route, place, source, lane.
func (c *core) dispatch(e *entry) {
	e.state = stNew
	if !c.now.Before(e.d.ExpiresAt) {
		if c.doubtClock {
			c.park(e, "its deadline has passed by a clock that is not trusted")
			return
		}
		c.expire(e)
		return
	}
	if e.d.Held != "" {
		// Its key is its deadline, so nothing brings it here before that; but the clock may have been in doubt.
		c.park(e, "held by "+e.d.Held)
		return
	}
	if e.m == nil {
		c.setAside(e, HeldDamaged, "its message record cannot be read")
		return
	}
	if e.q.acct.paused {
		c.block(e.q, nil, "account "+e.q.acct.name+" is paused")
		c.putBack(e)
		return
	}
	if h := c.heldBy(e, mail.Lane{}); h != nil {
		c.hold(e, h)
		return
	}
	if e.d.Last != nil && c.listed(e) { // a first attempt is asked for when it is picked up
		c.askList(e)
		return
	}
	r, err := route.Choose(c.snap, factsOf(e))
	if err != nil {
		if !errors.Is(err, route.ErrPaused) {
			c.alert(alertNoRoute, "account/"+e.q.acct.name, err.Error())
		}
		c.park(e, err.Error())
		return
	}
	e.route = r
	c.locateEntry(e)
}

func factsOf(e *entry) route.Facts {
	m := e.m.m
	sender := m.From.Domain
	if sender == "" {
		sender = domainOf(m.HeaderFrom)
	}
	return route.Facts{
		Account: e.q.id.key.Account, Stream: e.q.id.key.Stream, SenderDomain: sender,
		RecipientDomain: e.q.id.key.Domain, Tags: m.Tags, Verified: m.Verified,
	}
}

// park keeps an entry until the platform's state changes: there is no way out for it now, and that is no fault of
// the mail.
func (c *core) park(e *entry, why string) {
	if c.parked.n >= c.restWindow || c.crowds(e.q) {
		c.block(e.q, nil, why)
		c.putBack(e)
		return
	}
	e.state, e.why = stParked, why
	c.parked.push(&e.at)
}

// routeAccount is what egress.Sources depends on, under one snapshot.
type routeAccount struct{ route, account string }

type sources struct {
	list []*platform.Source
	err  error
}

func (c *core) sourcesOf(r *platform.Route, account string) sources {
	k := routeAccount{route: r.Name}
	if p := c.snap.Pool(r.Pool); p != nil && len(p.Accounts) > 0 {
		k.account = account
	}
	s, ok := c.sources[k]
	if !ok {
		s.list, s.err = egress.Sources(c.snap, r, account)
		c.sources[k] = s
	}
	return s
}

// rotationKey: sources are dealt out evenly within it.
type rotationKey struct{ route, receiver string }

type rotation struct{ egress.Rotation }

// assign chooses the source of an entry whose place is known, and puts it in its lane.
func (c *core) assign(e *entry, p *place) {
	s := c.sourcesOf(e.route, e.q.acct.name)
	if s.err != nil {
		c.alert(alertNoSource, "route/"+e.route.Name, s.err.Error())
		c.park(e, s.err.Error())
		return
	}
	source := ""
	if len(s.list) == 1 {
		source = s.list[0].Name
	} else if len(s.list) > 1 {
		k := rotationKey{e.route.Name, p.target.Receiver}
		r := c.rotate[k]
		if r == nil {
			r = &rotation{}
			c.rotate[k] = r
		}
		choice := egress.ChoiceOf(e.d, c.now)
		if len(c.gates) > 0 {
			choice.Blocked = c.sourceRests
		}
		source = r.Next(s.list, choice).Name
	}
	id := mail.Lane{Route: e.route.Name, Source: source, Receiver: p.target.Receiver, Site: p.target.Site}
	if h := c.heldBy(e, id); h != nil {
		c.hold(e, h)
		return
	}
	c.enqueue(e, c.lane(id, e.route))
}

func (c *core) sourceRests(source string) bool {
	g := c.gates[gateKey{extent: egress.ExtentSource, lane: mail.Lane{Source: source}}]
	return g != nil && !g.open(c)
}
