package bounce

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// ruleFile is one file of rules. docs/bounces.md explains every key.
type ruleFile struct {
	// Priority is that of every rule of the file that has none of its own.
	Priority int `toml:"priority"`
	// Doubt is added to that of every rule of the file.
	Doubt []string   `toml:"doubt"`
	Rules []ruleSpec `toml:"rule"`
}

// ruleSpec is a rule as written.
type ruleSpec struct {
	ID         string   `toml:"id"`
	Provenance string   `toml:"provenance"`
	Priority   int      `toml:"priority"`
	Disabled   bool     `toml:"disabled"` // an override that takes the built-in rule of this id away
	Any        []string `toml:"any"`
	With       []string `toml:"with"`
	Without    []string `toml:"without"`
	Doubt      []string `toml:"doubt"` // where one of these stands in the text, the rule counts as vague
	Regexp     string   `toml:"regexp"`
	Codes      []string `toml:"codes"`
	Enhanced   []string `toml:"enhanced"`
	Stage      []string `toml:"stage"`
	Route      []string `toml:"route"`
	Receiver   []string `toml:"receiver"`
	Mentions   string   `toml:"mentions"` // "ip" or "address"
	Class      string   `toml:"class"`
	Scope      string   `toml:"scope"`
	Result     string   `toml:"result"`
	RetryAfter string   `toml:"retry_after"`
	Vague      bool     `toml:"vague"` // too little to suppress an address on, whatever the class
	Hits       []string `toml:"hits"`
	Misses     []string `toml:"misses"`
}

// Rule is a compiled rule.
type Rule struct {
	ID         string
	File       string
	Provenance string
	Priority   int
	Class      mail.Class
	Scope      mail.Scope    // "": the scope table decides
	Result     mail.Result   // "": the code decides
	RetryAfter time.Duration // 0: none
	Vague      bool          // never suppresses
	Hits       []string      // samples it must decide
	Misses     []string      // samples it must not

	any, with, without []int32 // patterns
	doubt              []int32
	regexp             *regexp.Regexp
	codes              []codeCond
	enhanced           []enhancedCond
	stage              []mail.Stage
	route              []mail.RouteKind
	receiver           []string
	mentions           string
}

// priority is that of the rule, 0 for none.
func (r *Rule) priority() int {
	if r == nil {
		return 0
	}
	return r.Priority
}

// codeCond is a reply code or a class of codes.
type codeCond struct{ code, class int }

// enhancedCond is an enhanced code; -1 stands for any.
type enhancedCond [3]int

func parseRuleFile(name string, data []byte) ([]ruleSpec, error) {
	var f ruleFile
	d := toml.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) {
			return nil, fmt.Errorf("bounce: %s: unknown key:\n%s", name, strict.String())
		}
		return nil, fmt.Errorf("bounce: %s: %w", name, err)
	}
	for i := range f.Rules {
		if f.Rules[i].Priority == 0 {
			f.Rules[i].Priority = f.Priority
		}
		f.Rules[i].Doubt = append(f.Rules[i].Doubt, f.Doubt...)
	}
	return f.Rules, nil
}

