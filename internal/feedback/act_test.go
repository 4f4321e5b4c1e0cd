package feedback

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/store/storetest"
)

const actSpool mail.SpoolID = 7

// actBed is a store with a suppression list and an actor, over a folder that outlives it.
type actBed struct {
	t     testing.TB
	store *sqlite.Store
	list  *manage.Suppressions
	actor *Actor
	now   time.Time

	mu     sync.Mutex
	alerts []platform.Alert
}

func openActor(t testing.TB, dir string, step func(string) error) *actBed {
	t.Helper()
	b := &actBed{t: t, now: storetest.Day0.Add(200 * 24 * time.Hour)}
	var err error
	b.store, err = sqlite.Open(context.Background(), sqlite.Options{Now: storetest.Still(), Dir: filepath.Join(dir, "store"), Step: step})
	if err != nil {
		t.Fatal(err)
	}
	if b.list, err = manage.NewSuppressions(manage.SuppressionOptions{Store: b.store, Now: func() time.Time { return b.now }}); err != nil {
		t.Fatal(err)
	}
	b.actor, err = NewActor(ActorOptions{
		Store: b.store, Spool: actSpool, Act: b.list.Act, Now: func() time.Time { return b.now },
		Vague: func(rule string) bool { return rule == "vague" },
		Alert: func(a platform.Alert) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.alerts = append(b.alerts, a)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *actBed) close() {
	b.t.Helper()
	if err := b.store.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// act lets the actor follow until it has seen n of the events it acts on, or died is closed.
func (b *actBed) act(n int, died <-chan struct{}) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	over := make(chan error, 1)
	run, stop := context.WithCancel(ctx)
	go func() { over <- b.actor.Run(run) }()
	for ctx.Err() == nil && b.actor.Stats().Seen < uint64(n) {
		select {
		case <-died:
			n = 0
		case <-time.After(time.Millisecond):
		}
	}
	// What was acted on last has its cursor stored in a moment.
	if died == nil {
		tail, err := b.store.Tail(ctx)
		for err == nil && ctx.Err() == nil {
			var at []byte
			if at, err = b.store.GetMeta(ctx, store.FollowKey(actorName)); string(at) == tail.String() {
				break
			}
			if errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			time.Sleep(time.Millisecond)
		}
		if err != nil {
			b.t.Error(err)
		}
	}
	stop()
	if err := <-over; err != nil {
		b.t.Error(err)
	}
	if ctx.Err() != nil {
		b.t.Fatal("the actor does not come to an end")
	}
}

func (b *actBed) entries(account string) (list []platform.Suppression) {
	b.t.Helper()
	list, _, err := b.store.ListSuppressions(context.Background(), store.SuppressionQuery{Account: account, Max: 1000})
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func (b *actBed) is(account string, stream mail.Stream, address string) bool {
	b.t.Helper()
	a, err := mail.ParseAddress(address)
	if err != nil {
		b.t.Fatal(err)
	}
	_, is, err := b.list.Suppressed(context.Background(), account, stream, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return is
}

// mailer makes mail and what becomes of it.
type mailer struct {
	*storetest.Mail
	b *actBed
	n int // events the actor looks at

	pending []*mail.Event // not recorded yet
}

// record writes events once there are many of them; flush writes what is left.
func (g *mailer) record(events ...*mail.Event) {
	if g.pending = append(g.pending, events...); len(g.pending) >= 200 {
		g.flush()
	}
}

func (g *mailer) flush() {
	g.b.t.Helper()
	if err := g.b.store.WriteEvents(context.Background(), actSpool, g.Seq, g.pending); err != nil {
		g.b.t.Fatal(err)
	}
	g.pending = nil
}

// sent records mail that was taken, or deferred, expired or refused with a reply.
func (g *mailer) sent(account, rcpt string, as mail.EventType, class mail.Class, code int, reply string) mail.DeliveryID {
	m := g.Message(account)
	d := g.Delivery()
	accepted, e := g.Accepted(m, d, rcpt), g.Tried(as, m, d, rcpt, 1, code, reply)
	events := []*mail.Event{accepted, e}
	e.Class, e.Scope, e.Action, e.Rule = class, mail.ScopeRecipient, mail.ActionGiveUp, "rule"
	if as == mail.EventBounced && class == mail.ClassInvalidRecipient {
		e.Action = mail.ActionSuppress
	}
	if as == mail.EventDelivered {
		e.Class, e.Scope, e.Action, e.Rule = "", "", "", ""
	}
	if as == mail.EventDeferred {
		x := g.Event(mail.EventExpired, m, d, rcpt)
		x.Class, x.Action = mail.ClassExpired, mail.ActionGiveUp
		events = append(events, x)
		g.n++
	}
	g.record(events...)
	if as == mail.EventBounced {
		g.n++
	}
	return d
}

// report records what a report makes of a delivery.
func (g *mailer) report(account, rcpt string, d mail.DeliveryID, as mail.EventType, evidence mail.Evidence, change func(*mail.Event)) {
	e := g.Event(as, &mail.Message{Account: account, ID: mail.MessageID{1}, Stream: mail.Bulk}, d, rcpt)
	e.Report = &mail.Report{ID: mail.ReportID{1}, Evidence: evidence}
	if as == mail.EventBounced {
		e.Late, e.Class, e.Scope, e.Action, e.Rule = true, mail.ClassInvalidRecipient, mail.ScopeRecipient, mail.ActionSuppress, "rule"
		e.Attempt = &mail.Attempt{At: e.At, Stage: mail.StageReport, Kind: mail.RouteMX, Lane: "direct@out1>bigmail:mx1.bigmail.example", Reply: "550 5.1.1 unknown"}
	}
	if change != nil {
		change(e)
	}
	g.record(e)
	switch as {
	case mail.EventBounced, mail.EventComplained, mail.EventUnsubscribed:
		g.n++
	}
}

const day = 24 * time.Hour

// TestActor lets a year's worth of troubles come in and looks at who is on the list.
func TestActor(t *testing.T) {
	b := openActor(t, t.TempDir(), nil)
	defer b.close()
	g := &mailer{Mail: storetest.NewMail(actSpool, storetest.Day0), b: b}
	const gone = "550 5.1.1 no such user"

	g.sent("acme", "Gone@bigmail.example", mail.EventBounced, mail.ClassInvalidRecipient, 550, gone)
	g.sent("acme", "proven@bigmail.example", mail.EventDelivered, "", 250, "250 ok")
	g.Clock = g.Clock.Add(day)
	g.sent("acme", "proven@bigmail.example", mail.EventBounced, mail.ClassInvalidRecipient, 550, gone)
	g.sent("acme", "proven2@bigmail.example", mail.EventDelivered, "", 250, "250 ok")
	g.Clock = g.Clock.Add(time.Hour)
	g.sent("acme", "proven2@bigmail.example", mail.EventBounced, mail.ClassInvalidRecipient, 550, gone)
	// An address that everybody knew: another account's mail counts as proof.
	g.sent("beta", "proven2@bigmail.example", mail.EventBounced, mail.ClassInvalidRecipient, 550, gone)
	g.sent("acme", "full@bigmail.example", mail.EventBounced, mail.ClassMailboxFull, 552, "552 5.2.2 full")
	g.sent("acme", "full@bigmail.example", mail.EventBounced, mail.ClassMailboxFull, 552, "552 5.2.2 full")
	g.sent("acme", "closed@bigmail.example", mail.EventBounced, mail.ClassInactive, 550, "550 5.2.1 closed")
	g.sent("acme", "nodomain@gone.example", mail.EventBounced, mail.ClassInvalidDomain, 0, "NXDOMAIN")
	g.Clock = g.Clock.Add(day)
	g.sent("acme", "proven2@bigmail.example", mail.EventBounced, mail.ClassInvalidRecipient, 550, gone)
	g.sent("acme", "full@bigmail.example", mail.EventDeferred, mail.ClassMailboxFull, 452, "452 4.2.2 full") // until it expired
	g.sent("acme", "closed@bigmail.example", mail.EventBounced, mail.ClassInactive, 550, "550 5.2.1 closed")
	g.sent("acme", "nodomain@gone.example", mail.EventBounced, mail.ClassInvalidDomain, 0, "NXDOMAIN")
	g.Clock = g.Clock.Add(day)
	g.sent("acme", "full@bigmail.example", mail.EventBounced, mail.ClassMailboxFull, 552, "552 5.2.2 full")

	// Regression: an address-reputation refusal is no word about the recipient.
	for range 5 {
		g.sent("acme", "good@bigmail.example", mail.EventBounced, mail.ClassBlocklistedIP, 550, "550 5.7.1 blocked using zen.spamhaus.org")
		g.sent("acme", "slow@bigmail.example", mail.EventDeferred, mail.ClassGreylisted, 451, "451 4.7.1 later")
		g.Clock = g.Clock.Add(day)
	}
	// Regression: a bounce that comes after delivery reaches the list.
	late := g.sent("acme", "late@bigmail.example", mail.EventDelivered, "", 250, "250 ok")
	g.Clock = g.Clock.Add(6 * time.Hour)
	g.report("acme", "late@bigmail.example", late, mail.EventBounced, mail.EvidenceToken, nil)
	// The host takes all mail first: what it took an hour ago proves nothing.
	early := g.sent("acme", "latest@bigmail.example", mail.EventDelivered, "", 250, "250 ok")
	g.Clock = g.Clock.Add(6 * time.Hour)
	g.sent("acme", "latest@bigmail.example", mail.EventDelivered, "", 250, "250 ok")
	b.now = g.Clock.Add(time.Hour)
	g.report("acme", "latest@bigmail.example", early, mail.EventBounced, mail.EvidenceToken, nil)
	// Regression: an automatic answer touches nothing.
	away := g.sent("acme", "away@bigmail.example", mail.EventDelivered, "", 250, "250 ok")
	for range 5 {
		g.report("acme", "away@bigmail.example", away, mail.EventAutoReplied, mail.EvidenceToken, nil)
	}
	happy := g.sent("acme", "happy@bigmail.example", mail.EventDelivered, "", 250, "250 ok")
	g.report("acme", "happy@bigmail.example", happy, mail.EventComplained, mail.EvidenceHeader, func(e *mail.Event) { e.Report.Feedback = "not-spam" })
	angry := g.sent("acme", "angry@bigmail.example", mail.EventDelivered, "", 250, "250 ok")
	g.report("acme", "angry@bigmail.example", angry, mail.EventComplained, mail.EvidenceHeader, func(e *mail.Event) { e.Report.Feedback = "abuse" })
	tired := g.sent("acme", "tired@bigmail.example", mail.EventDelivered, "", 250, "250 ok")
	g.report("acme", "tired@bigmail.example", tired, mail.EventUnsubscribed, mail.EvidenceToken, nil)
	once := g.sent("acme", "once@bigmail.example", mail.EventRelayed, "", 250, "250 ok")
	g.report("acme", "once@bigmail.example", once, mail.EventBounced, mail.EvidenceMatch, nil)
	g.report("acme", "once@bigmail.example", once, mail.EventBounced, mail.EvidenceMatch, nil) // the same once more
	for range 2 {
		d := g.sent("acme", "twice@bigmail.example", mail.EventRelayed, "", 250, "250 ok")
		g.report("acme", "twice@bigmail.example", d, mail.EventBounced, mail.EvidenceMatch, nil)
	}
	unsure := g.sent("acme", "unsure@bigmail.example", mail.EventRelayed, "", 250, "250 ok")
	g.report("acme", "unsure@bigmail.example", unsure, mail.EventBounced, mail.EvidenceToken, func(e *mail.Event) { e.Rule, e.Action = "vague", mail.ActionGiveUp })
	g.flush()
	b.act(g.n, nil)

	want := map[string]string{
		"angry@bigmail.example bulk": "complaint: abuse", "closed@bigmail.example ": "inactive: 550 5.2.1 closed",
		"full@bigmail.example ": "mailbox-full: 552 5.2.2 full", "gone@bigmail.example ": "invalid-recipient: " + gone,
		"late@bigmail.example ": "invalid-recipient: 550 5.1.1 unknown", "latest@bigmail.example ": "invalid-recipient: 550 5.1.1 unknown",
		"nodomain@gone.example ": "invalid-domain: NXDOMAIN", "proven2@bigmail.example ": "invalid-recipient: " + gone,
		"tired@bigmail.example bulk": "unsubscribe", "twice@bigmail.example ": "invalid-recipient: 550 5.1.1 unknown",
	}
	got := map[string]string{}
	for _, x := range b.entries("acme") {
		got[x.Address+" "+string(x.Stream)] = x.Reason
		if x.Actor != platform.ActorAutomatic || x.Origin.IsZero() || x.Since.IsZero() || x.Account != "acme" {
			t.Errorf("entry %+v", x)
		}
		if x.Class == platform.CauseInactive && !x.Expires.Equal(x.Since.Add(180*day)) || x.Class == platform.CauseMailboxFull && !x.Expires.Equal(x.Since.Add(30*day)) {
			t.Errorf("%s ends %s, since %s", x.Class, x.Expires, x.Since)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("on the list (-want +got):\n%s", diff)
	}
	if list := b.entries("beta"); len(list) != 0 {
		t.Errorf("on another account's list: %+v", list)
	}
	if b.is("acme", mail.Transactional, "angry@bigmail.example") || !b.is("acme", mail.Bulk, "ANGRY@bigmail.example") {
		t.Error("a complaint holds for bulk mail, and for no other")
	}
	audit, err := b.store.ListAudit(t.Context(), store.AuditQuery{Kind: store.KindSuppression, Max: 1000})
	if err != nil || len(audit) != len(want) || audit[0].Actor != platform.ActorAutomatic {
		t.Errorf("%d audit entries, %v", len(audit), err)
	}
}

// TestActorBySpamhaus: the refusal as it stands in the dialogue, through the real rules.
func TestActorBySpamhaus(t *testing.T) {
	v := bounce.Default().Reply(bounce.Input{Stage: mail.StageRcpt, Route: mail.RouteMX, Code: 550, Text: "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"})
	if v.Class != mail.ClassBlocklistedIP || v.Action == mail.ActionSuppress {
		t.Fatalf("verdict %+v", v)
	}
	b := openActor(t, t.TempDir(), nil)
	defer b.close()
	g := &mailer{Mail: storetest.NewMail(actSpool, storetest.Day0), b: b}
	for range 10 {
		g.sent("acme", "good@bigmail.example", mail.EventBounced, v.Class, 550, "550 5.7.1 blocked using zen.spamhaus.org")
		g.Clock = g.Clock.Add(2 * day)
	}
	g.flush()
	b.act(g.n, nil)
	if list := b.entries(""); len(list) != 0 {
		t.Errorf("on the list: %+v", list)
	}
}

// TestActorCrash dies at every step of acting on events and comes back: nothing is lost, nothing done or counted twice.
func TestActorCrash(t *testing.T) {
	build := func(b *actBed) *mailer {
		g := &mailer{Mail: storetest.NewMail(actSpool, storetest.Day0), b: b}
		for i := range 3 {
			g.sent("acme", fmt.Sprintf("gone%d@bigmail.example", i), mail.EventBounced, mail.ClassInvalidRecipient, 550, "550 5.1.1")
			g.sent("acme", "closed@bigmail.example", mail.EventBounced, mail.ClassInactive, 550, "550 5.2.1")
			g.sent("acme", "full@bigmail.example", mail.EventBounced, mail.ClassMailboxFull, 552, "552 5.2.2")
			d := g.sent("acme", "angry@bigmail.example", mail.EventDelivered, "", 250, "250")
			g.report("acme", "angry@bigmail.example", d, mail.EventComplained, mail.EvidenceToken, nil)
			g.Clock = g.Clock.Add(day)
		}
		g.flush()
		return g
	}
	type end struct {
		Entries  []platform.Suppression
		Failures map[string]int
		Audit    int
	}
	finish := func(b *actBed) end {
		e := end{Entries: b.entries("acme"), Failures: map[string]int{}}
		for _, a := range []string{"gone0@bigmail.example", "closed@bigmail.example", "full@bigmail.example", "angry@bigmail.example"} {
			fs, err := b.store.FailuresOf(t.Context(), "acme", a)
			if err != nil {
				t.Fatal(err)
			}
			e.Failures[a] = len(fs)
		}
		audit, err := b.store.ListAudit(t.Context(), store.AuditQuery{Kind: store.KindSuppression, Max: 100})
		if err != nil {
			t.Fatal(err)
		}
		e.Audit = len(audit)
		return e
	}
	b := openActor(t, t.TempDir(), nil)
	b.act(build(b).n, nil)
	want := finish(b)
	b.close()
	// closed is replaced by one that lasts longer, once.
	if len(want.Entries) != 6 || want.Failures["full@bigmail.example"] != 3 || want.Failures["angry@bigmail.example"] != 3 || want.Audit != 7 {
		t.Fatalf("without a crash: %+v", want)
	}
	stride := 1
	if testing.Short() {
		stride = 5
	}
	for k := 0; ; k += stride {
		dir := t.TempDir()
		var acting atomic.Bool
		var steps atomic.Int64
		died := make(chan struct{})
		b := openActor(t, dir, func(string) error {
			if !acting.Load() {
				return nil
			}
			step := int(steps.Add(1))
			if step <= k {
				return nil
			}
			if step == k+1 {
				close(died)
			}
			return errors.New("killed") // and everything after it: nothing runs in a dead process
		})
		g := build(b)
		acting.Store(true)
		b.act(g.n, died)
		b.close()
		b = openActor(t, dir, nil)
		b.act(0, nil)
		if diff := cmp.Diff(want, finish(b)); diff != "" {
			t.Fatalf("killed at step %d (-want +got):\n%s", k, diff)
		}
		b.close()
		select {
		case <-died:
		default:
			t.Logf("%d steps", k)
			return
		}
	}
}

// TestActorBusyReceiver: the same at a receiver that answers ten thousand times an hour: the good answers before the error do not
// hide it until a thousand addresses are gone.
func TestActorBusyReceiver(t *testing.T) {
	b := openActor(t, t.TempDir(), nil)
	defer b.close()
	g := &mailer{Mail: storetest.NewMail(actSpool, storetest.Day0), b: b}
	for i := range 600 {
		g.sent("acme", fmt.Sprintf("user%d@bigmail.example", i), mail.EventDelivered, "", 250, "250 ok")
		g.Clock = g.Clock.Add(15 * time.Minute)
	}
	g.Clock = g.Clock.Truncate(time.Hour).Add(time.Hour)
	b.now = g.Clock
	for i := range 5000 {
		if i%100 == 0 { // as usual
			g.sent("acme", fmt.Sprintf("gone%d@bigmail.example", i), mail.EventBounced, mail.ClassInvalidRecipient, 550, "550 5.1.1")
		}
		g.sent("acme", fmt.Sprintf("fine%d@bigmail.example", i), mail.EventDelivered, "", 250, "250 ok")
	}
	g.flush()
	b.act(g.n, nil)
	usual := len(b.entries("acme"))
	if usual != 50 || len(b.alerts) != 0 {
		t.Fatalf("%d addresses are suppressed, alerts %+v", usual, b.alerts)
	}
	for i := range 400 { // 8 % of the hour's answers
		g.sent("acme", fmt.Sprintf("new%d@bigmail.example", i), mail.EventBounced, mail.ClassInvalidRecipient, 550, "550 5.1.1")
		if i%50 == 49 {
			g.flush()
			b.act(g.n, nil)
		}
	}
	if n := len(b.entries("acme")) - usual; n > 100 {
		t.Errorf("%d addresses are suppressed while the receiver errs", n)
	}
	if len(b.alerts) != 1 || !b.alerts[0].Cleared.IsZero() || b.actor.Stats().Guarded != 1 {
		t.Errorf("alerts %+v", b.alerts)
	}
}

// TestActorSpike: a receiver that takes to calling everybody unknown is believed no longer; when it has passed, it is.
func TestActorSpike(t *testing.T) {
	b := openActor(t, t.TempDir(), nil)
	defer b.close()
	g := &mailer{Mail: storetest.NewMail(actSpool, storetest.Day0), b: b}
	for i := range 600 { // a week of usual traffic
		g.sent("acme", fmt.Sprintf("user%d@bigmail.example", i), mail.EventDelivered, "", 250, "250 ok")
		g.Clock = g.Clock.Add(15 * time.Minute)
	}
	g.Clock = g.Clock.Truncate(time.Hour).Add(time.Hour)
	b.now = g.Clock
	for i := range 30 {
		g.sent("acme", fmt.Sprintf("fine%d@bigmail.example", i), mail.EventDelivered, "", 250, "250 ok")
	}
	for i := range 100 {
		g.sent("acme", fmt.Sprintf("new%d@bigmail.example", i), mail.EventBounced, mail.ClassInvalidRecipient, 550, "550 5.1.1")
	}
	g.flush()
	b.act(g.n, nil)
	if n := len(b.entries("acme")); n > unlookedAnswers {
		t.Errorf("%d addresses are suppressed while the receiver errs", n)
	}
	if len(b.alerts) != 1 || b.alerts[0].Kind != AlertSpike || b.alerts[0].Scope != "receiver/bigmail" || b.actor.Stats().Guarded != 1 {
		t.Fatalf("alerts %+v", b.alerts)
	}
	// The same again a day later is a confirmation; another receiver was never doubted.
	g.Clock = g.Clock.Add(25 * time.Hour)
	b.now = g.Clock
	for range 300 {
		g.sent("acme", "somebody@bigmail.example", mail.EventDelivered, "", 250, "250 ok")
	}
	for i := 90; i < 100; i++ {
		g.sent("acme", fmt.Sprintf("new%d@bigmail.example", i), mail.EventBounced, mail.ClassInvalidRecipient, 550, "550 5.1.1")
	}
	g.sent("acme", "later@bigmail.example", mail.EventBounced, mail.ClassInvalidRecipient, 550, "550 5.1.1")
	g.flush()
	b.act(g.n, nil)
	if len(b.alerts) != 2 || b.alerts[1].Cleared.IsZero() || b.actor.Stats().Guarded != 0 {
		t.Errorf("alerts %+v", b.alerts)
	}
	for _, a := range []string{"new90@bigmail.example", "new99@bigmail.example", "later@bigmail.example"} {
		if !b.is("acme", mail.Transactional, a) {
			t.Errorf("%s is not on the list", a)
		}
	}
}
