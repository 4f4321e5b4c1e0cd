package submission

import (
	"net/netip"
	"time"

	"github.com/postroad/postroad/internal/compose"
	"github.com/postroad/postroad/internal/mail"
)

// Limits of a structured request.
const (
	// MaxVisible bounds to and cc together: everybody in them sees everybody.
	MaxVisible = 50
	MaxBcc     = 1000
)

// Person is an address with a display name.
type Person struct {
	Email string
	Name  string
}

// Attachment is a file that goes along. With a ContentID it is inline: the HTML part shows it as cid:ContentID.
type Attachment struct {
	Filename    string
	ContentType string
	ContentID   string
	Content     []byte
}

// Request is one message as an application asks for it, in parts or as it is.
type Request struct {
	From    Person
	ReplyTo []Person
	// To and Cc are in the message for all to see. Bcc get the same message and are not in it. Each of Recipients gets
	// a copy of its own, with its own address in To and nobody else's.
	To, Cc, Bcc []Person
	Recipients  []Person

	Subject     string
	Text, HTML  string
	Attachments []Attachment
	Headers     []Header

	// Raw is a whole message (RFC 5322) instead of the parts above; From, To, Cc, Bcc then are the envelope.
	Raw []byte

	Tags       []string
	Metadata   map[string]string
	Stream     mail.Stream // "": the credential's
	SendAt     time.Time
	ExpiresAt  time.Time
	RequireTLS bool

	// IdempotencyKey makes a second request of the same body answer with what the first made. BodyHash is the hash of
	// the request as it came.
	IdempotencyKey string
	BodyHash       [32]byte
	// Part tells the requests of one batch apart, which share a key; 0: it is alone.
	Part int

	ClientIP netip.Addr
	Protocol string // HTTP or HTTPS, for the Received field
}

// Header is one more header field.
type Header struct{ Name, Value string }

// settings are what a message can say about its own handling, in a request or in X-Postroad fields.
type settings struct {
	stream    mail.Stream
	tags      []string
	metadata  map[string]string
	sendAt    time.Time
	expiresAt time.Time

	requireTLS bool
}

// check holds the settings against their limits and fills in the stream and the expiry.
func (c *settings) check(s *Service, fallback mail.Stream, now time.Time) error {
	if c.stream == "" {
		c.stream = fallback
	}
	if c.stream == "" {
		c.stream = mail.Transactional
	}
	if !c.stream.Valid() {
		return refuse(BadRequest, "stream", "%q is none of transactional, bulk", c.stream)
	}
	if err := compose.CheckTags("tags", c.tags); err != nil {
		return contentError(err)
	}
	if err := compose.CheckMetadata("metadata", c.metadata); err != nil {
		return contentError(err)
	}
	if c.sendAt.After(now.Add(MaxSendAhead)) {
		return refuse(BadRequest, "send_at", "it is more than %d days ahead", int(MaxSendAhead.Hours()/24))
	}
	start := now
	if c.sendAt.After(now) {
		start = c.sendAt
	} else {
		c.sendAt = time.Time{}
	}
	latest := start.Add(s.o.Expiry.of(c.stream))
	switch {
	case c.expiresAt.IsZero() || c.expiresAt.After(latest):
		c.expiresAt = latest
	case !c.expiresAt.After(start):
		return refuse(BadRequest, "expires_at", "it is not after the time the message may first be sent")
	}
	return nil
}
