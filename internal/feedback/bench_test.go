package feedback

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// BenchmarkReports measures reports a second from a full inbox to their events in the outbox and their rows on disk, all
// about deliveries of their own, beside a projector that records the events.
func BenchmarkReports(b *testing.B) {
	for _, kind := range []string{"token", "header"} {
		b.Run(kind, func(b *testing.B) {
			w := newWorld(b)
			at := time.Now()
			for i := range b.N {
				s := w.accept(at, "web", fmt.Sprintf("user%d@example.com", i))
				w.settle(w.mark(s.deliveries[0], at), mail.EventDelivered, at, nil)
				raw := dsn(tokenField+": "+s.token()+"\nSubject: Your order\n", s.deliveries[0].Recipient.String()+" failed 5.1.1 "+unknownUser)
				if kind == "token" {
					w.put(s.path(0), raw)
				} else {
					w.put("fbl@example.org", raw)
				}
			}
			w.recorded()
			r, err := New(w.options())
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			b.ResetTimer()
			go func() { done <- r.Run(ctx) }()
			for w.spool.Counts().Inbox > 0 {
				time.Sleep(time.Millisecond)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reports/s")
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			var mem runtime.MemStats
			runtime.ReadMemStats(&mem)
			b.ReportMetric(float64(mem.HeapSys)/(1<<20), "heap-MiB")
		})
	}
}

// BenchmarkFind measures the reading alone: parse, classify, look for tokens.
func BenchmarkFind(b *testing.B) {
	r, err := New(Options{Inbox: (*spool.Spool)(nil), Store: failing{}, Key: testKey})
	if err != nil {
		b.Fatal(err)
	}
	raw := []byte(dsn(tokenField+": "+testKey.Token(mail.NewDeliveryID(time.Now()))+"\nSubject: Your order\n", "user@example.com failed 5.1.1 "+unknownUser))
	for b.Loop() {
		r.find(raw, bounce.Default())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reports/s")
}
