package mail

import "time"

// Message is one accepted content with its envelope, as it is kept from acceptance until its last delivery is over.
// Times are UTC, to the microsecond.
type Message struct {
	ID         MessageID `json:"id"`
	Account    string    `json:"account"`
	Credential string    `json:"credential,omitempty"` // name of the credential it came in with
	Stream     Stream    `json:"stream"`
	From       Address   `json:"from"` // envelope sender; the zero Address is the null sender <>
	AcceptedAt time.Time `json:"accepted_at"`
	SendAt     time.Time `json:"send_at,omitzero"`    // not before; zero: at once
	ExpiresAt  time.Time `json:"expires_at,omitzero"` // no attempt starts after it; always set once accepted

	// Facts of the content, read once at acceptance.
	HeaderFrom string            `json:"header_from,omitempty"` // first address of the From field
	Subject    string            `json:"subject,omitempty"`     // decoded, at most MaxSubject octets
	RFC822ID   string            `json:"message_id,omitempty"`  // the Message-ID field without its angle brackets
	Tags       []string          `json:"tags,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	Size       int64             `json:"size"` // octets of the content as stored
	// ResentOf is the message this one sends again.
	ResentOf   MessageID `json:"resent_of,omitzero"`
	Recipients int       `json:"recipients"`

	// Demands on the dialogue.
	EightBit   bool   `json:"eight_bit,omitempty"`   // the content has octets over 127 in its body (RFC 6152)
	UTF8       bool   `json:"utf8,omitempty"`        // addresses or header fields need SMTPUTF8 (RFC 6531)
	RequireTLS bool   `json:"require_tls,omitempty"` // never in clear: defer, then expire
	Verified   bool   `json:"verified,omitempty"`    // From is a verified sender of the account
	EnvID      string `json:"envid,omitempty"`       // RFC 3461 §4.4, xtext decoded
	Ret        string `json:"ret,omitempty"`         // RFC 3461 §4.3: "", FULL or HDRS

	Content Content `json:"content,omitzero"`
}

// MaxSubject bounds how much of a subject is kept in Message.Subject, in octets.
const MaxSubject = 250

// ContentKind says how the bytes that go out are made of what is stored.
type ContentKind string

// The content kinds.
const (
	// ContentRaw is a complete RFC 5322 message, sent as stored but for what the peer or the signature needs.
	ContentRaw ContentKind = "raw"
	// ContentPrivate is a message whose header has no To: each delivery gets one with its own recipient, named by
	// Delivery.Data, put before the stored header when it is sent.
	ContentPrivate ContentKind = "private"
)

// Content describes the stored bytes of a message.
type Content struct {
	Kind ContentKind `json:"kind"`
	// BodyOffset is where the body begins: the octets of the header and of the empty line after it.
	BodyOffset int64 `json:"body_offset"`
	// BodyHash is the SHA-256 of the body in DKIM's relaxed canonical form (RFC 6376 §3.4.4), kept so that signing
	// at send time need not read the body. Zero: not computed.
	BodyHash [32]byte `json:"body_hash"`
	// External: the bytes are in a file of their own, not in the frame.
	External bool `json:"external,omitempty"`
}

// Notify is the set of NOTIFY conditions of a recipient (RFC 3461 §4.1). The zero value: the sender did not say.
type Notify uint8

// The conditions. NotifyNever excludes the others.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Delivery is one message to one recipient: the unit that is queued, tried and reported. The spool holds one record
// of it for as long as it is live.
type Delivery struct {
	ID        DeliveryID `json:"id"`
	Message   MessageID  `json:"message"`
	Queue     QueueKey   `json:"queue"`
	Recipient Address    `json:"recipient"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt time.Time  `json:"expires_at"` // its deadline: no attempt starts after it

	Notify Notify `json:"notify,omitempty"`
	ORcpt  string `json:"orcpt,omitempty"` // RFC 3461 §4.2: "rfc822;address", xtext decoded
	Data   []byte `json:"-"`               // what its content kind needs for this recipient: the display name; nil: nothing

	// Due is the time of its one schedule key: when it may be tried next; its deadline while held; while in flight
	// the time of the next attempt.
	Due      time.Time `json:"due"`
	Attempts int       `json:"attempts"`       // attempts begun, the one in flight included
	Held     string    `json:"held,omitempty"` // name of the hold that keeps it; "": none
	// Mark is set while an attempt is in flight. One found open when a spool is opened is an uncertain attempt.
	Mark *Mark `json:"mark,omitempty"`
	// Crashes counts the starts in a row that found Mark open.
	Crashes int `json:"crashes,omitempty"`
	// Last is the last attempt's answer in short, for `queue` and for the expiry report; nil before the first.
	Last *LastAnswer `json:"last,omitempty"`
	// GreylistedBy is the source that met greylisting, kept until accepted or GreylistUntil: greylists key on the
	// address.
	GreylistedBy  string    `json:"greylisted_by,omitempty"`
	GreylistUntil time.Time `json:"greylist_until,omitzero"`
	// AvoidSource is a source that was refused for its reputation; one other source may be tried once.
	AvoidSource string `json:"avoid_source,omitempty"`
	// Uncertain: some attempt of this delivery ended between the final dot and the reply.
	Uncertain bool `json:"uncertain,omitempty"`
}

// Mark is what is committed before an attempt may pass its final dot.
type Mark struct {
	Attempt int       `json:"attempt"`
	Route   string    `json:"route"`
	Source  string    `json:"source,omitempty"`
	At      time.Time `json:"at"`
}

// LastAnswer is the last attempt in short.
type LastAnswer struct {
	At     time.Time `json:"at"`
	Result Result    `json:"result"`
	Class  Class     `json:"class,omitempty"`
	Scope  Scope     `json:"scope,omitempty"`
	Stage  Stage     `json:"stage,omitempty"`
	Reply  string    `json:"reply,omitempty"` // as Attempt.Reply, at most MaxLastReply octets
	Host   string    `json:"host,omitempty"`
}

// MaxLastReply bounds LastAnswer.Reply, in octets.
const MaxLastReply = 300

// QueueKey names a scheduled queue.
type QueueKey struct {
	Account string `json:"account"`
	Stream  Stream `json:"stream"`
	Domain  string `json:"domain"` // recipient domain, A-label form, lower case
}

// String returns account/stream/domain.
func (k QueueKey) String() string { return k.Account + "/" + string(k.Stream) + "/" + k.Domain }
