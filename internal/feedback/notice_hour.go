package feedback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/store"
)

// noticeHour is what was written in an hour of the clock, and what was not because it would have been too much. It is kept in
// store.Meta, so that a restart leaves no summary out.
type noticeHour struct {
	Start   time.Time        `json:"start"`
	Written map[string]int   `json:"written,omitempty"` // by account
	Over    []noticeOverflow `json:"over,omitempty"`
	// Last is the last event of Spool counted in Written or Over: one that is seen again is not counted again.
	Last  uint64       `json:"last,omitempty"`
	Spool mail.SpoolID `json:"spool,omitempty"`
}

// noticeOverflow is what one sender is not told one by one.
type noticeOverflow struct {
	Account string       `json:"account"`
	To      mail.Address `json:"to"`
	Failed  int          `json:"failed,omitempty"`
	Other   int          `json:"other,omitempty"` // delays, successes, replies
	Samples []string     `json:"samples,omitempty"`
}

// Limits of summaries: recipients one names, and senders one hour remembers.
const (
	maxSamples  = 50
	maxOverflow = 1000
)

// mayWrite reports whether the account's hour has room for one notice more.
func (n *Notifier) mayWrite(account string) bool { return n.hour.Written[account] < NoticesPerHour }

// countWritten counts a notice that was written.
func (n *Notifier) countWritten(account string, e *mail.Event) {
	if e.ID.Seq <= n.hour.Last {
		return
	}
	n.hour.Last, n.dirty = e.ID.Seq, true
	if n.hour.Written == nil {
		n.hour.Written = map[string]int{}
	}
	n.hour.Written[account]++
}

// countOver counts what is left to the summary.
func (n *Notifier) countOver(account string, to mail.Address, kind report.Kind, e *mail.Event, count int) {
	if e.ID.Seq <= n.hour.Last {
		return
	}
	n.hour.Last, n.dirty = e.ID.Seq, true
	var over *noticeOverflow
	for i := range n.hour.Over {
		if o := &n.hour.Over[i]; o.Account == account && o.To == to {
			over = o
		}
	}
	if over == nil {
		if len(n.hour.Over) == maxOverflow {
			n.o.Logger.Warn("a sender is not told: too many senders in one hour", mail.LogEvent, "notice_dropped", mail.LogTenant, account)
			return
		}
		n.hour.Over = append(n.hour.Over, noticeOverflow{Account: account, To: to})
		over = &n.hour.Over[len(n.hour.Over)-1]
	}
	if kind != report.Bounce {
		over.Other += count
		return
	}
	over.Failed += count
	if len(over.Samples) < maxSamples {
		over.Samples = append(over.Samples, e.Recipient)
	}
}

func (n *Notifier) loadHour(ctx context.Context) error {
	b, err := n.o.Store.GetMeta(ctx, noticeMetaKey)
	if err == nil {
		err = json.Unmarshal(b, &n.hour)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("feedback: counts of notices: %w", err)
	}
	if n.hour.Spool != n.o.Spool {
		n.hour.Spool, n.hour.Last = n.o.Spool, 0
	}
	return nil
}

func (n *Notifier) saveHour(ctx context.Context) error {
	if !n.dirty {
		return nil
	}
	b, err := json.Marshal(n.hour)
	if err == nil {
		err = n.o.Store.PutMeta(ctx, noticeMetaKey, b)
	}
	if err != nil {
		return fmt.Errorf("feedback: counts of notices: %w", err)
	}
	n.dirty = false
	return nil
}

// summaryEvery is how often it is looked whether an hour is over.
const summaryEvery = time.Minute

// summaries writes summaries while no events come in.
func (n *Notifier) summaries(ctx context.Context) {
	t := time.NewTicker(summaryEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			n.mu.Lock()
			err := n.summarise(ctx)
			n.mu.Unlock()
			if err != nil && ctx.Err() == nil {
				n.o.Logger.Error("summary of notices not written; tried again", mail.LogEvent, "notice_failed", mail.LogErr, err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// summarise writes the summaries of an hour that is over and begins the next. The letters' keys name the hour: after a
// crash they are written again and are the same.
func (n *Notifier) summarise(ctx context.Context) error {
	now := n.o.Now().UTC().Truncate(time.Hour)
	hour := &n.hour
	if hour.Start.Equal(now) {
		return nil
	}
	for _, o := range hour.Over {
		content := n.summary(hour, &o)
		err := n.o.Letter(ctx, NoticeLetter{
			Account: o.Account, Writer: NoticeWriter, To: o.To, Content: content,
			Key: fmt.Sprintf("summary/%s/%s/%s", o.Account, hour.Start.Format("2006-01-02T15"), o.To),
		})
		if err != nil && !errors.Is(err, ErrLetterRefused) {
			return fmt.Errorf("feedback: summary to %s: %w", o.To, err)
		}
		n.stats.summaries.Add(1)
	}
	n.dirty = n.dirty || len(hour.Over) > 0
	n.hour = noticeHour{Start: now, Last: hour.Last, Spool: hour.Spool}
	return n.saveHour(ctx)
}
