package spool

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/postroad/postroad/internal/mail"
)

// Spool is an open spool.
type Spool struct {
	o    Options
	db   *pebble.DB
	id   mail.SpoolID
	lock io.Closer
	tap  *pebbleLog

	opened time.Time // newest spool time when it was opened

	backlog backlog
	syncing chan *frame
	loops   sync.WaitGroup
	helper  helper

	failure struct {
		sync.Mutex
		ch  chan struct{}
		err error
	}
	wedged atomic.Bool // Pebble panicked and cannot be closed

	// The committer's own.
	st      state
	left    map[mail.MessageID]int64
	memory  memory
	started time.Time // when the spool was opened, to the millisecond ids are made in

	// gate is held for reading by every call that uses db, and for writing by Close.
	gate   sync.RWMutex
	closed bool

	// seen is what readers see of the committer's work.
	seen struct {
		sync.Mutex
		st    state  // of the last synced frame
		shown uint64 // the newest event of the frames that readers may see, synced or not
		lanes map[string]struct{}
		hours map[uint32]struct{}          // hours with idempotency records
		marks map[mail.DeliveryID]struct{} // open at open and not settled since
	}
	stages   stages
	contents contents
	cache    cache
	space    space
	notify   chan struct{}

	notifyOwed chan struct{}
}

// ID returns the spool's id.
func (s *Spool) ID() mail.SpoolID { return s.id }

// NewestAtOpen returns the newest wall-clock time the spool had seen when it was opened. A clock far ahead of it is
// suspect, or the spool was idle for long. For a new spool it is zero.
func (s *Spool) NewestAtOpen() time.Time { return s.opened }

// Counts returns what the spool holds, by the last synced frame.
func (s *Spool) Counts() Counts {
	s.seen.Lock()
	defer s.seen.Unlock()
	return s.seen.st.snapshot(len(s.seen.lanes))
}

// Notify is signalled after a frame with events: a hint to read the outbox. It has room for one signal.
func (s *Spool) Notify() <-chan struct{} { return s.notify }

// applied makes the in-memory sets follow a frame that readers can see.
func (s *Spool) applied(f *frame) {
	if len(f.lanes) == 0 && len(f.idem) == 0 && len(f.marks) == 0 {
		return
	}
	s.seen.Lock()
	defer s.seen.Unlock()
	for key, set := range f.lanes {
		if set {
			s.seen.lanes[key] = struct{}{}
		} else {
			delete(s.seen.lanes, key)
		}
	}
	for _, hour := range f.idem {
		s.seen.hours[hour] = struct{}{}
	}
	if len(s.seen.marks) > 0 {
		for _, id := range f.marks {
			delete(s.seen.marks, id)
		}
	}
}

// synced publishes the state of a durable frame and reports whether it brought events.
func (s *Spool) synced(f *frame) bool {
	s.seen.Lock()
	defer s.seen.Unlock()
	more := f.st.event > s.seen.st.event
	s.seen.st = f.st
	return more
}

// enter lets a reader in; leave lets it out. It returns ErrClosed.
func (s *Spool) enter() error {
	s.gate.RLock()
	if s.closed {
		s.gate.RUnlock()
		return ErrClosed
	}
	return nil
}

func (s *Spool) leave() { s.gate.RUnlock() }

func (s *Spool) has(key []byte) bool {
	_, closer, err := s.db.Get(key)
	if err != nil {
		return false
	}
	_ = closer.Close()
	return true
}

// readError translates what Pebble returns to a reader.
func (s *Spool) readError(err error) error {
	if errors.Is(err, pebble.ErrNotFound) {
		return ErrNotFound
	}
	if pebble.IsCorruptionError(err) {
		return &DamageError{File: s.tap.damaged(), Err: err}
	}
	return err
}

// scan calls fn for every key in [lower, upper), in order, until it returns false. Key and value are valid during
// the call only.
func (s *Spool) scan(ctx context.Context, lower, upper []byte, fn func(key, value []byte) (bool, error)) error {
	return scan(ctx, s.db, lower, upper, s.readError, fn)
}

// scanCheck is how many keys pass between two looks at the context.
const scanCheck = 1024

func scan(ctx context.Context, db pebble.Reader, lower, upper []byte, translate func(error) error,
	fn func(key, value []byte) (bool, error),
) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return translate(err)
	}
	defer func() {
		if e := it.Close(); err == nil && e != nil {
			err = translate(e)
		}
	}()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%scanCheck == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return translate(err)
		}
		if more, err := fn(it.Key(), value); err != nil || !more {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return translate(err)
	}
	return nil
}
