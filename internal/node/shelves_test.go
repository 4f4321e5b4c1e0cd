package node

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// While the store takes nothing mail is taken in and goes out; what became of it is recorded once the store takes it.
func TestStoreBlocked(t *testing.T) {
	internet := testInternet(t)
	c := testConfig(t, internet)
	r := start(t, c, testAccounts+testRoute)
	// Somebody else has the file, as long as he likes.
	other, err := sql.Open("sqlite", filepath.Join(c.Data, StoreDir, "platform.db")+"?_pragma=busy_timeout(60000)")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	before, err := r.store.Watermark(t.Context(), r.spool.ID())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 3 {
		ids = append(ids, r.send("during@mailbox.test"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := internet.Wait(ctx, func() bool { return internet.Counters().Recipients >= 3 }); err != nil {
		t.Fatalf("%d of 3 messages arrived: %v", internet.Counters().Recipients, err)
	}
	if mark, err := r.store.Watermark(t.Context(), r.spool.ID()); err != nil || mark != before {
		t.Errorf("the record went from %d to %d, %v; it was to be blocked", before, mark, err)
	}
	if _, err := other.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		r.await("/v1/messages/"+id, func(b []byte) bool { return strings.Contains(string(b), `"state":"delivered"`) })
	}
	if n := internet.Counters(); n.Recipients != 3 || n.Duplicates != 0 {
		t.Errorf("%+v", n)
	}
}

// The record stops growing while the spool still takes mail.
func TestRecordStopsBeforeSpool(t *testing.T) {
	c := testConfig(t, nil)
	open := func() *Node {
		t.Helper()
		n := &Node{cfg: c, log: slog.New(slog.DiscardHandler)}
		if err := n.openShelves(t.Context()); err != nil {
			t.Fatal(errors.Join(err, n.close()))
		}
		return n
	}
	n := open()
	free := n.spool.Space().Free
	if err := n.close(); err != nil {
		t.Fatal(err)
	}
	c.Spool.MinFree = config.Size(free / 10 * 8) // the record wants half as much again
	n = open()
	defer func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	}()
	if s := n.spool.Space(); s.Low {
		t.Fatalf("the spool is full as well: %+v", s)
	}
	e := &mail.Event{ID: mail.EventID{Spool: n.spool.ID(), Seq: 1}, Type: mail.EventRejected, At: time.Now(), Account: "shop"}
	if err := n.store.WriteEvents(t.Context(), n.spool.ID(), 1, []*mail.Event{e}); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "octets are free") {
		t.Errorf("the record grows at the floor: %v", err)
	}
}
