package bounce

import (
	"fmt"
	"slices"
	"strings"
)

// How many octets of normal form a gap may span: ".." one or two words or a name, "..." some eight words.
const (
	shortGap = 22
	longGap  = 60
)

// maxAlternatives bounds what the braces of one piece of a pattern may expand to.
const maxAlternatives = 400

// pattern is one line of a rule's any, with or without list: pieces that must follow each other, each piece one of
// several literals.
//
// A line is written as words. {a,b} stands for a or b, ".." and "..." for a short and a long gap, a * at the start or
// end of a piece lets the word go on, ^ and $ are the ends of the text. Case, accents and punctuation do not matter.
type pattern struct {
	source string
	pieces [][]int32
	gaps   []int32 // gaps[i] is what may lie between pieces i and i+1
}

// compilePattern adds the literals of a line to a.
func compilePattern(a *automaton, line string) (pattern, error) {
	p := pattern{source: line}
	var pieces []string
	for rest := line; ; {
		piece, after, more := strings.Cut(rest, "..")
		for i, next := range splitGroups(piece) {
			if i > 0 {
				p.gaps = append(p.gaps, 1)
			}
			pieces = append(pieces, next)
		}
		if !more {
			break
		}
		gap := int32(shortGap)
		if strings.HasPrefix(after, ".") {
			gap, after = longGap, after[1:]
		}
		p.gaps, rest = append(p.gaps, gap), after
	}
	for i, piece := range pieces {
		texts, err := expandBraces(strings.TrimSpace(piece))
		if err != nil {
			return pattern{}, fmt.Errorf("pattern %q: %w", line, err)
		}
		var set []int32
		for _, text := range texts {
			l, err := parseLiteral(text)
			if err != nil {
				return pattern{}, fmt.Errorf("pattern %q: %w", line, err)
			}
			if i > 0 && l.left == edgeText || i < len(pieces)-1 && l.right == edgeText {
				return pattern{}, fmt.Errorf("pattern %q: ^ and $ stand only at its ends", line)
			}
			if len(pieces) == 1 && len(l.text) < 2 {
				return pattern{}, fmt.Errorf("pattern %q: one letter alone is no evidence", line)
			}
			if n := a.add(l); !slices.Contains(set, n) {
				set = append(set, n)
			}
		}
		p.pieces = append(p.pieces, set)
	}
	return p, nil
}

// splitGroups splits a piece between two groups of alternatives that must stand side by side, so that they need not be
// multiplied out. A group with an empty alternative stays with its neighbours.
func splitGroups(s string) (pieces []string) {
	for from := 0; ; {
		i := strings.Index(s[from:], "} {")
		if i < 0 {
			return append(pieces, s)
		}
		i += from
		left := s[strings.LastIndexByte(s[:i], '{'):i]
		right, _, _ := strings.Cut(s[i+2:], "}")
		if hasEmpty(left) || hasEmpty(right) {
			from = i + 2
			continue
		}
		pieces = append(pieces, s[:i+1])
		s, from = s[i+2:], 0
	}
}

// hasEmpty reports an empty alternative in a group without its closing brace.
func hasEmpty(group string) bool {
	return strings.HasPrefix(group, "{,") || strings.HasSuffix(group, ",") || strings.Contains(group, ",,")
}

// expandBraces replaces the first brace by each of its alternatives, and so on for the rest. An empty alternative is
// allowed. Braces do not nest.
func expandBraces(s string) ([]string, error) {
	open := strings.IndexByte(s, '{')
	if open < 0 {
		if strings.IndexByte(s, '}') >= 0 {
			return nil, fmt.Errorf("a } without its {")
		}
		return []string{s}, nil
	}
	end := strings.IndexByte(s[open:], '}')
	if end < 0 {
		return nil, fmt.Errorf("a { without its }")
	}
	end += open
	rest, err := expandBraces(s[end+1:])
	if err != nil {
		return nil, err
	}
	var all []string
	for alt := range strings.SplitSeq(s[open+1:end], ",") {
		if strings.IndexByte(alt, '{') >= 0 {
			return nil, fmt.Errorf("braces do not nest")
		}
		for _, r := range rest {
			all = append(all, s[:open]+alt+r)
		}
	}
	if len(all) > maxAlternatives {
		return nil, fmt.Errorf("its braces expand to more than %d texts", maxAlternatives)
	}
	return all, nil
}

// parseLiteral reads one text without braces and gaps.
func parseLiteral(s string) (literal, error) {
	l := literal{left: edgeWord, right: edgeWord}
	s = strings.TrimSpace(s)
	switch {
	case strings.HasPrefix(s, "^"):
		l.left, s = edgeText, s[1:]
	case strings.HasPrefix(s, "*"):
		l.left, s = edgeFree, s[1:]
	}
	switch {
	case strings.HasSuffix(s, "$"):
		l.right, s = edgeText, s[:len(s)-1]
	case strings.HasSuffix(s, "*"):
		l.right, s = edgeFree, s[:len(s)-1]
	}
	var n normalised
	n.normalise(s)
	l.text = strings.TrimSpace(string(n.text))
	if l.text == "" {
		return literal{}, fmt.Errorf("%q leaves nothing to look for", s)
	}
	return l, nil
}

// pieceRef names a piece of a pattern that has a certain literal.
type pieceRef struct{ pattern, piece int32 }

// chain keeps where a piece of a pattern last ended with all pieces before it in place. Of several ends the nearest
// before the next piece is the best; a few are kept, since literals overlap.
type chain struct {
	now  uint32 // of the search the ends belong to
	ends [4]int32
	n    int32
}

func (c *chain) add(now uint32, end int32) {
	if c.now != now {
		c.now, c.n = now, 0
	}
	c.ends[c.n%int32(len(c.ends))] = end
	c.n++
}

// reaches reports whether a piece that begins at start follows one of the ends within the gap.
func (c *chain) reaches(now uint32, start, gap int32) bool {
	if c.now != now {
		return false
	}
	for _, end := range c.ends[:min(c.n, int32(len(c.ends)))] {
		if end <= start && end+gap >= start {
			return true
		}
	}
	return false
}
