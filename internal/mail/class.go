package mail

// Stream tells what a message is to its recipient; it decides priority, compliance rules, suppression scope and pool.
type Stream string

// The two streams.
const (
	Transactional Stream = "transactional"
	Bulk          Stream = "bulk"
)

// Valid reports whether s is one of the two streams.
func (s Stream) Valid() bool { return s == Transactional || s == Bulk }

// Result is the outcome of an attempt or of a whole delivery.
type Result string

// Results of an attempt, and the three ends a delivery can come to without one.
const (
	// Delivered: accepted by the recipient's own MX. It does not mean "inbox".
	Delivered Result = "delivered"
	// Relayed: a gateway or provider took it; a later report may say more.
	Relayed Result = "relayed"
	// Deferred: not this time; the delivery stays live.
	Deferred Result = "deferred"
	// Bounced: refused for good.
	Bounced Result = "bounced"
	// Suppressed: never tried, the address must not be mailed.
	Suppressed Result = "suppressed"
	// Expired: still deferred at its deadline.
	Expired Result = "expired"
	// Cancelled: taken out by a person or an API call.
	Cancelled Result = "cancelled"
)

// Final reports whether a delivery with this result is over.
func (r Result) Final() bool { return r != Deferred && r != "" }

// Class says why, in our taxonomy of bounces (docs/bounces.md).
type Class string

// The classes. Every reply and report falls into exactly one.
const (
	ClassNone             Class = ""
	ClassInvalidRecipient Class = "invalid-recipient"
	ClassInvalidDomain    Class = "invalid-domain"
	ClassInactive         Class = "inactive"
	ClassMailboxFull      Class = "mailbox-full"
	ClassContentSize      Class = "content-size"
	ClassPolicySpam       Class = "policy-spam"
	ClassBlocklistedIP    Class = "blocklisted-ip"
	ClassAuthFailure      Class = "auth-failure"
	ClassRateLimited      Class = "rate-limited"
	ClassGreylisted       Class = "greylisted"
	ClassRelayDenied      Class = "relay-denied"
	ClassProtocol         Class = "protocol"
	ClassTransientSystem  Class = "transient-system"
	ClassNetwork          Class = "network"
	ClassExpired          Class = "expired"
	ClassOther            Class = "other"
)

// Classes lists every class but ClassNone, in the order reports show them.
var Classes = []Class{
	ClassInvalidRecipient, ClassInvalidDomain, ClassInactive, ClassMailboxFull, ClassContentSize, ClassPolicySpam,
	ClassBlocklistedIP, ClassAuthFailure, ClassRateLimited, ClassGreylisted, ClassRelayDenied, ClassProtocol,
	ClassTransientSystem, ClassNetwork, ClassExpired, ClassOther,
}

// Scope says how far a failure reaches: what else would fail the same way now.
type Scope string

// The scopes, from the narrowest to the widest. What each does is decided in one place, delivery's scope table.
const (
	ScopeNone      Scope = ""
	ScopeRecipient Scope = "recipient"
	ScopeMessage   Scope = "message"
	ScopeSender    Scope = "sender"
	ScopeSession   Scope = "session"
	ScopeHost      Scope = "host"
	ScopeSite      Scope = "site"
	ScopeReceiver  Scope = "receiver"
	ScopeSource    Scope = "source"
	ScopeRoute     Scope = "route"
	ScopeAccount   Scope = "account"
)

// Stage is the step of an attempt at which its reply came or its connection failed.
type Stage string

// The stages, in the order of the dialogue.
const (
	StageNone     Stage = ""
	StageDNS      Stage = "dns"
	StageConnect  Stage = "connect"
	StageGreeting Stage = "greeting"
	StageEhlo     Stage = "ehlo"
	StageStartTLS Stage = "starttls"
	StageAuth     Stage = "auth"
	StageMail     Stage = "mail"
	StageRcpt     Stage = "rcpt"
	StageData     Stage = "data"
	StageBody     Stage = "body"
	StageDot      Stage = "dot"
	StageQuit     Stage = "quit"
	// StageReport is an asynchronous report, hours or days after the dialogue.
	StageReport Stage = "report"
)

// Action is what follows from a class, once history has been looked at.
type Action string

// The actions.
const (
	ActionNone             Action = "none"
	ActionRetry            Action = "retry"
	ActionRetryOtherSource Action = "retry-other-source"
	ActionGiveUp           Action = "give-up"
	ActionSuppress         Action = "suppress"
)

// RouteKind is the kind of a way out.
type RouteKind string

// The kinds of route.
const (
	RouteMX       RouteKind = "mx"
	RouteRelay    RouteKind = "relay"
	RouteProvider RouteKind = "provider"
)
