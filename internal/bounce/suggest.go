package bounce

import (
	"fmt"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
)

// suggestedPriority is above every built-in rule: what an operator says of a wording counts.
const suggestedPriority = 950

// How many words the pattern of a suggested rule has at most, and how many of them its id.
const (
	maxSuggestedWords = 8
	maxSuggestedID    = 4
)

// markSamples stand in a suggested sample for what a fingerprint marks: no suggestion holds anybody's address.
var markSamples = map[string]string{
	markAddress: "<user@example.com>", markHost: "mx.example.net", markIP: "[192.0.2.1]", markURL: "https://www.example.net/",
	markID: "0A1B2C3D4E5F", markNumber: "17", markName: "'user'",
}

// Suggest returns a rule, as rule files have it, for the wording of a reply: an operator sets class and provenance and
// puts it into the override folder. It loads and decides its own sample as it is. The error says why a reply gives none.
func Suggest(in Input) (string, error) {
	print := Fingerprint(in.Text)
	words := suggestedWords(print)
	if len(words) == 0 {
		return "", fmt.Errorf("bounce: %q has no words of its own to know it by", print)
	}
	sample := ""
	if in.Code >= 400 && in.Code <= 599 {
		sample = fmt.Sprintf("%d ", in.Code)
	}
	if !in.Enhanced.IsZero() {
		sample += in.Enhanced.String() + " "
	}
	for token := range strings.FieldsSeq(print) {
		if token == leadingCode(print) && sample != "" {
			continue
		}
		if s, ok := markSamples[token]; ok {
			token = s
		}
		sample += token + " "
	}
	id := "own"
	for _, w := range words[:min(len(words), maxSuggestedID)] {
		id += "-" + w
	}
	classes := make([]string, len(mail.Classes))
	for i, c := range mail.Classes {
		classes[i] = string(c)
	}
	text := fmt.Sprintf(`[[rule]]
id = %q
provenance = "say where this was seen, and what it means there"
priority = %d
class = "other" # %s
any = [%q]
hits = [%q]
misses = ["550 some other words"]
`, id, suggestedPriority, strings.Join(classes, ", "), strings.Join(words, " "), strings.TrimSpace(sample))
	if err := CheckFile(text); err != nil {
		return "", err
	}
	return text, nil
}

// suggestedWords returns the longest run of words in a fingerprint that are the same in every such reply.
func suggestedWords(print string) []string {
	var best, run []string
	for token := range strings.FieldsSeq(print) {
		if slices.Contains(marks, token) || !strings.ContainsFunc(token, func(r rune) bool { return r > '9' }) {
			run = nil // a mark or a code
			continue
		}
		if run = append(run, token); len(run) > len(best) && len(run) <= maxSuggestedWords {
			best = slices.Clone(run)
		}
	}
	if len(best) == 1 && len(best[0]) < 2 {
		return nil
	}
	return best
}

// CheckFile proves the rules of one file by themselves, without those built in. The error names the rule.
func CheckFile(text string) error {
	specs, err := parseRuleFile("suggestion", []byte(text))
	if err != nil {
		return err
	}
	r := &Ruleset{index: make(map[string]int32)}
	for i := range specs {
		rule, err := specs[i].compile(r, "suggestion")
		if err != nil {
			return err
		}
		r.rules = append(r.rules, rule)
	}
	r.finish()
	if bad := r.Check(); len(bad) > 0 {
		return bad[0]
	}
	return nil
}
