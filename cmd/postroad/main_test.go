package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fatih/color"
	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/node"
	"github.com/postroad/postroad/internal/practice"
)

func TestMain(m *testing.M) {
	for _, name := range []string{"POSTROAD_URL", "POSTROAD_API_KEY", "POSTROAD_ACCOUNT", "POSTROAD_DATA", "POSTROAD_CONFIG"} {
		os.Unsetenv(name)
	}
	goleak.VerifyTestMain(m)
}

// said is what a command line came to.
type said struct {
	code     int
	out, err string
}

func postroad(t testing.TB, stdin string, args ...string) said {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; {
		var out, err bytes.Buffer
		code := run(t.Context(), args, strings.NewReader(stdin), &out, &err)
		// On a busy machine the record may be behind for a while, and what looks says so. Asking again changes nothing.
		if len(args) > 0 && args[0] == "trace" && strings.Contains(err.String(), "the record is behind") && time.Now().Before(deadline) {
			continue
		}
		return said{code, out.String(), err.String()}
	}
}

// eventually says the same until the output has the text: what is shown comes from the record, which follows.
func eventually(t testing.TB, text string, args ...string) said {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if s := postroad(t, "", args...); strings.Contains(s.out, text) || time.Now().After(deadline) {
			return s.want(t, s.code, text)
		}
	}
}

// want checks the exit code, and that the output has every text. After success standard error has nothing but remarks that are
// wanted.
func (s said) want(t testing.TB, code int, texts ...string) said {
	t.Helper()
	if s.code != code {
		t.Errorf("exit %d, want %d\nout: %s\nerr: %s", s.code, code, s.out, s.err)
	}
	if code == exitOK && s.err != "" && !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(s.err, text) }) {
		t.Errorf("standard error has %q", s.err)
	}
	for _, text := range texts {
		if !strings.Contains(s.out+s.err, text) {
			t.Errorf("no %q in\nout: %s\nerr: %s", text, s.out, s.err)
		}
	}
	return s
}

// json reads the output.
func (s said) json(t testing.TB, into any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(s.out))
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%v in %s (error %s)", err, s.out, s.err)
	}
	if dec.More() {
		t.Errorf("more than one document: %s", s.out)
	}
}

func TestUsage(t *testing.T) {
	nowhere := t.TempDir()
	for _, tt := range []struct {
		args string
		code int
		text string
	}{
		{"", exitOK, "Run the platform"},
		{"--help", exitOK, "demo"},
		{"help send", exitOK, "--from"},
		{"--version", exitOK, "postroad version"},
		{"version", exitOK, ""},
		{"config", exitOK, "[submission]"},
		{"completion bash", exitOK, "postroad"},
		{"completion zsh", exitOK, "postroad"},
		{"completion fish", exitOK, "postroad"},
		{"__completeNoDesc search --class policy", exitOK, "ShellCompDirectiveNoFileComp"},
		{"__complete webhooks deliveries --data " + nowhere + " x", exitOK, "ShellCompDirectiveNoFileComp"},
		{"search --from yesterday", exitUsage, "--from: \"yesterday\" is no time"},
		{"feedback list --since never", exitUsage, "--from: \"never\""},
		{"nonsense", exitUsage, "nonsense"},
		{"serve --nonsense", exitUsage, "nonsense"},
		{"serve extra", exitUsage, "extra"},
		{"queue nonsense", exitUsage, "nonsense"},
		{"queue list --max many", exitUsage, "many"},
		{"queue hold", exitUsage, "1 arg"},
		{"trace", exitUsage, "1 arg"},
		{"backup", exitUsage, "1 arg"},
		{"restore a b", exitUsage, "1 arg"},
		{"apply", exitUsage, "-f"},
		{"send", exitUsage, "--from"},
		{"send --from a@b.test --send-at tomorrow", exitUsage, "--send-at"},
		{"send --from a@b.test --timeout soon", exitUsage, "soon"},
		{"spool nonsense", exitUsage, "nonsense"},
		{"apply -f /nowhere/state.toml", exitFailure, "/nowhere/state.toml"},
		{"config -c /nowhere/postroad.toml", exitFailure, "/nowhere/postroad.toml"},
		{"serve -c /nowhere/postroad.toml", exitFailure, "/nowhere/postroad.toml"},
		{"send --from a@b.test --attach /nowhere/file --data " + nowhere, exitFailure, "/nowhere/file"},
		{"queue --url http://127.0.0.1:1", exitUnreachable, "no platform answers"},
		{"queue --url nonsense", exitFailure, "not an http or https address"},
		{"backup --data " + nowhere + " " + nowhere + "/b", exitFailure, "no platform"},
		{"restore --data " + nowhere + "/new " + nowhere, exitFailure, "no backup"},
	} {
		t.Run(tt.args, func(t *testing.T) { postroad(t, "", strings.Fields(tt.args)...).want(t, tt.code, tt.text) })
	}
}

