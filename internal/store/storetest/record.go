package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// spool is the spool of most of the suite's mail.
const spool mail.SpoolID = 7

// put records events of one spool, up to the last of them.
func put(t *testing.T, s store.Store, events ...*mail.Event) {
	t.Helper()
	last := events[len(events)-1].ID
	must(t, s.WriteEvents(t.Context(), last.Spool, last.Seq, events))
}

// ids returns what tells events apart.
func ids(events []*mail.Event) (list []mail.EventID) {
	for _, e := range events {
		list = append(list, e.ID)
	}
	return list
}

func testTimeline(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{})
	g := NewMail(spool, Day0)
	m := g.Message("acme")
	m.Metadata = map[string]string{"order": "17"}
	d := g.Delivery()
	want := []*mail.Event{g.Accepted(m, d, "ann@bigmail.example")}
	put(t, s, want[0])
	g.Clock = g.Clock.Add(time.Minute)
	deferred := g.Tried(mail.EventDeferred, m, d, "ann@bigmail.example", 1, 451, "451 4.7.1 try \"again\" later\nplease\t\\o/ \u00fc \x01")
	deferred.Attempt.Uncertain, deferred.Attempt.TLSNote, deferred.Attempt.Transcript = true, "certificate expired", "C: MAIL"
	put(t, s, deferred, g.Accepted(g.Message("acme"), g.Delivery(), "bob@bigmail.example"))
	g.Clock = g.Clock.Add(6 * time.Minute)
	delivered := g.Tried(mail.EventDelivered, m, d, "ann@bigmail.example", 2, 250, "250 ok")
	g.Clock = g.Clock.Add(day)
	late := g.Event(mail.EventBounced, m, d, "ann@bigmail.example")
	late.Late, late.Class, late.Reason, late.Scope = true, mail.ClassMailboxFull, "over quota", mail.ScopeRecipient
	put(t, s, delivered, late)
	want = append(want, deferred, delivered, late)

	for range 2 { // the second time after it was opened again
		got, err := s.Timeline(ctx, d)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("timeline (-want +got):\n%s", diff)
		}
		gotMessage, err := s.Message(ctx, m.ID)
		must(t, err)
		if diff := cmp.Diff(m, gotMessage); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
		must(t, s.Close())
		s = open(t, dir, Options{})
	}
	defer s.Close()
	_, err := s.Timeline(ctx, g.Delivery())
	wantErr(t, err, store.ErrNotFound)
	_, err = s.Message(ctx, g.Message("acme").ID)
	wantErr(t, err, store.ErrNotFound)
	_, err = s.Delivery(ctx, mail.DeliveryID{})
	wantErr(t, err, store.ErrNotFound)
}

