package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/practice"
	"github.com/postroad/postroad/test/rig"
)

// How many clients submit at once, by kind.
const (
	keptClients = 6 // SMTP, one connection for many messages
	newClients  = 4 // SMTP, a connection for each message
	httpClients = 4
)

// trial is one run: rounds of load that end by force.
type trial struct {
	o      options
	p      *rig.Platform
	net    *practice.Internet
	ledger *ledger
	random *rand.Rand
	report *reporter
	hook   *hook

	kills, stops int
	// uncertain is how many attempts the platform found open at its starts after a kill.
	uncertain int
	// atRisk is the sum of connections that were open at the receivers at the moments of the kills: a duplicate
	// needs one of them.
	atRisk int64
}

// rounds starts the platform, loads it and ends it, again and again; it runs when rounds returns.
func (t *trial) rounds(ctx context.Context) error {
	if err := t.p.Start(ctx); err != nil {
		return err
	}
	if _, err := t.p.Apply(ctx, strings.Replace(state, "WEBHOOK", t.hook.url(), 1)); err != nil {
		return err
	}
	for n := 1; n <= t.o.rounds; n++ {
		graceful := t.o.graceful > 0 && n%t.o.graceful == 0
		lasts := shortRound + time.Duration(t.random.Int64N(int64(longRound-shortRound)))
		if err := t.round(ctx, n, lasts, graceful); err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		if err := t.p.Start(ctx); err != nil {
			return fmt.Errorf("start after round %d: %w", n, err)
		}
		m, err := t.p.Metrics(ctx)
		if err != nil {
			return err
		}
		// The attempts found open are settled before the platform is ready.
		found := int(m[`postroad_deliveries_total{result="uncertain"}`])
		if graceful && found > 0 {
			return fmt.Errorf("round %d ended with SIGTERM, and yet %d attempts were left open", n, found)
		}
		t.uncertain += found
	}
	return nil
}

// round loads the platform for a while, then ends it under load.
func (t *trial) round(ctx context.Context, n int, lasts time.Duration, graceful bool) error {
	before := t.ledger.count()
	work, stop := context.WithCancel(ctx)
	defer stop()
	var clients sync.WaitGroup
	start := func(kind string, count int, run func(*client, context.Context)) {
		for i := range count {
			c := &client{
				t: t, name: fmt.Sprintf("%s%d-%d", kind, n, i), ledger: t.ledger,
				random: rand.New(rand.NewPCG(t.o.seed, uint64(n)<<32|uint64(len(kind))<<16|uint64(i))),
			}
			clients.Go(func() { run(c, work) })
		}
	}
	start("kept", keptClients, (*client).smtpKept)
	start("new", newClients, (*client).smtpNew)
	start("http", httpClients, (*client).http)
	clients.Go(func() { t.report.run(work) })

	select {
	case <-time.After(lasts):
	case <-ctx.Done():
		return ctx.Err()
	}
	how := "SIGKILL"
	var err error
	if graceful {
		how = "SIGTERM"
		t.stops++
		err = t.p.Stop(withTimeout(ctx, stopTimeout))
	} else {
		t.kills++
		err = t.p.Kill()
		for _, h := range t.net.Hosts() {
			t.atRisk = max(t.atRisk, h.MaxOpen)
		}
	}
	stop()
	clients.Wait()
	if err != nil {
		return err
	}
	after := t.ledger.count()
	fmt.Printf("crash: round %2d: %s after %4d ms: %4d messages answered with 250 or 202, %d without an answer\n",
		n, how, lasts.Milliseconds(), after.accepted-before.accepted, after.doubtful-before.doubtful)
	return ctx.Err()
}

// drain repeats the HTTP requests that got no answer, then waits until all mail has come to its end. What a crash cut
// off rests a minute; nobody needs to wait for that here, so it is asked to be tried now, as an operator would.
func (t *trial) drain(ctx context.Context) error {
	again := &client{t: t, name: "again", ledger: t.ledger}
	if err := again.repeat(ctx); err != nil {
		return err
	}
	all := map[string]any{"filter": map[string]bool{"everything": true}, "reason": "end of the crash test"}
	if err := t.p.Client().Do(ctx, http.MethodPost, "/v1/queues/retry", nil, all, nil); err != nil {
		return err
	}
	if err := t.p.Settled(withTimeout(ctx, drainTimeout)); err != nil {
		return err
	}
	if err := t.report.drain(withTimeout(ctx, drainTimeout)); err != nil {
		return err
	}
	return t.told(withTimeout(ctx, drainTimeout))
}

// told waits until every report is read, recorded, and told to the webhook.
func (t *trial) told(ctx context.Context) error {
	err := rig.Poll(ctx, 50*time.Millisecond, func() bool {
		m, err := t.p.Metrics(ctx)
		return err == nil && m[`postroad_spool_entries{kind="inbox"}`] == 0 && m["postroad_record_lag_events"] == 0
	})
	if err != nil {
		return fmt.Errorf("reports are left: %w", err)
	}
	events := 0
	if err := t.p.Events(ctx, func(*mail.Event) error { events++; return nil }); err != nil {
		return err
	}
	// A webhook that misses one for good is a matter for the audit, which names it.
	last, since := -1, time.Now()
	err = rig.Poll(ctx, 50*time.Millisecond, func() bool {
		if n := t.hook.count(); n != last {
			last, since = n, time.Now()
		}
		return last >= events || time.Since(since) > quietHook
	})
	if err != nil {
		return fmt.Errorf("the webhook was told of %d events of %d: %w", last, events, err)
	}
	return nil
}

// tell prints the timeline of the delivery that took longest: what it waited for is worth a look.
func (t *trial) tell(ctx context.Context, d *tracked) error {
	if d == nil {
		return nil
	}
	events, err := t.p.Timeline(ctx, d.id)
	if err != nil {
		return err
	}
	fmt.Printf("crash: the slowest delivery, %s to %s, took %.1f s:\n", d.id, d.recipient, d.took.Seconds())
	for _, e := range events {
		fmt.Printf("  %6.1f s %s", e.At.Sub(d.begin).Seconds(), e.Type)
		if e.Attempt != nil {
			fmt.Printf(" %s %s", e.Scope, e.Attempt.Reply)
		}
		fmt.Println()
	}
	return nil
}
