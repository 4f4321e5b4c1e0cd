package queue

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// ErrBadCursor is returned by List for a cursor it did not make.
var ErrBadCursor = errors.New("queue: bad cursor")

// forever is a time no schedule key is behind.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// place in a listing: after this key of this queue.
type listCursor struct {
	Spool    int
	Queue    mail.QueueKey
	Due      time.Time
	Delivery mail.DeliveryID
}

func ignoreMissing(err error) error {
	if errors.Is(err, spool.ErrNotFound) {
		return nil
	}
	return err
}

// List returns up to max deliveries that the filter matches, queue by queue and in the order they are due, with why
// each of them waits. cursor is "" at first, then what the call before returned; next is "" at the end. It returns
// ErrBadCursor, or the spool's errors.
func (q *Queue) List(ctx context.Context, f Filter, cursor string, max int) (list []Listed, next string, err error) {
	var at listCursor
	if cursor != "" {
		b, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil || json.Unmarshal(b, &at) != nil || at.Spool < 0 || at.Spool >= len(q.opt.Spools) {
			return nil, "", ErrBadCursor
		}
	}
	q.mu.Lock()
	ids := make([]queueID, 0, len(q.core.queues))
	for id := range q.core.queues {
		if f.matchesQueue(id.key) {
			ids = append(ids, id)
		}
	}
	q.mu.Unlock()
	slices.SortFunc(ids, queueID.compare)
	start := queueID{at.Spool, at.Queue}
	for _, id := range ids {
		if cursor != "" && id.compare(start) < 0 {
			continue
		}
		from := spool.ScheduleKey{}
		if cursor != "" && id == start {
			from = spool.ScheduleKey{Due: at.Due, Delivery: at.Delivery}
		}
		sp := q.opt.Spools[id.spool]
		for more := true; more; {
			var ds []*mail.Delivery
			if ds, from, more, err = sp.Page(ctx, id.key, from, forever, q.opt.Page); err != nil {
				return nil, "", fmt.Errorf("queue: list %s: %w", id.key, err)
			}
			for _, d := range ds {
				if !f.matchesDelivery(d) {
					continue
				}
				if f.needsMessage() {
					if m, err := sp.Message(ctx, d.Message); err != nil || !f.matchesMessage(m) {
						continue
					}
				}
				if len(list) == max {
					b, err := json.Marshal(listCursor{id.spool, id.key, d.Due, d.ID})
					if err != nil {
						return nil, "", fmt.Errorf("queue: make a cursor: %w", err)
					}
					return list, base64.RawURLEncoding.EncodeToString(b), nil
				}
				q.mu.Lock()
				why := q.core.why(d)
				q.mu.Unlock()
				list = append(list, Listed{Delivery: d, Why: why})
			}
		}
	}
	return list, "", nil
}

// Summary goes through everything live and returns what waits, by queue and by lane. Its cost grows with the number
// of live deliveries; Stats costs nothing.
func (q *Queue) Summary(ctx context.Context) (Summary, error) {
	by := map[queueID]*QueueSummary{}
	for i, sp := range q.opt.Spools {
		err := sp.All(ctx, func(d *mail.Delivery) error {
			id := queueID{i, d.Queue}
			s := by[id]
			if s == nil {
				s = &QueueSummary{Key: d.Queue, Oldest: d.CreatedAt}
				by[id] = s
			}
			switch {
			case d.Mark != nil:
				s.InFlight++
			case d.Held != "":
				s.Held++
			default:
				s.Waiting++
				if s.NextDue.IsZero() || d.Due.Before(s.NextDue) {
					s.NextDue = d.Due
				}
			}
			if d.CreatedAt.Before(s.Oldest) {
				s.Oldest = d.CreatedAt
			}
			if d.Last != nil && (s.Last == nil || d.Last.At.After(s.Last.At)) {
				s.Last = d.Last
			}
			return nil
		})
		if err != nil {
			return Summary{}, fmt.Errorf("queue: summarise spool %s: %w", sp.ID(), err)
		}
	}
	ids := make([]queueID, 0, len(by))
	for id := range by {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, queueID.compare)
	q.mu.Lock()
	defer q.mu.Unlock()
	sum := Summary{Lanes: q.core.laneSummaries()}
	for _, id := range ids {
		s := by[id]
		if o := q.core.queues[id]; o != nil {
			s.Why = q.core.whyQueue(o)
		}
		sum.Queues = append(sum.Queues, *s)
	}
	return sum, nil
}

func (c *core) laneSummaries() []LaneSummary {
	var list []LaneSummary
	for _, l := range c.sortedLanes() {
		s := LaneSummary{
			Lane: l.id, Waiting: l.waiting, Sessions: l.sessions, Limit: l.group.limit(c), Suspended: l.suspended,
		}
		if g := l.closedGate(c); g != nil {
			s.Since, s.Until, s.Fails, s.Last, s.Why = g.since, g.until, g.fails, &g.last, g.why()
		} else if l.suspended != "" {
			s.Why = "suspended by hold " + l.suspended
		}
		list = append(list, s)
	}
	for _, g := range c.sortedGates() {
		if len(g.lanes) == 0 && !g.open(c) {
			list = append(list, LaneSummary{
				Lane: g.key.lane, Since: g.since, Until: g.until, Fails: g.fails, Last: &g.last, Why: g.why(),
			})
		}
	}
	slices.SortStableFunc(list, func(a, b LaneSummary) int { return cmp.Compare(a.Lane.String(), b.Lane.String()) })
	return list
}
