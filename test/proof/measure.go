package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/practice"
	"github.com/postroad/postroad/test/rig"
)

// options of one measurement.
type options struct {
	binary, dir         string
	deliveries, domains int
	goals               goals
}

// goals are the most each figure may be.
type goals struct {
	ready time.Duration
	rss   int64   // octets
	cpu   float64 // of one core
}

// fullGoals are those of the full size: 100,000 deliveries over 10,000 domains.
var fullGoals = goals{ready: 2 * time.Second, rss: 150 << 20, cpu: 0.05}

// Times of a measurement.
const (
	fillTimeout = 10 * time.Minute
	stopTimeout = time.Minute
	// settleFor is how long a started platform is left alone before its idleness is measured over idleFor.
	settleFor, idleFor = 5 * time.Second, 5 * time.Second
	// perMessage recipients share a message, as they do in newsletters: private copies of one content.
	perMessage = 1000
)

// figures are what was measured.
type figures struct {
	deliveries, domains int
	tried               int // of them, deliveries that were answered with 451 themselves
	afterStop           time.Duration
	afterKill           time.Duration
	rss                 int64
	cpu                 float64
}

func (f figures) String() string {
	return fmt.Sprintf("%d deferred deliveries over %d domains (%d tried and refused): ready %.2f s after a stop, %.2f s after kill -9; idle: %d MiB, %.1f %% of a core",
		f.deliveries, f.domains, f.tried, f.afterStop.Seconds(), f.afterKill.Seconds(), f.rss>>20, f.cpu*100)
}

func (f figures) judge(g goals) error {
	var errs []error
	if f.afterStop > g.ready || f.afterKill > g.ready {
		errs = append(errs, fmt.Errorf("not ready within %v", g.ready))
	}
	if f.rss > g.rss {
		errs = append(errs, fmt.Errorf("more than %d MiB of memory when idle", g.rss>>20))
	}
	if f.cpu > g.cpu {
		errs = append(errs, fmt.Errorf("more than %.0f %% of a core when idle", g.cpu*100))
	}
	return errors.Join(errs...)
}

// measure fills a platform, restarts it twice, and takes the figures.
func measure(ctx context.Context, o options) (f figures, err error) {
	// Every domain below .test leads to a receiver that puts off every recipient.
	net, err := practice.Start(ctx, practice.Options{Load: &practice.Load{DeferEvery: 1}})
	if err != nil {
		return f, err
	}
	defer net.Close()
	p, err := rig.New(rig.Options{Binary: o.binary, Dir: o.dir, Config: platformConfig(net)})
	if err != nil {
		return f, err
	}
	defer p.Close()
	if err := p.Start(ctx); err != nil {
		return f, err
	}
	if _, err := p.Apply(ctx, state); err != nil {
		return f, err
	}
	f.deliveries, f.domains = o.deliveries, o.domains
	if f.tried, err = fill(ctx, p, o); err != nil {
		return f, err
	}
	stopping, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := p.Stop(stopping); err != nil {
		return f, err
	}
	if f.afterStop, err = restart(ctx, p, o.deliveries); err != nil {
		return f, err
	}
	if err := p.Kill(); err != nil {
		return f, err
	}
	if f.afterKill, err = restart(ctx, p, o.deliveries); err != nil {
		return f, err
	}
	if err := sleep(ctx, settleFor); err != nil {
		return f, err
	}
	before, err := processorTime(p.PID())
	if err != nil {
		return f, err
	}
	if err := sleep(ctx, idleFor); err != nil {
		return f, err
	}
	after, err := processorTime(p.PID())
	if err != nil {
		return f, err
	}
	f.cpu = (after - before).Seconds() / idleFor.Seconds()
	f.rss, err = residentMemory(p.PID())
	return f, err
}

// restart starts the platform, and makes sure it has all it had.
func restart(ctx context.Context, p *rig.Platform, deliveries int) (time.Duration, error) {
	begin := time.Now()
	if err := p.Start(ctx); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	m, err := p.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	if live := int(m[`postroad_spool_entries{kind="deliveries"}`]); live != deliveries {
		return 0, fmt.Errorf("after the restart %d deliveries are live, %d were before", live, deliveries)
	}
	return took, nil
}

// fill submits all deliveries and waits until each was tried, or waits behind one of its site that was.
func fill(ctx context.Context, p *rig.Platform, o options) (tried int, err error) {
	ctx, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	// Neighbours in a message are of different domains, in no order.
	order := rand.New(rand.NewPCG(1, 2)).Perm(o.deliveries)
	for from := 0; from < o.deliveries; from += perMessage {
		var to []string
		for _, n := range order[from:min(from+perMessage, o.deliveries)] {
			to = append(to, fmt.Sprintf("user%d@d%05d.test", n, n%o.domains))
		}
		in := map[string]any{
			"from": "news@shop.test", "subject": "Deferred", "text": strings.Repeat("A line of a message that nobody takes.\n", 40),
			"recipients": to, "stream": "bulk",
		}
		if err := send(ctx, p, in); err != nil {
			return 0, err
		}
	}
	// It is at rest when nothing is in flight, the record is complete, and no attempt was made for a while.
	last, since := -1.0, time.Now()
	err = rig.Poll(ctx, 100*time.Millisecond, func() bool {
		m, err := p.Metrics(ctx)
		if err != nil {
			return false
		}
		deferred := m[`postroad_deliveries_total{result="deferred"}`]
		if deferred != last || m[`postroad_spool_entries{kind="in_flight"}`] > 0 || m["postroad_record_lag_events"] > 0 || deferred == 0 {
			last, since = deferred, time.Now()
		}
		return time.Since(since) > 2*time.Second
	})
	if err != nil {
		return 0, fmt.Errorf("the queue did not come to rest: %w", err)
	}
	return int(last), nil
}

func send(ctx context.Context, p *rig.Platform, in any) error {
	var out struct {
		Count int `json:"recipient_count"`
	}
	c, err := p.For("proof")
	if err != nil {
		return err
	}
	if err := c.Do(ctx, http.MethodPost, "/v1/messages", nil, in, &out); err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// residentMemory is the process's memory in octets, as the system counts it.
func residentMemory(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("the system does not tell the process's memory")
}

// processorTime is what the process has used so far.
func processorTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The program's name, in parentheses, may hold spaces; utime and stime are the 12th and 13th field behind it.
	_, rest, ok := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, errors.New("the system does not tell the process's time")
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux architecture Go knows
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

func platformConfig(net *practice.Internet) config.Config {
	c := config.Default()
	c.Hostname = "proof.test"
	c.Log.Level = "warn"
	c.DNS.Servers = []string{net.DNSAddr().String()}
	c.Delivery.Port, c.Delivery.AllowPrivate, c.Delivery.IPv6 = net.Port(), true, false
	c.Spool.Ballast, c.Spool.MinFree = 0, 64<<20
	// Nothing comes due again while it is measured.
	hours := config.RetrySchedule{Intervals: []config.Duration{config.Duration(6 * time.Hour)}, Expire: config.Duration(96 * time.Hour)}
	c.Retry.Transactional, c.Retry.Bulk = hours, hours
	return c
}

const state = `
[[accounts]]
name = "proof"

  [[accounts.senders]]
  name = "*"
  verified = true

[[routes]]
name = "direct"
kind = "mx"

[[policies]]
name = "default"

  [[policies.rules]]
  route = "direct"
`
