package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/storetest"
)

// TestKilled copies the folder as it is at each step of recording mail of two days, with transactions open: what a
// killed process leaves. From every copy the store goes on to the same end.
func TestKilled(t *testing.T) {
	g := storetest.NewMail(7, day0)
	old := g.Sent("acme", 3)
	g.Clock = g.Clock.Add(24 * time.Hour)
	events := append(old, g.Sent("acme", 3)...)
	last := events[1]
	report := g.Event(mail.EventComplained, &mail.Message{Account: "acme", ID: last.Message}, last.Delivery, last.Recipient)
	events = append(events, report)

	dir, copies := t.TempDir(), t.TempDir()
	n := 0
	s, err := Open(t.Context(), Options{Now: storetest.Still(), Dir: dir, Step: func(step string) error {
		n++
		return os.CopyFS(filepath.Join(copies, fmt.Sprintf("%02d %s", n, step)), os.DirFS(dir))
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, batch := range [][]*mail.Event{events[:5], events[5:]} {
		if err := s.WriteEvents(t.Context(), 7, batch[len(batch)-1].ID.Seq, batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(copies)
	if err != nil || len(list) != n || n < 12 {
		t.Fatalf("%d copies of %d steps: %v", len(list), n, err)
	}
	for _, e := range list {
		t.Run(e.Name(), func(t *testing.T) {
			s, err := Open(t.Context(), Options{Now: storetest.Still(), Dir: filepath.Join(copies, e.Name())})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			w, err := s.Watermark(t.Context(), 7)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.WriteEvents(t.Context(), 7, g.Seq, events[w:]); err != nil {
				t.Fatal(err)
			}
			page, err := s.Events(t.Context(), store.EventQuery{Max: 1000})
			if err != nil || len(page.Events) != len(events) {
				t.Fatalf("%d events from watermark %d, want %d: %v", len(page.Events), w, len(events), err)
			}
			for i, e := range page.Events {
				if e.ID != events[i].ID || e.Type != events[i].Type {
					t.Errorf("event %d is %v", i, e)
				}
			}
			rows, err := s.Stats(t.Context(), store.StatsQuery{Of: store.PerAccount, From: day0, To: day0.Add(48 * time.Hour)})
			if err != nil || len(rows) != 1 || rows[0].Count != int64(len(events)) {
				t.Errorf("counts %+v, %v", rows, err)
			}
		})
	}
}

// TestFull fills a file to a limit SQLite sets: the batch fails as a whole, says that it is a matter of time, and
// succeeds when there is room.
func TestFull(t *testing.T) {
	s, err := Open(t.Context(), Options{Now: storetest.Still(), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g := storetest.NewMail(7, day0)
	first := g.Sent("acme", 1)
	if err := s.WriteEvents(t.Context(), 7, g.Seq, first); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		t.Helper()
		err := s.days.use(t.Context(), dayName(day0), false, func(d *day) error {
			_, err := d.db.writer.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(40)
	events := g.Sent("acme", 500)
	for range 2 {
		if err := s.WriteEvents(t.Context(), 7, g.Seq, events); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "full") {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	if w, err := s.Watermark(t.Context(), 7); err != nil || w != 2 {
		t.Errorf("watermark %d, %v", w, err)
	}
	limit(1 << 20)
	if err := s.WriteEvents(t.Context(), 7, g.Seq, events); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Timeline(t.Context(), events[999].Delivery); err != nil || len(list) != 2 {
		t.Errorf("timeline of %d events, %v", len(list), err)
	}
}

// TestDamage: a file that is no database, or of a newer version, stops the start and is named.
func TestDamage(t *testing.T) {
	for name, c := range map[string]struct {
		file, text, want string
	}{
		"platform": {platformFile, strings.Repeat("no database", 1000), "platform.db"},
		"day":      {recordDir + "/2026-07-01.db", strings.Repeat("no database", 1000), "2026-07-01.db"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, recordDir), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), Options{Now: storetest.Still(), Dir: dir})
			if err == nil {
				t.Fatal("opened", s.Close())
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error does not name the file: %v", err)
			}
		})
	}
	dir := t.TempDir()
	s, err := Open(t.Context(), Options{Now: storetest.Still(), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.platform.db.ExecContext(t.Context(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Now: storetest.Still(), Dir: dir}); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a file of a newer version: %v", err)
	}
}

// TestBackupWithoutDamagedDay: a day that does not open, and one that opens and cannot be read, are named and left out; the
// rest of the backup is a store.
func TestBackupWithoutDamagedDay(t *testing.T) {
	ctx, dir, copied := t.Context(), t.TempDir(), filepath.Join(t.TempDir(), "copy")
	s, err := Open(ctx, Options{Now: storetest.Still(), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	g := storetest.NewMail(7, day0)
	var byDay [3][]*mail.Event
	for i := range byDay {
		byDay[i] = g.Sent("acme", 50)
		if err := s.WriteEvents(ctx, 7, g.Seq, byDay[i]); err != nil {
			t.Fatal(err)
		}
		g.Clock = g.Clock.Add(24 * time.Hour)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := func(day int) string {
		return filepath.Join(dir, recordDir, dayName(day0.Add(time.Duration(day)*24*time.Hour))+".db")
	}
	if err := os.WriteFile(file(0), []byte(strings.Repeat("no database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	spoilTable(t, file(1), "events")

	if s, err := Open(ctx, Options{Now: storetest.Still(), Dir: dir}); err == nil {
		t.Fatal("opened for everything, with a damaged day", s.Close())
	}
	s, err = Open(ctx, Options{Now: storetest.Still(), Dir: dir, LeaveDamaged: true})
	if err != nil {
		t.Fatal(err)
	}
	damaged, err := s.Backup(ctx, copied)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range damaged {
		names = append(names, d.Name)
		if d.Err == nil {
			t.Errorf("%s is damaged, and nothing says how", d.Name)
		}
	}
	if want := []string{"record/" + filepath.Base(file(0)), "record/" + filepath.Base(file(1))}; !slices.Equal(names, want) {
		t.Errorf("damaged are %v, want %v", names, want)
	}
	r, err := Open(ctx, Options{Now: storetest.Still(), Dir: copied})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if w, err := r.Watermark(ctx, 7); err != nil || w != g.Seq {
		t.Errorf("the copy's watermark is %d, %v", w, err)
	}
	page, err := r.Events(ctx, store.EventQuery{Max: 1000})
	if err != nil || len(page.Events) != len(byDay[2]) {
		t.Errorf("the copy has %d events, want the %d of the last day; %v", len(page.Events), len(byDay[2]), err)
	}
}

// spoilTable writes rubbish over a table's first page, in a file that is not open.
func spoilTable(t *testing.T, path, table string) {
	t.Helper()
	d, err := openDatabase(t.Context(), path, "record")
	if err != nil {
		t.Fatal(err)
	}
	var root int
	err = d.row(t.Context(), "find table", "SELECT rootpage FROM sqlite_master WHERE name = $1", []any{table}, &root)
	if err := errors.Join(err, d.close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := (root - 1) * pageSize; i < root*pageSize; i++ {
		b[i] = 0xff
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
