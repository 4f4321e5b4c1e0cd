// Command crash proves that accepted mail survives: it runs a real `postroad serve` against a practice internet, lets
// many clients submit over SMTP and HTTP at once, kills the process at random moments, starts it again on the same data,
// and in the end audits every message.
//
//	go run ./test/crash -rounds 50 -postroad bin/postroad [-seed N] [-graceful 5] [-keep]
//
// Most rounds end with SIGKILL, every fifth with SIGTERM. The audit demands:
//
//   - every recipient of a message that was answered with 250 or 202 comes to exactly one end, and the end agrees with
//     what arrived: a copy for delivered, none for bounced; nothing accepted is lost, nothing refused arrives;
//   - a copy too many is excused by an attempt the record calls uncertain, and by nothing else; a stop by SIGTERM
//     leaves none;
//   - a request repeated over HTTP with its idempotency key after a crash makes no second message;
//   - a report that was acknowledged at the return path makes its delivery bounced (late), once, also when it is sent again;
//   - a webhook is told of every event, in their order, some of them again after a kill;
//   - events are numbered without a gap and without a repetition, and none but a late bounce follows a delivery's end.
//
// The same seed gives the same messages and the same moments, as far as the machine lets moments be the same.
//
// # Not here
//
// Crashes of the spool alone, at every single write, in virtual time: the tests of internal/spool.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/practice"
	"github.com/postroad/postroad/test/rig"
)

// The limits of a run.
const (
	stopTimeout  = 2 * time.Minute  // for a stop by SIGTERM
	drainTimeout = 10 * time.Minute // for all mail to come to its end
	quietHook    = 3 * time.Minute  // a webhook that is told of nothing new for so long is told of nothing more
	// A round lasts between these, from when the platform is ready.
	shortRound, longRound = 150 * time.Millisecond, 1500 * time.Millisecond
)

type options struct {
	rounds   int
	graceful int
	postroad string
	seed     uint64
	keep     bool
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "how often the platform is ended and started again")
	flag.IntVar(&o.graceful, "graceful", 5, "every n-th round ends with SIGTERM instead of SIGKILL; 0: none")
	flag.StringVar(&o.postroad, "postroad", "bin/postroad", "the program")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the random choices")
	flag.BoolVar(&o.keep, "keep", false, "keep data folder and log")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "crash: FAILED: %v\ncrash: to repeat: -seed %d -rounds %d\n", err, o.seed, o.rounds)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "postroad-crash-")
	if err != nil {
		return err
	}
	defer func() {
		if o.keep || (err != nil && ctx.Err() == nil) {
			fmt.Fprintln(os.Stderr, "crash: data and log are kept in", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	net, err := practice.Start(ctx, practice.Options{
		Records: records(), GreylistDelay: 700 * time.Millisecond, MaxRecords: 5_000_000, MaxContent: -1,
	})
	if err != nil {
		return err
	}
	defer net.Close()
	binary, err := filepath.Abs(o.postroad)
	if err != nil {
		return err
	}
	p, err := rig.New(rig.Options{Binary: binary, Dir: dir, Config: platformConfig(net)})
	if err != nil {
		return err
	}
	defer p.Close()
	h, err := newHook()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close(withTimeout(context.WithoutCancel(ctx), stopTimeout))) }()
	fmt.Printf("crash: %d rounds, seed %d\n", o.rounds, o.seed)
	begin := time.Now()
	t := &trial{o: o, p: p, net: net, ledger: newLedger(), random: rand.New(rand.NewPCG(o.seed, 1)), hook: h}
	t.report = newReporter(p.ReturnPath, net, t.ledger, o.seed)
	if err := t.rounds(ctx); err != nil {
		return err
	}
	if err := t.drain(ctx); err != nil {
		return err
	}
	a := newAudit(t.ledger, net)
	if err := p.Events(ctx, a.event); err != nil {
		return err
	}
	a.finish(t)
	if err := t.tell(ctx, a.slowest); err != nil {
		return err
	}
	if err := p.Stop(withTimeout(ctx, stopTimeout)); err != nil {
		return err
	}
	fmt.Printf("crash: %s in %.0f s\n", a.summary(t), time.Since(begin).Seconds())
	return a.err()
}

// withTimeout is for calls that are made once: the timer ends with the program.
func withTimeout(ctx context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// platformConfig is a platform whose retries come soon. Durability is as in every configuration.
func platformConfig(net *practice.Internet) config.Config {
	c := config.Default()
	c.Hostname = "crash.test"
	c.Log.Level = "warn"
	c.DNS.Servers = []string{net.DNSAddr().String()}
	c.Delivery.Port, c.Delivery.AllowPrivate, c.Delivery.IPv6 = net.Port(), true, false
	c.Delivery.StopTimeout = config.Duration(time.Minute)
	c.Spool.Ballast, c.Spool.MinFree = 0, 64<<20
	c.Webhook.AllowPrivate, c.Webhook.AllowHTTP = true, true
	c.Retry.Transactional = config.RetrySchedule{
		Intervals: []config.Duration{config.Duration(time.Second), config.Duration(time.Second), config.Duration(2 * time.Second)},
		Expire:    config.Duration(time.Hour),
	}
	c.Retry.Bulk = c.Retry.Transactional
	return c
}

// domains is how many recipient domains there are besides the practice internet's own, all at its first host.
const domains = 20

func domain(i int) string { return fmt.Sprintf("c%02d.test", i%domains) }

func records() []string {
	var list []string
	for i := range domains {
		// A host name of its own makes each a site of its own.
		list = append(list, domain(i)+". MX 10 mx."+domain(i)+".", "mx."+domain(i)+". A 127.0.0.1")
	}
	return list
}

const apiKey = "pr_crash-test-key-that-is-long-enough-0000000"

const state = `
[[accounts]]
name = "crash"
max_connections = 1000
bounce_notice = "off"
forward_autoreplies = "off"

  [[accounts.senders]]
  name = "*"
  verified = true

  [[accounts.credentials]]
  name = "loopback"
  kind = "network"
  networks = ["127.0.0.0/8"]

  [[accounts.webhooks]]
  name = "audit"
  url = "WEBHOOK"

  [[accounts.credentials]]
  name = "api"
  kind = "api"
  secret = "` + apiKey + `"

[[routes]]
name = "direct"
kind = "mx"

[[policies]]
name = "default"

  [[policies.rules]]
  route = "direct"
`
