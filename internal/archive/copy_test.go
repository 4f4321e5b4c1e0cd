package archive

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

var large = bytes.Repeat([]byte("a line of text\r\n"), 200_000) // over three megabytes

// TestCopied: what an account archives is there after its delivery, whichever came first, with all its recipients; what it
// does not archive is not.
func TestCopied(t *testing.T) {
	b := newBed(t)
	over, ds := b.accept("acme", 3, []byte("delivered before it was archived"), true)
	b.deliver(ds)
	big, bigDs := b.accept("acme", 1, large, true)
	live, _ := b.accept("acme", 1, []byte("still on its way"), true)
	none, noneDs := b.accept("beta", 1, []byte("nobody keeps this"), false)
	many, manyDs := b.accept("acme", 2500, []byte("to many"), true)
	b.deliver(noneDs)
	a := b.room(nil)
	b.same(a, over.ID, []byte("delivered before it was archived"), FromSpool)
	b.run(a, "everything archived", func() bool { return b.owed() == 0 })
	b.deliver(bigDs)
	b.deliver(manyDs)
	c := b.same(a, over.ID, []byte("delivered before it was archived"), FromArchive)
	if to := b.recipients(c); len(to) != 3 || to[0] != "user0@example.net" {
		t.Errorf("recipients %v", to)
	}
	if c.Message.Subject != "Hello" || c.Archived.IsZero() {
		t.Errorf("%+v", c)
	}
	b.same(a, big.ID, large, FromArchive)
	b.same(a, live.ID, []byte("still on its way"), FromArchive)
	if to := b.recipients(b.same(a, many.ID, []byte("to many"), FromArchive)); len(to) != 2500 {
		t.Errorf("%d recipients of 2500", len(to))
	}
	if _, err := a.Content(t.Context(), "", none.ID); !errors.Is(err, ErrNotArchived) {
		t.Errorf("content of an account without an archive: %v", err)
	}
	if _, err := a.Content(t.Context(), "beta", over.ID); !errors.Is(err, ErrNotArchived) {
		t.Errorf("content of another account: %v", err)
	}
	if n := b.spool.Counts(); n.Messages != 1 { // live
		t.Errorf("the spool holds %+v", n)
	}
}

// TestCrash stops at every point between acceptance and release, loses what is not on disk, and goes on: the content is in
// the archive then, once, and the spool has let it go.
func TestCrash(t *testing.T) {
	die := errors.New("died")
	for name, fail := range map[string]func(*bed, *Options){
		"before it is looked at": func(_ *bed, o *Options) { o.Spool = failing{Spool: o.Spool, owed: die} },
		"before the content":     func(b *bed, _ *Options) { b.step = func(string) error { return die } },
		"before the archive commits": func(b *bed, _ *Options) {
			b.step = func(name string) error {
				if name == "before commit" {
					return die
				}
				return nil
			}
		},
		"archived, not released": func(_ *bed, o *Options) { o.Spool = failing{Spool: o.Spool, commit: die} },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			small, ds := b.accept("acme", 2, []byte("small"), true)
			big, bigDs := b.accept("acme", 1, large, true)
			b.deliver(ds)
			a := b.room(func(o *Options) { fail(b, o) })
			b.run(a, "it failed", func() bool {
				b.mu.Lock()
				defer b.mu.Unlock()
				return len(b.alerts) > 0
			})
			b.step = nil
			b.crash()
			if b.owed() != 2 {
				t.Fatalf("%d messages are owed after the crash", b.owed())
			}
			a = b.room(nil)
			b.run(a, "archived after the crash", func() bool { return b.owed() == 0 })
			b.deliver(bigDs)
			b.crash()
			a = b.room(nil)
			if to := b.recipients(b.same(a, small.ID, []byte("small"), FromArchive)); len(to) != 2 {
				t.Errorf("recipients %v", to)
			}
			b.same(a, big.ID, large, FromArchive)
			if n := b.spool.Counts(); n.Messages != 0 {
				t.Errorf("the spool holds %+v", n)
			}
			names, err := b.kept.ArchiveFiles(t.Context())
			if err != nil || len(names) != 1 {
				t.Fatal(names, err)
			}
			if f, err := b.kept.ArchiveFile(t.Context(), names[0]); err != nil || f.Messages != 2 {
				t.Errorf("%+v, %v", f, err)
			}
		})
	}
}

