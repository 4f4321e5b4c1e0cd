package queue

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

// Ticket tells when a batch is on disk; *spool.Ticket is one.
type Ticket interface {
	Wait(ctx context.Context) error
}

// Spool is what queue needs of a spool. FromSpool makes one of a *spool.Spool.
type Spool interface {
	ID() mail.SpoolID
	// Enqueue hands a batch to the committer; batches become durable in the order they were handed over.
	Enqueue(*spool.Batch) Ticket
	Body(ctx context.Context, id mail.MessageID) (mail.Body, error)
	Message(ctx context.Context, id mail.MessageID) (*mail.Message, error)
	Delivery(ctx context.Context, id mail.DeliveryID) (*mail.Delivery, error)
	Deliveries(ctx context.Context, id mail.MessageID, after mail.DeliveryID, max int) ([]*mail.Delivery, error)
	Queues(ctx context.Context, fn func(spool.QueueHead) error) error
	Page(ctx context.Context, q mail.QueueKey, from spool.ScheduleKey, until time.Time, max int) (ds []*mail.Delivery, next spool.ScheduleKey, more bool, err error)
	Head(ctx context.Context, q mail.QueueKey, from spool.ScheduleKey) (spool.ScheduleKey, bool, error)
	OpenMarks(ctx context.Context, fn func(*mail.Delivery) error) error
	Lanes(ctx context.Context) ([]spool.LaneRecord, error)
	All(ctx context.Context, fn func(*mail.Delivery) error) error
	// NewestAtOpen is the newest wall-clock time the spool had seen when it was opened; zero for a new one.
	NewestAtOpen() time.Time
}

// FromSpool lets queue run over a real spool.
func FromSpool(s *spool.Spool) Spool { return realSpool{s} }

type realSpool struct{ *spool.Spool }

// Enqueue implements Spool.
func (r realSpool) Enqueue(b *spool.Batch) Ticket { return r.Spool.Enqueue(b) }

// Defaults of Options.
const (
	DefaultFreshWindow = 5000             // deliveries of one queue kept in memory when they are accepted
	DefaultPageWindow  = 1000             // deliveries of one queue in memory up to which it is paged from the spool
	DefaultPage        = 64               // deliveries read at one time
	DefaultMaxLoaded   = 50_000           // deliveries in memory, all queues together
	DefaultBodyBudget  = 64 << 20         // octets of bodies of fresh mail kept until their first attempt is over
	DefaultMaxSessions = 2000             // connections at one time, all lanes together
	DefaultSessionIdle = 2 * time.Second  // a connection without work is kept that long
	DefaultStopGrace   = 30 * time.Second // dialogues in hand may go on that long when Run is told to stop
	DefaultPlaceFor    = time.Minute      // where a domain's mail goes is asked again after that
	DefaultPagers      = 4                // pages read at one time, per spool
	DefaultLocators    = 256              // domains located at one time
	DefaultAskers      = 16               // questions to the suppression list at one time
)

// Options configure a Queue. Spools, Snapshot, Locate and Session are required.
type Options struct {
	// Spools are what the queue runs over. The first is the node's own: Add puts mail in it.
	Spools []Spool
	// Snapshot returns the platform's state. It is called at New and by SnapshotChanged.
	Snapshot func() *platform.Snapshot
	// Locate tells where a domain's mail goes by a route, and Session carries jobs out; both are delivery's. For
	// relay and provider routes, which have one place for all domains, Locate is asked once with any domain.
	Locate  func(ctx context.Context, route, domain string) (mail.Target, *mail.Outcome)
	Session func(ctx context.Context, lane mail.Lane, next func(ctx context.Context) (mail.Job, bool), settle func(mail.Job, mail.Outcome))

	// Listed says from memory whether an address may be on the suppression list for an account's mail; it must not block.
	// Suppressed says whether it is, and why; it is asked only where Listed said so, and may take its time. nil, both:
	// nobody is on it.
	Listed     func(account string, a mail.Address) bool
	Suppressed func(ctx context.Context, account string, stream mail.Stream, a mail.Address) (why string, is bool, err error)

	// Alert is told of troubles; of their end by a second call with Cleared set. It must not block. nil: none.
	Alert func(platform.Alert)
	// Observe sees each event when it is handed to the spool, for what reacts to the settle stream in memory. It
	// must not block. Event.ID is not yet known. nil: none.
	Observe func(*mail.Event)

	// Transactional and Bulk are the retry schedules; zero: TransactionalSchedule and BulkSchedule.
	Transactional, Bulk Schedule
	// Pace multiplies the rests of lanes and the time between two looks for deadlines, for practice and tests, where
	// minutes are too long; 0: 1.
	Pace float64

	FreshWindow, PageWindow, Page, MaxLoaded, MaxSessions, Pagers, Locators, Askers int

	BodyBudget                       int64
	SessionIdle, StopGrace, PlaceFor time.Duration

	// Logger; nil: none. Now is the wall clock, with its monotonic reading if it has one; nil: time.Now.
	Logger *slog.Logger
	Now    func() time.Time
	// Seed seeds the jitter; 0: a random one.
	Seed uint64
}

// ErrOptions is returned by New for options that lack something.
var ErrOptions = errors.New("queue: options lack a spool, Snapshot, Locate or Session")

// ErrSuppressed is returned by New for options that have one of Listed and Suppressed only.
var ErrSuppressed = errors.New("queue: options have one of Listed and Suppressed; both or neither are needed")

func (o Options) withDefaults() (Options, error) {
	if len(o.Spools) == 0 || o.Snapshot == nil || o.Locate == nil || o.Session == nil {
		return o, ErrOptions
	}
	if (o.Listed == nil) != (o.Suppressed == nil) {
		return o, ErrSuppressed
	}
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.FreshWindow, DefaultFreshWindow)
	def(&o.PageWindow, DefaultPageWindow)
	def(&o.Page, DefaultPage)
	def(&o.MaxLoaded, DefaultMaxLoaded)
	def(&o.MaxSessions, DefaultMaxSessions)
	def(&o.Pagers, DefaultPagers)
	def(&o.Locators, DefaultLocators)
	def(&o.Askers, DefaultAskers)
	if o.BodyBudget == 0 {
		o.BodyBudget = DefaultBodyBudget
	}
	defd := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	defd(&o.SessionIdle, DefaultSessionIdle)
	defd(&o.StopGrace, DefaultStopGrace)
	defd(&o.PlaceFor, DefaultPlaceFor)
	if len(o.Transactional.Steps) == 0 {
		o.Transactional = TransactionalSchedule()
	}
	if len(o.Bulk.Steps) == 0 {
		o.Bulk = BulkSchedule()
	}
	if o.Alert == nil {
		o.Alert = func(platform.Alert) {}
	}
	if o.Pace <= 0 {
		o.Pace = 1
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}
