package submission

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postroad/postroad/internal/platform"
)

func (b *testbed) sendSmall(n int) error {
	_, err := b.smtp(b.who("small", "web"), "", recipients(n), "From: a@small.example\r\n\r\nx\r\n")
	return err
}

func TestQuotas(t *testing.T) {
	b := newTestbed(t, nil)
	for i := range 5 {
		if err := b.sendSmall(1); err != nil {
			t.Fatalf("message %d of 5: %v", i+1, err)
		}
	}
	b.advance(20 * time.Minute)
	b.unchanged(func() {
		err := b.sendSmall(1)
		wantKind(t, err, Quota, "")
		if e := (*Error)(nil); errors.As(err, &e) && e.After != 40*time.Minute {
			t.Errorf("it may work after %s, want the rest of the hour", e.After)
		}
	})
	b.advance(-20 * time.Minute)
	asked := b.ledger.asked
	for range 100 {
		wantKind(t, b.sendSmall(1), Quota, "")
	}
	if b.ledger.asked != asked {
		t.Errorf("a client over its quota made the ledger be asked %d times", b.ledger.asked-asked)
	}
	b.advance(time.Hour)
	if err := b.sendSmall(15); err != nil {
		t.Errorf("in the next hour: %v", err)
	}
	wantKind(t, b.sendSmall(1), Quota, "") // of recipients in a day
	b.advance(11 * time.Hour)              // midnight, UTC
	if err := b.sendSmall(20); err != nil {
		t.Errorf("on the next day: %v", err)
	}
}

// What a refused message took is given back, whatever it was refused for.
func TestQuotaGivenBack(t *testing.T) {
	b := newTestbed(t, nil)
	refusedLate := "From: a@small.example\r\n\r\n" + strings.Repeat("x\r\n", 40<<10) + "a\x00b\r\n"
	for range 20 {
		if _, err := b.smtp(b.who("small", "web"), "", recipients(5), refusedLate); KindOf(err) != BadContent {
			t.Fatal(err)
		}
	}
	for range 10 {
		wantKind(t, b.sendSmall(21), Quota, "") // passes the messages, fails the recipients
	}
	for i := range 4 {
		if err := b.sendSmall(5); err != nil {
			t.Errorf("message %d: %v", i+1, err)
		}
	}
	wantKind(t, b.sendSmall(1), Quota, "")
}

// What is left of a day goes to messages it is enough for.
func TestQuotaRest(t *testing.T) {
	b := newTestbed(t, nil)
	for _, step := range []struct {
		n  int
		ok bool
	}{{18, true}, {3, false}, {2, true}, {1, false}} {
		if err := b.sendSmall(step.n); (err == nil) != step.ok {
			t.Errorf("%d recipients: %v, want accepted %v", step.n, err, step.ok)
		}
	}
}

func TestQuotaLedgerDown(t *testing.T) {
	b := newTestbed(t, nil)
	b.ledger.err = errors.New("store is down")
	b.unchanged(func() { wantKind(t, b.sendSmall(1), Unavailable, "") })
	if _, err := b.smtp(b.shop(), "", []string{"you@example.com"}, plainMessage); err != nil {
		t.Errorf("an account without quotas does not need the ledger: %v", err)
	}
	b.ledger.err = nil
	if err := b.sendSmall(1); err != nil {
		t.Error(err)
	}
}

// A block that was taken forfeits at a crash, and never lets more through.
func TestQuotaAfterCrash(t *testing.T) {
	b := newTestbed(t, nil)
	sent := 0
	for range 10 {
		b.quotas = newQuotas(b.ledger.take) // what a restart leaves
		if b.sendSmall(1) == nil {
			sent++
		}
	}
	if sent != 5 {
		t.Errorf("%d messages, the quota is 5", sent)
	}
}

func TestThrottledAccount(t *testing.T) {
	b := newTestbed(t, nil)
	s := testState()
	s.Accounts[0].State = platform.AccountThrottled
	b.apply(s)
	n := 0
	for range throttledPerHour + 20 {
		if _, err := b.smtp(b.shop(), "", []string{"you@example.com"}, plainMessage); err == nil {
			n++
		}
	}
	if n != throttledPerHour {
		t.Errorf("a throttled account sent %d messages, want %d", n, throttledPerHour)
	}
	s = testState()
	b.apply(s)
	if _, err := b.smtp(b.shop(), "", []string{"you@example.com"}, plainMessage); err != nil {
		t.Errorf("active again: %v", err)
	}
}

// Whatever is taken and given back by how many, and however the limit moves: never more than the largest limit.
func TestQuotaNeverPassed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &ledger{taken: map[string]int64{}}
		q := newQuotas(l.take)
		var used, largest int64
		limit := rapid.Int64Range(1, 5000).Draw(t, "limit")
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				limit = rapid.Int64Range(1, 5000).Draw(t, "limit")
			case 1:
				q = newQuotas(l.take)
			default:
				n := rapid.Int64Range(1, 300).Draw(t, "n")
				largest = max(largest, limit)
				ok, err := q.use(context.Background(), "k", testTime, n, limit)
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					continue
				}
				if used += n; rapid.IntRange(0, 3).Draw(t, "refused") == 0 {
					q.giveBack("k", testTime, n)
					used -= n
				}
			}
			if used > largest {
				t.Fatalf("%d used, the limit was never over %d", used, largest)
			}
		}
	})
}

func TestQuotaConcurrent(t *testing.T) {
	l := &ledger{taken: map[string]int64{}}
	q := newQuotas(l.take)
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if ok, err := q.use(context.Background(), "k", testTime, 1, 5000); err == nil && ok {
					n.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n.Load() != 5000 {
		t.Errorf("%d passed a limit of 5,000", n.Load())
	}
	if l.asked > 5000/50+2 {
		t.Errorf("the ledger was asked %d times for 5,000: blocks are not used", l.asked)
	}
}
