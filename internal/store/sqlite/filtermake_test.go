package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
	"github.com/postroad/postroad/internal/store/storetest"
)

func TestWantedFilters(t *testing.T) {
	made := func(bounds ...int64) (list []filter) {
		for i := 0; i < len(bounds); i += 2 {
			list = append(list, filter{first: bounds[i], last: bounds[i+1]})
		}
		return list
	}
	for name, c := range map[string]struct {
		have []filter
		last int64
		over bool
		want []filter
	}{
		"nothing yet":               {nil, -1, false, nil},
		"too little":                {nil, filterPart - 1, false, nil}, // the last may grow
		"enough":                    {nil, filterPart, false, made(0, filterPart-1)},
		"behind the first":          {made(0, 200), 200 + filterPart, false, nil},
		"enough behind the first":   {made(0, 200), 201 + filterPart, false, made(201, 200+filterPart)},
		"a gap":                     {made(0, 9, 20, 900), 910, false, made(10, 909)},
		"far behind":                {nil, 5000, false, made(0, filterMost-1)},
		"a past day without events": {nil, -1, true, nil},
		"a past day":                {nil, 7, true, made(0, 7)},
		"done":                      {made(0, 7), 7, true, nil},
		"late":                      {made(0, 7), 8, true, made(0, 8)},
		"a little late":             {made(0, 3*filterLoose-1), 3*filterLoose + 2, true, nil},
		"much late":                 {made(0, 3*filterLoose-1), 3*filterLoose + 3, true, made(0, 3*filterLoose+3)},
		"parts":                     {made(0, 127, 128, 260), 261, true, made(0, 261)},
		"a part too many":           {made(0, 99, 100, 102), 102, true, nil}, // what is behind the first is little
		"a large one":               {nil, 5000, true, made(0, filterMost-1, filterMost, 2*filterMost-1, 2*filterMost, 5000)},
		"a large one, in part":      {made(0, filterMost-1, filterMost, 2*filterMost-1), 5000, true, made(2*filterMost, 5000)},
	} {
		if diff := cmp.Diff(c.want, wantedFilters(c.have, c.last, c.over), cmp.AllowUnexported(filter{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestReach(t *testing.T) {
	for name, c := range map[string]struct {
		filters [][3]int64 // first, last, whether it has it
		end     int64
		want    string
	}{
		"an empty day":         {nil, -1, "none"},
		"without filters":      {nil, 5, "0-5"},
		"ruled out":            {[][3]int64{{0, 5, 0}}, 5, "none"},
		"behind the filter":    {[][3]int64{{0, 5, 0}}, 7, "6-7"},
		"in a filter":          {[][3]int64{{0, 5, 1}}, 5, "0-5"},
		"in the second":        {[][3]int64{{0, 5, 0}, {6, 9, 1}, {10, 12, 0}}, 12, "6-9"},
		"in both":              {[][3]int64{{0, 5, 1}, {6, 9, 0}, {10, 12, 1}}, 12, "0-12"},
		"before the first":     {[][3]int64{{3, 5, 0}}, 5, "0-2"},
		"between":              {[][3]int64{{0, 5, 0}, {8, 9, 0}}, 9, "6-7"},
		"overlapping":          {[][3]int64{{0, 5, 0}, {2, 3, 0}, {4, 9, 0}}, 9, "none"},
		"one within the other": {[][3]int64{{0, 9, 0}, {2, 3, 0}}, 10, "10-10"},
	} {
		x := newReach()
		for _, f := range c.filters {
			x.filter(f[0], f[1], f[2] == 1)
		}
		x.end(c.end)
		got := fmt.Sprintf("%d-%d", x.first, x.last)
		if x.none() {
			got = "none"
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestFiltersTail: what came to a day after its filters were made is found from memory too.
func TestFiltersTail(t *testing.T) {
	m := &filterMemory{filters: []filter{{first: 0, last: 40}}, blooms: []*bloom{newBloom(10)}, last: 41}
	if in := m.bucketsOf(rows.HashText("user1@bigmail.example")); in.first != 41 || in.last != 41 {
		t.Errorf("looked for in %+v", in)
	}
}

// fullBucket ends the last bucket of each day, as 8,192 deliveries would.
func fullBucket(t *testing.T, s *Store) {
	t.Helper()
	err := s.days.each(t.Context(), s.days.between("", "~"), func(d *day) error {
		return d.db.write(t.Context(), "end bucket", func(t *tx) error {
			_, err := t.exec("UPDATE buckets SET filled = $1 WHERE filled < $1", bucketSize)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkFilters looks at every delivery of the files: the filters must allow its bucket. It returns how many buckets they
// save a stranger.
func checkFilters(t *testing.T, s *Store) (saved int) {
	t.Helper()
	ctx := t.Context()
	err := s.days.each(ctx, s.days.between("", "~"), func(d *day) error {
		var last int64
		err := d.db.query(ctx, "read all", "SELECT bucket, rhash, recipient FROM deliveries", nil, func(r rowScanner) error {
			var bucket, rhash int64
			var recipient string
			if err := r.Scan(&bucket, &rhash, &recipient); err != nil {
				return err
			}
			in, err := d.bucketsOf(ctx, rhash)
			if bucket < in.first || bucket > in.last {
				t.Errorf("%s: %s in bucket %d is not found by the filters: %+v", d.name, recipient, bucket, in)
			}
			if len(s.days.canHave([]*day{d}, rhash)) == 0 {
				t.Errorf("%s: %s in bucket %d is not found by the filters in memory", d.name, recipient, bucket)
			}
			last = max(last, bucket+1)
			return err
		})
		if err != nil {
			return err
		}
		in, err := d.bucketsOf(ctx, rows.HashText("stranger@unknown.example"))
		if saved += int(last); !in.none() {
			saved -= int(in.last - in.first + 1)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

// recordModel is what a plain scan of everything sent says.
type recordModel struct {
	sent   map[mail.DeliveryID]string // recipient, in the case it was sent to
	state  map[mail.DeliveryID]mail.EventType
	events map[mail.DeliveryID]time.Time // the last
}

func (m *recordModel) search(recipient string) (list []mail.DeliveryID) {
	for id, to := range m.sent {
		if bytes.EqualFold([]byte(to), []byte(recipient)) {
			list = append(list, id)
		}
	}
	slices.SortFunc(list, func(a, b mail.DeliveryID) int { return bytes.Compare(b[:], a[:]) })
	return list
}

// accepted is the last acceptance of the newest day there was one.
func (m *recordModel) accepted(recipient string) (at time.Time) {
	day := ""
	for _, id := range m.search(recipient) {
		if name := dayName(id.Time()); m.state[id] == mail.EventDelivered && name >= day {
			if day = name; m.events[id].After(at) {
				at = m.events[id]
			}
		}
	}
	return at
}

func (m *recordModel) check(t *testing.T, s *Store, recipients []string) {
	t.Helper()
	far := day0.AddDate(1, 0, 0)
	for _, recipient := range recipients {
		page, err := s.Search(t.Context(), store.SearchQuery{Recipient: recipient, Max: 1000})
		if err != nil {
			t.Fatal(err)
		}
		var got []mail.DeliveryID
		for _, d := range page.Deliveries {
			got = append(got, d.ID)
		}
		if want := m.search(recipient); !slices.Equal(got, want) {
			t.Fatalf("search for %s: %v, want %v", recipient, got, want)
		}
		at, err := s.LastAccepted(t.Context(), store.AcceptedQuery{Recipient: recipient, Since: day0.AddDate(0, 0, -1), Delivered: far, Relayed: far})
		if want := m.accepted(recipient); err != nil || !at.Equal(want) {
			t.Fatalf("%s accepted last at %s, want %s: %v", recipient, at, want, err)
		}
	}
}

// TestFiltersAgree does at random what changes day files: mail, also for past days, events that come late, filters of any
// buckets, erasures, restarts, backup and restore. After each step what is found by recipient is what a scan finds.
func TestFiltersAgree(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ctx, dir := t.Context(), t.TempDir()
	begin := func(dir string) *Store {
		s, err := Open(ctx, Options{Now: storetest.Still(), Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := begin(dir)
	defer func() { _ = s.Close() }()
	g := storetest.NewMail(7, day0)
	m := &recordModel{map[mail.DeliveryID]string{}, map[mail.DeliveryID]mail.EventType{}, map[mail.DeliveryID]time.Time{}}
	var recipients []string
	for i := range 24 {
		recipients = append(recipients, fmt.Sprintf("User%d@bigmail.example", i))
	}
	const days = 4
	saved := 0
	write := func(events []*mail.Event) {
		if err := s.WriteEvents(ctx, 7, g.Seq, events); err != nil {
			t.Fatal(err)
		}
	}
	steps := []func(){
		func() { // mail of any day
			var events []*mail.Event
			for range 1 + r.IntN(6) {
				g.Clock = day0.AddDate(0, 0, r.IntN(days)).Add(time.Duration(g.Seq) * time.Second)
				to := recipients[r.IntN(16)]
				if r.IntN(2) == 0 {
					to = "u" + to[1:]
				}
				msg, d := g.Message("acme"), g.Delivery()
				m.sent[d], m.state[d], m.events[d] = to, mail.EventAccepted, g.Clock
				events = append(events, g.Accepted(msg, d, to))
			}
			write(events)
		},
		func() { // what becomes of some of it
			var events []*mail.Event
			for _, d := range slices.SortedFunc(maps.Keys(m.sent), func(a, b mail.DeliveryID) int { return bytes.Compare(a[:], b[:]) }) {
				if m.state[d] != mail.EventAccepted || r.IntN(2) == 0 {
					continue
				}
				g.Clock = day0.AddDate(0, 0, days).Add(time.Duration(g.Seq) * time.Second)
				what, code := mail.EventDelivered, 250
				if r.IntN(3) == 0 {
					what, code = mail.EventBounced, 550
				}
				m.state[d], m.events[d] = what, g.Clock
				events = append(events, g.Tried(what, &mail.Message{Account: "acme", ID: mail.MessageID(d)}, d, m.sent[d], 1, code, "so be it"))
			}
			write(events)
		},
		func() { fullBucket(t, s) },
		func() { // as Maintain does it
			if err := s.makeFilters(ctx, day0.AddDate(0, 0, r.IntN(days+2))); err != nil {
				t.Fatal(err)
			}
		},
		func() { // any others
			list := s.days.between("", "~")
			if len(list) == 0 {
				return
			}
			err := s.days.each(ctx, []*day{list[r.IntN(len(list))]}, func(d *day) error {
				var last int64
				if err := d.db.row(ctx, "read buckets", "SELECT max(bucket) FROM buckets", nil, &last); err != nil {
					return err
				}
				first := r.Int64N(last + 1)
				_, err := s.makeFilter(ctx, d, first, first+r.Int64N(last-first+1))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		},
		func() { // erase somebody: in half of the days, as a process that dies would leave it
			i := r.IntN(16)
			e := store.Erasing{Address: recipients[i], Marker: fmt.Sprintf("erased-%d@erased.invalid", r.IntN(3))}
			for n := range days {
				if r.IntN(2) == 0 {
					continue
				}
				name := dayName(day0.AddDate(0, 0, n))
				if _, err := s.EraseRecorded(ctx, name, e); err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Fatal(err)
				}
				for _, d := range m.search(recipients[i]) {
					if dayName(d.Time()) == name {
						m.sent[d] = e.Marker
					}
				}
			}
		},
		func() {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = begin(dir)
		},
		func() { // restore what was backed up
			copied := t.TempDir()
			if _, err := s.Backup(ctx, copied); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			dir = copied
			s = begin(dir)
		},
	}
	weights := []int{0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4, 4, 5, 5, 6, 7}
	asked := append(slices.Clone(recipients), "erased-0@erased.invalid", "erased-1@erased.invalid", "erased-2@erased.invalid")
	n := 400
	if testing.Short() {
		n = 40
	}
	for range n {
		steps[weights[r.IntN(len(weights))]]()
		saved += checkFilters(t, s)
		m.check(t, s, []string{asked[r.IntN(len(asked))], asked[r.IntN(len(asked))], asked[r.IntN(len(asked))]})
	}
	m.check(t, s, asked)
	if saved == 0 {
		t.Error("no filter saved anything in all that time")
	}
}

// filterPages returns what the filters of a day are.
func filterPages(t *testing.T, s *Store, name string) (pages [][]byte) {
	t.Helper()
	err := s.days.use(t.Context(), name, false, func(d *day) error {
		return d.db.query(t.Context(), "read", "SELECT bits FROM filter_pages ORDER BY page", nil, func(r rowScanner) error {
			var page []byte
			err := r.Scan(&page)
			pages = append(pages, page)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// TestFiltersErased: after an erasure the filters are as if they had been made of what is left.
func TestFiltersErased(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, Options{Now: storetest.Still(), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g := storetest.NewMail(7, day0)
	var events []*mail.Event
	for i := range 2_100 { // two pages
		m, d := g.Message([]string{"acme", "beta"}[i%2]), g.Delivery()
		to := fmt.Sprintf("user%d@bigmail.example", i)
		if i%201 == 190 {
			to = "ann@example.net"
		}
		events = append(events, g.Accepted(m, d, to))
	}
	if err := s.WriteEvents(ctx, 7, g.Seq, events); err != nil {
		t.Fatal(err)
	}
	name := dayName(day0)
	if err := s.makeFilters(ctx, day0.AddDate(0, 0, 2)); err != nil {
		t.Fatal(err)
	}
	last := filterPages(t, s, name)
	for _, account := range []string{"acme", "", "beta"} { // of one account, of the rest, of nobody any more
		if _, err := s.EraseRecorded(ctx, name, store.Erasing{Address: "Ann@example.net", Marker: "erased-1@erased.invalid", Account: account}); err != nil {
			t.Fatal(err)
		}
		mended := filterPages(t, s, name)
		if account != "beta" && cmp.Equal(mended, last) {
			t.Error("the erasure did not change the filter")
		}
		err := s.days.use(ctx, name, false, func(d *day) error {
			if done, err := s.makeFilter(ctx, d, 0, 0); err != nil || !done {
				t.Errorf("not made again: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if last = filterPages(t, s, name); len(last) != 2 || !cmp.Equal(mended, last) {
			t.Errorf("erasing of %q left something else than a new filter has", account)
		}
	}
	checkFilters(t, s)
}

// TestFiltersErasedMeanwhile: a filter that was being made while somebody was erased is not put into the file.
func TestFiltersErasedMeanwhile(t *testing.T) {
	ctx := t.Context()
	var s *Store
	name, erase := dayName(day0), false
	s, err := Open(ctx, Options{Now: storetest.Still(), Dir: t.TempDir(), Step: func(step string) error {
		if step != "before filter" || !erase {
			return nil
		}
		erase = false
		_, err := s.EraseRecorded(ctx, name, store.Erasing{Address: "user2@bigmail.example", Marker: "erased-1@erased.invalid"})
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g := storetest.NewMail(7, day0)
	if err := s.WriteEvents(ctx, 7, 40, g.Sent("acme", 20)); err != nil {
		t.Fatal(err)
	}
	erase = true
	for want := range 2 {
		if err := s.makeFilters(ctx, day0.AddDate(0, 0, 2)); err != nil {
			t.Fatal(err)
		}
		if got := len(filterPages(t, s, name)); got != want {
			t.Errorf("time %d: %d pages", want, got)
		}
		checkFilters(t, s)
	}
}

// TestFiltersKilled copies the folder at each step of making and mending filters, with transactions open: from every copy
// the store finds what it should, and goes on.
func TestFiltersKilled(t *testing.T) {
	ctx, dir, copies := t.Context(), t.TempDir(), t.TempDir()
	n := 0
	record := func(step string) error {
		n++
		return os.CopyFS(filepath.Join(copies, fmt.Sprintf("%02d %s", n, step)), os.DirFS(dir))
	}
	s, err := Open(ctx, Options{Now: storetest.Still(), Dir: dir, Step: record})
	if err != nil {
		t.Fatal(err)
	}
	g := storetest.NewMail(7, day0)
	later := day0.AddDate(0, 0, 2)
	write := func() {
		if err := s.WriteEvents(ctx, 7, g.Seq+6, g.Sent("acme", 3)); err != nil {
			t.Fatal(err)
		}
		fullBucket(t, s)
	}
	for range 3 {
		write()
		if err := s.makeFilters(ctx, later); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if _, err := s.EraseRecorded(ctx, dayName(day0), store.Erasing{Address: "user2@bigmail.example", Marker: "erased-1@erased.invalid"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(copies)
	if err != nil || n < 10 {
		t.Fatalf("%d steps: %v", n, err)
	}
	filters := 0
	for _, e := range list {
		s, err := Open(ctx, Options{Now: storetest.Still(), Dir: filepath.Join(copies, e.Name())})
		if err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		filters += checkFilters(t, s)
		more := storetest.NewMail(8, day0)
		if err := s.WriteEvents(ctx, 8, 2, more.Sent("acme", 1)); err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		checkFilters(t, s)
		if err := s.makeFilters(ctx, later); err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		checkFilters(t, s)
		if t.Failed() {
			t.Fatalf("from the copy at %q", e.Name())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if filters == 0 {
		t.Error("no copy had a filter")
	}
}

// TestFiltersDamaged: a filter without its page, or with another one, hides nothing, and does not hinder an erasure.
func TestFiltersDamaged(t *testing.T) {
	for name, damage := range map[string]string{
		"lost": "DELETE FROM filter_pages", "short": "UPDATE filter_pages SET bits = x'00'", "empty": "UPDATE filter_pages SET bits = x''",
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s, err := Open(ctx, Options{Now: storetest.Still(), Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			g := storetest.NewMail(7, day0)
			if err := s.WriteEvents(ctx, 7, 40, g.Sent("acme", 20)); err != nil {
				t.Fatal(err)
			}
			if err := s.makeFilters(ctx, day0.AddDate(0, 0, 2)); err != nil {
				t.Fatal(err)
			}
			if checkFilters(t, s) == 0 {
				t.Fatal("no filter was made")
			}
			err = s.days.use(ctx, dayName(day0), false, func(d *day) error {
				return d.db.write(ctx, "damage", func(t *tx) error { _, err := t.exec(damage); return err })
			})
			if err != nil {
				t.Fatal(err)
			}
			checkFilters(t, s)
			n, err := s.EraseRecorded(ctx, dayName(day0), store.Erasing{Address: "user2@bigmail.example", Marker: "erased-1@erased.invalid"})
			if err != nil || n.Deliveries != 1 {
				t.Errorf("erasing: %+v, %v", n, err)
			}
			checkFilters(t, s)
		})
	}
}
