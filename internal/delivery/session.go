package delivery

import (
	"context"
	"reflect"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/mx"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/smtpclient"
)

// session is one run of Session: the connection of a lane and the job in hand.
type session struct {
	d      *Delivery
	ctx    context.Context
	lane   mail.Lane
	name   string // of the lane
	settle func(mail.Job, mail.Outcome)

	snap   *platform.Snapshot
	route  *platform.Route
	source *platform.Source
	plan   mx.Plan // of the last job's domain; on a relay route only its host

	conn     *smtpclient.Conn
	at       candidate // where conn leads, or led
	ip       string    // of at
	verified bool      // its certificate was checked against the host's name
	tlsName  string
	tlsNote  string
	over     bool // no further job: the lane rests

	// Of the job in hand.
	job         *mail.Job
	picked      time.Time
	connecting  time.Duration
	opened      int // connections that got as far as a greeting since something was settled by a peer
	marked      bool
	made        *content
	madeSeven   bool
	left        []int // deliveries not yet settled, as indices
	lastFailure *failure
	transcript  string // of the connection last given up

	// Memory used again for each job.
	content   content
	tx        smtpclient.Transaction
	res       smtpclient.Result
	rcpts     []smtpclient.Recipient
	group     []int
	head      []byte
	durableFn func(context.Context) error
}

// Session delivers the jobs that next gives, one after the other over one connection where the jobs' TLS policies
// allow it, and settles each of their deliveries exactly once. It returns when next returns false, or when the
// connection is spent or its lane is to rest. ctx stops it: what has not reached the end of its content is deferred
// untried, the reply to a content's end is awaited for Options.StopGrace more.
func (d *Delivery) Session(ctx context.Context, lane mail.Lane, next func(ctx context.Context) (mail.Job, bool), settle func(mail.Job, mail.Outcome)) {
	s := &session{d: d, ctx: ctx, lane: lane, name: lane.String(), settle: settle}
	s.durableFn = s.durable
	defer s.quit()
	for {
		job, ok := next(ctx)
		if !ok {
			return
		}
		s.take(&job)
		if s.over || s.conn == nil || !s.conn.Usable() {
			return
		}
	}
}

// quit ends the connection, if there is one, in good order.
func (s *session) quit() {
	if s.conn != nil {
		s.transcript = s.conn.Transcript()
		s.conn.Quit()
		s.conn = nil
	}
}

// close drops the connection.
func (s *session) close() {
	s.transcript = s.conn.Transcript()
	s.conn.Close()
	s.conn = nil
}

// take carries out one job: connections and transactions until none of its deliveries is left.
func (s *session) take(job *mail.Job) {
	s.job, s.picked = job, s.d.opts.Now()
	s.connecting, s.opened, s.marked, s.made, s.lastFailure, s.transcript = 0, 0, false, nil, nil, ""
	s.left = s.left[:0]
	for i := range job.Deliveries {
		s.left = append(s.left, i)
	}
	need, f := s.goal()
	if f != nil {
		s.failAll(f)
		return
	}
	if s.conn != nil && (!s.conn.Usable() || !s.onPlan() || s.satisfied(need) != nil) {
		s.quit()
	}
	var list *candidates
	for len(s.left) > 0 {
		if s.conn == nil {
			if list == nil {
				list = s.candidates()
			}
			if f := s.connect(list, need); f != nil {
				s.failAll(f)
				return
			}
		}
		switch s.transactions() {
		case again:
			list = nil
		case nextHost:
			if list == nil {
				list = s.candidates()
				list.skip = s.at.addr
			}
			if !list.more() {
				s.failAll(exhausted(s.lastFailure))
				return
			}
		}
		if len(s.left) > 0 && s.opened >= maxSessions {
			f := exhausted(s.lastFailure)
			if f == nil {
				f = ourFault(mail.StageMail, mail.ScopeSession, mail.ClassNetwork, "too many connections were lost in one attempt")
			}
			s.failAll(f)
		}
	}
}

// goal finds out where the job in hand goes and how much TLS it needs. The plan of the last job serves again while it
// holds.
func (s *session) goal() (tlsNeed, *failure) {
	if f := s.refresh(); f != nil {
		return tlsNeed{}, f
	}
	if s.isRelay() {
		if len(s.plan.Hosts) != 1 || s.plan.Hosts[0].Name != s.route.Host {
			s.plan = mx.Plan{Hosts: []mx.Host{{Name: s.route.Host}}}
		}
		return needOf(s.route, s.job.Message, mx.TLSPolicy{}), nil
	}
	domain := s.job.Deliveries[0].Recipient.Domain
	if s.plan.Domain != domain || s.conn == nil || !s.picked.Before(s.plan.Expires) {
		plan, err := s.d.opts.MX.Plan(s.ctx, domain)
		if err != nil {
			f := dnsFailure(err)
			if f.result == mail.Deferred {
				// The lane has its site from a look-up that worked: its other domains are not to wait for this one.
				f.scope, f.untried, f.retryAfter = mail.ScopeRecipient, true, ownFault
			}
			return tlsNeed{}, f
		}
		s.plan = plan
	}
	return needOf(s.route, s.job.Message, s.plan.Policy), nil
}

// refresh takes up the current platform state. A connection made under another version of its route or source is not
// used any more.
func (s *session) refresh() *failure {
	snap := s.d.opts.Snapshot()
	if snap == s.snap {
		return nil
	}
	route, source := snap.Route(s.lane.Route), snap.Source(s.lane.Source)
	if f := s.d.routeFault(route, s.lane.Route); f != nil {
		s.over = true
		return f
	}
	if s.lane.Source != "" && source == nil {
		s.over = true
		f := ourFault(mail.StageNone, mail.ScopeMessage, mail.ClassTransientSystem, "the source "+s.lane.Source+" is gone")
		f.untried = true
		return f
	}
	if s.conn != nil && (!reflect.DeepEqual(route, s.route) || !reflect.DeepEqual(source, s.source)) {
		s.quit()
	}
	s.snap, s.route, s.source = snap, route, source
	return nil
}

// onPlan reports whether the connection leads to a host of the plan.
func (s *session) onPlan() bool {
	for i := range s.plan.Hosts {
		if s.plan.Hosts[i].Name == s.at.host {
			return true
		}
	}
	return false
}

// candidates returns the addresses of the plan to try.
func (s *session) candidates() *candidates {
	c := &candidates{s: s, port: uint16(s.d.opts.Port)}
	if s.isRelay() {
		c.port = uint16(relayPort(s.route))
	}
	for _, h := range s.plan.Hosts {
		c.hosts = append(c.hosts, h.Name)
	}
	return c
}

// durable waits for the attempt marks of the job, once.
func (s *session) durable(ctx context.Context) error {
	if s.marked || s.job.Durable == nil {
		return nil
	}
	if err := s.job.Durable(ctx); err != nil {
		return err
	}
	s.marked = true
	return nil
}

// sender returns the envelope sender of a delivery. The null sender stays the null sender (RFC 5321 §4.5.5).
func (s *session) sender(d *mail.Delivery) mail.Address {
	m := s.job.Message
	if m.From.IsZero() {
		return m.From
	}
	kind := s.route.ReturnPath
	if kind == "" && !s.isRelay() {
		kind = platform.ReturnPathVERP
	}
	switch kind {
	case platform.ReturnPathVERP:
		if s.d.opts.ReturnPath != nil {
			return s.d.opts.ReturnPath(d)
		}
	case platform.ReturnPathFixed:
		if a, err := mail.ParseAddress(strings.TrimSpace(s.route.ReturnAddress)); err == nil {
			return a
		}
	}
	return m.From
}
