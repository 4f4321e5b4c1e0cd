package practice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Options configure an Internet. Zero fields mean the value named.
type Options struct {
	// Port is the SMTP port of every receiver; 0: one that is free.
	Port int
	// Records are further DNS records, each a line of a zone file (RFC 1035 §5.1) with whole names: they make domains
	// of a test's own. "mx1.mailbox.test." is the host that can do everything.
	Records []string
	// GreylistDelay is how long the greylist wants a sender to wait; 2 s.
	GreylistDelay time.Duration
	// Slow is how long slow@ takes over each of its two replies; 3 s.
	Slow time.Duration
	// BlockedSources are the addresses blocked-source@ refuses.
	BlockedSources []netip.Addr
	// ReturnPath is where late reports go whose address is at no domain of AddHome: host:port of a listener that takes
	// mail for every envelope sender used. It may be set later with SetReturnPath. "": such reports are dropped, and
	// counted as failed.
	ReturnPath string
	// ReportDelay is how long after the message a late report comes; 1 s.
	ReportDelay time.Duration
	// FeedbackAddress is where complaints about mail go that asks for them nowhere else, as registered with a feedback
	// loop; zero: the envelope sender.
	FeedbackAddress mail.Address
	// MaxRecords bounds the records of received mail, and the memory of which address was tried how often; 200,000.
	MaxRecords int
	// MaxContent bounds the octets of content kept for Received, all records together; 64 MiB. Negative: keep none.
	MaxContent int64
	// MaxConnections bounds the connections to all receivers; 2,000.
	MaxConnections int
	// Load, if set, replaces all receivers by one that accepts everything fast and only counts; every name below
	// ".test" then takes mail there.
	Load   *Load
	Logger *slog.Logger
	Now    func() time.Time
}

// Load is how the accept-all receiver behaves.
type Load struct {
	// Latency is added before each group of replies.
	Latency time.Duration
	// DeferEvery refuses every n-th recipient with 451; 0: none.
	DeferEvery int
	// StartTLS offers STARTTLS.
	StartTLS bool
}

// Internet is a practice internet that runs.
type Internet struct {
	opts  Options
	port  int
	hosts []*host
	zone  *zone
	dns   *nameServer
	certs certificates
	book  *book
	tries *tries
	late  chan report

	ctx  context.Context // ends with Close, or with the context of Start
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	conns      map[net.Conn]struct{}
	returnPath string
	ports      map[string]uint16 // of the mail hosts AddHome made, by name
}

// maxLate bounds the late reports that wait for their time.
const maxLate = 10_000

// Start opens the name server and the receivers. They run until Close is called or ctx ends. Receivers whose loopback
// address cannot be used on this system are left out, and so are their samples; Missing names them.
func Start(ctx context.Context, o Options) (*Internet, error) {
	setDefault(&o.GreylistDelay, 2*time.Second)
	setDefault(&o.Slow, 3*time.Second)
	setDefault(&o.ReportDelay, time.Second)
	setDefault(&o.MaxRecords, 200_000)
	setDefault(&o.MaxContent, 64<<20)
	setDefault(&o.MaxConnections, 2000)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	n := &Internet{
		opts: o, book: newBook(o.MaxRecords, o.MaxContent), tries: newTries(o.MaxRecords),
		late: make(chan report, maxLate), conns: make(map[net.Conn]struct{}), returnPath: o.ReturnPath,
	}
	n.ctx, n.stop = context.WithCancel(ctx)
	if err := n.start(); err != nil {
		n.Close()
		return nil, fmt.Errorf("practice: start: %w", err)
	}
	return n, nil
}

func (n *Internet) start() (err error) {
	if n.certs, err = makeCertificates(n.opts.Now()); err != nil {
		return err
	}
	if n.opts.Load != nil {
		n.hosts = []*host{loadHost()}
	} else {
		n.hosts = allHosts()
	}
	if err := n.listen(); err != nil {
		return err
	}
	if n.zone, err = newZone(n.hosts, n.opts.Load != nil, n.opts.Records); err != nil {
		return err
	}
	if n.dns, err = startNameServer(n.zone); err != nil {
		return err
	}
	for _, h := range n.hosts {
		if h.listener != nil {
			n.wg.Go(func() { n.accept(h) })
		}
	}
	n.wg.Go(n.sendReports)
	// The listeners close when the context ends, whoever ends it.
	n.wg.Go(func() {
		<-n.ctx.Done()
		n.shut()
	})
	return nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// listen opens all hosts at one port.
func (n *Internet) listen() error {
	const tries = 20 // a free port of one address may be taken at another
	var err error
	for range tries {
		if err = n.listenAt(n.opts.Port); err == nil {
			return nil
		}
		for _, h := range n.hosts {
			h.shut()
		}
		if n.opts.Port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return err
}

func (n *Internet) listenAt(port int) error {
	for i, h := range n.hosts {
		if h.silent {
			continue
		}
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(h.addr, uint16(port))))
		switch {
		case err == nil:
		case i > 0 && errors.Is(err, syscall.EADDRNOTAVAIL):
			h.missing = true
			continue
		default:
			return err
		}
		h.listener = l
		port = l.Addr().(*net.TCPAddr).Port
	}
	n.port = port
	return nil
}

// Close ends everything and waits for it.
func (n *Internet) Close() error {
	n.stop()
	n.shut()
	n.wg.Wait()
	if n.dns != nil {
		n.dns.close()
	}
	return nil
}

// shut closes what sockets there are.
func (n *Internet) shut() {
	for _, h := range n.hosts {
		h.shut()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for c := range n.conns {
		c.Close()
	}
}

// DNSAddr returns the address of the name server, UDP and TCP.
func (n *Internet) DNSAddr() netip.AddrPort { return n.dns.addr }

// Port returns the SMTP port of every receiver.
func (n *Internet) Port() int { return n.port }

// SetReturnPath changes where late reports go; see Options.ReturnPath.
func (n *Internet) SetReturnPath(hostPort string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.returnPath = hostPort
}

// Missing returns the names of the receivers whose address this system does not have.
func (n *Internet) Missing() []string {
	var names []string
	for _, h := range n.hosts {
		if h.missing {
			names = append(names, h.name)
		}
	}
	return names
}

// Received returns what arrived for one recipient, oldest first, duplicates included.
func (n *Internet) Received(recipient string) []Received { return n.book.of(recipient) }

// All returns every record still kept, oldest first.
func (n *Internet) All() []Received { return n.book.all() }

// Counters returns the totals since Start.
func (n *Internet) Counters() Counters { return n.book.counters() }

// Hosts returns the receivers with their connections.
func (n *Internet) Hosts() []HostCounters {
	var out []HostCounters
	for _, h := range n.hosts {
		if !h.missing && !h.silent {
			out = append(out, h.counters(n.port))
		}
	}
	return out
}

// Violations returns what clients did wrong, at most MaxViolations texts; Counters has the number of all.
func (n *Internet) Violations() []string { return n.book.violations() }

// Reports returns the late reports sent or given up, oldest first, the last thousand.
func (n *Internet) Reports() []Report { return n.book.reportsSent() }

// Wait returns when done does, which is called again after each change: a message, a refusal, a report. It returns
// ctx's error when that ends first.
func (n *Internet) Wait(ctx context.Context, done func() bool) error {
	for {
		changed := n.book.changed()
		if done() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
