package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/archive"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/projector"
	"github.com/postroad/postroad/internal/queue"
	"github.com/postroad/postroad/internal/reporting"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/store/storetest"
	"github.com/postroad/postroad/internal/submission"
	"github.com/postroad/postroad/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The keys of the test platform.
const (
	adminKey  = "pr_admin-admin-admin-admin-admin-admin"
	shopKey   = "pr_shop-shop-shop-shop-shop-shop-shop"
	readKey   = "pr_read-read-read-read-read-read-read"
	sendKey   = "pr_send-send-send-send-send-send-send"
	rivalKey  = "pr_rival-rival-rival-rival-rival-rival"
	pausedKey = "pr_paused-paused-paused-paused-paused"
)

const testState = `
[[accounts]]
name = "operator"
  [[accounts.credentials]]
  name = "admin"
  kind = "api"
  scopes = ["admin"]
  secret = "` + adminKey + `"

[[accounts]]
name = "shop"
  [[accounts.senders]]
  name = "shop.example"
  verified = true
  [[accounts.credentials]]
  name = "web"
  kind = "api"
  secret = "` + shopKey + `"
  [[accounts.credentials]]
  name = "reader"
  kind = "api"
  scopes = ["read"]
  secret = "` + readKey + `"
  [[accounts.credentials]]
  name = "writer"
  kind = "api"
  scopes = ["send"]
  secret = "` + sendKey + `"

[[accounts]]
name = "rival"
  [[accounts.senders]]
  name = "rival.example"
  verified = true
  [[accounts.credentials]]
  name = "web"
  kind = "api"
  secret = "` + rivalKey + `"

[[accounts]]
name = "paused"
state = "paused"
  [[accounts.senders]]
  name = "paused.example"
  verified = true
  [[accounts.credentials]]
  name = "web"
  kind = "api"
  secret = "` + pausedKey + `"
`

// rig is the door before real rooms. There is no route: what is accepted waits until it is cancelled.
type rig struct {
	t        testing.TB
	api      *API
	server   *httptest.Server
	client   *http.Client
	spool    *spool.Spool
	store    *sqlite.Store
	archive  *sqlite.Archive
	queue    *queue.Queue
	stop     chan struct{} // closes Options.Stopping
	webhooks *webhook.Service
	hasty    bool // a GET does not wait until the record holds what was accepted
}