// What `postroad config` prints can be read again, and means the same.
func TestConfigPrints(t *testing.T) {
	file := filepath.Join(t.TempDir(), "postroad.toml")
	first := postroad(t, "", "config").want(t, exitOK)
	if err := os.WriteFile(file, []byte(strings.Replace(first.out, "data = 'postroad-data'\n", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if second := postroad(t, "", "config", "-c", file).want(t, exitOK); second.out != first.out {
		t.Errorf("not the same:\n%s\n%s", first.out, second.out)
	}
	if err := os.WriteFile(file, []byte("[delivery]\nprot = 25\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	postroad(t, "", "config", "-c", file).want(t, exitFailure, file+":2:1", "delivery.prot")
}

const testAccounts = `
[[accounts]]
name = "shop"
  [[accounts.senders]]
  name = "shop.test"
  verified = true
  [[accounts.credentials]]
  name = "web"
  kind = "api"

[[routes]]
name = "direct"
kind = "mx"

[[policies]]
name = "default"
  [[policies.rules]]
  route = "direct"
`

// testPlatform starts a node on the practice internet and returns its data folder, its API address and a stop.
func testPlatform(t *testing.T) (data, url string, stop func()) {
	t.Helper()
	internet, err := practice.Start(context.Background(), practice.Options{Slow: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Hostname, c.Data = "mail.shop.test", filepath.Join(t.TempDir(), "data")
	free := []string{"127.0.0.1:0"}
	c.HTTP.Listen, c.Submission.Listen, c.Submission.ListenTLS, c.ReturnPath.Listen = free, free, free, free
	c.Delivery.AllowPrivate, c.Delivery.Port, c.DNS.Servers = true, internet.Port(), []string{internet.DNSAddr().String()}
	c.Spool.Ballast, c.Spool.MinFree = 0, 1<<20
	c.Webhook.AllowPrivate, c.Webhook.AllowHTTP = true, true
	n, err := node.Open(context.Background(), node.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := internet.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return c.Data, "http://" + n.Addrs("http")[0].String(), stop
}

func TestCommands(t *testing.T) {
	data, url, stop := testPlatform(t)
	at := func(args ...string) []string { return append(args, "--data", data) }
	state := filepath.Join(t.TempDir(), "state.toml")
	if err := os.WriteFile(state, []byte(testAccounts), 0o600); err != nil {
		t.Fatal(err)
	}

	// apply, export
	postroad(t, "", at("apply", "-f", state, "--dry-run")...).want(t, exitOK, "+ account shop", "dry run")
	applied := postroad(t, "", at("apply", "-f", state, "--note", "first")...).want(t, exitOK, "+ account shop", "+ route direct", "New secrets", "secret  pr_")
	postroad(t, testAccounts, at("apply", "-f", "-")...).want(t, exitOK, "nothing to change")
	exported := postroad(t, "", at("export")...).want(t, exitOK, "[[accounts]]", "shop.test")
	postroad(t, exported.out, at("apply", "-f", "-")...).want(t, exitOK, "nothing to change")
	var report stateReport
	postroad(t, exported.out, at("apply", "-f", "-", "--json")...).want(t, exitOK).json(t, &report)
	if report.Version == 0 || report.Changes == nil {
		t.Errorf("%+v", report)
	}
	postroad(t, "[[accounts]]\nname = \"x\"\nstatus = 1\n", at("apply", "-f", "-")...).want(t, exitFailure, "3:1", "status")

	// send, trace
	from := at("send", "--account", "shop", "--from", "info@shop.test", "--subject", "Hello", "--text", "It works.", "--timeout", "5m")
	postroad(t, "", append(from, "--to", "alice@mailbox.test")...).want(t, exitOK, "accepted", "delivered", "alice@mailbox.test")
	postroad(t, "", append(from, "--to", "unknown@mailbox.test")...).want(t, exitNotAsWanted, "bounced", "invalid-recipient")
	postroad(t, "", append(from, "--to", "a@@b")...).want(t, exitFailure, "An address is not valid", "to[0]")
	postroad(t, "", at("send", "--account", "shop", "--from", "ceo@elsewhere.test", "--to", "a@mailbox.test", "--text", "x")...).want(t, exitFailure, "may not write as this sender")
	postroad(t, "From: info@shop.test\nTo: raw@mailbox.test\nSubject: x\n\nhello\n", at("send", "--account", "shop", "--raw", "-", "--timeout", "5m")...).want(t, exitOK, "delivered", "raw@mailbox.test")
	var m message
	postroad(t, "", append(from, "--to", "alice@mailbox.test", "--json")...).want(t, exitOK).json(t, &m)
	if len(m.Deliveries) != 1 || m.Deliveries[0].State != "delivered" {
		t.Errorf("%+v", m)
	}
	postroad(t, "", at("trace", m.ID)...).want(t, exitOK, "alice@mailbox.test", "delivered", "attempt 1 by direct", "250")
	postroad(t, "", at("trace", m.Deliveries[0].ID, "--transcript")...).want(t, exitOK, "delivered")
	var tl timeline
	postroad(t, "", at("trace", m.ID, "--json")...).want(t, exitOK).json(t, &tl)
	if tl.Message.ID != m.ID || len(tl.Events) != 2 || len(tl.Deliveries) != 1 {
		t.Errorf("%+v", tl)
	}
	postroad(t, "", at("trace", "msg_nonsense")...).want(t, exitFailure, "no message id")
	postroad(t, "", at("trace", "msg_06eajh8a01rsn1pbdmfhkmfjc0")...).want(t, exitFailure, "Not found")

	// the same with a key over the network
	key := regexp.MustCompile(`pr_[A-Za-z0-9_-]+`).FindString(applied.out)
	t.Setenv("POSTROAD_API_KEY", key)
	postroad(t, "", "trace", m.ID, "--url", url).want(t, exitOK, "delivered")
	postroad(t, "", "export", "--url", url).want(t, exitFailure, "may not do this")
	t.Setenv("POSTROAD_API_KEY", key+"x")
	postroad(t, "", "trace", m.ID, "--url", url).want(t, exitFailure, "API key is not valid")
	t.Setenv("POSTROAD_API_KEY", "")

	feedbackCommands(t, at, &m)
	queueCommands(t, at, from)
	postroad(t, "", at("alerts")...).want(t, exitOK, "no alerts")
	var alerts struct{ Items []any }
	postroad(t, "", at("alerts", "--all", "--json")...).want(t, exitOK).json(t, &alerts)

	// backup while it runs; the spool is in use
	backup := filepath.Join(t.TempDir(), "backup")
	postroad(t, "", at("backup", backup)...).want(t, exitOK, "backed up", "master key")
	postroad(t, "", at("spool", "check")...).want(t, exitFailure, "in use by another process")
	postroad(t, "", "serve", "--data", data).want(t, exitFailure, "in use by another process", data)
	postroad(t, "", at("restore", backup)...).want(t, exitFailure, "there already")
	stop()
	postroad(t, "", at("spool", "check")...).want(t, exitOK, "messages 0, deliveries 0")
	var check struct{ Problems []any }
	postroad(t, "", at("spool", "check", "--json")...).want(t, exitOK).json(t, &check)
	postroad(t, "", at("spool", "salvage", filepath.Join(t.TempDir(), "saved"))...).want(t, exitOK, "messages 0")
	fresh := filepath.Join(t.TempDir(), "fresh")
	postroad(t, "", "restore", "--data", fresh, backup).want(t, exitOK, "restored to "+fresh)
	if _, err := os.Stat(fresh + ".key"); err != nil {
		t.Error(err)
	}

	// a day of the record is damaged
	days, err := filepath.Glob(filepath.Join(data, "store", "record", "*.db"))
	if err != nil || len(days) == 0 {
		t.Fatalf("days of the record: %v, %v", days, err)
	}
	if err := os.WriteFile(days[0], []byte(strings.Repeat("no database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	backup = filepath.Join(t.TempDir(), "partly")
	postroad(t, "", at("backup", backup)...).want(t, exitNotAsWanted, "backed up", "store/record/"+filepath.Base(days[0])+" could not be read")
	postroad(t, "", "restore", "--data", fresh+"2", backup).want(t, exitOK, "restored to", filepath.Base(days[0])+" was damaged when the backup was made")
}

// feedbackCommands hands in what came back on a message, twice, and a mail that is no report.
func feedbackCommands(t *testing.T, at func(...string) []string, m *message) {
	t.Helper()
	bounce := "From: MAILER-DAEMON@isp.test\nSubject: Undelivered\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n" +
		"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.isp.test\n\nFinal-Recipient: rfc822; alice@mailbox.test\nAction: failed\nStatus: 5.2.2\n" +
		"Diagnostic-Code: smtp; 552 5.2.2 mailbox full\n\n--b\nContent-Type: text/rfc822-headers\n\nMessage-ID: <" + m.MessageID + ">\n\n--b--\n"
	add := func(text string) string {
		t.Helper()
		id, _, _ := strings.Cut(postroad(t, text, at("feedback", "add", "-", "--account", "shop")...).want(t, exitOK, "rpt_").out, " ")
		for deadline := time.Now().Add(5 * time.Minute); postroad(t, "", at("feedback", "show", id)...).code != exitOK; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("a report is not read")
			}
		}
		return id
	}
	first, again := add(bounce), add(bounce)
	postroad(t, "", at("feedback", "show", first)...).want(t, exitOK, "acted", "evidence    match", "says of alice@mailbox.test: failed 5.2.2 mailbox-full", "bounced")
	postroad(t, "", at("feedback", "show", first, "--raw")...).want(t, exitOK, "552 5.2.2 mailbox full")
	postroad(t, "", at("feedback", "show", again)...).want(t, exitOK, "replayed", "by report "+first)
	postroad(t, "", at("feedback", "list", "--of", "shop", "--from", "1h", "--outcome", "replayed")...).want(t, exitOK, "alice@mailbox.test", again)
	postroad(t, "", at("feedback", "list", "--from", "soon")...).want(t, exitUsage, "6h, 3d or 2w")
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		s := postroad(t, "", at("trace", m.ID)...).want(t, exitOK, "a report (bounce) changed nothing: the delivery is bounced already", again)
		if strings.Contains(s.out, "bounced (late)") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the bounce is not in the timeline: %s", s.out)
		}
	}
	postroad(t, "hello", at("feedback", "add", "-")...).want(t, exitFailure, "it is no mail")
	postroad(t, "", at("mailbox", "list")...).want(t, exitOK, "nothing came in")
}

func queueCommands(t *testing.T, at func(...string) []string, from []string) {
	t.Helper()
	if s := postroad(t, "", at("queue")...); s.code != exitOK || s.err != "" && s.err != "nothing waits\n" { // lanes may still be listed
		t.Errorf("queue: %+v", s)
	}
	postroad(t, "", at("queue", "hold", "stop", "--domain", "mailbox.test", "--reason", "testing")...).want(t, exitOK, "+ hold stop")
	postroad(t, "", at("queue", "hold", "bad", "--reason", "no condition")...).want(t, exitFailure, "not valid")
	postroad(t, "", at("queue", "holds")...).want(t, exitOK, "stop", "testing")
	id := strings.TrimSpace(postroad(t, "", append(from, "--to", "alice@mailbox.test", "--no-wait")...).want(t, exitOK, "msg_").out)
	other := strings.TrimSpace(postroad(t, "", append(from, "--to", "bob@mailbox.test", "--no-wait")...).want(t, exitOK, "msg_").out)
	// Nobody waits for what is held longer than asked.
	postroad(t, "", append(from, "--to", "carol@mailbox.test", "--timeout", "300ms")...).want(t, exitNotAsWanted, "not known yet")
	postroad(t, "", append(from, "--to", "dave@mailbox.test", "--timeout", "1ns")...).want(t, exitNotAsWanted, "not known yet") // nor what is never asked about
	postroad(t, "", at("queue", "list", "--message", id)...).want(t, exitOK, "alice@mailbox.test", "held by stop")
	var list waitingList
	eventually(t, "dave@mailbox.test", at("queue", "list", "--held", "stop")...).want(t, exitOK)
	postroad(t, "", at("queue", "list", "--held", "stop", "--json")...).want(t, exitOK).json(t, &list)
	if len(list.Deliveries) != 4 {
		t.Errorf("%d deliveries are held, want 4: %+v", len(list.Deliveries), list)
	}
	var q queues
	postroad(t, "", at("queue", "--json")...).want(t, exitOK).json(t, &q)
	if len(q.Queues) != 1 || q.Queues[0].Held != 4 {
		t.Errorf("%+v", q)
	}
	postroad(t, "", at("queue", "cancel")...).want(t, exitFailure, "everything")
	postroad(t, "", at("queue", "cancel", "--message", other, "--reason", "a mistake")...).want(t, exitOK, "cancel: 1 ")
	eventually(t, "a mistake", at("trace", other)...).want(t, exitOK, "cancelled")
	postroad(t, "", at("queue", "release", "stop")...).want(t, exitOK, "- hold stop")
	postroad(t, "", at("queue", "release", "stop")...).want(t, exitFailure, "Not found")
	var done struct{ Count int }
	postroad(t, "", at("queue", "retry", "--message", id, "--json")...).want(t, exitOK).json(t, &done)
	for deadline := time.Now().Add(5 * time.Minute); ; {
		s := postroad(t, "", at("trace", id)...).want(t, exitOK)
		if strings.Contains(s.out, "250") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("released mail does not go out: %s", s.out)
		}
	}
	if s := postroad(t, "", at("queue", "list")...); s.code != exitOK || s.err != "" && (s.err != "nothing waits\n" || s.out != "") {
		t.Errorf("queue list: %+v", s)
	}
}

// Colour is for terminals: what is piped into another program has none, nor has anything where NO_COLOR is set.
func TestColours(t *testing.T) {
	if !color.NoColor {
		t.Error("colours although the output is no terminal")
	}
	old := color.NoColor
	defer func() { color.NoColor = old }()
	color.NoColor = false
	if s := paint("bounced"); !strings.Contains(s, "\x1b[") {
		t.Errorf("%q", s)
	}
	var b bytes.Buffer
	table(&b, [][]string{{"A", "B"}, {paint("bounced"), "x"}, {"y", "z"}})
	lines := strings.Split(b.String(), "\n")
	plain := regexp.MustCompile("\x1b\\[[0-9;]*m")
	want := []string{"A        B", "bounced  x", "y        z"}
	for i, w := range want {
		if got := plain.ReplaceAllString(lines[i], ""); got != w {
			t.Errorf("line %d: %q, want %q: colour must not count as width", i, got, w)
		}
	}
}

func TestShortForms(t *testing.T) {
	for d, want := range map[time.Duration]string{
		5 * time.Millisecond: "5ms", 1500 * time.Millisecond: "1.5s", 65 * time.Second: "1m05s", 90 * time.Minute: "1h30m",
		49 * time.Hour: "2d01h", -time.Minute: "1m00s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%s) = %s, want %s", d, got, want)
		}
	}
	if got := oneLine("a\r\n b\tü"+strings.Repeat("x", 20), 8); got != "a b üxx…" {
		t.Errorf("%q", got)
	}
	if got := clock(time.Time{}); got != "-" {
		t.Errorf("%q", got)
	}
	for _, at := range []time.Time{time.Now(), time.Now().Add(-100 * time.Hour)} {
		if got, zone := clock(at), at.Local().Format("Z07:00"); !strings.HasSuffix(got, zone) {
			t.Errorf("%q has no zone %s", got, zone)
		}
	}
	if got := fmt.Sprint(exitError{3}); got != "exit status 3" {
		t.Errorf("%q", got)
	}
}
