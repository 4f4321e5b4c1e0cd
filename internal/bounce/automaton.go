package bounce

import (
	"slices"
	"unicode/utf8"
)

// automaton finds every literal of the rule set in one pass over a text (Aho and Corasick, 1975). Edges are kept in
// one sorted array per state rather than in a table of 256, so that some thousand literals take well under a
// megabyte; only the root, where most steps begin, has a table.
type automaton struct {
	root  [256]int32
	first []int32 // first[s]..first[s+1]: the edges of state s
	label []byte
	to    []int32
	fail  []int32
	// out is the group of literals that ends at the state, -1: none; more is the nearest state on the fail path that
	// has one, 0: none.
	out  []int32
	more []int32

	literals []literal
	index    map[string]int32
	groups   [][]int32 // literals of the same text that differ in their edges
}

// literal is a text in normal form and what must stand around it.
type literal struct {
	text        string
	left, right edge
}

// edge is the demand at one end of a literal.
type edge uint8

const (
	edgeFree edge = iota // anything
	edgeWord             // the end of a word
	edgeText             // the end of the text
)

// hit is one place where a literal was found. end is where the word ends that the literal ends in.
type hit struct {
	literal    int32
	start, end int32
}

// add returns the number of a literal, adding it if it is new. The same text with other edges is another literal.
func (a *automaton) add(l literal) int32 {
	key := string([]byte{byte('0' + l.left), byte('0' + l.right)}) + l.text
	if n, ok := a.index[key]; ok {
		return n
	}
	if a.index == nil {
		a.index = make(map[string]int32)
	}
	n := int32(len(a.literals))
	a.literals = append(a.literals, l)
	a.index[key] = n
	return n
}

// build makes the states, once every literal is added.
func (a *automaton) build() {
	type node struct {
		next map[byte]int32
		out  int32
	}
	nodes := []node{{next: map[byte]int32{}, out: -1}}
	for i := range a.literals {
		s := int32(0)
		for j := range len(a.literals[i].text) {
			c := a.literals[i].text[j]
			t, ok := nodes[s].next[c]
			if !ok {
				t = int32(len(nodes))
				nodes = append(nodes, node{next: map[byte]int32{}, out: -1})
				nodes[s].next[c] = t
			}
			s = t
		}
		if nodes[s].out < 0 {
			nodes[s].out = int32(len(a.groups))
			a.groups = append(a.groups, nil)
		}
		a.groups[nodes[s].out] = append(a.groups[nodes[s].out], int32(i))
	}
	n := len(nodes)
	a.first, a.fail, a.out, a.more = make([]int32, n+1), make([]int32, n), make([]int32, n), make([]int32, n)
	a.label, a.to = make([]byte, 0, n), make([]int32, 0, n)
	for s := range nodes {
		a.first[s], a.out[s] = int32(len(a.label)), nodes[s].out
		labels := make([]byte, 0, len(nodes[s].next))
		for c := range nodes[s].next {
			labels = append(labels, c)
		}
		slices.Sort(labels)
		for _, c := range labels {
			a.label, a.to = append(a.label, c), append(a.to, nodes[s].next[c])
		}
	}
	a.first[n] = int32(len(a.label))
	for c, s := range nodes[0].next {
		a.root[c] = s
	}
	// Breadth first: the fail state of a state is shallower, so it is done before.
	queue := make([]int32, 0, n)
	for _, s := range nodes[0].next {
		queue = append(queue, s)
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		if f := a.fail[s]; a.out[f] >= 0 {
			a.more[s] = f
		} else {
			a.more[s] = a.more[f]
		}
		for e := a.first[s]; e < a.first[s+1]; e++ {
			t := a.to[e]
			a.fail[t] = a.step(a.fail[s], a.label[e])
			queue = append(queue, t)
		}
	}
}

func (a *automaton) step(s int32, c byte) int32 {
	for s != 0 {
		for e := a.first[s]; e < a.first[s+1]; e++ {
			if a.label[e] == c {
				return a.to[e]
			}
		}
		s = a.fail[s]
	}
	return a.root[c]
}

// scan appends every hit in text, which is in normal form, in the order of their ends.
func (a *automaton) scan(text []byte, hits []hit) []hit {
	s := int32(0)
	for i, c := range text {
		s = a.step(s, c)
		for t := s; ; {
			if o := a.out[t]; o >= 0 {
				for _, n := range a.groups[o] {
					l := &a.literals[n]
					start := i + 1 - len(l.text)
					if l.left.leftHolds(text, start) && l.right.rightHolds(text, i+1) {
						end := i + 1
						for l.right == edgeFree && end < len(text) && text[end] != ' ' && end-i <= maxWord {
							end++
						}
						hits = append(hits, hit{n, int32(start), int32(end)})
					}
				}
			}
			if t = a.more[t]; t == 0 {
				break
			}
		}
	}
	return hits
}

func (e edge) leftHolds(text []byte, start int) bool {
	switch e {
	case edgeWord:
		return start == 0 || boundary(text[start-1], text[start])
	case edgeText:
		return start <= 1
	}
	return true
}

func (e edge) rightHolds(text []byte, end int) bool {
	switch e {
	case edgeWord:
		return end == len(text) || boundary(text[end], text[end-1])
	case edgeText:
		return end >= len(text)-1
	}
	return true
}

// boundary reports whether a word ends between two octets, one of which belongs to a literal. Scripts written without
// spaces have no words; there every place is an end. After folding, octets over 127 are never Latin.
func boundary(outside, inside byte) bool {
	if outside == ' ' || inside == ' ' {
		return true
	}
	if inside < utf8.RuneSelf || outside < utf8.RuneSelf {
		return (inside < utf8.RuneSelf) != (outside < utf8.RuneSelf)
	}
	// Both are of UTF-8 sequences: Greek, Cyrillic, Hebrew and Arabic (lead octets up to 0xDF) have words. A
	// continuation octet next to a lead of three says nothing of its own script; the lead one decides.
	lead := max(outside, inside)
	return lead >= 0xe0
}
