package smtpd

import (
	"errors"
	"strings"

	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/submission"
)

// status is a reply code with its enhanced code.
type status struct {
	code     int
	enhanced smtp.Enhanced
}

// statuses says how each kind of refusal is answered. Where the same request may work later it is a 4xx, so that the
// client keeps the mail.
var statuses = map[submission.Kind]status{
	submission.BadRequest:        {550, smtp.Enhanced{5, 6, 0}}, // a control field of the message
	submission.BadAddress:        {553, smtp.Enhanced{5, 1, 3}},
	submission.BadContent:        {554, smtp.Enhanced{5, 6, 0}},
	submission.SenderNotAllowed:  {550, smtp.Enhanced{5, 7, 1}},
	submission.Forbidden:         {550, smtp.Enhanced{5, 7, 1}},
	submission.Paused:            {550, smtp.Enhanced{5, 7, 0}},
	submission.TooLarge:          {552, smtp.Enhanced{5, 3, 4}},
	submission.TooManyRecipients: {452, smtp.Enhanced{4, 5, 3}}, // RFC 5321 §4.5.3.1.10: the client sends the rest again
	submission.NoRecipients:      {554, smtp.Enhanced{5, 5, 1}},
	submission.Quota:             {450, smtp.Enhanced{4, 7, 1}},
	submission.BadCredentials:    {535, smtp.Enhanced{5, 7, 8}}, // RFC 4954 §6
	submission.Throttled:         {421, smtp.Enhanced{4, 7, 0}},
	submission.InProgress:        {451, smtp.Enhanced{4, 5, 0}},
	submission.KeyReused:         {550, smtp.Enhanced{5, 5, 0}},
	submission.NoSpace:           {452, smtp.Enhanced{4, 3, 1}},
	submission.Unavailable:       {451, smtp.Enhanced{4, 3, 0}},
}

// authUnavailable is for a log-in that could not be checked (RFC 4954 §6): never 535, which makes clients forget
// their password.
var authUnavailable = status{454, smtp.Enhanced{4, 7, 0}}

var (
	authRequired = smtp.Refuse(530, smtp.Enhanced{5, 7, 0}, "Authentication required")
	accountFull  = smtp.Refuse(421, smtp.Enhanced{4, 7, 0}, "Too many connections of this account; try again later")
)

// maxReplyText bounds the text of a reply, in octets: the line has at most smtp.MaxReplyLine with its codes.
const maxReplyText = 400

// refusal turns an error of submission into one that smtpserver answers. Others pass: they are the reader's, which
// smtpserver knows, or a fault of ours, which it logs and answers 451.
func refusal(err error) error {
	var e *submission.Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	return refuse(statuses[e.Kind], e)
}

// authRefusal is refusal for log-ins.
func authRefusal(err error) error {
	if submission.KindOf(err) != submission.Unavailable {
		return refusal(err)
	}
	var e *submission.Error
	if !errors.As(err, &e) {
		e = &submission.Error{Detail: "the log-in could not be checked; try again later", Err: err}
	}
	return refuse(authUnavailable, e)
}

func refuse(s status, e *submission.Error) error {
	if s.code == 0 {
		s = statuses[submission.Unavailable]
	}
	if !e.Code.IsZero() && int(e.Code[0]) == s.code/100 {
		s.enhanced = e.Code
	}
	text := e.Detail
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	return &smtp.ReplyError{Reply: smtp.NewReply(s.code, s.enhanced, "%s", replyText(text)), Err: e.Err}
}

// replyText makes text fit for a reply line: printable ASCII (RFC 5321 §4.2), not too long.
func replyText(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	if len(text) > maxReplyText {
		text = text[:maxReplyText-3] + "..."
	}
	return text
}
