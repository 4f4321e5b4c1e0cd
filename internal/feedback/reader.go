package feedback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/dkim"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// Inbox is what the reader needs of a spool. *spool.Spool implements it.
type Inbox interface {
	ID() mail.SpoolID
	ReadInbox(ctx context.Context, after uint64, max int) ([]spool.InboxEntry, error)
	Commit(ctx context.Context, b *spool.Batch) error
	// Delivery returns a live delivery, or spool.ErrNotFound.
	Delivery(ctx context.Context, id mail.DeliveryID) (*mail.Delivery, error)
	// NewestEvent is the newest event whose effects Delivery may show.
	NewestEvent() uint64
}

// Store is what the reader needs of a store.
type Store interface {
	store.Meta
	store.Reports
	Watermark(ctx context.Context, spool mail.SpoolID) (uint64, error)
	WaitFor(ctx context.Context, spool mail.SpoolID, seq uint64) (watermark uint64, err error)
	Message(ctx context.Context, id mail.MessageID) (*mail.Message, error)
	Delivery(ctx context.Context, id mail.DeliveryID) (*store.Delivery, error)
	Deliveries(ctx context.Context, id mail.MessageID, after mail.DeliveryID, max int) ([]*store.Delivery, error)
	Timeline(ctx context.Context, id mail.DeliveryID) ([]*mail.Event, error)
	Search(ctx context.Context, q store.SearchQuery) (store.SearchPage, error)
}

// Options of a Reader.
type Options struct {
	Inbox Inbox
	Store Store
	// Key signs return paths and tokens.
	Key mail.ReturnPathKey
	// Rules are the bounce rules in use. nil: the built-in ones.
	Rules func() *bounce.Ruleset
	// LookupTXT finds the keys of reporters' signatures. nil: they are not checked.
	LookupTXT dkim.LookupTXT
	// SPF says whether the host at ip may send for local@domain, as a result word of RFC 7208. nil: it is not checked.
	SPF func(ctx context.Context, ip netip.Addr, local, domain, helo string) string
	// ClockDoubted reports whether the wall clock is in doubt: then no report is too late. nil: it never is.
	ClockDoubted func() bool
	// Forward hands mail of one of the operator's mailboxes on. An error means that it is to be tried again; called twice
	// for a report, it must do it once. nil: it is kept only.
	Forward func(ctx context.Context, row *store.StoredReport) error
	// Alert tells the operator. It must not block. nil: nobody is told.
	Alert  func(platform.Alert)
	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now

	// Parse, for tests, reads in the place of report.Parse.
	Parse func(raw []byte, lim report.Limits) *report.Report
	// ParseTime bounds the reading of one report. 0: DefaultParseTime.
	ParseTime time.Duration
	// DecideTime is how long one report waits for the record before others go on. 0: DefaultDecideTime.
	DecideTime time.Duration
	// CheckTime bounds the checks of who the reporters are. 0: DefaultCheckTime.
	CheckTime time.Duration
}

// Limits and defaults.
const (
	// DefaultParseTime is how long reading one report may take: it takes well under a millisecond; what takes this long
	// does not end.
	DefaultParseTime = 20 * time.Second
	// DefaultDecideTime is long for a shelf that is busy, and short for one that is damaged.
	DefaultDecideTime = 30 * time.Second
	// DefaultCheckTime bounds the checks of the reporters of one page, all together: their signatures and SPF, with the
	// queries these take. Who sends us mail chooses whose name servers are asked, and may choose some that never answer.
	DefaultCheckTime = 5 * time.Second
	// busyShare is which part of it there is while many reports wait: what decides nothing must not hold up what does.
	busyShare = 5
	// maxPage is how many reports are in hand at a time; the spool bounds their octets.
	maxPage = 64
	// poll looks at the inbox without a hint: a lost hint costs delay, not reports.
	poll = time.Second

	firstPause = 100 * time.Millisecond // after the first failure of a shelf; doubled with each further one …
	lastPause  = 30 * time.Second       // … up to here
	logEvery   = time.Minute            // of a failure that lasts
)

// Reader moves reports from the inbox into the record. Make one with New.
type Reader struct {
	o     Options
	log   *slog.Logger
	wake  chan struct{}
	stats counters
	page  int          // reports in hand at a time
	since atomic.Int64 // Unix nanoseconds of the first failure of what fails now; 0: nothing does

	// Of the goroutine of Run.
	seen   uint64                     // the last entry of the inbox that was in hand; what is left up to it waits
	recent recent                     // events that may not be recorded yet
	hand   map[mail.ReportID]*reading // the page in hand
	passed forwardCount               // what was handed on to the operator lately
	later  map[uint64]waiter          // entries that wait for their delivery's attempt to end
	first  map[word]uint64            // of what waits: which entry was the first to say it
}

