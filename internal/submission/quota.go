package submission

import (
	"context"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/platform"
)

// throttledPerHour is what a throttled account may still send in an hour: enough for a person, not for a campaign.
const throttledPerHour = 100

// maxBlock is the most that is taken from the ledger ahead of need; a hundredth of the limit where that is less.
const maxBlock = 1000

// quotas counts what accounts send against their limits. It takes blocks from the durable ledger and counts them down
// in memory, so that the hot path does not wait for the store; a crash forfeits the rest of a block and never lets
// more through.
type quotas struct {
	take func(ctx context.Context, key, period string, want, limit int64) (int64, error)

	mu     sync.Mutex
	blocks map[string]*block // two for each account with quotas at most
}

// block is what was taken from the ledger for one key and not yet used. Its lock is held while the ledger is asked,
// so that one account waits for its own quota only.
type block struct {
	mu     sync.Mutex
	period time.Time
	left   int64
	spent  int64 // the limit at which the ledger had no more; 0: it was not asked for more than it had
}

func newQuotas(take func(ctx context.Context, key, period string, want, limit int64) (int64, error)) *quotas {
	return &quotas{take: take, blocks: map[string]*block{}}
}

func (q *quotas) block(key string) *block {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.blocks[key]
	if b == nil {
		b = new(block)
		q.blocks[key] = b
	}
	return b
}

// use takes n from the quota key in the period, or nothing and false where that would pass limit.
func (q *quotas) use(ctx context.Context, key string, period time.Time, n, limit int64) (bool, error) {
	b := q.block(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.period.Equal(period) {
		b.period, b.left, b.spent = period, 0, 0
	}
	if b.left < n && b.spent != limit {
		want := max(n-b.left, min(max(limit/100, 1), maxBlock))
		got, err := q.take(ctx, key, period.UTC().Format(time.RFC3339), want, limit)
		if err != nil {
			return false, err
		}
		b.left += got
		if got < want {
			b.spent = limit // a client that goes on must not cost a write each time
		}
	}
	if b.left < n {
		return false, nil // what is left may do for a smaller message
	}
	b.left -= n
	return true, nil
}

// giveBack returns what a message took that was then not accepted.
func (q *quotas) giveBack(key string, period time.Time, n int64) {
	b := q.block(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.period.Equal(period) {
		b.left += n
	}
}

// charge takes one message with n recipients from the account's quotas. undo gives it back.
func (s *Service) charge(ctx context.Context, a *platform.Account, n int, now time.Time) (undo func(), err error) {
	type line struct {
		key    string
		period time.Duration
		n      int64
		limit  int64
		name   string
	}
	perHour := a.MessagesPerHour
	if a.State == platform.AccountThrottled && (perHour == 0 || perHour > throttledPerHour) {
		perHour = throttledPerHour
	}
	var lines []line
	if perHour > 0 {
		lines = append(lines, line{"account/" + a.Name + "/messages-per-hour", time.Hour, 1, perHour, "messages an hour"})
	}
	if a.RecipientsPerDay > 0 {
		lines = append(lines, line{"account/" + a.Name + "/recipients-per-day", 24 * time.Hour, int64(n), a.RecipientsPerDay, "recipients a day (UTC)"})
	}
	undo = func() {}
	for _, l := range lines {
		begin := now.Truncate(l.period)
		ok, err := s.quotas.use(ctx, l.key, begin, l.n, l.limit)
		if err != nil {
			undo()
			return nil, &Error{Kind: Unavailable, Detail: "the account's quota could not be checked; try again later", Err: err}
		}
		if !ok {
			undo()
			s.o.OverQuota(a.Name, l.name)
			e := refuse(Quota, "", "account %s has not enough left of its quota of %d %s", a.Name, l.limit, l.name)
			e.After = begin.Add(l.period).Sub(now)
			return nil, e
		}
		before := undo
		undo = func() { s.quotas.giveBack(l.key, begin, l.n); before() }
	}
	return undo, nil
}
