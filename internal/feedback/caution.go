package feedback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/postroad/postroad/internal/store"
)

// A report that takes the whole process down (it can only be by a fault of ours: out of memory, a stack that overflows)
// would do so at every start. So each start notes where the inbox begins, the end of its first pass or an orderly stop takes the note away, and a start
// that finds the note of one that ended otherwise, at the same place, reads more carefully: first one report at a time,
// which makes the culprit the first of the inbox, then without looking into that one.

// startsKey is where the note is kept in store.Meta.
const startsKey = "feedback/starts"

// Starts in a row that found the inbox at the same place before reading gets careful, and before its first is set aside.
const (
	startsToSingle   = 2
	startsToSetAside = 4
)

// starts is the note: where the inbox began, and how many starts in a row found it so.
type starts struct {
	First uint64 `json:"first"`
	Count int    `json:"count"`
}

// caution is how the inbox is read after starts that ended badly.
type caution struct{ starts }

// pageSize is how many reports are in hand at a time, normally n.
func (c caution) pageSize(n int) int {
	if c.Count >= startsToSingle {
		return 1
	}
	return n
}

// suspect reports whether an entry is not to be looked into.
func (c caution) suspect(seq uint64) bool { return c.Count >= startsToSetAside && seq == c.First }

// begin notes the start.
func (r *Reader) begin(ctx context.Context) (c caution, err error) {
	done := r.persist(ctx, "the start of reading cannot be noted", func() error {
		page, err := r.o.Inbox.ReadInbox(ctx, 0, 1)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			c = caution{}
			return r.o.Store.DeleteMeta(ctx, startsKey)
		}
		var before starts
		text, err := r.o.Store.GetMeta(ctx, startsKey)
		switch {
		case err == nil:
			if err := json.Unmarshal(text, &before); err != nil {
				before = starts{}
			}
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		c.starts = starts{First: page[0].Seq, Count: 1}
		if before.First == page[0].Seq {
			c.Count = before.Count + 1
		}
		text, err = json.Marshal(c.starts)
		if err != nil {
			return err
		}
		return r.o.Store.PutMeta(ctx, startsKey, text)
	})
	if !done {
		return caution{}, nil
	}
	return c, nil
}

// survived takes the note away once all that the start found has been looked at.
func (r *Reader) survived(ctx context.Context) {
	r.persist(ctx, "the start of reading cannot be noted", func() error { return r.o.Store.DeleteMeta(ctx, startsKey) })
}

// end takes the note away: this run ended in order.
func (r *Reader) end() error {
	if err := r.o.Store.DeleteMeta(context.Background(), startsKey); err != nil {
		return fmt.Errorf("feedback: note the stop: %w", err)
	}
	return nil
}
