package feedback

import (
	"context"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/platform"
)

// forward hands mail to the operator on, before it leaves the inbox. What the platform sent itself stays here, else an
// operator's mailbox that returns its mail to us would go round for ever. It reports false where that must be tried again: the
// entry stays where it is, and the others go on. A crash in between makes it be handed on again.
func (r *Reader) forward(ctx context.Context, x *reading) bool {
	if r.o.Forward == nil || x.row.Mailbox == "" || x.aside || ownMail(x.entry.Raw) {
		return true
	}
	w, again := r.later[x.entry.Seq]
	if again && w.counted {
		return r.handOn(ctx, x)
	}
	switch fresh, first := r.passed.allow(r.o.Now()); {
	case first:
		r.o.Alert(platform.Alert{
			Kind: alertFlood, Scope: "mailbox/" + x.row.Mailbox,
			Message: fmt.Sprintf("more than %d mails an hour came for the operator: the rest of this hour's are kept and not sent on", maxForwards),
		})
		return true
	case !fresh:
		return true
	}
	ok := r.handOn(ctx, x)
	if !ok {
		w.counted = true // it will be tried again, and is one mail still
		r.later[x.entry.Seq] = w
	}
	return ok
}

// handOn hands one mail on and reports whether that is done.
func (r *Reader) handOn(ctx context.Context, x *reading) bool {
	err := r.o.Forward(ctx, x.row)
	if err != nil && ctx.Err() == nil {
		r.log.Warn("mail to the operator cannot be forwarded yet", mail.LogReport, x.row.ID, mail.LogErr, err)
	}
	return err == nil
}

// maxForwards bounds the mails an hour that are handed on: postmaster@ and abuse@ are known to everybody who sends spam.
const maxForwards = 100

// forwardCount counts what was handed on in an hour.
type forwardCount struct {
	hour int64
	n    int
}

// allow counts one more and reports whether it may be handed on, and whether it is the first that may not.
func (f *forwardCount) allow(now time.Time) (ok, first bool) {
	if hour := now.Unix() / 3600; hour != f.hour {
		*f = forwardCount{hour: hour}
	}
	f.n++
	return f.n <= maxForwards, f.n == maxForwards+1
}

// ownMail reports whether a mail is one that the platform has sent: its own header has our token, below the trace fields
// of its way back.
func ownMail(raw []byte) bool {
	h, _ := message.ReadHeaderLenient(raw, maxHeader)
	_, own := h.Get(tokenField)
	return own
}
