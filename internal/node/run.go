package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// How often shelves are tidied, and how long a stop waits for the record to catch up.
const (
	maintainSpool = time.Minute
	maintainStore = time.Hour
	recordWait    = 10 * time.Second
)

// Run serves until ctx ends or a part of the platform fails, then stops in order and closes everything. It returns nil
// after a stop that was asked for.
func (n *Node) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, n.close()) }()
	stop, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	defer fail(nil)

	// Three groups end one after the other: what takes mail in, what sends it, what records it.
	intake, stopIntake := context.WithCancel(stop)
	works, stopWorks := context.WithCancel(context.WithoutCancel(ctx))
	record, stopRecord := context.WithCancel(context.WithoutCancel(ctx))
	defer stopIntake()
	defer stopWorks()
	defer stopRecord()
	var intakes, workers, recorders sync.WaitGroup
	run := func(g *sync.WaitGroup, ctx context.Context, what string, f func(context.Context) error) {
		g.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				fail(fmt.Errorf("node: %s: %w", what, err))
			}
		})
	}
	run(&recorders, record, "projector", n.projector.Run)
	run(&recorders, record, "alerts", func(ctx context.Context) error { n.alerts.run(ctx); return nil })
	run(&recorders, record, "archive", n.archive.Run)
	run(&workers, works, "queue", n.queue.Run)
	run(&workers, works, "feedback", n.feedback.Run)
	run(&workers, works, "webhooks", n.webhooks.Run)
	run(&workers, works, "reporting", n.reporting.Run)
	run(&workers, works, "notify", n.notify.Run)
	run(&workers, works, "maintenance", func(ctx context.Context) error { return n.maintain(ctx, maintainSpool, "spool", n.spool.Maintain) })
	run(&workers, works, "maintenance", func(ctx context.Context) error {
		return n.maintain(ctx, maintainStore, "store", func(ctx context.Context) error { _, err := n.store.Maintain(ctx, time.Now()); return err })
	})
	run(&workers, works, "suppressions", n.suppress.Run)
	run(&workers, works, "actor", n.actor.Run)
	run(&workers, works, "bounce rules", n.ruleFolder.run)
	run(&intakes, intake, "smtp", n.smtp.Run)
	run(&intakes, intake, "bounce mailboxes", n.mailboxes.Run)
	run(&intakes, intake, "notices", n.notices.Run) // they take mail in as well
	for i := range n.listeners {
		run(&intakes, intake, "http", func(ctx context.Context) error { return n.listeners[i].serve(ctx, n.log) })
	}
	n.log.Info("postroad is up", mail.LogEvent, "started", "version", BuildVersion(), "hostname", n.hostname, "data", n.cfg.Data)

	select {
	case <-ctx.Done():
	case <-stop.Done():
	case <-n.spool.Failed():
		fail(fmt.Errorf("node: the spool stopped: %w", n.spool.Err()))
	}
	n.log.Info("stopping: no more mail is taken in; dialogues in hand are finished", mail.LogEvent, "stopping")
	close(n.stopping)
	stopIntake()
	intakes.Wait()
	stopWorks()
	workers.Wait()
	n.recordRest()
	stopRecord()
	recorders.Wait()
	n.log.Info("stopped", mail.LogEvent, "stopped")
	return context.Cause(stop)
}

// recordRest waits until the record holds what the spool has committed. What it does not wait for is recorded at the
// next start.
func (n *Node) recordRest() {
	ctx, cancel := context.WithTimeout(context.Background(), recordWait)
	defer cancel()
	_ = n.caughtUp(ctx)
}

// maintain tidies a shelf a minute after the start, and then now and then.
func (n *Node) maintain(ctx context.Context, every time.Duration, what string, tidy func(context.Context) error) error {
	timer := time.NewTimer(maintainSpool)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			if err := tidy(ctx); err != nil && ctx.Err() == nil {
				n.log.Error(what+" maintenance failed", mail.LogEvent, "maintain_failed", mail.LogErr, err)
			}
			timer.Reset(every)
		}
	}
}
