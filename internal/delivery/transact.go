package delivery

import (
	"errors"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/egress"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/smtpclient"
)

// step says how a job goes on after transactions.
type step uint8

const (
	done     step = iota // nothing is left
	again                // on a new connection
	nextHost             // on a connection to another host
)

// transactions sends the job to its deliveries that are left, as many of them in one transaction as the route and the
// peer allow, until none is left or this connection can do no more for it.
func (s *session) transactions() step {
	for len(s.left) > 0 {
		if !s.conn.Usable() {
			s.quit()
			return again
		}
		c, f := s.prepare(s.job)
		if f != nil {
			s.failAll(f)
			return done
		}
		if f := s.fillGroup(c); f != nil {
			s.failAll(f)
			return done
		}
		if len(s.group) == 0 {
			continue
		}
		reused := s.conn.Sent() > 0
		start := time.Now()
		err := s.conn.Send(&s.tx, &s.res)
		if next := s.conclude(err, reused, time.Since(start)); next != done {
			return next
		}
	}
	return done
}

// fillGroup chooses the deliveries of the next transaction and fills s.tx. Those that cannot go to this peer at all are
// settled and taken out of s.left; the failure is one of all that are left.
func (s *session) fillGroup(c *content) *failure {
	m, ext := s.job.Message, s.conn.Extensions()
	s.group, s.rcpts = s.group[:0], s.rcpts[:0]
	if c.utf8 && !ext.UTF8 {
		return refusal(mail.ScopeMessage, mail.ClassProtocol, "5.6.7 the header has UTF-8 text and the peer does not offer SMTPUTF8")
	}
	limit := max(1, egress.MaxRecipients(s.route))
	if ext.RcptMax > 0 {
		limit = min(limit, ext.RcptMax)
	}
	var from mail.Address
	kept := s.left[:0]
	domains := 0
	for _, i := range s.left {
		d := s.job.Deliveries[i]
		sender := s.sender(d)
		if !ext.UTF8 && !(d.Recipient.IsASCII() && sender.IsASCII()) {
			f := refusal(mail.ScopeRecipient, mail.ClassProtocol, "5.6.7 the address is not ASCII and the peer does not offer SMTPUTF8")
			if !sender.IsASCII() {
				f.scope = mail.ScopeSender
			}
			s.settleOne(i, f, 0)
			continue
		}
		kept = append(kept, i)
		if len(s.group) == 0 {
			from = sender
		} else if len(s.group) >= limit || sender != from {
			continue
		}
		if ext.RcptDomainMax > 0 && !s.hasDomain(d.Recipient.Domain) {
			if domains >= ext.RcptDomainMax {
				continue
			}
			domains++
		}
		s.group = append(s.group, i)
		r := smtpclient.Recipient{Addr: d.Recipient, Notify: d.Notify, ORcpt: d.ORcpt}
		if s.isRelay() && s.route.NotifySuccess && r.Notify != mail.NotifyNever {
			if r.Notify == 0 {
				r.Notify = mail.NotifyFailure // what no NOTIFY means (RFC 3461 §4.1)
			}
			r.Notify |= mail.NotifySuccess
		}
		if ext.DSN && r.Notify != 0 && r.ORcpt == "" && d.Recipient.IsASCII() {
			r.ORcpt = "rfc822;" + d.Recipient.String()
		}
		s.rcpts = append(s.rcpts, r)
	}
	s.left = kept
	s.tx = smtpclient.Transaction{
		From: from, Rcpts: s.rcpts, Prefix: s.prefix(c), Body: c.body, EightBit: c.eightBit, UTF8: c.utf8,
		RequireTLS: m.RequireTLS && ext.RequireTLS && s.conn.TLS() != nil, EnvID: m.EnvID, Ret: m.Ret, Durable: s.durableFn,
	}
	return nil
}

func (s *session) hasDomain(domain string) bool {
	for i := range s.rcpts {
		if s.rcpts[i].Addr.Domain == domain {
			return true
		}
	}
	return false
}

