package storetest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/postroad/postroad/internal/store"
)

// errCrash is what a step returns where the process is to die.
var errCrash = errors.New("crash")

// testCrash records the sample mail and dies at the k-th step, for every k there is; then it opens the store again and
// goes on from the watermark as the projector does. Nothing may be missing or there twice.
func testCrash(t *testing.T, open Opener) {
	for _, size := range []int{1000, 40} {
		for k := 0; ; k += stride() {
			dir := t.TempDir()
			steps := 0
			s := open(t, dir, Options{Step: func(string) error {
				if steps++; steps > k {
					return errCrash // and everything after it: nothing runs in a dead process
				}
				return nil
			}})
			err := record(t, s, size)
			if err != nil && !errors.Is(err, errCrash) {
				t.Fatalf("step %d: %v", k, err)
			}
			must(t, s.Close())
			crashed := err != nil

			s = open(t, dir, Options{})
			// Not all that was recorded is above the watermark, and batches need not be the same again.
			if err := record(t, s, size+3); err != nil {
				t.Fatalf("after a crash at step %d: %v", k, err)
			}
			checkSample(t, s)
			must(t, s.Close())
			if t.Failed() {
				t.Fatalf("crash at step %d, batches of %d", k, size)
			}
			if !crashed {
				break
			}
		}
	}
}

// record writes what the sample mail has above the watermark, in batches.
func record(t *testing.T, s store.Store, size int) error {
	t.Helper()
	watermark, err := s.Watermark(t.Context(), spool)
	must(t, err)
	events := sampleMail()
	for len(events) > 0 && events[0].ID.Seq <= watermark {
		events = events[1:]
	}
	for len(events) > 0 {
		batch := events[:min(size, len(events))]
		events = events[len(batch):]
		if err := s.WriteEvents(t.Context(), spool, batch[len(batch)-1].ID.Seq, batch); err != nil {
			return err
		}
	}
	return nil
}

// testBackup copies while events come in, and goes on from the copy.
func testBackup(t *testing.T, open Opener) {
	ctx, dir, copied := t.Context(), t.TempDir(), filepath.Join(t.TempDir(), "copy")
	events := sampleMail()
	third := len(events) / 3
	var s store.Store
	s = open(t, dir, Options{Step: func(name string) error {
		if name == "in backup" { // between the platform's state and the record
			put(t, s, events[third:2*third]...)
		}
		return nil
	}})
	state := sampleState()
	_, err := s.ApplyState(ctx, store.Update{Changes: changes(state), Actor: "admin/ada", At: Day0})
	must(t, err)
	put(t, s, events[:third]...)
	must(t, s.WriteWebhooks(ctx, []store.WebhookPosition{position("whk_1", 3)}, nil, nil))
	damaged, err := s.Backup(ctx, copied)
	must(t, err)
	if len(damaged) > 0 {
		t.Errorf("damaged: %v", damaged)
	}
	if _, err := s.Backup(ctx, copied); err == nil {
		t.Error("a backup into a folder with a backup in it was made")
	}
	put(t, s, events[2*third:]...)
	checkSample(t, s)
	must(t, s.Close())

	restored := t.TempDir()
	must(t, os.CopyFS(restored, os.DirFS(copied)))
	s = open(t, restored, Options{})
	defer s.Close()
	w, err := s.Watermark(ctx, spool)
	must(t, err)
	if w != events[third-1].ID.Seq {
		t.Errorf("the copy's watermark is %d, want %d: that of its beginning", w, events[third-1].ID.Seq)
	}
	got, _, err := s.LoadState(ctx)
	must(t, err)
	if len(got.Accounts) != len(state.Accounts) || got.Accounts[0].Credentials[0].Hash != sampleHash {
		t.Errorf("the copy's state: %+v", got)
	}
	if positions, err := s.WebhookPositions(ctx); err != nil || len(positions) != 1 || positions[0].At[7] != 3 {
		t.Errorf("the copy's webhooks stand at %+v, %v", positions, err)
	}
	if err := record(t, s, 1000); err != nil {
		t.Fatal(err)
	}
	checkSample(t, s)
}
