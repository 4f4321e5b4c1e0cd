package webhook

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// Store is what a Service needs of a store.
type Store interface {
	store.Webhooks
	Events(ctx context.Context, q store.EventQuery) (store.EventPage, error)
	Tail(ctx context.Context) (store.Cursor, error)
	WaitFor(ctx context.Context, spool mail.SpoolID, seq uint64) (uint64, error)
	Watermark(ctx context.Context, spool mail.SpoolID) (uint64, error)
}

// Options are what a Service needs. Store, Snapshot and Secret are required.
type Options struct {
	Store Store
	// Spool is the spool of this node: its events are waited for. Others' are looked for every otherSpools.
	Spool    mail.SpoolID
	Snapshot func() *platform.Snapshot
	// Secret opens a signing secret.
	Secret func(*platform.Webhook, *platform.WebhookKey) ([]byte, error)
	// Alert raises and clears alerts. It must not block. May be nil.
	Alert func(platform.Alert)
	// Stopped is told when a webhook was stopped, to tell its owner. It must not block. May be nil.
	Stopped func(Stopped)

	AllowHTTP    bool
	AllowPrivate bool // loopback, private and own addresses
	OwnAddrs     []netip.Addr
	Resolver     *net.Resolver // nil: the system's
	RootCAs      *x509.CertPool
	UserAgent    string // "": Postroad
	// Timeout bounds an attempt, GiveUp how long one event is tried, StopGrace how long a stop waits for requests in hand.
	// 0: the defaults.
	Timeout   time.Duration
	GiveUp    time.Duration
	StopGrace time.Duration
	// Dial connects in place of the guarded dialer, for tests.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Logger *slog.Logger
}

// DefaultStopGrace is how long a stop waits for requests in hand.
const DefaultStopGrace = 5 * time.Second

// Stopped tells of a webhook that gets no more events until it is enabled again.
type Stopped struct {
	Account string
	Webhook string // its name
	URL     string
	Reason  string
	Since   time.Time
}

// Service tells webhooks of events.
type Service struct {
	o                 Options
	client            *http.Client
	maxOpen, maxExtra int // the constants of these names, but for tests

	changed chan struct{} // the platform's state has changed
	ready   chan struct{} // closed when Run knows where every webhook stands
	writes  chan write
	work    sync.WaitGroup // webhooks and replays

	mu        sync.Mutex
	ctx       context.Context        // of Run; nil before it
	closed    bool                   // Run is about to return
	revision  uint64                 // counts places to be written
	endpoints map[string]*endpoint   // by id
	listeners map[string][]*endpoint // by account; "": those of all accounts
	head      store.Cursor           // events up to here were handed out
	recent    []*mail.Event          // the last of them
	recentAt  store.Cursor           // what comes behind recentAt and up to head is in recent
	orphans   map[string]bool        // positions of webhooks there are not
	extra     int                    // requests besides the first of each webhook
	starved   map[*endpoint]bool     // would have more requests if extra allowed it

	counts counters
}

// counters are figures since the start.
type counters struct {
	taken, refused, failed, replayed, stopped, dropped atomic.Uint64
}

// Stats are figures of all webhooks together.
type Stats struct {
	// Taken, Refused and Failed count attempts: answered 2xx, answered otherwise, not answered. Replayed counts those of
	// replays among them, Stopped webhooks that were given up, LogDropped attempts the log had no room for.
	Taken, Refused, Failed, Replayed, Stops, LogDropped uint64
	// Webhooks by what they do now.
	Live, CatchingUp, Retrying, Stopped, Disabled int
	// Oldest is the age of the oldest event some webhook has in hand.
	Oldest time.Duration
}

