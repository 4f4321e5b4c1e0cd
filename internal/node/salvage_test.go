package node

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/postroad/postroad/internal/projector"
	"github.com/postroad/postroad/internal/spool"
)

// An older copy of the spool is refused before anything is committed to it, and salvage makes one of it that the record goes on
// with: no number is given to two events.
func TestOlderSpool(t *testing.T) {
	c := testConfig(t, nil)
	r := start(t, c, testAccounts) // no way out: the mail waits
	first := r.send("first@mailbox.test")
	r.stop()
	dir, older := filepath.Join(c.Data, SpoolDir), filepath.Join(t.TempDir(), "older")
	if err := copyTree(dir, older); err != nil {
		t.Fatal(err)
	}
	r = start(t, c, "")
	lost := r.send("lost@mailbox.test")
	r.stop()

	if err := os.Rename(dir, dir+".newer"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(older, dir); err != nil {
		t.Fatal(err)
	}
	var ahead *projector.AheadError
	if _, err := Open(t.Context(), Options{Config: c}); !errors.As(err, &ahead) {
		t.Fatalf("an older spool: %v", err)
	}
	if rep, err := spool.Check(t.Context(), dir, nil); err != nil || rep.Counts.Deliveries != 1 || uint64(rep.Counts.Outbox) != ahead.Newest {
		t.Errorf("after that it holds %+v (%v)", rep.Counts, err)
	}

	to := filepath.Join(t.TempDir(), "salvaged")
	rep, err := Salvage(t.Context(), c.Data, to)
	if err != nil || rep.Counts.Deliveries != 1 || len(rep.Problems) != 1 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to, dir); err != nil {
		t.Fatal(err)
	}
	r = start(t, c, "")
	next := r.send("next@mailbox.test")
	for _, id := range []string{first, lost, next} {
		r.await("/v1/messages/"+id+"/events", func(b []byte) bool { return bytes.Contains(b, []byte(`"accepted"`)) })
	}
	if status, b := r.request(testAdmin, http.MethodGet, "/v1/messages/"+first, ""); status != 200 || !bytes.Contains(b, []byte(`"queued"`)) {
		t.Errorf("what was salvaged: %d %s", status, b)
	}
	r.stop()
}

// A record that is older than the outbox reaches is refused before anything is committed, with the range that is missing; told to
// accept that, the platform goes on behind it.
func TestOlderRecord(t *testing.T) {
	c := testConfig(t, nil)
	start(t, c, testAccounts).stop()
	backup := filepath.Join(t.TempDir(), "backup")
	if _, err := Backup(t.Context(), c, backup, BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	r := start(t, c, "")
	lost := r.send("lost@mailbox.test")
	r.stop()
	s, err := spool.Open(t.Context(), spool.Options{Dir: filepath.Join(c.Data, SpoolDir), MinFree: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	_, newest := s.OutboxRange()
	if err := errors.Join(s.TrimOutbox(t.Context(), newest), s.Close()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(c.Data, StoreDir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := copyTree(filepath.Join(backup, StoreDir), dir); err != nil {
		t.Fatal(err)
	}

	var gap *projector.GapError
	if _, err := Open(t.Context(), Options{Config: c}); !errors.As(err, &gap) || gap.From != 1 || gap.To != newest {
		t.Fatalf("an older record: %v; want that events 1 to %d are missing", err, newest)
	}
	r = startWith(t, Options{Config: c, RecordGap: true}, "")
	next := r.send("next@mailbox.test")
	r.await("/v1/messages/"+next+"/events", func(b []byte) bool { return bytes.Contains(b, []byte(`"accepted"`)) })
	if status, b := r.request(testAdmin, http.MethodGet, "/v1/messages/"+lost, ""); status != 200 || !bytes.Contains(b, []byte(`"queued"`)) {
		t.Errorf("a message that waits, and that the record lacks: %d %s", status, b)
	}
	r.stop()
}
