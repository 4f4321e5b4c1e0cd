package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// stream is a record of numbered events that grows.
type stream struct {
	mu   sync.Mutex
	n    uint64
	meta map[string][]byte
	fail error
	grew chan struct{}
}

func newStream(n uint64) *stream {
	return &stream{n: n, meta: map[string][]byte{}, grew: make(chan struct{})}
}

func (s *stream) grow(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n += n
	close(s.grew)
	s.grew = make(chan struct{})
}

func (s *stream) Events(_ context.Context, q EventQuery) (EventPage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return EventPage{}, s.fail
	}
	page := EventPage{Next: q.After}
	for seq := q.After[1] + 1; seq <= s.n; seq++ {
		if len(page.Events) == PageSize(q.Max) {
			page.More = true
			break
		}
		page.Events = append(page.Events, &mail.Event{ID: mail.EventID{Spool: 1, Seq: seq}})
		page.Next = page.Next.With(1, seq)
	}
	return page, nil
}

func (s *stream) Tail(context.Context) (Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Cursor{1: s.n}, nil
}

func (s *stream) Watermark(context.Context, mail.SpoolID) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n, nil
}

func (s *stream) WaitFor(ctx context.Context, _ mail.SpoolID, seq uint64) (uint64, error) {
	s.mu.Lock()
	n, grew := s.n, s.grew
	s.mu.Unlock()
	if n < seq {
		select {
		case <-grew:
		case <-ctx.Done():
		}
	}
	return s.Watermark(ctx, 1)
}

func (s *stream) GetMeta(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.meta[key]; ok {
		return v, nil
	}
	return nil, ErrNotFound
}

func (s *stream) PutMeta(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meta[key] = slices.Clone(value)
	return nil
}

func (s *stream) DeleteMeta(context.Context, string) error { return nil }

// follow runs Follow until it has seen n events, some of which do refuses at first.
func follow(t *testing.T, s *stream, o FollowOptions, n int, refuse map[uint64]int) (seen []uint64) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	err := Follow(ctx, s, o, func(_ context.Context, events []*mail.Event) error {
		for _, e := range events {
			if refuse[e.ID.Seq] > 0 {
				refuse[e.ID.Seq]--
				return errors.New("not now")
			}
		}
		for _, e := range events {
			seen = append(seen, e.ID.Seq)
		}
		if len(seen) >= n {
			stop()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// TestFollow: every event once and in order, the failing page again, and after a restart on from the stored cursor.
func TestFollow(t *testing.T) {
	s := newStream(25)
	progress := new(Progress)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if progress.Wait(over, 1, 0) == nil {
		t.Error("who has not begun has come somewhere")
	}
	arrived := make(chan error, 1)
	go func() { arrived <- progress.Wait(t.Context(), 1, 20) }()
	o := FollowOptions{Name: "test", Spool: 1, Max: 10, Progress: progress}
	seen := follow(t, s, o, 25, map[uint64]int{14: 2})
	if err := <-arrived; err != nil {
		t.Error(err)
	}
	if progress.Wait(over, 1, 20) != nil || progress.Wait(over, 1, 26) == nil {
		t.Errorf("it says it has come to %v", progress.cursor)
	}
	for i, seq := range seen {
		if seq != uint64(i+1) {
			t.Fatalf("saw %v", seen)
		}
	}
	go func() { time.Sleep(20 * time.Millisecond); s.grow(3) }()
	// The stop came while the last page was in hand: its cursor may not be stored, so it may come again.
	again := follow(t, s, o, 3, nil)
	if last := again[len(again)-1]; again[0] < 21 || last != 28 && last != 25 {
		t.Errorf("after the restart saw %v", again)
	}
}

// begun runs Follow until it waits for what is new, having seen nothing.
func begun(t *testing.T, s *stream, o FollowOptions) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	err := Follow(ctx, waiting{s, stop}, o, func(context.Context, []*mail.Event) error { t.Error("saw an old event"); return nil })
	if err != nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatal(err, ctx.Err())
	}
}

// waiting ends who waits for more.
type waiting struct {
	*stream
	stop func()
}

func (w waiting) WaitFor(ctx context.Context, spool mail.SpoolID, seq uint64) (uint64, error) {
	w.stop()
	return w.stream.WaitFor(ctx, spool, seq)
}

// TestFollowFromTail: a new follower that wants only what is new sees nothing old, also when it is restarted before
// anything new has come.
func TestFollowFromTail(t *testing.T) {
	s := newStream(5)
	o := FollowOptions{Name: "new", Spool: 1, FromTail: true}
	begun(t, s, o)
	s.grow(1)
	if seen := follow(t, s, o, 1, nil); !slices.Equal(seen, []uint64{6}) {
		t.Errorf("saw %v", seen)
	}
}

// TestFollowFromEmptyTail: a follower that was started on an empty record and saw nothing before it died still sees what
// came since.
func TestFollowFromEmptyTail(t *testing.T) {
	s := newStream(0)
	o := FollowOptions{Name: "new", Spool: 1, FromTail: true}
	begun(t, s, o)
	s.grow(2)
	if seen := follow(t, s, o, 2, nil); !slices.Equal(seen, []uint64{1, 2}) {
		t.Errorf("saw %v", seen)
	}
}
