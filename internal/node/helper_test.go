package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/practice"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testKey      = "pr_test-test-test-test-test-test-test"
	testAdmin    = "pr_admin-admin-admin-admin-admin-admi"
	testPassword = "correct-horse-battery-staple"
)

// testAccounts has accounts and no way out: mail waits. testRoute is a way out.
const (
	testAccounts = `
[[accounts]]
name = "operator"
  [[accounts.credentials]]
  name = "admin"
  kind = "api"
  scopes = ["admin"]
  secret = "` + testAdmin + `"

[[accounts]]
name = "shop"
  [[accounts.senders]]
  name = "shop.test"
  verified = true
  [[accounts.credentials]]
  name = "web"
  kind = "api"
  secret = "` + testKey + `"
  [[accounts.credentials]]
  name = "smtp"
  kind = "smtp"
  username = "shop"
  secret = "` + testPassword + `"

[[accounts]]
name = "rival"
  [[accounts.senders]]
  name = "rival.test"
  verified = true
`
	testRoute = `
[[routes]]
name = "direct"
kind = "mx"

[[policies]]
name = "default"
  [[policies.rules]]
  route = "direct"
`
)

// testConfig listens on free ports of loopback and delivers to the practice internet.
func testConfig(t testing.TB, internet *practice.Internet) config.Config {
	t.Helper()
	c := config.Default()
	c.Hostname, c.Data = "mail.shop.test", filepath.Join(t.TempDir(), "data")
	free := []string{"127.0.0.1:0"}
	c.HTTP.Listen, c.Submission.Listen, c.Submission.ListenTLS, c.ReturnPath.Listen = free, free, free, free
	c.Submission.PlainAuthOnLoopback, c.Submission.MaxSize, c.Submission.MaxRecipients = true, 1<<20, 100
	c.Delivery.AllowPrivate, c.Delivery.StopTimeout = true, config.Duration(5*time.Second)
	c.Spool.Ballast, c.Spool.MinFree = 0, 1<<20
	c.DNS.Servers = []string{"127.0.0.1:1"}
	if internet != nil {
		c.DNS.Servers, c.Delivery.Port = []string{internet.DNSAddr().String()}, internet.Port()
	}
	return c
}

func testInternet(t testing.TB) *practice.Internet {
	t.Helper()
	i, err := practice.Start(context.Background(), practice.Options{Slow: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// running is a node at work.
type running struct {
	*Node
	t      testing.TB
	client *http.Client
	cancel context.CancelFunc
	ended  chan error
}

func start(t testing.TB, c config.Config, state string) *running {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(logWriter{t}, nil))
	}
	return startLogging(t, c, state, log)
}

func startLogging(t testing.TB, c config.Config, state string, log *slog.Logger) *running {
	t.Helper()
	return startWith(t, Options{Config: c, Logger: log}, state)
}

func startWith(t testing.TB, o Options, state string) *running {
	t.Helper()
	n, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Node: n, t: t, client: &http.Client{Transport: &http.Transport{}}, cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		if r.cancel != nil {
			r.stop()
		}
	})
	if state != "" {
		r.apply(state)
	}
	return r
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// stop stops the node in order.
func (r *running) stop() {
	r.t.Helper()
	r.client.CloseIdleConnections()
	r.cancel()
	r.cancel = nil
	if err := <-r.ended; err != nil {
		r.t.Errorf("Run = %v, want nil after a stop that was asked for", err)
	}
}

func (r *running) apply(state string) {
	r.t.Helper()
	s, kinds, err := manage.ParseState([]byte(state))
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.Apply(r.t.Context(), manage.Request{Actor: "test", State: s, Kinds: kinds}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) url() string { return "http://" + r.Addrs("http")[0].String() }

// request makes a request; status 0: nobody answered.
func (r *running) request(key, method, path, body string, header ...string) (int, []byte) {
	q, err := http.NewRequestWithContext(context.Background(), method, r.url()+path, strings.NewReader(body))
	if err != nil {
		r.t.Error(err)
		return 0, nil
	}
	q.Header.Set("Authorization", "Bearer "+key)
	q.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	resp, err := r.client.Do(q)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	return resp.StatusCode, b
}

// send hands in a message, which must be accepted, and returns its id.
func (r *running) send(to string) string {
	r.t.Helper()
	status, b := r.request(testKey, http.MethodPost, "/v1/messages", message(to))
	var m struct{ ID string }
	if err := json.Unmarshal(b, &m); status != http.StatusAccepted || err != nil {
		r.t.Fatalf("%d %s", status, b)
	}
	return m.ID
}

func message(to string) string {
	return fmt.Sprintf(`{"from":"info@shop.test","to":%q,"subject":"to %s","text":"It works."}`, to, to)
}

// await asks until ok says that the answer is the one waited for.
func (r *running) await(path string, ok func(body []byte) bool) []byte {
	r.t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for {
		status, b := r.request(testAdmin, http.MethodGet, path, "")
		if status == http.StatusOK && ok(b) {
			return b
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("GET %s is still %d %s", path, status, b)
		}
	}
}

// traces is what mail leaves behind: in the spool, in the folder of large content, in the record.
func (r *running) traces() string {
	r.t.Helper()
	files, err := os.ReadDir(filepath.Join(r.cfg.Data, SpoolDir, "content"))
	if err != nil {
		r.t.Fatal(err)
	}
	_, found := r.request(testAdmin, http.MethodGet, "/v1/messages", "")
	_, events := r.request(testAdmin, http.MethodGet, "/v1/events", "")
	return fmt.Sprintf("%+v, content %v, record %s, events %s", r.spool.Counts(), files, found, events)
}

// dialogue is a client that says octets and reads replies.
type dialogue struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func dial(t testing.TB, addr net.Addr) *dialogue {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &dialogue{t, c, bufio.NewReader(c)}
}

// reply reads one reply, its lines joined; "" is the end of the connection.
func (d *dialogue) reply() string {
	var lines []string
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			return strings.Join(lines, "\n")
		}
		line = strings.TrimRight(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n")
		}
	}
}

func (d *dialogue) say(octets string) string {
	d.t.Helper()
	if _, err := io.Copy(d, bytes.NewBufferString(octets)); err != nil {
		return ""
	}
	return d.reply()
}
