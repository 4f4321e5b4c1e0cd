package feedback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/suppression"
)

// ActorStore is what an Actor needs of a store.
type ActorStore interface {
	store.Followed
	FailuresOf(ctx context.Context, account, address string) ([]platform.Failure, error)
	LastAccepted(ctx context.Context, q store.AcceptedQuery) (time.Time, error)
	Timeline(ctx context.Context, id mail.DeliveryID) ([]*mail.Event, error)
	Stats(ctx context.Context, q store.StatsQuery) ([]store.StatsRow, error)
	ListAlerts(ctx context.Context, q store.AlertQuery) ([]platform.Alert, error)
}

// ActorOptions are what an Actor needs. Store and Act are required.
type ActorOptions struct {
	Store ActorStore
	Spool mail.SpoolID // whose events come in
	// Act remembers a failure and puts the entry that follows from it, if any, in one step; a failure that is remembered
	// already changes nothing.
	Act func(ctx context.Context, f platform.Failure, put *platform.Suppression) (store.Recorded, error)
	// Vague says of a bounce rule that it may suppress nobody. nil: of none.
	Vague suppression.Vague
	Rules suppression.Rules // zero: suppression.Default
	Guard GuardRules        // zero: DefaultGuard
	// Alert tells the operator. It must not block. nil: nobody is told.
	Alert    func(platform.Alert)
	Progress *store.Progress  // is told how far it has come; nil: nobody asks
	Now      func() time.Time // nil: time.Now
	Logger   *slog.Logger     // nil: silent
}

// Actor follows the recorded events and keeps the suppression list by them. What an event says is counted once, however
// often it is seen: after a crash the last page is seen again.
type Actor struct {
	o     ActorOptions
	watch *watch
	stats actCounters
}

// actorName is the Actor's name as a follower of events, and its alerts' scope.
const actorName = "suppressions"

// reportTime is how long a report may take to contradict that mail was taken (mail that was relayed stands after it).
const reportTime = 5 * 24 * time.Hour

// actedOn are the events that may speak against an address.
var actedOn = []mail.EventType{mail.EventBounced, mail.EventComplained, mail.EventUnsubscribed, mail.EventExpired}

