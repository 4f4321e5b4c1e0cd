package smtpclient

import (
	"errors"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// Reasons an Error may wrap in Err when the trouble is not the network's.
var (
	// ErrProtocol: the peer's octets make no sense as SMTP. It is temporary, as no reply at all would be.
	ErrProtocol = errors.New("protocol violation by the peer")
	// ErrNotOffered: the peer does not offer an extension the request needs.
	ErrNotOffered = errors.New("not offered by the peer")
	// ErrClearText: a password would go out in clear.
	ErrClearText = errors.New("refusing to send a password in clear")
	// ErrBadArgument: an address, name or parameter would break the dialogue.
	ErrBadArgument = errors.New("bad argument")
	// ErrClosed: the connection is spent, whatever ended it.
	ErrClosed = errors.New("connection is closed")
	// ErrNotDurable wraps what Transaction.Durable returned.
	ErrNotDurable = errors.New("attempt mark is not durable")
	// ErrContent wraps what reading the content returned.
	ErrContent = errors.New("content cannot be read")
)

// Error is the failure of a step of the dialogue.
type Error struct {
	Stage mail.Stage
	// Reply is the peer's refusal; nil when none came.
	Reply *smtp.Reply
	// Host is the peer as name[address].
	Host string
	// Err says what went wrong when there is no Reply; nil otherwise.
	Err error
	// Uncertain: the end of the content was sent and no reply to it came, so the peer may or may not have taken the
	// message (RFC 1047).
	Uncertain bool
	// Stale: a connection used before turned out to be gone before the peer answered anything of this transaction.
	// The same transaction may be tried on a new connection. Never set together with Uncertain.
	Stale bool
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("smtpclient: ")
	b.WriteString(e.Host)
	b.WriteString(": ")
	b.WriteString(string(e.Stage))
	b.WriteString(": ")
	switch {
	case e.Reply != nil:
		b.WriteString(strings.ReplaceAll(e.Reply.String(), "\n", " / "))
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	}
	if e.Uncertain {
		b.WriteString(" (uncertain: the message may have been taken)")
	}
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Code returns the reply's code, or 0 when no reply came.
func (e *Error) Code() int {
	if e.Reply == nil {
		return 0
	}
	return e.Reply.Code
}
