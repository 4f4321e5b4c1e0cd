package smtpserver

import (
	"context"
	"crypto/tls"
	"io"
	"net/netip"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// Handler begins a session for a new connection, before the greeting, and once more after STARTTLS, so that nothing
// learned in clear is left. An error is answered instead of the greeting, and the connection is closed.
//
// info stays valid and is kept up to date by the server for as long as the session lives; the session may read it
// during its calls.
type Handler func(ctx context.Context, info *ConnInfo) (Session, error)

// ConnInfo is what the server knows of a connection.
type ConnInfo struct {
	Remote netip.AddrPort
	Local  netip.AddrPort
	// TLS is the state of the connection's TLS, nil in clear.
	TLS *tls.ConnectionState
	// Helo is the client's name for itself, checked for form only: printable ASCII without what delimits anything in a
	// header field. "" before EHLO or HELO.
	Helo string
	// Extended: the client said EHLO.
	Extended bool
	// Authenticated: an AUTH succeeded.
	Authenticated bool
	// UTF8: the transaction uses SMTPUTF8.
	UTF8 bool
}

// Protocol returns the "with" value of the Received field: SMTP, ESMTP, ESMTPS, ESMTPA, ESMTPSA (RFC 3848), or
// UTF8SMTP and so on (RFC 6531 §4.3).
func (c *ConnInfo) Protocol() string {
	if !c.Extended {
		return "SMTP"
	}
	p := "ESMTP"
	if c.UTF8 {
		p = "UTF8SMTP"
	}
	if c.TLS != nil {
		p += "S"
	}
	if c.Authenticated {
		p += "A"
	}
	return p
}

// TLSName returns the TLS version and cipher suite, "TLS1.3 TLS_AES_128_GCM_SHA256"; "" in clear.
func (c *ConnInfo) TLSName() string {
	if c.TLS == nil {
		return ""
	}
	version := "TLS?"
	switch c.TLS.Version {
	case tls.VersionTLS12:
		version = "TLS1.2"
	case tls.VersionTLS13:
		version = "TLS1.3"
	case tls.VersionTLS11:
		version = "TLS1.1"
	case tls.VersionTLS10:
		version = "TLS1.0"
	}
	return version + " " + tls.CipherSuiteName(c.TLS.CipherSuite)
}

// Session decides about the mail of one connection. The server calls it from one goroutine, in the order of the
// dialogue: Mail, then Rcpt any number of times, then Data at most once, then Reset; Close at last.
//
// An error that is, or wraps, a *smtp.ReplyError is answered with its reply; a reply of code 421 ends the connection.
// Any other error is logged and answered 451 4.3.0. The context ends when the server stops waiting for the dialogue
// in hand.
type Session interface {
	// Mail begins a transaction. The zero address is the null path.
	Mail(ctx context.Context, from mail.Address, o MailOptions) error
	// Rcpt adds a recipient. An error refuses this one only.
	Rcpt(ctx context.Context, to mail.Address, o RcptOptions) error
	// Data takes the content, after at least one Rcpt returned nil. r gives whole, clean text: see smtp.DataReader;
	// where r returns an error other than io.EOF the content must not be kept. What Data leaves unread is read and
	// thrown away. The reply returned with a nil error is the answer, and means that the message is safe; its zero
	// value stands for 250 2.0.0 OK. r is not valid after Data has returned.
	Data(ctx context.Context, r io.Reader) (smtp.Reply, error)
	// Reset ends a transaction: it is called exactly once after each Mail that returned nil, be it that Data was
	// called or not.
	Reset()
	// Close is the last call.
	Close()
}

// AuthSession is a Session whose clients can log in; for others AUTH is not offered.
type AuthSession interface {
	Session
	// Auth checks name and password. Nil means they fit. An error should be 535 5.7.8, or 454 4.7.0 where they could
	// not be checked.
	Auth(ctx context.Context, c Credentials) error
}

// NewlinesSession is a Session that chooses what is done with bare CR and LF; for others they are refused.
type NewlinesSession interface {
	Session
	// Newlines is asked when the content begins.
	Newlines() smtp.Newlines
}

// Credentials are what a client logs in with.
type Credentials struct {
	Mechanism string // PLAIN or LOGIN
	Username  string
	Password  string
}

// MailOptions are the parameters of MAIL.
type MailOptions struct {
	Size       int64 // declared size in octets (RFC 1870); 0: not declared
	EightBit   bool  // BODY=8BITMIME (RFC 6152)
	UTF8       bool  // SMTPUTF8 (RFC 6531)
	RequireTLS bool  // REQUIRETLS (RFC 8689)
	Ret        string
	EnvID      string // RFC 3461 §4.4, xtext decoded; printable ASCII
}

// RcptOptions are the parameters of RCPT.
type RcptOptions struct {
	Notify mail.Notify
	ORcpt  string // RFC 3461 §4.2: type;address, xtext decoded; no control characters
}
