package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/projector"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/spool/spooltest"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is the room over a real spool, record and archive. Only Run of the room is left to the test.
type bed struct {
	t     *testing.T
	fs    *spooltest.CrashFS
	dir   string
	spool *spool.Spool
	store *sqlite.Store
	kept  *sqlite.Archive
	now   time.Time

	mu     sync.Mutex
	state  platform.State
	alerts []platform.Alert
	full   bool
	step   func(string) error

	stop func()
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, fs: spooltest.NewCrashFS(), dir: t.TempDir(), now: time.Now().UTC()}
	b.state.Accounts = []platform.Account{{Name: "acme", Archive: platform.Archive{Days: 30}}, {Name: "beta"}}
	b.open(b.fs)
	t.Cleanup(b.close)
	return b
}

// open opens spool, record and archive, and projects events.
func (b *bed) open(fs *spooltest.CrashFS) {
	b.t.Helper()
	var err error
	check := func() {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
	}
	b.fs = fs
	b.spool, err = spool.Open(b.t.Context(), spool.Options{
		Dir: "/spool", FS: fs, MemTable: 1 << 20, BlockCache: 1 << 20, MaxInline: 4 << 10,
		FreeSpace: func(string) (uint64, uint64, error) { return 100 << 30, 200 << 30, nil },
	})
	check()
	b.store, err = sqlite.Open(b.t.Context(), sqlite.Options{Now: storetest.Still(), Dir: b.dir + "/store"})
	check()
	b.kept, err = sqlite.OpenArchive(sqlite.ArchiveOptions{
		Now: storetest.Still(), Dir: b.dir + "/archive", Key: func(account string) [32]byte { return sha256.Sum256([]byte(account)) },
		MayGrow: func() error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.full {
				return errors.New("no room")
			}
			return nil
		},
		Step: func(name string) error {
			if b.step != nil {
				return b.step(name)
			}
			return nil
		},
	})
	check()
	p, err := projector.New(projector.Options{Outbox: b.spool, Store: b.store, Linger: time.Millisecond})
	check()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Run(ctx) })
	b.stop = func() { cancel(); wg.Wait() }
}

func (b *bed) close() {
	b.stop()
	for _, c := range []io.Closer{b.kept, b.store, b.spool} {
		if err := c.Close(); err != nil && !errors.Is(err, spool.ErrClosed) {
			b.t.Error(err)
		}
	}
}

// crash leaves what a power loss would, and opens it.
func (b *bed) crash() {
	b.t.Helper()
	left := b.fs.CrashClone(vfs.CrashCloneCfg{})
	b.close()
	b.open(left)
}

func (b *bed) snapshot() *platform.Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	return platform.NewSnapshot(b.state, "mail.example")
}

