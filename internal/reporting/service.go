package reporting

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// Record is what is asked of the store.
type Record interface {
	Stats(ctx context.Context, q store.StatsQuery) ([]store.StatsRow, error)
	Failures(ctx context.Context, q store.FailureQuery, fn func(*store.Failure) error) (more bool, err error)
	Search(ctx context.Context, q store.SearchQuery) (store.SearchPage, error)
}

// Replies is what is asked of the store to collect unknown replies.
type Replies interface {
	store.Followed
	NoteReplies(ctx context.Context, list []store.ReplyNote) error
}

// Options are what a Service needs.
type Options struct {
	Record Record
	// Waiting lists live deliveries of an account ("": everyone's) accepted before a time, each with what it waits for.
	// cursor is "" at first, then what the call before returned; next is "" at the end.
	Waiting func(ctx context.Context, account string, before time.Time, cursor string, max int) (list []Waiting, next string, err error)
	// Fingerprint gives replies of the same wording the same text; "" for a text without words.
	Fingerprint func(reply string) string
	// Receiver names the mailbox provider a mail host belongs to; "" for none.
	Receiver func(host string) string
	// Replies keeps what no rule understood; nil: it is not collected.
	Replies Replies
	// Spool is the spool whose events Run waits for.
	Spool mail.SpoolID
	// HostsOf lists the hosts of a mailbox provider, as store.SearchQuery.Hosts has them; nil: none is known.
	HostsOf func(receiver string) []string
	// Retention is how long the record keeps a day behind its end; 0: for ever.
	Retention time.Duration
	Now       func() time.Time
	Logger    *slog.Logger
}

// Service answers.
type Service struct{ o Options }

// New makes a service.
func New(o Options) (*Service, error) {
	if o.Record == nil || o.Waiting == nil || o.Fingerprint == nil || o.Receiver == nil {
		return nil, errors.New("reporting: Record, Waiting, Fingerprint and Receiver are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{o: o}, nil
}

// HostsOf lists the hosts of a mailbox provider; empty for one that is not known.
func (s *Service) HostsOf(receiver string) []string {
	if s.o.HostsOf == nil {
		return nil
	}
	return s.o.HostsOf(receiver)
}
