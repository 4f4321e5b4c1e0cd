package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// filledSpool makes a spool with n messages of two recipients, an eighth of them with a content file, and closes it.
// flush: the records are in tables, not in the log.
func filledSpool(t *testing.T, n int, flush bool) (vfs.FS, []*Acceptance) {
	t.Helper()
	fs := vfs.NewMem()
	o := testOptions(fs)
	o.MemTable = 16 << 20
	s := mustOpen(t, o)
	var all []*Acceptance
	for i := range n {
		body := bytes.Repeat([]byte(fmt.Sprintf("line %d of this message\r\n", i)), 60)
		a := newAcceptance("acme", fmt.Sprintf("d%d.example", i%5), 2, body)
		if i%8 == 0 {
			if _, err := writeContent(s, a.Message.ID, body); err != nil {
				t.Fatal(err)
			}
			a.Body, a.Message.Content.External = nil, true
		}
		mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
		all = append(all, a)
		if flush && i == n/2 {
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if flush {
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, all
}

func readFile(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// spoil overwrites n octets of a file at part (0 to 1) of its length.
func spoil(t *testing.T, fs vfs.FS, path string, part float64, n int) {
	t.Helper()
	data := readFile(t, fs, path)
	at := int(float64(len(data)) * part)
	for i := at; i < at+n && i < len(data); i++ {
		data[i] ^= 0x5a
	}
	if err := writeFile(fs, path, data); err != nil {
		t.Fatal(err)
	}
}

// largest returns the largest file of the database with a suffix.
func largest(t *testing.T, fs vfs.FS, suffix string) string {
	t.Helper()
	names, err := fs.List("/spool/db")
	if err != nil {
		t.Fatal(err)
	}
	var best string
	var size int64 = -1
	for _, name := range names {
		if !strings.HasSuffix(name, suffix) && !strings.HasPrefix(name, suffix) {
			continue
		}
		info, err := fs.Stat("/spool/db/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > size {
			best, size = "/spool/db/"+name, info.Size()
		}
	}
	if best == "" {
		t.Fatalf("no %s file", suffix)
	}
	return best
}

// TestDamagedFiles: Open refuses a damaged log or table and names the file; Salvage gets nearly everything out.
func TestDamagedFiles(t *testing.T) {
	for _, tc := range []struct {
		name   string
		suffix string
		flush  bool
		part   float64
		octets int
		least  int // deliveries salvaged, in percent
	}{
		{"log", ".log", false, 0.5, 20, 75},
		{"log in several blocks", ".log", false, 0.3, 40 << 10, 50},
		// Above the middle of a table lie the schedule and the outbox: the content is in the lower part.
		{"table", ".sst", true, 0.85, 20, 62},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := 400
			if testing.Short() && !tc.flush { // a table of fewer has its damage elsewhere
				n = 200
			}
			fs, all := filledSpool(t, n, tc.flush)
			path := largest(t, fs, tc.suffix)
			spoil(t, fs, path, tc.part, tc.octets)

			_, err := Open(t.Context(), testOptions(fs))
			var damage *DamageError
			if !errors.As(err, &damage) {
				t.Fatalf("Open: %v", err)
			}
			if damage.File == "" || !strings.HasSuffix(path, fs.PathBase(damage.File)) {
				t.Errorf("the error names %q, damaged is %s", damage.File, path)
			}

			rep, err := Salvage(t.Context(), "/spool", "/saved", SalvageOptions{FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			if len(rep.Problems) == 0 {
				t.Error("the report names nothing")
			}
			t.Logf("%+v; first of %d problems: %.200s", rep.Counts, len(rep.Problems), rep.Problems[0])
			if rep.Counts.Deliveries < int64(2*n*tc.least/100) {
				t.Errorf("%d deliveries salvaged of %d", rep.Counts.Deliveries, 2*n)
			}
			o := testOptions(fs)
			o.Dir = "/saved"
			s := openTest(t, o)
			got := s.Counts()
			got.Outbox = rep.Counts.Outbox
			if got != rep.Counts {
				t.Errorf("the new spool holds %+v", s.Counts())
			}
			r, err := s.check(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range r.Problems {
				if !strings.Contains(p, "outbox") && !strings.Contains(p, "Outbox") { // events may be missing
					t.Error(p)
				}
			}
			bodies := 0
			for _, a := range all {
				if b, err := s.Body(t.Context(), a.Message.ID); err == nil {
					if data := readBody(t, b); int64(len(data)) != a.Message.Size || a.Body != nil && !bytes.Equal(data, a.Body) {
						t.Errorf("the content of %s changed", a.Message.ID)
					}
					bodies++
				}
			}
			if int64(bodies) != rep.Counts.Messages {
				t.Errorf("%d bodies for %d messages", bodies, rep.Counts.Messages)
			}
			mustCommit(t, s, &Batch{Accept: []*Acceptance{newAcceptance("acme", "new.example", 1, []byte("x"))}})
		})
	}
}

func TestSalvageOfASoundSpool(t *testing.T) {
	fs, _ := filledSpool(t, 50, true)
	s := mustOpen(t, testOptions(fs))
	a := newAcceptance("acme", "example.net", 3, []byte("staged"))
	if err := s.Stage(t.Context(), a.Message.ID, a.Deliveries[:2], a.Events[:2]); err != nil {
		t.Fatal(err)
	}
	a.Deliveries, a.Events, a.Staged = a.Deliveries[2:], a.Events[2:], 2
	m := mark(a.Deliveries[0])
	mustCommit(t, s, &Batch{Accept: []*Acceptance{a}, Lanes: []LaneRecord{{Key: "lane"}}})
	mustCommit(t, s, &Batch{Mark: []MarkChange{m}})
	if _, err := s.PutInbox(t.Context(), InboxEntry{Kind: "dsn", Raw: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	want, id := s.Counts(), s.ID()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rep, err := Salvage(t.Context(), "/spool", "/saved", SalvageOptions{FS: fs})
	if err != nil || len(rep.Problems) > 0 || rep.Counts != want {
		t.Fatalf("%+v, %v; want %+v", rep, err, want)
	}
	rep, err = Check(t.Context(), "/saved", fs)
	if err != nil || len(rep.Problems) > 0 || rep.Counts != want {
		t.Fatalf("%+v, %v; want %+v", rep, err, want)
	}
	o := testOptions(fs)
	o.Dir = "/saved"
	if s = openTest(t, o); s.ID() != id {
		t.Error("the id changed")
	}
	if _, err := Salvage(t.Context(), "/spool", "/saved", SalvageOptions{FS: fs}); err == nil {
		t.Error("a spool was overwritten")
	}
}

// TestDamagedRecord: a record that cannot be decoded is set aside, visibly; the rest goes on.
func TestDamagedRecord(t *testing.T) {
	fs := vfs.NewMem()
	s := openTest(t, testOptions(fs))
	b := &Batch{Lanes: []LaneRecord{{Key: "lane"}}}
	for range 3 {
		b.Accept = append(b.Accept, newAcceptance("acme", "example.net", 1, []byte("x")))
	}
	mustCommit(t, s, b)
	bad := b.Accept[1].Deliveries[0]
	key := appendSchedule(nil, appendQueue(nil, bad.Queue), dueMicros(bad.Due), bad.ID)
	for _, k := range [][]byte{key, seqKey(nil, tabOutbox, 2), append([]byte{tabLane}, "lane"...)} {
		if err := s.db.Set(k, []byte{recordVersion, 0, 0xff}, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	ds, _, _, err := s.Page(t.Context(), bad.Queue, ScheduleKey{}, testTime, 10)
	if err != nil || len(ds) != 2 {
		t.Fatalf("page of %d, %v", len(ds), err)
	}
	events, err := s.ReadOutbox(t.Context(), 0, 10)
	if err != nil || len(events) != 2 || events[1].ID.Seq != 3 {
		t.Fatalf("outbox of %d, %v", len(events), err)
	}
	if lanes, err := s.Lanes(t.Context()); err != nil || len(lanes) != 0 {
		t.Fatalf("lanes: %v, %v", lanes, err)
	}
	s.helper.flush()
	if c := s.Counts(); c.Quarantined != 3 || c.Deliveries != 3 {
		t.Errorf("counts %+v", c)
	}
	if files, err := fs.List("/spool/quarantine"); err != nil || len(files) != 3 {
		t.Errorf("files %v, %v", files, err)
	}
	if _, err := s.Delivery(t.Context(), bad.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the damaged delivery: %v", err)
	}
	// The others are none the worse.
	mustCommit(t, s, &Batch{Settle: []Settlement{settled(ds[0]), settled(ds[1])}})
	if c := s.Counts(); c.Deliveries != 1 || c.Messages != 1 {
		t.Errorf("counts %+v", c)
	}
	// Nor is the damaged one lost to whoever has it in memory.
	m := mark(bad)
	mustCommit(t, s, &Batch{Mark: []MarkChange{m}})
	mustCommit(t, s, &Batch{Settle: []Settlement{settled(m.Marked())}})
	if c := s.Counts(); c.Deliveries != 0 || c.Messages != 0 || c.InFlight != 0 {
		t.Errorf("counts %+v", c)
	}
	r, err := s.check(t.Context())
	if err != nil || len(r.Problems) != 5 { // three in quarantine, the gap in the outbox, the count of it
		t.Errorf("check says %q, %v", r.Problems, err)
	}
}

func TestDamagedContentFile(t *testing.T) {
	fs, all := filledSpool(t, 1, false)
	path := "/spool/content/" + all[0].Message.ID.String() + contentSuffix
	spoil(t, fs, path, 0.5, 3)
	s := openTest(t, testOptions(fs))
	b, err := s.Body(t.Context(), all[0].Message.ID)
	if err != nil {
		t.Fatal(err)
	}
	var damage *DamageError
	if _, err := readAll(b); !errors.As(err, &damage) || damage.File != path {
		t.Errorf("reading it: %v", err)
	}
	if err := fs.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Body(t.Context(), all[0].Message.ID); !errors.As(err, &damage) {
		t.Errorf("without the file: %v", err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs)
	openTest(t, o)
	_, err := Open(t.Context(), o)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "/spool is in use by process ") {
		t.Errorf("Open: %v", err)
	}
	if _, err := Check(t.Context(), "/spool", fs); !errors.Is(err, ErrLocked) {
		t.Errorf("Check: %v", err)
	}
	if _, err := Salvage(t.Context(), "/spool", "/saved", SalvageOptions{FS: fs}); !errors.Is(err, ErrLocked) {
		t.Errorf("Salvage: %v", err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, testOptions(fs))
	if err := s.db.Set(keyFormat, []byte{0, 0, 0, 2}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), testOptions(fs)); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("Open: %v", err)
	}
}

// TestNewestTime: the newest time the spool has seen survives, so that a clock that jumped can be told.
func TestNewestTime(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs)
	now := testTime
	o.Now = func() time.Time { return now }
	s := mustOpen(t, o)
	if !s.NewestAtOpen().IsZero() {
		t.Error("a new spool knows a time")
	}
	now = testTime.Add(time.Hour)
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	now = testTime // back
	mustCommit(t, s, &Batch{Events: []*mail.Event{{Type: mail.EventOpened}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = openTest(t, o); !s.NewestAtOpen().Equal(testTime.Add(time.Hour)) {
		t.Errorf("newest %v", s.NewestAtOpen())
	}
}