// failing is a spool that dies.
type failing struct {
	Spool
	owed, commit error
}

func (f failing) Owed(ctx context.Context, after mail.MessageID, max int) ([]mail.MessageID, error) {
	if f.owed != nil {
		return nil, f.owed
	}
	return f.Spool.Owed(ctx, after, max)
}

func (f failing) Commit(ctx context.Context, b *spool.Batch) error {
	if f.commit != nil {
		return f.commit
	}
	return f.Spool.Commit(ctx, b)
}

// TestSwitchedOff: an account that ended its archive meanwhile leaves nothing in the spool, and nothing in the archive,
// unless a legal hold covers it.
func TestSwitchedOff(t *testing.T) {
	b := newBed(t)
	m, ds := b.accept("acme", 1, []byte("not wanted any more"), true)
	gone, goneDs := b.accept("gone", 1, []byte("of an account that is gone"), true)
	held, heldDs := b.accept("held", 1, []byte("under a legal hold"), true)
	b.deliver(ds)
	b.deliver(goneDs)
	b.deliver(heldDs)
	b.state.Accounts = []platform.Account{{Name: "acme"}, {Name: "held"}}
	b.state.LegalHolds = []platform.LegalHold{{Name: "case", Account: "held", Reason: "a claim", Author: "legal"}}
	a := b.room(nil)
	b.run(a, "nothing owed", func() bool { return b.owed() == 0 })
	for _, id := range []mail.MessageID{m.ID, gone.ID} {
		if _, err := a.Content(t.Context(), "", id); !errors.Is(err, ErrNotArchived) {
			t.Errorf("err = %v", err)
		}
	}
	b.same(a, held.ID, []byte("under a legal hold"), FromArchive)
	if n := b.spool.Counts(); n.Messages != 0 {
		t.Errorf("the spool holds %+v", n)
	}
}

// TestFull: an archive without room leaves the content in the spool, says so, and goes on when there is room.
func TestFull(t *testing.T) {
	b := newBed(t)
	b.full = true
	m, ds := b.accept("acme", 1, []byte("content"), true)
	b.deliver(ds)
	a := b.room(nil)
	b.run(a, "an alert", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.alerts) > 1
	})
	b.same(a, m.ID, []byte("content"), FromSpool)
	b.mu.Lock()
	b.full = false
	b.mu.Unlock()
	b.run(a, "archived", func() bool { return b.owed() == 0 })
	b.same(a, m.ID, []byte("content"), FromArchive)
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := b.alerts[len(b.alerts)-1]; last.Kind != alertKind || last.Cleared.IsZero() {
		t.Errorf("the last alert is %+v", last)
	}
}

// TestDamaged: a content that cannot be read is told of, stays where it is, and keeps none of the others.
func TestDamaged(t *testing.T) {
	b := newBed(t)
	bad, _ := b.accept("acme", 1, large, true)
	good, _ := b.accept("acme", 1, []byte("good"), true)
	f, err := b.fs.OpenReadWrite("/spool/content/"+bad.ID.String()+".eml", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("!"), 1000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	a := b.room(nil)
	b.run(a, "the good one archived", func() bool { return b.owed() == 1 })
	b.same(a, good.ID, []byte("good"), FromArchive)
	if _, err := b.kept.Archived(t.Context(), "acme", bad.ID); err == nil {
		t.Error("damaged content was archived")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, x := range b.alerts {
		if x.Scope == bad.ID.String() {
			n++
		}
	}
	if n != 1 {
		t.Errorf("told %d times of the damaged message", n)
	}
}