// New returns a Reader; nothing happens before Run.
func New(o Options) (*Reader, error) {
	if o.Inbox == nil || o.Store == nil {
		return nil, errors.New("feedback: an inbox and a store are needed")
	}
	if o.Rules == nil {
		o.Rules = bounce.Default
	}
	if o.Alert == nil {
		o.Alert = func(platform.Alert) {}
	}
	if o.ClockDoubted == nil {
		o.ClockDoubted = func() bool { return false }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Parse == nil {
		o.Parse = report.Parse
	}
	if o.ParseTime <= 0 {
		o.ParseTime = DefaultParseTime
	}
	if o.DecideTime <= 0 {
		o.DecideTime = DefaultDecideTime
	}
	if o.CheckTime <= 0 {
		o.CheckTime = DefaultCheckTime
	}
	return &Reader{
		o: o, log: o.Logger, wake: make(chan struct{}, 1), later: map[uint64]waiter{}, first: map[word]uint64{}, page: maxPage,
	}, nil
}

// Wake tells the reader that something was put into the inbox. It never blocks.
func (r *Reader) Wake() {
	select {
	case r.wake <- struct{}{}:
	default: // one hint is waiting
	}
}

// Run reads the inbox until ctx ends, and returns nil then. Before that it returns only an error of the spool that is
// beyond waiting.
func (r *Reader) Run(ctx context.Context) error {
	// What an earlier run has decided must be in the record before anything is decided again.
	if !r.recorded(ctx, r.o.Inbox.NewestEvent()) {
		return nil
	}
	careful, err := r.begin(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := r.pass(ctx, careful); err != nil {
			return err
		}
		if ctx.Err() == nil && careful.Count > 0 {
			r.survived(ctx)
			careful = caution{}
		}
		r.await(ctx)
	}
	return r.end()
}

// pass looks again at the entries whose wait is over, and then reads the inbox on to its end. What waits is not read
// before: it may be much, and each look at the inbox would read all of it.
func (r *Reader) pass(ctx context.Context, c caution) error {
	for _, seq := range r.due() {
		page, ok := r.entries(ctx, seq-1, 1)
		if !ok || ctx.Err() != nil {
			return nil
		}
		if len(page) == 0 || page[0].Seq != seq {
			r.forgetWaiter(seq) // the spool has put it into quarantine
			continue
		}
		if err := r.handle(ctx, page, c); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		page, ok := r.entries(ctx, r.seen, c.pageSize(r.page))
		if !ok || len(page) == 0 {
			return nil
		}
		if err := r.handle(ctx, page, c); err != nil || ctx.Err() != nil {
			return err
		}
		r.seen = page[len(page)-1].Seq
	}
	return nil
}

// entries reads from the inbox, and reports whether it could.
func (r *Reader) entries(ctx context.Context, after uint64, most int) (page []spool.InboxEntry, ok bool) {
	ok = r.persist(ctx, "the inbox cannot be read", func() (err error) {
		page, err = r.o.Inbox.ReadInbox(ctx, after, most)
		return err
	})
	return page, ok
}

// handle reads, decides and commits one page.
func (r *Reader) handle(ctx context.Context, page []spool.InboxEntry, c caution) error {
	list := make([]*reading, len(page))
	for i := range page {
		list[i] = newReading(&page[i])
	}
	if !r.settleRecent(ctx) {
		return nil
	}
	rules := r.o.Rules()
	g := new(errgroup.Group)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, x := range list {
		if c.suspect(x.entry.Seq) {
			x.setAside("reading it ended the process before")
			continue
		}
		g.Go(func() error { r.read(ctx, x, rules); return nil })
	}
	_ = g.Wait() // read reports in x
	r.check(ctx, list)
	if ctx.Err() != nil {
		return nil
	}
	r.hand = make(map[mail.ReportID]*reading, len(list))
	for _, x := range list {
		r.hand[x.row.ID] = x
		if !r.decideInTime(ctx, x) {
			return nil
		}
	}
	return r.write(ctx, list)
}

// decideInTime decides about one report, and leaves it for later where what it needs of the record cannot be read for long: a
// day that is damaged must not hold up reports on all others. It reports false when ctx has ended.
func (r *Reader) decideInTime(ctx context.Context, x *reading) bool {
	patience := r.o.DecideTime
	if r.later[x.entry.Seq].failed {
		patience = 0 // it was waited for once
	}
	began := time.Now()
	return r.persist(ctx, "a report waits for the record", func() error {
		err := r.decide(ctx, x)
		if err == nil || time.Since(began) < patience {
			return err
		}
		if patience > 0 {
			r.log.Error("a report is left for later: the record does not tell of its delivery", mail.LogEvent, "feedback_waits", mail.LogReport, x.row.ID, mail.LogErr, err)
		}
		x.events, x.words, x.wait, x.failed = nil, nil, true, true
		return nil
	})
}

// maxRecent bounds the events that are remembered because the record may not have them.
const maxRecent = 20000

// settleRecent forgets events the record has, and waits for it while there are too many that it has not.
func (r *Reader) settleRecent(ctx context.Context) bool {
	var mark uint64
	ok := r.persist(ctx, "the record cannot be read", func() (err error) {
		mark, err = r.o.Store.Watermark(ctx, r.o.Inbox.ID())
		return err
	})
	if ok && len(r.recent.order) > maxRecent {
		last := r.recent.order[len(r.recent.order)-1].ID.Seq
		ok, mark = r.recorded(ctx, last), last
	}
	if ok {
		r.recent.forget(mark)
	}
	return ok
}

// write stores the rows of what was decided and commits its events, so many at a time that a frame stays small.
func (r *Reader) write(ctx context.Context, list []*reading) error {
	for len(list) > 0 {
		n, events := 0, 0
		for n < len(list) && (n == 0 || events+len(list[n].events) <= maxFrameEvents) {
			events += len(list[n].events)
			n++
		}
		if err := r.commit(ctx, list[:n]); err != nil || ctx.Err() != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// maxFrameEvents bounds the events of one batch, unless a single report brings more.
const maxFrameEvents = 256

func (r *Reader) commit(ctx context.Context, list []*reading) error {
	b := new(spool.Batch)
	var rows []*store.StoredReport
	for _, x := range list {
		if !x.wait && !r.forward(ctx, x) {
			x.wait = true
			r.recent.drop(x.events) // it will be decided anew
		}
		if x.wait {
			r.postpone(x)
			continue
		}
		x.shorten()
		rows = append(rows, x.row)
		b.Events = append(b.Events, x.events...)
		b.InboxDone = append(b.InboxDone, x.entry.Seq)
	}
	if len(rows) == 0 {
		return nil
	}
	if !r.persist(ctx, "reports cannot be stored; the inbox keeps them", func() error { return r.o.Store.PutReports(ctx, rows) }) {
		return nil
	}
	// Once begun it is seen through: whether it was committed must be known.
	if err := r.o.Inbox.Commit(context.WithoutCancel(ctx), b); err != nil {
		return fmt.Errorf("feedback: commit %d reports: %w", len(rows), err)
	}
	r.recent.committed(b.Events)
	for _, x := range list {
		if !x.wait {
			r.forgetWaiter(x.entry.Seq)
			r.stats.count(x.row)
			r.tell(x)
		}
	}
	return nil
}

// recorded waits until the record holds the spool's events up to seq, and reports whether it does.
func (r *Reader) recorded(ctx context.Context, seq uint64) bool {
	for ctx.Err() == nil {
		var mark uint64
		r.persist(ctx, "the record cannot be read", func() (err error) {
			mark, err = r.o.Store.WaitFor(ctx, r.o.Inbox.ID(), seq)
			return err
		})
		if mark >= seq {
			return true
		}
	}
	return false
}

// persist calls fn until it succeeds or ctx ends, with growing pauses, and reports whether it succeeded.
func (r *Reader) persist(ctx context.Context, what string, fn func() error) bool {
	var logged time.Time
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := fn()
		if err == nil || ctx.Err() != nil {
			r.since.Store(0)
			return err == nil
		}
		r.since.CompareAndSwap(0, r.o.Now().UnixNano())
		if now := r.o.Now(); logged.IsZero() || now.Sub(logged) >= logEvery {
			logged = now
			r.log.Error(what, mail.LogEvent, "feedback_waits", mail.LogErr, err)
		}
		wait(ctx, nil, pause+rand.N(pause/4))
	}
}

// Stuck returns since when the reader has waited for a shelf that fails, zero if it does not. It may be called at any time.
func (r *Reader) Stuck() time.Time {
	if ns := r.since.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// await waits for a hint, at most for poll or until an entry's wait is over.
func (r *Reader) await(ctx context.Context) { wait(ctx, r.wake, poll) }

func wait(ctx context.Context, hint <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-hint:
	case <-t.C:
	case <-ctx.Done():
	}
}
