package feedback

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// Mail to the operator that cannot be handed on yet stays in the inbox, and holds nobody up.
func TestForwardIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	hers := w.put("abuse@bounces.example.net", "From: a@example.org\r\nSubject: stop\r\n\r\nPlease.\r\n")
	own := w.put("abuse@bounces.example.net", "Received: from x\r\nX-Postroad-Token: b1-x\r\nFrom: a@example.org\r\n\r\nback again\r\n")
	fbl := w.put("fbl@bounces.example.net", "From: a@example.org\r\nSubject: hello\r\n\r\nno report\r\n")
	fails, asked := 2, map[string]int{}
	o := w.options()
	o.Forward = func(_ context.Context, row *store.StoredReport) error {
		asked[row.ID.String()+" "+row.Mailbox]++
		if row.ID == hers && asked[row.ID.String()+" abuse"] <= fails {
			return errors.New("the disk is full")
		}
		return nil
	}
	w.readWith(o)
	for _, id := range []string{own.String(), fbl.String()} {
		if asked[id+" abuse"] > 0 {
			t.Errorf("%s is handed on", id)
		}
	}
	if asked[hers.String()+" abuse"] != fails+1 {
		t.Errorf("handed on %v, want %d tries", asked, fails+1)
	}
	w.want(hers, store.ReportKept, "")
	w.want(own, store.ReportKept, "")
}

// A bounced notice that cannot be handed on at once is decided again later, and its event is not lost.
func TestForwardedNoticeKeepsItsEvent(t *testing.T) {
	w := newWorld(t)
	s := w.sendAt(time.Now(), "notice", mail.EventDelivered, "customer@example.com")
	id := w.put(s.path(0), dsn("", "customer@example.com failed 5.1.1 "+unknownUser))
	fails := 2
	o := w.options()
	o.Forward = func(context.Context, *store.StoredReport) error {
		if fails--; fails >= 0 {
			return errors.New("the disk is full")
		}
		return nil
	}
	w.readWith(o)
	w.want(id, store.ReportActed, "")
	if n := len(w.events(s, 0)); n != 1 {
		t.Errorf("%d events", n)
	}
}

// What floods the operator's mailboxes is kept, and an alert tells that it is not sent on.
func TestForwardFlood(t *testing.T) {
	w := newWorld(t)
	for range maxForwards + 20 {
		w.put("abuse@example.org", "From: a@example.net\nSubject: stop\n\nPlease.\n")
	}
	sent := 0
	at := time.Now().Truncate(time.Hour)
	o := w.options()
	o.Now = func() time.Time { return at }
	o.Forward = func(context.Context, *store.StoredReport) error { sent++; return nil }
	w.readWith(o)
	if sent != maxForwards || len(w.alerts) != 1 || w.alerts[0].Kind != alertFlood {
		t.Errorf("%d sent on, alerts %+v", sent, w.alerts)
	}
	page, err := w.store.ListReports(t.Context(), store.ReportQuery{Mailbox: "abuse", Max: 1000})
	if err != nil || len(page.Reports) != maxForwards+20 {
		t.Errorf("%d kept, %v", len(page.Reports), err)
	}
}
