package smtpserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/smtp"
)

// Options are a server's settings. Hostname and Handler are required; every zero value means the default named.
type Options struct {
	// Hostname is our name in the greeting and in the reply to EHLO.
	Hostname string
	Handler  Handler
	Logger   *slog.Logger // nil: slog.Default()
	Observer Observer

	// TLS enables STARTTLS, or TLS from the first octet with ImplicitTLS; nil: neither.
	TLS         *tls.Config
	ImplicitTLS bool
	// ClearAuth also allows AUTH in clear, for clients on a loopback address.
	ClearAuth bool
	// RequireTLS offers REQUIRETLS (RFC 8689) under TLS.
	RequireTLS bool

	// Open is called first for each connection, in its own goroutine. It may wrap it, so that RemoteAddr and LocalAddr
	// tell other addresses, or refuse it with an error, which closes it without a word. nil: the connection as it is.
	Open func(net.Conn) (net.Conn, error)
	// Caps bounds connections; it may be shared by servers. nil: DefaultMaxConnections, DefaultMaxPerAddress.
	Caps *Caps

	MaxSize       int64 // of one content in octets; default smtp.DefaultMaxSize
	MaxRecipients int   // of one transaction; default DefaultMaxRecipients, at least smtp.MinRecipients
	MaxErrors     int   // wrong commands until 421; default DefaultMaxErrors
	MaxJunk       int   // commands without a message in between until 421; default DefaultMaxJunk

	CommandTimeout time.Duration // for one whole command line; default DefaultCommandTimeout
	TLSTimeout     time.Duration // for the handshake; default DefaultTLSTimeout
	DataTimeout    time.Duration // for one whole content; default DefaultDataTimeout
	DataGrace      time.Duration // how far a content may fall behind MinRate; default DefaultDataGrace
	MinRate        int           // octets a second of a content after DataGrace; default DefaultMinRate
	WriteTimeout   time.Duration // for the client to take replies; default DefaultWriteTimeout
	// DrainTimeout is how long the transactions in hand may go on after Run's context has ended; default
	// DefaultDrainTimeout.
	DrainTimeout time.Duration
}

// Defaults of Options.
const (
	DefaultMaxConnections = 5000
	DefaultMaxPerAddress  = 500
	DefaultMaxRecipients  = 1000
	DefaultMaxErrors      = 10
	DefaultMaxJunk        = 100

	DefaultCommandTimeout = 5 * time.Minute // RFC 5321 §4.5.3.2.7: at least 5 minutes
	DefaultTLSTimeout     = time.Minute
	DefaultDataTimeout    = 30 * time.Minute
	DefaultDataGrace      = 3 * time.Minute // RFC 5321 §4.5.3.2.5 gives a client as long for one block
	DefaultMinRate        = 500
	DefaultWriteTimeout   = time.Minute
	DefaultDrainTimeout   = 30 * time.Second
)

// Bounds that are not settings.
const (
	readBuffer    = 16 << 10 // octets read at once
	maxLine       = 2048     // of a command: RFC 5321 §4.5.3.1.4 with room for all extensions' parameters
	maxAuthLine   = 12288    // RFC 4954 §4
	maxReplies    = 8 << 10  // octets of replies kept back while the client pipelines
	refusalWrite  = 2 * time.Second
	maxHelo       = 255
	maxEnvID      = 100 // RFC 3461 §4.4
	maxORcpt      = 500 // RFC 3461 §4.2
	maxSizeDigits = 18
)

// RefusedReasons are all that Observer.Refused is called with.
var RefusedReasons = []string{"total", "address", "open", "handler", "tls", "errors", "junk", "timeout", "rate", "http", "panic", "shutdown"}

// Observer is told what happens, for counting. Any function may be nil; all must be quick and safe to call at once.
type Observer struct {
	Opened func()
	Closed func()
	// Refused: a connection was turned away or cut, for one of RefusedReasons.
	Refused func(reason string)
	// Replied is called for each reply, with the verb it answers ("" for the greeting, "?" for an unknown command,
	// "CONTENT" for the end of DATA or BDAT LAST) and its code.
	Replied func(verb string, code int)
	// Received: a content of that size was answered with success.
	Received func(octets int64)
}

func (o Options) withDefaults() (Options, error) {
	if o.Handler == nil {
		return o, errors.New("smtpserver: new server: no Handler")
	}
	if o.Hostname == "" || strings.ContainsFunc(o.Hostname, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return o, fmt.Errorf("smtpserver: new server: %q is no host name", o.Hostname)
	}
	if o.ImplicitTLS && o.TLS == nil {
		return o, errors.New("smtpserver: new server: ImplicitTLS without TLS")
	}
	if o.MaxRecipients != 0 && o.MaxRecipients < smtp.MinRecipients {
		return o, fmt.Errorf("smtpserver: new server: MaxRecipients %d is below %d (RFC 5321 4.5.3.1.8)", o.MaxRecipients, smtp.MinRecipients)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Caps == nil {
		o.Caps = NewCaps(DefaultMaxConnections, DefaultMaxPerAddress)
	}
	if o.Open == nil {
		o.Open = func(c net.Conn) (net.Conn, error) { return c, nil }
	}
	setDefault(&o.MaxSize, smtp.DefaultMaxSize)
	setDefault(&o.MaxRecipients, DefaultMaxRecipients)
	setDefault(&o.MaxErrors, DefaultMaxErrors)
	setDefault(&o.MaxJunk, DefaultMaxJunk)
	setDefault(&o.CommandTimeout, DefaultCommandTimeout)
	setDefault(&o.TLSTimeout, DefaultTLSTimeout)
	setDefault(&o.DataTimeout, DefaultDataTimeout)
	setDefault(&o.DataGrace, DefaultDataGrace)
	setDefault(&o.MinRate, DefaultMinRate)
	setDefault(&o.WriteTimeout, DefaultWriteTimeout)
	setDefault(&o.DrainTimeout, DefaultDrainTimeout)
	if o.Observer.Opened == nil {
		o.Observer.Opened = func() {}
	}
	if o.Observer.Closed == nil {
		o.Observer.Closed = func() {}
	}
	if o.Observer.Refused == nil {
		o.Observer.Refused = func(string) {}
	}
	if o.Observer.Replied == nil {
		o.Observer.Replied = func(string, int) {}
	}
	if o.Observer.Received == nil {
		o.Observer.Received = func(int64) {}
	}
	return o, nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}
