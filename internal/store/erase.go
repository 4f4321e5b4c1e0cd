package store

import (
	"context"
	"time"
)

// Erasures takes a person out of the record, and keeps what has been asked for, so that it is finished after a crash.
type Erasures interface {
	// RecordDays names the days of the record, YYYY-MM-DD, in order.
	RecordDays(ctx context.Context) ([]string, error)
	// EraseRecorded takes an address out of one day: recipients, replies, dialogues, subjects and metadata of messages that
	// went to nobody else, and reports about it. Rows stay, with the marker in place of the address, so that counts and
	// timelines stay true. It works in bounded batches; doing it again finds nothing.
	EraseRecorded(ctx context.Context, day string, e Erasing) (Erased, error)
	// EraseState takes an address out of the audit log, alerts and the log of webhooks, and returns how many entries held it.
	EraseState(ctx context.Context, e Erasing) (int64, error)
	// PutErasure adds or replaces an erasure by id.
	PutErasure(ctx context.Context, e Erasure, audit ...AuditEntry) error
	// ListErasures returns the unfinished erasures, oldest first, or all, newest first, at most max.
	ListErasures(ctx context.Context, unfinished bool, max int) ([]Erasure, error)
	// FindErasure returns one. It returns ErrNotFound.
	FindErasure(ctx context.Context, id string) (Erasure, error)
}

// Erasing says what is taken out.
type Erasing struct {
	Address string // in any spelling (mail.Fold)
	Marker  string // an address that stands in its place
	Account string // of this account's mail only; "": of everybody's
}

// Erased counts what was taken out.
type Erased struct {
	Deliveries int64 `json:"deliveries"` // whose recipient was replaced
	Events     int64 `json:"events"`
	Messages   int64 `json:"messages"` // whose subject and metadata went, or named it
	Reports    int64 `json:"reports"`  // whose mail went
	Archived   int64 `json:"archived"` // messages that went from the archive
	Shared     int64 `json:"shared"`   // messages in the archive that went to others too: their content stays
	Entries    int64 `json:"entries"`  // of audit, alerts and webhook logs
	Lines      int64 `json:"lines"`    // of event files
}

// Add adds what another step has taken out.
func (e *Erased) Add(x Erased) {
	e.Deliveries += x.Deliveries
	e.Events += x.Events
	e.Messages += x.Messages
	e.Reports += x.Reports
	e.Archived += x.Archived
	e.Shared += x.Shared
	e.Entries += x.Entries
	e.Lines += x.Lines
}

// ErasureState is where an erasure stands.
type ErasureState string

// The states.
const (
	ErasureRunning ErasureState = "running"
	ErasureDone    ErasureState = "done"
	ErasureRefused ErasureState = "refused" // a legal hold covers something of it
)

// Erasure is one that was asked for.
type Erasure struct {
	ID      string       `json:"id"`
	At      time.Time    `json:"at"`
	Actor   string       `json:"actor"`
	Note    string       `json:"note,omitempty"`
	Account string       `json:"account,omitempty"` // "": everybody's mail
	Hash    string       `json:"hash"`              // of the address, as the suppression list has it
	Marker  string       `json:"marker"`            // what stands in its place
	State   ErasureState `json:"state"`
	Waiting string       `json:"waiting,omitempty"` // what it waits for
	Counts  Erased       `json:"counts"`
	Ended   time.Time    `json:"ended_at,omitzero"`
	// Sealed is the address, readable with the master key only; nil once the erasure has ended.
	Sealed []byte `json:"-"`
}
