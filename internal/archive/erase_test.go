package archive

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// eraser is an Eraser over the bed's record; what it was asked besides is kept.
func (b *bed) eraser(asked *[]string) *Eraser {
	return &Eraser{
		Store: b.store, Key: [32]byte{9},
		Seal: func(_ string, secret []byte) []byte { return append([]byte("sealed "), secret...) },
		Open: func(_ string, sealed []byte) ([]byte, error) {
			return []byte(strings.TrimPrefix(string(sealed), "sealed ")), nil
		},
		Suppressed: func(_ context.Context, _, _, account string, a mail.Address, _ bool) error {
			*asked = append(*asked, "suppress "+account+" "+a.String())
			return nil
		},
		Cancel: func(context.Context, string, mail.Address, string) (int, error) { return 0, nil },
		Files: func(_ context.Context, what store.Erasing) (int64, error) {
			*asked = append(*asked, "files "+what.Account+" "+what.Address)
			return 3, nil
		},
	}
}

func (b *bed) finished(a *Archive, id string) store.Erasure {
	b.t.Helper()
	var e store.Erasure
	b.run(a, "the erasure ended", func() bool {
		var err error
		e, err = a.Erasure(b.t.Context(), id)
		return err == nil && e.State != store.ErasureRunning
	})
	return e
}

var ann = mail.Address{Local: "user0", Domain: "example.net"}

// TestErase: a person is gone from archive, record and search, counts stay; after a crash at any point too.
func TestErase(t *testing.T) {
	die := errors.New("died")
	for name, crash := range map[string]func(*Eraser, *bed){
		"no crash": nil,
		"before it began": func(x *Eraser, _ *bed) {
			x.Cancel = func(context.Context, string, mail.Address, string) (int, error) { return 0, die }
		},
		"within the archive": func(_ *Eraser, b *bed) { b.step = func(string) error { return die } },
		"within the record":  func(x *Eraser, _ *bed) { x.Store = failingErasures{x.Store, "record"} },
		"before the logs":    func(x *Eraser, _ *bed) { x.Store = failingErasures{x.Store, "state"} },
		"within the event files": func(x *Eraser, _ *bed) {
			x.Files = func(context.Context, store.Erasing) (int64, error) { return 1, die }
		},
		"after all, not noted": func(x *Eraser, _ *bed) { x.Store = failingErasures{x.Store, "end"} },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			var asked []string
			first := b.room(nil)
			n := 2
			if name == "within the archive" {
				n = 450 // more than one batch
			}
			var alone []mail.MessageID
			for range n {
				m, ds := b.accept("acme", 1, []byte("for one"), true)
				b.deliver(ds)
				alone = append(alone, m.ID)
			}
			shared, ds := b.accept("acme", 2, []byte("for two"), true)
			b.deliver(ds)
			b.run(first, "archived", func() bool { return b.owed() == 0 })
			late, lateDs := b.accept("acme", 1, []byte("archived by the erasure"), true)
			b.deliver(lateDs)

			x := b.eraser(&asked)
			if crash != nil {
				crash(x, b)
			}
			a := b.room(func(o *Options) { o.Eraser = x })
			e, err := a.Erase(t.Context(), EraseRequest{Address: ann, Actor: "operator/local", Note: "she asked"})
			if err != nil {
				t.Fatal(err)
			}
			if crash != nil {
				ctx, cancel := context.WithCancel(t.Context())
				a.eraseAll(ctx)
				cancel()
				if e, err := a.Erasure(t.Context(), e.ID); err != nil || name != "after all, not noted" && !strings.Contains(e.Waiting, "tried again: died") {
					t.Errorf("who waits for it is told %q, %v", e.Waiting, err)
				}
				b.step = nil
				b.crash()
				x = b.eraser(&asked)
				a = b.room(func(o *Options) { o.Eraser = x })
			}
			e = b.finished(a, e.ID)
			if e.State != store.ErasureDone || e.Sealed != nil || e.Ended.IsZero() {
				t.Errorf("%+v", e)
			}
			if crash == nil && (e.Counts.Deliveries != int64(n+2) || e.Counts.Archived != int64(n+1) || e.Counts.Shared != 1 || e.Counts.Lines != 3) {
				t.Errorf("%+v", e.Counts)
			}
			for _, id := range append(alone, late.ID) {
				if _, err := a.Content(t.Context(), "", id); !errors.Is(err, ErrNotArchived) {
					t.Fatalf("content: %v", err)
				}
			}
			if to := b.recipients(b.same(a, shared.ID, []byte("for two"), FromArchive)); len(to) != 2 || to[0] != e.Marker || to[1] != "user1@example.net" {
				t.Errorf("recipients %v", to)
			}
			page, err := b.store.Search(t.Context(), store.SearchQuery{Recipient: ann.String()})
			if err != nil || len(page.Deliveries) > 0 {
				t.Errorf("she is still found: %v, %v", page.Deliveries, err)
			}
			if page, err = b.store.Search(t.Context(), store.SearchQuery{Recipient: e.Marker, Max: store.MaxPage}); err != nil || len(page.Deliveries) != n+2 {
				t.Errorf("%d rows have the marker, want %d, %v", len(page.Deliveries), n+2, err)
			}
			audit, err := b.store.ListAudit(t.Context(), store.AuditQuery{Kind: "erasure"})
			if err != nil || len(audit) != 2 || audit[0].Action != "erase.done" || audit[1].Action != "erase" {
				t.Errorf("%+v, %v", audit, err)
			}
			for _, entry := range audit {
				if strings.Contains(entry.After+entry.Note+entry.Name, ann.Local) {
					t.Errorf("the audit names her: %+v", entry)
				}
			}
			for i, x := range asked {
				if i == 0 && x != "suppress  user0@example.net" || x != "suppress  user0@example.net" && x != "files  user0@example.net" {
					t.Errorf("asked %q", asked)
				}
			}
			if len(asked) < 3 {
				t.Errorf("asked %q", asked)
			}
		})
	}
}

