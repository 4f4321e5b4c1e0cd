package bounce

import (
	"strings"
	"testing"
)

// TestSamples proves every built-in rule: CI fails on a rule no sample reaches, or that others shadow.
func TestSamples(t *testing.T) {
	for _, err := range Default().Check() {
		t.Error(err)
	}
}

func BenchmarkReply(b *testing.B) {
	r := Default()
	var ins []Input
	for _, rule := range r.Rules() {
		for _, s := range append(append([]string(nil), rule.Hits...), rule.Misses...) {
			in, err := ParseSample(s)
			if err != nil {
				b.Fatal(err)
			}
			ins = append(ins, in)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r.Reply(ins[i%len(ins)])
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "replies/s")
}

// TestPatternsReachTheirClass: every line of every rule's any, written out as a reply, comes to the rule's class. It
// finds patterns that a rule of higher priority takes away.
func TestPatternsReachTheirClass(t *testing.T) {
	r := Default()
	for _, rule := range r.Rules() {
		sample, err := ParseSample(rule.Hits[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range rule.any {
			p := &r.patterns[n]
			var words []string
			for _, piece := range p.pieces {
				words = append(words, r.auto.literals[piece[0]].text)
			}
			in := sample
			in.Text = strings.Join(words, " ")
			if len(rule.with) > 0 || rule.regexp != nil || rule.mentions != "" {
				in.Text += " " + sample.Text
			}
			if v := r.Reply(in); v.Class != rule.Class {
				t.Errorf("%s: pattern %q as %q comes to %s by %s", rule.ID, p.source, in.Text, v.Class, v.Rule)
			}
		}
	}
}
