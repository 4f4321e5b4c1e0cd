package reporting

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// RelayedWait is how long a relayed delivery waits for a report. Afterwards it stands as relayed: no failure reported.
const RelayedWait = 5 * 24 * time.Hour

// Waiting is a live delivery and what it waits for.
type Waiting struct {
	Delivery *mail.Delivery
	Why      string
}

// UnfinishedQuery selects deliveries without a final outcome.
type UnfinishedQuery struct {
	Account string        // "": everyone's
	Older   time.Duration // accepted at least so long ago, rounded to the whole hour before; 0: all
	Cursor  string        // Unfinished.Next of the page before
	Max     int           // 0: store.DefaultPage
}

// Unfinished is what has no final outcome yet, and why.
type Unfinished struct {
	// Before is when what is counted and listed was accepted at the latest.
	Before time.Time `json:"before"`
	// Counts are of everything, most frequent first; on the first page only.
	Counts     []UnfinishedCount    `json:"counts,omitempty"`
	Deliveries []UnfinishedDelivery `json:"deliveries"`
	Next       string               `json:"next,omitempty"`
}

// UnfinishedCount is how many deliveries are in one state for one reason.
type UnfinishedCount struct {
	State store.State `json:"state"` // queued, held, deferred, relayed
	Class mail.Class  `json:"class,omitempty"`
	Count int64       `json:"count"`
}

// UnfinishedDelivery is one of them.
type UnfinishedDelivery struct {
	ID        mail.DeliveryID `json:"id"`
	Message   mail.MessageID  `json:"message"`
	Account   string          `json:"account"`
	Stream    mail.Stream     `json:"stream"`
	Recipient string          `json:"recipient"`
	State     store.State     `json:"state"`
	Class     mail.Class      `json:"class,omitempty"`
	Why       string          `json:"why"`
	Attempts  int             `json:"attempts"`
	Reply     string          `json:"reply,omitempty"` // the last one
	Accepted  time.Time       `json:"accepted_at"`
	Next      time.Time       `json:"next,omitzero"`       // when it is tried next
	ExpiresAt time.Time       `json:"expires_at,omitzero"` // its deadline
}

// Cursors begin with where they go on: in the queue, or in the record.
const (
	inQueue  = "q."
	inRecord = "r."
)

// Unfinished lists a page of what has no final outcome: first what waits in the queue, then what was relayed less than
// RelayedWait ago and not reported on. Its errors are those of the queue and the store; store.ErrBadCursor.
func (s *Service) Unfinished(ctx context.Context, q UnfinishedQuery) (*Unfinished, error) {
	now := s.o.Now().UTC()
	out := &Unfinished{Before: now, Deliveries: []UnfinishedDelivery{}}
	if q.Older > 0 {
		out.Before = now.Add(-q.Older).Truncate(time.Hour)
	}
	max := store.PageSize(q.Max)
	where, cursor := inQueue, ""
	if q.Cursor != "" {
		if where, cursor = q.Cursor[:min(len(inQueue), len(q.Cursor))], q.Cursor[min(len(inQueue), len(q.Cursor)):]; where != inQueue && where != inRecord {
			return nil, fmt.Errorf("reporting: %w", store.ErrBadCursor)
		}
	} else {
		var err error
		if out.Counts, err = s.counts(ctx, q.Account, now, out.Before); err != nil {
			return nil, err
		}
	}
	if where == inQueue {
		list, next, err := s.o.Waiting(ctx, q.Account, out.Before, cursor, max)
		if err != nil {
			return nil, err
		}
		for _, w := range list {
			out.Deliveries = append(out.Deliveries, waiting(w, now))
		}
		if next != "" {
			out.Next = inQueue + next
			return out, nil
		}
		cursor = ""
		if len(list) == max {
			out.Next = inRecord
			return out, nil
		}
	}
	from := now.Add(-RelayedWait)
	if !from.Before(out.Before) {
		return out, nil
	}
	page, err := s.o.Record.Search(ctx, store.SearchQuery{
		Account: q.Account, State: store.State(mail.Relayed), From: from, To: out.Before, Cursor: cursor, Max: max - len(out.Deliveries),
	})
	if err != nil {
		return nil, fmt.Errorf("reporting: relayed mail: %w", err)
	}
	for _, d := range page.Deliveries {
		out.Deliveries = append(out.Deliveries, relayed(d))
	}
	if page.Next != "" {
		out.Next = inRecord + page.Next
	}
	return out, nil
}

// counts asks the rollups. They know hours: relayed mail is counted from the beginning of an hour on.
func (s *Service) counts(ctx context.Context, account string, now, before time.Time) ([]UnfinishedCount, error) {
	where := map[store.Dimension]string{}
	if account != "" {
		where[store.ByAccount] = account
	}
	out := []UnfinishedCount{}
	for _, x := range []struct {
		state store.State
		from  time.Time
	}{
		{store.StateHeld, time.Time{}},
		{store.StateQueued, time.Time{}},
		{store.State(mail.Deferred), time.Time{}},
		{store.State(mail.Relayed), now.Add(-RelayedWait).Add(time.Hour - 1).Truncate(time.Hour)},
	} {
		from := x.from
		if from.IsZero() {
			from = now.Add(-maxLife)
		}
		if !from.Before(before) {
			continue
		}
		where[store.ByOutcome] = string(x.state)
		rows, err := s.o.Record.Stats(ctx, store.StatsQuery{Of: store.PerOutcome, From: from, To: before, By: []store.Dimension{store.ByClass}, Where: where})
		if err != nil {
			return nil, fmt.Errorf("reporting: unfinished mail: %w", err)
		}
		for _, r := range rows {
			if r.Count > 0 {
				out = append(out, UnfinishedCount{x.state, r.Class, r.Count})
			}
		}
	}
	return out, nil
}

// maxLife is how far back live deliveries are looked for: send_at lies at most 30 days ahead, and the longest schedule
// adds some days.
const maxLife = 60 * 24 * time.Hour

func waiting(w Waiting, now time.Time) UnfinishedDelivery {
	d := w.Delivery
	x := UnfinishedDelivery{
		ID: d.ID, Message: d.Message, Account: d.Queue.Account, Stream: d.Queue.Stream, Recipient: d.Recipient.String(), State: store.StateQueued,
		Why: strings.TrimPrefix(w.Why, "waiting: "), Attempts: d.Attempts, Accepted: d.CreatedAt, Next: d.Due, ExpiresAt: d.ExpiresAt,
	}
	if d.Last != nil {
		x.State, x.Class, x.Reply = store.State(d.Last.Result), d.Last.Class, d.Last.Reply
	}
	if !d.Due.After(now) {
		x.Next = time.Time{} // it is due, and waits for something else: Why says for what
	}
	if d.Held != "" {
		x.State, x.Next = store.StateHeld, time.Time{}
	}
	return x
}

func relayed(d *store.Delivery) UnfinishedDelivery {
	return UnfinishedDelivery{
		ID: d.ID, Message: d.Message, Account: d.Account, Stream: d.Stream, Recipient: d.Recipient, State: d.State, Attempts: d.Attempts,
		Why: "relayed by " + d.Route + " at " + d.Updated.UTC().Format(time.RFC3339) + ", no failure reported yet", Reply: d.Reply, Accepted: d.Created,
	}
}
