package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

func testSearch(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	g := NewMail(spool, Day0)
	var events []*mail.Event
	var all []mail.DeliveryID // newest first
	byNumber := map[int]mail.DeliveryID{}
	n := 0
	for range 3 {
		for i := range 10 {
			m := g.Message([]string{"acme", "beta"}[i%2])
			m.Subject, m.Tags = fmt.Sprintf("Überweisung 100%% No. %d", n), []string{"invoice", fmt.Sprint("n", n)}
			if i == 9 {
				m.From = mail.Address{}
				m.HeaderFrom, m.Tags, m.Stream = "Info@news.example", nil, mail.Bulk
			}
			d, rcpt := g.Delivery(), fmt.Sprintf("User%d@site%d.example", i, i%3)
			events = append(events, g.Accepted(m, d, rcpt))
			if i%5 == 0 {
				e := g.Tried(mail.EventDeferred, m, d, rcpt, 1, 451, "451 later")
				e.Attempt.Route, e.Attempt.Source = "gateway", "out2"
				events = append(events, e)
			}
			all = append(all, d)
			byNumber[n] = d
			n++
			g.Clock = g.Clock.Add(time.Minute)
		}
		g.Clock = g.Clock.Add(day)
	}
	slices.Reverse(all)
	put(t, s, events...)

	search := func(q store.SearchQuery) (got []mail.DeliveryID) {
		t.Helper()
		for {
			page, err := s.Search(ctx, q)
			must(t, err)
			if len(page.Deliveries) > q.Max {
				t.Fatalf("a page of %d, at most %d were asked for", len(page.Deliveries), q.Max)
			}
			for _, x := range page.Deliveries {
				got = append(got, x.ID)
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				if !page.SearchedTo.IsZero() {
					t.Errorf("at the end, but searched only to %s", page.SearchedTo)
				}
				return got
			}
		}
	}
	where := func(keep func(n int) bool) (list []mail.DeliveryID) {
		for i, d := range all {
			if keep(len(all) - 1 - i) {
				list = append(list, d)
			}
		}
		return list
	}
	first, err := s.Delivery(ctx, byNumber[17])
	must(t, err)
	m17, err := s.Message(ctx, first.Message)
	must(t, err)
	for name, c := range map[string]struct {
		q    store.SearchQuery
		keep func(n int) bool
	}{
		"everything":        {store.SearchQuery{}, func(int) bool { return true }},
		"account":           {store.SearchQuery{Account: "beta"}, func(n int) bool { return n%2 == 1 }},
		"recipient":         {store.SearchQuery{Recipient: "uSER4@SITE1.example"}, func(n int) bool { return n%10 == 4 }},
		"account+recipient": {store.SearchQuery{Account: "beta", Recipient: "user4@site1.example"}, func(int) bool { return false }},
		"domain":            {store.SearchQuery{Domain: "Site2.example"}, func(n int) bool { return n%10%3 == 2 }},
		"account+domain":    {store.SearchQuery{Account: "acme", Domain: "site2.example"}, func(n int) bool { return n%10%3 == 2 && n%2 == 0 }},
		"message id":        {store.SearchQuery{RFC822ID: m17.RFC822ID}, func(n int) bool { return n == 17 }},
		"foreign id":        {store.SearchQuery{RFC822ID: m17.RFC822ID, Account: "acme"}, func(int) bool { return false }},
		"message":           {store.SearchQuery{Message: first.Message}, func(n int) bool { return n == 17 }},
		"sender":            {store.SearchQuery{Sender: "Billing@acme.example"}, func(n int) bool { return n%2 == 0 }},
		"sender's domain":   {store.SearchQuery{Sender: "acme.example"}, func(n int) bool { return n%2 == 0 }},
		"header sender":     {store.SearchQuery{Sender: "@news.example"}, func(n int) bool { return n%10 == 9 }},
		"subject":           {store.SearchQuery{Subject: "überWEISUNG 100% no. 1"}, func(n int) bool { return n == 1 || n >= 10 && n < 20 }},
		"tag":               {store.SearchQuery{Tag: "n12"}, func(n int) bool { return n == 12 }},
		"half a tag":        {store.SearchQuery{Tag: "invoi"}, func(int) bool { return false }},
		"stream":            {store.SearchQuery{Stream: mail.Bulk}, func(n int) bool { return n%10 == 9 }},
		"state":             {store.SearchQuery{State: store.StateQueued}, func(n int) bool { return n%5 != 0 }},
		"class":             {store.SearchQuery{Class: mail.ClassGreylisted}, func(n int) bool { return n%5 == 0 }},
		"route and source":  {store.SearchQuery{Route: "gateway", Source: "out2"}, func(n int) bool { return n%5 == 0 }},
		"from":              {store.SearchQuery{From: byNumber[13].Time()}, func(n int) bool { return n >= 13 }},
		"to":                {store.SearchQuery{To: byNumber[13].Time()}, func(n int) bool { return n < 13 }},
		"from to":           {store.SearchQuery{Account: "acme", From: byNumber[4].Time(), To: byNumber[23].Time()}, func(n int) bool { return n >= 4 && n < 23 && n%2 == 0 }},
	} {
		for _, size := range []int{1, 4, 1000} {
			c.q.Max = size
			if diff := cmp.Diff(where(c.keep), search(c.q)); diff != "" {
				t.Errorf("%s, pages of %d (-want +got):\n%s", name, size, diff)
			}
		}
	}
	_, err = s.Search(ctx, store.SearchQuery{Cursor: "nonsense"})
	wantErr(t, err, store.ErrBadCursor)
}

