package bounce

import "github.com/postroad/postroad/internal/mail"

// actionOf is the table of actions. It knows no history: suppress is said only of the class that suppresses at once;
// inactive, invalid-domain and mailbox-full need a second failure, which the suppression room counts.
func actionOf(class mail.Class, scope mail.Scope, result mail.Result) mail.Action {
	switch {
	case result == mail.Deferred && scope == mail.ScopeSource && class == mail.ClassBlocklistedIP:
		return mail.ActionRetryOtherSource
	case result == mail.Deferred:
		return mail.ActionRetry
	case class == mail.ClassInvalidRecipient && scope == mail.ScopeRecipient:
		return mail.ActionSuppress
	}
	return mail.ActionGiveUp
}
