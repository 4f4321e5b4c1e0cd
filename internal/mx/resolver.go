package mx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/postroad/postroad/internal/dns"
	"github.com/postroad/postroad/internal/mail"
)

// Options configure a Resolver.
type Options struct {
	Resolver dns.Resolver // required
	// Receivers is the table sites are recognised by; nil: DefaultReceivers.
	Receivers *Table
	// OwnNames and OwnAddrs are ourselves: an MX host of that name, or with that address, would loop.
	OwnNames []string
	OwnAddrs []netip.Addr
	// Policy looks up the TLS policy of a recipient domain; nil: no domain has one. It should remember its answers:
	// it is called each time a plan is made. An error makes the plan fail for now.
	Policy func(ctx context.Context, domain string) (TLSPolicy, error)
	// MaxHosts bounds the hosts of a plan; 16. A domain with more is not reached by its least preferred ones.
	MaxHosts int
	// MaxPlans bounds how many plans are remembered; 200,000, at roughly 500 octets each.
	MaxPlans int
	Now      func() time.Time
	// Shuffle orders hosts of equal preference; nil: at random.
	Shuffle func(n int, swap func(i, j int))
}

// Resolver makes plans. It is safe for concurrent use and has no goroutines of its own after Plan returns.
type Resolver struct {
	opts     Options
	ownNames map[string]bool
	ownAddrs map[netip.Addr]bool
	plans    *otter.Cache[string, *made]
}

// made is a plan or the error in its place, as remembered. Its hosts are sorted by preference and name.
type made struct {
	plan    Plan
	err     error
	expires time.Time
	tied    bool // some hosts have equal preference
}

// failureLife is how long an error without a time of its own is remembered: ErrLoop and the like.
const failureLife = time.Minute

// New makes a Resolver.
func New(o Options) (*Resolver, error) {
	if o.Resolver == nil {
		return nil, errors.New("mx: Options.Resolver is missing")
	}
	if o.Receivers == nil {
		t, err := DefaultReceivers()
		if err != nil {
			return nil, err
		}
		o.Receivers = t
	}
	o.MaxHosts = cmp.Or(o.MaxHosts, 16)
	o.MaxPlans = cmp.Or(o.MaxPlans, 200_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Shuffle == nil {
		o.Shuffle = rand.Shuffle
	}
	r := &Resolver{opts: o, ownNames: make(map[string]bool), ownAddrs: make(map[netip.Addr]bool)}
	for _, name := range o.OwnNames {
		own, err := mail.ParseDomain(strings.TrimSuffix(name, "."))
		if err != nil {
			return nil, fmt.Errorf("mx: own name %q: %w", name, err)
		}
		r.ownNames[own] = true
	}
	for _, a := range o.OwnAddrs {
		r.ownAddrs[a.Unmap().WithZone("")] = true
	}
	var err error
	if r.plans, err = otter.New(&otter.Options[string, *made]{MaximumSize: o.MaxPlans}); err != nil {
		return nil, fmt.Errorf("mx: make the cache: %w", err)
	}
	return r, nil
}

// Plan says where domain takes mail. The domain is in A-labels; case and one trailing dot do not matter. The error
// wraps one of the package's errors or the dns error.
func (r *Resolver) Plan(ctx context.Context, domain string) (Plan, error) {
	if m := r.remembered(domain); m != nil {
		return r.handOut(m)
	}
	name, err := mail.ParseDomain(strings.TrimSuffix(domain, "."))
	if err != nil {
		return Plan{}, fmt.Errorf("mx: %w: %w", ErrNoSuchDomain, err)
	}
	m := r.remembered(name)
	if m == nil {
		m = r.make(ctx, name)
		if ctx.Err() == nil { // an error that is only the caller's own is nobody else's
			r.plans.Set(name, m)
		}
	}
	return r.handOut(m)
}

// Addrs returns the addresses of a host of a plan, IPv4 first. The error wraps the dns error.
func (r *Resolver) Addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, ok := literal(host); ok {
		return []netip.Addr{ip}, nil
	}
	a, err := r.opts.Resolver.Addrs(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("mx: address of %s: %w", host, err)
	}
	return a.Records, nil
}

// Receivers returns the table in use.
func (r *Resolver) Receivers() *Table { return r.opts.Receivers }