// failingErasures dies at one step.
type failingErasures struct {
	store.Erasures
	at string
}

func (f failingErasures) EraseRecorded(ctx context.Context, day string, e store.Erasing) (store.Erased, error) {
	if f.at == "record" {
		return store.Erased{}, errors.New("died")
	}
	return f.Erasures.EraseRecorded(ctx, day, e)
}

func (f failingErasures) EraseState(ctx context.Context, e store.Erasing) (int64, error) {
	if f.at == "state" {
		return 0, errors.New("died")
	}
	return f.Erasures.EraseState(ctx, e)
}

func (f failingErasures) PutErasure(ctx context.Context, e store.Erasure, audit ...store.AuditEntry) error {
	if f.at == "end" && e.State != store.ErasureRunning {
		return errors.New("died")
	}
	return f.Erasures.PutErasure(ctx, e, audit...)
}

// TestEraseHeld: a legal hold that covers something of it refuses an erasure, and says who and why; one that covers other
// things does not. Set while an erasure waits, it ends that.
func TestEraseHeld(t *testing.T) {
	b := newBed(t)
	var asked []string
	var stuck atomic.Bool
	x := b.eraser(&asked)
	x.Cancel = func(context.Context, string, mail.Address, string) (int, error) {
		if stuck.Load() {
			return 0, errors.New("not now")
		}
		return 0, nil
	}
	a := b.room(func(o *Options) { o.Eraser = x })
	m, ds := b.accept("acme", 1, []byte("for one"), true)
	b.deliver(ds)
	b.run(a, "archived", func() bool { return b.owed() == 0 })
	hold := func(h platform.LegalHold) {
		b.mu.Lock()
		defer b.mu.Unlock()
		h.Name, h.Reason, h.Author = "case", "a claim is pending", "legal department"
		b.state.LegalHolds = []platform.LegalHold{h}
	}
	for name, tt := range map[string]struct {
		h       platform.LegalHold
		account string
		held    bool
	}{
		"the account":                       {platform.LegalHold{Account: "acme"}, "", true},
		"the account, asked for":            {platform.LegalHold{Account: "acme"}, "acme", true},
		"another account":                   {platform.LegalHold{Account: "beta"}, "", false},
		"the account, another asked for":    {platform.LegalHold{Account: "acme"}, "beta", false},
		"the recipient":                     {platform.LegalHold{Recipient: "USER0@example.net"}, "", true},
		"another recipient":                 {platform.LegalHold{Recipient: "user1@example.net"}, "", false},
		"the message":                       {platform.LegalHold{Message: m.ID.String()}, "", true},
		"the message of another recipient":  {platform.LegalHold{Message: m.ID.String(), Recipient: "user1@example.net"}, "", false},
		"another message":                   {platform.LegalHold{Message: mail.NewMessageID(b.now).String()}, "", false},
		"the recipient, of another account": {platform.LegalHold{Account: "beta", Recipient: "user0@example.net"}, "", false},
	} {
		hold(tt.h)
		h, err := a.holdOver(t.Context(), tt.account, ann.String())
		if err != nil || (h != nil) != tt.held {
			t.Errorf("%s: %v, %v", name, h, err)
		}
	}
	hold(platform.LegalHold{Account: "acme"})
	_, err := a.Erase(t.Context(), EraseRequest{Address: ann, Actor: "operator/local"})
	var held *HeldError
	if !errors.As(err, &held) || !strings.Contains(err.Error(), "a claim is pending (legal department)") || len(asked) > 0 {
		t.Fatalf("%v, asked %q", err, asked)
	}
	b.same(a, m.ID, []byte("for one"), FromArchive)

	// Set after it began, a hold still wins over what is left.
	hold(platform.LegalHold{Account: "beta"})
	stuck.Store(true)
	e, err := a.Erase(t.Context(), EraseRequest{Address: ann, Actor: "operator/local"})
	if err != nil {
		t.Fatal(err)
	}
	a.eraseAll(t.Context())
	hold(platform.LegalHold{Recipient: ann.String()})
	stuck.Store(false)
	if e = b.finished(a, e.ID); e.State != store.ErasureRefused || e.Sealed != nil || !strings.Contains(e.Waiting, "legal department") {
		t.Errorf("%+v", e)
	}
	b.same(a, m.ID, []byte("for one"), FromArchive)
}

