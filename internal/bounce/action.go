package bounce

import "github.com/postroad/postroad/internal/mail"

// actionOf is the table of actions. It knows no history: suppress is said only of the class that suppresses at once;
// inactive, invalid-domain and mailbox-full need a second failure, which the suppression room counts. A rule that rests
// on too little to suppress anybody says so (vague).
func actionOf(class mail.Class, scope mail.Scope, result mail.Result, rule *Rule) mail.Action {
	switch {
	case result == mail.Deferred && scope == mail.ScopeSource && class == mail.ClassBlocklistedIP:
		return mail.ActionRetryOtherSource
	case result == mail.Deferred:
		return mail.ActionRetry
	case class == mail.ClassInvalidRecipient && scope == mail.ScopeRecipient && rule != nil && !rule.Vague:
		return mail.ActionSuppress
	}
	return mail.ActionGiveUp
}
