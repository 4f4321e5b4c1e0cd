package submission

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/tenant"
)

// Kind is the class of a submission error. Doors translate kinds; they never look at texts.
type Kind string

// The kinds. The first group is the submitter's to mend, the second the operator's.
const (
	BadRequest        Kind = "bad-request"         // a field is missing or has a wrong form
	BadAddress        Kind = "bad-address"         // an address is malformed
	BadContent        Kind = "bad-content"         // the message is malformed
	SenderNotAllowed  Kind = "sender-not-allowed"  // the account may not write as this name
	Forbidden         Kind = "forbidden"           // the credential may not do this
	Paused            Kind = "paused"              // the account is paused
	TooLarge          Kind = "too-large"           // the message is over the size limit
	TooManyRecipients Kind = "too-many-recipients" // of one message
	NoRecipients      Kind = "no-recipients"
	Quota             Kind = "quota"           // over the account's quota for now
	BadCredentials    Kind = "bad-credentials" // unknown name or wrong password
	Throttled         Kind = "throttled"       // too many failed log-ins
	InProgress        Kind = "in-progress"     // the first request with this idempotency key still runs
	KeyReused         Kind = "key-reused"      // the idempotency key came with another body

	NoSpace     Kind = "no-space"    // the spool's disk is at its floor
	Unavailable Kind = "unavailable" // the spool or the store does not answer
)

// Temporary reports whether the same request may work later without a change.
func (k Kind) Temporary() bool {
	switch k {
	case Quota, Throttled, InProgress, NoSpace, Unavailable:
		return true
	}
	return false
}

// Error is every error of this room that a client sees.
type Error struct {
	Kind Kind
	// Field names what is wrong, as the request writes it ("to[2]", "From", "attachments[0].content"); "" if no field.
	Field string
	// Detail says what is wrong and what to do, in words fit for the client. It never repeats a secret.
	Detail string
	// Code is the enhanced status code where one fits better than that of the kind; zero: the kind's.
	Code smtp.Enhanced
	// After is when the same request may work, where that is known; 0: it is not.
	After time.Duration
	// Err is the inner error, for the log only.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	s := "submission: " + string(e.Kind) + ": " + e.Detail
	if e.Field != "" {
		s = "submission: " + string(e.Kind) + " " + e.Field + ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the inner error.
func (e *Error) Unwrap() error { return e.Err }

func refuse(kind Kind, field, format string, args ...any) *Error {
	return &Error{Kind: kind, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of err, Unavailable for an error that is none of this room's.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Unavailable
}

// refusal turns a decision of tenant into an Error.
func refusal(err error) error {
	var r *tenant.Refusal
	if !errors.As(err, &r) {
		return &Error{Kind: Unavailable, Detail: "the request could not be checked", Err: err}
	}
	kind := Forbidden
	switch r.Reason {
	case tenant.AccountPaused:
		kind = Paused
	case tenant.SenderUnknown, tenant.SenderUnverified, tenant.SenderForeign:
		kind = SenderNotAllowed
	}
	return &Error{Kind: kind, Field: r.Field, Detail: r.Text}
}

// logRefusal writes down a refusal that is the client's to mend. Faults of ours are logged by the door that answers.
func (s *Service) logRefusal(ctx context.Context, p platform.Principal, c Client, err error) {
	var e *Error
	if !errors.As(err, &e) || e.Kind == Unavailable || e.Kind == NoSpace {
		return
	}
	s.o.Logger.LogAttrs(ctx, slog.LevelInfo, "message refused", slog.String(mail.LogEvent, "message_refused"),
		slog.String(mail.LogTenant, p.Account.Name), slog.Any(mail.LogClient, c.IP), slog.String(mail.LogClass, string(e.Kind)), slog.Any(mail.LogErr, e))
}
