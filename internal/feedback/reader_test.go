package feedback

import (
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// TestLateBounce: a report to the return path turns a delivery that was delivered into one that bounced late, with the
// words of the peer and by the way it went out.
func TestLateBounce(t *testing.T) {
	for _, result := range []mail.EventType{mail.EventDelivered, mail.EventRelayed} {
		w := newWorld(t)
		s := w.send(result, "user@example.com")
		id := w.put(s.path(0), dsn("Subject: Your order\n", "user@example.com failed 5.1.1 "+unknownUser))
		w.read()
		row := w.want(id, store.ReportActed, "")
		if row.Account != "shop" || row.Evidence != mail.EvidenceToken || row.Kind != "bounce" || len(row.Deliveries) != 1 || row.Deliveries[0].Event != mail.EventBounced {
			t.Errorf("row %+v", row)
		}
		list := w.events(s, 0)
		if len(list) != 1 {
			t.Fatalf("events %v", list)
		}
		e, a := list[0], list[0].Attempt
		if e.Type != mail.EventBounced || !e.Late || e.Class != mail.ClassInvalidRecipient || e.Action != mail.ActionSuppress || e.Rule == "" || e.Report.ID != id || e.Report.Evidence != mail.EvidenceToken || e.Report.MTA != "mx.example.net" {
			t.Errorf("event %+v, report %+v", e, e.Report)
		}
		if a.Stage != mail.StageReport || a.Code != 550 || a.Enhanced != "5.1.1" || a.Host != "store.example.net" || a.Route != "direct" || a.Source != "a" || a.N != 1 {
			t.Errorf("attempt %+v", a)
		}
		d := w.state(s, 0)
		if d.State != store.State(mail.Bounced) || !d.Late || d.Class != mail.ClassInvalidRecipient || d.Host != "mx1.example.net" || d.Code != 550 {
			t.Errorf("delivery %+v", d)
		}
		// The same again, and another one on the same delivery, change nothing.
		again := w.put(s.path(0), dsn("Subject: Your order\n", "user@example.com failed 5.1.1 "+unknownUser))
		w.read()
		w.want(again, store.ReportReplayed, "bounced already")
		if len(w.events(s, 0)) != 1 {
			t.Error("a replayed report made an event")
		}
	}
}

// TestReplayInOnePage: two reports on one delivery that are read together make one event.
func TestReplayInOnePage(t *testing.T) {
	w := newWorld(t)
	s := w.send(mail.EventDelivered, "user@example.com")
	var ids []mail.ReportID
	for range 5 {
		ids = append(ids, w.put(s.path(0), dsn("", "user@example.com failed 5.1.1 "+unknownUser)))
	}
	w.read()
	w.want(ids[0], store.ReportActed, "")
	for _, id := range ids[1:] {
		w.want(id, store.ReportReplayed, "")
	}
	if n := len(w.events(s, 0)); n != 1 {
		t.Errorf("%d events", n)
	}
}

// TestRefusals: what changes nothing, and the reason that is kept.
func TestRefusals(t *testing.T) {
	bounce := func(s sent) string {
		return dsn("", s.deliveries[0].Recipient.String()+" failed 5.1.1 "+unknownUser)
	}
	now := time.Now()
	tests := map[string]struct {
		make    func(w *world) (s sent, id mail.ReportID)
		outcome store.ReportOutcome
		why     string
		state   store.State
	}{
		"forged signature": {func(w *world) (sent, mail.ReportID) {
			s := w.send(mail.EventDelivered, "user@example.com")
			other := mail.ReturnPathKey{8}
			return s, w.put(other.ReturnPath(s.deliveries[0].ID, "bounces.example.org").String(), bounce(s))
		}, store.ReportForged, "signature", "delivered"},
		"forged header token": {func(w *world) (sent, mail.ReportID) {
			s := w.send(mail.EventDelivered, "user@example.com")
			other := mail.ReturnPathKey{8}
			return s, w.put("fbl@example.org", dsn(tokenField+": "+other.Token(s.deliveries[0].ID)+"\n", "user@example.com failed 5.1.1 "+unknownUser))
		}, store.ReportForged, "signature", "delivered"},
		"never tried": {func(w *world) (sent, mail.ReportID) {
			s := w.accept(now, "web", "user@example.com")
			return s, w.put(s.path(0), bounce(s))
		}, store.ReportForged, "never tried", "queued"},
		"still waiting": {func(w *world) (sent, mail.ReportID) {
			s := w.accept(now, "web", "user@example.com")
			w.settle(w.mark(s.deliveries[0], now), mail.EventDeferred, now, func(e *mail.Event) { e.Attempt.Code = 451 })
			return s, w.put(s.path(0), bounce(s))
		}, store.ReportContradicts, "still waits", "deferred"},
		"bounced in the dialogue": {func(w *world) (sent, mail.ReportID) {
			s := w.send(mail.EventBounced, "user@example.com")
			return s, w.put(s.path(0), bounce(s))
		}, store.ReportReplayed, "own dialogue", "bounced"},
		"expired": {func(w *world) (sent, mail.ReportID) {
			s := w.send(mail.EventExpired, "user@example.com")
			return s, w.put(s.path(0), bounce(s))
		}, store.ReportContradicts, "expired", "expired"},
		"too late": {func(w *world) (sent, mail.ReportID) {
			s := w.sendAt(now.Add(-31*24*time.Hour), "web", mail.EventDelivered, "user@example.com")
			return s, w.put(s.path(0), bounce(s))
		}, store.ReportExpired, "30 days", "delivered"},
		"no token at a fixed address": {func(w *world) (sent, mail.ReportID) {
			s := w.send(mail.EventDelivered, "user@example.com")
			return s, w.put("fbl@example.org", dsn("Message-ID: <"+s.msg.RFC822ID+">\n", "user@example.com failed 5.1.1 "+unknownUser))
		}, store.ReportUnknown, "no token", "delivered"},
		"another account's": {func(w *world) (sent, mail.ReportID) {
			s := w.send(mail.EventDelivered, "user@example.com")
			raw := dsn(tokenField+": "+testKey.Token(s.deliveries[0].ID)+"\n", "user@example.com failed 5.1.1 "+unknownUser)
			return s, w.putBy(spool.InboxAPI, now, map[string]string{spool.MetaAccount: "rival"}, raw)
		}, store.ReportUnknown, "no delivery of this account", "delivered"},
		"no report": {func(w *world) (sent, mail.ReportID) {
			s := w.send(mail.EventDelivered, "user@example.com")
			return s, w.put(s.path(0), "From: user@example.com\nSubject: Re: Your order\n\nThanks for the parcel, all is well.\n")
		}, store.ReportRecorded, "no report", "delivered"},
		"relayed on": {func(w *world) (sent, mail.ReportID) {
			s := w.send(mail.EventRelayed, "user@example.com")
			return s, w.put(s.path(0), dsn("", "user@example.com relayed 2.0.0 250 ok"))
		}, store.ReportRecorded, "no final word", "relayed"},
		"delivered again": {func(w *world) (sent, mail.ReportID) {
			s := w.send(mail.EventDelivered, "user@example.com")
			return s, w.put(s.path(0), dsn("", "user@example.com delivered 2.0.0 250 ok"))
		}, store.ReportRecorded, "delivered already", "delivered"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s, id := test.make(w)
			w.read()
			w.want(id, test.outcome, test.why)
			if list := w.events(s, 0); len(list) > 0 {
				t.Errorf("it made %d events: %+v", len(list), list[0])
			}
			if d := w.state(s, 0); d.State != test.state {
				t.Errorf("state %s, want %s", d.State, test.state)
			}
		})
	}
}

// TestUncertain: a report on a delivery whose attempt was cut off waits for the next one. It holds where the mail is
// taken then, and is of nothing where it is refused.
func TestUncertain(t *testing.T) {
	for end, want := range map[mail.EventType]store.ReportOutcome{mail.EventDelivered: store.ReportActed, mail.EventBounced: store.ReportReplayed} {
		t.Run(string(end), func(t *testing.T) {
			w := newWorld(t)
			now := time.Now()
			s := w.accept(now, "web", "user@example.com")
			waiting := w.settle(w.mark(s.deliveries[0], now), mail.EventDeferred, now, func(e *mail.Event) { e.Attempt.Uncertain = true })
			id := w.put(s.path(0), dsn("", "user@example.com failed 5.1.1 "+unknownUser))
			time.AfterFunc(400*time.Millisecond, func() { w.settle(w.mark(waiting, now), end, now, nil) })
			w.read()
			w.want(id, want, "")
			if d := w.state(s, 0); d.State != "bounced" || d.Late != (end == mail.EventDelivered) {
				t.Errorf("state %+v", d)
			}
		})
	}
}
