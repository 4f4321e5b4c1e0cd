package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/store/storetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childDir) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

const spoolID = mail.SpoolID(7)

var secretOf = []byte("0123456789abcdef0123456789abcdef")

// rig is a Service before a real store, with receivers at the end of pipes: it runs in real and in virtual time.
type rig struct {
	t     *testing.T
	dir   string
	store *sqlite.Store
	gen   *storetest.Mail
	snap  atomic.Pointer[platform.Snapshot]
	svc   *Service
	net   *pipes

	mu     sync.Mutex
	alerts []platform.Alert
	told   []Stopped
	grew   chan struct{} // closed when events are recorded

	cancel context.CancelFunc
	ended  chan struct{}
	change func(*Options)
	tune   func(*Service) // before it runs
	step   func(string) error
}

func newRig(t *testing.T, change func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), gen: storetest.NewMail(spoolID, time.Now().UTC().Truncate(time.Millisecond)), net: &pipes{at: map[string]*receiver{}}, change: change, grew: make(chan struct{})}
	r.snap.Store(platform.NewSnapshot(platform.State{}, "mail.example"))
	r.openStore()
	t.Cleanup(func() {
		r.stop()
		r.net.close()
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) openStore() {
	r.t.Helper()
	var err error
	r.store, err = sqlite.Open(context.Background(), sqlite.Options{Dir: r.dir, Step: func(name string) error {
		if r.step != nil {
			return r.step(name)
		}
		return nil
	}})
	if err != nil {
		r.t.Fatal(err)
	}
}

// patient is the store, but waits for events longer than store.MaxWait: the days these tests let pass are virtual, and a
// million looks at a record in which nothing happens are not.
type patient struct {
	*sqlite.Store
	r *rig
}

func (p patient) WaitFor(ctx context.Context, spool mail.SpoolID, seq uint64) (uint64, error) {
	const most = 5 * otherSpools
	p.r.mu.Lock()
	grew := p.r.grew
	p.r.mu.Unlock()
	have, err := p.Watermark(ctx, spool)
	if err != nil || have >= seq {
		return have, err
	}
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-grew:
	case <-t.C:
	case <-ctx.Done():
		return have, nil
	}
	return p.Watermark(ctx, spool)
}

// run starts a Service on the store.
func (r *rig) run() {
	r.t.Helper()
	o := Options{
		Store: patient{r.store, r}, Spool: spoolID, Snapshot: r.snap.Load,
		Secret: func(_ *platform.Webhook, k *platform.WebhookKey) ([]byte, error) {
			if len(k.Sealed) == 0 {
				return nil, errors.New("does not open")
			}
			return k.Sealed, nil
		},
		Alert: func(a platform.Alert) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.alerts = append(r.alerts, a)
		},
		Stopped: func(s Stopped) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.told = append(r.told, s)
		},
		AllowHTTP: true, Dial: r.net.dial, Logger: slog.New(slog.DiscardHandler),
	}
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if r.change != nil {
		r.change(&o)
	}
	var err error
	if r.svc, err = New(o); err != nil {
		r.t.Fatal(err)
	}
	if r.tune != nil {
		r.tune(r.svc)
	}
	ctx, cancel := context.WithCancel(context.Background())
	svc, ended := r.svc, make(chan struct{})
	r.cancel, r.ended = cancel, ended
	go func() {
		defer close(ended)
		if err := svc.Run(ctx); err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}()
	<-svc.Ready()
}

func (r *rig) stop() {
	if r.cancel != nil {
		r.cancel()
		<-r.ended
		r.cancel = nil
	}
}

// restart stops the Service in order and starts another on the same files.
func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	if err := r.store.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.openStore()
	r.run()
}

// stops and raised are what was told of webhooks that were stopped, and of alerts.
func (r *rig) stops() []Stopped {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.told)
}

func (r *rig) raised() []platform.Alert {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.alerts)
}

// hook is a webhook of an account.
func hook(account, name string, change func(*platform.Webhook)) (string, platform.Webhook) {
	w := platform.Webhook{
		Name: name, ID: "whk_" + account + "_" + name, URL: "http://" + name + ".example/events",
		Keys: []platform.WebhookKey{{Since: time.Unix(1, 0), Sealed: secretOf}},
	}
	if change != nil {
		change(&w)
	}
	return account, w
}

