package reporting

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/figures"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/store/storetest"
)

var day0 = time.Date(2026, 3, 10, 9, 0, 0, 0, time.UTC)

// rig is a service on a real store with a clock of its own.
type rig struct {
	t     *testing.T
	store *sqlite.Store
	g     *storetest.Mail
	now   time.Time
	s     *Service
}

func newRig(t *testing.T) *rig {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Options{Now: storetest.Still(), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: st, g: storetest.NewMail(7, day0), now: day0.Add(12 * time.Hour)}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	r.s, err = New(Options{
		Record: st, Waiting: queueOf(nil), Fingerprint: bounce.Fingerprint, Now: func() time.Time { return r.now },
		Receiver: func(host string) string {
			if host == "mx1.bigmail.example" {
				return "bigmail"
			}
			return ""
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) put(events ...*mail.Event) {
	r.t.Helper()
	if err := r.store.WriteEvents(r.t.Context(), 7, events[len(events)-1].ID.Seq, events); err != nil {
		r.t.Fatal(err)
	}
}

func TestReportOfRecord(t *testing.T) {
	r := newRig(t)
	g := r.g
	type sent struct {
		m    *mail.Message
		d    mail.DeliveryID
		rcpt string
	}
	send := func(account, rcpt string) sent {
		x := sent{g.Message(account), g.Delivery(), rcpt}
		x.m.HeaderFrom = "info@shop.example"
		r.put(g.Accepted(x.m, x.d, rcpt))
		g.Clock = g.Clock.Add(4 * time.Second)
		return x
	}
	refused := func(x sent, reply string, class mail.Class) {
		e := g.Tried(mail.EventBounced, x.m, x.d, x.rcpt, 1, 550, reply)
		e.Class = class
		r.put(e)
	}
	a, b, c := send("shop", "a@one.example"), send("shop", "b@one.example"), send("shop", "c@two.example")
	d, e := send("shop", "d@two.example"), send("shop", "e@three.example")
	other := send("rival", "secret@rivals-customer.example")
	r.put(g.Tried(mail.EventDelivered, a.m, a.d, a.rcpt, 1, 250, "ok"), g.Tried(mail.EventDelivered, b.m, b.d, b.rcpt, 1, 250, "ok"))
	refused(c, "550 5.1.1 <c@two.example>: no such user here", mail.ClassInvalidRecipient)
	refused(d, "550 5.1.1 <d@two.example>: no such user here", mail.ClassInvalidRecipient)
	r.put(g.Tried(mail.EventDeferred, e.m, e.d, e.rcpt, 1, 451, "451 4.7.1 try again later"))
	refused(other, "550 we do not like secret@rivals-customer.example", mail.ClassOther)
	g.Clock = g.Clock.Add(time.Hour)
	late := g.Event(mail.EventBounced, b.m, b.d, b.rcpt)
	late.Late, late.Class = true, mail.ClassMailboxFull
	r.put(late, g.Event(mail.EventComplained, a.m, a.d, a.rcpt))

	p, err := figures.ParsePeriod("2026-03-10", r.now)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := r.s.Report(t.Context(), "shop", p)
	if err != nil {
		t.Fatal(err)
	}
	want := figures.Totals{Accepted: 5, Delivered: 1, Bounced: 2, LateBounced: 1, Waiting: 1, Deferred: 1, Complained: 1}
	if diff := cmp.Diff(want, rep.Totals); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(figures.Arrived{LateBounces: 1, Complaints: 1, Deferrals: 1}, rep.Arrived); diff != "" {
		t.Errorf("arrived (-want +got):\n%s", diff)
	}
	if len(rep.Replies) != 2 || rep.Replies[0].Count != 2 || rep.Replies[0].Fingerprint != "550 5.1.1 <address> no such user here" {
		t.Errorf("replies: %+v", rep.Replies)
	}
	if len(rep.Waits) != 1 || len(rep.Unknown) != 0 {
		t.Errorf("waiting %+v, unknown %+v: the other account's must not be there", rep.Waits, rep.Unknown)
	}
	if len(rep.Domains) != 2 || rep.Domains[0].Domain != "two.example" || rep.Domains[0].Failed != 2 || rep.Domains[0].Receiver != "bigmail" {
		t.Errorf("domains: %+v", rep.Domains)
	}
	if len(rep.Senders) != 1 || rep.Senders[0].Domain != "shop.example" || rep.Senders[0].Totals.Accepted != 5 {
		t.Errorf("senders: %+v", rep.Senders)
	}
	if rep.Speed.Count != 2 || rep.Speed.Median == 0 {
		t.Errorf("speed: %+v", rep.Speed)
	}
	all, err := r.s.Report(t.Context(), "", p)
	if err != nil {
		t.Fatal(err)
	}
	if all.Totals.Accepted != 6 || len(all.Unknown) != 1 {
		t.Errorf("everyone's report: %+v, unknown %+v", all.Totals, all.Unknown)
	}
	if !rep.KeptFrom.IsZero() || !all.KeptFrom.IsZero() {
		t.Errorf("a record that keeps everything says it keeps from %v", rep.KeptFrom)
	}
	r.s.o.Retention = 10 * 24 * time.Hour
	for name, want := range map[string]time.Time{p.Name: {}, "2026-02-20..2026-03-10": day0.AddDate(0, 0, -10).Truncate(24 * time.Hour)} {
		long, err := figures.ParsePeriod(name, r.now)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := r.s.Report(t.Context(), "shop", long)
		if err != nil || !rep.KeptFrom.Equal(want) {
			t.Errorf("%s: it says the record begins at %v, want %v (%v)", name, rep.KeptFrom, want, err)
		}
	}
	empty, err := figures.ParsePeriod("2026-03-11", r.now)
	if err != nil {
		t.Fatal(err)
	}
	if rep, err = r.s.Report(t.Context(), "shop", empty); err != nil || rep.Totals != (figures.Totals{}) || rep.Arrived != (figures.Arrived{}) {
		t.Errorf("the day after says %+v, %+v (%v)", rep.Totals, rep.Arrived, err)
	}
}
