package queue

import (
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// event makes the event of what became of an entry; o may be nil.
func (c *core) event(e *entry, t mail.EventType, o *mail.Outcome) *mail.Event {
	ev := &mail.Event{
		Type: t, At: c.now, Account: e.q.id.key.Account, Stream: e.q.id.key.Stream,
		Message: e.d.Message, Delivery: e.d.ID, Recipient: e.d.Recipient.String(), Notify: e.d.Notify,
	}
	if o != nil {
		ev.Class, ev.Scope, ev.Action, ev.Rule = o.Class, o.Scope, o.Action, o.Rule
		if !o.Attempt.At.IsZero() {
			ev.Attempt = &o.Attempt
		}
	}
	return ev
}

// answerOf is an outcome in short.
func answerOf(o *mail.Outcome, now time.Time) mail.LastAnswer {
	a := mail.LastAnswer{
		At: now, Result: o.Result, Class: o.Class, Scope: o.Scope, Stage: o.Attempt.Stage,
		Reply: o.Attempt.Reply, Host: o.Attempt.Host,
	}
	if len(a.Reply) > mail.MaxLastReply {
		a.Reply = strings.Clone(mail.Cut(a.Reply, mail.MaxLastReply)) // not the whole reply kept alive by a part of it
	}
	return a
}
