package sqlite

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/storetest"
)

// TestManyDays reads and writes more days than stay open, from many goroutines, while old days go.
func TestManyDays(t *testing.T) {
	s, err := Open(t.Context(), Options{Now: storetest.Still(), Dir: t.TempDir(), OpenDays: 2, Retention: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g := storetest.NewMail(7, day0)
	var byDay [6][]*mail.Event
	for i := range byDay {
		byDay[i] = g.Sent("acme", 2)
		if err := s.WriteEvents(t.Context(), 7, g.Seq, byDay[i]); err != nil {
			t.Fatal(err)
		}
		g.Clock = g.Clock.Add(24 * time.Hour)
	}
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for range 5 {
				for i, events := range byDay {
					list, err := s.Timeline(t.Context(), events[0].Delivery)
					if i > 0 && (err != nil || len(list) < 2) {
						t.Errorf("day %d: %d events, %v", i, len(list), err)
					}
				}
			}
		})
	}
	group.Go(func() {
		for range 5 {
			var events []*mail.Event
			for _, day := range byDay[1:] {
				events = append(events, g.Event(mail.EventOpened, &mail.Message{Account: "acme"}, day[0].Delivery, ""))
			}
			if err := s.WriteEvents(t.Context(), 7, g.Seq, events); err != nil {
				t.Error(err)
			}
		}
	})
	group.Go(func() {
		for range 5 {
			if _, err := s.Maintain(t.Context(), day0.Truncate(24*time.Hour).Add(2*24*time.Hour)); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	// A day in use stays until the next time: with the readers gone, this is it.
	if _, err := s.Maintain(t.Context(), day0.Truncate(24*time.Hour).Add(2*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	open := 0
	for _, d := range s.days.between("", "~") {
		if d.db != nil {
			open++
		}
		if d.name == dayName(day0) {
			t.Error("the expired day is still there")
		}
	}
	if open > 2 || open != len(s.days.open) {
		t.Errorf("%d files are open, counted as %d; at most 2 are to stay", open, len(s.days.open))
	}
	// A page ends early on a slow machine; its cursor goes on.
	events := 0
	for q := (store.EventQuery{Max: 1000}); ; {
		page, err := s.Events(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		events += len(page.Events)
		if q.After = page.Next; !page.More {
			break
		}
	}
	if events != 5*4+5*5 {
		t.Errorf("%d events", events)
	}
}

// TestPlans: the indexes answer what they are made for, also in a file SQLite knows no statistics of.
func TestPlans(t *testing.T) {
	s, err := Open(t.Context(), Options{Now: storetest.Still(), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g := storetest.NewMail(7, day0)
	if err := s.WriteEvents(t.Context(), 7, 40, g.Sent("acme", 20)); err != nil {
		t.Fatal(err)
	}
	search := func(q store.SearchQuery) string {
		path, _, _ := accessPath(q)
		return "SELECT delivery, subject FROM deliveries WHERE " + path + " AND delivery < $4 AND delivery >= $5 AND ($6 = '' OR account = $6) ORDER BY delivery DESC"
	}
	message := g.Message("acme").ID
	for name, c := range map[string]struct {
		query string
		want  []string
		never []string
	}{
		"timeline": {
			"SELECT " + eventColumns + " FROM events e WHERE e.delivery = $1 ORDER BY e.spool, e.seq",
			[]string{"PRIMARY KEY (delivery=?)"},
			[]string{"SCAN", "TEMP B-TREE"},
		},
		"events": {
			"SELECT " + eventColumns + " FROM events e WHERE e.spool = $1 AND e.seq > $2 AND e.seq <= $3 ORDER BY e.seq LIMIT 5",
			[]string{"events_seq (spool=? AND seq>? AND seq<?)"},
			[]string{"SCAN", "TEMP B-TREE"},
		},
		"recipient": {
			search(store.SearchQuery{Recipient: "a@b.example", Account: "acme"}),
			[]string{"deliveries_recipient (bucket=? AND rhash=?)", "PRIMARY KEY (delivery=?"},
			[]string{"SCAN deliveries"},
		},
		"message id": {
			search(store.SearchQuery{RFC822ID: "x"}),
			[]string{"messages_mhash (bucket=? AND mhash=?)", "deliveries_message (message=?"},
			[]string{"SCAN deliveries"},
		},
		"whether it has the message id": {
			"SELECT m.mhash FROM " + ofMessageID + " LIMIT 1",
			[]string{"COVERING INDEX messages_mhash (bucket=? AND mhash=?)"},
			[]string{"SCAN m", "TEMP B-TREE"},
		},
		"filters": {
			filterQuery,
			[]string{"SEARCH p USING INTEGER PRIMARY KEY", "SEARCH buckets"},
			[]string{"SCAN p", "SCAN buckets", "TEMP B-TREE"},
		},
		"filter's deliveries": {
			"SELECT rhash FROM deliveries WHERE bucket >= $1 AND bucket <= $2",
			[]string{"COVERING INDEX deliveries_recipient (bucket>? AND bucket<?)"},
			[]string{"SCAN", "TEMP B-TREE"},
		},
		"message":  {search(store.SearchQuery{Message: message}), []string{"deliveries_message (message=?"}, []string{"SCAN", "TEMP B-TREE"}},
		"account":  {search(store.SearchQuery{Account: "acme"}), []string{"deliveries_account (account=? AND delivery>? AND delivery<?)"}, []string{"SCAN", "TEMP B-TREE"}},
		"everyone": {search(store.SearchQuery{}), []string{"PRIMARY KEY (delivery>? AND delivery<?)"}, []string{"SCAN", "TEMP B-TREE"}},
	} {
		var plan []string
		err := s.days.use(t.Context(), dayName(day0), false, func(d *day) error {
			return d.db.query(t.Context(), "explain", "EXPLAIN QUERY PLAN "+c.query, make([]any, highest(c.query)), func(r rowScanner) error {
				var id, parent, unused int
				var detail string
				err := r.Scan(&id, &parent, &unused, &detail)
				plan = append(plan, detail)
				return err
			})
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := strings.Join(plan, "\n")
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not use %s:\n%s", name, want, text)
			}
		}
		for _, never := range c.never {
			if strings.Contains(text, never) {
				t.Errorf("%s needs a %s:\n%s", name, never, text)
			}
		}
	}
}

// highest returns the highest number of a place in the query.
func highest(query string) int {
	for n := 9; n > 0; n-- {
		if strings.Contains(query, "$"+string(rune('0'+n))) {
			return n
		}
	}
	return 0
}

func FuzzCursors(f *testing.F) {
	f.Add("")
	f.Add(searchCursor(mail.DeliveryID{1}))
	f.Add(messageCursor{delivery: mail.DeliveryID{1}, spool: 7, seq: 9}.String())
	f.Add(suppressionCursor("a@b.example", "acme", ""))
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := parseSearchCursor(text); err == nil && text != "" && searchCursor(id) != text {
			t.Errorf("%q was read as a search's cursor at %v", text, id)
		}
		if c, err := parseMessageCursor(text); err == nil && text != "" && c.String() != text {
			t.Errorf("%q was read as a message's cursor at %v", text, c)
		}
		if key, err := parseSuppressionCursor(text); err == nil && text != "" && suppressionCursor(key[:]...) != text {
			t.Errorf("%q was read as a suppression's cursor at %v", text, key)
		}
	})
}
