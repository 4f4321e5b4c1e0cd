package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/postroad/postroad/internal/config"
	"github.com/postroad/postroad/internal/dkim"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/node"
	"github.com/postroad/postroad/internal/practice"
)

// The demo's own times: what takes minutes and days on the Internet takes seconds here.
const (
	demoExpire   = 20 * time.Second
	demoPace     = 1.0 / 60
	demoGreylist = 1500 * time.Millisecond
	demoSlow     = 2 * time.Second
	// demoPatience is how long the sample set may take before it counts as lost.
	demoPatience = 3 * time.Minute
)

var demoRetries = []config.Duration{config.Duration(time.Second), config.Duration(2 * time.Second), config.Duration(2 * time.Second), config.Duration(4 * time.Second)}

func newDemoCmd() *cobra.Command {
	var exit, asJSON bool
	var data string
	cmd := &cobra.Command{
		Use: "demo", Short: "The platform on a practice internet: see what becomes of each sample message", GroupID: "run", Args: cobra.NoArgs,
		Long: `Starts the platform on a fresh data folder together with a practice internet on loopback (a name server and mail
hosts that accept, refuse, delay and misbehave), sends a sample message to each kind of recipient, half over SMTP and
half over HTTP, and shows live what becomes of it. Retry times are seconds instead of minutes.

Afterwards the platform stays up to be tried by hand, until interrupted. With --exit it stops after the sample set,
and exits with 0 only if every message came to the end expected of it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return (&demo{out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), exit: exit, json: asJSON, data: data}).run(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&exit, "exit", false, "stop after the sample set")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON summary and nothing else")
	cmd.Flags().StringVar(&data, "data", "", "data folder; without it a temporary one that is removed at the end")
	return cmd
}

// demo is one run.
type demo struct {
	out, err io.Writer
	exit     bool
	json     bool
	data     string

	internet *practice.Internet
	node     *node.Node
	access   demoAccess

	mu      sync.Mutex
	samples []*demoSample
	byID    map[mail.DeliveryID]*demoSample
	early   map[mail.DeliveryID][]*mail.Event // seen before we knew whose they are
	begin   time.Time
}

// demoSample is a sample message and what became of it.
type demoSample struct {
	Name      string `json:"name"`
	Via       string `json:"via"`
	Recipient string `json:"recipient"`
	Expected  string `json:"expected"`
	Got       string `json:"got"`
	// Then is the event that a report is to bring after it was taken, and GotThen the one it brought.
	Then      string   `json:"then,omitempty"`
	GotThen   string   `json:"got_then,omitempty"`
	Class     string   `json:"class,omitempty"`
	Attempts  int      `json:"attempts"`
	Uncertain bool     `json:"uncertain,omitempty"`
	Copies    int      `json:"copies"`
	Reply     string   `json:"reply,omitempty"`
	OK        bool     `json:"ok"`
	Wrong     []string `json:"wrong,omitempty"`

	sample   practice.Sample
	delivery mail.DeliveryID
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.data == "" {
		if d.data, err = os.MkdirTemp("", "postroad-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.data)) }()
	} else if entries, derr := os.ReadDir(d.data); derr == nil && len(entries) > 0 {
		return fmt.Errorf("demo: %s is not empty; the demo wants a fresh folder", d.data)
	}
	key, record, err := demoKey(demoDomain)
	if err != nil {
		return err
	}
	ownKey, ownRecord, err := demoKey(demoHost)
	if err != nil {
		return err
	}
	d.internet, err = practice.Start(ctx, practice.Options{GreylistDelay: demoGreylist, Slow: demoSlow, Records: []string{
		record, ownRecord, demoDomain + ". MX 10 mx1.mailbox.test.", // the shop reads its mail there: notices come to it
	}})
	if err != nil {
		return fmt.Errorf("demo: start the practice internet: %w", err)
	}
	defer func() { err = errors.Join(err, d.internet.Close()) }()
	for _, name := range d.internet.Missing() {
		d.say("left out: %s (its loopback address cannot be used on this system)", name)
	}
	d.byID, d.early = map[mail.DeliveryID]*demoSample{}, map[mail.DeliveryID][]*mail.Event{}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("POSTROAD_DEMO_LOG") != "" {
		log = slog.New(slog.NewTextHandler(d.err, nil))
	}
	d.node, err = node.Open(ctx, node.Options{Config: d.config(), Logger: log, OnEvents: d.see, Pace: demoPace})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- d.node.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	if home, ok := d.node.Addrs("return-path")[0].(*net.TCPAddr); ok {
		if err := d.internet.AddHome(demoHost, home.AddrPort()); err != nil {
			return err
		}
	}
	if d.access, err = d.declare(ctx, key, ownKey); err != nil {
		return err
	}
	if err := d.submit(ctx); err != nil {
		return err
	}
	if err := d.wait(ctx); err != nil {
		return err
	}
	ok := d.summary()
	if !d.exit {
		d.hints()
		<-ctx.Done()
		return nil
	}
	if !ok {
		return exitError{exitNotAsWanted}
	}
	return nil
}

// demoKey makes a signing key and the DNS record that shows it, so that the practice internet knows it from the start.
func demoKey(domain string) (pem, record string, err error) {
	signer, err := dkim.GenerateRSA()
	if err != nil {
		return "", "", err
	}
	der, err := dkim.MarshalPrivate(signer)
	if err != nil {
		return "", "", err
	}
	var quoted strings.Builder
	// A character string of DNS has at most 255 octets.
	for chunk := range slices.Chunk([]byte(dkim.PublicRecord(signer.Public())), 255) {
		fmt.Fprintf(&quoted, " %q", chunk)
	}
	return encodePEM(der), "pr1._domainkey." + domain + ". 300 IN TXT" + quoted.String(), nil
}

// demoDomain is the sender domain of the samples, demoHost the platform's own name and return domain.
const (
	demoDomain = "shop.test"
	demoHost   = "postroad.test"
)

func (d *demo) config() config.Config {
	c := config.Default()
	c.Hostname = demoHost
	c.Data = filepath.Join(d.data, "data")
	c.HTTP.Listen = []string{"127.0.0.1:0"}
	c.Submission.Listen, c.Submission.ListenTLS = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}
	c.ReturnPath.Listen = []string{"127.0.0.1:0"}
	if !d.exit {
		// To be tried by hand at the ports the documentation names, where they are free.
		c.HTTP.Listen = []string{freeOr(config.Default().HTTP.Listen[0])}
		c.Submission.Listen = []string{freeOr(config.Default().Submission.Listen[0])}
		c.Submission.ListenTLS = []string{freeOr(config.Default().Submission.ListenTLS[0])}
		c.ReturnPath.Listen = []string{freeOr(config.Default().ReturnPath.Listen[0])}
	}
	c.DNS.Servers = []string{d.internet.DNSAddr().String()}
	c.Delivery.Port, c.Delivery.AllowPrivate, c.Delivery.Transcripts = d.internet.Port(), true, "all"
	c.Delivery.StopTimeout = config.Duration(5 * time.Second)
	c.Spool.Ballast, c.Spool.MinFree = 0, 64<<20
	c.Retry.Transactional = config.RetrySchedule{Intervals: demoRetries, Expire: config.Duration(demoExpire)}
	c.Retry.Bulk = c.Retry.Transactional
	return c
}

// declare makes the account the samples are sent from, as an operator would with `postroad apply`.
func (d *demo) declare(ctx context.Context, key, own string) (demoAccess, error) {
	quote := func(pem string) string { return "'''\n" + pem + "'''" }
	state, kinds, err := manage.ParseState([]byte(fmt.Sprintf(demoState, demoDomain, quote(key), demoHost, quote(own))))
	if err != nil {
		return demoAccess{}, err
	}
	report, err := d.node.Apply(ctx, manage.Request{Actor: "demo", State: state, Kinds: kinds})
	if err != nil {
		return demoAccess{}, err
	}
	var a demoAccess
	for _, s := range report.Secrets {
		if s.Login != "" {
			a.login, a.password = s.Login, s.Value
		} else {
			a.key = s.Value
		}
	}
	a.smtp, a.http = d.node.Addrs("submission")[0].String(), "http://"+d.node.Addrs("http")[0].String()
	return a, nil
}

const demoState = `
[[accounts]]
name = "shop"

  [[accounts.senders]]
  name = %q
  verified = true

    [[accounts.senders.keys]]
    selector = "pr1"
    algorithm = "rsa-2048"
    active = true
    private_key = %s

  [[accounts.credentials]]
  name = "smtp"
  kind = "smtp"

  [[accounts.credentials]]
  name = "api"
  kind = "api"

[[accounts]]
name = "postroad"

  [[accounts.senders]]
  name = %q
  verified = true

    [[accounts.senders.keys]]
    selector = "pr1"
    algorithm = "rsa-2048"
    active = true
    private_key = %s

[[routes]]
name = "direct"
kind = "mx"

[[policies]]
name = "default"
  [[policies.rules]]
  route = "direct"
`

// submit sends every sample, alternately over SMTP and HTTP.
func (d *demo) submit(ctx context.Context) error {
	d.begin = time.Now()
	d.say("%s  %s  %-9s %s", strong("TIME "), strong(fmt.Sprintf("%-28s", "RECIPIENT")), strong("EVENT"), strong("WHAT HAPPENED"))
	for i, s := range d.internet.Samples() {
		x := &demoSample{Name: s.Name, Recipient: s.Recipient, Expected: string(s.Want), Then: string(s.Then), sample: s, Via: "smtp"}
		if s.Want == mail.Deferred {
			x.Expected = string(mail.Expired) // nobody will ever take it: it waits until its deadline
		}
		send := d.access.sendSMTP
		if i%2 == 1 {
			x.Via, send = "http", d.access.sendHTTP
		}
		var err error
		if x.delivery, err = send(ctx, s); err != nil {
			return fmt.Errorf("demo: send the sample %s: %w", s.Name, err)
		}
		d.mu.Lock()
		d.samples = append(d.samples, x)
		d.byID[x.delivery] = x
		for _, e := range d.early[x.delivery] {
			d.take(x, e)
		}
		delete(d.early, x.delivery)
		d.mu.Unlock()
	}
	return nil
}

// see is told of every event once it is recorded.
func (d *demo) see(events []*mail.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range events {
		if x := d.byID[e.Delivery]; x != nil {
			d.take(x, e)
		} else {
			d.early[e.Delivery] = append(d.early[e.Delivery], e)
		}
	}
}

// take notes what an event says of a sample.
func (d *demo) take(x *demoSample, e *mail.Event) {
	if e.Report != nil { // told by mail, after the message was taken
		if x.GotThen = string(e.Type); e.Class != "" {
			x.Class = string(e.Class)
		}
		d.show(e)
		return
	}
	// An expiry repeats the last answer; what counts is why there was no better one.
	if a := e.Attempt; a != nil && e.Type != mail.EventExpired {
		x.Attempts, x.Reply = x.Attempts+1, a.Reply
		x.Uncertain = x.Uncertain || a.Uncertain
	}
	if e.Class != "" && e.Type != mail.EventExpired {
		x.Class = string(e.Class)
	}
	if r := e.Type.Result(); r.Final() {
		x.Got = string(r)
	}
	d.show(e)
}

// show prints an event as a line.
func (d *demo) show(e *mail.Event) {
	if d.json || e.Type == mail.EventAccepted {
		return
	}
	what := e.Reason
	if a := e.Attempt; a != nil {
		if what = a.Reply; what == "" {
			what = e.Reason
		}
		if a.TLSNote != "" {
			what += " (" + a.TLSNote + ")"
		}
		if a.Uncertain {
			what = warn("uncertain: ") + what
		}
	}
	if r := e.Report; r != nil {
		what = "by mail (" + r.Kind + "): " + what
	}
	if e.Type == mail.EventDeferred && !e.Next.IsZero() {
		what = "again in " + span(time.Until(e.Next)) + ": " + what
	}
	state := paint(string(e.Type))
	fmt.Fprintf(d.out, "%5.1fs %-28s %s%s %s %s\n", e.At.Sub(d.begin).Seconds(), oneLine(e.Recipient, 28), state, strings.Repeat(" ", max(0, 9-columns(state))), string(e.Class), dim(oneLine(what, 96)))
}

// settled reports whether every sample has come to its end, and what comes back by mail has come and been read.
func (d *demo) settled() bool {
	d.mu.Lock()
	letters := 0
	open := slices.ContainsFunc(d.samples, func(x *demoSample) bool {
		letters += x.sample.Letters
		return x.Got == "" || x.Then != "" && x.GotThen == ""
	})
	d.mu.Unlock()
	c := d.internet.Counters()
	return !open && c.Reports+c.ReportsLost >= int64(letters) && d.node.Unsettled() == 0
}

// wait waits until everything is settled.
func (d *demo) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if d.settled() {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil // summary says which
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// demoSummary is what --json prints: how many were accepted, how many came to each end, how many to none.
type demoSummary struct {
	Accepted   int           `json:"accepted"`
	Delivered  int           `json:"delivered"`
	Relayed    int           `json:"relayed"`
	Bounced    int           `json:"bounced"`
	Expired    int           `json:"expired"`
	Suppressed int           `json:"suppressed"`
	Cancelled  int           `json:"cancelled"`
	Late       int           `json:"late_bounced"`
	Complained int           `json:"complained"`
	AutoReply  int           `json:"auto_replied"`
	Lost       int           `json:"lost"`
	Duplicate  int           `json:"duplicates"`
	Seconds    float64       `json:"seconds"`
	OK         bool          `json:"ok"`
	Messages   []*demoSample `json:"messages"`
}

// ends are the counters of the final outcomes, in the order they are printed.
func (s *demoSummary) ends() []demoEnd {
	return []demoEnd{
		{mail.Delivered, &s.Delivered},
		{mail.Relayed, &s.Relayed},
		{mail.Bounced, &s.Bounced},
		{mail.Expired, &s.Expired},
		{mail.Suppressed, &s.Suppressed},
		{mail.Cancelled, &s.Cancelled},
	}
}

type demoEnd struct {
	result mail.Result
	count  *int
}

// summary compares what happened with what was expected, prints it, and reports whether all is well.
func (d *demo) summary() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := demoSummary{Accepted: len(d.samples), OK: true, Seconds: time.Since(d.begin).Seconds(), Messages: d.samples}
	for _, x := range d.samples {
		copies := d.internet.Received(x.Recipient)
		x.Copies = len(copies)
		s.Duplicate += max(0, x.Copies-1)
		d.judge(x)
		if x.Got == "" {
			s.Lost++
		}
		switch mail.EventType(x.GotThen) {
		case mail.EventBounced:
			s.Late++
		case mail.EventComplained:
			s.Complained++
		case mail.EventAutoReplied:
			s.AutoReply++
		}
		for _, e := range s.ends() {
			if x.Got == string(e.result) {
				*e.count++
			}
		}
		s.OK = s.OK && x.OK
	}
	if d.json {
		_ = json.NewEncoder(d.out).Encode(s)
		return s.OK
	}
	fmt.Fprintln(d.out)
	rows := [][]string{{"SAMPLE", "WHAT HAPPENS THERE", "EXPECTED", "GOT", "TRIES", "CLASS"}}
	for _, x := range d.samples {
		expected, got := x.Expected, paint(x.Got)
		if x.Then != "" {
			expected += ", " + x.Then
		}
		if x.GotThen != "" {
			got += ", " + paint(x.GotThen)
		}
		if !x.OK {
			got += bad(" ✗ " + strings.Join(x.Wrong, "; "))
		}
		rows = append(rows, []string{x.Name, x.sample.Subject, expected, got, fmt.Sprint(x.Attempts), x.Class})
	}
	table(d.out, rows)
	fmt.Fprintf(d.out, "\n%d accepted in %.1f s: ", s.Accepted, s.Seconds)
	for _, e := range s.ends() {
		if *e.count > 0 {
			fmt.Fprintf(d.out, "%d %s, ", *e.count, paint(string(e.result)))
		}
	}
	fmt.Fprintf(d.out, "%d lost\n", s.Lost)
	fmt.Fprintf(d.out, "came back by mail: %d late bounces, %d complaints, %d automatic replies\n", s.Late, s.Complained, s.AutoReply)
	return s.OK
}

// judge says what is wrong with the end a sample came to.
func (d *demo) judge(x *demoSample) {
	x.Wrong = nil
	if x.Got != x.Expected {
		x.Wrong = append(x.Wrong, "expected "+x.Expected)
	}
	if x.GotThen != x.Then {
		x.Wrong = append(x.Wrong, "then expected "+cmp.Or(x.Then, "nothing"))
	}
	if want := string(cmp.Or(x.sample.ThenClass, x.sample.WantClass)); want != "" && x.Class != want {
		x.Wrong = append(x.Wrong, "class expected "+want)
	}
	if x.Attempts < x.sample.Attempts {
		x.Wrong = append(x.Wrong, fmt.Sprintf("%d attempts expected", x.sample.Attempts))
	}
	if x.Copies != x.sample.Copies {
		x.Wrong = append(x.Wrong, fmt.Sprintf("%d copies expected, %d received", x.sample.Copies, x.Copies))
	}
	x.OK = len(x.Wrong) == 0
}

// hints tells what to try by hand.
func (d *demo) hints() {
	a := d.access
	fmt.Fprintf(d.out, `
The platform stays up; Ctrl-C ends it. Try it:

  swaks --server %s --tls --auth-user %s --auth-password %s \
        --from info@%s --to alice@mailbox.test
  curl %s/v1/messages -H "Authorization: Bearer %s" \
       -H "Content-Type: application/json" \
       -d '{"from":"info@%s","to":"busy@mailbox.test","subject":"Hi","text":"Hello"}'
  %s trace ID --data %s
  %[8]s queue --data %[9]s
`, a.smtp, a.login, a.password, demoDomain, a.http, a.key, demoDomain, os.Args[0], filepath.Join(d.data, "data"))
}

func (d *demo) say(format string, args ...any) {
	if !d.json {
		fmt.Fprintf(d.out, format+"\n", args...)
	}
}
