package bounce

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// Input is one refusal with what is known of the moment it came. Fields that are not known stay zero: a rule that
// asks for one of them then does not apply.
type Input struct {
	Stage    mail.Stage
	Route    mail.RouteKind
	Code     int           // reply code; 0: no reply, Text is our own word for what happened
	Enhanced smtp.Enhanced // zero: none; one that leads Text is read from there
	Text     string        // reply text, lines joined by LF
	Receiver string        // the mailbox provider as mx names it: "google"; "": not recognised
}

// Verdict is what follows from a refusal.
type Verdict struct {
	Class  mail.Class
	Scope  mail.Scope
	Action mail.Action
	// Result is Deferred or Bounced.
	Result mail.Result
	// Rule is the id of the rule that gave the class; "" when none matched.
	Rule string
	// RetryAfter is how long the peer asked us to wait, or the rule's own back-off; 0: our schedule.
	RetryAfter time.Duration
}
