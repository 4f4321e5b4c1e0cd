package manage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/suppression"
)

// SuppressionOptions are what a Suppressions needs. Store is required.
type SuppressionOptions struct {
	Store store.Suppressions
	// Known reports whether there is an account of that name; nil: every name passes.
	Known  func(account string) bool
	Now    func() time.Time
	Logger *slog.Logger
}

// Suppressions is the suppression list: who must not be mailed, as the hot path asks it and as it is changed. Whom it does
// not hold costs one hash and no look-up: the keys of all entries are in memory, built by Run at start and kept by every
// change; only where a key is there is the store asked. Until they have been read, it is asked for everybody.
type Suppressions struct {
	o    SuppressionOptions
	keys atomic.Pointer[listKeys] // nil: not read yet

	// change is held for reading by every change, from before its keys are added until it is stored: a set that is begun
	// under the write lock misses none of them. An undo has it to itself.
	change   sync.RWMutex
	building *listKeys // nil: none

	counts SuppressionCounts
}

// SuppressionCounts count since the start.
type SuppressionCounts struct {
	Asked   atomic.Uint64 // addresses that were asked for
	Lookups atomic.Uint64 // of them, those the store was asked for
	Hits    atomic.Uint64 // of them, those that were on the list
	Added   atomic.Uint64 // entries added or replaced
	Removed atomic.Uint64
}

// How often the keys are read again, to be rid of those whose entries are gone; and how soon after a failure.
const (
	keysEvery = 24 * time.Hour
	keysRetry = 5 * time.Second
)

// NewSuppressions makes the list. Run has to be started.
func NewSuppressions(o SuppressionOptions) (*Suppressions, error) {
	if o.Store == nil {
		return nil, errors.New("manage: suppressions need a Store")
	}
	if o.Known == nil {
		o.Known = func(string) bool { return true }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Suppressions{o: o}, nil
}

// Run reads the keys of all entries, and again every day, until ctx ends.
func (s *Suppressions) Run(ctx context.Context) error {
	for {
		wait := keysEvery
		begin := time.Now()
		if err := s.load(ctx); err == nil {
			s.o.Logger.Info("the suppression list is in memory", mail.LogEvent, "suppressions_read", "keys", s.Len(), "took", time.Since(begin))
		} else if ctx.Err() == nil {
			s.o.Logger.Error("the suppression list cannot be read; tried again", mail.LogEvent, "suppressions_unread", mail.LogErr, err)
			wait = keysRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// load builds the set of keys anew.
func (s *Suppressions) load(ctx context.Context) error {
	set := newListKeys()
	s.change.Lock()
	s.building = set
	s.change.Unlock()
	err := s.o.Store.SuppressionKeys(ctx, func(address, account string) error {
		set.add(address, account)
		return ctx.Err()
	})
	s.change.Lock()
	defer s.change.Unlock()
	s.building = nil
	if err != nil {
		return fmt.Errorf("manage: read the suppression list: %w", err)
	}
	s.keys.Store(set)
	return nil
}

// note adds the keys of entries that are about to be stored. The caller holds change for reading.
func (s *Suppressions) note(list ...platform.Suppression) {
	set := s.keys.Load()
	for i := range list {
		if set != nil {
			set.add(list[i].Address, list[i].Account)
		}
		if s.building != nil {
			s.building.add(list[i].Address, list[i].Account)
		}
	}
}

// Listed says from memory whether the list may hold an address for an account. False is certain.
func (s *Suppressions) Listed(account string, a mail.Address) bool {
	s.counts.Asked.Add(1)
	set := s.keys.Load()
	return set == nil || set.has(suppression.Form(a), account)
}

// Suppressed says whether an account's mail of a stream must not go to an address, and by which entry. An entry that was
// stored before the call counts.
func (s *Suppressions) Suppressed(ctx context.Context, account string, stream mail.Stream, a mail.Address) (platform.Suppression, bool, error) {
	if !s.Listed(account, a) {
		return platform.Suppression{}, false, nil
	}
	s.counts.Lookups.Add(1)
	list, err := s.entries(ctx, suppression.Form(a))
	if err != nil {
		return platform.Suppression{}, false, err
	}
	x, ok := suppression.Match(list, account, stream, s.o.Now())
	if ok {
		s.counts.Hits.Add(1)
	}
	return x, ok, nil
}

// entries are all there are for a subject, and for the hash of an address.
func (s *Suppressions) entries(ctx context.Context, subject string) ([]platform.Suppression, error) {
	keys := []string{subject}
	if !suppression.IsHash(subject) {
		keys = append(keys, suppression.Hash(subject))
	}
	list, err := s.o.Store.SuppressionsOf(ctx, keys...)
	if err != nil {
		return nil, fmt.Errorf("manage: look up a suppression: %w", err)
	}
	return list, nil
}

// Len is how many keys are in memory: one for each address and account.
func (s *Suppressions) Len() int {
	if set := s.keys.Load(); set != nil {
		return set.len()
	}
	return 0
}

// Counts are the list's counters.
func (s *Suppressions) Counts() *SuppressionCounts { return &s.counts }