func testSummaries(t *testing.T, open Opener) {
	ctx := t.Context()
	type step func(g *Mail, m *mail.Message, d mail.DeliveryID) *mail.Event
	const rcpt = "ann@bigmail.example"
	accepted := func(g *Mail, m *mail.Message, d mail.DeliveryID) *mail.Event { return g.Accepted(m, d, rcpt) }
	plain := func(kind mail.EventType, reason string) step {
		return func(g *Mail, m *mail.Message, d mail.DeliveryID) *mail.Event {
			e := g.Event(kind, m, d, rcpt)
			e.Reason = reason
			return e
		}
	}
	tried := func(kind mail.EventType, n, code int, reply string) step {
		return func(g *Mail, m *mail.Message, d mail.DeliveryID) *mail.Event {
			return g.Tried(kind, m, d, rcpt, n, code, reply)
		}
	}
	report := func(g *Mail, m *mail.Message, d mail.DeliveryID) *mail.Event {
		e := g.Event(mail.EventBounced, m, d, rcpt)
		e.Late, e.Class = true, mail.ClassInactive
		e.Attempt = &mail.Attempt{Stage: mail.StageReport, Code: 550, Enhanced: "5.1.1", Reply: "550 5.1.1 gone"}
		return e
	}
	for name, c := range map[string]struct {
		steps []step
		want  store.Delivery
	}{
		"queued":     {[]step{accepted}, store.Delivery{State: store.StateQueued}},
		"held":       {[]step{accepted, plain(mail.EventHeld, "incident")}, store.Delivery{State: store.StateHeld, Reason: "incident"}},
		"suppressed": {[]step{accepted, plain(mail.EventSuppressed, "unsubscribed")}, store.Delivery{State: "suppressed", Reason: "unsubscribed"}},
		"deferred": {[]step{accepted, tried(mail.EventDeferred, 1, 451, "451 4.7.1 later")}, store.Delivery{
			State: "deferred", Attempts: 1, Code: 451, Enhanced: "4.7.1", Reply: "451 4.7.1 later", Class: mail.ClassGreylisted,
			Scope: mail.ScopeRecipient, Route: "direct", Source: "out1", Host: "mx1.bigmail.example", Next: Day0.Add(5 * time.Minute),
		}},
		"delivered at last": {[]step{accepted, tried(mail.EventDeferred, 1, 451, "451 4.7.1 later"), tried(mail.EventDelivered, 2, 250, "250 ok")}, store.Delivery{
			State: "delivered", Attempts: 2, Code: 250, Reply: "250 ok", Route: "direct", Source: "out1", Host: "mx1.bigmail.example",
		}},
		"expired": {[]step{accepted, tried(mail.EventDeferred, 3, 451, "451 4.7.1 later"), plain(mail.EventExpired, "deadline")}, store.Delivery{
			State: "expired", Attempts: 3, Code: 451, Enhanced: "4.7.1", Reply: "451 4.7.1 later", Reason: "deadline",
			Route: "direct", Source: "out1", Host: "mx1.bigmail.example",
		}},
		"late bounce": {[]step{accepted, tried(mail.EventDelivered, 1, 250, "250 ok"), report}, store.Delivery{
			State: "bounced", Attempts: 1, Code: 550, Enhanced: "5.1.1", Reply: "550 5.1.1 gone", Class: mail.ClassInactive,
			Route: "direct", Source: "out1", Host: "mx1.bigmail.example", Marks: store.Marks{Late: true},
		}},
		"marks": {[]step{
			accepted, tried(mail.EventDelivered, 1, 250, "250 ok"), plain(mail.EventOpened, ""), plain(mail.EventClicked, ""),
			plain(mail.EventComplained, ""), plain(mail.EventUnsubscribed, ""), plain(mail.EventAutoReplied, ""),
		}, store.Delivery{
			State: "delivered", Attempts: 1, Code: 250, Reply: "250 ok", Route: "direct", Source: "out1", Host: "mx1.bigmail.example",
			Marks: store.Marks{Complained: true, Unsubscribed: true, Opened: true, Clicked: true, AutoReplied: true},
		}},
		"relayed, then delivered": {[]step{accepted, tried(mail.EventRelayed, 1, 250, "250 taken"), plain(mail.EventDelivered, "")}, store.Delivery{
			State: "delivered", Attempts: 1, Code: 250, Reply: "250 taken", Route: "direct", Source: "out1", Host: "mx1.bigmail.example",
		}},
	} {
		// All in one batch and each on its own must come to the same.
		for _, batch := range []string{"at once", "one by one"} {
			t.Run(name+" "+batch, func(t *testing.T) {
				s := fresh(t, open, Options{})
				g := NewMail(spool, Day0)
				m, d := g.Message("acme"), g.Delivery()
				var events []*mail.Event
				for _, step := range c.steps {
					events = append(events, step(g, m, d))
				}
				if batch == "at once" {
					put(t, s, events...)
				} else {
					for _, e := range events {
						put(t, s, e)
					}
				}
				want := c.want
				want.ID, want.Message, want.Account, want.Stream = d, m.ID, "acme", mail.Transactional
				want.Recipient, want.Domain, want.Sender, want.HeaderFrom = rcpt, "bigmail.example", m.From.String(), m.HeaderFrom
				want.Subject, want.Tags, want.Created, want.Updated = m.Subject, m.Tags, Day0, Day0
				got, err := s.Delivery(ctx, d)
				must(t, err)
				if diff := cmp.Diff(&want, got); diff != "" {
					t.Errorf("summary (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// testOutOfOrder records a report that came over another spool before the delivery's own events.
func testOutOfOrder(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	g, other := NewMail(spool, Day0), NewMail(spool+1, Day0.Add(time.Hour))
	m, d := g.Message("acme"), g.Delivery()
	late := other.Event(mail.EventBounced, m, d, "ann@bigmail.example")
	late.Late, late.Class = true, mail.ClassInactive
	put(t, s, late)
	got, err := s.Delivery(ctx, d)
	must(t, err)
	if got.State != "bounced" || got.Subject != "" || got.Account != "acme" {
		t.Errorf("before its own events: %+v", got)
	}
	own := []*mail.Event{g.Accepted(m, d, "ann@bigmail.example"), g.Tried(mail.EventDelivered, m, d, "ann@bigmail.example", 1, 250, "250 ok")}
	put(t, s, own...)
	got, err = s.Delivery(ctx, d)
	must(t, err)
	if got.State != "bounced" || !got.Late || got.Class != mail.ClassInactive || got.Subject != m.Subject || got.Attempts != 1 {
		t.Errorf("after its own events: %+v", got)
	}
	timeline, err := s.Timeline(ctx, d)
	must(t, err)
	if diff := cmp.Diff(ids(append(own, late)), ids(timeline)); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
	for name, events := range map[string][]*mail.Event{
		"falling sequence": {late, late},
		"another spool":    {own[0]},
	} {
		if err := s.WriteEvents(ctx, other.Spool, 10, events); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if err := s.WriteEvents(ctx, spool, 1, []*mail.Event{g.Event(mail.EventOpened, m, d, "")}); err == nil {
		t.Error("an event above the new watermark was accepted")
	}
}

// testRepeats records events again, in other batches.
func testRepeats(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	events := sampleMail()
	put(t, s, events...)
	put(t, s, events...)
	put(t, s, events[:10]...)
	for _, e := range events {
		put(t, s, e)
	}
	must(t, s.WriteEvents(ctx, spool, 5, nil))
	if w, err := s.Watermark(ctx, spool); err != nil || w != events[len(events)-1].ID.Seq {
		t.Errorf("watermark %d, %v", w, err)
	}
	checkSample(t, s)
}

// sampleMail is mail of three days, each day with events of all of them.
func sampleMail() []*mail.Event {
	g := NewMail(spool, Day0)
	var events []*mail.Event
	type live struct {
		m *mail.Message
		d mail.DeliveryID
	}
	var waiting []live
	for range 3 {
		for i := range 8 {
			m, d := g.Message([]string{"acme", "beta"}[i%2]), g.Delivery()
			rcpt := fmt.Sprintf("user%d@bigmail.example", i)
			events = append(events, g.Accepted(m, d, rcpt))
			if i%4 == 0 {
				waiting = append(waiting, live{m, d})
			}
			kind, code := mail.EventDelivered, 250
			if i%4 == 0 {
				kind, code = mail.EventDeferred, 451
			}
			events = append(events, g.Tried(kind, m, d, rcpt, 1, code, "as you wish"))
			g.Clock = g.Clock.Add(time.Second)
		}
		for i, w := range waiting { // events of this day's and of older mail alternate
			events = append(events, g.Tried(mail.EventDeferred, w.m, w.d, "user@bigmail.example", 2, 451, fmt.Sprint("again ", i)))
		}
		g.Clock = g.Clock.Add(day)
	}
	for _, w := range waiting {
		events = append(events, g.Tried(mail.EventDelivered, w.m, w.d, "user@bigmail.example", 3, 250, "at last"))
	}
	return events
}

// checkSample checks that every event of sampleMail was recorded exactly once, wherever it shows.
func checkSample(t *testing.T, s store.Store) {
	t.Helper()
	ctx := t.Context()
	want := sampleMail()
	var got []*mail.Event
	for cursor := store.Cursor(nil); ; {
		page, err := s.Events(ctx, store.EventQuery{After: cursor, Max: 7})
		must(t, err)
		got = append(got, page.Events...)
		if cursor = page.Next; !page.More {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("all events (-want +got):\n%s", diff)
	}
	counts := map[mail.EventType]int64{}
	byDelivery := map[mail.DeliveryID][]*mail.Event{}
	for _, e := range want {
		counts[e.Type]++
		byDelivery[e.Delivery] = append(byDelivery[e.Delivery], e)
	}
	for d, events := range byDelivery {
		timeline, err := s.Timeline(ctx, d)
		must(t, err)
		if diff := cmp.Diff(events, timeline); diff != "" {
			t.Fatalf("timeline of %s (-want +got):\n%s", d, diff)
		}
		x, err := s.Delivery(ctx, d)
		must(t, err)
		last := events[len(events)-1]
		if x.State != store.State(last.Type) || x.Attempts != last.Attempt.N {
			t.Fatalf("delivery %s is %s after %d attempts, want %s after %d", d, x.State, x.Attempts, last.Type, last.Attempt.N)
		}
	}
	for _, of := range []store.Question{store.PerAccount, store.PerSite, store.PerRoute} {
		rows, err := s.Stats(ctx, store.StatsQuery{Of: of, From: Day0, To: Day0.Add(5 * day), By: []store.Dimension{store.ByType}})
		must(t, err)
		sums := map[mail.EventType]int64{}
		for _, r := range rows {
			sums[r.Type] += r.Count
		}
		expect := map[mail.EventType]int64{mail.EventDelivered: counts[mail.EventDelivered], mail.EventDeferred: counts[mail.EventDeferred]}
		if of == store.PerAccount {
			expect = counts
		}
		if diff := cmp.Diff(expect, sums); diff != "" {
			t.Fatalf("rollups per %s (-want +got):\n%s", of, diff)
		}
	}
}

func testEvents(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	events := sampleMail()
	page, err := s.Events(ctx, store.EventQuery{})
	must(t, err)
	if len(page.Events) != 0 || page.More {
		t.Errorf("an empty store has a page of %+v", page)
	}
	put(t, s, events...)
	g := NewMail(spool+1, Day0.Add(time.Minute))
	others := g.Sent("gamma", 20)
	others[5].Type, others[5].Stream = mail.EventComplained, mail.Bulk
	put(t, s, others...)

	read := func(q store.EventQuery) (got []*mail.Event) {
		t.Helper()
		for {
			page, err := s.Events(ctx, q)
			must(t, err)
			if len(page.Events) > q.Max {
				t.Fatalf("a page of %d events, at most %d were asked for", len(page.Events), q.Max)
			}
			got = append(got, page.Events...)
			// Through its text, as clients keep it.
			if q.After, err = store.ParseCursor(page.Next.String()); err != nil {
				t.Fatal(err)
			}
			if !page.More {
				return got
			}
		}
	}
	filter := func(list []*mail.Event, keep func(*mail.Event) bool) []mail.EventID {
		return ids(slices.DeleteFunc(slices.Clone(list), func(e *mail.Event) bool { return !keep(e) }))
	}
	both := append(slices.Clone(events), others...)
	for _, size := range []int{1, 3, 1000} {
		got := read(store.EventQuery{Max: size})
		for _, id := range []mail.SpoolID{spool, spool + 1} {
			own := func(e *mail.Event) bool { return e.ID.Spool == id }
			if diff := cmp.Diff(filter(both, own), filter(got, own)); diff != "" {
				t.Errorf("pages of %d, spool %s (-want +got):\n%s", size, id, diff)
			}
		}
		if len(got) != len(both) {
			t.Errorf("pages of %d hold %d events, want %d", size, len(got), len(both))
		}
	}
	for name, c := range map[string]struct {
		q    store.EventQuery
		keep func(*mail.Event) bool
	}{
		"account": {store.EventQuery{Account: "beta"}, func(e *mail.Event) bool { return e.Account == "beta" }},
		"types": {
			store.EventQuery{Types: []mail.EventType{mail.EventDeferred, mail.EventComplained}},
			func(e *mail.Event) bool { return e.Type == mail.EventDeferred || e.Type == mail.EventComplained },
		},
		"stream": {store.EventQuery{Stream: mail.Bulk}, func(e *mail.Event) bool { return e.Stream == mail.Bulk }},
		"nobody": {store.EventQuery{Account: "none"}, func(*mail.Event) bool { return false }},
	} {
		c.q.Max = 5
		got := ids(read(c.q))
		slices.SortFunc(got, func(a, b mail.EventID) int { return int(int64(a.Spool)-int64(b.Spool))*1000 + int(a.Seq) - int(b.Seq) })
		if diff := cmp.Diff(filter(both, c.keep), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	tail, err := s.Tail(ctx)
	must(t, err)
	page, err = s.Events(ctx, store.EventQuery{After: tail})
	must(t, err)
	if len(page.Events) != 0 || page.More {
		t.Errorf("behind the tail: %+v", page)
	}
	next := g.Sent("gamma", 1)
	put(t, s, next...)
	page, err = s.Events(ctx, store.EventQuery{After: page.Next})
	must(t, err)
	if diff := cmp.Diff(next, page.Events); diff != "" {
		t.Errorf("new behind the tail (-want +got):\n%s", diff)
	}
}

// testEventsWhileAhead reads while one day's file is ahead of the watermark: none of its events may be seen, or those
// of the day that is behind would be jumped over.
func testEventsWhileAhead(t *testing.T, open Opener) {
	ctx := t.Context()
	boom := errors.New("boom")
	fail := false
	days := 0
	s := fresh(t, open, Options{Step: func(name string) error {
		if name == "before day" {
			if days++; fail && days == 2 {
				return boom
			}
		}
		return nil
	}})
	g := NewMail(spool, Day0)
	old := g.Message("acme")
	oldDelivery := g.Delivery()
	put(t, s, g.Accepted(old, oldDelivery, "ann@bigmail.example"))
	tail, err := s.Tail(ctx)
	must(t, err)
	g.Clock = g.Clock.Add(day)
	events := []*mail.Event{
		g.Accepted(g.Message("acme"), g.Delivery(), "bob@bigmail.example"),
		g.Tried(mail.EventDelivered, old, oldDelivery, "ann@bigmail.example", 1, 250, "250 ok"),
		g.Accepted(g.Message("acme"), g.Delivery(), "cid@bigmail.example"),
	}
	fail, days = true, 0
	wantErr(t, s.WriteEvents(ctx, spool, 4, events), boom)
	page, err := s.Events(ctx, store.EventQuery{After: tail})
	must(t, err)
	if len(page.Events) != 0 || page.More {
		t.Fatalf("events above the watermark are shown: %v", ids(page.Events))
	}
	fail = false
	put(t, s, events...)
	page, err = s.Events(ctx, store.EventQuery{After: page.Next})
	must(t, err)
	if diff := cmp.Diff(events, page.Events); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
}

func testMessageReads(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	g := NewMail(spool, Day0.Add(14*time.Hour-3*time.Millisecond)) // just before midnight
	m := g.Message("acme")
	var accepted, all []*mail.Event
	for i := range 7 {
		accepted = append(accepted, g.Accepted(m, g.Delivery(), fmt.Sprintf("user%d@bigmail.example", i)))
		g.Clock = g.Clock.Add(time.Millisecond)
	}
	put(t, s, accepted...)
	for i, e := range accepted {
		done := g.Tried(mail.EventDelivered, m, e.Delivery, e.Recipient, 1, 250, fmt.Sprint("250 ", i))
		put(t, s, done, g.Accepted(g.Message("acme"), g.Delivery(), "noise@bigmail.example"))
		all = append(all, e, done)
	}
	var deliveries []mail.DeliveryID
	for after := (mail.DeliveryID{}); ; {
		list, err := s.Deliveries(ctx, m.ID, after, 2)
		must(t, err)
		if len(list) == 0 {
			break
		}
		for _, x := range list {
			deliveries = append(deliveries, x.ID)
		}
		after = deliveries[len(deliveries)-1]
	}
	var want []mail.DeliveryID
	for _, e := range accepted {
		want = append(want, e.Delivery)
	}
	if diff := cmp.Diff(want, deliveries); diff != "" {
		t.Errorf("deliveries across midnight (-want +got):\n%s", diff)
	}
	var got []*mail.Event
	for cursor := ""; ; {
		list, next, err := s.MessageEvents(ctx, m.ID, cursor, 3)
		must(t, err)
		got = append(got, list...)
		if cursor = next; next == "" {
			break
		}
	}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("events of the message (-want +got):\n%s", diff)
	}
	_, _, err := s.MessageEvents(ctx, m.ID, "nonsense", 3)
	wantErr(t, err, store.ErrBadCursor)
	if list, err := s.Deliveries(ctx, g.Message("acme").ID, mail.DeliveryID{}, 3); err != nil || len(list) != 0 {
		t.Errorf("deliveries of no message: %v, %v", list, err)
	}
}

func testWaitFor(t *testing.T, open Opener) {
	s := fresh(t, open, Options{})
	g := NewMail(spool, Day0)
	put(t, s, g.Sent("acme", 1)...)
	ctx := t.Context()
	if w, err := s.WaitFor(ctx, spool, 2); err != nil || w != 2 {
		t.Errorf("reached already: %d, %v", w, err)
	}
	begun := time.Now()
	if w, err := s.WaitFor(ctx, spool, 3); err != nil || w != 2 || time.Since(begun) < store.MaxWait {
		t.Errorf("never reached: %d, %v after %s", w, err, time.Since(begun))
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if w, err := s.WaitFor(ended, spool, 3); err != nil || w != 2 {
		t.Errorf("given up: %d, %v", w, err)
	}
	got := make(chan error)
	go func() { got <- store.CaughtUp(ctx, s, spool, 4) }() // it asks again where writing takes longer than store.MaxWait
	put(t, s, g.Sent("acme", 1)...)
	if err := <-got; err != nil {
		t.Errorf("waiting for what is written meanwhile: %v", err)
	}
}

func testRetention(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{Retention: 2 * day})
	events := sampleMail()
	put(t, s, events...)
	first := events[0].Delivery
	noon := Day0.Truncate(day).Add(3*day + 12*time.Hour - time.Nanosecond)
	done, err := s.Maintain(ctx, noon.Add(-12*time.Hour)) // the first day ended just under two days ago
	must(t, err)
	if len(done.Days) != 0 {
		t.Fatalf("removed %v too early", done.Days)
	}
	done, err = s.Maintain(ctx, noon)
	must(t, err)
	if diff := cmp.Diff([]string{"2026-07-01"}, done.Days); diff != "" {
		t.Fatalf("removed (-want +got):\n%s", diff)
	}
	_, err = s.Timeline(ctx, first)
	wantErr(t, err, store.ErrNotFound)
	must(t, s.Close())

	s = open(t, dir, Options{Retention: 2 * day})
	defer s.Close()
	if w, err := s.Watermark(ctx, spool); err != nil || w != events[len(events)-1].ID.Seq {
		t.Errorf("watermark after a day has gone: %d, %v", w, err)
	}
	page, err := s.Events(ctx, store.EventQuery{Max: 1000})
	must(t, err)
	left := slices.DeleteFunc(slices.Clone(events), func(e *mail.Event) bool { return e.Delivery.Time().Before(Day0.Truncate(day).Add(day)) })
	if diff := cmp.Diff(ids(left), ids(page.Events)); diff != "" || page.More {
		t.Errorf("events left (-want +got):\n%s", diff)
	}
	// A late report on mail whose day has gone is kept, until that day goes again.
	g := NewMail(spool, Day0.Add(3*day))
	g.Seq = events[len(events)-1].ID.Seq
	late := g.Event(mail.EventComplained, &mail.Message{Account: "acme"}, first, "user0@bigmail.example")
	put(t, s, late)
	got, err := s.Timeline(ctx, first)
	must(t, err)
	if diff := cmp.Diff([]*mail.Event{late}, got); diff != "" {
		t.Errorf("late report (-want +got):\n%s", diff)
	}
	if done, err = s.Maintain(ctx, noon); err != nil || len(done.Days) != 1 {
		t.Errorf("removed again: %v, %v", done.Days, err)
	}
}

func testFloor(t *testing.T, open Opener) {
	ctx := t.Context()
	var full error
	s := fresh(t, open, Options{MayGrow: func() error { return full }})
	g := NewMail(spool, Day0)
	put(t, s, g.Sent("acme", 1)...)
	full = errors.New("2 GiB left")
	more := g.Sent("acme", 1)
	err := s.WriteEvents(ctx, spool, g.Seq, more)
	wantErr(t, err, store.ErrUnavailable)
	wantErr(t, err, full)
	// Pausing an account must be possible all the same.
	_, err = s.ApplyState(ctx, store.Update{Changes: changes(sampleState()), Actor: "containment", At: Day0})
	must(t, err)
	if w, err := s.Watermark(ctx, spool); err != nil || w != 2 {
		t.Errorf("watermark %d, %v", w, err)
	}
	full = nil
	put(t, s, more...)
}

func testClosed(t *testing.T, open Opener) {
	ctx := t.Context()
	s := open(t, t.TempDir(), Options{})
	g := NewMail(spool, Day0)
	put(t, s, g.Sent("acme", 1)...)
	must(t, s.Close())
	must(t, s.Close())
	_, _, err := s.LoadState(ctx)
	wantErr(t, err, store.ErrUnavailable)
	wantErr(t, s.WriteEvents(ctx, spool, 4, g.Sent("acme", 1)), store.ErrUnavailable)
	_, err = s.Events(ctx, store.EventQuery{})
	wantErr(t, err, store.ErrUnavailable)
	_, err = s.Take(ctx, "k", "p", 1, 1)
	wantErr(t, err, store.ErrUnavailable)
	wantErr(t, s.WriteWebhooks(ctx, nil, nil, nil), store.ErrUnavailable)
}
