package webhook

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/store/storetest"
)

// BenchmarkDeliver: events a second to receivers on loopback, each synced to disk before the next.
func BenchmarkDeliver(b *testing.B) {
	for _, hooks := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("webhooks=%d", hooks), func(b *testing.B) { benchmarkDeliver(b, hooks, 0, nil) })
	}
}

// BenchmarkLatency: events a second to one receiver that answers in 50 ms, in strict order and in that of deliveries.
func BenchmarkLatency(b *testing.B) {
	for _, parallel := range []int{1, platform.DefaultWebhookConcurrency, 64, platform.MaxWebhookConcurrency} {
		var order func(*platform.Webhook)
		if parallel > 1 {
			order = inDeliveryOrder(parallel)
		}
		b.Run(fmt.Sprintf("concurrency=%d", parallel), func(b *testing.B) { benchmarkDeliver(b, 1, 50*time.Millisecond, order) })
	}
}

// benchmarkDeliver tells b.N events to webhooks of as many accounts, in turns.
func benchmarkDeliver(b *testing.B, hooks int, latency time.Duration, order func(*platform.Webhook)) {
	var taken atomic.Int64
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		time.Sleep(latency)
		if taken.Add(1) == int64(b.N) {
			close(done)
		}
	}))
	defer server.Close()
	s, err := sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var state platform.State
	gen := storetest.NewMail(spoolID, time.Now())
	var messages []*mail.Message
	for i := range hooks {
		account, w := hook(fmt.Sprintf("a%d", i), "h", order)
		w.URL = server.URL
		state.Accounts = append(state.Accounts, platform.Account{Name: account, Webhooks: []platform.Webhook{w}})
		if err := Begin(b.Context(), s, w.ID); err != nil {
			b.Fatal(err)
		}
		messages = append(messages, gen.Message(account))
	}
	var events []*mail.Event
	for i := range b.N {
		events = append(events, gen.Tried(mail.EventDelivered, messages[i%hooks], gen.Delivery(), "user@example.com", 1, 250, "250 2.0.0 ok"))
		if len(events) == 1000 || i == b.N-1 {
			if err := s.WriteEvents(b.Context(), spoolID, gen.Seq, events); err != nil {
				b.Fatal(err)
			}
			events = events[:0]
		}
	}
	snap := platform.NewSnapshot(state, "mail.example")
	svc, err := New(Options{
		Store: s, Spool: spoolID, Snapshot: func() *platform.Snapshot { return snap }, AllowHTTP: true, AllowPrivate: true,
		Secret: func(_ *platform.Webhook, k *platform.WebhookKey) ([]byte, error) { return k.Sealed, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- svc.Run(ctx) }()
	<-done
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// BenchmarkCatchUp: what a webhook of one account in a thousand costs that looks through a day of everybody's events.
func BenchmarkCatchUp(b *testing.B) {
	s, err := sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	gen := storetest.NewMail(spoolID, time.Now())
	const all = 200_000
	for gen.Seq < all {
		events := gen.Sent(fmt.Sprintf("a%d", gen.Seq/1000), 500)
		if err := s.WriteEvents(b.Context(), spoolID, gen.Seq, events); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for range b.N {
		var at store.Cursor
		found := 0
		for {
			page, err := s.Events(b.Context(), store.EventQuery{After: at, Account: "a7", Max: maxQueued})
			if err != nil {
				b.Fatal(err)
			}
			found += len(page.Events)
			if at = page.Next; !page.More {
				break
			}
		}
		if found != 1000 {
			b.Fatalf("found %d events", found)
		}
	}
	b.ReportMetric(float64(b.N)*all/b.Elapsed().Seconds(), "events-passed/s")
}
