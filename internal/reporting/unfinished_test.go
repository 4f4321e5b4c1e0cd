package reporting

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// queueOf is a queue with live deliveries, in pages.
func queueOf(list []Waiting) func(context.Context, string, time.Time, string, int) ([]Waiting, string, error) {
	return func(_ context.Context, account string, before time.Time, cursor string, max int) (page []Waiting, next string, err error) {
		from, _ := strconv.Atoi(cursor)
		for i := from; i < len(list); i++ {
			if len(page) == max {
				return page, strconv.Itoa(i), nil
			}
			if d := list[i].Delivery; (account == "" || d.Queue.Account == account) && d.CreatedAt.Before(before) {
				page = append(page, list[i])
			}
		}
		return page, "", nil
	}
}

func TestUnfinished(t *testing.T) {
	r := newRig(t)
	g := r.g
	var queue []Waiting
	live := func(account, rcpt string, last *mail.LastAnswer, held string) {
		m, id := g.Message(account), g.Delivery()
		addr, err := mail.ParseAddress(rcpt)
		if err != nil {
			t.Fatal(err)
		}
		r.put(g.Accepted(m, id, rcpt))
		if last != nil {
			r.put(g.Tried(mail.EventDeferred, m, id, rcpt, 1, 451, last.Reply))
		}
		if held != "" {
			r.put(g.Event(mail.EventHeld, m, id, rcpt))
		}
		queue = append(queue, Waiting{&mail.Delivery{
			ID: id, Message: m.ID, Queue: mail.QueueKey{Account: account, Stream: mail.Transactional}, Recipient: addr, CreatedAt: g.Clock, Last: last, Held: held, Due: g.Clock,
		}, "waiting: its turn"})
		g.Clock = g.Clock.Add(time.Minute)
	}
	later := &mail.LastAnswer{Result: mail.Deferred, Class: mail.ClassGreylisted, Reply: "451 later"}
	for i := range 3 {
		live("shop", fmt.Sprintf("w%d@one.example", i), later, "")
	}
	live("shop", "held@one.example", nil, "h1")
	live("rival", "w@three.example", nil, "")
	relay := func(rcpt string) (*mail.Message, mail.DeliveryID) {
		m, id := g.Message("shop"), g.Delivery()
		accepted := g.Accepted(m, id, rcpt)
		e := g.Tried(mail.EventRelayed, m, id, rcpt, 1, 250, "250 queued")
		e.Attempt.Kind, e.Attempt.Route = mail.RouteRelay, "gateway"
		r.put(accepted, e)
		g.Clock = g.Clock.Add(time.Minute)
		return m, id
	}
	relay("r0@two.example")
	relay("r1@two.example")
	m, id := relay("bounced@two.example")
	late := g.Event(mail.EventBounced, m, id, "bounced@two.example")
	late.Late, late.Class = true, mail.ClassInvalidRecipient
	r.put(late)
	r.s.o.Waiting = queueOf(queue)

	first, err := r.s.Unfinished(t.Context(), UnfinishedQuery{Account: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]UnfinishedCount{{"held", "", 1}, {"deferred", mail.ClassGreylisted, 3}, {"relayed", "", 2}}, first.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	for _, max := range []int{1, 2, 3, 4, 5, 100} {
		var got []string
		pages := 0
		for cursor := ""; ; pages++ {
			page, err := r.s.Unfinished(t.Context(), UnfinishedQuery{Account: "shop", Cursor: cursor, Max: max})
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Deliveries) > max || pages > 20 || cursor != "" && page.Counts != nil {
				t.Fatalf("page %d of at most %d: %+v", pages, max, page)
			}
			for _, d := range page.Deliveries {
				got = append(got, d.Recipient+" "+string(d.State))
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		want := []string{"w0@one.example deferred", "w1@one.example deferred", "w2@one.example deferred", "held@one.example held", "r1@two.example relayed", "r0@two.example relayed"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in pages of %d (-want +got):\n%s", max, diff)
		}
	}
	if d := first.Deliveries[4]; d.Why != "relayed by gateway at 2026-03-10T09:06:00Z, no failure reported yet" {
		t.Errorf("relayed: %+v", d)
	}
	old, err := r.s.Unfinished(t.Context(), UnfinishedQuery{Older: 12 * time.Hour})
	if err != nil || len(old.Deliveries) != 0 || len(old.Counts) != 0 {
		t.Errorf("what is older than the oldest: %+v (%v)", old, err)
	}
	r.now = r.now.Add(RelayedWait)
	stands, err := r.s.Unfinished(t.Context(), UnfinishedQuery{Account: "shop"})
	if err != nil || len(stands.Deliveries) != 4 {
		t.Errorf("after five days what was relayed stands: %+v (%v)", stands, err)
	}
	for _, c := range stands.Counts {
		if c.State == "relayed" {
			t.Errorf("after five days what was relayed is counted: %+v", c)
		}
	}
	for _, bad := range []string{"x", "q", "zz.1", "r.???"} {
		if _, err := r.s.Unfinished(t.Context(), UnfinishedQuery{Cursor: bad}); !errors.Is(err, store.ErrBadCursor) {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}
