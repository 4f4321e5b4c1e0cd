package mx

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/postroad/postroad/internal/dns"
	"github.com/postroad/postroad/internal/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ip1 = netip.MustParseAddr("192.0.2.1")
	ip2 = netip.MustParseAddr("2001:db8::2")
	us  = netip.MustParseAddr("198.51.100.7")
)

func host(addrs ...netip.Addr) dns.FakeName { return dns.FakeName{Addrs: addrs} }

func mxs(records ...dns.MX) dns.FakeName { return dns.FakeName{MX: records} }

// world is what the tests' DNS holds.
func world() map[string]dns.FakeName {
	return map[string]dns.FakeName{
		"mx1.example.com": host(ip1), "mx2.example.com": host(ip2), "mx3.example.com": host(ip1, ip2),
		"down.example.com": {Fail: dns.ErrTemporary}, "us.example.com": host(us),
		"example.com":       mxs(dns.MX{Pref: 20, Host: "MX2.Example.com."}, dns.MX{Pref: 10, Host: "mx1.example.com"}),
		"same.example":      mxs(dns.MX{Pref: 10, Host: "mx2.example.com"}, dns.MX{Pref: 10, Host: "mx1.example.com"}),
		"twice.example":     mxs(dns.MX{Pref: 30, Host: "mx1.example.com"}, dns.MX{Pref: 20, Host: "mx2.example.com"}, dns.MX{Pref: 10, Host: "mx1.example.com."}),
		"null.example":      mxs(dns.MX{Pref: 0, Host: ""}),
		"nullplus.example":  mxs(dns.MX{Pref: 0, Host: "."}, dns.MX{Pref: 10, Host: "mx1.example.com"}),
		"implicit.example":  host(ip1),
		"nothing.example":   {TXT: []string{"x"}},
		"noaddr.example":    {FailType: map[string]error{"ADDR": dns.ErrTemporary}, TXT: []string{"x"}},
		"servfail.example":  {Fail: dns.ErrTemporary},
		"mxfail.example":    {FailType: map[string]error{"MX": dns.ErrTemporary}, Addrs: []netip.Addr{ip1}},
		"garbled.example":   {FailType: map[string]error{"MX": dns.ErrMalformed}, Addrs: []netip.Addr{ip1}},
		"literal.example":   mxs(dns.MX{Pref: 10, Host: "192.0.2.1"}),
		"literal6.example":  mxs(dns.MX{Pref: 10, Host: "2001:db8::1"}),
		"bracket.example":   mxs(dns.MX{Pref: 10, Host: "[192.0.2.1]"}),
		"octets.example":    mxs(dns.MX{Pref: 10, Host: `a\000b.example.com`}, dns.MX{Pref: 10, Host: "not a host"}),
		"litplus.example":   mxs(dns.MX{Pref: 10, Host: "192.0.2.1"}, dns.MX{Pref: 20, Host: "mx1.example.com"}),
		"gone.example":      mxs(dns.MX{Pref: 10, Host: "no.invalid"}, dns.MX{Pref: 20, Host: "nothing.example"}),
		"halfgone.example":  mxs(dns.MX{Pref: 10, Host: "no.invalid"}, dns.MX{Pref: 20, Host: "mx1.example.com"}),
		"halfdown.example":  mxs(dns.MX{Pref: 10, Host: "down.example.com"}, dns.MX{Pref: 20, Host: "mx1.example.com"}),
		"down.example":      mxs(dns.MX{Pref: 10, Host: "down.example.com"}),
		"alias.example":     {CNAME: "example.com"},
		"aliasimpl.example": {CNAME: "implicit.example"},
		"aliasgone.example": {CNAME: "no.invalid"},
		"loop.example":      {CNAME: "loop2.example"}, "loop2.example": {CNAME: "loop.example"},
		"aliasmx.example":  mxs(dns.MX{Pref: 10, Host: "alias-mx.example"}),
		"alias-mx.example": {CNAME: "mx1.example.com"},
		"mxloop.example":   mxs(dns.MX{Pref: 10, Host: "loop.example"}),
		"backup.example":   mxs(dns.MX{Pref: 10, Host: "mx1.example.com"}, dns.MX{Pref: 20, Host: "mx2.example.com"}, dns.MX{Pref: 20, Host: "us.example.com"}, dns.MX{Pref: 30, Host: "mx3.example.com"}),
		"self.example":     mxs(dns.MX{Pref: 10, Host: "us.example.com"}, dns.MX{Pref: 20, Host: "mx1.example.com"}),
		"selfname.example": mxs(dns.MX{Pref: 10, Host: "mx1.example.com"}, dns.MX{Pref: 20, Host: "OUT.postroad.example."}, dns.MX{Pref: 20, Host: "mx2.example.com"}),
		"selfimpl.example": host(us),
	}
}

