//go:build unix

package bounce

import (
	"testing"
)

// BenchmarkReply classifies the replies of testdata, each of another system, with the tail real ones have.
func BenchmarkReply(b *testing.B) {
	r := Default()
	var ins []Input
	for _, file := range []string{"testdata/wordings.tsv", "testdata/innocent.tsv", "testdata/unknown.tsv"} {
		for _, w := range readWordings(b, file) {
			in, err := ParseSample(w.sample)
			if err != nil {
				b.Fatal(err)
			}
			in.Text += " (in reply to RCPT TO command); for more see https://postmaster.example.net/errors?id=0a1b2c3d4e5f or write to postmaster@example.net 192.0.2.1"
			ins = append(ins, in)
		}
	}
	b.ReportAllocs()
	i, before := 0, cpuTime(b)
	for b.Loop() {
		r.Reply(ins[i%len(ins)])
		i++
	}
	b.ReportMetric(float64(b.N)/(cpuTime(b)-before).Seconds(), "replies/core-s")
}
