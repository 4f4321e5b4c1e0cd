package bounce

import (
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// The words a rule may use.
var (
	scopes = []mail.Scope{
		mail.ScopeRecipient, mail.ScopeMessage, mail.ScopeSender, mail.ScopeSession, mail.ScopeHost, mail.ScopeSite,
		mail.ScopeReceiver, mail.ScopeSource, mail.ScopeRoute, mail.ScopeAccount,
	}
	stages = []mail.Stage{
		mail.StageDNS, mail.StageConnect, mail.StageGreeting, mail.StageEhlo, mail.StageStartTLS, mail.StageAuth,
		mail.StageMail, mail.StageRcpt, mail.StageData, mail.StageBody, mail.StageDot, mail.StageQuit, mail.StageReport,
	}
)

// The rows of the table that settle applies after the rules, by name as Explain shows them. They are the only places
// beside a rule's own result where a 5xx is retried.
const (
	// rowNoRecipientYet: before RCPT no recipient has been named, so nothing said there is about one. A "user
	// unknown" at MAIL FROM means the sender's address (RFC 5321 §3.3).
	rowNoRecipientYet = "no-recipient-yet"
	// rowNextHost: a 5xx before MAIL speaks of this host or this client, not of the mail (RFC 5321 §3.1, §5.1): the
	// next host is tried.
	rowNextHost = "before-mail-next-host"
	// rowRoute: a gateway or provider refuses us, not the mail: the route pauses and the mail is kept.
	rowRoute = "route-keeps-mail"
	// rowSource: the address we came from is refused; another one, or later, may do.
	rowSource = "source-refused"
	// rowSession: this transaction or connection has had enough; a new one may go on. 552 for too many recipients
	// counts as 452 (RFC 5321 §4.5.3.1.10).
	rowSession = "new-session"
	// rowDoubt: the rule, a word in the text or another rule that holds leaves a doubt whether the address is bad: it is
	// not suppressed.
	rowDoubt = "doubt"
)

// settle makes the verdict from the rule that won (nil: none), and whether it is in doubt, and returns the names of the rows that changed it.
func settle(in *Input, e smtp.Enhanced, class int, rule *Rule, doubt bool) (v Verdict, rows []string) {
	v = Verdict{Class: mail.ClassOther, Result: mail.Deferred}
	if class == 5 {
		v.Result = mail.Bounced
	}
	if rule != nil {
		v.Class, v.Rule, v.Scope, v.RetryAfter = rule.Class, rule.ID, rule.Scope, rule.RetryAfter
	}
	if beforeRcpt(in.Stage) && aboutRecipient(v.Class) {
		v.Class, v.Scope = mail.ClassProtocol, ""
		rows = append(rows, rowNoRecipientYet)
	}
	if v.Scope == "" {
		v.Scope = scopeOf(v.Class, in, class)
	}
	if v.Result == mail.Bounced && in.Stage != mail.StageReport {
		row := ""
		switch {
		case v.Scope == mail.ScopeRoute:
			row = rowRoute
		case v.Scope == mail.ScopeSource && v.Class == mail.ClassBlocklistedIP:
			row = rowSource
		case v.Scope == mail.ScopeSession:
			row = rowSession
		case beforeMail(in.Stage):
			row = rowNextHost
		}
		if row != "" {
			v.Result = mail.Deferred
			rows = append(rows, row)
		}
	}
	if rule != nil && rule.Result != "" && rule.Result != v.Result {
		v.Result = rule.Result
		rows = append(rows, "result-of-rule")
	}
	if v.Result == mail.Deferred {
		if told := retryAfter(in.Text); told > 0 {
			v.RetryAfter = told
		}
	} else {
		v.RetryAfter = 0
	}
	v.Action = actionOf(v.Class, v.Scope, v.Result, doubt)
	return v, rows
}

// scopeOf is the table of scopes by class, stage and route, for rules that name none.
func scopeOf(class mail.Class, in *Input, digit int) mail.Scope {
	gateway := in.Route == mail.RouteRelay || in.Route == mail.RouteProvider
	if gateway && (in.Stage == mail.StageAuth || in.Code == 530 || in.Code == 534 || in.Code == 535) {
		return mail.ScopeRoute
	}
	switch class {
	case mail.ClassInvalidRecipient, mail.ClassInvalidDomain, mail.ClassInactive, mail.ClassMailboxFull, mail.ClassGreylisted, mail.ClassExpired:
		return mail.ScopeRecipient
	case mail.ClassContentSize:
		return mail.ScopeMessage
	case mail.ClassPolicySpam:
		if beforeMail(in.Stage) {
			return mail.ScopeHost
		}
		return mail.ScopeSender
	case mail.ClassAuthFailure:
		return mail.ScopeSender
	case mail.ClassBlocklistedIP:
		if gateway {
			// The gateway dislikes our address, or tells what the world thinks of its own: no other source helps.
			return mail.ScopeRoute
		}
		return mail.ScopeSource
	case mail.ClassRateLimited:
		if gateway {
			return mail.ScopeRoute
		}
		return mail.ScopeSite
	case mail.ClassRelayDenied:
		if gateway {
			return mail.ScopeRoute
		}
		return mail.ScopeRecipient
	case mail.ClassNetwork:
		switch in.Stage {
		case mail.StageDNS:
			return mail.ScopeSite
		case mail.StageReport:
			return mail.ScopeRecipient
		}
		return mail.ScopeHost
	}
	// protocol, transient-system, other: the stage says who was meant.
	switch in.Stage {
	case mail.StageConnect, mail.StageGreeting, mail.StageEhlo, mail.StageStartTLS, mail.StageAuth, mail.StageQuit:
		return mail.ScopeHost
	case mail.StageDNS:
		return mail.ScopeSite
	case mail.StageMail:
		if digit == 4 && class != mail.ClassProtocol {
			return mail.ScopeHost
		}
		return mail.ScopeSender
	case mail.StageData, mail.StageBody, mail.StageDot:
		if in.Code == 421 {
			return mail.ScopeHost
		}
		return mail.ScopeMessage
	}
	if in.Code == 421 {
		// RFC 5321 §3.8: the server closes the channel, whatever it was asked.
		return mail.ScopeHost
	}
	return mail.ScopeRecipient
}

func beforeMail(s mail.Stage) bool {
	switch s {
	case mail.StageConnect, mail.StageGreeting, mail.StageEhlo, mail.StageStartTLS, mail.StageAuth:
		return true
	}
	return false
}

func beforeRcpt(s mail.Stage) bool { return beforeMail(s) || s == mail.StageMail }

func aboutRecipient(c mail.Class) bool {
	switch c {
	case mail.ClassInvalidRecipient, mail.ClassInvalidDomain, mail.ClassInactive, mail.ClassMailboxFull:
		return true
	}
	return false
}