// set puts webhooks into the platform's state, one after the other by set(hook(…)).
func (r *rig) set(account string, w platform.Webhook) {
	r.t.Helper()
	state := r.snap.Load().State()
	state.Accounts = slices.Clone(state.Accounts)
	i := slices.IndexFunc(state.Accounts, func(a platform.Account) bool { return a.Name == account })
	if i < 0 {
		state.Accounts = append(state.Accounts, platform.Account{Name: account})
		i = len(state.Accounts) - 1
	}
	a := &state.Accounts[i]
	a.Webhooks = slices.DeleteFunc(slices.Clone(a.Webhooks), func(x platform.Webhook) bool { return x.Name == w.Name })
	if w.ID != "" {
		positions, err := r.store.WebhookPositions(context.Background())
		if err != nil {
			r.t.Fatal(err)
		}
		if !slices.ContainsFunc(positions, func(p store.WebhookPosition) bool { return p.Webhook == w.ID }) {
			if err := Begin(context.Background(), r.store, w.ID); err != nil {
				r.t.Fatal(err)
			}
		}
		a.Webhooks = append(a.Webhooks, w)
	}
	r.snap.Store(platform.NewSnapshot(state, "mail.example"))
	if r.svc != nil {
		r.svc.SnapshotChanged()
	}
}

// record writes events and returns their ids.
func (r *rig) record(events ...*mail.Event) (ids []string) {
	r.t.Helper()
	if err := r.store.WriteEvents(context.Background(), spoolID, r.gen.Seq, events); err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	close(r.grew)
	r.grew = make(chan struct{})
	r.mu.Unlock()
	for _, e := range events {
		ids = append(ids, e.ID.String())
	}
	return ids
}

// sent records accepted and delivered events of n messages.
func (r *rig) sent(account string, n int) []string {
	r.t.Helper()
	r.gen.Clock = time.Now().UTC().Truncate(time.Millisecond)
	return r.record(r.gen.Sent(account, n)...)
}

// status waits until the webhook's status is as wanted.
func (r *rig) status(id string, ok func(Status) bool) Status {
	r.t.Helper()
	var st Status
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var err error
		if st, err = r.svc.Status(id); err == nil && ok(st) {
			return st
		}
	}
	r.t.Fatalf("the webhook stays %+v", st)
	return st
}

func (r *rig) log(id string) []store.WebhookAttempt {
	r.t.Helper()
	var list []store.WebhookAttempt
	q := store.WebhookQuery{Webhook: id, Bodies: true, Max: store.MaxPage}
	for {
		page, next, err := r.store.WebhookAttempts(context.Background(), q)
		if err != nil {
			r.t.Fatal(err)
		}
		list = append(list, page...)
		if q.Cursor = next; next == "" {
			slices.Reverse(list)
			return list
		}
	}
}

// pipes is a network: receivers by host.
type pipes struct {
	mu    sync.Mutex
	at    map[string]*receiver
	dials atomic.Int64
}

