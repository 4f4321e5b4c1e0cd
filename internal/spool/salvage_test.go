package spool

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool/spooltest"
)

// TestSalvageBehindTheRecord: what a log has lost may be in the record. Events of the salvaged spool get numbers the record has not
// seen: under others it would take them for known.
func TestSalvageBehindTheRecord(t *testing.T) {
	for _, tt := range []struct {
		name string
		part float64 // of the log that is left
	}{{"half a log", 0.5}, {"no log", 0}} {
		t.Run(tt.name, func(t *testing.T) {
			fs, _ := filledSpool(t, 20, false)
			s := mustOpen(t, testOptions(fs))
			mustCommit(t, s, &Batch{Events: []*mail.Event{{Type: mail.EventOpened}}})
			id := s.ID()
			_, newest := s.OutboxRange()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			names, err := fs.List("/spool/db")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names { // cut where a power loss might: that is no damage
				if path := "/spool/db/" + name; strings.HasSuffix(name, ".log") {
					data := readFile(t, fs, path)
					if err := writeFile(fs, path, data[:int(float64(len(data))*tt.part)]); err != nil {
						t.Fatal(err)
					}
				}
			}
			rep, err := Salvage(t.Context(), "/spool", "/saved", SalvageOptions{FS: fs, Recorded: map[mail.SpoolID]uint64{id: newest, id + 1: newest + 100}})
			if err != nil || len(rep.Problems) == 0 {
				t.Fatalf("%+v, %v", rep, err)
			}
			o := testOptions(fs)
			o.Dir = "/saved"
			s = openTest(t, o)
			b := &Batch{Events: []*mail.Event{{Type: mail.EventOpened}}}
			mustCommit(t, s, b)
			if got, want := b.Events[0].ID, (mail.EventID{Spool: id, Seq: newest + 1}); got != want {
				t.Errorf("the next event is %v, want %v", got, want)
			}
			if list, err := s.ReadOutbox(t.Context(), newest, 10); err != nil || len(list) != 1 {
				t.Errorf("%d events are new to the record (%v)", len(list), err)
			}
			if c := s.Counts(); c.Deliveries == 0 && c.Outbox != 1 {
				t.Errorf("counts %+v", c)
			}
		})
	}
}

// TestSalvageWithoutIdentity: a spool whose id is lost gets it back, and Check says that it is lost.
func TestSalvageWithoutIdentity(t *testing.T) {
	fs, _ := filledSpool(t, 10, false)
	s := mustOpen(t, testOptions(fs))
	want, id := s.Counts(), s.ID()
	for _, key := range [][]byte{keyID, keyFormat} {
		if err := s.db.Delete(key, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if rep, err := Check(t.Context(), "/spool", fs); err != nil || len(rep.Problems) != 2 {
		t.Errorf("Check: %+v, %v", rep, err)
	}
	rep, err := Salvage(t.Context(), "/spool", "/saved", SalvageOptions{FS: fs})
	if err != nil || len(rep.Problems) != 1 || rep.Counts != want {
		t.Fatalf("%+v, %v; want %+v", rep, err, want)
	}
	o := testOptions(fs)
	o.Dir = "/saved"
	if s := openTest(t, o); s.ID() != id {
		t.Errorf("the id is %v, not %v", s.ID(), id)
	}
}

// TestSalvageInterrupted: whenever the power fails, the new folder holds no spool or the whole one, and a second run makes it.
func TestSalvageInterrupted(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		n := 12
		if damaged { // a log must be long for its damage to be no torn end
			n = 200
		}
		mem, _ := filledSpool(t, n, !damaged)
		if damaged {
			spoil(t, mem, largest(t, mem, ".log"), 0.5, 20) // so that a patched copy of the source is made
		}
		fs := spooltest.NewCrashFS()
		if ok, err := vfs.Clone(mem, fs, "/spool", "/spool", vfs.CloneSync); err != nil || !ok {
			t.Fatal(ok, err)
		}
		for _, dir := range []string{"/", "/spool", "/spool/db", "/spool/content"} {
			if err := syncPath(fs, dir); err != nil {
				t.Fatal(err)
			}
		}
		var crashes []*spooltest.CrashFS
		var mu sync.Mutex
		watched := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				mu.Lock()
				defer mu.Unlock()
				crashes = append(crashes, fs.CrashClone(vfs.CrashCloneCfg{}))
			}
			return nil
		}))
		want, err := Salvage(t.Context(), "/spool", "/saved", SalvageOptions{FS: watched})
		if err != nil || damaged == (len(want.Problems) == 0) {
			t.Fatalf("%+v, %v", want, err)
		}
		whole, seen := 0, 0
		crashes = append(crashes, fs.CrashClone(vfs.CrashCloneCfg{}))
		for i, crash := range crashes {
			if testing.Short() && i%(len(crashes)/3) != 0 && i < len(crashes)-2 {
				continue
			}
			seen++
			if err := isSpool(crash, "/saved"); err == nil {
				whole++
			} else if rep, err := Salvage(t.Context(), "/spool", "/saved", SalvageOptions{FS: crash}); err != nil || rep.Counts != want.Counts {
				t.Fatalf("again after a crash before write %d: %+v, %v; want %+v", i, rep, err, want)
			}
			o := testOptions(crash)
			o.Dir = "/saved"
			s := mustOpen(t, o)
			if got := s.Counts(); got.Deliveries != want.Counts.Deliveries || got.Messages != want.Counts.Messages {
				t.Fatalf("after a crash before write %d: %+v, want %+v", i, got, want.Counts)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if whole == 0 || whole == seen {
			t.Errorf("damaged %v: the spool was whole after %d of %d crashes", damaged, whole, seen)
		}
	}
}

// TestSalvageToAFullDisk: it ends with an error, and what it left is no spool. Pebble never ends after that, so it has a process
// of its own.
func TestSalvageToAFullDisk(t *testing.T) {
	const child = "POSTROAD_TEST_FULL_DISK"
	if os.Getenv(child) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSalvageToAFullDisk$")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	mem, _ := filledSpool(t, 20, true)
	for _, room := range []int64{0, 1, 2, 4} { // writes
		to := fmt.Sprint("/saved", room)
		var writes atomic.Int64
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileWrite && strings.HasPrefix(op.Path, to) && writes.Add(1) > room {
				return syscall.ENOSPC
			}
			return nil
		}))
		_, err := Salvage(t.Context(), "/spool", to, SalvageOptions{FS: fs})
		if err == nil || !strings.Contains(err.Error(), "no space") {
			t.Errorf("room for %d writes: %v", room, err)
		}
		if err := isSpool(mem, to); err == nil {
			t.Errorf("room for %d writes: there is a spool", room)
		}
	}
	if _, err := Salvage(t.Context(), "/spool", "/saved", SalvageOptions{FS: mem}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if t.Failed() {
		os.Exit(1)
	}
	os.Exit(0)
}
