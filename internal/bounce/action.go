package bounce

import (
	"slices"

	"github.com/postroad/postroad/internal/mail"
)

// actionOf is the table of actions. It knows no history: suppress is said only of the class that suppresses at once;
// inactive, invalid-domain and mailbox-full need a second failure, which the suppression room counts. doubt is set where
// the decision rests on too little to suppress anybody.
func actionOf(class mail.Class, scope mail.Scope, result mail.Result, doubt bool) mail.Action {
	switch {
	case result == mail.Deferred && scope == mail.ScopeSource && class == mail.ClassBlocklistedIP:
		return mail.ActionRetryOtherSource
	case result == mail.Deferred:
		return mail.ActionRetry
	case class == mail.ClassInvalidRecipient && scope == mail.ScopeRecipient && !doubt:
		return mail.ActionSuppress
	}
	return mail.ActionGiveUp
}

// otherCausePriority is the priority from which a rule that did not win, but holds, tells of another cause.
const otherCausePriority = 440

// doubtful reports whether a rule by itself is too weak to suppress an address on, by its own word (vague) or by one in
// the text (doubt).
func (r *Rule) doubtful(sc *scratch) bool { return r.Vague || slices.ContainsFunc(r.doubt, sc.has) }

// otherCause reports whether the rule, which did not win, tells of another cause on the same text than that the address
// leads nowhere: "user unknown, or your host is blocked".
func (r *Rule) otherCause() bool {
	return len(r.any) > 0 && r.Priority >= otherCausePriority &&
		r.Class != mail.ClassInvalidRecipient && r.Class != mail.ClassInvalidDomain && r.Class != mail.ClassInactive
}
