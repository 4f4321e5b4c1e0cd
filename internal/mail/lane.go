package mail

import (
	"context"
	"io"
	"strings"
)

// Lane is where limits hold and connections live: one way out, from one source, towards one receiver and site.
type Lane struct {
	Route    string `json:"route"`
	Source   string `json:"source,omitempty"`   // "" on a relay or provider route without a source of its own
	Receiver string `json:"receiver,omitempty"` // "" where no receiver is recognised
	Site     string `json:"site"`               // see Site; on a relay route its host and port
}

// String returns route[@source]>[receiver:]site.
func (l Lane) String() string {
	s := l.Route
	if l.Source != "" {
		s += "@" + l.Source
	}
	s += ">"
	if l.Receiver != "" {
		s += l.Receiver + ":"
	}
	return s + l.Site
}

// LaneParts returns the receiver and site of a lane's text (Lane.String). The site of a relay is host:port and
// has no receiver.
func LaneParts(kind RouteKind, lane string) (receiver, site string) {
	_, rest, ok := strings.Cut(lane, ">")
	if !ok {
		return "", ""
	}
	if kind == RouteMX && !strings.HasPrefix(rest, "[") {
		if r, s, ok := strings.Cut(rest, ":"); ok {
			return r, s
		}
	}
	return "", rest
}

// Target is where a domain's mail goes by some route, found before a lane is chosen.
type Target struct {
	Receiver string
	Site     string
}

// Job is what a session gets to do next: one message to one recipient, or to several of one lane where the route
// keeps the envelope sender.
type Job struct {
	Lane       Lane
	Message    *Message
	Deliveries []*Delivery // at least one; all of Message
	Attempts   []int       // number of the attempt of each delivery, from 1
	Body       Body
	// Durable waits until the attempt marks of this job are on disk. It must have returned nil before the final dot
	// is sent; an error ends the attempt as deferred.
	Durable func(ctx context.Context) error
}

// Body gives the stored bytes of a message.
type Body interface {
	// Size is the number of octets.
	Size() int64
	// Bytes returns all octets when they are in memory, else nil. They must not be changed.
	Bytes() []byte
	// Open returns a reader from the first octet; the caller closes it.
	Open() (io.ReadCloser, error)
}

// BytesBody is a Body held in memory.
type BytesBody []byte
