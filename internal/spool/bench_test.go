package spool

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func benchSpool(b *testing.B) *Spool {
	b.Helper()
	o := Options{Dir: b.TempDir(), FS: vfs.Default, MinFree: 1}
	return openTest(b, o)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLife is the whole life of a message of 4 KiB to one recipient, each step synced before the next: accept,
// mark, settle, with an event at both ends. The outbox is trimmed every 10,000 events.
func BenchmarkLife(b *testing.B) {
	for _, submitters := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("submitters=%d", submitters), func(b *testing.B) { benchLife(b, submitters) })
	}
}

func benchLife(b *testing.B, submitters int) {
	s := benchSpool(b)
	body := make([]byte, 4<<10)
	copy(body, "Subject: x\r\n\r\n")
	for i := 14; i < len(body); i++ {
		body[i] = "abcdefghijklmnopqrstuvwxyz \r\n0123456789"[(i*7+i/13)%38]
	}
	ctx := b.Context()
	var n atomic.Int64
	var wg sync.WaitGroup
	cpu := cpuTime()
	b.ResetTimer()
	for w := range submitters {
		wg.Add(1)
		go func() {
			defer wg.Done()
			domain := fmt.Sprintf("d%d.example", w%100)
			for {
				i := n.Add(1)
				if i > int64(b.N) {
					return
				}
				a := newAcceptance("acme", domain, 1, body)
				if err := s.Commit(ctx, &Batch{Accept: []*Acceptance{a}}); err != nil {
					b.Error(err)
					return
				}
				m := mark(a.Deliveries[0])
				if err := s.Commit(ctx, &Batch{Mark: []MarkChange{m}}); err != nil {
					b.Error(err)
					return
				}
				if err := s.Commit(ctx, &Batch{Settle: []Settlement{settled(m.Marked())}}); err != nil {
					b.Error(err)
					return
				}
				if i%5000 == 0 {
					_, newest := s.OutboxRange()
					if err := s.TrimOutbox(ctx, newest); err != nil {
						b.Error(err)
					}
				}
			}
		}()
	}
	wg.Wait()
	b.StopTimer()
	used := cpuTime() - cpu
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-us/msg")
	b.ReportMetric(float64(b.N*3)/float64(s.frame()), "batches/frame")
}

// TestIdleMemory: 100,000 deferred deliveries leave a node well under 150 MB. POSTROAD_PROOF=1 runs it.
func TestIdleMemory(t *testing.T) {
	if os.Getenv("POSTROAD_PROOF") == "" {
		t.Skip("set POSTROAD_PROOF=1")
	}
	s := openTest(t, Options{Dir: t.TempDir(), FS: vfs.Default, MinFree: 1})
	body := make([]byte, 4<<10)
	for range 100 {
		b := &Batch{}
		for range 1000 {
			b.Accept = append(b.Accept, newAcceptance("acme", "example.net", 1, body))
		}
		mustCommit(t, s, b)
		c := &Batch{}
		for _, a := range b.Accept {
			c.Settle = append(c.Settle, deferred(a.Deliveries[0], testTime.Add(time.Hour)))
		}
		mustCommit(t, s, c)
	}
	if err := s.TrimOutbox(t.Context(), 1<<60); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	used := rss(t) >> 20
	t.Logf("heap %d MiB, go %d MiB, resident %d MiB, %+v", ms.HeapAlloc>>20, ms.Sys>>20, used, s.Counts())
	if used > 150 {
		t.Errorf("%d MiB resident", used)
	}
}

func rss(t *testing.T) int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
