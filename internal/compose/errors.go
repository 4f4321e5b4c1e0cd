package compose

import (
	"errors"
	"fmt"

	"github.com/postroad/postroad/internal/smtp"
)

// Reasons that callers tell apart; wrapped in an Error.
var (
	// ErrLoop: so many Received fields that the message must be going round (RFC 5321 §6.3).
	ErrLoop = errors.New("the message loops")
	// ErrSigned: the content would have to be changed, but is signed or encrypted.
	ErrSigned = errors.New("signed content cannot be converted")
	// ErrConvert: the content would have to be changed, but its structure does not allow it.
	ErrConvert = errors.New("the content cannot be converted")
	// ErrInvalid: everything else.
	ErrInvalid = errors.New("the message is not acceptable")
)

// Enhanced status codes of refusals (RFC 3463 §3.5, §3.7).
var (
	codeContent = smtp.Enhanced{5, 6, 0} // other or undefined media error
	codeConvert = smtp.Enhanced{5, 6, 3} // conversion required but not supported
	codeLoop    = smtp.Enhanced{5, 4, 6} // routing loop detected
)

// Error is why content is refused.
type Error struct {
	// Field is what it is about: a header field ("From") or a path into a Message ("attachments[0].filename"); "" for
	// the message as a whole.
	Field string
	// Reason says what is wrong, for the submitter.
	Reason string
	// Code is the enhanced status code that fits.
	Code smtp.Enhanced
	// Err is the kind: ErrInvalid, ErrLoop, ErrSigned, ErrConvert; or an error of message that is one of a kind itself.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Field == "" {
		return "compose: " + e.Reason
	}
	return "compose: " + e.Field + ": " + e.Reason
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Err }

func invalid(field, format string, args ...any) *Error {
	return &Error{Field: field, Reason: fmt.Sprintf(format, args...), Code: codeContent, Err: ErrInvalid}
}