func (b *bed) room(change func(*Options)) *Archive {
	b.t.Helper()
	o := Options{
		Spool: b.spool, Record: b.store, Store: b.kept, Snapshot: b.snapshot, Rescan: 10 * time.Millisecond, Now: func() time.Time { return b.now },
		Alert: func(x platform.Alert) { b.mu.Lock(); defer b.mu.Unlock(); b.alerts = append(b.alerts, x) },
	}
	if change != nil {
		change(&o)
	}
	a, err := New(o)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// run runs the room until done reports true.
func (b *bed) run(a *Archive, what string, done func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	deadline := time.Now().Add(5 * time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			cancel()
			<-ended
			b.t.Fatal("it did not come to pass: ", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		b.t.Fatal(err)
	}
}

// accept commits a message to n recipients, that is archived if archive.
func (b *bed) accept(account string, n int, body []byte, archive bool) (*mail.Message, []*mail.Delivery) {
	b.t.Helper()
	at := b.now
	m := &mail.Message{
		ID: mail.NewMessageID(at), Account: account, Stream: mail.Transactional, From: mail.Address{Local: "news", Domain: "shop.example"},
		AcceptedAt: at, ExpiresAt: at.Add(time.Hour), HeaderFrom: "news@shop.example", Subject: "Hello", Size: int64(len(body)), Recipients: n,
		Content: mail.Content{Kind: mail.ContentRaw},
	}
	acc := &spool.Acceptance{Message: m, Body: body, Archive: archive}
	if len(body) > 4<<10 {
		w, err := b.spool.NewContent(m.ID)
		if err == nil {
			_, err = w.Write(body)
		}
		if err == nil {
			err = w.Finish()
		}
		if err != nil {
			b.t.Fatal(err)
		}
		acc.Body, m.Content.External = nil, true
	}
	var ds []*mail.Delivery
	for i := range n {
		to := mail.Address{Local: fmt.Sprintf("user%d", i), Domain: "example.net"}
		d := &mail.Delivery{
			ID: mail.NewDeliveryID(at), Message: m.ID, Queue: mail.QueueKey{Account: account, Stream: m.Stream, Domain: to.Domain},
			Recipient: to, CreatedAt: at, ExpiresAt: m.ExpiresAt, Due: at,
		}
		ds = append(ds, d)
		acc.Events = append(acc.Events, &mail.Event{
			Type: mail.EventAccepted, At: at, Account: account, Stream: m.Stream, Message: m.ID, Delivery: d.ID, Recipient: to.String(), Envelope: m,
		})
	}
	acc.Deliveries = ds
	if len(ds) > spool.MaxStage {
		if err := b.spool.Stage(b.t.Context(), m.ID, ds[spool.MaxStage:], acc.Events[spool.MaxStage:]); err != nil {
			b.t.Fatal(err)
		}
		acc.Deliveries, acc.Events, acc.Staged = ds[:spool.MaxStage], acc.Events[:spool.MaxStage], len(ds)-spool.MaxStage
	}
	b.commit(&spool.Batch{Accept: []*spool.Acceptance{acc}})
	return m, ds
}

func (b *bed) commit(x *spool.Batch) {
	b.t.Helper()
	if err := b.spool.Commit(b.t.Context(), x); err != nil {
		b.t.Fatal(err)
	}
}

// deliver ends deliveries.
func (b *bed) deliver(ds []*mail.Delivery) {
	b.t.Helper()
	for _, d := range ds {
		b.commit(&spool.Batch{Settle: []spool.Settlement{{Old: d, Events: []*mail.Event{{
			Type: mail.EventDelivered, At: b.now, Account: d.Queue.Account, Stream: d.Queue.Stream, Message: d.Message, Delivery: d.ID, Recipient: d.Recipient.String(),
			Attempt: &mail.Attempt{N: 1, At: b.now, Route: "direct", Code: 250, Reply: "250 2.1.5 " + d.Recipient.String() + " ok", Transcript: "C: RCPT TO:<" + d.Recipient.String() + ">\n"},
		}}}}})
	}
}

func (b *bed) owed() int {
	b.t.Helper()
	ids, err := b.spool.Owed(b.t.Context(), mail.MessageID{}, 10_000)
	if err != nil {
		b.t.Fatal(err)
	}
	return len(ids)
}

// same checks that a message's content is what was accepted, and comes from where it should.
func (b *bed) same(a *Archive, id mail.MessageID, want []byte, from string) *Content {
	b.t.Helper()
	c, err := a.Content(b.t.Context(), "", id)
	if err != nil {
		b.t.Fatal(err)
	}
	if c.From != from {
		b.t.Errorf("content comes from the %s, want %s", c.From, from)
	}
	r, err := c.Open()
	if err != nil {
		b.t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
		b.t.Errorf("content: %d octets, want %d: %v", len(got), len(want), err)
	}
	return c
}

func (b *bed) recipients(c *Content) (list []string) {
	b.t.Helper()
	var after mail.DeliveryID
	for {
		page, err := c.Recipients(b.t.Context(), after, store.MaxPage)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, x := range page {
			list = append(list, x.Address)
			after = x.Delivery
		}
		if len(page) < store.MaxPage {
			return list
		}
	}
}
