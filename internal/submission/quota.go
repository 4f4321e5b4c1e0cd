package submission

import (
	"context"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/platform"
)

// throttledPerHour is what a throttled account may still send in an hour: enough for a person, not for a campaign.
const throttledPerHour = 100

// quotas counts what accounts send against their limits. It takes blocks from the durable ledger and counts them down
// in memory, so that the hot path does not wait for the store; a crash forfeits the rest of a block and never lets
// more through.
type quotas struct {
	take func(ctx context.Context, key, period string, want, limit int64) (int64, error)

	mu     sync.Mutex
	blocks map[string]*block
}

type block struct {
	period time.Time
	left   int64
	used   int64 // where there is no ledger
}

func newQuotas(take func(ctx context.Context, key, period string, want, limit int64) (int64, error)) *quotas {
	return &quotas{take: take, blocks: map[string]*block{}}
}

// use takes n from the quota key in the period, or nothing and false where that would pass limit.
func (q *quotas) use(ctx context.Context, key string, period time.Time, n, limit int64) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.blocks[key]
	if b == nil || !b.period.Equal(period) {
		b = &block{period: period}
		q.blocks[key] = b
	}
	if b.left < n {
		if q.take == nil {
			b.left += min(limit-b.used, n)
			b.used += min(limit-b.used, n)
		} else {
			// A block is 1 % of the limit or 1,000, whichever is smaller.
			want := max(n-b.left, min(max(limit/100, 1), 1000))
			got, err := q.take(ctx, key, period.UTC().Format(time.RFC3339), want, limit)
			if err != nil {
				return false, err
			}
			b.left += got
		}
	}
	if b.left < n {
		return false, nil
	}
	b.left -= n
	return true, nil
}

// giveBack returns what a message took that was then not accepted.
func (q *quotas) giveBack(key string, period time.Time, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if b := q.blocks[key]; b != nil && b.period.Equal(period) {
		b.left += n
	}
}

// charge takes one message with n recipients from the account's quotas. undo gives it back.
func (s *Service) charge(ctx context.Context, a *platform.Account, n int, now time.Time) (undo func(), err error) {
	type line struct {
		key    string
		period time.Time
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
		lines = append(lines, line{"account/" + a.Name + "/messages-per-hour", now.Truncate(time.Hour), 1, perHour, "messages an hour"})
	}
	if a.RecipientsPerDay > 0 {
		lines = append(lines, line{"account/" + a.Name + "/recipients-per-day", now.Truncate(24 * time.Hour), int64(n), a.RecipientsPerDay, "recipients a day (UTC)"})
	}
	undo = func() {}
	for _, l := range lines {
		ok, err := s.quotas.use(ctx, l.key, l.period, l.n, l.limit)
		if err != nil {
			undo()
			return nil, &Error{Kind: Unavailable, Detail: "the account's quota could not be checked; try again later", Err: err}
		}
		if !ok {
			undo()
			return nil, refuse(Quota, "", "account %s has used its quota of %d %s", a.Name, l.limit, l.name)
		}
		before := undo
		undo = func() { s.quotas.giveBack(l.key, l.period, l.n); before() }
	}
	return undo, nil
}
