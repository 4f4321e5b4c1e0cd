package suppression

import (
	"slices"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// The feedback types that are no wish of a recipient's to get less mail: the opposite of one (RFC 6430), or what a mail
// system says of forged or infected mail (RFC 5965 §7.3, RFC 6591).
var noComplaint = []string{"not-spam", "auth-failure", "dkim", "virus"}

// Vague says of a bounce rule, by its id, that it rests on too little to put anybody on the list (bounce.Rule.Vague).
type Vague func(rule string) bool

// CauseOf says what an event counts as; CauseNone: for nothing. That is so for every class but those of a mailbox or
// domain, for a failure that reached further than the recipient, and for what a vague rule understood.
func CauseOf(e *mail.Event, vague Vague) platform.Cause {
	switch e.Type {
	case mail.EventBounced:
		return bounceCause(e, vague)
	case mail.EventComplained:
		if e.Report != nil && slices.Contains(noComplaint, e.Report.Feedback) {
			return platform.CauseNone
		}
		return platform.CauseComplaint
	case mail.EventUnsubscribed:
		return platform.CauseUnsubscribe
	}
	return platform.CauseNone
}

func bounceCause(e *mail.Event, vague Vague) platform.Cause {
	if e.Scope != mail.ScopeRecipient && e.Scope != mail.ScopeNone {
		return platform.CauseNone
	}
	if e.Rule != "" && vague(e.Rule) {
		return platform.CauseNone
	}
	switch e.Class {
	case mail.ClassInvalidRecipient:
		// The one class whose verdict says itself whether it is strong enough.
		if e.Action != mail.ActionSuppress {
			return platform.CauseNone
		}
	case mail.ClassInvalidDomain, mail.ClassInactive, mail.ClassMailboxFull:
	default:
		return platform.CauseNone
	}
	return platform.Cause(e.Class)
}

// CauseOfExpired says what a delivery that was tried until its deadline counts as, by its last deferral: a mailbox that
// was full or closed all the time is counted like one that said so for good. A recipient or domain that nobody called
// unknown for good is not.
func CauseOfExpired(last *mail.Event, vague Vague) platform.Cause {
	if last.Class != mail.ClassMailboxFull && last.Class != mail.ClassInactive {
		return platform.CauseNone
	}
	return bounceCause(last, vague)
}
