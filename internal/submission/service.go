package submission

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/spool"
)

// Spool is where accepted mail goes; *spool.Spool is one.
type Spool interface {
	Commit(ctx context.Context, b *spool.Batch) error
	NewContent(id mail.MessageID) (*spool.ContentWriter, error)
	Stage(ctx context.Context, id mail.MessageID, ds []*mail.Delivery, evs []*mail.Event) error
	Unstage(ctx context.Context, id mail.MessageID) error
	Idempotency(ctx context.Context, account string, key [32]byte, now time.Time) (*spool.IdempotencyRecord, error)
}

// Expiry is how long a message is tried, per stream, unless it says itself.
type Expiry struct {
	Transactional time.Duration
	Bulk          time.Duration
}

// DefaultExpiry is used where no retry schedule is configured: what is not delivered by then is of no use any more.
var DefaultExpiry = Expiry{Transactional: 72 * time.Hour, Bulk: 96 * time.Hour}

// MaxSendAhead is how far in the future send_at may lie.
const MaxSendAhead = 30 * 24 * time.Hour

// Options are what a Service needs. Spool, Snapshot, Added and TakeQuota are required.
type Options struct {
	Spool    Spool
	Snapshot func() *platform.Snapshot
	// Added hands a message that is on disk to the queue. body is nil where the content was too large to keep in
	// memory. staged names the queues in which the spool holds more deliveries of it than ds.
	Added func(m *mail.Message, ds []*mail.Delivery, staged []mail.QueueKey, body mail.Body)
	// Suppressed says whether an address must not be mailed; nil: nobody is suppressed.
	Suppressed func(ctx context.Context, account string, stream mail.Stream, a mail.Address) (platform.Suppression, bool, error)
	// TakeQuota takes up to want from the durable ledger entry key of a period, whose sum may not pass limit.
	TakeQuota func(ctx context.Context, key, period string, want, limit int64) (int64, error)
	// OverQuota is told each time mail is refused because a quota of the account, named in words, is used up; it must not
	// block. nil: nobody is told.
	OverQuota func(account, quota string)

	MaxSize       int64 // octets of one message; 0: smtp.DefaultMaxSize
	MaxRecipients int   // of one SMTP transaction; 0: 1,000
	MaxPrivate    int   // of recipients[] of one structured request; 0: 1,000,000
	Expiry        Expiry
	// ClientAddress writes the client's address into the Received field.
	ClientAddress bool
	Now           func() time.Time
	Logger        *slog.Logger
}

// Service takes mail in.
type Service struct {
	o      Options
	logins *logins
	quotas *quotas
	keys   *keyLocks
	// long bounds the messages that are re-encoded at one time: each is wholly in memory, more than once.
	long chan struct{}
}

// maxShorten is how many messages with overlong lines are re-encoded at one time.
const maxShorten = 2

// New makes a Service. It starts nothing.
func New(o Options) (*Service, error) {
	if o.Spool == nil || o.Snapshot == nil || o.Added == nil || o.TakeQuota == nil {
		return nil, errors.New("submission: Spool, Snapshot, Added and TakeQuota are required")
	}
	if o.OverQuota == nil {
		o.OverQuota = func(string, string) {}
	}
	if o.MaxSize == 0 {
		o.MaxSize = smtp.DefaultMaxSize
	}
	if o.MaxRecipients == 0 {
		o.MaxRecipients = 1000
	}
	if o.MaxPrivate == 0 {
		o.MaxPrivate = 1_000_000
	}
	if o.Expiry == (Expiry{}) {
		o.Expiry = DefaultExpiry
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{o: o, logins: newLogins(o.Now), quotas: newQuotas(o.TakeQuota), keys: newKeyLocks(), long: make(chan struct{}, maxShorten)}, nil
}

// MaxSize is the size limit of one message in octets, for SIZE (RFC 1870).
func (s *Service) MaxSize() int64 { return s.o.MaxSize }

func (s *Service) snapshot() *platform.Snapshot { return s.o.Snapshot() }

// now is the time in the resolution records keep.
func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Microsecond) }

func (e Expiry) of(stream mail.Stream) time.Duration {
	if stream == mail.Bulk {
		return e.Bulk
	}
	return e.Transactional
}