// TestEraseWaits: while an attempt to the address is in flight the erasure is not done; what that attempt leaves is taken
// out too.
func TestEraseWaits(t *testing.T) {
	b := newBed(t)
	var asked []string
	var left atomic.Int64
	left.Store(1)
	x := b.eraser(&asked)
	x.Cancel = func(context.Context, string, mail.Address, string) (int, error) { return int(left.Load()), nil }
	a := b.room(func(o *Options) { o.Eraser = x })
	_, ds := b.accept("acme", 1, []byte("being tried"), true)
	e, err := a.Erase(t.Context(), EraseRequest{Address: ann, Actor: "operator/local"})
	if err != nil {
		t.Fatal(err)
	}
	b.run(a, "it waits", func() bool { e, err = a.Erasure(t.Context(), e.ID); return err == nil && e.Waiting != "" })
	b.deliver(ds) // its event names the address once more
	left.Store(0)
	if e = b.finished(a, e.ID); e.State != store.ErasureDone || e.Waiting != "" {
		t.Errorf("%+v", e)
	}
	events, err := b.store.Timeline(t.Context(), ds[0].ID)
	if err != nil || len(events) != 2 {
		t.Fatal(events, err)
	}
	for _, ev := range events {
		if ev.Recipient != e.Marker || ev.Attempt != nil && strings.Contains(ev.Attempt.Reply, "user0") {
			t.Errorf("%+v", ev)
		}
	}
}

// TestEraseFollowers: who acts on events may still write the address. The erasure waits for them, says so, and takes out what
// they wrote.
func TestEraseFollowers(t *testing.T) {
	b := newBed(t)
	var asked []string
	var looks atomic.Int64
	x := b.eraser(&asked)
	var ds []*mail.Delivery
	x.Followed = func(context.Context) (bool, error) {
		switch looks.Add(1) {
		case 1:
			return false, nil // behind
		case 2:
			_, ds = b.accept("acme", 1, []byte("what follows"), true) // written while it is waited for
			b.deliver(ds)
		}
		return true, nil
	}
	a := b.room(func(o *Options) { o.Eraser = x })
	e, err := a.Erase(t.Context(), EraseRequest{Address: ann, Actor: "operator/local"})
	if err != nil {
		t.Fatal(err)
	}
	a.eraseAll(t.Context())
	if e, err = a.Erasure(t.Context(), e.ID); err != nil || e.State != store.ErasureRunning || !strings.Contains(e.Waiting, "still being acted on") {
		t.Fatalf("%+v, %v", e, err)
	}
	if e = b.finished(a, e.ID); e.State != store.ErasureDone || e.Waiting != "" {
		t.Errorf("%+v", e)
	}
	events, err := b.store.Timeline(t.Context(), ds[0].ID)
	if err != nil || len(events) != 2 || events[0].Recipient != e.Marker {
		t.Errorf("%v, %v", events, err)
	}
}
