package report

import (
	"math/bits"
	"slices"
	"strings"
)

// wordSet is a list of words that are looked for together: one pass over a text finds all of them. A word is tried only
// where its first two octets stand.
type wordSet struct {
	pairs [1 << 16 / 64]uint64 // the first two octets of words
	rank  [1 << 16 / 64]uint16 // how many pairs stand before each element of pairs
	words [][]string           // by the rank of their pair
}

func newWordSet(words ...string) *wordSet {
	s := &wordSet{}
	byPair := make(map[uint16][]string)
	for _, w := range words {
		p := pairOf(w, 0)
		s.pairs[p/64] |= 1 << (p % 64)
		byPair[p] = append(byPair[p], w)
	}
	for i, set := range s.pairs {
		s.rank[i] = uint16(len(s.words))
		for ; set != 0; set &= set - 1 {
			s.words = append(s.words, byPair[uint16(i*64+bits.TrailingZeros64(set))])
		}
	}
	return s
}

func pairOf(s string, i int) uint16 { return uint16(s[i])<<8 | uint16(s[i+1]) }

// in reports whether any of the words stands in text.
func (s *wordSet) in(text string) bool { return s.count(text, 1) > 0 }

// leads reports whether text begins with one of the words.
func (s *wordSet) leads(text string) bool {
	if len(text) < 2 {
		return false
	}
	p := pairOf(text, 0)
	set, bit := s.pairs[p/64], uint64(1)<<(p%64)
	return set&bit != 0 && slices.ContainsFunc(s.words[int(s.rank[p/64])+bits.OnesCount64(set&(bit-1))], func(w string) bool { return strings.HasPrefix(text, w) })
}

// count returns how many different words stand in text, but stops at max.
func (s *wordSet) count(text string, max int) int {
	var found []string
	for i := 0; i+1 < len(text); i++ {
		p := pairOf(text, i)
		set, bit := s.pairs[p/64], uint64(1)<<(p%64)
		if set&bit == 0 {
			continue
		}
		for _, w := range s.words[int(s.rank[p/64])+bits.OnesCount64(set&(bit-1))] {
			if !strings.HasPrefix(text[i:], w) || slices.Contains(found, w) {
				continue
			}
			if found = append(found, w); len(found) >= max {
				return len(found)
			}
		}
	}
	return len(found)
}
