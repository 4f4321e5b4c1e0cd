package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// classify runs the command on an input and returns what it prints.
func classify(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := newClassifyCmd()
	cmd.GroupID = ""
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

func TestClassifyReplies(t *testing.T) {
	got, err := classify(t, "label\tcode\tenhanced\ttext\nx\t550\t5.1.1\tno such user <a>\n\nx\t451\t\tTry again later\n", "--replies", "-")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"input":"-:2","kind":"reply","recipients":[{"address":"","status":"5.1.1","class":"invalid-recipient","action":"suppress","diagnostic":"no such user <a>"}]}
{"input":"-:4","kind":"reply","recipients":[{"address":"","status":"","class":"transient-system","action":"retry","diagnostic":"Try again later"}]}
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestClassifyMails(t *testing.T) {
	dir := t.TempDir()
	bounce := filepath.Join(dir, "a.eml")
	plain := filepath.Join(dir, "b.eml")
	for file, text := range map[string]string{
		bounce: "From: MAILER-DAEMON@mx.example.net\nSubject: failure notice\n\nSorry, it could not be delivered.\n\n<user@example.com>:\nRemote host said: 552 5.2.2 the mailbox is full\n",
		plain:  "From: user@example.com\nSubject: lunch\n\nAt noon?\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := classify(t, "", "--explain", bounce, plain)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"input":"` + bounce + `","kind":"bounce","recipients":[{"address":"user@example.com","status":"5.2.2","class":"mailbox-full","action":"give-up","diagnostic":"Remote host said: 552 5.2.2 the mailbox is full","scope":"recipient","rule":"mailbox-full"}],"reason":"failure words"}
{"input":"` + plain + `","kind":"other","recipients":[]}
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestClassifyWrongInput(t *testing.T) {
	for name, in := range map[string]string{
		"no text column": "code\tenhanced\n550\t5.1.1\n",
		"bad code":       "code\ttext\nabc\tno\n",
	} {
		if _, err := classify(t, in, "--replies", "-"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := classify(t, "", filepath.Join(t.TempDir(), "missing.eml")); err == nil {
		t.Error("a missing file gives no error")
	}
}

// TestClassifySuggest: what --suggest prints loads as a folder of rules, which then know the replies.
func TestClassifySuggest(t *testing.T) {
	const table = "code\ttext\n550\tThe vault of joe@example.com was sealed\n550\tThe vault of jane@example.org was sealed\n" +
		"599\tthe vault of somebody was sealed\n550\tthe moat is dry today\n550\tuser unknown\n550\t192.0.2.1\n550\t?\n"
	got, err := classify(t, table, "--replies", "--suggest", "-")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(got, "[[rule]]") != 2 || !strings.HasPrefix(got, "# seen 2 times\n") || strings.Contains(got, "joe@") || !strings.Contains(got, "no rule: ") || !strings.Contains(got, "a rule above takes it: 599") {
		t.Errorf("got\n%s", got)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "own.toml"), []byte(got), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err = classify(t, table, "--replies", "--suggest", "--rules", dir, "-"); err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	if got, err = classify(t, table, "--replies", "--explain", "--rules", dir, "-"); err != nil || strings.Count(got, `"rule":"own-`) != 4 {
		t.Errorf("%v\n%s", err, got)
	}
	if _, err := classify(t, table, "--replies", "--rules", filepath.Join(dir, "missing"), "-"); err == nil {
		t.Error("a folder of rules that is not there is taken for an empty one")
	}
}
