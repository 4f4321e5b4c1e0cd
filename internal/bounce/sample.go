package bounce

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// ParseSample reads a reply as rule files write it: "550 5.1.1 text", before it, in brackets, what else is known:
// "[stage=mail route=relay receiver=google] 550 text". Code and enhanced code may be missing.
func ParseSample(s string) (Input, error) {
	var in Input
	if strings.HasPrefix(s, "[stage=") || strings.HasPrefix(s, "[route=") || strings.HasPrefix(s, "[receiver=") {
		facts, rest, ok := strings.Cut(s[1:], "]")
		if !ok {
			return in, fmt.Errorf("bounce: sample %q: the closing bracket is missing", s)
		}
		for fact := range strings.FieldsSeq(facts) {
			key, value, _ := strings.Cut(fact, "=")
			switch key {
			case "stage":
				in.Stage = mail.Stage(value)
			case "route":
				in.Route = mail.RouteKind(value)
			case "receiver":
				in.Receiver = value
			default:
				return in, fmt.Errorf("bounce: sample %q: unknown fact %q", s, key)
			}
		}
		s = strings.TrimSpace(rest)
	}
	if len(s) >= 3 && (len(s) == 3 || s[3] == ' ' || s[3] == '-') {
		if n, err := strconv.Atoi(s[:3]); err == nil && n >= 200 && n < 600 {
			in.Code = n
			s = strings.TrimLeft(s[3:], " -")
		}
	}
	if e, rest, ok := smtp.ParseEnhanced(s); ok {
		in.Enhanced, s = e, rest
	}
	in.Text = s
	return in, nil
}

// ReadReply makes the input of a reply whose code, enhanced code and text stand apart, as in a table. 0 and "" mean none.
func ReadReply(code int, enhanced, text string) Input {
	in := Input{Code: code, Text: strings.TrimSpace(text)}
	in.Enhanced, _, _ = smtp.ParseEnhanced(strings.TrimSpace(enhanced))
	return in
}

// Check proves every rule by its samples: each of hits must be decided by the rule, none of misses. A rule that others
// shadow fails.
func (r *Ruleset) Check() []error {
	var bad []error
	for _, rule := range r.rules {
		bad = append(bad, r.prove(rule)...)
	}
	return bad
}

func (r *Ruleset) prove(rule *Rule) (bad []error) {
	for i, s := range append(append([]string(nil), rule.Hits...), rule.Misses...) {
		in, err := ParseSample(s)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		got := r.Reply(in).Rule
		if want := i < len(rule.Hits); want != (got == rule.ID) {
			if want {
				bad = append(bad, fmt.Errorf("bounce: %s: rule %q: sample %q is decided by %q", rule.File, rule.ID, s, got))
			} else {
				bad = append(bad, fmt.Errorf("bounce: %s: rule %q: it decides %q, which it must not", rule.File, rule.ID, s))
			}
		}
	}
	return bad
}