// testSearchHosts finds deliveries by the mail host of their last attempt.
func testSearchHosts(t *testing.T, open Opener) {
	s := fresh(t, open, Options{})
	g := NewMail(spool, Day0)
	for i, host := range []string{"mx1.bigmail.example", "mx2.eu.bigmail.example", "bigmail.example", "notbigmail.example", ""} {
		m, d, rcpt := g.Message("acme"), g.Delivery(), fmt.Sprintf("u%d@site.example", i)
		accepted := g.Accepted(m, d, rcpt)
		e := g.Tried(mail.EventDelivered, m, d, rcpt, 1, 250, "ok")
		e.Attempt.Host = host
		put(t, s, accepted, e)
		g.Clock = g.Clock.Add(time.Second)
	}
	for want, hosts := range map[int][]string{
		1: {"MX1.bigmail.example"}, 2: {".BigMail.example"}, 3: {".bigmail.example", "bigmail.example"}, 0: {".example.net", "mx"}, 5: nil,
	} {
		page, err := s.Search(t.Context(), store.SearchQuery{Account: "acme", Hosts: hosts})
		must(t, err)
		if len(page.Deliveries) != want {
			t.Errorf("%q finds %d, want %d", hosts, len(page.Deliveries), want)
		}
	}
}

// testSearchTime ends pages by the clock: what was found is the same, and the cursor says how far a page came.
func testSearchTime(t *testing.T, open Opener) {
	ctx := t.Context()
	now := Day0
	tick := time.Duration(0)
	s := fresh(t, open, Options{Now: func() time.Time { now = now.Add(tick); return now }})
	g := NewMail(spool, Day0)
	var want []mail.DeliveryID
	for range 3 {
		events := g.Sent("acme", 2500)
		put(t, s, events...)
		want = append(want, events[0].Delivery)
		g.Clock = g.Clock.Add(day)
	}
	slices.Reverse(want)
	// Each look at the clock finds that half of the time for a page has gone.
	tick = store.MaxScan / 2
	var got []mail.DeliveryID
	q := store.SearchQuery{Account: "acme"}
	pages := 0
	last := g.Clock
	for {
		// The first of each day is the oldest: everything else is gone through before.
		q.Subject = "Invoice 1 "
		page, err := s.Search(ctx, q)
		must(t, err)
		for _, x := range page.Deliveries {
			got = append(got, x.ID)
		}
		pages++
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
		if page.SearchedTo.After(last) {
			t.Errorf("page %d went back up to %s", pages, page.SearchedTo)
		}
		last = page.SearchedTo
	}
	if pages < 3 {
		t.Errorf("%d pages: the clock ended none", pages)
	}
	if diff := cmp.Diff(want[2:], got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func testStats(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	g := NewMail(spool, Day0.Add(30*time.Minute))
	for _, account := range []string{"acme", "beta"} {
		m, d := g.Message(account), g.Delivery()
		put(t, s, g.Accepted(m, d, "ann@bigmail.example"), g.Tried(mail.EventDeferred, m, d, "ann@bigmail.example", 1, 451, "later"))
		g.Clock = g.Clock.Add(20 * time.Hour) // the next day, and for beta the one after it
		e := g.Tried(mail.EventDelivered, m, d, "ann@bigmail.example", 2, 250, "ok")
		put(t, s, e)
	}
	relay := g.Tried(mail.EventRelayed, g.Message("acme"), g.Delivery(), "bob@bigmail.example", 1, 250, "ok")
	relay.Attempt.Kind, relay.Attempt.Route, relay.Attempt.Source, relay.Attempt.Lane = mail.RouteRelay, "gateway", "", "gateway>relay.example.net:587"
	put(t, s, relay)

	hour := func(h int) time.Time { return Day0.Add(time.Duration(h) * time.Hour) }
	midnight := Day0.Truncate(day)
	const site = "mx1.bigmail.example,mx2.bigmail.example"
	for name, c := range map[string]struct {
		q    store.StatsQuery
		want []store.StatsRow
	}{
		"total": {store.StatsQuery{Of: store.PerAccount}, []store.StatsRow{{Count: 7, Delay: 40 * time.Hour}}},
		"hours of one account": {store.StatsQuery{
			Of: store.PerAccount, Step: store.StepHour, By: []store.Dimension{store.ByType},
			Where: map[store.Dimension]string{store.ByAccount: "acme"},
		}, []store.StatsRow{
			{Time: hour(0), Type: "accepted", Count: 1},
			{Time: hour(0), Type: "deferred", Count: 1},
			{Time: hour(20), Type: "delivered", Count: 1, Delay: 20 * time.Hour},
			{Time: hour(40), Type: "relayed", Count: 1},
		}},
		"days": {store.StatsQuery{
			Of: store.PerAccount, Step: store.StepDay, By: []store.Dimension{store.ByAccount, store.ByStream, store.ByClass},
			Where: map[store.Dimension]string{store.ByType: "deferred"},
		}, []store.StatsRow{
			{Time: midnight, Account: "acme", Stream: mail.Transactional, Class: mail.ClassGreylisted, Count: 1},
			{Time: midnight.Add(day), Account: "beta", Stream: mail.Transactional, Class: mail.ClassGreylisted, Count: 1},
		}},
		"part of the time": {
			store.StatsQuery{Of: store.PerAccount, From: hour(20), To: hour(20).Add(time.Minute), By: []store.Dimension{store.ByType}},
			[]store.StatsRow{{Type: "accepted", Count: 1}, {Type: "deferred", Count: 1}, {Type: "delivered", Count: 1, Delay: 20 * time.Hour}},
		},
		"sites": {store.StatsQuery{Of: store.PerSite, By: []store.Dimension{store.ByReceiver, store.BySite}}, []store.StatsRow{
			{Site: "relay.example.net:587", Count: 1}, {Receiver: "bigmail", Site: site, Count: 4, Delay: 40 * time.Hour},
		}},
		"routes": {store.StatsQuery{
			Of: store.PerRoute, By: []store.Dimension{store.ByRoute, store.BySource},
			Where: map[store.Dimension]string{store.ByRoute: "gateway"},
		}, []store.StatsRow{{Route: "gateway", Count: 1}}},
		"nothing": {store.StatsQuery{Of: store.PerRoute, Where: map[store.Dimension]string{store.ByRoute: "none"}}, []store.StatsRow{}},
	} {
		if c.q.From.IsZero() {
			c.q.From, c.q.To = Day0, Day0.Add(5*day)
		}
		got, err := s.Stats(ctx, c.q)
		must(t, err)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name, q := range map[string]store.StatsQuery{
		"no question":       {},
		"foreign dimension": {Of: store.PerAccount, By: []store.Dimension{store.BySite}},
		"foreign filter":    {Of: store.PerSite, Where: map[store.Dimension]string{store.ByAccount: "acme"}},
		"injection":         {Of: store.PerSite, By: []store.Dimension{"site; DROP TABLE events"}},
		"step":              {Of: store.PerSite, Step: "week"},
	} {
		_, err := s.Stats(ctx, q)
		if err == nil {
			t.Errorf("%s was answered", name)
			continue
		}
		wantErr(t, err, store.ErrBadQuery)
	}
}

// testSites counts sites beyond the limit as one, and goes on counting those it knows, also after a restart.
func testSites(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{})
	g := NewMail(spool, Day0)
	m := g.Message("acme")
	event := func(site int) *mail.Event {
		e := g.Tried(mail.EventDelivered, m, g.Delivery(), "ann@bigmail.example", 1, 250, "ok")
		e.Attempt.Lane = fmt.Sprintf("direct@out1>mx.site%04d.example", site)
		return e
	}
	var events []*mail.Event
	for site := range store.MaxSites + 100 {
		events = append(events, event(site))
	}
	// Two of the last ones are the busiest of the batch.
	for range 5 {
		events = append(events, event(store.MaxSites+50), event(store.MaxSites+51))
	}
	put(t, s, events...)
	must(t, s.Close())
	s = open(t, dir, Options{})
	defer s.Close()
	put(t, s, event(0), event(store.MaxSites+50), event(store.MaxSites+99))
	rows, err := s.Stats(ctx, store.StatsQuery{Of: store.PerSite, From: Day0, To: Day0.Add(time.Hour), By: []store.Dimension{store.BySite}})
	must(t, err)
	got := map[string]int64{}
	for _, r := range rows {
		got[r.Site] = r.Count
	}
	if len(got) != store.MaxSites+1 {
		t.Errorf("%d sites, want %d and the others", len(got), store.MaxSites)
	}
	want := map[string]int64{"mx.site0000.example": 2, "mx.site1050.example": 7, "mx.site1051.example": 6, store.OtherSites: 101}
	for site, n := range want {
		if got[site] != n {
			t.Errorf("%s has %d, want %d", site, got[site], n)
		}
	}
	g.Clock = g.Clock.Add(time.Hour)
	put(t, s, event(store.MaxSites+99))
	rows, err = s.Stats(ctx, store.StatsQuery{Of: store.PerSite, From: g.Clock, To: g.Clock.Add(time.Minute), By: []store.Dimension{store.BySite}})
	must(t, err)
	if len(rows) != 1 || rows[0].Site != "mx.site1099.example" {
		t.Errorf("the next hour begins with %+v", rows)
	}
}
