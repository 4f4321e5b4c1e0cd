package platform

import (
	"net/netip"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// State is the platform's declared state, as `postroad apply` reads and `postroad export` writes it. Names are unique
// within their list (senders, credentials and keys: within their account) and are the identity of an entry.
type State struct {
	Accounts []Account `toml:"accounts" json:"accounts,omitempty"`
	Pools    []Pool    `toml:"pools" json:"pools,omitempty"`
	Sources  []Source  `toml:"sources" json:"sources,omitempty"`
	Routes   []Route   `toml:"routes" json:"routes,omitempty"`
	Policies []Policy  `toml:"policies" json:"policies,omitempty"`
	Holds    []Hold    `toml:"holds" json:"holds,omitempty"`
	// LegalHolds keep what was sent from expiring and from being erased.
	LegalHolds []LegalHold `toml:"legal_holds" json:"legal_holds,omitempty"`
}

// AccountState says what an account may do.
type AccountState string

// The account states.
const (
	AccountActive    AccountState = "active"
	AccountThrottled AccountState = "throttled"
	AccountPaused    AccountState = "paused"
)

// Account is a tenant: one customer.
type Account struct {
	Name        string       `toml:"name" json:"name"`
	State       AccountState `toml:"state,omitempty" json:"state"`
	Contact     string       `toml:"contact,omitempty" json:"contact,omitempty"`
	Digest      Digest       `toml:"digest,omitempty" json:"digest,omitempty"` // reports by mail to Contact; "": off
	Senders     []Sender     `toml:"senders,omitempty" json:"senders,omitempty"`
	Credentials []Credential `toml:"credentials,omitempty" json:"credentials,omitempty"`
	Mailboxes   []Mailbox    `toml:"mailboxes,omitempty" json:"mailboxes,omitempty"`
	// BounceNotice says which notices senders get of their mail (off, failures, failures+delays); "": as it came in. What a
	// client asked for with NOTIFY (RFC 3461) stands above it.
	BounceNotice string `toml:"bounce_notice,omitempty" json:"bounce_notice,omitempty"`
	// ForwardAutoreplies says whose automatic replies senders get (off, transactional, bulk, all); "": as it came in.
	ForwardAutoreplies string    `toml:"forward_autoreplies,omitempty" json:"forward_autoreplies,omitempty"`
	Webhooks           []Webhook `toml:"webhooks,omitempty" json:"webhooks,omitempty"`
	// MaxConnections caps submission connections of the account at one time; 0: DefaultAccountConnections.
	MaxConnections int `toml:"max_connections,omitempty" json:"max_connections,omitempty"`
	// MessagesPerHour and RecipientsPerDay are quotas; 0: none.
	MessagesPerHour  int64 `toml:"messages_per_hour,omitempty" json:"messages_per_hour,omitempty"`
	RecipientsPerDay int64 `toml:"recipients_per_day,omitempty" json:"recipients_per_day,omitempty"`
	// Weight is the account's share of a lane against others; 0 means 1.
	Weight int `toml:"weight,omitempty" json:"weight,omitempty"`
	// Archive keeps the content the account sends; zero: it is gone with the last delivery.
	Archive Archive `toml:"archive,omitempty" json:"archive,omitzero"`
}

// Digest says how often an account's contact gets a report by mail.
type Digest string

// The cadences of digests. Days, weeks (from Monday) and months are those of UTC.
const (
	DigestOff     Digest = "off"
	DigestDaily   Digest = "daily"
	DigestWeekly  Digest = "weekly"
	DigestMonthly Digest = "monthly"
)

// SystemAccount is the name of the platform's own account: mail the platform writes itself goes in its name. It need not
// be declared; an operator who declares it can give it senders, keys and a policy of its own.
const SystemAccount = "postroad"

// DefaultAccountConnections is Account.MaxConnections where none is set.
const DefaultAccountConnections = 200

// Sender is a verified domain, or a verified single address, that an account may write From. "*" stands for any
// sender: only for an operator's own account whose clients are trusted to name themselves truthfully.
type Sender struct {
	Name     string `toml:"name" json:"name"` // domain in A-labels, address, or "*"
	Verified bool   `toml:"verified,omitempty" json:"verified"`
	// Keys are the DKIM keys of the sender domain.
	Keys []DKIMKey `toml:"keys,omitempty" json:"keys,omitempty"`
}

// DKIMKey is one signing key. The private key is kept encrypted by the store and is never part of an export.
type DKIMKey struct {
	Selector  string `toml:"selector" json:"selector"`
	Algorithm string `toml:"algorithm" json:"algorithm"` // "rsa-2048" or "ed25519"
	Active    bool   `toml:"active" json:"active"`       // sign with it
	Public    string `toml:"public,omitempty" json:"public,omitempty"`
	// Private is set in an apply file to bring a key along: PKCS #8 or PKCS #1 in PEM. Empty in a new key: one is made.
	Private string `toml:"private_key,omitempty" json:"-"`
	// Sealed is the private key, encrypted under the master key.
	Sealed []byte `toml:"-" json:"-"`
}

// CredentialKind says how a client proves itself.
type CredentialKind string

// The kinds of credential.
const (
	CredentialSMTP    CredentialKind = "smtp"    // name and password
	CredentialAPI     CredentialKind = "api"     // bearer key
	CredentialNetwork CredentialKind = "network" // the client's address alone
)

// Scope is what a credential may do.
type Scope string

// The scopes. A credential without any may send.
const (
	ScopeSend  Scope = "send"
	ScopeRead  Scope = "read"
	ScopeAdmin Scope = "admin" // the whole platform: operators only
	// ScopeContent, besides ScopeRead, is for the content of what was sent.
	ScopeContent Scope = "content"
)

// Newlines says what is done with a bare CR or LF in a submitted message.
type Newlines string

// The newline policies.
const (
	NewlinesReject    Newlines = "reject"
	NewlinesNormalise Newlines = "normalise"
)

// Credential is one way for an account's clients to log in.
type Credential struct {
	Name string         `toml:"name" json:"name"`
	Kind CredentialKind `toml:"kind" json:"kind"`
	// Username is the SMTP login name; unique on the platform. Empty: account/name.
	Username string  `toml:"username,omitempty" json:"username,omitempty"`
	Scopes   []Scope `toml:"scopes,omitempty" json:"scopes,omitempty"`
	// Networks are the source networks it may be used from; empty means any, and is refused for kind network.
	Networks []netip.Prefix `toml:"networks,omitempty" json:"networks,omitempty"`
	// Secret is set in an apply file to choose the password or key; it is never stored or exported. Empty in a new
	// smtp or api credential: one is made and shown once.
	Secret string `toml:"secret,omitempty" json:"-"`
	// Hash is what is stored: SHA-256 of an api key (256 random bits need no slow hash), argon2id of a password.
	Hash     string      `toml:"-" json:"-"`
	Stream   mail.Stream `toml:"stream,omitempty" json:"stream,omitempty"` // default stream; "": transactional
	Newlines Newlines    `toml:"newlines,omitempty" json:"newlines,omitempty"`
	Tags     []string    `toml:"tags,omitempty" json:"tags,omitempty"`
	Disabled bool        `toml:"disabled,omitempty" json:"disabled,omitempty"`
}

// Pool is a set of sources.
type Pool struct {
	Name    string   `toml:"name" json:"name"`
	Sources []string `toml:"sources" json:"sources"`
	// Accounts a dedicated pool serves; empty: a shared pool.
	Accounts []string `toml:"accounts,omitempty" json:"accounts,omitempty"`
}

// Source is one egress IP address with its EHLO name.
type Source struct {
	Name string     `toml:"name" json:"name"`
	IP   netip.Addr `toml:"ip,omitempty" json:"ip,omitzero"` // zero: the system's choice
	// IPv6 is a second address of the same source for IPv6 peers; zero: none.
	IPv6   netip.Addr `toml:"ipv6,omitempty" json:"ipv6,omitzero"`
	EHLO   string     `toml:"ehlo,omitempty" json:"ehlo,omitempty"` // "": the platform's host name
	Weight int        `toml:"weight,omitempty" json:"weight,omitempty"`
	State  string     `toml:"state,omitempty" json:"state,omitempty"` // "" active, "resting"
}

// TLSMode says how much TLS a route or site needs.
type TLSMode string

// The TLS modes.
const (
	TLSOpportunistic TLSMode = "opportunistic" // use it when it works, certificate not checked
	TLSRequired      TLSMode = "required"      // never in clear; certificate not checked
	TLSVerify        TLSMode = "verify"        // never in clear; certificate must be valid for the host
	TLSImplicit      TLSMode = "implicit"      // TLS from the first octet, certificate must be valid
	TLSNone          TLSMode = "none"          // do not use it: for loopback peers
)

// ReturnPath says what envelope sender goes out.
type ReturnPath string

// The return path kinds.
const (
	ReturnPathVERP   ReturnPath = "verp"   // signed, per delivery: bounces come back to us
	ReturnPathFixed  ReturnPath = "fixed"  // Route.ReturnAddress
	ReturnPathSender ReturnPath = "sender" // the submitted envelope sender
)

// Route is a way out.
type Route struct {
	Name string         `toml:"name" json:"name"`
	Kind mail.RouteKind `toml:"kind" json:"kind"`

	Pool string `toml:"pool,omitempty" json:"pool,omitempty"` // kind mx; kind relay may name one too

	Host     string  `toml:"host,omitempty" json:"host,omitempty"` // kind relay
	Port     int     `toml:"port,omitempty" json:"port,omitempty"` // 0: 25, or 465 with TLS implicit
	TLS      TLSMode `toml:"tls,omitempty" json:"tls,omitempty"`   // "": opportunistic for mx, verify for relay
	Auth     string  `toml:"auth,omitempty" json:"auth,omitempty"` // "", "plain", "login", "cram-md5"
	Username string  `toml:"username,omitempty" json:"username,omitempty"`
	// Password is set in an apply file; Sealed is what is stored.
	Password string `toml:"password,omitempty" json:"-"`
	Sealed   []byte `toml:"-" json:"-"`

	ReturnPath    ReturnPath `toml:"return_path,omitempty" json:"return_path,omitempty"` // "": verp for mx, sender for relay
	ReturnAddress string     `toml:"return_address,omitempty" json:"return_address,omitempty"`

	// MaxConnections, MessagesPerConnection and MaxRecipients bound a lane of this route; 0: the default of its kind.
	MaxConnections        int `toml:"max_connections,omitempty" json:"max_connections,omitempty"`
	MessagesPerConnection int `toml:"messages_per_connection,omitempty" json:"messages_per_connection,omitempty"`
	MaxRecipients         int `toml:"max_recipients,omitempty" json:"max_recipients,omitempty"` // of one transaction
	// AllowPrivate lets the route connect to loopback, private and own addresses.
	AllowPrivate bool `toml:"allow_private,omitempty" json:"allow_private,omitempty"`
	// NotifySuccess asks the relay for success DSNs (RFC 3461).
	NotifySuccess bool `toml:"notify_success,omitempty" json:"notify_success,omitempty"`
	Paused        bool `toml:"paused,omitempty" json:"paused,omitempty"`
}

// Policy is an ordered list of rules that choose a route. The first rule that matches decides. The policy named
// "default" serves every account without one of its own; a policy named like an account serves that account.
type Policy struct {
	Name  string       `toml:"name" json:"name"`
	Rules []PolicyRule `toml:"rules" json:"rules"`
}

// PolicyRule matches when every condition it sets does; one without any always matches.
type PolicyRule struct {
	Stream           mail.Stream `toml:"stream,omitempty" json:"stream,omitempty"`
	SenderDomains    []string    `toml:"sender_domains,omitempty" json:"sender_domains,omitempty"`
	RecipientDomains []string    `toml:"recipient_domains,omitempty" json:"recipient_domains,omitempty"`
	Tags             []string    `toml:"tags,omitempty" json:"tags,omitempty"`
	Verified         *bool       `toml:"verified,omitempty" json:"verified,omitempty"`
	Route            string      `toml:"route" json:"route"`
}

// Hold is a standing rule that keeps matching mail, also mail that arrives later, until it is released or expires.
// Empty conditions match everything; a hold sets at least one.
type Hold struct {
	Name       string      `toml:"name" json:"name"`
	Account    string      `toml:"account,omitempty" json:"account,omitempty"`
	Stream     mail.Stream `toml:"stream,omitempty" json:"stream,omitempty"`
	Domain     string      `toml:"domain,omitempty" json:"domain,omitempty"` // of the recipient
	Sender     string      `toml:"sender,omitempty" json:"sender,omitempty"` // envelope or header sender, or its domain
	Credential string      `toml:"credential,omitempty" json:"credential,omitempty"`
	Tag        string      `toml:"tag,omitempty" json:"tag,omitempty"`
	Route      string      `toml:"route,omitempty" json:"route,omitempty"` // lane suspension: by route, source, site
	Source     string      `toml:"source,omitempty" json:"source,omitempty"`
	Site       string      `toml:"site,omitempty" json:"site,omitempty"`
	Receiver   string      `toml:"receiver,omitempty" json:"receiver,omitempty"`
	Reason     string      `toml:"reason" json:"reason"`
	Since      time.Time   `toml:"since,omitempty" json:"since,omitzero"`
	Expires    time.Time   `toml:"expires,omitempty" json:"expires,omitzero"` // zero: until released
}

// Alert is a trouble the operator should know of, from when it began until it cleared.
type Alert struct {
	ID      int64     `json:"id"`
	Kind    string    `json:"kind"`
	Scope   string    `json:"scope"` // what it is about: route/x, source/y, account/z …
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
	Last    time.Time `json:"last"`
	Count   int64     `json:"count"`
	Cleared time.Time `json:"cleared,omitzero"`
}
