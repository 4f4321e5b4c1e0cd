package imap

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// Options are what a Poller needs. Snapshot, Password, Put, Known and Meta are required.
type Options struct {
	Snapshot func() *platform.Snapshot
	// Password opens the password of an account's mailbox.
	Password func(account string, m *platform.Mailbox) (string, error)
	// Put stores a report; it is durable when Put returns nil.
	Put func(context.Context, spool.InboxEntry) error
	// Known reports whether a report of that id is stored already, be it read or still waiting to be.
	Known func(context.Context, mail.ReportID) (bool, error)
	Meta  store.Meta // keeps how far each mailbox is read
	// Hostname is the platform's own: notices it wrote itself are no reports to it.
	Hostname string
	Alert    func(platform.Alert)
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	// Pace shortens every pause; 0 means 1. For practice and tests.
	Pace float64
	// Patience shortens the time a server may take for an answer; 0 means 1. For tests with a server that never answers.
	Patience float64
	// Parse, for tests, reads in the place of report.Parse.
	Parse  func(raw []byte, lim report.Limits) *report.Report
	Now    func() time.Time
	Logger *slog.Logger
}

// Poller reads the bounce mailboxes of all accounts.
type Poller struct {
	o       Options
	changed chan struct{}
	recent  *recent
	stats   counters
}

// Stats counts what a Poller did since its start.
type Stats struct {
	Reading  int64  // mailboxes that are logged in and read now
	Reports  uint64 // reports taken
	Refused  uint64 // log-ins the server refused
	Sessions uint64 // sessions that ended otherwise: connections that failed or were lost
}

type counters struct {
	reading                    atomic.Int64
	reports, refused, sessions atomic.Uint64
}

// Stats returns the counts.
func (p *Poller) Stats() Stats {
	c := &p.stats
	return Stats{Reading: c.reading.Load(), Reports: c.reports.Load(), Refused: c.refused.Load(), Sessions: c.sessions.Load()}
}

// New makes a Poller; it connects to nobody before Run.
func New(o Options) (*Poller, error) {
	if o.Snapshot == nil || o.Password == nil || o.Put == nil || o.Known == nil || o.Meta == nil {
		return nil, errors.New("imap: Snapshot, Password, Put, Known and Meta are required")
	}
	if o.Alert == nil {
		o.Alert = func(platform.Alert) {}
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Parse == nil {
		o.Parse = report.Parse
	}
	if o.Pace <= 0 {
		o.Pace = 1
	}
	if o.Patience <= 0 {
		o.Patience = 1
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Poller{o: o, changed: make(chan struct{}, 1), recent: newRecent(maxRecent)}, nil
}

// Changed tells that the snapshot is another one. It never blocks.
func (p *Poller) Changed() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// place names a mailbox on the platform.
type place struct{ account, mailbox string }

// running is a mailbox that is being read.
type running struct {
	box    platform.Mailbox
	cancel context.CancelFunc
	ended  chan struct{}
}

func (r *running) stop() {
	r.cancel()
	<-r.ended
}

// Run reads all mailboxes until ctx ends.
func (p *Poller) Run(ctx context.Context) error {
	readers := map[place]*running{}
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		want := map[place]platform.Mailbox{}
		for _, a := range p.o.Snapshot().State().Accounts {
			for _, b := range a.Mailboxes {
				if !b.Disabled {
					want[place{a.Name, b.Name}] = b
				}
			}
		}
		for at, r := range readers {
			if b, ok := want[at]; !ok || !reflect.DeepEqual(b, r.box) {
				r.stop() // its place is known to the next reader only once it has ended
				delete(readers, at)
				if !ok {
					p.forget(at)
				}
			}
		}
		for at, b := range want {
			if readers[at] != nil {
				continue
			}
			own, cancel := context.WithCancel(ctx)
			r := &running{box: b, cancel: cancel, ended: make(chan struct{})}
			readers[at] = r
			wg.Go(func() {
				defer close(r.ended)
				newReader(p, at, b).run(own)
			})
		}
		select {
		case <-p.changed:
		case <-ctx.Done():
			for _, r := range readers {
				r.cancel()
			}
			return nil
		}
	}
}

// forget clears the alerts of a mailbox that is no longer read.
func (p *Poller) forget(at place) {
	for _, kind := range alertKinds {
		p.o.Alert(platform.Alert{Kind: kind, Scope: at.scope(), Cleared: p.o.Now().UTC()})
	}
}

func (at place) scope() string { return "mailbox/" + at.account + "/" + at.mailbox }

// maxRecent is how many ids of reports taken by this process are remembered, 16 octets each: the time between a report's
// way out of the spool's inbox and its place in the record, at any rate that is real for mailboxes.
const maxRecent = 1 << 16

// recent remembers the last ids it was told.
type recent struct {
	mu   sync.Mutex
	have map[mail.ReportID]struct{}
	ring []mail.ReportID
	next int
}

func newRecent(n int) *recent {
	return &recent{have: map[mail.ReportID]struct{}{}, ring: make([]mail.ReportID, 0, min(n, 1024))}
}

func (r *recent) add(id mail.ReportID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.have[id]; ok {
		return
	}
	r.have[id] = struct{}{}
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, id)
		return
	}
	delete(r.have, r.ring[r.next])
	r.ring[r.next] = id
	r.next = (r.next + 1) % maxRecent
}

func (r *recent) has(id mail.ReportID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.have[id]
	return ok
}
