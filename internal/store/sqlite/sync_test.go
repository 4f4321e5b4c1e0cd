package sqlite

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// TestSynced: every connection of every kind of file writes ahead and syncs before a commit counts (synchronous=FULL is 2), also one
// whose writer has rested.
func TestSynced(t *testing.T) {
	for _, set := range []string{"platform", "webhook", "record", "archive"} {
		d, err := openDatabase(t.Context(), filepath.Join(t.TempDir(), set+".db"), set)
		if err != nil {
			t.Fatal(err)
		}
		defer d.close()
		for round := range 2 {
			var sync int
			var journal string
			err := d.write(t.Context(), "ask", func(tx *tx) error {
				if err := tx.row("PRAGMA synchronous", nil, &sync); err != nil {
					return err
				}
				return tx.row("PRAGMA journal_mode", nil, &journal)
			})
			if err != nil || sync != 2 || journal != "wal" {
				t.Errorf("%s, round %d: synchronous %d, journal %s, %v", set, round, sync, journal, err)
			}
			if err := d.rest(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestWaitFor: a reader waits for what it wrote as long as store.MaxWait, and not a moment longer once it is there.
func TestWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const spool mail.SpoolID = 7
		s := &Store{}
		s.progress.init()
		wait := func(seq, want uint64, long time.Duration) {
			t.Helper()
			begun := time.Now()
			got, err := s.WaitFor(t.Context(), spool, seq)
			if took := time.Since(begun); err != nil || got != want || took != long {
				t.Errorf("%d after %s, %v; want %d after %s", got, took, err, want, long)
			}
		}
		wait(1, 0, store.MaxWait)
		for _, at := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond} {
			time.AfterFunc(at, func() { s.progress.publish(spool, uint64(at/(100*time.Millisecond))) })
		}
		wait(2, 2, 200*time.Millisecond)
		wait(2, 2, 0)
	})
}