// conclude settles what a transaction decided, and says how the job goes on: done means on the same connection.
func (s *session) conclude(err error, reused bool, took time.Duration) step {
	var e *smtpclient.Error
	if errors.As(err, &e) && reused && (e.Stale || e.Code() == 421 && e.Stage == mail.StageMail) {
		// It was kept longer than the peer keeps it. Nothing of this job has been said that was heard.
		s.close()
		return again
	}
	var shared *failure
	if err != nil {
		shared = s.failureOf(err)
	}
	var elsewhere *failure // of the recipients for whom another host is tried
	var resting *failure   // of the lane
	fresh := false
	for j, i := range s.group {
		f := shared
		if refused := s.res.Refused[j]; refused != nil {
			if s.res.Accepted > 0 && tooMany(refused.Reply) {
				continue // stays in left, for a further transaction
			}
			f = s.verdict(refused)
		}
		if f == nil {
			s.settleOne(i, nil, took)
			s.opened = 0
			s.drop(i)
			continue
		}
		effect := s.effect(f)
		if effect.NextHost && !f.uncertain && !f.untried && f.result != mail.Bounced {
			elsewhere = f
			continue
		}
		s.settleOne(i, f, took)
		s.drop(i)
		fresh = fresh || effect.NewConnection
		if rests(effect) {
			resting = f
		}
	}
	switch {
	case resting != nil:
		s.failAll(resting)
		return done
	case elsewhere != nil:
		s.lastFailure = elsewhere
		now := s.d.opts.Now()
		s.d.badHosts.add(s.hostKey(s.at), now.Add(badHostFor), now)
		s.quit()
		return nextHost
	case fresh || !s.conn.Usable():
		s.quit()
		if len(s.left) > 0 {
			return again
		}
	}
	return done
}

// rests reports whether a failure makes more than its own delivery wait: the session is to take no further job.
func rests(e egress.Effect) bool {
	return e.OtherSource || e.Delay != egress.ExtentNone && e.Delay != egress.ExtentAccount
}

// tooMany reports whether a recipient was refused because the transaction has too many of them already: 452, and 552
// which counts as 452 there (RFC 5321 §4.5.3.1.10). Both codes also mean a full disk or mailbox.
func tooMany(r *smtp.Reply) bool {
	if r == nil || r.Code != 452 && r.Code != 552 {
		return false
	}
	if !r.Enhanced.IsZero() {
		return r.Enhanced[1] == 5 && r.Enhanced[2] == 3
	}
	text := strings.ToLower(r.Text())
	return strings.Contains(text, "too many") || strings.Contains(text, "recipient")
}

// drop takes a delivery out of what is left.
func (s *session) drop(i int) {
	for n, k := range s.left {
		if k == i {
			s.left = append(s.left[:n], s.left[n+1:]...)
			return
		}
	}
}

// failAll settles all that is left with one failure.
func (s *session) failAll(f *failure) {
	for _, i := range s.left {
		s.settleOne(i, f, 0)
	}
	s.left = s.left[:0]
	if rests(s.effect(f)) {
		s.over = true
	}
}

// success is the result of a delivery that was taken.
func (s *session) success() mail.Result {
	if s.route.Kind == mail.RouteMX {
		return mail.Delivered
	}
	return mail.Relayed
}

// settleOne makes the outcome of one delivery, logs it and hands it over. f is nil for one that was taken.
func (s *session) settleOne(i int, f *failure, took time.Duration) {
	d := s.job.Deliveries[i]
	o := mail.Outcome{Delivery: d.ID, Attempt: mail.Attempt{
		At: s.picked, Route: s.lane.Route, Source: s.lane.Source, Lane: s.name,
		Waiting: s.waiting(d), Connect: s.connecting, Sending: took,
	}}
	a := &o.Attempt
	if i < len(s.job.Attempts) {
		a.N = s.job.Attempts[i]
	}
	if s.route != nil {
		a.Kind = s.route.Kind
	}
	if s.at.host != "" && (f == nil || f.stage != mail.StageNone) {
		a.Host, a.IP = s.at.host, s.ip
		a.TLS, a.TLSNote = s.tlsName, s.tlsNote
	}
	if s.d.opts.Transcripts > 0 && (f != nil || !s.d.opts.FailuresOnly) {
		if a.Transcript = s.transcript; s.conn != nil {
			a.Transcript = s.conn.Transcript()
		}
	}
	if f == nil {
		o.Result, o.Action, o.Tried = s.success(), mail.ActionNone, true
		a.DSN = d.Notify != 0 && s.conn != nil && s.conn.Extensions().DSN
		a.Stage, a.Code, a.Enhanced, a.Reply = mail.StageDot, s.res.Reply.Code, s.res.Reply.Enhanced.String(), s.res.Reply.String()
	} else {
		f.fill(&o)
		o.Tried = f.uncertain || f.result == mail.Bounced || !f.untried && s.effect(f).CountsAttempt
	}
	s.d.logOutcome(s, d, &o)
	s.settle(*s.job, o)
}

// waiting is how long a delivery waited since it was due.
func (s *session) waiting(d *mail.Delivery) time.Duration {
	since := d.Due
	if since.IsZero() || since.After(s.picked) {
		since = d.CreatedAt // in flight, Due is the time of the next attempt
	}
	if since.IsZero() {
		return 0
	}
	return max(0, s.picked.Sub(since))
}
