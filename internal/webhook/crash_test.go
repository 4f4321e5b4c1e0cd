package webhook

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/store/storetest"
)

// childDir is the variable that makes the test's program a platform that is to be killed: it names the store's folder.
const (
	childDir   = "POSTROAD_WEBHOOK_CHILD"
	childURL   = "POSTROAD_WEBHOOK_URL"
	childOrder = "POSTROAD_WEBHOOK_ORDER"
	childCount = 2000 // events it records in all
	// childDeliveries is how many deliveries they are of, in turns.
	childDeliveries = 40
)

// child records events and sends them until it is killed, or all are taken.
func child() {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, sqlite.Options{Dir: os.Getenv(childDir)})
	fatal(err)
	_, w := hook("acme", "crm", func(w *platform.Webhook) {
		w.URL, w.Order = os.Getenv(childURL), platform.WebhookOrder(os.Getenv(childOrder))
	})
	positions, err := s.WebhookPositions(ctx)
	fatal(err)
	if len(positions) == 0 {
		fatal(Begin(ctx, s, w.ID))
	}
	snap := platform.NewSnapshot(platform.State{Accounts: []platform.Account{{Name: "acme", Webhooks: []platform.Webhook{w}}}}, "mail.example")
	svc, err := New(Options{
		Store: s, Spool: spoolID, Snapshot: func() *platform.Snapshot { return snap }, AllowHTTP: true, AllowPrivate: true,
		Secret: func(_ *platform.Webhook, k *platform.WebhookKey) ([]byte, error) { return k.Sealed, nil },
	})
	fatal(err)
	go func() { fatal(svc.Run(ctx)) }()
	<-svc.Ready()
	fmt.Println("up")
	mark, err := s.Watermark(ctx, spoolID)
	fatal(err)
	gen := storetest.NewMail(spoolID, time.Now())
	m := gen.Message("acme")
	var deliveries [childDeliveries]mail.DeliveryID
	for i := range deliveries {
		deliveries[i] = mail.DeliveryID{15: byte(i + 1)} // the same after each start
	}
	for gen.Seq = mark; gen.Seq < childCount; {
		e := gen.Tried(mail.EventDeferred, m, deliveries[(gen.Seq+1)%childDeliveries], "a@example.com", 1, 450, "450 later")
		fatal(s.WriteEvents(ctx, spoolID, e.ID.Seq, []*mail.Event{e}))
	}
	select {}
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestKilled: a process that is killed with no warning, again and again while it records and sends, loses no event and keeps
// their order; after each kill at most the events in hand come again, with the same ids. In strict order that is one, and the
// order is that of all; else it is that of each delivery.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Run("strict", func(t *testing.T) { killed(t, platform.OrderStrict, 1, 1) })
	t.Run("delivery", func(t *testing.T) {
		killed(t, platform.OrderDelivery, childDeliveries, platform.DefaultWebhookConcurrency)
	})
}

func killed(t *testing.T, order platform.WebhookOrder, chains, inHand int) {
	var mu sync.Mutex
	var had []uint64
	all := make(chan struct{})
	missing := map[uint64]bool{}
	for seq := range uint64(childCount) {
		missing[seq+1] = true
	}
	reached := make(chan struct{}, 100*childCount)
	var open atomic.Int64 // connections
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		id, err := mail.ParseEventID(r.Header.Get("webhook-id"))
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		had = append(had, id.Seq)
		if delete(missing, id.Seq); len(missing) == 0 && all != nil {
			close(all)
			all = nil
		}
		mu.Unlock()
		reached <- struct{}{}
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	dir, kills, end := t.TempDir(), 0, all
	for done := false; !done; {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir, childURL+"="+server.URL, childOrder+"="+string(order))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
			t.Fatalf("the child says %q, %v", line, err)
		}
		for n, enough := 0, 30+kills*53%170; !done && n < enough; n++ {
			select {
			case <-reached:
			case <-end:
				done = true
			case <-time.After(5 * time.Minute):
				t.Fatal("nothing more comes")
			}
		}
		kills++
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // says that it was killed
		// What it sent last is written down before anything of the next.
		for deadline := time.Now().Add(5 * time.Minute); open.Load() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d connections of a dead process", open.Load())
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	last, seen, again := map[uint64]uint64{}, map[uint64]bool{}, 0
	for _, seq := range had {
		chain := seq % uint64(chains)
		switch was := last[chain]; {
		case seq < was:
			t.Fatalf("event %d came after %d", seq, was)
		case seen[seq]:
			again++
		case was != 0 && seq != was+uint64(chains):
			t.Fatalf("event %d came after %d", seq, was)
		}
		last[chain], seen[seq] = seq, true
	}
	if len(seen) != childCount || again > kills*inHand {
		t.Errorf("%d events of %d came, %d of them again after %d kills", len(seen), childCount, again, kills)
	}
	t.Logf("%d events over %d kills, %d came again", childCount, kills, again)
}

// TestStoreFails: while places cannot be written nothing more is sent, and afterwards everything is, in order. The event
// whose place was never written comes again after a restart.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		var mu sync.Mutex
		fails := false
		r.step = func(name string) error {
			mu.Lock()
			defer mu.Unlock()
			if fails && name == "in webhooks" {
				return errors.New("no space left")
			}
			return nil
		}
		set := func(to bool) {
			mu.Lock()
			defer mu.Unlock()
			fails = to
		}
		r.set(hook("acme", "crm", nil))
		crm := r.receiver("crm.example", nil)
		r.run()
		want := r.sent("acme", 2)
		crm.await(want)
		time.Sleep(time.Second)
		set(true)
		want = append(want, r.sent("acme", 5)...)
		time.Sleep(time.Hour)
		if n := len(crm.all()); n != 5 {
			t.Errorf("%d events went out, want 4 and the first whose place is not written", n)
		}
		r.stop()
		set(false)
		if err := r.store.Close(); err != nil {
			t.Fatal(err)
		}
		r.openStore()
		r.run()
		time.Sleep(time.Minute)
		crm.await(slices.Insert(slices.Clone(want), 5, want[4]))
	})
}
