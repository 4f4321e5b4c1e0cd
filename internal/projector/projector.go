package projector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// Outbox is the part of a spool the projector reads. *spool.Spool implements it.
type Outbox interface {
	ID() mail.SpoolID
	// ReadOutbox returns up to max committed events with a sequence above after, in order. A sequence may be missing
	// where the spool set a damaged event aside.
	ReadOutbox(ctx context.Context, after uint64, max int) ([]*mail.Event, error)
	// OutboxRange returns the sequences of the oldest event kept and of the newest committed; oldest is newest+1 when
	// none is kept.
	OutboxRange() (oldest, newest uint64)
	// Notify is signalled after each commit with events. It is a hint, and nobody else may receive from it.
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
	// AcceptGap goes on when the outbox no longer has what follows the watermark, as after the restore of an old
	// backup; without it Run returns a *GapError.
	AcceptGap bool
	// OnEvents is told of events once they are recorded, in order, from the goroutine of Run. It must not block and
	// must not change them. May be nil.
	OnEvents func([]*mail.Event)
	// Files asks for event files. nil: none, and none of before.
	Files *FileOptions
}

// Defaults and limits.
const (
	// DefaultBatch is large enough that a transaction's sync costs nothing per event, and that it finds several rows for each
	// page of an index it writes; and small in memory. More gains little.
	DefaultBatch = 2000
	// DefaultLinger bounds how stale a reader of the record can be because of us, and the writes a second.
	DefaultLinger = 50 * time.Millisecond

	// TrimEvents is how many events one trim of the outbox removes at least: each costs a range deletion, which every
	// later read of the spool has to step over.
	TrimEvents = 10000
	// TrimAge is how long a recorded event stays in the outbox at least, for who reads it beside the projector.
	TrimAge = 60 * time.Second

	// MaxFileLag is how many events the event files may hold back in the outbox before it is trimmed without them.
	MaxFileLag = 1000000

	firstPause = 100 * time.Millisecond // after the first failure; doubled with each further one …
	lastPause  = 30 * time.Second       // … up to here
	logEvery   = time.Minute            // of a failure that lasts
	poll       = time.Second            // looks at the outbox without a hint: a lost hint costs delay, not events
)

// GapError says that events are neither in the record nor in the outbox any more.
type GapError struct {
	Spool    mail.SpoolID
	From, To uint64 // sequences, both included
}

// Error implements error.
func (e *GapError) Error() string {
	return fmt.Sprintf("projector: events %d to %d of spool %s are neither in the record nor in the outbox: "+
		"the record is older than the outbox reaches back, as after the restore of a backup; `postroad serve --accept-record-gap` goes on without them",
		e.From, e.To, e.Spool)
}

// AheadError says that the record knows more of a spool than the spool itself: an older copy of the spool is in use,
// and would give numbers to new events that the record has already seen on others.
type AheadError struct {
	Spool             mail.SpoolID
	Watermark, Newest uint64
}

// Error implements error.
func (e *AheadError) Error() string {
	return fmt.Sprintf("projector: the record has events of spool %s up to %d, the spool itself only up to %d: "+
		"an older copy of the spool was put in place, or its log has lost its end; `postroad spool salvage` makes one of it that goes on behind "+
		"the record, and what was sent meanwhile is in it again", e.Spool, e.Watermark, e.Newest)
}

// Status is where a Projector stands.
type Status struct {
	Watermark uint64        // everything up to it is recorded
	Newest    uint64        // the last event the spool committed
	Lag       uint64        // events between the two
	Delay     time.Duration // age of the oldest event being recorded; 0 when there is none
	Err       error         // what the store said last, while it fails; nil otherwise
	ErrSince  time.Time
	FileErr   error  // the same of the event files
	FilePos   uint64 // the last event that is safe in the event files
	Trimmed   uint64 // the outbox is trimmed up to here
}

// Projector moves one spool's events into the store.
type Projector struct {
	opts Options
	wake chan struct{}

	forget atomic.Uint64 // the outbox is trimmed up to here as soon as it may be

	fileMu sync.Mutex  // held while event files are written, rotated or rewritten
	files  *eventFiles // nil: none are written

	mu     sync.Mutex
	status Status
	oldest time.Time // of the first event of the batch in hand; zero: none in hand

	// Of the goroutine that records.
	recorded []milestone
}

// milestone remembers when a watermark was reached.
type milestone struct {
	seq uint64
	at  time.Time
}

