package submission

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// added is what a Service handed to the queue.
type added struct {
	m      *mail.Message
	ds     []*mail.Delivery
	staged []mail.QueueKey
	body   mail.Body
}

// bench is a Service over a real spool in memory.
type testbed struct {
	*Service
	t     testing.TB
	fs    *vfs.MemFS
	spool *spool.Spool

	mu     sync.Mutex
	now    time.Time
	free   uint64
	snap   *platform.Snapshot
	added  []added
	ledger *ledger
}

// ledger is a durable ledger in memory that counts how often it was asked.
type ledger struct {
	mu    sync.Mutex
	taken map[string]int64
	asked int
	err   error
}

func (l *ledger) take(_ context.Context, key, period string, want, limit int64) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if l.err != nil {
		return 0, l.err
	}
	got := max(0, min(want, limit-l.taken[key+period]))
	l.taken[key+period] += got
	return got, nil
}

const testKey = "pr_test-key-of-shop"

// testPassword's hash is made once: argon2 is slow on purpose.
var testPassword, testHash = "correct horse", sync.OnceValue(func() string { return HashPassword("correct horse") })

func testState() platform.State {
	return platform.State{Accounts: []platform.Account{
		{
			Name:    "shop",
			Senders: []platform.Sender{{Name: "shop.example", Verified: true}, {Name: "new.example"}},
			Credentials: []platform.Credential{
				{Name: "web", Kind: platform.CredentialAPI, Hash: HashKey(testKey), Tags: []string{"web"}},
				{Name: "smtp", Kind: platform.CredentialSMTP, Hash: testHash()},
				{Name: "unix", Kind: platform.CredentialAPI, Newlines: platform.NewlinesNormalise, Hash: HashKey("pr_unix")},
				{Name: "reader", Kind: platform.CredentialAPI, Scopes: []platform.Scope{platform.ScopeRead}, Hash: HashKey("pr_reader")},
				{Name: "news", Kind: platform.CredentialAPI, Stream: mail.Bulk, Hash: HashKey("pr_news")},
			},
		},
		{
			Name: "rival", Senders: []platform.Sender{{Name: "rival.example", Verified: true}},
			Credentials: []platform.Credential{{Name: "web", Kind: platform.CredentialAPI, Hash: HashKey("pr_rival")}},
		},
		{
			Name: "small", MessagesPerHour: 5, RecipientsPerDay: 20, Senders: []platform.Sender{{Name: "small.example", Verified: true}},
			Credentials: []platform.Credential{{Name: "web", Kind: platform.CredentialAPI, Hash: HashKey("pr_small")}},
		},
		{
			Name: "stopped", State: platform.AccountPaused, Senders: []platform.Sender{{Name: "stopped.example", Verified: true}},
			Credentials: []platform.Credential{{Name: "web", Kind: platform.CredentialAPI, Hash: HashKey("pr_stopped")}},
		},
	}}
}

// newTestbed makes a Service; change may alter its options.
func newTestbed(t testing.TB, change func(*Options)) *testbed {
	t.Helper()
	b := &testbed{t: t, fs: vfs.NewMem(), now: testTime, free: 100 << 30, ledger: &ledger{taken: map[string]int64{}}}
	b.apply(testState())
	b.open(change)
	t.Cleanup(func() { b.close() })
	return b
}

func (b *testbed) open(change func(*Options)) {
	b.t.Helper()
	var err error
	b.spool, err = spool.Open(b.t.Context(), spool.Options{
		Dir: "/spool", FS: b.fs, MemTable: 1 << 20, BlockCache: 1 << 20, Now: b.clock,
		FreeSpace: func(string) (uint64, uint64, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.free, 200 << 30, nil
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	o := Options{
		Spool: b.spool, Snapshot: b.snapshot, TakeQuota: b.ledger.take, Now: b.clock,
		Added: func(m *mail.Message, ds []*mail.Delivery, staged []mail.QueueKey, body mail.Body) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.added = append(b.added, added{m, ds, staged, body})
		},
	}
	if change != nil {
		change(&o)
	}
	if b.Service, err = New(o); err != nil {
		b.t.Fatal(err)
	}
}

func (b *testbed) close() {
	if err := b.spool.Close(); err != nil && !errors.Is(err, spool.ErrClosed) {
		b.t.Error(err)
	}
}

func (b *testbed) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *testbed) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *testbed) snapshot() *platform.Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.snap
}

func (b *testbed) apply(s platform.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.snap = platform.NewSnapshot(s, "mail.example")
}

// who returns a credential of an account.
func (b *testbed) who(account, credential string) platform.Principal {
	a := b.snapshot().Account(account)
	i := slices.IndexFunc(a.Credentials, func(c platform.Credential) bool { return c.Name == credential })
	return platform.Principal{Account: a, Credential: &a.Credentials[i]}
}

func (b *testbed) shop() platform.Principal { return b.who("shop", "web") }

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	if s == "" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// smtp hands a message in as SMTP does.
func (b *testbed) smtp(p platform.Principal, from string, to []string, content string) (*Receipt, error) {
	b.t.Helper()
	ctx := b.t.Context()
	tx, err := b.Begin(ctx, p, Client{Protocol: "ESMTPSA", IP: netip.MustParseAddr("192.0.2.7")}, address(b.t, from), Envelope{})
	if err != nil {
		return nil, err
	}
	for _, r := range to {
		if err := tx.AddRecipient(ctx, address(b.t, r), RecipientOptions{}); err != nil {
			return nil, err
		}
	}
	return tx.Accept(ctx, strings.NewReader(content))
}

// crlf writes a message with LF alone as it goes over the wire.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

const plainMessage = "From: Info <info@shop.example>\r\nTo: you@example.com\r\nSubject: Hello\r\n\r\nIt works.\r\n"

// traces is everything a message could leave behind.
func (b *testbed) traces() string {
	b.t.Helper()
	files, err := b.fs.List("/spool/content")
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprintf("%+v, content %v, handed on %d", b.spool.Counts(), files, len(b.added))
}

// unchanged fails the test if f leaves anything behind.
func (b *testbed) unchanged(f func()) {
	b.t.Helper()
	before := b.traces()
	f()
	if after := b.traces(); after != before {
		b.t.Errorf("a refusal left a trace:\n before %s\n after  %s", before, after)
	}
}

// wantKind checks an error's kind and field.
func wantKind(t testing.TB, err error, kind Kind, field string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind || e.Field != field {
		t.Errorf("error %v, want kind %s, field %q", err, kind, field)
	}
}

// stored returns the content of a message as it was kept.
func (b *testbed) stored(id mail.MessageID) string {
	b.t.Helper()
	body, err := b.spool.Body(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := body.Open()
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(all)
}

func (b *testbed) message(id mail.MessageID) *mail.Message {
	b.t.Helper()
	m, err := b.spool.Message(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

func recipients(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("r%d@d%d.example", i, i%7)
	}
	return out
}

func persons(list ...string) []Person {
	out := make([]Person, len(list))
	for i, x := range list {
		out[i] = Person{Email: x}
	}
	return out
}
