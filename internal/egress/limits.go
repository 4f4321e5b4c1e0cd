package egress

import (
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// Limit bounds what goes on at one time between a source and a receiver, or on a lane where none is recognised.
type Limit struct {
	// Connections at one time.
	Connections int
	// MessagesPerConnection after which a connection is closed and another opened.
	MessagesPerConnection int
	// PerSecond is the most messages begun in a second; 0: no bound.
	PerSecond float64
}

// Defaults of lanes whose receiver is not in the table, by kind of route.
var (
	// DefaultMX: what a site that publishes nothing takes without complaint; the default of KumoMTA's shipped
	// shaping file.
	DefaultMX = Limit{Connections: 10, MessagesPerConnection: 100}
	// DefaultRelay: a gateway of the same organisation, or one that is paid to take mail.
	DefaultRelay = Limit{Connections: 20, MessagesPerConnection: 1000}
)

// receivers holds the starting points for direct mail, per source, by receiver name. None of these companies but
// Yahoo and Orange publishes a figure: they are what senders have found to be taken, and they age. Every entry says
// where it comes from.
var receivers = map[string]Limit{
	"google":             {Connections: 5, MessagesPerConnection: 50},    // KumoMTA policy-extras shaping, provider limit
	"microsoft-365":      {Connections: 5, MessagesPerConnection: 50},    // the same
	"microsoft-consumer": {Connections: 5, MessagesPerConnection: 50},    // the same; .olc.protection.outlook.com
	"yahoo":              {Connections: 10, MessagesPerConnection: 20},   // Yahoo help SLN3433: closes after 20 mails
	"apple":              {Connections: 10, MessagesPerConnection: 5},    // KumoMTA policy-extras shaping
	"comcast":            {Connections: 25, MessagesPerConnection: 1000}, // the same
	"mimecast":           {Connections: 10, MessagesPerConnection: 100},  // the same, per region
	"orange":             {Connections: 2, MessagesPerConnection: 100},   // published by Orange; KumoMTA #295
	"gmx":                {Connections: 4, MessagesPerConnection: 20},    // KumoMTA community shaping; with web.de
	"qq":                 {Connections: 4, MessagesPerConnection: 8},     // the same
	"netease":            {Connections: 4, MessagesPerConnection: 7},     // the same; 163.com and its sisters
	"yahoo-jp":           {Connections: 2, MessagesPerConnection: 20, PerSecond: 10},
}

// Limits returns the bounds between one source of the route and the receiver; receiver "" is a lane of its own. What
// the route sets wins over a default, but on direct routes never over a smaller bound of a known receiver.
func Limits(route *platform.Route, receiver string) Limit {
	l := DefaultRelay
	known := false
	if route.Kind == mail.RouteMX {
		if l, known = receivers[receiver]; !known {
			l = DefaultMX
		}
	}
	l.Connections = override(l.Connections, route.MaxConnections, known)
	l.MessagesPerConnection = override(l.MessagesPerConnection, route.MessagesPerConnection, known)
	return l
}

func override(limit, set int, known bool) int {
	if set <= 0 || known && set > limit {
		return limit
	}
	return set
}

// DefaultMaxRecipients of one transaction, where a route keeps the envelope sender. RFC 5321 §4.5.3.1.8: a server
// takes at least 100.
const DefaultMaxRecipients = 100

// MaxRecipients returns how many deliveries of one message may share a transaction on the route: 1 unless the
// envelope sender goes out as submitted, because a signed return path is made per delivery.
func MaxRecipients(route *platform.Route) int {
	kept := route.ReturnPath == platform.ReturnPathSender || route.ReturnPath == "" && route.Kind == mail.RouteRelay
	switch {
	case !kept:
		return 1
	case route.MaxRecipients > 0:
		return route.MaxRecipients
	case route.Kind == mail.RouteRelay:
		return DefaultMaxRecipients
	}
	return 1
}