// compile checks a rule as written and adds its patterns to the set.
func (s *ruleSpec) compile(r *Ruleset, file string) (*Rule, error) {
	fail := func(format string, args ...any) (*Rule, error) {
		return nil, fmt.Errorf("bounce: %s: rule %q: "+format, append([]any{file, s.ID}, args...)...)
	}
	c := &Rule{
		ID: s.ID, File: file, Provenance: s.Provenance, Priority: s.Priority,
		Class: mail.Class(s.Class), Scope: mail.Scope(s.Scope), Result: mail.Result(s.Result),
		Vague: s.Vague, Hits: s.Hits, Misses: s.Misses, receiver: s.Receiver, mentions: s.Mentions,
	}
	switch {
	case s.ID == "":
		return fail("it has no id")
	case s.Provenance == "":
		return fail("it has no provenance: say where this wording or code was seen or specified")
	case s.Priority <= 0:
		return fail("neither it nor its file has a priority")
	case !slices.Contains(mail.Classes, c.Class):
		return fail("unknown class %q", s.Class)
	case len(s.Any) == 0 && len(s.Codes) == 0 && len(s.Enhanced) == 0:
		return fail("it needs a literal (any) or a code (codes, enhanced)")
	case s.Regexp != "" && len(s.Any) == 0:
		return fail("a regexp runs only after a literal was found: it needs any")
	case len(s.Hits) == 0 || len(s.Misses) == 0:
		return fail("it needs at least one sample that it decides (hits) and one that it does not (misses)")
	case s.Scope != "" && !slices.Contains(scopes, c.Scope):
		return fail("unknown scope %q", s.Scope)
	case s.Result != "" && c.Result != mail.Deferred && c.Result != mail.Bounced:
		return fail("result is %q, not deferred or bounced", s.Result)
	case s.Mentions != "" && s.Mentions != "ip" && s.Mentions != "address":
		return fail("mentions is %q, not ip or address", s.Mentions)
	}
	var err error
	if s.RetryAfter != "" {
		if c.RetryAfter, err = time.ParseDuration(s.RetryAfter); err != nil || c.RetryAfter <= 0 || c.RetryAfter > maxRetryAfter {
			return fail("retry_after is no duration up to %s", maxRetryAfter)
		}
	}
	if s.Regexp != "" {
		if c.regexp, err = regexp.Compile("(?i)" + s.Regexp); err != nil {
			return fail("%w", err)
		}
	}
	for _, code := range s.Codes {
		cc, err := parseCodeCond(code)
		if err != nil {
			return fail("%w", err)
		}
		c.codes = append(c.codes, cc)
	}
	for _, e := range s.Enhanced {
		ec, err := parseEnhancedCond(e)
		if err != nil {
			return fail("%w", err)
		}
		c.enhanced = append(c.enhanced, ec)
	}
	for _, st := range s.Stage {
		if !slices.Contains(stages, mail.Stage(st)) {
			return fail("unknown stage %q", st)
		}
		c.stage = append(c.stage, mail.Stage(st))
	}
	for _, k := range s.Route {
		if !slices.Contains([]mail.RouteKind{mail.RouteMX, mail.RouteRelay, mail.RouteProvider}, mail.RouteKind(k)) {
			return fail("unknown route kind %q", k)
		}
		c.route = append(c.route, mail.RouteKind(k))
	}
	for _, list := range []struct {
		lines []string
		to    *[]int32
	}{{s.Any, &c.any}, {s.With, &c.with}, {s.Without, &c.without}, {s.Doubt, &c.doubt}} {
		for _, line := range list.lines {
			n, err := r.addPattern(line)
			if err != nil {
				return fail("%w", err)
			}
			*list.to = append(*list.to, n)
		}
	}
	return c, nil
}

func parseCodeCond(s string) (codeCond, error) {
	if len(s) == 3 && s[1:] == "xx" && (s[0] == '4' || s[0] == '5') {
		return codeCond{class: int(s[0] - '0')}, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 400 || n > 599 {
		return codeCond{}, fmt.Errorf("code %q is neither 400 to 599 nor 4xx or 5xx", s)
	}
	return codeCond{code: n}, nil
}

func parseEnhancedCond(s string) (c enhancedCond, err error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return c, fmt.Errorf("enhanced code %q is not of the form 5.1.1 or x.1.x", s)
	}
	for i, p := range parts {
		if p == "x" {
			c[i] = -1
			continue
		}
		if c[i], err = strconv.Atoi(p); err != nil || c[i] < 0 || c[i] > 999 {
			return c, fmt.Errorf("enhanced code %q is not of the form 5.1.1 or x.1.x", s)
		}
	}
	return c, nil
}

// matches reports whether every condition of the rule holds.
func (r *Rule) matches(in *Input, e smtp.Enhanced, class int, sc *scratch) bool {
	switch {
	case len(r.codes) > 0 && !slices.ContainsFunc(r.codes, func(c codeCond) bool {
		return c.class != 0 && c.class == class || c.code != 0 && c.code == in.Code
	}),
		len(r.enhanced) > 0 && !slices.ContainsFunc(r.enhanced, func(c enhancedCond) bool { return c.match(e) }),
		len(r.stage) > 0 && !slices.Contains(r.stage, in.Stage),
		len(r.route) > 0 && !slices.Contains(r.route, in.Route),
		len(r.receiver) > 0 && !slices.Contains(r.receiver, in.Receiver),
		r.mentions == "ip" && !sc.norm.ip,
		r.mentions == "address" && !sc.norm.address,
		len(r.any) > 0 && !slices.ContainsFunc(r.any, sc.has),
		len(r.with) > 0 && !slices.ContainsFunc(r.with, sc.has),
		slices.ContainsFunc(r.without, sc.has):
		return false
	}
	return r.regexp == nil || r.regexp.MatchString(in.Text)
}

func (c enhancedCond) match(e smtp.Enhanced) bool {
	if e.IsZero() {
		return false
	}
	for i, want := range c {
		if want >= 0 && want != int(e[i]) {
			return false
		}
	}
	return true
}