func (p *pipes) dial(ctx context.Context, _, address string) (net.Conn, error) {
	p.dials.Add(1)
	host, _, _ := net.SplitHostPort(address)
	p.mu.Lock()
	r := p.at[host]
	p.mu.Unlock()
	if r == nil {
		return nil, errors.New("connection refused")
	}
	r.mu.Lock()
	down := r.down
	r.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	client, server := net.Pipe()
	r.mu.Lock()
	r.open = append(r.open, server)
	r.mu.Unlock()
	select {
	case r.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.at {
		_ = r.server.Close()
		<-r.served
	}
}

// got is one request a receiver had, and what it answered.
type got struct {
	id, replay, test string
	at               time.Time
	status           int
	typ              string
	account          string
	seq              uint64
	body             []byte
	header           http.Header
}

// receiver is a customer's server. It checks every signature.
type receiver struct {
	t       *testing.T
	conns   chan net.Conn
	server  *http.Server
	served  chan struct{}
	mu      sync.Mutex
	down    bool
	open    []net.Conn
	had     []got
	secrets [][]byte
	// answer decides what is answered; nil: 200. It may write by itself and return 0.
	answer func(n int, g got, w http.ResponseWriter, q *http.Request) int
}

func (r *rig) receiver(host string, answer func(n int, g got, w http.ResponseWriter, q *http.Request) int) *receiver {
	x := &receiver{t: r.t, conns: make(chan net.Conn), served: make(chan struct{}), answer: answer, secrets: [][]byte{secretOf}}
	x.server = &http.Server{Handler: x, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	r.net.mu.Lock()
	r.net.at[host] = x
	r.net.mu.Unlock()
	go func() {
		defer close(x.served)
		_ = x.server.Serve(&pipeListener{conns: x.conns, closed: make(chan struct{})})
	}()
	return x
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// verify checks a signature as a receiver would that knows the specification and not our code.
func verify(secrets [][]byte, h http.Header, body []byte) error {
	id, at := h.Get("webhook-id"), h.Get("webhook-timestamp")
	if id == "" || strings.Contains(id, ".") {
		return fmt.Errorf("webhook-id %q", id)
	}
	sec, err := strconv.ParseInt(at, 10, 64)
	if err != nil || time.Since(time.Unix(sec, 0)).Abs() > 5*time.Minute {
		return fmt.Errorf("webhook-timestamp %q, now %v", at, time.Now())
	}
	for _, sig := range strings.Split(h.Get("webhook-signature"), " ") {
		version, value, _ := strings.Cut(sig, ",")
		mac, err := base64.StdEncoding.DecodeString(value)
		if version != "v1" || err != nil {
			return fmt.Errorf("signature %q", sig)
		}
		for _, secret := range secrets {
			h := hmac.New(sha256.New, secret)
			fmt.Fprintf(h, "%s.%s.%s", id, at, body)
			if hmac.Equal(h.Sum(nil), mac) {
				return nil
			}
		}
	}
	return fmt.Errorf("no signature of %q fits", h.Get("webhook-signature"))
}

func (x *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // the platform was stopped
	}
	x.mu.Lock()
	if err := verify(x.secrets, q.Header, body); err != nil {
		x.t.Errorf("%s: %v", q.Host, err)
	}
	var p struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      struct {
			ID      string    `json:"id"`
			Type    string    `json:"type"`
			Time    time.Time `json:"time"`
			Account string    `json:"account"`
		} `json:"data"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&p); err != nil || p.Data.ID != q.Header.Get("webhook-id") || p.Type != p.Data.Type || !p.Timestamp.Equal(p.Data.Time) || p.Timestamp.IsZero() {
		x.t.Errorf("body %s of %s, %v", body, q.Header.Get("webhook-id"), err)
	}
	for _, inner := range []string{"body_hash", `"content"`, "body_offset"} {
		if strings.Contains(string(body), inner) {
			x.t.Errorf("how content is kept went out: %s", body)
		}
	}
	g := got{
		id: p.Data.ID, replay: q.Header.Get("postroad-replay"), test: q.Header.Get("postroad-test"), at: time.Now(), typ: p.Type, account: p.Data.Account,
		body: body, header: q.Header.Clone(),
	}
	if id, err := mail.ParseEventID(p.Data.ID); err == nil {
		g.seq = id.Seq
	}
	n, answer := len(x.had)+1, x.answer
	x.mu.Unlock()
	g.status = http.StatusOK
	if answer != nil {
		g.status = answer(n, g, w, q)
	}
	x.mu.Lock()
	x.had = append(x.had, g)
	x.mu.Unlock()
	if g.status != 0 {
		w.WriteHeader(g.status)
	}
}

func (x *receiver) setDown(down bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.down = down; down {
		for _, c := range x.open {
			_ = c.Close()
		}
	}
	x.open = nil
}

func (x *receiver) all() []got {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.had)
}

// taken are the ids of live events that were answered 2xx, in order.
func (x *receiver) taken() (ids []string) {
	for _, g := range x.all() {
		if g.status >= 200 && g.status <= 299 && g.replay == "" && g.test == "" {
			ids = append(ids, g.id)
		}
	}
	return ids
}

// await waits until n live events were taken and checks that they are the wanted ones, in order, each once.
func (x *receiver) await(want []string) {
	x.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); len(x.taken()) < len(want) && time.Now().Before(deadline); {
		time.Sleep(2 * time.Millisecond)
	}
	if got := x.taken(); !slices.Equal(got, want) {
		x.t.Fatalf("%d events were taken, want %d\ngot  %.400v\nwant %.400v", len(got), len(want), got, want)
	}
}
