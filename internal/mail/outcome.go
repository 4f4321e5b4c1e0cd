package mail

import "time"

// Attempt is one try of a delivery: how it went out and what came back. Durations are zero where a step was not
// reached.
type Attempt struct {
	N      int       `json:"n"`
	At     time.Time `json:"at"` // when it was picked up
	Route  string    `json:"route,omitempty"`
	Kind   RouteKind `json:"kind,omitempty"`
	Source string    `json:"source,omitempty"`
	Lane   string    `json:"lane,omitempty"`
	Host   string    `json:"mx,omitempty"` // the peer's host name
	IP     string    `json:"ip,omitempty"`
	// TLS is the version negotiated ("TLS1.3"), "" for clear; TLSNote says why it is clear, or what was weak.
	TLS     string `json:"tls,omitempty"`
	TLSNote string `json:"tls_note,omitempty"`
	Stage   Stage  `json:"stage,omitempty"`
	// Code and Enhanced are the peer's; zero and empty when no reply came.
	Code     int    `json:"code,omitempty"`
	Enhanced string `json:"enhanced,omitempty"`
	// Reply is the peer's full reply verbatim, lines joined by LF, or our own words when there was none.
	Reply string `json:"reply,omitempty"`
	// DSN: the peer took over what the submitter asked to be told (RFC 3461 §5.2.1) and reports itself.
	DSN       bool          `json:"dsn,omitempty"`
	Uncertain bool          `json:"uncertain,omitempty"` // the connection died between our final dot and the reply (RFC 1047)
	Waiting   time.Duration `json:"waiting_ns,omitempty"`
	Connect   time.Duration `json:"connecting_ns,omitempty"`
	Sending   time.Duration `json:"sending_ns,omitempty"`
	// Transcript is the dialogue, AUTH masked and DATA omitted; "" unless transcripts are kept.
	Transcript string `json:"transcript,omitempty"`
}

// Outcome is what became of one delivery in one attempt, classified. Settling it is one atomic commit together with
// its event.
type Outcome struct {
	Delivery DeliveryID
	Result   Result
	Class    Class
	Scope    Scope
	Action   Action
	Rule     string // name of the bounce rule that decided; "" if none did
	Attempt  Attempt
	// RetryAfter is how long the peer asked us to wait, or the back-off the rule names; zero: our schedule.
	RetryAfter time.Duration
	// Tried is false when the delivery itself was not tried (a failure of its lane): it uses up no attempt.
	Tried bool
}
