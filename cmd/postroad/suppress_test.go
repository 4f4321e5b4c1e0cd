package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func day(t time.Time) string { return t.Format("2006-01-02") }

// TestSuppress: a bounce puts its address on the list by itself; the rest is done by hand.
func TestSuppress(t *testing.T) {
	data, _, stop := testPlatform(t)
	at := func(args ...string) []string { return append(args, "--data", data) }
	postroad(t, testAccounts, at("apply", "-f", "-")...).want(t, exitOK)
	send := func(to string) []string {
		return at("send", "--account", "shop", "--from", "info@shop.test", "--subject", "Hello", "--text", "It works.", "--timeout", "5m", "--to", to)
	}

	postroad(t, "", send("Unknown@mailbox.test")...).want(t, exitNotAsWanted, "bounced", "invalid-recipient")
	for deadline := time.Now().Add(5 * time.Minute); postroad(t, "", at("suppress", "check", "unknown@mailbox.test")...).code == exitOK; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the bounce does not reach the suppression list")
		}
	}
	postroad(t, "", at("suppress", "check", "unknown@mailbox.test")...).want(t, exitNotAsWanted, "is suppressed", "invalid-recipient", "automatic", "shop")
	postroad(t, "", send("unknown@mailbox.test")...).want(t, exitNotAsWanted, "suppressed")

	add := func(args ...string) []string {
		return at(append([]string{"suppress", "add", "--account", "shop"}, args...)...)
	}
	postroad(t, "", add("bob@mailbox.test", "--stream", "bulk", "--reason", "asked by phone")...).want(t, exitOK, "bob@mailbox.test", "bulk", "asked by phone")
	begun := time.Now()
	full := postroad(t, "", add("full@mailbox.test", "--expires", "30d")...).want(t, exitOK)
	if first, last := day(begun.AddDate(0, 0, 30)), day(time.Now().AddDate(0, 0, 30)); !strings.Contains(full.out, first) && !strings.Contains(full.out, last) {
		t.Errorf("no %s in %s", first, full.out)
	}
	postroad(t, "", add("nonsense")...).want(t, exitFailure, "nonsense: ")
	postroad(t, "", add("a@b.test", "--expires", "soon")...).want(t, exitUsage, "soon")
	postroad(t, "", at("suppress", "add", "trap@mailbox.test", "--platform")...).want(t, exitOK, "(platform)")
	postroad(t, "", at("suppress", "check", "bob@mailbox.test")...).want(t, exitNotAsWanted, "suppressed for bulk mail")
	postroad(t, "", at("suppress", "check", "alice@mailbox.test")...).want(t, exitOK, "is not suppressed")
	postroad(t, "", send("bob@mailbox.test")...).want(t, exitOK, "delivered") // transactional

	var list struct{ Suppressions []suppressionEntry }
	postroad(t, "", at("suppress", "list", "--json")...).want(t, exitOK).json(t, &list)
	if len(list.Suppressions) != 4 {
		t.Errorf("%+v", list)
	}
	postroad(t, "", at("suppress", "list", "--by", "automatic", "--since", "1h", "--class", "invalid-recipient")...).want(t, exitOK, "unknown@mailbox.test")
	postroad(t, "", at("suppress", "list", "--domain", "elsewhere.test")...).want(t, exitOK, "nobody")
	postroad(t, "", at("suppress", "list", "--since", "whenever")...).want(t, exitUsage, "whenever")

	file := filepath.Join(t.TempDir(), "list.csv")
	if err := os.WriteFile(file, []byte("EmailAddress,SuppressionReason\nann@mailbox.test,SpamComplaint\nnonsense,HardBounce\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(args ...string) []string {
		return at(append([]string{"suppress", "import", "--account", "shop"}, args...)...)
	}
	postroad(t, "", load(file, "--dry-run")...).want(t, exitNotAsWanted, "columns: address, class", "1 good", "line 3:", "dry run")
	postroad(t, "", load(file)...).want(t, exitNotAsWanted, "1 added", "1 refused")
	postroad(t, "ann@mailbox.test\neve@mailbox.test\n", load("-", "--json")...).want(t, exitOK, `"added": 2`)
	postroad(t, "", load("/nowhere/list.csv")...).want(t, exitFailure, "/nowhere/list.csv")

	out := filepath.Join(t.TempDir(), "out.csv")
	postroad(t, "", at("suppress", "export", "--account", "shop", "-o", out)...).want(t, exitOK)
	b, err := os.ReadFile(out)
	if err != nil || strings.Count(string(b), "\n") != 7 || !strings.Contains(string(b), "ann@mailbox.test,complaint,") || strings.Contains(string(b), "trap@") {
		t.Errorf("export: %v\n%s", err, b)
	}
	postroad(t, "", at("suppress", "export", "-o", out)...).want(t, exitFailure, out)
	postroad(t, "", at("suppress", "export", "--platform")...).want(t, exitOK, "trap@mailbox.test")
	postroad(t, "", at("suppress", "export", "--since", "1h", "--by", "automatic")...).want(t, exitOK, "unknown@mailbox.test", "automatic")
	if old := postroad(t, "", at("suppress", "export", "--until", "1h")...).want(t, exitOK).out; strings.Count(old, "\n") != 1 {
		t.Errorf("made before an hour ago: %s", old)
	}

	postroad(t, "", at("suppress", "remove", "--account", "shop", "bob@mailbox.test", "--stream", "bulk")...).want(t, exitOK, "off the list")
	postroad(t, "", at("suppress", "remove", "--account", "shop", "bob@mailbox.test", "--stream", "bulk")...).want(t, exitFailure, "Not found")
	postroad(t, "", at("suppress", "undo")...).want(t, exitFailure, "no condition")
	postroad(t, "", at("suppress", "undo", "--class", "invalid-recipient", "--since", "1h", "--dry-run")...).want(t, exitOK, "1 entries would be removed")
	postroad(t, "", at("suppress", "undo", "--class", "invalid-recipient", "--since", "1h")...).want(t, exitOK, "1 entries removed")
	postroad(t, "", at("suppress", "check", "unknown@mailbox.test")...).want(t, exitOK, "is not suppressed")

	// What is saved can be put back; what is refused leaves no file, and one that is there is not written over.
	saved := filepath.Join(t.TempDir(), "saved.csv")
	undo := func(args ...string) []string {
		return at(append([]string{"suppress", "undo", "--account", "shop", "--save", saved}, args...)...)
	}
	postroad(t, "", undo()...).want(t, exitFailure, "no condition")
	postroad(t, "", undo("--domain", "mailbox.test")...).want(t, exitFailure, "name a class")
	postroad(t, "", undo("--class", "manual", "--dry-run")...).want(t, exitOK, "3 entries would be removed")
	if _, err := os.Stat(saved); err == nil {
		t.Error("a file was made although nothing was removed")
	}
	postroad(t, "", undo("--class", "manual")...).want(t, exitOK, "3 entries removed")
	postroad(t, "", undo("--class", "complaint")...).want(t, exitFailure, "nothing was removed", saved)
	postroad(t, "", at("suppress", "check", "ann@mailbox.test")...).want(t, exitNotAsWanted, "suppressed for bulk mail")
	postroad(t, "", at("suppress", "list", "--class", "manual", "--account", "shop")...).want(t, exitOK, "nobody")
	postroad(t, "", load(saved)...).want(t, exitOK, "3 added")
	b, err = os.ReadFile(saved)
	if again := postroad(t, "", at("suppress", "export", "--class", "manual", "--account", "shop")...).want(t, exitOK).out; err != nil || again != string(b) {
		t.Errorf("saved (%v):\n%s\nput back:\n%s", err, b, again)
	}
	stop()
}
