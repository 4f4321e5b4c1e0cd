package bounce

import (
	"embed"
	"fmt"
	"io/fs"
	"math/bits"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

//go:embed rules/*.toml
var builtin embed.FS

// Ruleset is a compiled set of rules.
type Ruleset struct {
	rules    []*Rule // in the order of decision
	patterns []pattern
	index    map[string]int32 // pattern by its line
	auto     automaton
	// byLiteral lists, per literal, the pieces that have it; chainOf, per pattern, where its chains begin in scratch;
	// byPattern, per pattern, the rules that have it in any. byCode are the rules without any, which the text cannot
	// rule out.
	byLiteral [][]pieceRef
	chainOf   []int32
	chains    int32
	byPattern [][]int32
	byCode    []int32
	pool      sync.Pool
}

// scratch is the working memory of one decision.
type scratch struct {
	norm  normalised
	hits  []hit
	chain []chain
	stamp []uint32 // per pattern: found if it equals now
	now   uint32
	cand  []uint64 // bit set of rules whose any holds, or that have none
}

func (s *scratch) has(pattern int32) bool { return s.stamp[pattern] == s.now }

var defaultSet = sync.OnceValue(func() *Ruleset {
	sub, err := fs.Sub(builtin, "rules")
	if err != nil {
		panic(err) // a constant path
	}
	r, err := load(sub)
	if err != nil {
		// The files are part of the program and its tests load them.
		panic(err)
	}
	return r
})

// Default returns the built-in rules, compiled once.
func Default() *Ruleset { return defaultSet() }

// Load returns the built-in rules with those of every *.toml file of fsys laid over them: a rule with the id of a
// built-in one replaces it, one with disabled = true takes it away, any other is added. Each rule is proved by its own
// samples. The error names the file and the rule.
func Load(fsys fs.FS) (*Ruleset, error) {
	base, err := fs.Sub(builtin, "rules")
	if err != nil {
		return nil, fmt.Errorf("bounce: built-in rules: %w", err)
	}
	r, err := load(base, fsys)
	if err != nil {
		return nil, err
	}
	var bad []error
	for _, rule := range r.rules {
		if !strings.HasPrefix(rule.File, overridePrefix) {
			continue
		}
		bad = append(bad, r.prove(rule)...)
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("bounce: %d samples of the override rules fail, first: %w", len(bad), bad[0])
	}
	return r, nil
}

// overridePrefix marks the files of an override folder in Rule.File.
const overridePrefix = "override/"

// load compiles the rules of the first file system with those of the others over them.
func load(layers ...fs.FS) (*Ruleset, error) {
	type source struct {
		spec ruleSpec
		file string
	}
	var all []source
	at := make(map[string]int)
	for depth, layer := range layers {
		entries, err := fs.ReadDir(layer, ".")
		if err != nil {
			return nil, fmt.Errorf("bounce: list rule files: %w", err)
		}
		inLayer := make(map[string]string)
		for _, entry := range entries { // in the order of names
			name := entry.Name()
			if path.Ext(name) != ".toml" {
				continue
			}
			data, err := fs.ReadFile(layer, name)
			if err != nil {
				return nil, fmt.Errorf("bounce: read rules: %w", err)
			}
			file := name
			if depth > 0 {
				file = overridePrefix + file
			}
			specs, err := parseRuleFile(file, data)
			if err != nil {
				return nil, err
			}
			for _, spec := range specs {
				if first, twice := inLayer[spec.ID]; twice {
					return nil, fmt.Errorf("bounce: %s: rule %q stands in %s already", file, spec.ID, first)
				}
				inLayer[spec.ID] = file
				if i, known := at[spec.ID]; known {
					all[i] = source{spec, file}
					continue
				}
				if spec.Disabled {
					return nil, fmt.Errorf("bounce: %s: rule %q is disabled, but there is none of that id", file, spec.ID)
				}
				at[spec.ID] = len(all)
				all = append(all, source{spec, file})
			}
		}
	}
	r := &Ruleset{index: make(map[string]int32)}
	for _, s := range all {
		if s.spec.Disabled {
			continue
		}
		rule, err := s.spec.compile(r, s.file)
		if err != nil {
			return nil, err
		}
		r.rules = append(r.rules, rule)
	}
	r.finish()
	return r, nil
}

func (r *Ruleset) addPattern(line string) (int32, error) {
	if n, ok := r.index[line]; ok {
		return n, nil
	}
	p, err := compilePattern(&r.auto, line)
	if err != nil {
		return 0, err
	}
	n := int32(len(r.patterns))
	r.patterns = append(r.patterns, p)
	r.index[line] = n
	return n, nil
}

// finish sorts the rules and builds the automaton and the indexes.
func (r *Ruleset) finish() {
	// Equal priorities: in the order of files and of rules in them.
	slices.SortStableFunc(r.rules, func(a, b *Rule) int { return b.Priority - a.Priority })
	r.auto.build()
	r.byLiteral = make([][]pieceRef, len(r.auto.literals))
	r.chainOf = make([]int32, len(r.patterns))
	for n := range r.patterns {
		r.chainOf[n] = r.chains
		r.chains += int32(len(r.patterns[n].pieces))
		for i, piece := range r.patterns[n].pieces {
			for _, l := range piece {
				r.byLiteral[l] = append(r.byLiteral[l], pieceRef{int32(n), int32(i)})
			}
		}
	}
	r.byPattern = make([][]int32, len(r.patterns))
	for i, rule := range r.rules {
		if len(rule.any) == 0 {
			r.byCode = append(r.byCode, int32(i))
		}
		for _, p := range rule.any {
			r.byPattern[p] = append(r.byPattern[p], int32(i))
		}
	}
	r.pool.New = func() any {
		return &scratch{chain: make([]chain, r.chains), stamp: make([]uint32, len(r.patterns)), cand: make([]uint64, (len(r.rules)+63)/64)}
	}
}

// Rules returns the rules in the order of decision. The slice is the caller's, the rules are not.
func (r *Ruleset) Rules() []*Rule { return slices.Clone(r.rules) }

// Reply decides what one reply, or one diagnostic of a report, means.
func (r *Ruleset) Reply(in Input) Verdict { return r.decide(&in).Verdict }

// decision is a verdict and what it rests on.
type decision struct {
	Verdict
	rule  *Rule // that won; nil: none held
	doubt bool  // what it rests on is too little to suppress an address
}

func (r *Ruleset) decide(in *Input) (d decision) {
	sc := r.search(in)
	defer r.pool.Put(sc)
	e, class := effective(in, sc)
	r.candidates(sc, func(c *Rule) bool {
		if !c.matches(in, e, class, sc) {
			return true
		}
		if d.rule == nil {
			d.rule, d.doubt = c, c.doubtful(sc)
		} else {
			d.doubt = c.otherCause()
		}
		// Only a class that suppresses needs a second opinion.
		return d.rule.Class == mail.ClassInvalidRecipient && !d.doubt
	})
	d.Verdict, _ = settle(in, e, class, d.rule, d.doubt)
	return d
}

// search normalises the text and finds every pattern in it.
func (r *Ruleset) search(in *Input) *scratch {
	sc := r.pool.Get().(*scratch)
	if sc.now++; sc.now == 0 {
		clear(sc.stamp)
		clear(sc.chain)
		sc.now = 1
	}
	clear(sc.cand)
	for _, i := range r.byCode {
		sc.cand[i/64] |= 1 << (i % 64)
	}
	sc.norm.normalise(in.Text)
	sc.hits = r.auto.scan(sc.norm.text, sc.hits[:0])
	for _, h := range sc.hits {
		for _, ref := range r.byLiteral[h.literal] {
			r.extend(sc, ref, h)
		}
	}
	return sc
}

// extend puts a hit in the chain of a pattern, if it fits there.
func (r *Ruleset) extend(sc *scratch, ref pieceRef, h hit) {
	p := &r.patterns[ref.pattern]
	at := r.chainOf[ref.pattern] + ref.piece
	if sc.has(ref.pattern) || ref.piece > 0 && !sc.chain[at-1].reaches(sc.now, h.start, p.gaps[ref.piece-1]) {
		return
	}
	if int(ref.piece) < len(p.pieces)-1 {
		sc.chain[at].add(sc.now, h.end)
		return
	}
	sc.stamp[ref.pattern] = sc.now
	for _, rule := range r.byPattern[ref.pattern] {
		sc.cand[rule/64] |= 1 << (rule % 64)
	}
}

// candidates yields the rules the text does not rule out, in the order of decision.
func (r *Ruleset) candidates(sc *scratch, yield func(*Rule) bool) {
	for w, set := range sc.cand {
		for set != 0 {
			i := bits.TrailingZeros64(set)
			set &^= 1 << i
			if !yield(r.rules[w*64+i]) {
				return
			}
		}
	}
}

// effective returns the enhanced code and the class digit to decide by. A generic enhanced code (x.0.0) gives way to
// a telling one in the text; a reply without a code is temporary, a report without one tells of a failure.
func effective(in *Input, sc *scratch) (smtp.Enhanced, int) {
	e := in.Enhanced
	if e.IsZero() || e[1] == 0 && e[2] == 0 && !sc.norm.enhanced.IsZero() {
		e = sc.norm.enhanced
	}
	class := in.Code / 100
	if class == 0 {
		class = int(e[0])
	}
	if class == 0 {
		class = 4
		if in.Stage == mail.StageReport {
			class = 5
		}
	}
	return e, class
}
