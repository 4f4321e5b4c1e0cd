package smtp

import "time"

// Limits of RFC 5321 §4.5.3.1, in octets with the CRLF, and our own beside them.
const (
	MaxCommandLine = 512       // §4.5.3.1.4; extensions add to it
	MaxReplyLine   = 512       // §4.5.3.1.5
	MaxTextLine    = 1000      // §4.5.3.1.6: 998 and the CRLF
	MaxBodyLine    = 64 << 10  // longer lines than MaxTextLine are taken up to this and re-encoded
	MaxReplyBytes  = 16 << 10  // of one whole reply of a peer, all lines
	MinRecipients  = 100       // §4.5.3.1.8: a server must take at least these
	MaxReceived    = 100       // §6.3: more Received fields are a loop
	DefaultMaxSize = 50 << 20  // of one message
	MaxHeaderBytes = 256 << 10 // of one header
	MaxMIMEDepth   = 100
)

// Time limits a client keeps per step, RFC 5321 §4.5.3.2.
const (
	ConnectTimeout  = 30 * time.Second
	GreetingTimeout = 5 * time.Minute
	EhloTimeout     = 5 * time.Minute
	MailTimeout     = 5 * time.Minute
	RcptTimeout     = 5 * time.Minute
	DataInitTimeout = 2 * time.Minute
	DataXferTimeout = 3 * time.Minute  // for each block
	DataDoneTimeout = 10 * time.Minute // §4.5.3.2.6: never lowered, a shorter one makes duplicates (RFC 1047)
	QuitTimeout     = 10 * time.Second
	TLSTimeout      = time.Minute // for STARTTLS and its handshake together; no RFC names one
	AuthTimeout     = 2 * time.Minute
)
