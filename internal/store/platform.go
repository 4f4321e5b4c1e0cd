package store

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// Kind names a list of platform.State.
type Kind string

// The kinds of entry.
const (
	KindAccount Kind = "account"
	KindPool    Kind = "pool"
	KindSource  Kind = "source"
	KindRoute   Kind = "route"
	KindPolicy  Kind = "policy"
	KindHold    Kind = "hold"

	KindLegalHold Kind = "legal_hold"
)

// KindSuppression is the kind of audit entries about the suppression list. Their name is the address; it is empty where
// they tell of many.
const KindSuppression Kind = "suppression"

// Change puts or deletes one entry of the platform's state. Make it with PutAccount and its like, or Delete.
type Change struct {
	Kind  Kind
	Name  string
	Value any // platform.Account, Pool, Source, Route, Policy, Hold or LegalHold; nil deletes
}

// PutAccount adds or replaces an account with its senders and credentials.
func PutAccount(a platform.Account) Change { return Change{KindAccount, a.Name, a} }

// PutPool adds or replaces a pool.
func PutPool(p platform.Pool) Change { return Change{KindPool, p.Name, p} }

// PutSource adds or replaces a source.
func PutSource(s platform.Source) Change { return Change{KindSource, s.Name, s} }

// PutRoute adds or replaces a route.
func PutRoute(r platform.Route) Change { return Change{KindRoute, r.Name, r} }

// PutPolicy adds or replaces a policy.
func PutPolicy(p platform.Policy) Change { return Change{KindPolicy, p.Name, p} }

// PutHold adds or replaces a hold.
func PutHold(h platform.Hold) Change { return Change{KindHold, h.Name, h} }

// PutLegalHold adds or replaces a legal hold.
func PutLegalHold(h platform.LegalHold) Change { return Change{KindLegalHold, h.Name, h} }

// Delete removes an entry.
func Delete(kind Kind, name string) Change { return Change{Kind: kind, Name: name} }

// Update is a set of changes made together.
type Update struct {
	Changes []Change
	// Expect is the version the caller based its changes on; AnyVersion to apply them to whatever is there.
	Expect int64
	Actor  string // who: "admin/ada", "credential/acme/app", "containment"
	At     time.Time
	Note   string // why, in words; may be empty
}

// AnyVersion is the Update.Expect that matches every version.
const AnyVersion int64 = -1

// AuditEntry says who changed what, when, and how it was before and after. Before and After are JSON without secrets.
type AuditEntry struct {
	ID      int64     `json:"id"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	Action  string    `json:"action"` // create, update, delete, or the caller's word
	Kind    Kind      `json:"kind"`
	Name    string    `json:"name"`
	Version int64     `json:"version,omitempty"` // of the state after it; 0 where the state did not change
	Before  string    `json:"before,omitempty"`
	After   string    `json:"after,omitempty"`
	// Secrets names the secrets that were set, replaced or removed: "credential/app", "key/example.com/s1", "password".
	Secrets []string `json:"secrets,omitempty"`
	Note    string   `json:"note,omitempty"`
}

// The actions ApplyState records.
const (
	ActionCreate = "create"
	ActionUpdate = "update"
	ActionDelete = "delete"
)

// AuditQuery selects audit entries. The zero query selects the newest.
type AuditQuery struct {
	Kind  Kind
	Name  string
	Actor string
	// Since and Until bound AuditEntry.At; zero: unbounded. Until is exclusive.
	Since, Until time.Time
	Before       int64 // entries with a smaller id; 0: from the newest
	Max          int   // 0: DefaultPage
}

// AlertQuery selects alerts.
type AlertQuery struct {
	Cleared bool // cleared ones too
	Kind    string
	Max     int // 0: DefaultPage
}

// FailuresKept is how long failures are remembered: as long as anything is decided by them.
const FailuresKept = 90 * 24 * time.Hour

// SuppressionQuery selects suppressions. Filters that are empty match everything.
type SuppressionQuery struct {
	// Account selects entries of one account; "" those of all accounts and of the platform.
	Account string
	// Platform selects only entries of the whole platform; Account must be empty.
	Platform bool
	Stream   mail.Stream // entries of that stream alone; ""; all
	Class    platform.Cause
	Reason   string // the whole reason
	Contains string // part of the address
	Domain   string // of the address; entries kept as a hash have none
	Receiver string
	Actor    string
	// Since and Until bound Suppression.Since; zero: unbounded. Until is exclusive.
	Since, Until time.Time
	Cursor       string
	Max          int // 0: DefaultPage
}

// DefaultPage and MaxPage bound what one page of a list holds.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// PageSize returns max within bounds: DefaultPage where it is not set, at most MaxPage.
func PageSize(max int) int {
	switch {
	case max <= 0:
		return DefaultPage
	case max > MaxPage:
		return MaxPage
	}
	return max
}
