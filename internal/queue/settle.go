package queue

import (
	"slices"
	"time"

	"github.com/postroad/postroad/internal/egress"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// settled is the input that tells what became of one delivery of the session's job.
type settled struct {
	s *session
	o *mail.Outcome
}

func (in settled) apply(c *core) { c.settle(in.s, in.o) }

// settle ends an attempt: health of the lane first, then the delivery's fate.
func (c *core) settle(s *session, o *mail.Outcome) {
	e := c.entries[o.Delivery]
	if e == nil || e.sess != s || e.state != stFlight {
		c.do(complain{text: "an outcome for a delivery that is not in the session's hand", id: o.Delivery})
		return
	}
	l := s.lane
	if g := c.unhand(s, e); g != nil {
		defer c.resume(g)
	}

	a := &o.Attempt
	a.N = e.d.Attempts
	if a.At.IsZero() {
		a.At = e.picked
	}
	if a.Route == "" {
		a.Route, a.Kind = l.id.Route, l.route.Kind
	}
	if a.Source == "" {
		a.Source = l.id.Source
	}
	if a.Lane == "" {
		a.Lane = l.name
	}
	if a.Waiting == 0 {
		a.Waiting = max(e.picked.Sub(later(e.due, e.d.CreatedAt)), 0)
	}

	effect := egress.EffectOf(o.Scope, o.Class, l.route.Kind)
	if o.Result.Final() && o.Scope != mail.ScopeRoute {
		// Whatever the peer thinks of this mail: it answered. What a final refusal says of the lane, its scope says.
		effect.Delay = egress.ExtentNone
	}
	var until time.Time // when what the failure rests goes on
	if effect.Delay == egress.ExtentNone {
		c.proved(s, e, o)
	} else if o.Result == mail.Deferred || o.Scope == mail.ScopeRoute {
		until = c.failed(s, e, o, effect)
	}
	if o.Result.Final() {
		c.finish(e, mail.EventType(o.Result), o, "")
		return
	}
	c.deferEntry(e, a.N, o, effect, until, l)
}

// unhand takes a delivery out of a session's hand. It returns the account's gate it was to find out about, if any.
func (c *core) unhand(s *session, e *entry) *gate {
	s.hand = remove(s.hand, e)
	if len(s.hand) == 0 {
		s.lane.busy--
	}
	e.sess, e.state = nil, stNew
	g := e.probe
	if g != nil {
		e.probe = nil
		g.probing = max(g.probing-1, 0)
	}
	return g
}

// proved notes that the connection works: the peer answered a job.
func (c *core) proved(s *session, e *entry, o *mail.Outcome) {
	if !o.Tried || o.Attempt.Uncertain {
		return
	}
	if !s.proven {
		s.proven = true
		s.lane.group.proven++
		c.serveGroup(s.lane.group) // slow start: more may follow
	}
	for _, g := range slices.Clone(s.lane.gates) {
		// A dialogue that began before the failure says nothing about what came after it.
		if !e.picked.Before(g.last.At) {
			c.openGate(g)
		}
	}
	if len(c.gates) > 0 {
		if g := c.gates[accountGate(e.q.acct.name, s.lane.id)]; g != nil && !e.picked.Before(g.until) {
			c.openGate(g)
		}
	}
}

// resume lets the next job of an account find out what its last probe did not.
func (c *core) resume(g *gate) {
	if !g.passable(c) {
		return
	}
	for _, f := range slices.Clone(g.flows) {
		c.activate(f)
		c.serve(f.lane, nil)
	}
}

// failed makes rest what a failure reaches, and returns until when.
func (c *core) failed(s *session, e *entry, o *mail.Outcome, effect egress.Effect) time.Time {
	l := s.lane
	grp := l.group
	others := grp.proven
	if s.proven {
		others--
	}
	narrow := effect.Delay == egress.ExtentLane || effect.Delay == egress.ExtentReceiver
	if narrow && !o.Tried && others > 0 && o.RetryAfter == 0 {
		// The peer serves us on other connections at this moment: it wants fewer of them, not none.
		if ceiling := max(1, grp.sessions-1); grp.ceiling == 0 || !c.now.Before(grp.ceilingUntil) || ceiling < grp.ceiling {
			grp.ceiling = ceiling
		}
		grp.ceilingUntil = c.now.Add(ceilingFor)
		return time.Time{}
	}
	k := gateFor(effect.Delay, l.id, e.q.acct.name)
	g := c.rest(k, effect, o)
	if effect.Alert != "" && g.alert == "" {
		g.alert = effect.Alert
		c.alert(g.alert, g.subject(), g.why())
	}
	return g.until
}

// deferEntry plans what follows the n-th attempt of a delivery.
func (c *core) deferEntry(e *entry, n int, o *mail.Outcome, effect egress.Effect, until time.Time, l *lane) {
	now := c.now
	d := *e.d
	d.Mark, d.Crashes, d.Attempts = nil, 0, n
	if !o.Tried && !o.Attempt.Uncertain {
		d.Attempts--
	}
	d.Last = new(mail.LastAnswer)
	*d.Last = answerOf(o, now)
	if o.Attempt.Uncertain {
		d.Uncertain = true
		c.stats.Uncertain++
	}
	if o.Class == mail.ClassGreylisted && o.Attempt.Source != "" && !now.Before(d.GreylistUntil) {
		d.GreylistedBy, d.GreylistUntil = o.Attempt.Source, now.Add(egress.GreylistFor)
	}
	if effect.OtherSource && l != nil {
		until = later(until, c.refusedSource(e, &d, o, l))
	}

	var next time.Time
	switch {
	case o.Tried || o.Attempt.Uncertain:
		delay := o.RetryAfter
		if delay <= 0 {
			delay = c.schedule(d.Queue.Stream).After(d.Attempts, c.rng.Float64())
		}
		next = later(now.Add(delay), until)
	case !until.IsZero():
		next = until
	default:
		next = now.Add(max(o.RetryAfter, untriedDelay))
	}
	if next.After(d.ExpiresAt) {
		next = d.ExpiresAt // it ends there: no attempt starts after its deadline
	}
	d.Due = next
	if !o.Tried && !o.Attempt.Uncertain && !until.IsZero() && now.Before(next) {
		// It was not tried: it waits behind what rests, like the mail that was never picked up, and goes on with it, also
		// when that is sooner than thought because somebody repaired it.
		d.Due = now
	}
	ev := c.event(e, mail.EventDeferred, o)
	ev.Next = next
	c.stats.Deferred++
	c.replace(e, &d, ev)
}

// refusedSource decides what follows a refusal for the reputation of the source: one other source, once; after that
// the account rests at this receiver, and somebody has to look. It returns until when, if it rests.
func (c *core) refusedSource(e *entry, d *mail.Delivery, o *mail.Outcome, l *lane) time.Time {
	s := c.sourcesOf(l.route, e.q.acct.name)
	if d.AvoidSource == "" && len(s.list) > 1 {
		d.AvoidSource = l.id.Source
		return time.Time{}
	}
	d.AvoidSource = ""
	g := c.rest(accountGate(e.q.acct.name, l.id), egress.Effect{Delay: egress.ExtentAccount}, o)
	if g.alert == "" {
		g.alert = egress.AlertReputation
		c.alert(g.alert, g.subject(), g.why())
	}
	return g.until
}

// settleLocated settles an entry that got no further than Locate, by the answer for its domain.
func (c *core) settleLocated(e *entry, answer *mail.Outcome) {
	o := *answer
	o.Delivery = e.d.ID
	e.picked = c.now
	a := &o.Attempt
	a.N = e.d.Attempts + 1
	if a.At.IsZero() {
		a.At = c.now
	}
	if a.Route == "" {
		a.Route, a.Kind = e.route.Name, e.route.Kind
	}
	if a.Stage == "" {
		a.Stage = mail.StageDNS
	}
	if a.Waiting == 0 {
		a.Waiting = max(c.now.Sub(later(e.d.Due, e.d.CreatedAt)), 0)
	}
	if o.Result.Final() {
		c.finish(e, mail.EventType(o.Result), &o, "")
		return
	}
	var until time.Time
	if p := e.place; p != nil && p.gate != nil {
		until = p.gate.until
	}
	c.deferEntry(e, a.N, &o, egress.Effect{}, until, nil)
}

// expire ends a delivery whose deadline has passed, with the last answer it or its lane got.
func (c *core) expire(e *entry) {
	o := &mail.Outcome{Delivery: e.d.ID, Result: mail.Expired, Class: mail.ClassExpired, Action: mail.ActionGiveUp}
	reason := "its deadline passed before it could be tried"
	last := e.d.Last
	if g := c.gateOf(e); g != nil && (last == nil || g.last.At.After(last.At)) {
		answer := g.last // perhaps to another account's mail
		answer.Reply = mail.MaskAddresses(answer.Reply)
		last = &answer
	}
	if last != nil {
		reason = "its deadline passed; the last answer was: " + last.Reply
		o.Scope = last.Scope
		o.Attempt = mail.Attempt{N: e.d.Attempts, At: last.At, Stage: last.Stage, Reply: last.Reply, Host: last.Host}
	} else if e.d.Held != "" {
		reason = "its deadline passed while it was held by " + e.d.Held
	} else if e.why != "" {
		reason = "its deadline passed while it waited: " + e.why
	}
	if e.d.Held != "" && last != nil {
		reason = "its deadline passed while it was held by " + e.d.Held + "; the last answer was: " + last.Reply
	}
	c.finish(e, mail.EventExpired, o, reason)
}

// gateOf returns what an entry was waiting behind, or nil.
func (c *core) gateOf(e *entry) *gate {
	if e.behind != nil {
		return e.behind
	}
	if e.q.gate != nil {
		return e.q.gate
	}
	if e.place != nil && e.place.gate != nil && e.place.gate.fails > 0 {
		return e.place.gate
	}
	return nil
}

// finish ends a delivery.
func (c *core) finish(e *entry, t mail.EventType, o *mail.Outcome, reason string) {
	switch t {
	case mail.EventDelivered:
		c.stats.Delivered++
	case mail.EventRelayed:
		c.stats.Relayed++
	case mail.EventBounced:
		c.stats.Bounced++
	case mail.EventSuppressed:
		c.stats.Suppressed++
	case mail.EventExpired:
		c.stats.Expired++
	case mail.EventCancelled:
		c.stats.Cancelled++
	}
	ev := c.event(e, t, o)
	ev.Reason = reason
	e.state, e.next = stWriting, nil
	c.write(e, &write{settle: &spool.Settlement{Old: e.d, Events: []*mail.Event{ev}}})
}

// replace writes a delivery's new record after an attempt.
func (c *core) replace(e *entry, d *mail.Delivery, ev *mail.Event) {
	e.state, e.next = stWriting, d
	c.write(e, &write{settle: &spool.Settlement{Old: e.d, New: d, Events: []*mail.Event{ev}}})
}

// move writes a delivery's new record without an attempt; ev may be nil.
func (c *core) move(e *entry, d *mail.Delivery, ev *mail.Event) {
	e.state, e.next = stWriting, d
	r := &spool.Reschedule{Old: e.d, New: d}
	if ev != nil {
		r.Events = []*mail.Event{ev}
	}
	c.write(e, &write{reschedule: r})
}

// wrote is the input that answers writes with an entry, in the order of their commits.
type wrote struct {
	entries []*entry
	errs    []error // nil: all went well
}

func (in *wrote) apply(c *core) {
	c.writing -= len(in.entries)
	for i, e := range in.entries {
		if in.errs != nil && in.errs[i] != nil {
			// Only a record that is not what we took it for ends here; a failing spool stops the whole queue. It is
			// not read again before the next start: sending twice is worse than sending late.
			c.do(complain{text: "the spool refused a change", id: e.d.ID, err: in.errs[i]})
			c.alert("queue-stale", "delivery/"+e.d.ID.String(), in.errs[i].Error())
			c.leave(e)
			continue
		}
		if e.next == nil {
			c.leave(e)
			continue
		}
		e.d, e.next = e.next, nil
		if e.cancel != "" {
			c.cancelEntry(e, e.cancel)
			continue
		}
		c.putBack(e)
	}
}
