package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// told is an object of the API as it came: --json prints it whole, also what this program has no use for.
type told struct{ raw json.RawMessage }

// keep reads the object into v, and keeps it.
func (t *told) keep(b []byte, v any) error {
	t.raw = slices.Clone(b)
	return json.Unmarshal(b, v)
}

// delivery is a delivery as the API tells it.
type delivery struct {
	told      `json:"-"`
	ID        string    `json:"id"`
	Message   string    `json:"message"`
	Account   string    `json:"account"`
	Stream    string    `json:"stream"`
	Recipient string    `json:"recipient"`
	Sender    string    `json:"sender"`
	Subject   string    `json:"subject"`
	State     string    `json:"state"`
	Class     string    `json:"class"`
	Attempts  int       `json:"attempts"`
	Reply     string    `json:"reply"`
	Reason    string    `json:"reason"`
	Created   time.Time `json:"created_at"`
	Updated   time.Time `json:"updated_at"`
	Next      time.Time `json:"next"`
	ExpiresAt time.Time `json:"expires_at"`
	Uncertain bool      `json:"uncertain"`
	Why       string    `json:"why"`
	// What came back afterwards.
	Late         bool `json:"late"`
	Complained   bool `json:"complained"`
	Unsubscribed bool `json:"unsubscribed"`
	AutoReplied  bool `json:"auto_replied"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *delivery) UnmarshalJSON(b []byte) error {
	type plain delivery
	return d.keep(b, (*plain)(d))
}

// MarshalJSON implements json.Marshaler.
func (d delivery) MarshalJSON() ([]byte, error) { return d.raw, nil }

// final reports whether the delivery is over.
func (d *delivery) final() bool {
	switch d.State {
	case "queued", "held", "deferred", "":
		return false
	}
	return true
}

// arrived reports whether somebody took the mail.
func (d *delivery) arrived() bool { return d.State == "delivered" || d.State == "relayed" }

// standing says where a delivery stands, and what came back of it.
func (d *delivery) standing() string {
	s := paint(d.State)
	if d.Late {
		s += " (late)"
	}
	for _, x := range []struct {
		is   bool
		what mail.EventType
	}{{d.Complained, mail.EventComplained}, {d.Unsubscribed, mail.EventUnsubscribed}, {d.AutoReplied, mail.EventAutoReplied}} {
		if x.is {
			s += ", " + paint(string(x.what))
		}
	}
	return s
}

// message is a message as the API tells it.
type message struct {
	ID         string     `json:"id"`
	Account    string     `json:"account"`
	Stream     string     `json:"stream"`
	From       string     `json:"from"`
	Subject    string     `json:"subject"`
	MessageID  string     `json:"message_id"`
	Size       int64      `json:"size"`
	AcceptedAt time.Time  `json:"accepted_at"`
	ResentOf   string     `json:"resent_of,omitempty"`
	ResentAs   []string   `json:"resent_as,omitempty"`
	Deliveries []delivery `json:"deliveries,omitempty"`
	Next       string     `json:"next,omitempty"`
}

// event is an event as the API tells it.
type event struct {
	told      `json:"-"`
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Time      time.Time `json:"time"`
	Message   string    `json:"message"`
	Delivery  string    `json:"delivery"`
	Recipient string    `json:"recipient"`
	Class     string    `json:"class"`
	Scope     string    `json:"scope"`
	Rule      string    `json:"rule"`
	Late      bool      `json:"late"`
	Next      time.Time `json:"next"`
	Reason    string    `json:"reason"`
	Attempt   *attempt  `json:"attempt"`
	Report    *cameBy   `json:"report,omitempty"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *event) UnmarshalJSON(b []byte) error {
	type plain event
	return e.keep(b, (*plain)(e))
}

// MarshalJSON implements json.Marshaler.
func (e event) MarshalJSON() ([]byte, error) { return e.raw, nil }

// cameBy is the report an event was made of.
type cameBy struct {
	ID       string `json:"id"`
	Door     string `json:"door"`
	Kind     string `json:"kind"`
	Evidence string `json:"evidence"`
	MTA      string `json:"mta,omitempty"`
	Feedback string `json:"feedback,omitempty"`
}

// line tells of a report in words.
func (c *cameBy) line() string {
	s := "by a report (" + c.Kind
	if c.Feedback != "" {
		s += ", " + c.Feedback
	}
	s += ")"
	if c.MTA != "" {
		s += " of " + c.MTA
	}
	return s + ", known by its " + c.Evidence + "; " + dim(c.ID)
}

// attempt is one try.
type attempt struct {
	N          int           `json:"n"`
	Route      string        `json:"route"`
	Source     string        `json:"source"`
	MX         string        `json:"mx"`
	IP         string        `json:"ip"`
	TLS        string        `json:"tls"`
	TLSNote    string        `json:"tls_note"`
	Stage      string        `json:"stage"`
	Code       int           `json:"code"`
	Enhanced   string        `json:"enhanced"`
	Reply      string        `json:"reply"`
	Uncertain  bool          `json:"uncertain"`
	Waiting    time.Duration `json:"waiting_ns"`
	Connect    time.Duration `json:"connecting_ns"`
	Sending    time.Duration `json:"sending_ns"`
	Transcript string        `json:"transcript"`
}

// where tells which way an attempt went.
func (a *attempt) where() string {
	s := a.Route
	if a.Source != "" {
		s += " from " + a.Source
	}
	if a.MX != "" {
		s += " to " + a.MX
		if a.IP != "" {
			s += " [" + a.IP + "]"
		}
	}
	switch {
	case a.TLS != "":
		s += ", " + a.TLS
	case a.MX != "":
		s += ", clear"
	}
	return s
}

// times tells how long the steps took, as a mail log does.
func (a *attempt) times() string {
	return fmt.Sprintf("waited %s, connected in %s, sent in %s", span(a.Waiting), span(a.Connect), span(a.Sending))
}
