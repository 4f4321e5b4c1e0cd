package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Followed is what Follow needs of a store.
type Followed interface {
	Meta
	Events(ctx context.Context, q EventQuery) (EventPage, error)
	Tail(ctx context.Context) (Cursor, error)
	WaitFor(ctx context.Context, spool mail.SpoolID, seq uint64) (uint64, error)
	Watermark(ctx context.Context, spool mail.SpoolID) (uint64, error)
}

// CaughtUp waits until a record holds a spool's events up to a sequence, or ctx ends.
func CaughtUp(ctx context.Context, record interface {
	WaitFor(ctx context.Context, spool mail.SpoolID, seq uint64) (uint64, error)
}, spool mail.SpoolID, seq uint64,
) error {
	for {
		mark, err := record.WaitFor(ctx, spool, seq)
		switch {
		case err != nil:
			return err
		case mark >= seq:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// FollowOptions say who follows the event stream, and how.
type FollowOptions struct {
	// Name is the follower's own: its cursor is kept under "cursor/NAME".
	Name string
	// Spool is the spool whose watermark is waited for.
	Spool mail.SpoolID
	// Types restricts the stream; empty: every event.
	Types []mail.EventType
	// Account restricts the stream to one account; "": everyone's.
	Account string
	// FromTail begins behind the newest event when there is no cursor yet, instead of at the oldest event kept.
	FromTail bool
	Max      int // events handed over at one time; 0: DefaultPage
	// Progress, if not nil, is told how far the follower has come.
	Progress *Progress
	Logger   *slog.Logger
}

// Progress is how far a follower has come. The zero value is one that has not begun. It is safe for concurrent use.
type Progress struct {
	mu     sync.Mutex
	cursor Cursor
	moved  chan struct{} // closed when cursor changes; nil: nobody waits for that
}

// Wait waits until the follower has done all it does of a spool's events up to a sequence, or ctx ends: it returns its
// error then. Where that is done already it returns nil, whatever became of ctx.
func (p *Progress) Wait(ctx context.Context, spool mail.SpoolID, seq uint64) error {
	for {
		moved := p.awaits(spool, seq)
		if moved == nil {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaits returns what is closed when the cursor changes; nil: it is there.
func (p *Progress) awaits(spool mail.SpoolID, seq uint64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cursor != nil && p.cursor[spool] >= seq {
		return nil
	}
	if p.moved == nil {
		p.moved = make(chan struct{})
	}
	return p.moved
}

func (p *Progress) set(c Cursor) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cursor = maps.Clone(c)
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// Pauses of Follow after a failure: doubled from the first up to the last.
const (
	followFirstPause = 100 * time.Millisecond
	followLastPause  = 30 * time.Second
	// followLogEvery is how often a failure that lasts is logged.
	followLogEvery = time.Minute
)

// Follow hands the recorded events to do, in commit order, a page at a time, until ctx ends, and returns nil then. The
// cursor moves behind a page when do has returned nil for it, and is stored: after a crash do sees the last page again,
// so what it does must be the same done twice. An error of do, or of the store, is logged and tried again with growing
// pauses, the same page first; nothing is skipped.
func Follow(ctx context.Context, s Followed, o FollowOptions, do func(ctx context.Context, events []*mail.Event) error) error {
	if o.Name == "" || s == nil || do == nil {
		return errors.New("store: Follow needs a store, a name and something to do")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f := follower{s: s, o: o, do: do}
	pause, logged := followFirstPause, time.Time{}
	for ctx.Err() == nil {
		err := f.step(ctx)
		if err == nil || ctx.Err() != nil {
			pause, logged = followFirstPause, time.Time{}
			continue
		}
		if time.Since(logged) >= followLogEvery {
			o.Logger.Error("events cannot be followed; tried again", mail.LogEvent, "follow_failed", "follower", o.Name, mail.LogErr, err)
			logged = time.Now()
		}
		sleep(ctx, pause+rand.N(pause/4))
		pause = min(2*pause, followLastPause)
	}
	return nil
}

type follower struct {
	s      Followed
	o      FollowOptions
	do     func(context.Context, []*mail.Event) error
	cursor Cursor
	known  bool
	saved  string // the cursor as last stored
}

// FollowKey is the key of store.Meta under which a follower's cursor is kept.
func FollowKey(name string) string { return "cursor/" + name }

func (f *follower) step(ctx context.Context) error {
	if !f.known {
		if err := f.load(ctx); err != nil {
			return err
		}
	}
	mark, err := f.s.Watermark(ctx, f.o.Spool)
	if err != nil {
		return err
	}
	page, err := f.s.Events(ctx, EventQuery{After: f.cursor, Account: f.o.Account, Types: f.o.Types, Max: f.o.Max})
	if err != nil {
		return err
	}
	if len(page.Events) > 0 {
		if err := f.do(ctx, page.Events); err != nil {
			return err
		}
	}
	f.cursor = page.Next
	if len(page.Events) > 0 || page.More {
		if err := f.save(ctx); err != nil {
			return err
		}
	}
	f.o.Progress.set(f.cursor)
	if page.More {
		return nil
	}
	_, err = f.s.WaitFor(ctx, f.o.Spool, mark+1)
	return err
}

func (f *follower) load(ctx context.Context) error {
	text, err := f.s.GetMeta(ctx, FollowKey(f.o.Name))
	switch {
	case err == nil:
		if f.cursor, err = ParseCursor(string(text)); err != nil {
			return fmt.Errorf("store: cursor of %s: %w", f.o.Name, err)
		}
		f.saved = string(text)
	case !errors.Is(err, ErrNotFound):
		return err
	case f.o.FromTail:
		if f.cursor, err = f.s.Tail(ctx); err != nil {
			return err
		}
		// Also where it is the beginning: without it the next start would take its own tail, and skip what came meanwhile.
		if err := f.s.PutMeta(ctx, FollowKey(f.o.Name), []byte(f.cursor.String())); err != nil {
			return err
		}
		f.saved = f.cursor.String()
	}
	f.known = true
	return nil
}

func (f *follower) save(ctx context.Context) error {
	text := f.cursor.String()
	if text == f.saved {
		return nil
	}
	if err := f.s.PutMeta(ctx, FollowKey(f.o.Name), []byte(text)); err != nil {
		return err
	}
	f.saved = text
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
