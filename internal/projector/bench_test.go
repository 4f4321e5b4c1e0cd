package projector

import (
	"testing"
	"time"

	"github.com/postroad/postroad/internal/store/sqlite"
)

// BenchmarkRecord measures what one delivery of a day like those of TestFullRecord costs to record: 50 accounts, 5,000
// recipient domains, 2.3 events each.
func BenchmarkRecord(b *testing.B) {
	s, err := sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	m := newMonth(b.N, 1)
	var spent time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for at := uint64(0); at < m.total; {
		b.StopTimer()
		events, err := m.ReadOutbox(b.Context(), at, DefaultBatch)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		cpu := cpuTime(b)
		at = events[len(events)-1].ID.Seq
		if err := s.WriteEvents(b.Context(), spoolID, at, events); err != nil {
			b.Fatal(err)
		}
		spent += cpuTime(b) - cpu
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "cpu-ns/op")
}