type setup struct {
	*Resolver
	fake *dns.Fake
	now  *time.Time
}

func newTest(t testing.TB, change func(*Options)) setup {
	t.Helper()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { return now }
	fake := &dns.Fake{Names: world(), Now: clock}
	o := Options{
		Resolver: fake, Now: clock, OwnNames: []string{"out.Postroad.example."}, OwnAddrs: []netip.Addr{us},
		Shuffle: func(int, func(int, int)) {},
	}
	if change != nil {
		change(&o)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return setup{r, fake, &now}
}

func show(p Plan) string {
	var b strings.Builder
	for _, h := range p.Hosts {
		fmt.Fprintf(&b, "%d %s; ", h.Pref, h.Name)
	}
	if p.Implicit {
		b.WriteString("implicit")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		domain string
		want   string // hosts in order
		err    error
		final  bool
	}{
		{domain: "example.com", want: "10 mx1.example.com; 20 mx2.example.com"},
		{domain: "EXAMPLE.com.", want: "10 mx1.example.com; 20 mx2.example.com"},
		{domain: "same.example", want: "10 mx1.example.com; 10 mx2.example.com"},
		{domain: "twice.example", want: "10 mx1.example.com; 20 mx2.example.com"},

		{domain: "null.example", err: ErrNullMX, final: true},
		{domain: "nullplus.example", want: "10 mx1.example.com"},
		{domain: "no.invalid", err: ErrNoSuchDomain, final: true},
		{domain: "nothing.example", err: ErrNoMailHost, final: true},
		{domain: "bad..name", err: ErrNoSuchDomain, final: true},

		{domain: "implicit.example", want: "0 implicit.example; implicit"},
		{domain: "aliasimpl.example", want: "0 implicit.example; implicit"},
		// A failed look-up must not lead to the address record (RFC 5321 §5.1).
		{domain: "mxfail.example", err: dns.ErrTemporary},
		{domain: "garbled.example", err: dns.ErrMalformed},
		{domain: "servfail.example", err: dns.ErrTemporary},
		{domain: "noaddr.example", err: dns.ErrTemporary},

		{domain: "literal.example", err: ErrNoMailHost, final: true},
		{domain: "literal6.example", err: ErrNoMailHost, final: true},
		{domain: "bracket.example", err: ErrNoMailHost, final: true},
		{domain: "octets.example", err: ErrNoMailHost, final: true},
		{domain: "litplus.example", want: "20 mx1.example.com"},

		{domain: "gone.example", err: ErrNoMailHost, final: true},
		{domain: "halfgone.example", want: "20 mx1.example.com"},
		// A host that cannot be looked up now is tried when its turn comes.
		{domain: "halfdown.example", want: "10 down.example.com; 20 mx1.example.com"},
		{domain: "down.example", want: "10 down.example.com"},

		{domain: "alias.example", want: "10 mx1.example.com; 20 mx2.example.com"},
		{domain: "aliasgone.example", err: ErrNoSuchDomain, final: true},
		{domain: "loop.example", err: dns.ErrMalformed},
		{domain: "aliasmx.example", want: "10 alias-mx.example"},
		{domain: "mxloop.example", want: "10 loop.example"},

		{domain: "backup.example", want: "10 mx1.example.com"},
		{domain: "self.example", err: ErrLoop},
		{domain: "selfname.example", want: "10 mx1.example.com"},
		{domain: "selfimpl.example", err: ErrLoop},

		{domain: "[192.0.2.1]", want: "0 [192.0.2.1]"},
		{domain: "[IPv6:2001:db8::2]", want: "0 [IPv6:2001:db8::2]"},
		{domain: "[198.51.100.7]", err: ErrLoop},
	} {
		t.Run(tt.domain, func(t *testing.T) {
			r := newTest(t, nil)
			p, err := r.Plan(context.Background(), tt.domain)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if Final(err) != tt.final {
				t.Errorf("Final(%v) = %v", err, Final(err))
			}
			if tt.err == nil {
				if got := show(p); got != tt.want {
					t.Errorf("hosts %s\nwant  %s", got, tt.want)
				}
				if p.Site == "" || p.Expires.IsZero() {
					t.Errorf("plan without site or life: %+v", p)
				}
			}
		})
	}
}

// Hosted mail is recognised whatever case and trailing dot its MX records have: a table that missed them made limits
// vanish elsewhere.
func TestCaseAndTrailingDot(t *testing.T) {
	r := newTest(t, nil)
	var sites []string
	for i, spelling := range []string{"aspmx.l.google.com", "ASPMX.L.GOOGLE.COM", "aspmx.l.google.com.", "Aspmx.L.Google.Com."} {
		domain := fmt.Sprintf("d%d.example", i)
		r.fake.SetName(domain, mxs(dns.MX{Pref: 1, Host: spelling}))
		r.fake.SetName("aspmx.l.google.com", host(ip1))
		p, err := r.Plan(context.Background(), domain)
		if err != nil {
			t.Fatal(err)
		}
		if p.Receiver != "google" {
			t.Errorf("MX %s: receiver %q, want google", spelling, p.Receiver)
		}
		sites = append(sites, p.Site)
		if p.Site != sites[0] {
			t.Errorf("MX %s: site %q, others %q", spelling, p.Site, sites[0])
		}
	}
}

func TestPlanIsRememberedUntilItExpires(t *testing.T) {
	for _, domain := range []string{"example.com", "null.example", "no.invalid", "nothing.example", "servfail.example", "self.example"} {
		r := newTest(t, nil)
		ctx := context.Background()
		_, first := r.Plan(ctx, domain)
		asked := r.fake.Queries()
		for _, spelling := range []string{domain, strings.ToUpper(domain), domain + "."} {
			if _, err := r.Plan(ctx, spelling); fmt.Sprint(err) != fmt.Sprint(first) {
				t.Errorf("%s: first %v, then %v", spelling, first, err)
			}
		}
		if got := r.fake.Queries(); got != asked {
			t.Errorf("%s: asked again %d times", domain, got-asked)
		}
		*r.now = r.now.Add(5 * time.Minute)
		r.Plan(ctx, domain)
		if got := r.fake.Queries(); got != 2*asked {
			t.Errorf("%s: after its life %d look-ups, want %d", domain, got-asked, asked)
		}
	}
}

func TestPlanLivesAsLongAsWhatItWasMadeOf(t *testing.T) {
	r := newTest(t, func(o *Options) {
		o.Policy = func(context.Context, string) (TLSPolicy, error) {
			return TLSPolicy{Expires: o.Now().Add(time.Minute)}, nil
		}
	})
	p, err := r.Plan(context.Background(), "example.com")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Expires.Sub(*r.now); got != time.Minute {
		t.Errorf("the plan lives %v, its policy a minute", got)
	}
}

// A host without an address may get one before the MX records change.
func TestADeadHostIsLookedForAgain(t *testing.T) {
	r := newTest(t, nil)
	short := shortNegative{Resolver: r.fake, life: 10 * time.Second, now: r.now}
	r.opts.Resolver = short
	p, err := r.Plan(context.Background(), "halfgone.example")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Expires.Sub(*r.now); got != short.life {
		t.Errorf("the plan lives %v, the absence of its first host %v", got, short.life)
	}
	r.fake.SetName("no.invalid", host(ip2))
	*r.now = r.now.Add(short.life)
	if p, err = r.Plan(context.Background(), "halfgone.example"); err != nil || len(p.Hosts) != 2 {
		t.Errorf("hosts %s, %v", show(p), err)
	}
}

// shortNegative gives "no such name" of addresses a life of its own.
type shortNegative struct {
	dns.Resolver
	life time.Duration
	now  *time.Time
}

func (s shortNegative) Addrs(ctx context.Context, name string) (dns.Answer[netip.Addr], error) {
	a, err := s.Resolver.Addrs(ctx, name)
	var e *dns.Error
	if errors.As(err, &e) {
		e.Expires = s.now.Add(s.life)
	}
	return a, err
}

// A plan in use is not changed by the next one handed out.
func TestPlansShareNoOrder(t *testing.T) {
	swaps := 0
	r := newTest(t, func(o *Options) {
		o.Shuffle = func(_ int, swap func(i, j int)) {
			if swaps++; swaps > 1 {
				swap(0, 1)
			}
		}
	})
	first, err := r.Plan(context.Background(), "same.example")
	if err != nil {
		t.Fatal(err)
	}
	before := show(first)
	second, err := r.Plan(context.Background(), "same.example")
	if err != nil {
		t.Fatal(err)
	}
	if show(first) != before || show(second) == before {
		t.Errorf("first %s, then %s; second %s", before, show(first), show(second))
	}
}

func TestAnEndedContextSpoilsNothing(t *testing.T) {
	r := newTest(t, nil)
	r.fake.SetName("slow.example", dns.FakeName{Hang: true})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Plan(ended, "slow.example"); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	r.fake.SetName("slow.example", mxs(dns.MX{Pref: 10, Host: "mx1.example.com"}))
	if _, err := r.Plan(context.Background(), "slow.example"); err != nil {
		t.Errorf("the next caller gets the first one's error: %v", err)
	}
}

func TestShuffleStaysWithinAPreference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var records []dns.MX
		names := make(map[string]dns.FakeName)
		for i := range rapid.IntRange(1, 12).Draw(t, "hosts") {
			name := fmt.Sprintf("mx%d.example", i)
			names[name] = host(ip1)
			records = append(records, dns.MX{Pref: uint16(rapid.IntRange(0, 3).Draw(t, "pref")), Host: name})
		}
		names["example"] = mxs(records...)
		r, err := New(Options{Resolver: &dns.Fake{Names: names}})
		if err != nil {
			t.Fatal(err)
		}
		first, err := r.Plan(context.Background(), "example")
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			p, err := r.Plan(context.Background(), "example")
			if err != nil {
				t.Fatal(err)
			}
			seen := make(map[string]bool)
			for i, h := range p.Hosts {
				seen[h.Name] = true
				if i > 0 && p.Hosts[i-1].Pref > h.Pref {
					t.Fatalf("out of order: %v", p.Hosts)
				}
			}
			if len(seen) != len(records) || p.Site != first.Site {
				t.Fatalf("%d hosts of %d, site %q, before %q", len(seen), len(records), p.Site, first.Site)
			}
		}
	})
}

