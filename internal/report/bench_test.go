//go:build unix

package report

import (
	"bytes"
	"testing"
)

// BenchmarkParse reads the mails of testdata, each returning a message of some kilobytes.
func BenchmarkParse(b *testing.B) {
	var all [][]byte
	for _, file := range []string{"bounces.txt", "dialects.txt", "autoreplies.txt", "challenges.txt", "complaints.txt"} {
		for _, s := range samples(b, file) {
			all = append(all, append(s.raw, bytes.Repeat([]byte("A line of the text that was returned with it.\n"), 80)...))
		}
	}
	b.ReportAllocs()
	i, before := 0, cpuTime(b)
	for b.Loop() {
		Parse(all[i%len(all)], Limits{})
		i++
	}
	b.ReportMetric(float64(b.N)/(cpuTime(b)-before).Seconds(), "reports/core-s")
}
