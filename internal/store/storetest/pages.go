package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// ticking is a clock that moves at each look once step is set: how long a page takes then depends on how often it looks.
type ticking struct {
	at   time.Time
	step time.Duration
}

func (c *ticking) now() time.Time {
	c.at = c.at.Add(c.step)
	return c.at
}

// testEventsTime ends pages of events by the clock: nothing is passed over, and each page goes on where the one before ended.
func testEventsTime(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{})
	g := NewMail(spool, Day0)
	events := g.Sent("acme", 250)
	g.Clock = g.Clock.Add(day)
	events = append(events, g.Sent("acme", 250)...)
	events[10].Type, events[900].Type = mail.EventComplained, mail.EventComplained
	put(t, s, events...)
	must(t, s.Close()) // what was recorded last is in memory until then

	clock := &ticking{at: Day0}
	s = open(t, dir, Options{Now: clock.now})
	defer s.Close()
	clock.step = store.MaxScan / 4
	var got []*mail.Event
	pages, q := 0, store.EventQuery{Types: []mail.EventType{mail.EventComplained}, Max: 1}
	for more := true; more; pages++ {
		page, err := s.Events(ctx, q)
		must(t, err)
		if page.More && page.Next[spool] <= q.After[spool] {
			t.Fatalf("page %d ends where it began, at %d", pages, page.Next[spool])
		}
		got = append(got, page.Events...)
		q.After, more = page.Next, page.More
	}
	if pages < 10 {
		t.Errorf("%d pages: the clock ended none", pages)
	}
	if diff := cmp.Diff([]mail.EventID{events[10].ID, events[900].ID}, ids(got)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

// testReportsTime is the same for the list of reports.
func testReportsTime(t *testing.T, open Opener) {
	clock := &ticking{at: Day0}
	s := fresh(t, open, Options{Now: clock.now})
	var all []*store.StoredReport
	var want []mail.ReportID
	for i := range 8 {
		all = append(all, newReport(i, Day0.Add(time.Duration(i)*day)))
	}
	all[1].Subject, all[6].Subject = "wanted", "wanted"
	want = append(want, all[6].ID, all[1].ID)
	must(t, s.PutReports(t.Context(), all))
	clock.step = store.MaxScan / 4
	var got []mail.ReportID
	pages, q := 0, store.ReportQuery{Text: "wanted"}
	for {
		page, err := s.ListReports(t.Context(), q)
		must(t, err)
		for _, r := range page.Reports {
			got = append(got, r.ID)
		}
		if pages++; page.Next != "" && page.Next == q.Cursor {
			t.Fatalf("page %d ends where it began", pages)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	if pages < 2 {
		t.Errorf("%d pages: the clock ended none", pages)
	}
	if !slices.Equal(want, got) {
		t.Errorf("found %v, want %v", got, want)
	}
}

// testArchiveFindTime is the same for searches of the archive: of files that hold nothing of what is looked for, which take time as
// well, and within one file.
func testArchiveFindTime(t *testing.T, open ArchiveOpener) {
	for name, tt := range map[string]struct {
		apart time.Duration
		q     store.ArchiveQuery
	}{
		"files": {day, store.ArchiveQuery{Account: "acme", Recipient: "ann@example.net"}},
		"rows":  {time.Second, store.ArchiveQuery{Account: "acme", Sender: "ann@shop.example"}},
	} {
		clock := &ticking{at: Day0}
		a := freshArchive(t, open, t.TempDir(), ArchiveOptions{Now: clock.now})
		var list []archived
		var got, want []mail.MessageID
		for i := range 12 {
			x := newArchived(Day0.Add(time.Duration(i)*tt.apart), "acme", []byte("content"), "bob@example.net")
			if i == 2 || i == 10 {
				x.to[0].Address, x.m.HeaderFrom = "ann@example.net", "ann@shop.example"
				want = append(want, x.m.ID)
			}
			list = append(list, x)
		}
		putArchived(t, a, list...)
		clock.step = store.MaxScan / 4
		pages, q := 0, tt.q
		for {
			page, err := a.FindArchived(t.Context(), q)
			must(t, err)
			for _, m := range page.Messages {
				got = append(got, m.Message.ID)
			}
			if pages++; page.Next != "" && page.Next == q.Cursor {
				t.Fatalf("%s: page %d ends where it began", name, pages)
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if pages < 2 {
			t.Errorf("%s: %d pages: the clock ended none", name, pages)
		}
		if !slices.Equal(want, got) {
			t.Errorf("%s: found %v, want %v", name, got, want)
		}
	}
}
