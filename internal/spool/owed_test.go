package spool

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
)

// owedIDs are all messages whose content is owed.
func owedIDs(t *testing.T, s *Spool) []mail.MessageID {
	t.Helper()
	ids, err := s.Owed(t.Context(), mail.MessageID{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func sound(t *testing.T, s *Spool) {
	t.Helper()
	s.helper.flush()
	r, err := s.check(t.Context())
	if err != nil || len(r.Problems) > 0 {
		t.Fatalf("audit: %q, %v", r.Problems, err)
	}
}

// TestOwed: content that must be archived outlives the last delivery, also over a restart and a salvage, and goes when
// both the deliveries and the archive are done with it, in whatever order; once, and with everything of it.
func TestOwed(t *testing.T) {
	body := bytes.Repeat([]byte("content "), 1000)
	for name, n := range map[string]int{"one recipient": 1, "three": 3, "staged": 5} {
		for _, external := range []bool{false, true} {
			for _, archivedFirst := range []bool{false, true} {
				t.Run(name+map[bool]string{true: " in a file"}[external]+map[bool]string{true: ", archived first"}[archivedFirst], func(t *testing.T) {
					fs := vfs.NewMem()
					s := mustOpen(t, testOptions(fs))
					a := newAcceptance("acme", "example.net", n, body)
					a.Archive = true
					ds, id := a.Deliveries, a.Message.ID
					if external {
						if _, err := writeContent(s, id, body); err != nil {
							t.Fatal(err)
						}
						a.Body, a.Message.Content.External = nil, true
					}
					if name == "staged" {
						if err := s.Stage(t.Context(), id, ds[:3], a.Events[:3]); err != nil {
							t.Fatal(err)
						}
						a.Deliveries, a.Events, a.Staged = ds[3:], a.Events[3:], 3
					}
					mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
					select {
					case <-s.NotifyOwed():
					default:
						t.Error("nobody was told")
					}
					if got := owedIDs(t, s); !slices.Equal(got, []mail.MessageID{id}) {
						t.Fatalf("owed: %v", got)
					}
					if archivedFirst {
						mustCommit(t, s, &Batch{Archived: []mail.MessageID{id}})
						sound(t, s)
					}
					for _, d := range ds {
						mustCommit(t, s, &Batch{Settle: []Settlement{settled(d)}})
					}
					sound(t, s)
					if !archivedFirst {
						if err := s.Close(); err != nil {
							t.Fatal(err)
						}
						if r, err := Salvage(t.Context(), "/spool", "/saved", SalvageOptions{FS: fs}); err != nil || len(r.Problems) > 0 {
							t.Fatalf("salvage: %q, %v", r.Problems, err)
						}
						o := testOptions(fs)
						o.Dir = "/saved"
						s = openTest(t, o)
						sound(t, s)
						if got := owedIDs(t, s); !slices.Equal(got, []mail.MessageID{id}) {
							t.Fatalf("owed after a salvage: %v", got)
						}
						b, err := s.Body(t.Context(), id)
						if err != nil {
							t.Fatal(err)
						}
						if got, err := readAll(b); err != nil || !bytes.Equal(got, body) {
							t.Fatalf("content: %d octets, %v", len(got), err)
						}
						if _, err := s.Message(t.Context(), id); err != nil {
							t.Fatal(err)
						}
						if left, err := s.Deliveries(t.Context(), id, mail.DeliveryID{}, 10); err != nil || len(left) > 0 {
							t.Fatalf("deliveries that are over: %v, %v", left, err)
						}
						if c := s.Counts(); c.Deliveries != 0 || c.Messages != 1 {
							t.Errorf("%+v", c)
						}
						mustCommit(t, s, &Batch{Archived: []mail.MessageID{id}})
						mustCommit(t, s, &Batch{Archived: []mail.MessageID{id}}) // a second time: nothing
					}
					sound(t, s)
					if _, err := s.Message(t.Context(), id); !errors.Is(err, ErrNotFound) {
						t.Errorf("message: %v", err)
					}
					if _, err := s.Body(t.Context(), id); !errors.Is(err, ErrNotFound) {
						t.Errorf("content: %v", err)
					}
					if got, c := owedIDs(t, s), s.Counts(); len(got) > 0 || c.Messages != 0 {
						t.Errorf("owed %v, %+v", got, c)
					}
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	}
}

// TestOwedInOneFrame: the last settlement and the release may meet in one frame.
func TestOwedInOneFrame(t *testing.T) {
	for name, settleFirst := range map[string]bool{"settled first": true, "archived first": false} {
		s := openTest(t, testOptions(nil))
		a := newAcceptance("acme", "example.net", 1, []byte("content"))
		a.Archive = true
		mustCommit(t, s, &Batch{Accept: []*Acceptance{a}})
		settle, release := &Batch{Settle: []Settlement{settled(a.Deliveries[0])}}, &Batch{Archived: []mail.MessageID{a.Message.ID}}
		if !settleFirst {
			settle, release = release, settle
		}
		// The committer is kept busy, so that both wait and go into one frame.
		hold := make(chan struct{})
		busy := s.enqueue(&item{job: func(*frame) error { <-hold; return nil }})
		first, second := s.Enqueue(settle), s.Enqueue(release)
		close(hold)
		for _, x := range []*Ticket{busy, first, second} {
			if err := x.Wait(context.Background()); err != nil {
				t.Fatal(name, err)
			}
		}
		if first.group != second.group {
			t.Fatalf("%s: they were in two frames", name)
		}
		sound(t, s)
		if c := s.Counts(); c.Messages != 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
