package delivery

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/egress"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/smtpclient"
)

// failure is why a recipient was not delivered to: a refusal, a lost connection, or a decision of ours.
type failure struct {
	stage      mail.Stage
	reply      *smtp.Reply // nil: text has our own words
	text       string
	result     mail.Result
	class      mail.Class
	scope      mail.Scope
	action     mail.Action
	rule       string
	retryAfter time.Duration
	uncertain  bool
	untried    bool // no attempt is used up whatever the scope says
}

// fill writes the failure into an outcome.
func (f *failure) fill(o *mail.Outcome) {
	o.Result, o.Class, o.Scope, o.Action, o.Rule, o.RetryAfter = f.result, f.class, f.scope, f.action, f.rule, f.retryAfter
	a := &o.Attempt
	a.Stage, a.Uncertain, a.Reply = f.stage, f.uncertain, f.text
	if f.reply != nil {
		a.Code, a.Enhanced, a.Reply = f.reply.Code, f.reply.Enhanced.String(), f.reply.String()
	}
}

// ourFault is a failure that is no peer's, and temporary.
func ourFault(stage mail.Stage, scope mail.Scope, class mail.Class, text string) *failure {
	return &failure{
		stage: stage, scope: scope, class: class, text: text,
		result: mail.Deferred, action: mail.ActionRetry, retryAfter: ownFault,
	}
}

// refusal is a decision of ours, for good, that this message cannot go to this peer. text begins with an enhanced code
// (RFC 3463).
func refusal(scope mail.Scope, class mail.Class, text string) *failure {
	return &failure{
		stage: mail.StageMail, scope: scope, class: class, text: text,
		result: mail.Bounced, action: mail.ActionGiveUp,
	}
}

// failureOf is what an error of the client means.
func (s *session) failureOf(err error) *failure {
	var e *smtpclient.Error
	if !errors.As(err, &e) {
		return ourFault(mail.StageNone, mail.ScopeMessage, mail.ClassTransientSystem, err.Error())
	}
	if e.Reply != nil {
		return s.verdict(e)
	}
	f := &failure{
		stage: e.Stage, text: "no reply: " + e.Err.Error(), uncertain: e.Uncertain,
		result: mail.Deferred, class: mail.ClassNetwork, action: mail.ActionRetry, scope: mail.ScopeHost,
	}
	switch {
	case e.Uncertain:
		// Never failed over: the message may have arrived.
		f.scope = mail.ScopeRecipient
	case s.ctx.Err() != nil && errors.Is(e.Err, context.Cause(s.ctx)):
		f.scope, f.text, f.untried = mail.ScopeNone, "stopped: "+e.Err.Error(), true
	case errors.Is(e.Err, smtpclient.ErrNotDurable):
		f.class, f.scope, f.text, f.untried, f.retryAfter = mail.ClassTransientSystem, mail.ScopeNone, e.Err.Error(), true, ownFault
	case errors.Is(e.Err, smtpclient.ErrContent), errors.Is(e.Err, smtpclient.ErrBadArgument):
		f.class, f.scope, f.text = mail.ClassTransientSystem, mail.ScopeMessage, e.Err.Error()
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL) && e.Stage == mail.StageConnect:
		f.scope, f.text = mail.ScopeSource, "the source address is not on this machine: "+e.Err.Error()
	default:
		if errors.Is(e.Err, smtpclient.ErrProtocol) {
			f.class = mail.ClassProtocol
		}
		if e.Stage == mail.StageConnect {
			f.text = "cannot connect: " + e.Err.Error()
		}
		switch e.Stage {
		case mail.StageRcpt, mail.StageData, mail.StageBody, mail.StageDot:
			// It may be this very message that makes the peer hang up: the lane is not to suffer for it.
			f.scope = mail.ScopeSession
		}
	}
	return f
}

// verdict is what a reply means, by the bounce rules and then by what no rule may change.
func (s *session) verdict(e *smtpclient.Error) *failure {
	v := s.d.opts.Classify(bounce.Input{
		Stage: e.Stage, Route: s.route.Kind, Code: e.Reply.Code, Enhanced: e.Reply.Enhanced, Text: e.Reply.Text(), Receiver: s.lane.Receiver,
	})
	f := &failure{
		stage: e.Stage, reply: e.Reply,
		result: v.Result, class: v.Class, scope: v.Scope, action: v.Action, rule: v.Rule, retryAfter: v.RetryAfter,
	}
	if f.result != mail.Bounced {
		f.result = mail.Deferred
	}
	switch e.Stage {
	case mail.StageGreeting, mail.StageEhlo, mail.StageStartTLS, mail.StageAuth:
		// Nothing was said of any mail yet: whatever the code, none is lost for it.
		f.result = mail.Deferred
		if f.action != mail.ActionRetryOtherSource {
			f.action = mail.ActionRetry
		}
		if e.Stage == mail.StageAuth {
			f.scope = mail.ScopeRoute
			break
		}
		switch f.scope {
		case mail.ScopeNone, mail.ScopeRecipient, mail.ScopeMessage, mail.ScopeSender, mail.ScopeSite:
			// The next host may be in better health; when none is, the lane rests as for the whole site.
			f.scope = mail.ScopeHost
		}
	case mail.StageMail:
		if f.scope == mail.ScopeRecipient {
			f.scope = mail.ScopeSender
		}
	}
	return f
}

// exhausted is what a failure that made us try the next host means when there is no further host. One that came after
// the connection was ready for mail may be about this very message: it uses up its attempt, and the lane does not rest
// for it; but 421 is a host that is closing, whatever it was told.
func exhausted(f *failure) *failure {
	if f == nil || f.scope != mail.ScopeHost || f.reply != nil && f.reply.Code == 421 {
		return f
	}
	switch f.stage {
	case mail.StageMail, mail.StageRcpt, mail.StageData, mail.StageBody, mail.StageDot:
		e := *f
		e.scope = mail.ScopeSession
		return &e
	}
	return f
}

// effect is what the failure does to the session and its lane.
func (s *session) effect(f *failure) egress.Effect {
	kind := mail.RouteMX
	if s.route != nil {
		kind = s.route.Kind
	}
	return egress.EffectOf(f.scope, f.class, kind)
}

// sourceName returns the name of a source that may be nil.
func sourceName(src *platform.Source) string {
	if src == nil {
		return ""
	}
	return src.Name
}
