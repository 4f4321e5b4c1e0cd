package archive

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// Spool is what the archive needs of a spool; *spool.Spool implements it.
type Spool interface {
	ID() mail.SpoolID
	Owed(ctx context.Context, after mail.MessageID, max int) ([]mail.MessageID, error)
	NotifyOwed() <-chan struct{}
	Message(ctx context.Context, id mail.MessageID) (*mail.Message, error)
	Deliveries(ctx context.Context, id mail.MessageID, after mail.DeliveryID, max int) ([]*mail.Delivery, error)
	Body(ctx context.Context, id mail.MessageID) (mail.Body, error)
	NewestEvent() uint64
	Commit(ctx context.Context, b *spool.Batch) error
}

// Record is what the archive needs of the record.
type Record interface {
	WaitFor(ctx context.Context, spool mail.SpoolID, seq uint64) (watermark uint64, err error)
	Deliveries(ctx context.Context, id mail.MessageID, after mail.DeliveryID, max int) ([]*store.Delivery, error)
	Search(ctx context.Context, q store.SearchQuery) (store.SearchPage, error)
}

// Options are what an Archive needs. Spool, Record, Store and Snapshot are required.
type Options struct {
	Spool    Spool
	Record   Record
	Store    store.Archive
	Snapshot func() *platform.Snapshot
	// Alert is told of troubles, and of their end; it must not block. nil: nobody is.
	Alert  func(platform.Alert)
	Now    func() time.Time
	Logger *slog.Logger
	// Eraser is for erasures; nil: none are possible.
	Eraser *Eraser
	// Rescan is how often everything owed is looked at from the beginning; 0: DefaultRescan.
	Rescan time.Duration
}

// DefaultRescan is also how long a content whose archiving failed waits for the next try.
const DefaultRescan = time.Minute

// expireEvery is how often expired files are looked for.
const expireEvery = time.Hour

// Archive is the room.
type Archive struct {
	o        Options
	told     map[mail.MessageID]bool // damaged messages that were logged; of Run
	alerted  bool                    // of Run
	erasures chan struct{}
}

// New makes an Archive.
func New(o Options) (*Archive, error) {
	if o.Spool == nil || o.Record == nil || o.Store == nil || o.Snapshot == nil {
		return nil, errors.New("archive: Spool, Record, Store and Snapshot are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Alert == nil {
		o.Alert = func(platform.Alert) {}
	}
	if o.Rescan <= 0 {
		o.Rescan = DefaultRescan
	}
	return &Archive{o: o, told: map[mail.MessageID]bool{}, erasures: make(chan struct{}, 1)}, nil
}

// Run copies what is owed and removes what has expired, until ctx ends.
func (a *Archive) Run(ctx context.Context) error {
	rescan, expire := time.NewTicker(a.o.Rescan), time.NewTicker(expireEvery)
	defer rescan.Stop()
	defer expire.Stop()
	a.expireNow(ctx)
	a.eraseAll(ctx)
	var after mail.MessageID
	for {
		// Ids rise with time, so what is new lies behind what was looked at; what came late, or failed, is found by the
		// next look from the beginning.
		after = a.copyOwed(ctx, after)
		select {
		case <-ctx.Done():
			return nil
		case <-a.o.Spool.NotifyOwed():
		case <-rescan.C:
			after = mail.MessageID{}
			a.eraseAll(ctx)
		case <-a.erasures:
			a.eraseAll(ctx)
		case <-expire.C:
			a.expireNow(ctx)
		}
	}
}

func (a *Archive) expireNow(ctx context.Context) {
	if err := a.Expire(ctx, a.o.Now()); err != nil && ctx.Err() == nil {
		a.o.Logger.Error("expired content could not be removed; tried again in an hour", mail.LogEvent, "archive_expire_failed", mail.LogErr, err)
	}
}
