package notify

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/figures"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// Store is what is asked of the store.
type Store interface {
	store.Followed
	ListAlerts(ctx context.Context, q store.AlertQuery) ([]platform.Alert, error)
}

// Mail is one mail to be handed in.
type Mail struct {
	// Key makes handing it in twice the same as once.
	Key     string
	To      []mail.Address
	Content []byte // RFC 5322
	// AvoidRoute is a route it should not take, because it tells of its trouble; "": any.
	AvoidRoute string
}

// Options are what a Service needs.
type Options struct {
	Store    Store
	Spool    mail.SpoolID // whose events are waited for
	Snapshot func() *platform.Snapshot
	Report   func(ctx context.Context, account string, p figures.Period) (*figures.Report, error)
	// Newest is the newest event of the spool: no digest is made before the record has it. nil: the record always does.
	Newest func() uint64
	// Send takes a mail in; when it returns nil the mail is on disk.
	Send func(ctx context.Context, m Mail) error
	// Hostname is the platform's name: mail comes from postmaster@ it.
	Hostname string
	// Operators get a mail for every alert.
	Operators []mail.Address
	// DigestHour is the hour of the day, UTC, from which on digests of what ended at midnight are sent.
	DigestHour int
	Now        func() time.Time
	// Tick is how often is looked what is due; 0: DefaultTick.
	Tick time.Duration
	// Progress is told how far it has come with the events; nil: nobody asks.
	Progress *store.Progress
	Logger   *slog.Logger
}

// DefaultTick is Options.Tick where none is set: how late an alert's mail may be.
const DefaultTick = 30 * time.Second

// maxRefusals bounds the refusals that wait to be looked at. Beyond it they are forgotten: the next one tells the same.
const maxRefusals = 256

// Service writes.
type Service struct {
	o        Options
	from     mail.Address
	refusals chan refusal
}

// refusal is a quota that was used up.
type refusal struct{ account, quota string }

// New makes a service.
func New(o Options) (*Service, error) {
	if o.Store == nil || o.Snapshot == nil || o.Report == nil || o.Send == nil || o.Hostname == "" {
		return nil, errors.New("notify: Store, Snapshot, Report, Send and Hostname are required")
	}
	if o.DigestHour < 0 || o.DigestHour > 23 {
		return nil, errors.New("notify: DigestHour is an hour of the day, 0 to 23")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tick == 0 {
		o.Tick = DefaultTick
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{o: o, from: mail.Address{Local: "postmaster", Domain: o.Hostname}, refusals: make(chan refusal, maxRefusals)}, nil
}

// Quota says that an account's mail was refused because its quota of that name is used up.
func (s *Service) Quota(account, quota string) {
	select {
	case s.refusals <- refusal{account, quota}:
	default:
	}
}

// Run writes until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.watch(ctx) })
	err := store.Follow(ctx, s.o.Store, store.FollowOptions{
		Name: "notify", Spool: s.o.Spool, Types: []mail.EventType{mail.EventComplained}, FromTail: true, Max: store.MaxPage,
		Progress: s.o.Progress, Logger: s.o.Logger,
	}, s.complaints)
	wg.Wait()
	return err
}

// watch looks now and then what is due.
func (s *Service) watch(ctx context.Context) {
	t := time.NewTicker(s.o.Tick)
	defer t.Stop()
	for {
		for what, do := range map[string]func(context.Context) error{"digests": s.digests, "alerts": s.alerts, "accounts": s.accounts} {
			if err := do(ctx); err != nil && ctx.Err() == nil {
				s.o.Logger.Error("mail to people failed; tried again", mail.LogEvent, "notify_failed", "what", what, mail.LogErr, err)
			}
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return
			case r := <-s.refusals:
				if err := s.quota(ctx, r); err != nil && ctx.Err() == nil {
					s.o.Logger.Error("mail to people failed", mail.LogEvent, "notify_failed", "what", "quota", mail.LogErr, err)
				}
			case <-t.C:
				waiting = false
			}
		}
	}
}

// contact is where an account's people are written to; false where it has no contact.
func contact(a *platform.Account) (mail.Address, bool) {
	if a == nil || a.Contact == "" {
		return mail.Address{}, false
	}
	addr, err := mail.ParseAddress(a.Contact)
	return addr, err == nil
}
