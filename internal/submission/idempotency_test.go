package submission

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

func keyed(key string, body byte) Request {
	return Request{
		From: Person{Email: "info@shop.example"}, To: persons("you@example.com"), Text: "x",
		IdempotencyKey: key, BodyHash: [32]byte{body},
	}
}

// Many requests with one key at the same time make one message; the others are told to wait, or get its answer.
func TestIdempotencyConcurrent(t *testing.T) {
	b := newTestbed(t, nil)
	var mu sync.Mutex
	var wg sync.WaitGroup
	ids, busy := map[mail.MessageID]int{}, 0
	begin := make(chan struct{})
	for range 32 {
		wg.Go(func() {
			<-begin
			r, err := b.Send(context.Background(), b.shop(), keyed("k", 1))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				ids[r.Message]++
			case KindOf(err) == InProgress:
				busy++
			default:
				t.Error(err)
			}
		})
	}
	close(begin)
	wg.Wait()
	if len(ids) != 1 || len(b.added) != 1 || b.spool.Counts().Messages != 1 {
		t.Errorf("one key made %d messages (%d answers busy): %+v", len(ids), busy, b.spool.Counts())
	}
}

// While the first request runs a second one is refused, not answered from nothing.
func TestIdempotencyInProgress(t *testing.T) {
	b := newTestbed(t, nil)
	b.o.Spool = &hook{Spool: b.spool, commit: func() {
		_, err := b.Send(t.Context(), b.shop(), keyed("k", 1))
		wantKind(t, err, InProgress, "Idempotency-Key")
	}}
	if _, err := b.Send(t.Context(), b.shop(), keyed("k", 1)); err != nil {
		t.Fatal(err)
	}
}

func TestIdempotencyReplay(t *testing.T) {
	b := newTestbed(t, nil)
	first, err := b.Send(t.Context(), b.shop(), keyed("k", 1))
	if err != nil {
		t.Fatal(err)
	}
	replay := func(when string) {
		t.Helper()
		b.unchanged(func() {
			again, err := b.Send(t.Context(), b.shop(), keyed("k", 1))
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			want := *first
			want.Replayed = true
			if d := cmp.Diff(&want, again); d != "" {
				t.Errorf("%s: the answer is another (-first +again):\n%s", when, d)
			}
		})
	}
	replay("at once")
	b.unchanged(func() {
		_, err := b.Send(t.Context(), b.shop(), keyed("k", 2))
		wantKind(t, err, KeyReused, "Idempotency-Key")
	})
	b.close()
	added := b.added
	b.open(nil)
	b.added = added
	replay("after a restart")
	b.advance(spool.IdempotencyFor - time.Minute)
	replay("a minute before it is forgotten")
	b.advance(2 * time.Minute)
	if again, err := b.Send(t.Context(), b.shop(), keyed("k", 1)); err != nil || again.Message == first.Message {
		t.Errorf("after a day: %+v, %v; want a new message", again, err)
	}
}

// A key belongs to its account, and in a batch to its line.
func TestIdempotencyScope(t *testing.T) {
	b := newTestbed(t, nil)
	first, err := b.Send(t.Context(), b.shop(), keyed("k", 1))
	if err != nil {
		t.Fatal(err)
	}
	other := keyed("k", 1)
	other.From.Email = "info@rival.example"
	r, err := b.Send(t.Context(), b.who("rival", "web"), other)
	if err != nil || r.Message == first.Message || r.Replayed {
		t.Errorf("another account's same key: %+v, %v", r, err)
	}
	line := keyed("k", 1)
	line.Part = 2
	if r, err = b.Send(t.Context(), b.shop(), line); err != nil || r.Message == first.Message {
		t.Errorf("another line's same key: %+v, %v", r, err)
	}
}

// A request that was refused may be made again with the same key.
func TestIdempotencyAfterRefusal(t *testing.T) {
	b := newTestbed(t, nil)
	bad := keyed("k", 1)
	bad.To = nil
	if _, err := b.Send(t.Context(), b.shop(), bad); KindOf(err) != NoRecipients {
		t.Fatal(err)
	}
	if _, err := b.Send(t.Context(), b.shop(), keyed("k", 2)); err != nil {
		t.Errorf("the key is spent by a refusal: %v", err)
	}
}

// The answer kept for a message of very many recipients is small.
func TestIdempotencyManyRecipients(t *testing.T) {
	b := newTestbed(t, nil)
	r := keyed("k", 1)
	r.To, r.Recipients = nil, persons(recipients(5000)...)
	first, err := b.Send(t.Context(), b.shop(), r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Send(t.Context(), b.shop(), r)
	if err != nil || again.Message != first.Message || again.Count != 5000 || len(again.Recipients) != MaxListed {
		t.Errorf("%+v, %v", again, err)
	}
}

// Only the credential's rights at the moment count, also for an old answer.
func TestIdempotencyOfPausedAccount(t *testing.T) {
	b := newTestbed(t, nil)
	if _, err := b.Send(t.Context(), b.shop(), keyed("k", 1)); err != nil {
		t.Fatal(err)
	}
	s := testState()
	s.Accounts[0].State = platform.AccountPaused
	b.apply(s)
	_, err := b.Send(t.Context(), b.shop(), keyed("k", 1))
	wantKind(t, err, Paused, "account")
}
