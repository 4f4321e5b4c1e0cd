package bounce

import "github.com/postroad/postroad/internal/mail"

// Explanation is how a verdict came about.
type Explanation struct {
	Verdict Verdict
	// Matched are the rules whose conditions all held, the one that decided first.
	Matched []Match
	// Rows are the rows of the tables that changed class, scope, result or action after the rule.
	Rows []string
}

// Match is one rule that held and what it found.
type Match struct {
	Rule     *Rule
	Patterns []string // lines of the rule's any that were found
}

// Explain decides as Reply does and says how.
func (r *Ruleset) Explain(in Input) Explanation {
	sc := r.search(&in)
	defer r.pool.Put(sc)
	e, class := effective(&in, sc)
	var x Explanation
	r.candidates(sc, func(c *Rule) bool {
		if c.matches(&in, e, class, sc) {
			m := Match{Rule: c}
			for _, p := range c.any {
				if sc.has(p) {
					m.Patterns = append(m.Patterns, r.patterns[p].source)
				}
			}
			x.Matched = append(x.Matched, m)
		}
		return true
	})
	var rule *Rule
	doubt := false
	for i, m := range x.Matched {
		if i == 0 {
			rule, doubt = m.Rule, m.Rule.doubtful(sc)
		} else {
			doubt = doubt || m.Rule.otherCause()
		}
	}
	x.Verdict, x.Rows = settle(&in, e, class, rule, doubt)
	if doubt && x.Verdict.Class == mail.ClassInvalidRecipient && x.Verdict.Result == mail.Bounced {
		x.Rows = append(x.Rows, rowDoubt)
	}
	return x
}