func TestEveryOrderOfEqualHostsComes(t *testing.T) {
	r := newTest(t, func(o *Options) { o.Shuffle = nil })
	firsts := make(map[string]int)
	for range 400 {
		p, err := r.Plan(context.Background(), "same.example")
		if err != nil {
			t.Fatal(err)
		}
		firsts[p.Hosts[0].Name]++
	}
	for _, name := range []string{"mx1.example.com", "mx2.example.com"} {
		if n := firsts[name]; n < 120 {
			t.Errorf("%s was first %d times of 400", name, n)
		}
	}
}

func TestHostsAreBounded(t *testing.T) {
	r := newTest(t, func(o *Options) { o.MaxHosts = 3 })
	var records []dns.MX
	for i := range 500 {
		records = append(records, dns.MX{Pref: uint16(500 - i), Host: fmt.Sprintf("mx%03d.many.example", i)})
		r.fake.SetName(fmt.Sprintf("mx%03d.many.example", i), host(ip1))
	}
	r.fake.SetName("many.example", mxs(records...))
	before := r.fake.Queries()
	p, err := r.Plan(context.Background(), "many.example")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := show(p), "1 mx499.many.example; 2 mx498.many.example; 3 mx497.many.example"; got != want {
		t.Errorf("hosts %s, want %s", got, want)
	}
	if got := r.fake.Queries() - before; got != 4 {
		t.Errorf("%d look-ups, want 4: one MX and three hosts", got)
	}
}

