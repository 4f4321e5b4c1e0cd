package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// outcomesOf returns the outcomes of everything accepted in the suite's days, without those that came to nothing.
func outcomesOf(t *testing.T, s store.Store, of store.Question) map[store.Outcome]int64 {
	t.Helper()
	list, err := s.Stats(t.Context(), store.StatsQuery{Of: of, From: Day0, To: Day0.Add(10 * day), By: []store.Dimension{store.ByOutcome}})
	must(t, err)
	got := map[store.Outcome]int64{}
	for _, r := range list {
		got[r.Outcome] = r.Count
	}
	return got
}

// testOutcomes follows deliveries through every kind of change, batch by batch: what was accepted is always the sum of
// where it stands, and a late bounce takes its delivery out of the delivered.
func testOutcomes(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{})
	g := NewMail(spool, Day0.Add(30*time.Minute))
	type sent struct {
		m *mail.Message
		d mail.DeliveryID
	}
	var list []sent
	var events []*mail.Event
	for i := range 8 {
		m, d := g.Message("acme"), g.Delivery()
		m.HeaderFrom = fmt.Sprintf("shop@brand%d.example", i%2)
		list = append(list, sent{m, d})
		events = append(events, g.Accepted(m, d, fmt.Sprintf("user@site%d.example", i%3)))
	}
	event := func(i int, kind mail.EventType) *mail.Event {
		return g.Event(kind, list[i].m, list[i].d, fmt.Sprintf("user@site%d.example", i%3))
	}
	tried := func(i int, kind mail.EventType, n, code int) *mail.Event {
		return g.Tried(kind, list[i].m, list[i].d, fmt.Sprintf("user@site%d.example", i%3), n, code, "as you wish")
	}
	// The first two are delivered in the batch they are accepted in, the others wait.
	g.Clock = g.Clock.Add(3 * time.Second)
	events = append(events, tried(0, mail.EventDelivered, 1, 250), tried(1, mail.EventDelivered, 1, 250))
	put(t, s, events...)
	check := func(what string, want map[store.Outcome]int64) {
		t.Helper()
		for range 2 { // the second time after it was opened again
			for _, of := range []store.Question{store.PerOutcome, store.PerSenderOutcome} {
				if diff := cmp.Diff(want, outcomesOf(t, s, of)); diff != "" {
					t.Fatalf("%s, %s (-want +got):\n%s", what, of, diff)
				}
			}
			over := map[store.Outcome]int64{}
			for o, n := range want {
				if !o.Waiting() {
					over[o] = n
				}
			}
			if diff := cmp.Diff(over, outcomesOf(t, s, store.PerDomainOutcome)); diff != "" {
				t.Fatalf("%s, domains (-want +got):\n%s", what, diff)
			}
			must(t, s.Close())
			s = open(t, dir, Options{})
		}
	}
	check("accepted", map[store.Outcome]int64{"queued": 6, "delivered": 2})

	g.Clock = g.Clock.Add(time.Minute)
	put(t, s, tried(2, mail.EventDeferred, 1, 451), tried(3, mail.EventDeferred, 1, 451), tried(3, mail.EventDeferred, 2, 451),
		tried(4, mail.EventRelayed, 1, 250), tried(5, mail.EventRelayed, 1, 250), tried(6, mail.EventBounced, 1, 550), event(7, mail.EventCancelled))
	check("tried", map[store.Outcome]int64{"delivered": 2, "deferred": 2, "relayed": 2, "bounced": 1, "cancelled": 1})

	g.Clock = g.Clock.Add(day) // reports come on another day than the mail was of
	late := event(0, mail.EventBounced)
	late.Late, late.Class = true, mail.ClassMailboxFull
	relayedLate := event(4, mail.EventBounced)
	relayedLate.Late, relayedLate.Class = true, mail.ClassInvalidRecipient
	success := event(5, mail.EventDelivered)
	success.Report = &mail.Report{Door: "return-path", Kind: "delivered", Evidence: mail.EvidenceToken}
	put(t, s, late, relayedLate, success, tried(2, mail.EventDelivered, 2, 250), event(1, mail.EventComplained), event(1, mail.EventComplained))
	put(t, s, late2(g, late)) // a second report of the same
	want := map[store.Outcome]int64{"delivered": 3, "deferred": 1, "bounced_late": 2, "bounced": 1, "cancelled": 1}
	check("reported", want)

	rows, err := s.Stats(ctx, store.StatsQuery{
		Of: store.PerOutcome, From: Day0, To: Day0.Add(time.Hour), Step: store.StepHour, By: []store.Dimension{store.ByOutcome, store.ByClass},
		Where: map[store.Dimension]string{store.ByAccount: "acme", store.ByOutcome: "bounced_late"},
	})
	must(t, err)
	if diff := cmp.Diff([]store.StatsRow{
		{Time: Day0, Outcome: "bounced_late", Class: mail.ClassInvalidRecipient, Count: 1},
		{Time: Day0, Outcome: "bounced_late", Class: mail.ClassMailboxFull, Count: 1},
	}, rows); diff != "" {
		t.Errorf("late bounces by class, in the hour of acceptance (-want +got):\n%s", diff)
	}
	rows, err = s.Stats(ctx, store.StatsQuery{Of: store.PerMark, From: Day0, To: Day0.Add(time.Hour), By: []store.Dimension{store.ByMark}})
	must(t, err)
	if diff := cmp.Diff([]store.StatsRow{{Mark: "complained", Count: 1}, {Mark: "deferred", Count: 2}}, rows); diff != "" {
		t.Errorf("marks count deliveries, not events (-want +got):\n%s", diff)
	}
	rows, err = s.Stats(ctx, store.StatsQuery{Of: store.PerSpeed, From: Day0, To: Day0.Add(time.Hour), By: []store.Dimension{store.BySpeed}})
	must(t, err)
	if diff := cmp.Diff([]store.StatsRow{
		{Within: "2m", Count: 2, Delay: 2*time.Minute + 6*time.Second},
		{Within: "48h", Count: 1, Delay: day + time.Minute + 3*time.Second},
		{Within: "5s", Count: 2, Delay: 6 * time.Second},
	}, rows); diff != "" {
		t.Errorf("speeds; a report is no sign of when it was taken (-want +got):\n%s", diff)
	}
	rows, err = s.Stats(ctx, store.StatsQuery{
		Of: store.PerSender, From: Day0, To: Day0.Add(5 * day), By: []store.Dimension{store.BySender, store.ByType},
		Where: map[store.Dimension]string{store.BySender: "brand0.example"},
	})
	must(t, err)
	got := map[mail.EventType]int64{}
	for _, r := range rows {
		got[r.Type] = r.Count
	}
	if diff := cmp.Diff(map[mail.EventType]int64{"accepted": 4, "delivered": 2, "deferred": 1, "relayed": 1, "bounced": 1, store.TypeLateBounce: 3}, got); diff != "" {
		t.Errorf("events of one sender domain (-want +got):\n%s", diff)
	}

	var failed []string
	more, err := s.Failures(ctx, store.FailureQuery{Account: "acme", From: Day0, To: Day0.Add(day)}, func(f *store.Failure) error {
		failed = append(failed, fmt.Sprint(f.Domain, " ", f.State, " ", f.Class, " ", f.Late))
		return nil
	})
	must(t, err)
	if diff := cmp.Diff([]string{
		"site0.example bounced greylisted false", "site1.example bounced invalid-recipient true",
		"site0.example deferred greylisted false", "site0.example bounced mailbox-full true",
	}, failed); diff != "" || more {
		t.Errorf("failures (-want +got), more %t:\n%s", more, diff)
	}
	n := 0
	more, err = s.Failures(ctx, store.FailureQuery{From: Day0, Max: 3}, func(*store.Failure) error { n++; return nil })
	must(t, err)
	if n != 3 || !more {
		t.Errorf("bounded at 3, Failures gave %d, more %t", n, more)
	}
	must(t, s.Close())
}

