package projector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
)

// lines reads all event files, in order of their names, and returns the sequences of their lines.
func lines(t *testing.T, dir string) (list []uint64, files []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "events-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			var e mail.Event
			if err := json.Unmarshal(line, &e); err != nil || !bytes.HasSuffix(line, []byte("\n")) {
				t.Fatalf("%s: %q: %v", name, line, err)
			}
			list = append(list, e.ID.Seq)
		}
	}
	return list, files
}

func TestFilesRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "events")
		o, r := newOutbox(), &recorder{t: t}
		opts := Options{Outbox: o, Store: r, Files: &FileOptions{Dir: dir, MaxSize: 2000, MaxFiles: 5}}
		p, stop := start(t, opts)
		o.commit(40)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		got, files := lines(t, dir)
		if diff := cmp.Diff(upTo(1, 40), got); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
		if len(files) < 3 {
			t.Errorf("files %v: none is to be larger than its last line beyond 2000 octets", files)
		}
		for _, name := range files {
			if info, err := os.Stat(name); err != nil || info.Size() > 2300 {
				t.Errorf("%s: %d octets, %v", name, info.Size(), err)
			}
		}
		if s := p.Status(); s.FilePos != 40 || s.FileErr != nil {
			t.Errorf("status %+v", s)
		}
		time.Sleep(24 * time.Hour)
		o.commit(1)
		time.Sleep(2 * time.Second)
		o.commit(1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		got, files = lines(t, dir)
		if got[len(got)-1] != 42 || len(files) > 5 || !strings.HasSuffix(files[len(files)-1], "20000102-0001.jsonl") {
			t.Errorf("the next day: %v, the last line has event %d", files, got[len(got)-1])
		}
		stop()

		// The same files go on where they are.
		_, stop = start(t, opts)
		o.commit(1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if again, _ := lines(t, dir); again[len(again)-1] != 43 || again[len(again)-2] != 42 {
			t.Errorf("after a restart: %v", again)
		}
		stop()
	})
}

// TestFilesCrash cuts the last file, as a loss of power may, and starts again.
func TestFilesCrash(t *testing.T) {
	o := newOutbox()
	o.commit(4)
	whole := filepath.Join(t.TempDir(), "events")
	run := func(t *testing.T, dir string) {
		synctest.Test(t, func(t *testing.T) {
			_, stop := start(t, Options{Outbox: o, Store: &recorder{t: t}, Files: &FileOptions{Dir: dir}})
			synctest.Wait()
			stop()
		})
	}
	run(t, whole)
	_, files := lines(t, whole)
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	o.commit(1)
	for cut := range len(content) + 1 {
		// Every place near the end of a line, and some between.
		if near := content[max(0, cut-2):min(len(content), cut+2)]; cut%17 != 0 && !bytes.Contains(near, []byte("\n")) {
			continue
		}
		for _, junk := range []string{"", "\x00\x00\x00\n\x00", "{}\n"} {
			dir := filepath.Join(t.TempDir(), "events")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(files[0])), append(bytes.Clone(content[:cut]), junk...), 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, dir)
			got, _ := lines(t, dir)
			if diff := cmp.Diff(upTo(1, 5), got); diff != "" {
				t.Fatalf("cut at %d, then %q (-want +got):\n%s", cut, junk, diff)
			}
		}
	}
}

// TestFilesFail: files that cannot be written hold back the trimming of the outbox, not the record.
func TestFilesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "events")
		if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the folder should be
			t.Fatal(err)
		}
		o, r := newOutbox(), &recorder{t: t}
		p, stop := start(t, Options{Outbox: o, Store: r, Files: &FileOptions{Dir: dir}})
		o.commit(20000)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if s := p.Status(); s.FileErr == nil || s.Watermark != 20000 || len(o.trimmed()) != 0 {
			t.Errorf("status %+v, trims %v", s, o.trimmed())
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		got, _ := lines(t, dir)
		if len(got) != 20000 || got[0] != 1 || got[19999] != 20000 {
			t.Errorf("%d lines once it could be written", len(got))
		}
		if s := p.Status(); s.FileErr != nil || s.FilePos != 20000 || !slices.Equal(o.trimmed(), []uint64{20000}) {
			t.Errorf("status %+v, trims %v", s, o.trimmed())
		}
		stop()
	})
}

func TestLastEvent(t *testing.T) {
	line := func(seq uint64) string {
		return fmt.Sprintf("{\"id\":%q}\n", mail.EventID{Spool: 7, Seq: seq})
	}
	for name, c := range map[string]struct {
		text  string
		whole bool
		seq   uint64
		end   int
	}{
		"nothing":           {"", true, 0, 0},
		"half a line":       {`{"id":"evt_`, true, 0, 0},
		"a line":            {line(1), true, 1, len(line(1))},
		"and a half":        {line(1) + `{"id"`, true, 1, len(line(1))},
		"and junk":          {line(1) + "junk\n\n\n", true, 1, len(line(1))},
		"window of a line":  {line(1), false, 0, 0},
		"window of a tail":  {"tail\"}\n" + line(2), false, 2, len("tail\"}\n") + len(line(2))},
		"no event":          {"{}\n", true, 0, 0},
		"the last of three": {line(1) + line(2) + line(3), true, 3, 3 * len(line(1))},
	} {
		seq, end, ok := lastEvent([]byte(c.text), c.whole)
		if seq != c.seq || end != c.end || ok != (c.seq > 0) {
			t.Errorf("%s: event %d up to %d (%v), want %d up to %d", name, seq, end, ok, c.seq, c.end)
		}
	}
}

func FuzzLastEvent(f *testing.F) {
	f.Add([]byte("{\"id\":\"evt_0000003g00000000000g\"}\n{"), true)
	f.Add([]byte("\n\n\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, whole bool) {
		seq, end, ok := lastEvent(b, whole)
		if ok != (seq > 0) || ok && (end < 1 || end > len(b) || b[end-1] != '\n') {
			t.Errorf("event %d up to %d of %d (%v)", seq, end, len(b), ok)
		}
	})
}

func TestLastLineLong(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	e := &mail.Event{ID: mail.EventID{Spool: 7, Seq: 9}, Reason: strings.Repeat("x", 3*tailWindow)}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(b, "\n{half"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if seq, end, err := lastLine(name); err != nil || seq != 9 || end != int64(len(b)+1) {
		t.Errorf("event %d up to %d, %v", seq, end, err)
	}
	if _, _, err := lastLine(name + "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