func TestPolicy(t *testing.T) {
	policies := map[string]TLSPolicy{
		"example.com":   {Mode: PolicyEnforce, Kind: "mta-sts", Hosts: []string{"MX1.example.com", "*.other.example"}},
		"same.example":  {Mode: PolicyTesting, Kind: "mta-sts", Hosts: []string{"elsewhere.example"}},
		"twice.example": {Mode: PolicyEnforce, Kind: "mta-sts", Hosts: []string{"elsewhere.example"}},
		"alias.example": {Mode: PolicyEnforce, Kind: "dane"},
	}
	r := newTest(t, func(o *Options) {
		o.Policy = func(_ context.Context, domain string) (TLSPolicy, error) {
			if domain == "litplus.example" {
				return TLSPolicy{}, errors.New("no answer")
			}
			return policies[domain], nil
		}
	})
	ctx := context.Background()
	p, err := r.Plan(ctx, "example.com")
	if err != nil {
		t.Fatal(err)
	}
	if got := show(p); got != "10 mx1.example.com" {
		t.Errorf("a host the policy does not name was kept: %s", got)
	}
	if diff := cmp.Diff(policies["example.com"], p.Policy); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	free, err := r.Plan(ctx, "halfgone.example")
	if err != nil {
		t.Fatal(err)
	}
	if p.Site == free.Site {
		t.Errorf("a domain whose policy binds shares site %q with one that has none", p.Site)
	}
	if p, err = r.Plan(ctx, "same.example"); err != nil || len(p.Hosts) != 2 || p.Site != "mx1.example.com,mx2.example.com" {
		t.Errorf("a policy in testing binds: %+v, %v", p, err)
	}
	if p, err = r.Plan(ctx, "alias.example"); err != nil || p.Site != "mx1.example.com,mx2.example.com!dane" {
		t.Errorf("dane: site %q, %v", p.Site, err)
	}
	for _, domain := range []string{"twice.example", "litplus.example"} {
		if _, err := r.Plan(ctx, domain); !errors.Is(err, ErrPolicy) || Final(err) {
			t.Errorf("%s: %v, want ErrPolicy, not final", domain, err)
		}
	}
}

