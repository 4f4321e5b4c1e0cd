package store

import (
	"context"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Replies keeps what no bounce rule understood, by wording, so that the operator can make rules of it.
type Replies interface {
	// NoteReplies counts replies, in the order of their events: those of an event at
	// or below the last one of its spool that was counted are skipped, so that the same call made again changes nothing.
	// Beyond MaxUnknownReplies the rarest are dropped.
	NoteReplies(ctx context.Context, list []ReplyNote) error
	// UnknownReplies lists wordings, the most frequent first; without those dealt with that have not come again.
	UnknownReplies(ctx context.Context, q RepliesQuery) ([]UnknownReply, error)
	// MarkReply says that a wording was dealt with, or with a zero time that it was not, with the audit entries. It returns
	// ErrNotFound.
	MarkReply(ctx context.Context, fingerprint, by string, at time.Time, audit ...AuditEntry) error
}

// Bounds of what is kept.
const (
	MaxUnknownReplies = 1000
	// MaxReplyHosts, also of stages and codes, is how many of each are named with a wording.
	MaxReplyHosts = 10
	// MaxReplySample is the most octets of a reply kept.
	MaxReplySample = 2000
)

// ReplyNote is one reply that was not understood.
type ReplyNote struct {
	Event       mail.EventID
	Fingerprint string
	At          time.Time
	Host        string // who said it: a mailbox provider, else a mail host
	Stage       mail.Stage
	Code        string // reply code and enhanced code, as far as there are
	Reply       string // verbatim
}

// RepliesQuery selects wordings.
type RepliesQuery struct {
	Done bool // also those dealt with
	Max  int  // 0: DefaultPage
}

// UnknownReply is a wording.
type UnknownReply struct {
	Fingerprint string    `json:"fingerprint"`
	Count       int64     `json:"count"`
	First       time.Time `json:"first_seen"`
	Last        time.Time `json:"last_seen"`
	Hosts       []string  `json:"hosts"`
	Stages      []string  `json:"stages"`
	Codes       []string  `json:"codes"`
	Sample      string    `json:"sample"` // the first one, at most MaxReplySample octets; addresses are replaced
	Done        time.Time `json:"done_at,omitzero"`
	DoneBy      string    `json:"done_by,omitempty"`
}
