package feedback

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
)

// makeEvent makes the event that follows from a report for one delivery. Its time is that of the report's arrival.
func makeEvent(x *reading, f *facts, res result, evidence mail.Evidence) *mail.Event {
	e := &mail.Event{
		Type: res.event, At: x.entry.Received.UTC().Truncate(time.Microsecond), Account: f.Account, Stream: f.Stream, Message: f.Message,
		Delivery: f.ID, Recipient: f.Recipient,
		Report: &mail.Report{
			ID: x.row.ID, Door: x.entry.Kind, Kind: string(x.rep.Kind), Evidence: evidence, MTA: x.row.MTA, Feedback: x.row.Feedback,
		},
	}
	// By what way the mail went out, so that statistics count the report where the mail was counted.
	a := &mail.Attempt{At: e.At, Stage: mail.StageReport}
	if l := f.last; l != nil {
		a.N, a.Route, a.Kind, a.Source, a.Lane = l.N, l.Route, l.Kind, l.Source, l.Lane
	}
	e.Attempt = a
	if res.event == mail.EventAutoReplied && x.rep.Kind == report.Challenge {
		e.Reason = "challenge"
	}
	if res.entry < 0 {
		return e
	}
	rc, v := &x.rep.Recipients[res.entry], &x.verdicts[res.entry]
	e.Class, e.Scope, e.Action, e.Rule = v.Class, v.Scope, v.Action, v.Rule
	if res.event == mail.EventAutoReplied {
		return e
	}
	a.Host, a.Code = clip(rc.RemoteMTA, maxAddress), rc.Code
	if a.Host == "" {
		a.Host = x.row.MTA
	}
	if !rc.Status.IsZero() {
		a.Enhanced = rc.Status.String()
	}
	if res.event != mail.EventComplained {
		a.Reply = clip(rc.Diagnostic, maxDiagnostic)
	}
	if res.event == mail.EventBounced {
		e.Late = true
		if e.Class == mail.ClassNone {
			e.Class = mail.ClassOther
		}
		if e.Action == mail.ActionSuppress && rc.Address != "" && !names(rc, f.Recipient) {
			// Some address behind the one we mailed has failed, a forward or a member of a list: ours exists.
			e.Action = mail.ActionGiveUp
			e.Reason = "the report names " + clip(rc.Address, maxAddress)
		}
	}
	return e
}
