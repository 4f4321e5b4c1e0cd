package feedback

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// oneDelivery is a record of one delivered delivery; everything else is unknown to it.
type oneDelivery struct {
	Store
	msg *mail.Message
	d   store.Delivery
}

func (o *oneDelivery) ID() mail.SpoolID { return 1 }

func (o *oneDelivery) NewestEvent() uint64 { return 0 }

func (o *oneDelivery) ReadInbox(context.Context, uint64, int) ([]spool.InboxEntry, error) {
	return nil, nil
}

func (o *oneDelivery) Commit(context.Context, *spool.Batch) error { return nil }

func (o *oneDelivery) WaitFor(context.Context, mail.SpoolID, uint64) (uint64, error) { return 0, nil }

func (o *oneDelivery) Message(_ context.Context, id mail.MessageID) (*mail.Message, error) {
	if id != o.msg.ID {
		return nil, store.ErrNotFound
	}
	return o.msg, nil
}

func (o *oneDelivery) Deliveries(context.Context, mail.MessageID, mail.DeliveryID, int) ([]*store.Delivery, error) {
	return []*store.Delivery{&o.d}, nil
}

func (o *oneDelivery) Timeline(context.Context, mail.DeliveryID) ([]*mail.Event, error) {
	return []*mail.Event{{Type: mail.EventDelivered, At: o.d.Updated, Delivery: o.d.ID, Attempt: &mail.Attempt{N: 1, Route: "direct"}}}, nil
}

func (o *oneDelivery) Search(context.Context, store.SearchQuery) (store.SearchPage, error) {
	return store.SearchPage{}, nil
}

type oneInbox struct{ *oneDelivery }

func (o oneInbox) Delivery(context.Context, mail.DeliveryID) (*mail.Delivery, error) {
	return nil, spool.ErrNotFound
}

type oneStore struct{ *oneDelivery }

func (o oneStore) Delivery(_ context.Context, id mail.DeliveryID) (*store.Delivery, error) {
	if id != o.d.ID {
		return nil, store.ErrNotFound
	}
	d := o.d
	return &d, nil
}

// FuzzAttribute reads any mail as a report at a fixed address: it never panics, and never makes an event unless the mail
// carries a token that verifies.
func FuzzAttribute(f *testing.F) {
	at := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	one := &oneDelivery{msg: &mail.Message{ID: mail.NewMessageID(at), Account: "shop", Recipients: 1}}
	one.d = store.Delivery{ID: mail.NewDeliveryID(at), Message: one.msg.ID, Account: "shop", Recipient: "user@example.com", State: "delivered", Attempts: 1, Updated: at}
	token, message := testKey.Token(one.d.ID), testKey.MessageToken(one.msg.ID)
	for _, seed := range []string{
		dsn(tokenField+": "+token+"\n", "user@example.com failed 5.1.1 "+unknownUser), dsn(tokenField+": "+message+"\n", "x@example.com failed 5.1.1 "+unknownUser),
		arf("abuse", "CFBL-Feedback-ID: "+token+"\n"), outOfOffice("Return-Path: <" + token + "@bounces.example.org>\n"), "b1-" + token, strings.Repeat("1-", 100),
	} {
		f.Add([]byte(seed))
	}
	// Samples of the readers' own tests, with a token of ours where theirs stands.
	files, err := filepath.Glob("../report/testdata/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal("no samples", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, block := range strings.Split("\n"+string(data), "\n=== ")[1:] {
			if _, raw, ok := strings.Cut(block, "\n---\n"); ok {
				f.Add([]byte(strings.ReplaceAll(raw, "tok5", token)))
			}
		}
	}
	r, err := New(Options{Inbox: oneInbox{one}, Store: oneStore{one}, Key: testKey})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e := spool.InboxEntry{Seq: 1, Kind: spool.InboxReturnPath, Received: at.Add(time.Hour), Raw: raw, Meta: map[string]string{
			spool.MetaReport: mail.NewReportID(at).String(), spool.MetaRecipient: "fbl@example.org",
		}}
		x := newReading(&e)
		got := r.find(raw, bounce.Default()) // not through read: a panic must show
		x.rep, x.verdicts, x.marks = got.rep, got.verdicts, got.marks
		x.describe(got)
		r.recent = recent{}
		if err := r.decide(t.Context(), x); err != nil {
			t.Fatal(err)
		}
		if x.aside {
			t.Fatalf("deciding panicked: %s", x.row.Why)
		}
		if len(x.events) > 1 {
			t.Fatalf("%d events of one delivery", len(x.events))
		}
		if len(x.events) == 0 {
			return
		}
		if len(x.marks.deliveries) == 0 && len(x.marks.messages) == 0 {
			t.Fatal("an event without a token")
		}
		for _, id := range x.marks.deliveries {
			if id != one.d.ID {
				t.Fatal("a token of nobody's verified")
			}
		}
		if got := string(bytes.ToLower(raw)); !strings.Contains(got, "base64") && !strings.Contains(got, "quoted-printable") && !strings.Contains(got, token) && !strings.Contains(got, message) {
			// In an encoded part or a folded field the token need not stand as one text.
			if !strings.Contains(strings.Join(strings.Fields(got), ""), token) && !strings.Contains(strings.Join(strings.Fields(got), ""), message) {
				t.Fatalf("an event, and the token stands nowhere")
			}
		}
		if e := x.events[0]; e.Delivery != one.d.ID || e.Account != "shop" || e.Report == nil || e.Report.Evidence != mail.EvidenceHeader {
			t.Fatalf("event %+v", e)
		}
	})
}
