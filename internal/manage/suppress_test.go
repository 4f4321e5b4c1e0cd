package manage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/store/storetest"
	"github.com/postroad/postroad/internal/suppression"
)

var listDay = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// listBed is a suppression list over a store in a folder, at a time that tests set.
type listBed struct {
	*Suppressions
	store *sqlite.Store
	now   time.Time
}

func openList(t testing.TB, dir string) *listBed {
	t.Helper()
	b := &listBed{now: listDay}
	var err error
	if b.store, err = sqlite.Open(t.Context(), sqlite.Options{Now: storetest.Still(), Dir: filepath.Join(dir, "store")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.store.Close() })
	if b.Suppressions, err = NewSuppressions(SuppressionOptions{
		Store: b.store, Now: func() time.Time { return b.now },
		Known: func(a string) bool { return a == "acme" || a == "beta" },
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (b *listBed) is(t testing.TB, account string, stream mail.Stream, addr string) bool {
	t.Helper()
	_, is, err := b.Suppressed(context.Background(), account, stream, address(t, addr))
	if err != nil {
		t.Fatal(err)
	}
	return is
}

func TestSuppressionScopes(t *testing.T) {
	dir := t.TempDir()
	b := openList(t, dir)
	_, err := b.Add(t.Context(), "operator/local", "", []platform.Suppression{
		{Account: "acme", Address: "Ann@Example.com"},
		{Account: "acme", Stream: mail.Bulk, Address: "bob@example.com", Class: platform.CauseComplaint},
		{Address: "trap@example.com", Reason: "spam trap"},
		{Account: "beta", Address: suppression.Hash("gone@example.com")},
		{Account: "beta", Address: "full@example.com", Expires: listDay.Add(time.Hour)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, c := range []struct {
			account string
			stream  mail.Stream
			address string
			want    bool
		}{
			{"acme", mail.Transactional, "ann@example.com", true},
			{"acme", mail.Bulk, "ANN@EXAMPLE.COM", true},
			{"beta", mail.Bulk, "ann@example.com", false},
			{"acme", mail.Transactional, "ann+x@example.com", false},
			{"acme", mail.Bulk, "bob@example.com", true},
			{"acme", mail.Transactional, "bob@example.com", false},
			{"acme", mail.Transactional, "trap@example.com", true},
			{"beta", mail.Bulk, "trap@example.com", true},
			{"beta", mail.Bulk, "Gone@example.com", true},
			{"acme", mail.Bulk, "gone@example.com", false},
			{"beta", mail.Bulk, "full@example.com", true},
		} {
			if got := b.is(t, c.account, c.stream, c.address); got != c.want {
				t.Errorf("%s, %s, %s: %v, want %v", c.account, c.stream, c.address, got, c.want)
			}
		}
		_ = b.store.Close()
		b = openList(t, dir) // and the same after a restart
	}
	b.now = listDay.Add(time.Hour)
	if b.is(t, "beta", mail.Bulk, "full@example.com") {
		t.Error("an entry holds after it has expired")
	}
	asked, looked := b.Counts().Asked.Load(), b.Counts().Lookups.Load()
	for i := range 1000 {
		b.is(t, "acme", mail.Bulk, fmt.Sprintf("user%d@example.com", i))
		b.is(t, "beta", mail.Bulk, "ann@example.com") // on another account's list
	}
	if n := b.Counts().Lookups.Load() - looked; n != 0 || b.Counts().Asked.Load()-asked != 2000 {
		t.Errorf("%d of 2,000 questions about addresses that are on no list reached the store", n)
	}
}

func TestSuppressionInvalid(t *testing.T) {
	b := openList(t, t.TempDir())
	long := make([]byte, MaxSuppressionReason+1)
	for i := range long {
		long[i] = 'x'
	}
	bad := []platform.Suppression{
		{Account: "acme", Address: "ann"},
		{Account: "nobody", Address: "ann@example.com"},
		{Account: "acme", Stream: "news", Address: "ann@example.com"},
		{Account: "acme", Class: "because", Address: "ann@example.com"},
		{Account: "acme", Address: "ann@example.com", Reason: string(long)},
		{Account: "acme", Address: "ann@example.com", Reason: "a\x00b"},
		{Account: "acme", Address: "ann@example.com", Expires: listDay},
		{Account: "acme", Address: "ann@example.com", Since: listDay.Add(2 * time.Hour)},
	}
	_, err := b.Add(t.Context(), "operator/local", "", append(bad, platform.Suppression{Account: "acme", Address: "good@example.com"}))
	var invalid *Invalid
	if !errors.As(err, &invalid) || len(invalid.Problems) != len(bad) {
		t.Fatalf("got %v, want %d problems", err, len(bad))
	}
	if n, err := b.store.CountSuppressions(t.Context(), store.SuppressionQuery{}); err != nil || n != 0 {
		t.Errorf("%d entries were stored, %v", n, err)
	}
}

func TestSuppressionRemoveUndoErase(t *testing.T) {
	b := openList(t, t.TempDir())
	ctx := t.Context()
	var list []platform.Suppression
	for i := range 20 {
		list = append(list, platform.Suppression{Account: "acme", Address: fmt.Sprintf("user%d@example.com", i), Receiver: "bigmail", Class: platform.CauseInvalidRecipient})
	}
	if _, err := b.Add(ctx, "operator/local", "test", list); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(ctx, "operator/local", "he is back", "acme", "", "USER3@example.com"); err != nil {
		t.Fatal(err)
	}
	if b.is(t, "acme", mail.Bulk, "user3@example.com") {
		t.Error("removed and still suppressed")
	}
	if err := b.Remove(ctx, "operator/local", "", "acme", "", "user3@example.com"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if err := b.Remove(ctx, "operator/local", "", "beta", "", "user4@example.com"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("removed from another account's list: %v", err)
	}
	if n, err := b.Erase(ctx, "operator/local", "", address(t, "User5@example.com")); err != nil || n != 1 {
		t.Errorf("erased %d, %v", n, err)
	}
	if !b.is(t, "acme", mail.Bulk, "user5@example.com") {
		t.Error("erased and no longer suppressed")
	}
	if of, err := b.Of(ctx, "acme", "user5@example.com"); err != nil || len(of) != 1 || !suppression.IsHash(of[0].Address) || of[0].Reason != "invalid-recipient" {
		t.Errorf("an erased entry: %+v, %v", of, err)
	}
	var invalid *Invalid
	if _, err := b.Undo(ctx, "operator/local", "", store.SuppressionQuery{Account: "acme"}, false); !errors.As(err, &invalid) {
		t.Errorf("an undo of everything: %v", err)
	}
	q := store.SuppressionQuery{Receiver: "bigmail"}
	if n, err := b.Undo(ctx, "operator/local", "", q, true); err != nil || n != 19 || !b.is(t, "acme", mail.Bulk, "user6@example.com") {
		t.Errorf("dry run: %d, %v", n, err)
	}
	if n, err := b.Undo(ctx, "operator/local", "they erred", q, false); err != nil || n != 19 || b.is(t, "acme", mail.Bulk, "user6@example.com") {
		t.Errorf("undo: %d, %v", n, err)
	}
	audit, err := b.store.ListAudit(ctx, store.AuditQuery{Kind: store.KindSuppression, Max: 100})
	if err != nil || len(audit) != 23 || audit[0].Action != ActionUndo || audit[0].After != `{"count":19,"filter":{"receiver":"bigmail"}}` || audit[1].Action != ActionErase || audit[2].Action != store.ActionDelete {
		t.Errorf("%d audit entries, %v: %+v", len(audit), err, audit[:3])
	}
	// Who asked for no more mail stays, unless that is said.
	wish := []platform.Suppression{{Account: "beta", Address: "cross@example.com", Receiver: "othermail", Class: platform.CauseComplaint, Stream: mail.Bulk}}
	if _, err := b.Add(ctx, "operator/local", "", wish); err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		if _, err := b.Undo(ctx, "operator/local", "", store.SuppressionQuery{Receiver: "othermail"}, dry); !errors.As(err, &invalid) || !b.is(t, "beta", mail.Bulk, "cross@example.com") {
			t.Errorf("an undo that would mail who complained: %v", err)
		}
	}
	if n, err := b.Undo(ctx, "operator/local", "", store.SuppressionQuery{Receiver: "othermail", Class: platform.CauseInvalidRecipient}, false); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
}

// TestWishOfBulk: who unsubscribed by phone gets receipts still, as who did by mail.
func TestWishOfBulk(t *testing.T) {
	b := openList(t, t.TempDir())
	made, err := b.Add(t.Context(), "operator/local", "", []platform.Suppression{
		{Account: "acme", Address: "ann@example.com", Class: platform.CauseUnsubscribe},
		{Account: "acme", Address: "bob@example.com", Class: platform.CauseComplaint},
		{Account: "acme", Address: "cat@example.com", Class: platform.CauseComplaint, Stream: mail.Transactional},
		{Account: "acme", Address: "dan@example.com"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []mail.Stream{mail.Bulk, mail.Bulk, mail.Transactional, ""} {
		if made[i].Stream != want {
			t.Errorf("%s is suppressed for %q, want %q", made[i].Address, made[i].Stream, want)
		}
	}
}

// countedStore calls back when entries are counted.
type countedStore struct {
	store.Suppressions
	counted func()
}

func (s countedStore) CountSuppressions(ctx context.Context, q store.SuppressionQuery) (int64, error) {
	s.counted()
	return s.Suppressions.CountSuppressions(ctx, q)
}

// TestUndoAlone: nobody's complaint comes on the list between the look for complaints and the removal.
func TestUndoAlone(t *testing.T) {
	b := openList(t, t.TempDir())
	looked := 0
	b.o.Store = countedStore{b.store, func() {
		looked++
		if b.change.TryRLock() {
			b.change.RUnlock()
			t.Error("an entry could be added meanwhile")
		}
	}}
	if _, err := b.Undo(t.Context(), "operator/local", "", store.SuppressionQuery{Receiver: "bigmail"}, false); err != nil || looked == 0 {
		t.Errorf("looked %d times, %v", looked, err)
	}
}

// TestSuppressionsBuiltWhileChanged: an entry that is added while the keys are read is never missed.
func TestSuppressionsBuiltWhileChanged(t *testing.T) {
	b := openList(t, t.TempDir())
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for i := range 300 {
			a := fmt.Sprintf("user%d@example.com", i)
			if _, err := b.Add(context.Background(), "operator/local", "", []platform.Suppression{{Account: "acme", Address: a}}); err != nil {
				t.Error(err)
			}
			if !b.is(t, "acme", mail.Bulk, a) {
				t.Errorf("%s was added and is not suppressed", a)
			}
		}
	})
	for n := 0; ; n++ {
		if err := b.load(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
			wg.Wait()
			for i := range 300 {
				if a := fmt.Sprintf("user%d@example.com", i); !b.is(t, "acme", mail.Bulk, a) {
					t.Errorf("%s is missing after %d builds", a, n)
				}
			}
			return
		default:
		}
	}
}

// TestSuppressionsUnread: before the keys are read every question goes to the store, and a store that is closed gives an
// error, not a "no".
func TestSuppressionsUnread(t *testing.T) {
	b := openList(t, t.TempDir())
	b.keys.Store(nil)
	if !b.Listed("acme", address(t, "ann@example.com")) || b.is(t, "acme", mail.Bulk, "ann@example.com") {
		t.Error("an unread list answers by itself")
	}
	_ = b.store.Close()
	if _, _, err := b.Suppressed(t.Context(), "acme", mail.Bulk, address(t, "ann@example.com")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestKeySet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	k := &keySet{}
	in := map[uint64]bool{}
	for range 200_000 {
		key := r.Uint64()
		in[key>>24] = true
		k.add(key)
		k.add(key)
	}
	if n := k.len(); n < len(in)-2 || n > len(in) {
		t.Errorf("%d keys, want %d", n, len(in))
	}
	for key := range in {
		if !k.has(key << 24) {
			t.Fatalf("%x is missing", key)
		}
	}
	wrong := 0
	for range 1_000_000 {
		if key := r.Uint64(); k.has(key) && !in[key>>24] {
			wrong++
		}
	}
	if wrong > 3 {
		t.Errorf("%d of a million others are taken for entries", wrong)
	}
}

func BenchmarkListed(b *testing.B) {
	l := openList(b, b.TempDir())
	set := &l.keys.Load().addresses
	r := rand.New(rand.NewPCG(1, 2))
	for range 1_000_000 {
		set.add(r.Uint64())
	}
	var as []mail.Address
	for i := range 1024 {
		as = append(as, mail.Address{Local: fmt.Sprintf("customer.%d", i), Domain: "bigmail.example"})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if l.Listed("acme", as[i&1023]) {
			b.Fatal("listed")
		}
	}
	bytes := 0
	for i := range set.shards {
		bytes += 4 * len(set.shards[i].slots)
	}
	b.ReportMetric(float64(bytes)/float64(set.len()), "octets/entry")
}