func newRig(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g := &rig{t: t, stop: make(chan struct{})}
	dir := t.TempDir() // before the clean-up that closes what is in it
	var wg sync.WaitGroup
	t.Cleanup(func() {
		if g.server != nil {
			g.client.CloseIdleConnections()
			g.server.Close()
		}
		cancel()
		wg.Wait()
		for _, c := range []io.Closer{g.archive, g.store, g.spool} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g.spool, err = spool.Open(ctx, spool.Options{
		Dir: "/spool", FS: vfs.NewMem(), MemTable: 1 << 20, BlockCache: 1 << 20,
		FreeSpace: func(string) (uint64, uint64, error) { return 100 << 30, 200 << 30, nil },
	})
	check()
	g.store, err = sqlite.Open(ctx, sqlite.Options{Now: storetest.Still(), Dir: dir})
	check()
	m, err := manage.New(ctx, manage.Options{
		Store: g.store, MasterKey: manage.MasterKey{1}, Hostname: "mail.example", NewSecret: submission.NewSecret,
		HashSecret: submission.HashSecret, MatchSecret: submission.MatchSecret, Changed: func(*platform.Snapshot) { g.queue.SnapshotChanged(); g.webhooks.SnapshotChanged() },
		Webhooks:     manage.WebhookRules{AllowHTTP: true, AllowPrivate: true},
		BeginWebhook: func(ctx context.Context, id string) error { return webhook.Begin(ctx, g.store, id) },
	})
	check()
	g.queue, err = queue.New(queue.Options{
		Spools: []queue.Spool{queue.FromSpool(g.spool)}, Snapshot: m.Snapshot,
		Locate: func(context.Context, string, string) (mail.Target, *mail.Outcome) {
			return mail.Target{}, &mail.Outcome{Result: mail.Deferred, Class: mail.ClassNetwork, Scope: mail.ScopeHost} // there is no way out
		},
		Session: func(context.Context, mail.Lane, func(context.Context) (mail.Job, bool), func(mail.Job, mail.Outcome)) {
		},
	})
	check()
	list, err := manage.NewSuppressions(manage.SuppressionOptions{Store: g.store, Known: func(a string) bool { return m.Snapshot().Account(a) != nil }})
	check()
	wg.Go(func() { _ = list.Run(ctx) })
	in, err := submission.New(submission.Options{
		Spool: g.spool, Snapshot: m.Snapshot, TakeQuota: g.store.Take, MaxSize: 4 << 20, Suppressed: list.Suppressed,
		Added: func(m *mail.Message, ds []*mail.Delivery, staged []mail.QueueKey, body mail.Body) {
			g.queue.Add(m, ds, body)
			for _, key := range staged {
				g.queue.Wake(g.spool.ID(), key, m.AcceptedAt)
			}
		},
	})
	check()
	p, err := projector.New(projector.Options{Outbox: g.spool, Store: g.store, Linger: time.Millisecond})
	check()
	wg.Go(func() { _ = p.Run(ctx) })
	wg.Go(func() { _ = g.queue.Run(ctx) })
	g.webhooks, err = webhook.New(webhook.Options{
		Store: g.store, Spool: g.spool.ID(), Snapshot: m.Snapshot, Secret: m.WebhookSecret, AllowHTTP: true, AllowPrivate: true,
	})
	check()
	wg.Go(func() { _ = g.webhooks.Run(ctx) })
	g.archive, err = sqlite.OpenArchive(sqlite.ArchiveOptions{Now: storetest.Still(), Dir: filepath.Join(dir, "archive"), Key: func(account string) [32]byte { return sha256.Sum256([]byte(account)) }})
	check()
	arch, err := archive.New(archive.Options{Spool: g.spool, Record: g.store, Store: g.archive, Snapshot: m.Snapshot, Rescan: 50 * time.Millisecond, Eraser: &archive.Eraser{
		Store: g.store, Seal: manage.MasterKey{1}.Seal, Open: manage.MasterKey{1}.Open,
		Suppressed: func(context.Context, string, string, string, mail.Address, bool) error { return nil },
		Cancel: func(ctx context.Context, account string, a mail.Address, reason string) (int, error) {
			_, err := g.queue.Cancel(ctx, queue.Filter{Account: account, Recipient: a}, reason)
			return 0, err
		},
	}})
	check()
	wg.Go(func() { _ = arch.Run(ctx) })
	reports, err := reporting.New(reporting.Options{
		Record: g.store, Fingerprint: strings.ToLower,
		Waiting: func(ctx context.Context, account string, before time.Time, cursor string, max int) (out []reporting.Waiting, next string, err error) {
			list, next, err := g.queue.List(ctx, queue.Filter{Account: account, Before: before}, cursor, max)
			for _, x := range list {
				out = append(out, reporting.Waiting{Delivery: x.Delivery, Why: x.Why})
			}
			return out, next, err
		},
		Receiver: func(string) string { return "" },
	})
	check()
	o := Options{
		Reporting: reports, Archive: arch, Webhooks: g.webhooks, Submission: in, Manager: m, Queue: g.queue, Store: g.store, Live: g.spool, Version: "test", AdminSocket: "/run/admin.sock",
		Suppress: list,
		Metrics:  http.NotFoundHandler(), Stopping: g.stop,
		Inbox: g.spool,
	}
	if change != nil {
		change(&o)
	}
	g.api, err = New(o)
	check()
	g.server = httptest.NewServer(g.api.Handler())
	g.client = g.server.Client()
	state, kinds, err := manage.ParseState([]byte(testState))
	check()
	_, err = m.Apply(ctx, manage.Request{Actor: "test", State: state, Kinds: kinds})
	check()
	return g
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// problem reads the answer as a problem.
func (a answer) problem(t testing.TB) Problem {
	t.Helper()
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q, want a problem: %d %s", ct, a.status, a.body)
	}
	var p Problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	if p.Status != a.status || p.Title == "" || !strings.HasPrefix(p.Type, "https://postroad.dev/problems/") {
		t.Errorf("status %d with the problem %s", a.status, a.body)
	}
	return p
}

func (p Problem) kind() string { return p.Type[strings.LastIndexByte(p.Type, '/')+1:] }

// do makes a request. header are pairs.
func (g *rig) do(key, method, path, body string, header ...string) answer {
	g.t.Helper()
	// A list may lack what was accepted a moment ago when the machine is slow. How the API itself waits for the record:
	// TestReadYourWrites, TestRecordBehind.
	if method == http.MethodGet && !g.hasty {
		g.recorded()
	}
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.server.URL+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := g.client.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// recorded waits until the record has all that was committed.
func (g *rig) recorded() {
	g.t.Helper()
	for {
		_, newest := g.spool.OutboxRange()
		mark, err := g.store.WaitFor(g.t.Context(), g.spool.ID(), newest)
		if err != nil {
			g.t.Fatal(err)
		}
		if mark >= newest {
			return
		}
	}
}

// get reads a JSON document. On a slow machine it asks again, as the answer says.
func (g *rig) get(key, path string, into any) {
	g.t.Helper()
	a := g.do(key, http.MethodGet, path, "")
	for a.status == http.StatusServiceUnavailable && a.problem(g.t).kind() == "not-recorded-yet" {
		a = g.do(key, http.MethodGet, path, "")
	}
	if a.status != http.StatusOK {
		g.t.Fatalf("GET %s: %d %s", path, a.status, a.body)
	}
	dec := json.NewDecoder(bytes.NewReader(a.body))
	if err := dec.Decode(into); err != nil {
		g.t.Fatalf("GET %s: %v: %s", path, err, a.body)
	}
}

const goodBody = `{"from":"info@shop.example","to":"you@example.com","subject":"Hello","text":"It works."}`

// send hands a message in, which must be accepted.
func (g *rig) send(key, body string, header ...string) Sent {
	g.t.Helper()
	a := g.do(key, http.MethodPost, "/v1/messages", body, header...)
	if a.status != http.StatusAccepted {
		g.t.Fatalf("POST: %d %s", a.status, a.body)
	}
	var s Sent
	if err := json.Unmarshal(a.body, &s); err != nil {
		g.t.Fatal(err)
	}
	return s
}
