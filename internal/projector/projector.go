package projector

import (
	"context"
	"log/slog"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// Outbox is the part of a spool the projector reads. *spool.Spool implements it.
type Outbox interface {
	ID() mail.SpoolID
	// ReadOutbox returns up to max committed events with a sequence above after, in order.
	ReadOutbox(ctx context.Context, after uint64, max int) ([]*mail.Event, error)
	// OutboxRange returns the sequences of the oldest event kept and the newest ever committed.
	OutboxRange() (oldest, newest uint64)
	// Notify is signalled after each commit with events. It is a hint.
	Notify() <-chan struct{}
	// TrimOutbox forgets events up to and with upto.
	TrimOutbox(ctx context.Context, upto uint64) error
}

// Options of a Projector.
type Options struct {
	Outbox Outbox
	Store  store.Recorder
	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now

	// Batch is the most events written at once. 0: DefaultBatch.
	Batch int
	// Linger is the least time between two writes of less than a whole batch. 0: DefaultLinger.
	Linger time.Duration
	// AcceptGap goes on when the outbox no longer has what follows the watermark, after a restored backup; without it
	// Run returns a *GapError.
	AcceptGap bool
	// OnEvents is told of events once they are recorded, in order, from the goroutine of Run. It must not block and
	// must not change them. May be nil.
	OnEvents func([]*mail.Event)
	// Files asks for event files. nil: none.
	Files *FileOptions
}

// FileOptions say where and how event files are written.
type FileOptions struct {
	Dir      string
	MaxSize  int64 // octets of one file; 0: DefaultFileSize
	MaxFiles int   // kept; the oldest go. 0: DefaultFiles
}

// Status is where a Projector stands.
type Status struct {
	Watermark uint64        // everything up to it is recorded
	Newest    uint64        // the last event the spool committed
	Lag       uint64        // events between the two
	Delay     time.Duration // age of the oldest event not yet recorded; 0 when there is none
	Err       error         // what the store said last, while it fails; nil otherwise
	ErrSince  time.Time
	FileErr   error  // the same of the event files
	FilePos   uint64 // the last event written to the event files
	Trimmed   uint64 // the outbox was trimmed up to here by this process
}

// Projector moves one spool's events into the store.
type Projector struct {
	opts Options
}

// New returns a Projector; nothing happens before Run.
func New(opts Options) (*Projector, error) { return &Projector{opts: opts}, nil }

// Run records events until ctx ends, and returns nil then.
func (p *Projector) Run(ctx context.Context) error { return nil }

// Status returns where the projector stands. It may be called at any time.
func (p *Projector) Status() Status { return Status{} }