func TestAddrs(t *testing.T) {
	r := newTest(t, nil)
	ctx := context.Background()
	for host, want := range map[string][]netip.Addr{
		"mx3.example.com": {ip1, ip2}, "alias-mx.example": {ip1}, "[192.0.2.1]": {ip1}, "[IPv6:2001:db8::2]": {ip2},
	} {
		got, err := r.Addrs(ctx, host)
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); err != nil || diff != "" {
			t.Errorf("Addrs(%s): %v, %s", host, err, diff)
		}
	}
	if _, err := r.Addrs(ctx, "down.example.com"); !errors.Is(err, dns.ErrTemporary) {
		t.Errorf("Addrs of a host that cannot be looked up: %v", err)
	}
}

func TestTarget(t *testing.T) {
	p := Plan{Site: "a.example,b.example", Receiver: "google"}
	if got := p.Target(); got != (mail.Target{Receiver: "google", Site: "a.example,b.example"}) {
		t.Errorf("%+v", got)
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no resolver was accepted")
	}
	if _, err := New(Options{Resolver: &dns.Fake{}, OwnNames: []string{"not a name"}}); err == nil {
		t.Error("a bad own name was accepted")
	}
}

// BenchmarkPlan is the cost of a remembered plan, one host or five of equal preference.
func BenchmarkPlan(b *testing.B) {
	names := world()
	var five []dns.MX
	for i := range 5 {
		name := fmt.Sprintf("mx%d.example", i)
		names[name] = host(ip1)
		five = append(five, dns.MX{Pref: 10, Host: name})
	}
	const domains = 20_000
	var one, many []string
	for i := range domains {
		one = append(one, fmt.Sprintf("one%d.example", i))
		names[one[i]] = mxs(dns.MX{Pref: 10, Host: "mx1.example.com"})
		many = append(many, fmt.Sprintf("many%d.example", i))
		names[many[i]] = mxs(five...)
	}
	r, err := New(Options{Resolver: &dns.Fake{Names: names, TTL: time.Hour}})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	for _, bb := range []struct {
		name    string
		domains []string
	}{{"one", one}, {"five", many}} {
		b.Run(bb.name, func(b *testing.B) {
			for _, d := range bb.domains {
				if _, err := r.Plan(ctx, d); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := r.Plan(ctx, bb.domains[i%domains]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