func (r *Resolver) remembered(domain string) *made {
	m, ok := r.plans.GetIfPresent(domain)
	if !ok || !r.opts.Now().Before(m.expires) {
		return nil
	}
	return m
}

// handOut returns the plan with hosts of equal preference in a new order.
func (r *Resolver) handOut(m *made) (Plan, error) {
	if m.err != nil || !m.tied {
		return m.plan, m.err
	}
	p := m.plan
	p.Hosts = slices.Clone(p.Hosts)
	for start := 0; start < len(p.Hosts); {
		end := start + 1
		for end < len(p.Hosts) && p.Hosts[end].Pref == p.Hosts[start].Pref {
			end++
		}
		if same := p.Hosts[start:end]; len(same) > 1 {
			r.opts.Shuffle(len(same), func(i, j int) { same[i], same[j] = same[j], same[i] })
		}
		start = end
	}
	return p, nil
}

// make finds the plan of a domain in canonical form.
func (r *Resolver) make(ctx context.Context, domain string) *made {
	p, err := r.find(ctx, domain)
	if err != nil {
		return &made{err: fmt.Errorf("mx: %s: %w", domain, err), expires: errorLife(err, r.opts.Now())}
	}
	m := &made{plan: p, expires: p.Expires}
	for i := 1; i < len(p.Hosts); i++ {
		m.tied = m.tied || p.Hosts[i].Pref == p.Hosts[i-1].Pref
	}
	return m
}

func (r *Resolver) find(ctx context.Context, domain string) (Plan, error) {
	if ip, ok := literal(domain); ok {
		return r.literalPlan(domain, ip)
	}
	p, err := r.published(ctx, domain)
	if err != nil {
		return Plan{}, err
	}
	if p.Hosts, err = r.withoutOurselves(p.Hosts); err != nil {
		return Plan{}, err
	}
	if err := r.applyPolicy(ctx, &p); err != nil {
		return Plan{}, err
	}
	p.Site = siteOf(p.Hosts, p.Policy)
	p.Receiver = r.opts.Receivers.Site(p.Hosts)
	p.Hosts = p.Hosts[:min(len(p.Hosts), r.opts.MaxHosts)]
	if err := r.checkAddresses(ctx, &p); err != nil {
		return Plan{}, err
	}
	return p, nil
}

// literalPlan serves [192.0.2.1] and [IPv6:2001:db8::1] (RFC 5321 §4.1.3): no DNS, no policy.
func (r *Resolver) literalPlan(domain string, ip netip.Addr) (Plan, error) {
	if r.ownAddrs[ip.Unmap()] {
		return Plan{}, ErrLoop
	}
	return Plan{
		Domain: domain, Hosts: []Host{{Name: domain}}, Site: domain,
		Expires: r.opts.Now().Add(24 * time.Hour),
	}, nil
}

// published returns the hosts DNS names for the domain, sorted by preference and name.
func (r *Resolver) published(ctx context.Context, domain string) (Plan, error) {
	p := Plan{Domain: domain}
	a, err := r.opts.Resolver.MX(ctx, domain)
	switch {
	case errors.Is(err, dns.ErrNoData):
		return r.implicit(ctx, p)
	case errors.Is(err, dns.ErrNotExist):
		return Plan{}, fmt.Errorf("%w: %w", ErrNoSuchDomain, err)
	case err != nil:
		return Plan{}, err
	}
	p.Expires = a.Expires
	best := make(map[string]uint16, len(a.Records)) // of each host its best preference
	null := false
	for _, m := range a.Records {
		host := strings.TrimSuffix(m.Host, ".")
		if host == "" {
			null = true
			continue
		}
		// An address, or a name no host can have, is no mail host (RFC 5321 §5.1, RFC 2181 §10.3).
		host, ok := hostName(host)
		if !ok {
			continue
		}
		if pref, seen := best[host]; !seen || m.Pref < pref {
			best[host] = m.Pref
		}
	}
	for host, pref := range best {
		p.Hosts = append(p.Hosts, Host{Name: host, Pref: pref})
	}
	slices.SortFunc(p.Hosts, func(a, b Host) int {
		return cmp.Or(cmp.Compare(a.Pref, b.Pref), cmp.Compare(a.Name, b.Name))
	})
	switch {
	case len(p.Hosts) > 0:
		return p, nil // a null MX beside real ones means nothing (RFC 7505 §3)
	case null:
		return Plan{}, &lasting{ErrNullMX, a.Expires}
	}
	return Plan{}, &lasting{fmt.Errorf("%w: its MX records name no host", ErrNoMailHost), a.Expires}
}

