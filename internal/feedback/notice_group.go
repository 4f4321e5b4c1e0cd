package feedback

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
)

// group returns the events that share a notice with e, if e is the first of them; none if it is not. What shares a notice
// depends on the record alone: of what our own attempts brought, the events of one message and kind from the first on as
// long as the window; of what was reported, those of one report.
func (n *Notifier) group(ctx context.Context, msg *mail.Message, e *mail.Event, kind report.Kind) ([]*mail.Event, error) {
	if msg.Recipients <= 1 || msg.Recipients > maxGrouped {
		if kind == report.Delay {
			return n.firstDelay(ctx, e)
		}
		return []*mail.Event{e}, nil
	}
	key := noticeGroup{msg.ID, kind}
	if e.Report == nil && e.ID.Seq <= n.told[key] {
		return nil, nil
	}
	if e.Report == nil {
		if err := n.pass(ctx, e.At.Add(n.o.Window+noticeSettle)); err != nil {
			return nil, err
		}
	}
	if err := n.o.CaughtUp(ctx); err != nil {
		return nil, err
	}
	all, err := n.ofKind(ctx, msg.ID, kind)
	if err != nil {
		return nil, err
	}
	var group []*mail.Event
	for _, x := range all {
		switch {
		case e.Report != nil:
			if x.Report != nil && x.Report.ID == e.Report.ID {
				group = append(group, x)
			}
		case x.Report != nil:
		case x.ID.Seq <= n.told[key]: // e came into the record after the notice it would have shared: it gets one of its own
		case len(group) > 0 && x.At.After(group[0].At.Add(n.o.Window)):
			if holds(group, e) {
				return from(group, e), nil
			}
			group = []*mail.Event{x}
		default:
			group = append(group, x)
		}
	}
	return from(group, e), nil
}

func holds(group []*mail.Event, e *mail.Event) bool {
	return slices.ContainsFunc(group, func(x *mail.Event) bool { return x.ID == e.ID })
}

// from returns the group if e begins it.
func from(group []*mail.Event, e *mail.Event) []*mail.Event {
	if !holds(group, e) || group[0].ID != e.ID {
		return nil
	}
	return group
}

// reaches notes that a group is told, once that is so: a page that fails is seen again.
func (n *Notifier) reaches(msg *mail.Message, kind report.Kind, group []*mail.Event) {
	if msg.Recipients <= 1 || msg.Recipients > maxGrouped || group[0].Report != nil {
		return
	}
	if len(n.told) >= maxTold {
		clear(n.told)
	}
	n.told[noticeGroup{msg.ID, kind}] = group[len(group)-1].ID.Seq
}

// ofKind returns the events of a message that are of one kind, in order of commit. Of the delays of a delivery the first
// counts.
func (n *Notifier) ofKind(ctx context.Context, id mail.MessageID, kind report.Kind) (list []*mail.Event, err error) {
	delayed := map[mail.DeliveryID]bool{}
	for cursor := ""; ; {
		events, next, err := n.o.Store.MessageEvents(ctx, id, cursor, 0)
		if err != nil {
			return nil, fmt.Errorf("feedback: notice of %s: %w", id, err)
		}
		for _, x := range events {
			if noticeKind(x) != kind || kind == report.Delay && delayed[x.Delivery] {
				continue
			}
			delayed[x.Delivery] = true
			list = append(list, x)
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	slices.SortFunc(list, func(a, b *mail.Event) int {
		switch {
		case a.ID.Seq < b.ID.Seq:
			return -1
		case a.ID.Seq > b.ID.Seq:
			return 1
		}
		return 0
	})
	return list, nil
}

// firstDelay returns e if it is the first delay of its delivery that may be told.
func (n *Notifier) firstDelay(ctx context.Context, e *mail.Event) ([]*mail.Event, error) {
	timeline, err := n.o.Store.Timeline(ctx, e.Delivery)
	if err != nil {
		return nil, fmt.Errorf("feedback: notice of %s: %w", e.ID, err)
	}
	for _, x := range timeline {
		if noticeKind(x) == report.Delay {
			if x.ID == e.ID {
				return []*mail.Event{e}, nil
			}
			return nil, nil
		}
	}
	return nil, nil
}

// pass waits until the clock shows t.
func (n *Notifier) pass(ctx context.Context, t time.Time) error {
	for {
		d := t.Sub(n.o.Now())
		if d <= 0 {
			return nil
		}
		timer := time.NewTimer(min(d, n.o.Window+noticeSettle)) // a clock that was set back must not stop everything
		select {
		case <-timer.C:
			if d > n.o.Window+noticeSettle {
				return nil
			}
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}
