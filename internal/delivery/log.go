package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// logOutcome writes the one line of a recipient's outcome, with the time spent waiting, connecting and sending.
func (d *Delivery) logOutcome(s *session, dl *mail.Delivery, o *mail.Outcome) {
	level := slog.LevelInfo
	if !d.log.Enabled(s.ctx, level) {
		return
	}
	m, a := s.job.Message, &o.Attempt
	attrs := []slog.Attr{
		slog.String(mail.LogEvent, string(o.Result)), slog.String(mail.LogTenant, m.Account),
		slog.String(mail.LogMsg, m.ID.String()), slog.String(mail.LogRcpt, dl.Recipient.String()),
		slog.Int(mail.LogAttempt, a.N), slog.String(mail.LogQueue, dl.Queue.String()), slog.String(mail.LogSource, a.Source),
		slog.String(mail.LogMX, a.Host+"["+a.IP+"]"), slog.String(mail.LogDelay, delays(a)),
		slog.Int(mail.LogCode, a.Code), slog.String(mail.LogECode, a.Enhanced),
	}
	if o.Class != mail.ClassNone {
		attrs = append(attrs, slog.String(mail.LogClass, string(o.Class)), slog.String(mail.LogErr, a.Reply))
	}
	d.log.LogAttrs(context.WithoutCancel(s.ctx), level, "attempt", attrs...)
}

// delays returns waiting/connecting/sending in seconds.
func delays(a *mail.Attempt) string {
	sec := func(t time.Duration) float64 { return t.Seconds() }
	return fmt.Sprintf("%.3f/%.3f/%.3f", sec(a.Waiting), sec(a.Connect), sec(a.Sending))
}

// errorsAs reports whether err wraps a T.
func errorsAs[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