// New makes a Service. It does nothing before Run.
func New(o Options) (*Service, error) {
	if o.Store == nil || o.Snapshot == nil || o.Secret == nil {
		return nil, errors.New("webhook: Store, Snapshot and Secret are required")
	}
	for d, fallback := range map[*time.Duration]time.Duration{&o.Timeout: DefaultTimeout, &o.GiveUp: DefaultGiveUp, &o.StopGrace: DefaultStopGrace} {
		if *d <= 0 {
			*d = fallback
		}
	}
	if o.UserAgent == "" {
		o.UserAgent = "Postroad"
	}
	if o.Alert == nil {
		o.Alert = func(platform.Alert) {}
	}
	if o.Stopped == nil {
		o.Stopped = func(Stopped) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{
		o: o, maxOpen: maxOpen, maxExtra: maxExtra, changed: make(chan struct{}, 1), ready: make(chan struct{}), writes: make(chan write), endpoints: map[string]*endpoint{},
		listeners: map[string][]*endpoint{}, orphans: map[string]bool{}, starved: map[*endpoint]bool{},
		client: &http.Client{
			Transport:     o.transport(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// SnapshotChanged tells that the platform's state is another one. It does not block.
func (s *Service) SnapshotChanged() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// flushEvery is how often the places of webhooks that had nothing to send are written: after a crash so much of the stream
// is looked through again.
const flushEvery = time.Minute

// Run sends events until ctx ends. Requests in hand are then given StopGrace; what they brought is written before it
// returns.
func (s *Service) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	var writer sync.WaitGroup
	writer.Go(s.write)
	defer writer.Wait()
	defer close(s.writes)

	positions, ok := retried(ctx, s.o.Logger, s.o.Store.WebhookPositions)
	if !ok {
		return nil
	}
	replays, ok := retried(ctx, s.o.Logger, func(ctx context.Context) ([]store.WebhookReplay, error) { return s.o.Store.WebhookReplays(ctx, "") })
	if !ok {
		return nil
	}
	if !s.begin(ctx, positions) {
		return nil
	}
	s.resumeReplays(ctx, replays)
	close(s.ready)
	s.work.Go(func() { s.read(ctx) })
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.changed:
			s.reconcile(ctx)
		case <-flush.C:
			s.flush()
			s.forgetOrphans(ctx)
		}
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.work.Wait()
	s.flush()
	return nil
}

// begin starts the webhooks there are. The reader begins where the one stands that is least far among those that were up to
// date: after an orderly stop that is the place of all, after a crash at most flushEvery behind.
func (s *Service) begin(ctx context.Context, positions []store.WebhookPosition) bool {
	head, ok := retried(ctx, s.o.Logger, s.o.Store.Tail)
	if !ok {
		return false
	}
	known := map[string]bool{}
	for _, a := range s.o.Snapshot().State().Accounts {
		for _, w := range a.Webhooks {
			known[w.ID] = true
		}
	}
	for i := range positions {
		p := &positions[i]
		switch {
		case !known[p.Webhook]:
			s.orphans[p.Webhook] = true
		case !p.Lagging && p.Stopped.IsZero():
			head = lower(head, p.Behind())
		}
	}
	s.mu.Lock()
	s.ctx, s.head, s.recentAt = ctx, head, head
	s.mu.Unlock()
	s.reconcile(ctx)
	return true
}

// lower returns the place that is behind neither a nor b.
func lower(a, b store.Cursor) store.Cursor {
	low := store.Cursor{}
	for spool, seq := range a {
		if n := min(seq, b[spool]); n > 0 {
			low[spool] = n
		}
	}
	return low
}

// covers reports whether everything up to b is up to a as well.
func covers(a, b store.Cursor) bool {
	for spool, seq := range b {
		if a[spool] < seq {
			return false
		}
	}
	return true
}

// reconcile makes the webhooks at work match the platform's state. Where new ones stand the store is asked after the state was
// looked at: a webhook gets its place before it is there.
func (s *Service) reconcile(ctx context.Context) {
	type wanted struct {
		account string
		hook    *platform.Webhook
	}
	want := map[string]wanted{}
	state := s.o.Snapshot().State()
	for i := range state.Accounts {
		a := &state.Accounts[i]
		for j := range a.Webhooks {
			want[a.Webhooks[j].ID] = wanted{a.Name, &a.Webhooks[j]}
		}
	}
	s.mu.Lock()
	fresh := false
	for id, w := range want {
		if e := s.endpoints[id]; e != nil {
			e.change(w.account, w.hook)
		} else {
			fresh = true
		}
	}
	for id, e := range s.endpoints {
		if _, ok := want[id]; !ok {
			delete(s.endpoints, id)
			e.remove()
		}
	}
	s.mu.Unlock()
	if fresh {
		positions, ok := retried(ctx, s.o.Logger, s.o.Store.WebhookPositions)
		if !ok {
			return
		}
		at := map[string]store.WebhookPosition{}
		for _, p := range positions {
			at[p.Webhook] = p
		}
		tail, ok := retried(ctx, s.o.Logger, s.o.Store.Tail)
		if !ok {
			return
		}
		s.mu.Lock()
		for id, w := range want {
			if s.endpoints[id] != nil {
				continue
			}
			p, ok := at[id]
			if !ok { // made before its place could be kept, or restored from a backup without it
				p = store.WebhookPosition{Webhook: id, At: tail}
				s.o.Logger.Warn("a webhook had no place in the event stream and begins with what is new", mail.LogEvent, "webhook_without_position",
					mail.LogTenant, w.account, "webhook", w.hook.Name)
			}
			s.endpoints[id] = s.start(ctx, w.account, w.hook, p)
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.listeners)
	for _, e := range s.endpoints {
		s.listen(e)
	}
}

// listen makes the reader find a webhook. It is called with Service.mu held.
func (s *Service) listen(e *endpoint) {
	account := e.account
	if e.hook.AllAccounts {
		account = ""
	}
	s.listeners[account] = append(s.listeners[account], e)
}

// forgetOrphans deletes what the store has of webhooks that are no more: those that went while nobody looked. They are
// looked for again first, for a webhook gets its place before it is there.
func (s *Service) forgetOrphans(ctx context.Context) {
	for id := range s.orphans {
		s.mu.Lock()
		found := s.endpoints[id] != nil
		s.mu.Unlock()
		if !found {
			if err := s.o.Store.DeleteWebhook(ctx, id); err != nil {
				s.o.Logger.Warn("the place of a deleted webhook is still there", mail.LogEvent, "webhook_not_forgotten", "webhook", id, mail.LogErr, err)
				continue
			}
		}
		delete(s.orphans, id)
	}
}

// Begin gives a webhook that is about to be made its place in the stream: behind what is recorded now.
func Begin(ctx context.Context, s Store, id string) error {
	tail, err := s.Tail(ctx)
	if err != nil {
		return err
	}
	return s.WriteWebhooks(ctx, []store.WebhookPosition{{Webhook: id, At: tail}}, nil, nil)
}

// Pauses after failures of the store.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)

// retried calls f until it works, and returns false when ctx ended before.
func retried[T any](ctx context.Context, log *slog.Logger, f func(context.Context) (T, error)) (v T, ok bool) {
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		v, err := f(ctx)
		if err == nil {
			return v, true
		}
		if ctx.Err() != nil {
			return v, false
		}
		log.Error("the store does not answer; webhooks wait", mail.LogEvent, "webhook_store_failed", mail.LogErr, err)
		if !sleep(ctx, wait) {
			return v, false
		}
	}
}

// sleep waits, and returns false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Stats returns figures of all webhooks together.
func (s *Service) Stats() Stats {
	c := &s.counts
	st := Stats{
		Taken: c.taken.Load(), Refused: c.refused.Load(), Failed: c.failed.Load(), Replayed: c.replayed.Load(), Stops: c.stopped.Load(),
		LogDropped: c.dropped.Load(),
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.endpoints {
		switch e.state() {
		case StateLive:
			st.Live++
		case StateCatchingUp:
			st.CatchingUp++
		case StateRetrying:
			st.Retrying++
		case StateStopped:
			st.Stopped++
		case StateDisabled:
			st.Disabled++
		}
		if x := e.oldest(); x != nil && x.event != nil && !e.hook.Disabled && e.pos.Stopped.IsZero() {
			st.Oldest = max(st.Oldest, now.Sub(x.event.At))
		}
	}
	return st
}
