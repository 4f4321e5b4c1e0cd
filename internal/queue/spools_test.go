package queue

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postroad/postroad/internal/egress"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// Spools are a set: what a dead node left in its spool goes out beside the node's own mail, each delivery settled where it lies; and
// what rests or is held by that spool's word is forgotten there once it is over.
func TestSpoolsAreASet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own, adopted := newFakeSpool(), newFakeSpool()
		adopted.id = 8
		s := &sim{now: time.Now().UTC()}
		ctx := t.Context()
		put := func(f *fakeSpool, change func(*mail.Delivery)) *mail.Delivery {
			m, ds := s.mail("acme", mail.Transactional, 72*time.Hour, "same.test")
			if change != nil {
				change(ds[0])
			}
			f.accept(m, ds)
			return ds[0]
		}
		var mine, others []*mail.Delivery
		for range 5 {
			mine, others = append(mine, put(own, nil)), append(others, put(adopted, nil))
		}
		flight := put(adopted, func(d *mail.Delivery) { d.Mark, d.Attempts = &mail.Mark{At: s.now, Route: "gw"}, 1 })
		held := put(adopted, func(d *mail.Delivery) { d.Held, d.Due = "gone", d.ExpiresAt })
		others = append(others, flight, held)
		adopted.reopen()
		rests := gateKey{extent: egress.ExtentRoute, lane: mail.Lane{Route: "gw"}}
		adopted.lanes[rests.name()] = spool.LaneRecord{
			Key: rests.name(), Lane: rests.lane, Scope: mail.ScopeRoute, Since: s.now, Until: s.now.Add(time.Minute), Fails: 1,
			Last: mail.LastAnswer{At: s.now, Reply: "454 not now"},
		}
		adopted.lanes[holdRecord+"gone"] = spool.LaneRecord{Key: holdRecord + "gone"}

		o := relayOptions(own, answering(relayed))
		o.Spools = append(o.Spools, adopted)
		q, stop := running(t, o)
		for _, d := range []*mail.Delivery{mine[0], others[0]} {
			eventually(t, "it waits for what rests", func() bool {
				why, err := q.Why(ctx, d.ID)
				return err == nil && strings.Contains(why, "454 not now")
			})
		}
		listed := map[mail.DeliveryID]bool{}
		for cursor, first := "", true; first || cursor != ""; first = false {
			list, next, err := q.List(ctx, Filter{Account: "acme"}, cursor, 4)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range list {
				listed[l.Delivery.ID] = true
			}
			cursor = next
		}
		sum, err := q.Summary(ctx)
		if err != nil || len(sum.Queues) != 2 || len(listed) != 12 {
			t.Fatalf("%d of 12 are listed; queues %+v, %v", len(listed), sum.Queues, err)
		}
		if n, err := q.Cancel(ctx, Filter{Delivery: others[4].ID}, "not wanted"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		eventually(t, "all mail gone", func() bool { return own.left() == 0 && adopted.left() == 0 })
		late := put(adopted, nil)
		others = append(others, late)
		q.Wake(adopted.id, late.Queue, late.Due)
		eventually(t, "what came into the other spool gone", func() bool { return adopted.left() == 0 })
		stop()

		for f, ds := range map[*fakeSpool][]*mail.Delivery{own: mine, adopted: others} {
			if len(f.ends) != len(ds) || len(f.lanes) != 0 {
				t.Errorf("spool %s: %d of %d ended; records left: %v", f.id, len(f.ends), len(ds), f.lanes)
			}
			for _, d := range ds {
				want := mail.EventRelayed
				if d == others[4] {
					want = mail.EventCancelled
				}
				if f.ends[d.ID] != want {
					t.Errorf("spool %s: %s ended as %q, want %s", f.id, d.ID, f.ends[d.ID], want)
				}
			}
		}
		if ev := adopted.events[0]; ev.Delivery != flight.ID || ev.Attempt == nil || !ev.Attempt.Uncertain {
			t.Errorf("the attempt in hand when the other node died: %+v", ev)
		}
	})
}
