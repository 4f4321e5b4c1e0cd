package store

import (
	"context"
	"errors"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// The errors callers tell apart; every error of an adapter that is one of these wraps it.
var (
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("store: not found")
	// ErrConflict: the state is not at the version the caller has seen.
	ErrConflict = errors.New("store: changed by someone else meanwhile")
	// ErrUnavailable: not now; the store is closed, locked, full or at its space floor. Nothing was changed, or for
	// WriteEvents nothing that calling it again would repeat.
	ErrUnavailable = errors.New("store: unavailable")
	// ErrBadCursor: the text is no cursor of this kind.
	ErrBadCursor = errors.New("store: not a valid cursor")
	// ErrBadQuery: the query asks for something the store cannot answer; the text says what.
	ErrBadQuery = errors.New("store: bad query")
	// ErrArchiveKey: an archive does not open with this master key, or what is in it was changed.
	ErrArchiveKey = errors.New("store: the archive does not open with this master key, or is damaged")
)

// Store is everything an adapter offers.
type Store interface {
	Platform
	Alerts
	Suppressions
	Ledger
	Meta
	Recorder
	Record
	Reports
	Erasures
	Webhooks
	Replies

	// Backup writes a consistent copy into dir, which must not exist or be empty, while everything goes on. A copy
	// laid in the place of the store's folder is a store. See DESIGN.md for what a restored record catches up by itself.
	// A day of the record that cannot be read is left out and named; it does not keep the others from being saved.
	Backup(ctx context.Context, dir string) (damaged []Damage, err error)
	// Maintain removes what has expired (days of the record, suppressions, quota periods). It is called now and then,
	// at least daily; calling it more often costs little.
	Maintain(ctx context.Context, now time.Time) (Maintained, error)
	// Close waits for writes in hand and gives everything back. Methods called afterwards return ErrUnavailable.
	Close() error
}

// Damage is a part of the store that cannot be read any more.
type Damage struct {
	Name string // of its file, below the store's folder, with slashes
	Err  error
}

// Maintained says what Maintain removed.
type Maintained struct {
	Days         []string // days of the record, as YYYY-MM-DD
	Transcripts  int64    // dialogues
	Suppressions int64
	Failures     int64
	LedgerRows   int64
	// WebhookAttempts counts entries that were too old; those beyond the newest of a webhook are not counted.
	WebhookAttempts int64
}

// Platform keeps the declared state of the platform.
type Platform interface {
	// LoadState returns all of the state, secrets included (credential hashes, sealed keys and passwords), each list
	// in order of name, and its version. A new store has the empty state at version 0.
	LoadState(ctx context.Context) (state platform.State, version int64, err error)
	// ApplyState makes all changes of u, and their audit entries, in one transaction and returns the new version, one
	// above the old. It returns ErrConflict when u.Expect does not match, ErrNotFound when u deletes what is not
	// there; in both cases nothing has changed. Whether names referred to exist is the caller's business.
	ApplyState(ctx context.Context, u Update) (version int64, err error)
	// RecordAudit writes entries for acts that change no declared state: a queue released, personal data exported.
	// Version and ID are filled in by the store.
	RecordAudit(ctx context.Context, entries ...AuditEntry) error
	// ListAudit returns entries newest first.
	ListAudit(ctx context.Context, q AuditQuery) ([]AuditEntry, error)
}

// Alerts keeps the troubles the operator should know of. At most one alert per (kind, scope) is open at a time.
type Alerts interface {
	// RaiseAlert opens an alert, or counts one more occurrence of the open one and replaces its message. fresh
	// reports that it was opened.
	RaiseAlert(ctx context.Context, kind, scope, message string, at time.Time) (a platform.Alert, fresh bool, err error)
	// ClearAlert closes the open alert of that kind and scope and reports whether there was one.
	ClearAlert(ctx context.Context, kind, scope string, at time.Time) (bool, error)
	// ListAlerts returns alerts, the open ones first, then newest first.
	ListAlerts(ctx context.Context, q AlertQuery) ([]platform.Alert, error)
}

// Suppressions keeps the addresses that must not be mailed, and the failures that speak against addresses. Addresses are
// compared octet by octet: the caller brings them into the form it looks them up by.
type Suppressions interface {
	// PutSuppressions adds or replaces entries by (address, account, stream), with the audit entries, at once.
	PutSuppressions(ctx context.Context, list []platform.Suppression, audit ...AuditEntry) error
	// MergeSuppressions adds entries; one that is there already is replaced only by one that lasts longer. It returns how
	// many were added, and how many replaced.
	MergeSuppressions(ctx context.Context, list []platform.Suppression, audit ...AuditEntry) (Merged, error)
	// SuppressionsOf returns every entry for the addresses, of all accounts, expired ones included.
	SuppressionsOf(ctx context.Context, addresses ...string) ([]platform.Suppression, error)
	// ListSuppressions returns entries in order of address, and the cursor of the next page, "" at the end.
	ListSuppressions(ctx context.Context, q SuppressionQuery) (list []platform.Suppression, next string, err error)
	// CountSuppressions returns how many entries the query selects, whatever its cursor and page.
	CountSuppressions(ctx context.Context, q SuppressionQuery) (int64, error)
	// DeleteSuppression removes one entry and the failures remembered of that account and address, with the audit
	// entries. It returns ErrNotFound.
	DeleteSuppression(ctx context.Context, account string, stream mail.Stream, address string, audit ...AuditEntry) error
	// DeleteSuppressions removes all entries the query selects, whatever its cursor and page, and the failures
	// remembered of their accounts and addresses, with the audit entry that audit makes of their number (nil: none).
	DeleteSuppressions(ctx context.Context, q SuppressionQuery, audit func(n int64) AuditEntry) (int64, error)
	// SuppressionKeys calls fn once for each (address, account) that has an entry, until fn returns an error.
	SuppressionKeys(ctx context.Context, fn func(address, account string) error) error

	// RecordFailure remembers a failure and, where put is not nil, merges put, with its audit entry if that changed
	// something; all of it or nothing. A failure that is remembered already changes nothing.
	RecordFailure(ctx context.Context, f platform.Failure, put *platform.Suppression, audit AuditEntry) (Recorded, error)
	// FailuresOf returns what is remembered of an account and address, in order of time.
	FailuresOf(ctx context.Context, account, address string) ([]platform.Failure, error)
	// EraseSuppressed forgets an address: its entries, and what the audit log says of them, get hash in its place and
	// the class in the place of their reason; its failures go. It returns how many entries there were. Where there was
	// nothing, nothing is audited.
	EraseSuppressed(ctx context.Context, address, hash string, audit ...AuditEntry) (int64, error)
}

// Merged says what MergeSuppressions did.
type Merged struct{ Added, Replaced int64 }

// Recorded says what RecordFailure did.
type Recorded struct {
	Fresh bool // the failure was not known
	Put   bool // the entry was added, or replaced one that did not last as long
}

// Ledger hands out quotas in durable blocks. What was granted stays granted: a crash forfeits the open block and never
// exceeds the limit.
type Ledger interface {
	// Take takes up to want units of key in period and returns how many were granted: fewer, down to 0, when limit
	// would be passed. key and period are the caller's words ("account/acme/recipients", "2026-07-01").
	Take(ctx context.Context, key, period string, want, limit int64) (granted int64, err error)
}

// Meta keeps small values of other rooms by key.
type Meta interface {
	// GetMeta returns the value. It returns ErrNotFound.
	GetMeta(ctx context.Context, key string) ([]byte, error)
	// PutMeta sets or replaces the value.
	PutMeta(ctx context.Context, key string, value []byte) error
	// DeleteMeta removes the value, if there is one.
	DeleteMeta(ctx context.Context, key string) error
}

// Recorder is the projector's side of the record.
type Recorder interface {
	// WriteEvents records events of one spool, in strictly rising sequence, and moves the spool's watermark to upTo,
	// which is at least the last event's sequence. Every event between the watermark and upTo must be in the call, or
	// have been in one that failed. Events already recorded are skipped, so a failed call is simply made again. When
	// it returns nil everything is on disk. ErrUnavailable: later, with the same or more events.
	WriteEvents(ctx context.Context, spool mail.SpoolID, upTo uint64, events []*mail.Event) error
	// Watermark returns the sequence up to which every event of the spool is recorded; 0 for an unknown spool.
	Watermark(ctx context.Context, spool mail.SpoolID) (uint64, error)
}

// Record is the reading side: what happened to whom.
type Record interface {
	// WaitFor waits until the spool's watermark is at least seq, at most MaxWait or until ctx ends, and returns the
	// watermark. A watermark below seq means: answer from the spool, and say as of when. err is of the store alone.
	WaitFor(ctx context.Context, spool mail.SpoolID, seq uint64) (watermark uint64, err error)
	// Message returns the message as it was accepted. It returns ErrNotFound.
	Message(ctx context.Context, id mail.MessageID) (*mail.Message, error)
	// Delivery returns the summary of one delivery. It returns ErrNotFound.
	Delivery(ctx context.Context, id mail.DeliveryID) (*Delivery, error)
	// Deliveries returns summaries of a message's deliveries in order of id, those after the given one.
	Deliveries(ctx context.Context, id mail.MessageID, after mail.DeliveryID, max int) ([]*Delivery, error)
	// Timeline returns all events of a delivery in order. It returns ErrNotFound when there are none.
	Timeline(ctx context.Context, id mail.DeliveryID) ([]*mail.Event, error)
	// MessageEvents returns events of a message's deliveries, delivery by delivery, and the cursor of the next page,
	// "" at the end.
	MessageEvents(ctx context.Context, id mail.MessageID, cursor string, max int) (events []*mail.Event, next string, err error)
	// Events returns events after a cursor in commit order.
	Events(ctx context.Context, q EventQuery) (EventPage, error)
	// Tail returns the cursor behind the last event recorded: where one starts who wants only what is new.
	Tail(ctx context.Context) (Cursor, error)
	// Resends returns the messages that sent a message again, oldest first, at most MaxPage.
	Resends(ctx context.Context, original mail.MessageID) ([]mail.MessageID, error)
	// Search finds deliveries, newest first, a page at a time.
	Search(ctx context.Context, q SearchQuery) (SearchPage, error)
	// LastAccepted returns when an address took mail that did not come back, anybody's: of the newest day there was such
	// mail; zero: not within the query's time.
	LastAccepted(ctx context.Context, q AcceptedQuery) (time.Time, error)
	// Stats sums the hourly rollups.
	Stats(ctx context.Context, q StatsQuery) ([]StatsRow, error)
	// Failures calls fn for deliveries that failed or are put off, newest first, until fn returns an error. more
	// reports that there are others behind the last one.
	Failures(ctx context.Context, q FailureQuery, fn func(*Failure) error) (more bool, err error)
}

// MaxWait is how long WaitFor waits at most: what a reader is made to wait for its own write.
const MaxWait = 250 * time.Millisecond

// MaxScan is how long a page of Search or Events searches at most; then it returns what it has and a cursor.
const MaxScan = 250 * time.Millisecond
