package main

import (
	"fmt"
	"time"
)

// delivery is a delivery as the API tells it.
type delivery struct {
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
}

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
	Deliveries []delivery `json:"deliveries,omitempty"`
	Next       string     `json:"next,omitempty"`
}

// event is an event as the API tells it.
type event struct {
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
