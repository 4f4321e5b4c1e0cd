package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
)

// A rule made of an unknown reply gives it the class, whatever is in its words.
func TestReplyRule(t *testing.T) {
	for _, sample := range []string{
		"550 5.0.0 <ann@example.com> the moon is purple over mx1.example.net today",
		`554 computer "says" no\maybe: 192.0.2.7`,
		"451 4.0.0 la luna es morada\nvuelva usted mañana",
		"550 Zugestellte Sendung wird zurückgewiesen (grün)",
	} {
		u := replyWording{Fingerprint: bounce.Fingerprint(sample), Count: 3, First: time.Now(), Last: time.Now(), Hosts: []string{"mx1.example.net", `"odd"`}, Sample: sample}
		rule, err := u.rule("policy-spam")
		if err != nil {
			t.Errorf("%q: %v", sample, err)
			continue
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "own.toml"), []byte(rule), 0o600); err != nil {
			t.Fatal(err)
		}
		rules, err := bounce.Load(os.DirFS(dir))
		if err != nil {
			t.Errorf("%q became\n%s%v", sample, rule, err)
			continue
		}
		if v := rules.Reply(bounce.Input{Text: sample}); v.Class != mail.ClassPolicySpam {
			t.Errorf("%q is %s by %s with the rule\n%s", sample, v.Class, v.Rule, rule)
		}
	}
	u := replyWording{Fingerprint: "550", Sample: "550"}
	if rule, err := u.rule("policy-spam"); err == nil {
		t.Errorf("a reply without words became\n%s", rule)
	}
}
