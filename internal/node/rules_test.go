package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/platform"
)

const ownRule = `
[[rule]]
id = "own-vault"
provenance = "our gateway's manual"
priority = 950
class = "CLASS"
any = ["vault sealed"]
hits = ["550 the vault sealed itself"]
misses = ["550 the vault is open"]
`

func writeRule(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRuleFolder walks a folder through what an operator does to it; each look stands for a tick of the clock.
func TestRuleFolder(t *testing.T) {
	dir := t.TempDir()
	var told []platform.Alert
	f := newRuleFolder(dir, func(a platform.Alert) { told = append(told, a) }, slog.New(slog.DiscardHandler))
	class := func() string {
		return string(f.classify(bounce.Input{Code: 550, Text: "the vault sealed itself"}).Class)
	}
	if class() != "other" || len(told) != 0 {
		t.Fatalf("an empty folder: %s, %v", class(), told)
	}

	writeRule(t, dir, "own.toml", strings.Replace(ownRule, "CLASS", "mailbox-full", 1))
	f.look(false)
	if class() != "other" {
		t.Error("a file that may still be written was loaded")
	}
	f.look(false)
	if class() != "mailbox-full" || len(told) != 0 {
		t.Fatalf("after a rule was added: %s, %v", class(), told)
	}

	writeRule(t, dir, "own.toml", strings.Replace(ownRule, "CLASS", "mailbox-fool", 1))
	f.look(false)
	f.look(false)
	f.look(false) // not told twice of the same
	if class() != "mailbox-full" || len(told) != 1 {
		t.Fatalf("after a mistake: %s, %v", class(), told)
	}
	for _, want := range []string{dir, "own.toml", `"own-vault"`, `unknown class "mailbox-fool"`} {
		if !strings.Contains(told[0].Message, want) {
			t.Errorf("the alert %q lacks %q", told[0].Message, want)
		}
	}

	writeRule(t, dir, "own.toml", strings.Replace(ownRule, "CLASS", "inactive", 1))
	f.look(true)
	if class() != "inactive" || len(told) != 2 || told[1].Cleared.IsZero() || told[1].Kind != told[0].Kind || told[1].Scope != told[0].Scope {
		t.Fatalf("after the repair: %s, %v", class(), told)
	}

	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	f.look(false)
	f.look(false)
	if class() != "inactive" || len(told) != 3 || !told[2].Cleared.IsZero() {
		t.Fatalf("without its folder: %s, %v", class(), told)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "own.toml")); err != nil {
		t.Fatal(err)
	}
	f.look(false)
	f.look(false)
	if class() != "other" || len(told) != 4 || told[3].Cleared.IsZero() {
		t.Fatalf("after the rule was taken away: %s, %v", class(), told)
	}
}

// TestRulesReloadWhileRunning: a node takes up a rule while it runs, and tells of one it cannot use.
func TestRulesReloadWhileRunning(t *testing.T) {
	c := testConfig(t, nil)
	c.Bounce.Rules = t.TempDir()
	writeRule(t, c.Bounce.Rules, "own.toml", "priority = ")
	r := start(t, c, testAccounts)
	r.await("/v1/alerts", func(b []byte) bool {
		return strings.Contains(string(b), alertRules) && strings.Contains(string(b), "own.toml")
	})
	if n := len(r.ruleFolder.current().Rules()); n != len(bounce.Default().Rules()) {
		t.Errorf("%d rules", n)
	}
	writeRule(t, c.Bounce.Rules, "own.toml", strings.Replace(ownRule, "CLASS", "mailbox-full", 1))
	r.ReloadRules()
	for deadline := time.Now().Add(5 * time.Minute); len(r.ruleFolder.current().Rules()) != len(bounce.Default().Rules())+1; {
		if time.Now().After(deadline) {
			t.Fatal("the rule is not taken up")
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.await("/v1/alerts", func(b []byte) bool { return strings.Contains(string(b), `"items":[]`) })
}
