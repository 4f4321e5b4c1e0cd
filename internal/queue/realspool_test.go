package queue

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

func openReal(tb testing.TB, fs vfs.FS, dir string) *spool.Spool {
	tb.Helper()
	sp, err := spool.Open(context.Background(), spool.Options{
		Dir: dir, FS: fs, FreeSpace: func(string) (uint64, uint64, error) { return 100 << 30, 200 << 30, nil },
	})
	if err != nil {
		tb.Fatal(err)
	}
	return sp
}

func acceptReal(tb testing.TB, sp *spool.Spool, n int, domain func(int) string) (*mail.Message, []*mail.Delivery) {
	tb.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	m := &mail.Message{
		ID: mail.NewMessageID(now), Account: "acme", Stream: mail.Transactional, From: mail.Address{Local: "a", Domain: "acme.example"},
		AcceptedAt: now, ExpiresAt: now.Add(time.Hour), Recipients: n, Content: mail.Content{Kind: mail.ContentRaw},
	}
	a := &spool.Acceptance{Message: m, Body: []byte("Subject: x\r\n\r\nx\r\n")}
	m.Size = int64(len(a.Body))
	for i := range n {
		d := &mail.Delivery{
			ID: mail.NewDeliveryID(now), Message: m.ID, Queue: mail.QueueKey{Account: "acme", Stream: m.Stream, Domain: domain(i)},
			Recipient: mail.Address{Local: fmt.Sprintf("r%d", i), Domain: domain(i)}, CreatedAt: now, Due: now, ExpiresAt: m.ExpiresAt,
		}
		a.Deliveries = append(a.Deliveries, d)
		a.Events = append(a.Events, &mail.Event{
			Type: mail.EventAccepted, At: now, Account: m.Account, Message: m.ID, Delivery: d.ID, Recipient: d.Recipient.String(), Envelope: m,
		})
	}
	if err := sp.Commit(context.Background(), &spool.Batch{Accept: []*spool.Acceptance{a}}); err != nil {
		tb.Fatal(err)
	}
	return m, a.Deliveries
}

// Over the real spool: fresh mail, mail that overflows the window, retries; then a stop in the middle and a restart.
func TestRealSpool(t *testing.T) {
	fs := vfs.NewMem()
	sp := openReal(t, fs, "/spool")
	const messages, each = 60, 20
	var mu sync.Mutex
	tries, took := map[mail.DeliveryID]int{}, map[mail.DeliveryID]int{}
	answer := answering(func(d *mail.Delivery) mail.Outcome {
		mu.Lock()
		defer mu.Unlock()
		tries[d.ID]++
		if tries[d.ID] == 1 && d.ID[15]%3 == 0 {
			return mail.Outcome{Result: mail.Deferred, Class: mail.ClassMailboxFull, Scope: mail.ScopeRecipient, Tried: true, Attempt: mail.Attempt{Reply: "452 full"}}
		}
		took[d.ID]++
		return relayed(d)
	})
	options := func() Options {
		o := relayOptions(FromSpool(sp), answer)
		o.FreshWindow, o.PageWindow, o.Page = 16, 16, 8
		o.Transactional = Schedule{Steps: []time.Duration{300 * time.Millisecond}}
		return o
	}
	q, stop := running(t, options())
	for i := range messages {
		m, ds := acceptReal(t, sp, each, func(j int) string { return fmt.Sprintf("d%d.test", (i+j)%7) })
		q.Add(m, ds, nil)
	}
	stop()
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	sp = openReal(t, fs, "/spool")
	q, stop = running(t, options())
	deadline := time.After(5 * time.Minute)
	for sp.Counts().Deliveries > 0 {
		select {
		case <-deadline:
			t.Fatalf("%d deliveries are left; %+v", sp.Counts().Deliveries, q.Stats())
		case <-time.After(10 * time.Millisecond): // the spool has nothing to wait for
		}
	}
	stop()
	if len(took) != messages*each {
		t.Fatalf("%d of %d deliveries were taken", len(took), messages*each)
	}
	for id, n := range took {
		if n != 1 {
			t.Fatalf("%s was taken %d times", id, n)
		}
	}
	events, err := sp.ReadOutbox(t.Context(), 0, 10*messages*each)
	if err != nil {
		t.Fatal(err)
	}
	ends := map[mail.DeliveryID]int{}
	for _, ev := range events {
		if ev.Type.Result().Final() {
			ends[ev.Delivery]++
		}
	}
	for id := range took {
		if ends[id] != 1 {
			t.Fatalf("%s has %d final events", id, ends[id])
		}
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRealSpool: marks and settlements on disk included, bodies from the spool.
func BenchmarkRealSpool(b *testing.B) {
	sp := openReal(b, vfs.Default, b.TempDir())
	defer func() { _ = sp.Close() }()
	done := make(chan struct{}, 1024)
	o := relayOptions(FromSpool(sp), deliverAll(done))
	q, stop := running(b, o)
	defer stop()
	type accepted struct {
		m  *mail.Message
		ds []*mail.Delivery
	}
	var all []accepted
	for range (b.N + 99) / 100 {
		m, ds := acceptReal(b, sp, 100, func(int) string { return "example.com" })
		all = append(all, accepted{m, ds})
	}
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for _, a := range all {
			q.Add(a.m, a.ds, nil)
		}
	}()
	for range len(all) * 100 {
		<-done
	}
}