// New returns a Projector; nothing happens before Run.
func New(opts Options) (*Projector, error) {
	if opts.Outbox == nil || opts.Store == nil {
		return nil, errors.New("projector: an outbox and a store are needed")
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Batch <= 0 {
		opts.Batch = DefaultBatch
	}
	if opts.Linger <= 0 {
		opts.Linger = DefaultLinger
	}
	p := &Projector{opts: opts, wake: make(chan struct{}, 1)}
	if opts.Files != nil && !opts.Files.Off {
		p.files = newEventFiles(*opts.Files, opts.Outbox.ID())
	}
	return p, nil
}

// Run records events until ctx ends, and returns nil then. Before that it returns only a *GapError or an *AheadError,
// at its start: nothing else is beyond waiting.
func (p *Projector) Run(ctx context.Context) error {
	watermark, err := p.start(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { p.record(ctx, watermark); return nil })
	if p.files != nil {
		g.Go(func() error { p.writeFiles(ctx); return nil })
	}
	return g.Wait()
}

// Status returns where the projector stands. It may be called at any time.
func (p *Projector) Status() Status {
	_, newest := p.opts.Outbox.OutboxRange()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	s.Newest = max(newest, s.Watermark)
	s.Lag = s.Newest - s.Watermark
	if !p.oldest.IsZero() {
		s.Delay = max(0, p.opts.Now().Sub(p.oldest))
	}
	return s
}

// Check compares outbox and record, and returns the *GapError or *AheadError that Run would end with. To be called before anything
// is committed: the events of a spool that is behind the record would get numbers the record has seen.
func (p *Projector) Check(ctx context.Context) error {
	watermark, err := p.opts.Store.Watermark(ctx, p.opts.Outbox.ID())
	if err != nil {
		return err
	}
	_, err = p.compare(watermark)
	return err
}

// compare returns what is wrong between outbox and record. A gap that was accepted is accepted, and no error.
func (p *Projector) compare(watermark uint64) (accepted *GapError, err error) {
	oldest, newest := p.opts.Outbox.OutboxRange()
	if watermark > newest {
		return nil, &AheadError{Spool: p.opts.Outbox.ID(), Watermark: watermark, Newest: newest}
	}
	if oldest <= watermark+1 {
		return nil, nil
	}
	gap := &GapError{Spool: p.opts.Outbox.ID(), From: watermark + 1, To: oldest - 1}
	if p.opts.AcceptGap {
		return gap, nil
	}
	return nil, gap
}

// start reads the watermark and compares it with the outbox.
func (p *Projector) start(ctx context.Context) (watermark uint64, err error) {
	p.persist(ctx, "the watermark cannot be read", func() error {
		watermark, err = p.opts.Store.Watermark(ctx, p.opts.Outbox.ID())
		return err
	})
	if err != nil {
		return 0, err
	}
	gap, err := p.compare(watermark)
	if err != nil {
		return 0, err
	}
	if gap != nil {
		p.opts.Logger.Warn("events are missing from the record, as accepted", mail.LogErr, gap)
	}
	oldest, _ := p.opts.Outbox.OutboxRange()
	p.update(func(s *Status) { s.Watermark, s.Trimmed = watermark, max(oldest, 1)-1 })
	p.recorded = []milestone{{watermark, p.opts.Now()}}
	return watermark, nil
}

// record moves events until ctx ends.
func (p *Projector) record(ctx context.Context, watermark uint64) {
	for ctx.Err() == nil {
		begun := time.Now()
		n, upTo := p.step(ctx, watermark)
		if ctx.Err() != nil {
			return
		}
		if upTo > watermark {
			watermark = upTo
			p.milestone(watermark)
		}
		p.trim(ctx)
		switch {
		case n == 0:
			p.await(ctx, p.opts.Outbox.Notify())
		case n < p.opts.Batch:
			p.pause(ctx, p.opts.Linger-time.Since(begun))
		}
	}
}

// step records the events behind the watermark, at most a batch of them, however long that takes. upTo is the new
// watermark.
func (p *Projector) step(ctx context.Context, watermark uint64) (n int, upTo uint64) {
	_, newest := p.opts.Outbox.OutboxRange()
	if newest <= watermark {
		return 0, watermark
	}
	var events []*mail.Event
	p.persist(ctx, "the outbox cannot be read", func() (err error) {
		events, err = p.opts.Outbox.ReadOutbox(ctx, watermark, p.opts.Batch)
		return err
	})
	if ctx.Err() != nil {
		return 0, watermark
	}
	upTo = watermark
	if len(events) > 0 {
		upTo = events[len(events)-1].ID.Seq
		p.inHand(events[0].At)
	}
	if len(events) < p.opts.Batch {
		// All that was committed has been read; what is missing up to there was set aside as damaged.
		upTo = max(upTo, newest)
	}
	recorded := p.persist(ctx, "events cannot be recorded; mail goes on and the outbox grows", func() error {
		return p.opts.Store.WriteEvents(ctx, p.opts.Outbox.ID(), upTo, events)
	})
	if !recorded {
		// The stop came first. Perhaps they are, perhaps not: the next start finds out.
		return 0, watermark
	}
	p.inHand(time.Time{})
	p.update(func(s *Status) { s.Watermark = upTo })
	if p.opts.OnEvents != nil && len(events) > 0 {
		p.opts.OnEvents(events)
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return len(events), upTo
}

// milestone notes when the watermark was reached: always the last one, the others about a second apart.
func (p *Projector) milestone(watermark uint64) {
	m := milestone{watermark, p.opts.Now()}
	if n := len(p.recorded); n > 1 && m.at.Sub(p.recorded[n-2].at) < time.Second {
		p.recorded[n-1] = m
		return
	}
	p.recorded = append(p.recorded, m)
}

// trim forgets events that have been recorded for TrimAge, when there are TrimEvents of them. A failure is left for
// the next round: it costs only space.
func (p *Projector) trim(ctx context.Context) {
	now := p.opts.Now()
	old := 0
	for old+1 < len(p.recorded) && now.Sub(p.recorded[old+1].at) >= TrimAge {
		old++
	}
	p.recorded = p.recorded[old:]
	if len(p.recorded) == 0 || now.Sub(p.recorded[0].at) < TrimAge {
		return
	}
	upto := p.recorded[0].seq
	s := p.Status()
	if p.files != nil && s.FilePos < upto {
		upto = s.FilePos
		if s.Watermark-s.FilePos > MaxFileLag {
			upto = s.Watermark - MaxFileLag
		}
	}
	if upto < s.Trimmed+TrimEvents && (upto == s.Trimmed || s.Trimmed >= p.forget.Load()) {
		return
	}
	if err := p.opts.Outbox.TrimOutbox(ctx, upto); err != nil {
		if ctx.Err() == nil {
			p.opts.Logger.Error("the outbox cannot be trimmed", mail.LogErr, err)
		}
		return
	}
	p.update(func(s *Status) { s.Trimmed = upto })
}

// Forget trims the outbox up to what is committed now as soon as everybody may have read it, however little that is: what
// was erased elsewhere must not stay there for weeks where little mail is sent.
func (p *Projector) Forget() {
	_, newest := p.opts.Outbox.OutboxRange()
	p.forget.Store(newest)
}

// persist calls fn until it succeeds or ctx ends, with growing pauses, and reports whether it succeeded.
func (p *Projector) persist(ctx context.Context, what string, fn func() error) (done bool) {
	var logged time.Time
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := fn()
		if done = err == nil; done || ctx.Err() != nil {
			break
		}
		now := p.opts.Now()
		if logged.IsZero() || now.Sub(logged) >= logEvery {
			logged = now
			p.opts.Logger.Error(what, mail.LogErr, err)
		}
		p.update(func(s *Status) {
			if s.Err == nil {
				s.ErrSince = now
			}
			s.Err = err
		})
		// Spread, so that projectors on one store do not come back together.
		p.pause(ctx, pause+rand.N(pause/4))
	}
	if !logged.IsZero() && ctx.Err() == nil {
		p.opts.Logger.Info("events are recorded again")
	}
	p.update(func(s *Status) { s.Err, s.ErrSince = nil, time.Time{} })
	return done
}

// await waits for a hint, for a second at most.
func (p *Projector) await(ctx context.Context, hint <-chan struct{}) {
	t := time.NewTimer(poll)
	defer t.Stop()
	select {
	case <-hint:
	case <-t.C:
	case <-ctx.Done():
	}
}

// pause waits.
func (p *Projector) pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (p *Projector) update(fn func(*Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn(&p.status)
}

func (p *Projector) inHand(oldest time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.oldest = oldest
}