// implicit makes the domain its own host (RFC 5321 §5.1): only for a domain that exists and has no MX record.
func (r *Resolver) implicit(ctx context.Context, p Plan) (Plan, error) {
	a, err := r.opts.Resolver.Addrs(ctx, p.Domain)
	switch {
	case dns.Final(err):
		return Plan{}, fmt.Errorf("%w: it has neither MX nor address: %w", ErrNoMailHost, err)
	case err != nil:
		return Plan{}, err
	}
	p.Implicit, p.Expires = true, a.Expires
	p.Hosts = []Host{{Name: cmp.Or(a.Canonical, p.Domain)}}
	return p, nil
}

// withoutOurselves drops the first host that has one of our names, and all hosts not better than it.
func (r *Resolver) withoutOurselves(hosts []Host) ([]Host, error) {
	return better(hosts, func(h Host) bool { return r.ownNames[h.Name] })
}

// better returns the hosts with a lower preference number than the first one that isUs (RFC 5321 §5.1).
func better(hosts []Host, isUs func(Host) bool) ([]Host, error) {
	us := slices.IndexFunc(hosts, isUs)
	if us < 0 {
		return hosts, nil
	}
	for us > 0 && hosts[us-1].Pref == hosts[us].Pref {
		us--
	}
	if us == 0 {
		return nil, ErrLoop
	}
	return hosts[:us], nil
}

// applyPolicy asks for the domain's TLS policy and drops the hosts it does not allow.
func (r *Resolver) applyPolicy(ctx context.Context, p *Plan) error {
	if r.opts.Policy == nil {
		return nil
	}
	policy, err := r.opts.Policy(ctx, p.Domain)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	p.Policy = policy
	if !policy.Expires.IsZero() && policy.Expires.Before(p.Expires) {
		p.Expires = policy.Expires
	}
	p.Hosts = slices.DeleteFunc(p.Hosts, func(h Host) bool { return !policy.allows(h.Name) })
	if len(p.Hosts) == 0 {
		return ErrPolicy
	}
	return nil
}

// checkAddresses looks up all hosts at once, drops those that certainly have no address and those that loop, and
// leaves hosts whose look-up failed to be tried.
func (r *Resolver) checkAddresses(ctx context.Context, p *Plan) error {
	type found struct {
		addrs dns.Answer[netip.Addr]
		err   error
	}
	results := make([]found, len(p.Hosts))
	var wg sync.WaitGroup
	for i, h := range p.Hosts {
		wg.Go(func() { results[i].addrs, results[i].err = r.opts.Resolver.Addrs(ctx, h.Name) })
	}
	wg.Wait()
	alive := make([]Host, 0, len(p.Hosts))
	var dead error
	us := make(map[string]bool)
	for i, h := range p.Hosts {
		f := results[i]
		if dns.Final(f.err) {
			dead = f.err
			if until := errorLife(f.err, r.opts.Now()); until.Before(p.Expires) {
				p.Expires = until // the host may come back before the MX records change
			}
			continue
		}
		alive = append(alive, h)
		us[h.Name] = slices.ContainsFunc(f.addrs.Records, func(a netip.Addr) bool { return r.ownAddrs[a.Unmap()] })
	}
	if len(alive) == 0 {
		return fmt.Errorf("%w: none of its MX hosts has an address: %w", ErrNoMailHost, dead)
	}
	var err error
	p.Hosts, err = better(alive, func(h Host) bool { return us[h.Name] })
	return err
}

// lasting is an error with the life of the DNS answer it was read from.
type lasting struct {
	error
	until time.Time
}

// Unwrap returns the error itself.
func (e *lasting) Unwrap() error { return e.error }

// errorLife returns until when err is remembered.
func errorLife(err error, now time.Time) time.Time {
	var l *lasting
	if errors.As(err, &l) {
		return l.until
	}
	var de *dns.Error
	if errors.As(err, &de) && !de.Expires.IsZero() {
		return de.Expires
	}
	return now.Add(failureLife)
}
