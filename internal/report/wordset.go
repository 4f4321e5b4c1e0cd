package report

import "strings"

// wordSet is a list of words that are looked for together: one pass over a text finds all of them. A word is tried only
// where its first two octets stand.
type wordSet struct {
	pairs [1 << 16 / 64]uint64
	words map[uint16][]string
	n     int
}

func newWordSet(words ...string) *wordSet {
	s := &wordSet{words: make(map[uint16][]string), n: len(words)}
	for _, w := range words {
		p := pairOf(w, 0)
		s.pairs[p/64] |= 1 << (p % 64)
		s.words[p] = append(s.words[p], w)
	}
	return s
}

func pairOf(s string, i int) uint16 { return uint16(s[i])<<8 | uint16(s[i+1]) }

// in reports whether any of the words stands in text.
func (s *wordSet) in(text string) bool { return s.count(text, 1) > 0 }

// count returns how many different words stand in text, but stops at max.
func (s *wordSet) count(text string, max int) int {
	var found []string
	for i := 0; i+1 < len(text); i++ {
		p := pairOf(text, i)
		if s.pairs[p/64]&(1<<(p%64)) == 0 {
			continue
		}
	next:
		for _, w := range s.words[p] {
			if !strings.HasPrefix(text[i:], w) {
				continue
			}
			for _, f := range found {
				if f == w {
					continue next
				}
			}
			if found = append(found, w); len(found) >= max {
				return len(found)
			}
		}
	}
	return len(found)
}
