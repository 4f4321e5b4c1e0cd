package egress

import "github.com/postroad/postroad/internal/mail"

// Extent names what rests after a failure: nothing, or all mail that shares the named part of the lane.
type Extent string

// The extents, from the narrowest to the widest but for account, which lies across.
const (
	ExtentNone     Extent = ""
	ExtentLane     Extent = "lane"     // this route, source, receiver and site
	ExtentReceiver Extent = "receiver" // this source towards this receiver; the lane where no receiver is recognised
	ExtentSource   Extent = "source"   // this source, wherever it sends
	ExtentRoute    Extent = "route"    // this route, whatever its lanes
	ExtentAccount  Extent = "account"  // this account towards this receiver, from every source
)

// Effect is what a failure does beside ending the attempt it happened in.
type Effect struct {
	// NextHost: the same attempt goes on with the next host of the plan, if there is one.
	NextHost bool
	// NewConnection: the connection is of no more use; what follows needs another.
	NewConnection bool
	// OtherSource: the delivery may be tried once from one other source of the same pool.
	OtherSource bool
	// Delay is what rests, for the time Backoff gives.
	Delay Extent
	// PauseRoute: the route itself is at fault; its mail is kept until it works again or is repaired.
	PauseRoute bool
	// Alert is the kind of alert to raise, "" for none.
	Alert string
	// CountsAttempt: the delivery was tried and has used up an attempt.
	CountsAttempt bool
}

// The kinds of alert a failure raises.
const (
	AlertRouteRefused   = "route-refused"   // a relay or provider refuses us: credentials, permission, quota
	AlertSourceFailed   = "source-failed"   // nothing can be sent from a source
	AlertReputation     = "reputation"      // a second source was refused for its reputation as well
	AlertAccountRefused = "account-refused" // a receiver refuses one account
)

// EffectOf is the scope table. scope and class are those of the verdict or of the failed step; kind is that of the
// route. A success has no scope and no effect. Unknown scopes act like ScopeRecipient: the narrowest harm.
func EffectOf(scope mail.Scope, class mail.Class, kind mail.RouteKind) Effect {
	switch scope {
	case mail.ScopeNone, mail.ScopeRecipient, mail.ScopeMessage:
		return Effect{CountsAttempt: true}

	case mail.ScopeSender:
		// Domain, content or URL reputation and sender addresses follow the mail wherever it goes: never another
		// source. A sender that is told to slow down slows its own account, not the lane.
		if class == mail.ClassRateLimited {
			return Effect{Delay: ExtentAccount, CountsAttempt: true}
		}
		return Effect{CountsAttempt: true}

	case mail.ScopeSession:
		// The peer is done with this connection (421, too many errors, lost connection inside the dialogue).
		return Effect{NewConnection: true, CountsAttempt: true}

	case mail.ScopeHost:
		// RFC 5321 §5.1: the other hosts are tried first. Only when none is left does the lane rest.
		return Effect{NextHost: true, NewConnection: true, Delay: ExtentLane}

	case mail.ScopeSite:
		return Effect{NewConnection: true, Delay: ExtentLane}

	case mail.ScopeReceiver:
		return Effect{NewConnection: true, Delay: ExtentReceiver}

	case mail.ScopeSource:
		if reputation(class) {
			// At most one other source; when that is refused too, queue rests the account at this receiver.
			return Effect{NewConnection: true, OtherSource: true, CountsAttempt: true}
		}
		if class == mail.ClassRateLimited {
			// A receiver that slows one address down speaks of itself only.
			return Effect{NewConnection: true, Delay: ExtentReceiver}
		}
		// The address cannot be used at all: not configured on this machine, its proxy down.
		return Effect{NewConnection: true, Delay: ExtentSource, Alert: AlertSourceFailed}

	case mail.ScopeRoute:
		if class == mail.ClassNetwork || class == mail.ClassTransientSystem || class == mail.ClassRateLimited {
			// The way out is down or busy, not wrong.
			return Effect{NewConnection: true, Delay: ExtentRoute}
		}
		if kind == mail.RouteMX {
			// A direct route has no account that could be refused; what fails is this lane.
			return Effect{NewConnection: true, Delay: ExtentLane}
		}
		// AUTH failure, relaying denied, quota, unverified sender: a wrong relay password must not bounce a queue.
		return Effect{NewConnection: true, Delay: ExtentRoute, PauseRoute: true, Alert: AlertRouteRefused}

	case mail.ScopeAccount:
		return Effect{Delay: ExtentAccount, Alert: AlertAccountRefused, CountsAttempt: true}
	}
	return Effect{CountsAttempt: true}
}

// reputation reports whether a refusal of a source is about what the receiver thinks of its address.
func reputation(class mail.Class) bool {
	return class == mail.ClassBlocklistedIP || class == mail.ClassPolicySpam
}
