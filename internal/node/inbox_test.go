package node

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/spool"
)

// Mail from strangers is refused for the moment while there is still space in which customers' mail is accepted.
func TestInboxClosesBeforeIntake(t *testing.T) {
	var free atomic.Uint64
	const floor = 100 << 20
	s, err := spool.Open(context.Background(), spool.Options{
		Dir: t.TempDir(), MemTable: 1 << 20, MinFree: floor, FreeSpace: func(string) (uint64, uint64, error) { return free.Load(), 1 << 30, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &Node{spool: s}
	in := n.inbox()
	for _, test := range []struct {
		free           uint64
		strangers, own bool
	}{{10 * floor, true, true}, {floor + floor/storeReserve + 1, true, true}, {floor + floor/storeReserve - 1, false, true}, {floor - 1, false, false}} {
		free.Store(test.free)
		_, err := in.PutInbox(t.Context(), spool.InboxEntry{Kind: spool.InboxReturnPath, Raw: []byte("x")})
		if taken := err == nil; taken != test.strangers || !taken && !errors.Is(err, spool.ErrDiskFull) || in.Space().Low == test.strangers {
			t.Errorf("with %d octets free the inbox says %v, low is %v", test.free, err, in.Space().Low)
		}
		if s.Space().Low == test.own {
			t.Errorf("with %d octets free the spool is low: %v", test.free, !test.own)
		}
	}
}

// A record that takes nothing is waited for, and for a minute others do not notice.
func TestRecordDown(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		since []time.Duration // ago; 0: works
		down  bool
	}{
		{[]time.Duration{0, 0}, false},
		{[]time.Duration{time.Second, recordPatience - 1}, false},
		{[]time.Duration{recordPatience, 0}, true},
		{[]time.Duration{0, time.Hour}, true},
	} {
		var since []time.Time
		for _, ago := range tt.since {
			if ago == 0 {
				since = append(since, time.Time{})
				continue
			}
			since = append(since, now.Add(-ago))
		}
		if err := down(now, since...); (err != nil) != tt.down {
			t.Errorf("%v: %v", tt.since, err)
		}
	}
}