// late2 is the same event told once more.
func late2(g *Mail, e *mail.Event) *mail.Event {
	again := *e
	again.ID = g.Event(e.Type, &mail.Message{}, e.Delivery, e.Recipient).ID
	return &again
}

// testOutcomeCaps counts domains beyond the limit together, and takes away from where it added.
func testOutcomeCaps(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{})
	g := NewMail(spool, Day0)
	const surplus = 40
	var events, later []*mail.Event
	for i := range store.MaxDomains + surplus {
		m, d := g.Message("acme"), g.Delivery()
		m.HeaderFrom = fmt.Sprintf("a@brand%04d.example", i)
		rcpt := fmt.Sprintf("user@site%04d.example", i)
		events = append(events, g.Accepted(m, d, rcpt), g.Tried(mail.EventDelivered, m, d, rcpt, 1, 250, "ok"))
		late := g.Event(mail.EventBounced, m, d, rcpt)
		late.Late, late.Class = true, mail.ClassInvalidRecipient
		later = append(later, late)
	}
	for i, e := range later { // they come after the others
		e.ID.Seq = events[len(events)-1].ID.Seq + uint64(i) + 1
	}
	put(t, s, events...)
	must(t, s.Close())
	s = open(t, dir, Options{})
	defer s.Close()
	put(t, s, later...)
	for _, c := range []struct {
		of    store.Question
		by    store.Dimension
		limit int
	}{{store.PerDomainOutcome, store.ByDomain, store.MaxDomains}, {store.PerSenderOutcome, store.BySender, store.MaxSenders}} {
		rows, err := s.Stats(ctx, store.StatsQuery{Of: c.of, From: Day0, To: Day0.Add(day), By: []store.Dimension{c.by, store.ByOutcome}})
		must(t, err)
		apart, other := 0, int64(0)
		for _, r := range rows {
			switch {
			case r.Count < 0 || r.Outcome != store.OutcomeLateBounce:
				t.Fatalf("%s: %+v is left behind", c.of, r)
			case r.Domain+r.Sender == store.OtherDomains:
				other = r.Count
			default:
				apart++
			}
		}
		if want := int64(store.MaxDomains + surplus - c.limit); apart != c.limit || other != want {
			t.Errorf("%s keeps %d apart and %d together, want %d and %d", c.of, apart, other, c.limit, want)
		}
	}
}
