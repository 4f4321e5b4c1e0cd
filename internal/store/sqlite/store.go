package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// Options of a Store.
type Options struct {
	// Dir is the folder of the store; it is made if missing.
	Dir    string
	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now
	// Retention is how long days of the record are kept, counted from the day's end. 0: for ever.
	Retention time.Duration
	// WebhookLog is how long attempts of webhooks are kept. 0: store.DefaultWebhookLog.
	WebhookLog time.Duration
	// Transcripts is how long the dialogues of attempts are kept; 0: as long as their events.
	Transcripts time.Duration
	// Held is asked before a day goes; true keeps it: a legal hold covers something of it. nil: none does.
	Held func(ctx context.Context, day string) (bool, error)
	// OpenDays is how many day files are kept open while nobody uses them. 0: DefaultOpenDays.
	OpenDays int
	// MayGrow is asked before events are written. An error makes WriteEvents return ErrUnavailable: the store stops
	// growing before the spool does. Platform state can always be changed: pausing an account must be possible on a
	// full disk. nil: always.
	MayGrow func() error
	// LeaveDamaged opens the store without the days of the record that are damaged, instead of not at all. It is for a backup,
	// which then names them, and for nothing that writes events.
	LeaveDamaged bool
	// Step, for tests, is called between any two steps of a write; an error ends the write there.
	Step func(name string) error
}

// DefaultOpenDays covers the record as it is kept by default, 90 days: a search by recipient asks every day, and opening a
// file takes as long as some hundred look-ups in it.
const DefaultOpenDays = 100

// Store is the store on SQLite files. It implements store.Store.
type Store struct {
	// stripped is when each day was last looked through for dialogues; stripping guards it.
	stripped  map[string]time.Time
	stripping sync.Mutex
	filtering sync.Mutex // one makes filters at a time

	opts     Options
	platform *database
	webhooks *database
	// webhookNew counts attempts of each webhook since the oldest were dropped; used by the writer alone.
	webhookNew map[string]int
	days       *days
	damaged    []store.Damage // days that were left out
	progress   progress
	tail       tail
	closed     atomic.Bool
}

var _ store.Store = (*Store)(nil)

// Names of the files below Options.Dir.
const (
	platformFile = "platform.db"
	webhookFile  = "webhooks.db"
	recordDir    = "record"
)

// Open opens the store in opts.Dir, and makes it if there is none. A file that is damaged, or was written by a newer
// version, is an error that names it.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.WebhookLog <= 0 {
		opts.WebhookLog = store.DefaultWebhookLog
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.OpenDays <= 0 {
		opts.OpenDays = DefaultOpenDays
	}
	if err := os.MkdirAll(filepath.Join(opts.Dir, recordDir), 0o700); err != nil {
		return nil, fmt.Errorf("sqlite: make the store's folder: %w", err)
	}
	p, err := openDatabase(ctx, filepath.Join(opts.Dir, platformFile), "platform")
	if err != nil {
		return nil, err
	}
	s := &Store{opts: opts, stripped: map[string]time.Time{}, platform: p, webhookNew: map[string]int{}}
	if s.webhooks, err = openDatabase(ctx, filepath.Join(opts.Dir, webhookFile), "webhook"); err != nil {
		return nil, errors.Join(err, p.close())
	}
	var leave func(day string, err error) bool
	if opts.LeaveDamaged {
		leave = func(day string, err error) bool {
			if !isDamage(err) {
				return false
			}
			s.damaged = append(s.damaged, damageOf(day, err))
			return true
		}
	}
	if s.days, err = openDays(ctx, filepath.Join(opts.Dir, recordDir), opts.OpenDays, leave); err != nil {
		return nil, errors.Join(err, s.webhooks.close(), p.close())
	}
	if err := s.loadWatermarks(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return errors.Join(s.days.close(), s.webhooks.close(), s.platform.close())
}

// ready returns ErrUnavailable once the store is closed.
func (s *Store) ready() error {
	if s.closed.Load() {
		return fmt.Errorf("sqlite: %w: closed", store.ErrUnavailable)
	}
	return nil
}

// step lets tests end a write between two steps.
func (s *Store) step(name string) error {
	if s.opts.Step == nil {
		return nil
	}
	return s.opts.Step(name)
}

func (s *Store) loadWatermarks(ctx context.Context) error {
	s.progress.init()
	return s.platform.query(ctx, "load watermarks", "SELECT spool, seq FROM watermarks", nil, func(r rowScanner) error {
		var spool, seq int64
		if err := r.Scan(&spool, &seq); err != nil {
			return err
		}
		s.progress.publish(mail.SpoolID(spool), uint64(seq))
		return nil
	})
}

// micros is how times are kept: microseconds since 1970, 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}