// NewActor makes an Actor; nothing happens before Run.
func NewActor(o ActorOptions) (*Actor, error) {
	if o.Store == nil || o.Act == nil {
		return nil, errors.New("feedback: an actor needs a store and something to act by")
	}
	if o.Vague == nil {
		o.Vague = func(string) bool { return false }
	}
	if o.Rules == (suppression.Rules{}) {
		o.Rules = suppression.Default()
	}
	if o.Guard == (GuardRules{}) {
		o.Guard = DefaultGuard()
	}
	if o.Alert == nil {
		o.Alert = func(platform.Alert) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Actor{o: o, watch: newWatch(o.Store, o.Guard, o.Alert, o.Now)}, nil
}

// Run acts on events as they are recorded, from where it was when it last ended, until ctx ends. It returns nil then.
func (a *Actor) Run(ctx context.Context) error {
	if err := a.watch.restore(ctx); err != nil && ctx.Err() == nil {
		a.o.Logger.Warn("open alerts cannot be read; those of receivers that were doubted may stay open", mail.LogEvent, "guard_unread", mail.LogErr, err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		a.watch.run(ctx, a.o.Logger)
	}()
	err := store.Follow(ctx, a.o.Store, store.FollowOptions{
		Name: actorName, Spool: a.o.Spool, Types: actedOn, Progress: a.o.Progress, Logger: a.o.Logger,
	}, a.page)
	<-over
	return err
}

// page acts on events in the order of their commits.
func (a *Actor) page(ctx context.Context, events []*mail.Event) error {
	for _, e := range events {
		if err := a.event(ctx, e); err != nil {
			return fmt.Errorf("feedback: act on event %s: %w", e.ID, err)
		}
	}
	return nil
}

// event counts one event against its address, if it speaks against it, and suppresses the address if that is enough.
func (a *Actor) event(ctx context.Context, e *mail.Event) error {
	a.stats.seen.Add(1)
	class, last, err := a.cause(ctx, e)
	if err != nil || class == platform.CauseNone {
		return err
	}
	to, err := mail.ParseAddress(e.Recipient)
	if err != nil {
		a.o.Logger.Error("an event's recipient is no address", mail.LogEvent, "bad_recipient", "event", e.ID, mail.LogErr, err)
		return nil // it never will be one
	}
	f := platform.Failure{
		Account: e.Account, Address: suppression.Form(to), Class: class, Event: e.ID, Delivery: e.Delivery, At: e.At, Receiver: receiverOf(last.Attempt),
	}
	if e.Report != nil {
		f.Evidence = e.Report.Evidence
	}
	history, err := a.o.Store.FailuresOf(ctx, f.Account, f.Address)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(history, func(x platform.Failure) bool { return x.Event == e.ID }) {
		return nil // acted on before a crash
	}
	d, err := a.decide(ctx, f, history, e.Late)
	if err != nil {
		return err
	}
	var put *platform.Suppression
	if d.Suppress {
		put = &platform.Suppression{
			Account: f.Account, Stream: d.Stream, Address: f.Address, Class: f.Class, Reason: reasonOf(f.Class, last), Actor: platform.ActorAutomatic,
			Origin: e.ID, Receiver: f.Receiver, Since: e.At, Expires: d.Expires,
		}
	}
	done, err := a.o.Act(ctx, f, put)
	if err != nil {
		return err
	}
	if done.Fresh {
		a.stats.counted.Add(1)
	}
	if done.Put {
		a.stats.suppressed.Add(1)
	}
	a.o.Logger.Info("a failure was counted", mail.LogEvent, "failure_counted", mail.LogTenant, f.Account, mail.LogRcpt, f.Address,
		mail.LogClass, f.Class, "suppressed", done.Put, "why", d.Why)
	return nil
}

// cause says what an event counts as. last is the event that has the answer: e itself, or where a delivery expired its
// last deferral.
func (a *Actor) cause(ctx context.Context, e *mail.Event) (class platform.Cause, last *mail.Event, err error) {
	if e.Type != mail.EventExpired {
		return suppression.CauseOf(e, a.o.Vague), e, nil
	}
	events, err := a.o.Store.Timeline(ctx, e.Delivery)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return platform.CauseNone, nil, err
	}
	for _, x := range slices.Backward(events) {
		if x.Type == mail.EventDeferred {
			return suppression.CauseOfExpired(x, a.o.Vague), x, nil
		}
	}
	return platform.CauseNone, e, nil
}

// decide gathers the facts and decides. What costs a search of the record is looked up only where it matters.
func (a *Actor) decide(ctx context.Context, f platform.Failure, history []platform.Failure, late bool) (suppression.Decision, error) {
	facts := suppression.Facts{History: history}
	if f.Class == platform.CauseInvalidRecipient {
		var err error
		if facts.Guarded, err = a.watch.doubts(ctx, f.Receiver, f.At); err != nil {
			return suppression.Decision{}, err
		}
	}
	d := a.o.Rules.Decide(f, facts)
	if !d.Suppress || f.Class.Personal() {
		return d, nil
	}
	now := a.o.Now()
	q := store.AcceptedQuery{Recipient: f.Address, Since: f.At.Add(-a.o.Rules.History), Delivered: now.Add(time.Hour), Relayed: now.Add(-reportTime)}
	if late {
		// This host takes mail first and refuses it later: that it took some today proves nothing yet.
		q.Delivered = q.Relayed
	}
	var err error
	if facts.Accepted, err = a.o.Store.LastAccepted(ctx, q); err != nil {
		return suppression.Decision{}, err
	}
	return a.o.Rules.Decide(f, facts), nil
}

// receiverOf is who answered an attempt, as the rollups name it: the mailbox provider, else the site; "" where that is not
// known.
func receiverOf(a *mail.Attempt) string {
	if a == nil {
		return ""
	}
	receiver, site := mail.LaneParts(a.Kind, a.Lane)
	return cmp.Or(receiver, site)
}

// maxReason bounds the reason of an automatic entry, in octets.
const maxReason = 300

// reasonOf is what the list says of an entry: its class, and the answer it was made of.
func reasonOf(class platform.Cause, e *mail.Event) string {
	s := string(class)
	switch {
	case e.Attempt != nil && e.Attempt.Reply != "":
		s += ": " + strings.Join(strings.Fields(e.Attempt.Reply), " ")
	case e.Report != nil && e.Report.Feedback != "":
		s += ": " + e.Report.Feedback
	}
	s = mail.Cut(strings.ToValidUTF8(s, "?"), maxReason)
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}
