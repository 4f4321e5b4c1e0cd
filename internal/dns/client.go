package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	mdns "github.com/miekg/dns"
)

// Server is one recursive name server.
type Server struct {
	Addr netip.AddrPort
	// Trusted: the way to it cannot be tampered with, so its AD bit counts. A server on loopback is always trusted.
	Trusted bool
}

// Options configure a Client. Zero fields mean the value named.
type Options struct {
	// Servers are asked in this order; empty: those of ResolvConf.
	Servers []Server
	// ResolvConf is read when Servers is empty; "": /etc/resolv.conf. Without the file, or without a server in it,
	// 127.0.0.1 is asked, as the C library does.
	ResolvConf string
	// Timeout of one question to one server; 3 s. resolv.conf may say otherwise.
	Timeout time.Duration
	// Attempts is how often the list of servers is gone through; 2. resolv.conf may say otherwise.
	Attempts int
	// Total bounds a whole look-up, all attempts together; 20 s.
	Total time.Duration
	// RandomCase sends names in random case and takes only answers that repeat it: more bits for a forger to guess.
	// Some old name servers do not repeat it, so it is off by default.
	RandomCase bool
	// MaxInFlight bounds the questions, and so the sockets, at one time; 256.
	MaxInFlight int
	// CacheBytes bounds the memory of the cache, roughly; 64 MiB. Negative: no cache.
	CacheBytes int64
	// MinTTL and MaxTTL clamp how long an answer is kept; 5 s and 24 h. MinTTL spares a server that publishes zero.
	MinTTL, MaxTTL time.Duration
	// MaxNegativeTTL clamps how long "no such name" and "no such record" are kept; 15 min: a new domain must not
	// stay unknown for hours (RFC 2308 §5 allows up to 3 h).
	MaxNegativeTTL time.Duration
	// FailureTTL is how long a failed look-up is kept from the servers; 5 s (RFC 9520 §3.2: 1 s to 5 min).
	FailureTTL time.Duration
	// Logger hears of name servers that stop answering; nil: nobody does.
	Logger *slog.Logger
	Now    func() time.Time
}

// Client is a Resolver that asks recursive name servers.
type Client struct {
	opts    Options
	servers []*server
	cache   *otter.Cache[key, *entry] // nil: none
	slots   chan struct{}             // one taken per question in flight

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	flights map[key]*flight

	lookups, hits, queries, failures atomic.Int64
}

// Stats counts since New.
type Stats struct {
	Lookups  int64 // by callers; those the cache answered included
	Hits     int64 // answered by the cache
	Queries  int64 // sent to servers, retries included
	Failures int64 // look-ups that ended temporary or malformed
	Entries  int   // in the cache
}

var errClosed = errors.New("the resolver is closed")

// New makes a Client. It sends nothing. It fails if a server address is not valid or resolv.conf cannot be read.
func New(o Options) (*Client, error) {
	if len(o.Servers) == 0 {
		path := o.ResolvConf
		if path == "" {
			path = "/etc/resolv.conf"
		}
		rc, err := readResolvConf(path)
		if err != nil {
			return nil, fmt.Errorf("dns: read %s: %w", path, err)
		}
		o.Servers = rc.servers
		setDefault(&o.Timeout, rc.timeout)
		setDefault(&o.Attempts, rc.attempts)
	}
	setDefault(&o.Timeout, 3*time.Second)
	setDefault(&o.Attempts, 2)
	setDefault(&o.Total, 20*time.Second)
	setDefault(&o.MaxInFlight, 256)
	setDefault(&o.CacheBytes, 64<<20)
	setDefault(&o.MinTTL, 5*time.Second)
	setDefault(&o.MaxTTL, 24*time.Hour)
	setDefault(&o.MaxNegativeTTL, 15*time.Minute)
	setDefault(&o.FailureTTL, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Client{opts: o, slots: make(chan struct{}, o.MaxInFlight), flights: make(map[key]*flight)}
	for _, s := range o.Servers {
		if !s.Addr.IsValid() || s.Addr.Port() == 0 {
			return nil, fmt.Errorf("dns: name server %q is not an address with a port", s.Addr)
		}
		c.servers = append(c.servers, &server{
			addr:    s.Addr.String(),
			trusted: s.Trusted || s.Addr.Addr().Unmap().IsLoopback(),
		})
	}
	if o.CacheBytes > 0 {
		var err error
		c.cache, err = otter.New(&otter.Options[key, *entry]{
			MaximumWeight: uint64(o.CacheBytes),
			Weigher:       func(k key, e *entry) uint32 { return e.weight(k) },
		})
		if err != nil {
			return nil, fmt.Errorf("dns: make the cache: %w", err)
		}
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Close ends every look-up and waits for their goroutines.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.wg.Wait()
	if c.cache != nil {
		c.cache.StopAllGoroutines()
	}
	return nil
}

// Stats returns the counters.
func (c *Client) Stats() Stats {
	s := Stats{
		Lookups: c.lookups.Load(), Hits: c.hits.Load(), Queries: c.queries.Load(), Failures: c.failures.Load(),
	}
	if c.cache != nil {
		s.Entries = c.cache.EstimatedSize()
	}
	return s
}

// MX implements Resolver.
func (c *Client) MX(ctx context.Context, name string) (Answer[MX], error) {
	return lookup(ctx, c, name, mdns.TypeMX, func(ctx context.Context, c *Client, name string) (Answer[MX], error) {
		return fetch(ctx, c, name, mdns.TypeMX, readMX)
	})
}

// Addrs implements Resolver. The two families are asked for at once.
func (c *Client) Addrs(ctx context.Context, name string) (Answer[netip.Addr], error) {
	return lookup(ctx, c, name, typeAddrs, fetchAddrs)
}

// TXT implements Resolver.
func (c *Client) TXT(ctx context.Context, name string) (Answer[string], error) {
	return lookup(ctx, c, name, mdns.TypeTXT, func(ctx context.Context, c *Client, name string) (Answer[string], error) {
		return fetch(ctx, c, name, mdns.TypeTXT, readTXT)
	})
}

// CNAME implements Resolver.
func (c *Client) CNAME(ctx context.Context, name string) (Answer[string], error) {
	return lookup(ctx, c, name, mdns.TypeCNAME, func(ctx context.Context, c *Client, name string) (Answer[string], error) {
		return fetch(ctx, c, name, mdns.TypeCNAME, readCNAME)
	})
}

// TLSA implements Resolver.
func (c *Client) TLSA(ctx context.Context, name string) (Answer[TLSA], error) {
	return lookup(ctx, c, name, mdns.TypeTLSA, func(ctx context.Context, c *Client, name string) (Answer[TLSA], error) {
		return fetch(ctx, c, name, mdns.TypeTLSA, readTLSA)
	})
}

// PTR implements Resolver.
func (c *Client) PTR(ctx context.Context, addr netip.Addr) (Answer[string], error) {
	name, err := mdns.ReverseAddr(addr.Unmap().WithZone("").String())
	if err != nil {
		return Answer[string]{}, &Error{Kind: ErrMalformed, Name: addr.String(), Type: "PTR", Err: err}
	}
	return lookup(ctx, c, name, mdns.TypePTR, func(ctx context.Context, c *Client, name string) (Answer[string], error) {
		return fetch(ctx, c, name, mdns.TypePTR, readPTR)
	})
}
