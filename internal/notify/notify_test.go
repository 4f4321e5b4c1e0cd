package notify

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/figures"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/store/storetest"
)

// rig is a service on a real store, with a clock of its own and a door that takes mail in once per key.
type rig struct {
	t     *testing.T
	store *sqlite.Store
	state platform.State
	now   time.Time
	sent  []Mail
	keys  map[string]bool
	asked []string // periods reports were asked for
	fail  error    // of Send
	s     *Service
}

var start = time.Date(2026, 3, 30, 12, 0, 0, 0, time.UTC) // a Monday

func newRig(t *testing.T) *rig {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Options{Now: storetest.Still(), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, store: st, now: start, keys: map[string]bool{}}
	r.state = platform.State{Accounts: []platform.Account{
		{Name: "shop", Contact: "ada@shop.example", Senders: []platform.Sender{{
			Name: "shop.example", Verified: true, Keys: []platform.DKIMKey{{Selector: "s1", Active: true, Public: "v=DKIM1; k=ed25519; p=c2hvcA=="}},
		}}}, {Name: "mute"},
	}}
	r.open()
	return r
}

// open makes the service anew, as a restart does.
func (r *rig) open() {
	r.t.Helper()
	var err error
	r.s, err = New(Options{
		Store: r.store, Spool: 7, Snapshot: func() *platform.Snapshot { return platform.NewSnapshot(r.state, "mail.example") },
		Report: func(_ context.Context, account string, p figures.Period) (*figures.Report, error) {
			r.asked = append(r.asked, account+" "+p.String())
			return figures.New(account, p, r.now).Report(), nil
		},
		Send: func(_ context.Context, m Mail) error {
			if r.fail != nil {
				return r.fail
			}
			if !r.keys[m.Key] {
				r.keys[m.Key] = true
				r.sent = append(r.sent, m)
			}
			return nil
		},
		Hostname: "mail.example", DigestHour: 6, Operators: []mail.Address{{Local: "ops", Domain: "operator.example"}}, Now: func() time.Time { return r.now },
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) do(f func(context.Context) error) {
	r.t.Helper()
	if err := f(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// take returns the subjects of what was sent since, each with its recipient.
func (r *rig) take() (list []string) {
	for _, m := range r.sent {
		subject := ""
		for line := range strings.Lines(string(m.Content)) {
			if s, ok := strings.CutPrefix(line, "Subject: "); ok {
				subject = strings.TrimSpace(s)
			}
		}
		list = append(list, m.To[0].String()+": "+subject)
	}
	r.sent = nil
	return list
}

// A digest comes for every period, once, whatever happens in between.
func TestDigests(t *testing.T) {
	for cadence, want := range map[platform.Digest][]string{
		platform.DigestDaily: {
			"shop 2026-03-30 (UTC)", "shop 2026-03-31 (UTC)", "shop 2026-04-01 (UTC)", "shop 2026-04-02 (UTC)", "shop 2026-04-03 (UTC)",
			"shop 2026-04-04 (UTC)", "shop 2026-04-05 (UTC)", "shop 2026-04-06 (UTC)",
		},
		platform.DigestWeekly:  {"shop 2026-03-30 to 2026-04-05 (UTC)"},
		platform.DigestMonthly: {"shop 2026-03-01 to 2026-03-31 (UTC)"},
	} {
		t.Run(string(cadence), func(t *testing.T) {
			r := newRig(t)
			r.state.Accounts[0].Digest = cadence
			for step := 0; r.now.Before(start.AddDate(0, 0, 8).Add(-6 * time.Hour)); step++ {
				switch {
				case step == 20: // it is down over three days
					r.now = r.now.AddDate(0, 0, 3)
				case step%7 == 3:
					r.open()
				}
				r.fail = nil
				if step%5 == 2 {
					r.fail = errors.New("the spool is full")
				}
				if err := r.s.digests(t.Context()); err != nil && r.fail == nil {
					t.Fatal(err)
				}
				r.now = r.now.Add(time.Hour)
			}
			r.fail = nil
			r.do(r.s.digests)
			if len(r.sent) != len(want) {
				t.Errorf("%d were sent, want %d: %v", len(r.sent), len(want), r.take())
			}
			var once []string
			for _, p := range r.asked {
				if len(once) == 0 || once[len(once)-1] != p {
					once = append(once, p)
				}
			}
			if diff := cmp.Diff(want, once); diff != "" {
				t.Errorf("reports (-want +got):\n%s", diff)
			}
		})
	}
}

// A crash after the mail was taken in and before that was remembered sends no second one.
func TestDigestCrash(t *testing.T) {
	r := newRig(t)
	r.state.Accounts[0].Digest = platform.DigestDaily
	r.do(r.s.digests)
	before, err := r.store.GetMeta(t.Context(), digestKey("shop"))
	if err != nil {
		t.Fatal(err)
	}
	r.now = r.now.AddDate(0, 0, 1)
	r.do(r.s.digests)
	if err := r.store.PutMeta(t.Context(), digestKey("shop"), before); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.do(r.s.digests)
	if got := r.take(); len(got) != 1 || got[0] != "ada@shop.example: shop: no mail (2026-03-30)" {
		t.Errorf("sent were %v", got)
	}
	// Turned off, and on again later: what was in between is not sent.
	r.state.Accounts[0].Digest = platform.DigestOff
	r.do(r.s.digests)
	r.now = r.now.AddDate(0, 0, 5)
	r.state.Accounts[0].Digest = platform.DigestDaily
	r.do(r.s.digests)
	if got := r.take(); len(got) != 0 {
		t.Errorf("turned on again: %v", got)
	}
	r.now = r.now.AddDate(0, 0, 100) // long down
	r.do(r.s.digests)
	if got := r.take(); len(got) != maxCatchUp {
		t.Errorf("after 100 days %d are sent, want %d", len(got), maxCatchUp)
	}
}

// TestDigestBehind: a digest waits for the record: what happened in its period may still be on its way into it.
func TestDigestBehind(t *testing.T) {
	r := newRig(t)
	gen := storetest.NewMail(7, start)
	events := gen.Sent("shop", 1)
	r.s.o.Newest = func() uint64 { return gen.Seq }
	r.state.Accounts[0].Digest = platform.DigestDaily
	r.do(r.s.digests)
	r.now = r.now.AddDate(0, 0, 1)
	if err := r.s.digests(t.Context()); !errors.Is(err, errBehind) || len(r.sent) != 0 {
		t.Fatalf("%v, %d were sent", err, len(r.sent))
	}
	if err := r.store.WriteEvents(t.Context(), 7, gen.Seq, events); err != nil {
		t.Fatal(err)
	}
	r.do(r.s.digests)
	if len(r.sent) != 1 {
		t.Errorf("%d were sent once it has caught up", len(r.sent))
	}
}

func TestDigestHour(t *testing.T) {
	r := newRig(t)
	r.state.Accounts[0].Digest = platform.DigestDaily
	r.do(r.s.digests)
	r.now = time.Date(2026, 3, 31, 5, 59, 0, 0, time.UTC)
	r.do(r.s.digests)
	if got := r.take(); len(got) != 0 {
		t.Errorf("before six: %v", got)
	}
	r.now = r.now.Add(time.Minute)
	r.do(r.s.digests)
	if got := r.take(); len(got) != 1 {
		t.Errorf("at six: %v", got)
	}
}

// The first complaint is told, others are counted; told again after a crash they count once.
func TestComplaints(t *testing.T) {
	r := newRig(t)
	g := storetest.NewMail(7, start)
	m := g.Message("shop")
	var events []*mail.Event
	for range 4 {
		events = append(events, g.Event(mail.EventComplained, m, g.Delivery(), "bob@example.com"))
	}
	tell := func(list ...*mail.Event) {
		t.Helper()
		r.do(func(ctx context.Context) error { return r.s.complaints(ctx, list) })
	}
	tell(events[0], events[1])
	r.open()
	tell(events[0], events[1], events[2])
	if got := r.take(); len(got) != 1 || got[0] != "ada@shop.example: A recipient reported your mail as spam" {
		t.Errorf("the first: %v", got)
	}
	r.now = r.now.Add(quiet)
	tell(events[3])
	if len(r.sent) != 1 || !strings.Contains(string(r.sent[0].Content), "2 more of this kind") {
		t.Errorf("a day later: %d, %s", len(r.sent), r.sent)
	}
	// What is said of the suppression list is true.
	for want, report := range map[bool]*mail.Report{
		true: {Feedback: "abuse", Evidence: mail.EvidenceToken}, false: {Feedback: "virus", Evidence: mail.EvidenceToken},
	} {
		r.now = r.now.Add(quiet)
		r.sent = nil
		e := g.Event(mail.EventComplained, m, g.Delivery(), "bob@example.com")
		e.Report = report
		tell(e)
		if len(r.sent) != 1 || strings.Contains(string(r.sent[0].Content), "suppression list") != want {
			t.Errorf("%+v: %s", report, r.sent)
		}
	}
	mute := g.Event(mail.EventComplained, g.Message("mute"), g.Delivery(), "bob@example.com")
	r.sent = nil
	tell(mute)
	if got := r.take(); len(got) != 0 {
		t.Errorf("without a contact: %v", got)
	}
}

func TestAccountsAndQuota(t *testing.T) {
	r := newRig(t)
	r.state.Accounts[0].State = platform.AccountPaused
	r.do(r.s.accounts) // as it was found
	if got := r.take(); len(got) != 0 {
		t.Errorf("as found: %v", got)
	}
	for _, c := range []struct {
		state platform.AccountState
		want  string
	}{{platform.AccountThrottled, "is throttled"}, {"", "is active again"}, {platform.AccountPaused, "is paused"}, {"", "is active again"}, {platform.AccountPaused, "is paused"}} {
		r.state.Accounts[0].State = c.state
		r.now = r.now.Add(DefaultTick)
		r.open()
		r.do(r.s.accounts)
		r.do(r.s.accounts)
		if got := r.take(); len(got) != 1 || got[0] != "ada@shop.example: Account shop "+c.want {
			t.Errorf("%q: %v, want %s", c.state, got, c.want)
		}
	}
	// What came of it is written afterwards: a crash before tells nobody twice.
	for _, key := range []string{accountsKey, "notify/told/account-state/account/shop"} {
		before, err := r.store.GetMeta(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		r.state.Accounts[0].State = platform.AccountThrottled
		r.now = r.now.Add(DefaultTick)
		r.do(r.s.accounts)
		for key, text := range map[string][]byte{accountsKey: []byte(`{"shop":"paused","mute":"active"}`), key: before} {
			if err := r.store.PutMeta(t.Context(), key, text); err != nil {
				t.Fatal(err)
			}
		}
		r.open()
		r.do(r.s.accounts)
		if got := r.take(); len(got) != 1 {
			t.Errorf("after a crash that lost %s: %v", key, got)
		}
		r.state.Accounts[0].State = platform.AccountPaused
		r.now = r.now.Add(DefaultTick)
		r.do(r.s.accounts)
		r.sent = nil
	}
	for range 3 {
		r.do(func(ctx context.Context) error { return r.s.quota(ctx, refusal{"shop", "messages per hour"}) })
	}
	if got := r.take(); len(got) != 1 || got[0] != "ada@shop.example: Your quota of messages per hour is used up" {
		t.Errorf("quota: %v", got)
	}
	for range 2 * maxRefusals {
		r.s.Quota("shop", "messages per hour") // never blocks
	}
}

func TestAlerts(t *testing.T) {
	r := newRig(t)
	raise := func(kind, scope string) {
		t.Helper()
		if _, _, err := r.store.RaiseAlert(t.Context(), kind, scope, "something is wrong with "+scope, r.now); err != nil {
			t.Fatal(err)
		}
	}
	raise("old", "spool/1")
	if _, err := r.store.ClearAlert(t.Context(), "old", "spool/1", r.now); err != nil {
		t.Fatal(err)
	}
	raise("disk", "spool/1")
	r.do(r.s.alerts)
	if diff := cmp.Diff([]string{"ops@operator.example: Alert: disk spool/1"}, r.take()); diff != "" {
		t.Errorf("at first what is open (-want +got):\n%s", diff)
	}
	raise("disk", "spool/1")
	raise("route-auth", "route/gateway")
	raise("dkim-not-published", "sender/shop.example/s1")
	raise("webhook_stopped", "webhook/shop/crm")
	raise("notice-bounced", "account/shop")
	r.open()
	r.do(r.s.alerts)
	r.do(r.s.alerts)
	avoided := ""
	for _, m := range r.sent {
		avoided += m.AvoidRoute
	}
	told := string(r.sent[2].Content)
	subjects := r.take()
	if !strings.Contains(told, "s1._domainkey.shop.example") || !strings.Contains(told, "v=3DDKIM1; k=3Ded25519; p=3Dc2hvcA=3D=3D") {
		t.Errorf("what to publish: %s", told)
	}
	if avoided != "gateway" {
		t.Errorf("routes avoided: %q", avoided)
	}
	if diff := cmp.Diff([]string{
		"ops@operator.example: Alert: route-auth route/gateway", "ops@operator.example: Alert: dkim-not-published sender/shop.example/s1", "ada@shop.example: DNS of shop.example does not show a DKIM key",
		"ops@operator.example: Alert: webhook_stopped webhook/shop/crm", "ops@operator.example: Alert: notice-bounced account/shop",
	}, subjects); diff != "" {
		t.Errorf("what is new (-want +got):\n%s", diff)
	}
	// It comes and goes: one mail a day.
	for range 5 {
		if _, err := r.store.ClearAlert(t.Context(), "route-auth", "route/gateway", r.now); err != nil {
			t.Fatal(err)
		}
		raise("route-auth", "route/gateway")
		r.do(r.s.alerts)
		r.now = r.now.Add(time.Hour)
	}
	if got := r.take(); len(got) != 0 {
		t.Errorf("while it flaps: %v", got)
	}
	r.now = r.now.Add(quiet)
	raise("route-auth", "route/other")
	if _, err := r.store.ClearAlert(t.Context(), "route-auth", "route/gateway", r.now); err != nil {
		t.Fatal(err)
	}
	raise("route-auth", "route/gateway")
	r.do(r.s.alerts)
	if len(r.sent) != 2 || !strings.Contains(string(r.sent[1].Content), "5 more of this kind") {
		t.Errorf("a day later: %v", r.take())
	}
}
