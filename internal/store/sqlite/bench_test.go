package sqlite

import (
	"syscall"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store/storetest"
)

var day0 = time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)

// BenchmarkRecord measures what recording a delivery (accepted, delivered, summary, rollups) costs in batches of 1,000
// events: with both events of a delivery in one batch, and with each half in its own, as they mostly come, where the second
// finds its summary in the file.
func BenchmarkRecord(b *testing.B) {
	b.Run("together", func(b *testing.B) { benchRecord(b, false) })
	b.Run("apart", func(b *testing.B) { benchRecord(b, true) })
}

func benchRecord(b *testing.B, apart bool) {
	s, err := Open(b.Context(), Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	g := storetest.NewMail(7, day0)
	const batch = 500
	var batches [][]*mail.Event
	for range (b.N + batch - 1) / batch {
		events := g.Sent("acme", batch)
		if !apart {
			batches = append(batches, events)
			continue
		}
		seq := events[0].ID.Seq
		for half := range 2 {
			var list []*mail.Event
			for i := half; i < len(events); i += 2 {
				events[i].ID.Seq = seq
				seq++
				list = append(list, events[i])
			}
			batches = append(batches, list)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	for _, events := range batches {
		if err := s.WriteEvents(b.Context(), 7, events[len(events)-1].ID.Seq, events); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// cpuTime returns the processor time this process has used: unlike the clock it does not count the neighbours' work.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
