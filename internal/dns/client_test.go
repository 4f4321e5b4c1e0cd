package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
)

func TestRecordsOfEveryType(t *testing.T) {
	s := serve(t, always(t, mdns.RcodeSuccess,
		`example.com. 300 MX 10 MX1.Example.com.`, `example.com. 200 MX 20 mx2.example.com.`,
		`example.com. 300 A 192.0.2.1`, `example.com. 100 AAAA 2001:db8::1`,
		`example.com. 300 TXT "v=spf1 " "-all"`, `example.com. 300 TXT "quote \" backslash \\ octet \200 end"`,
		`_25._tcp.example.com. 300 TLSA 3 1 1 0123456789abcdef`,
		`www.example.com. 300 CNAME example.com.`,
		`1.2.0.192.in-addr.arpa. 300 PTR Mail.Example.com.`,
	))
	now := newClock()
	c := newTestClient(t, Options{Now: now.now}, s)
	ctx := testContext(t)

	mx, err := c.MX(ctx, "Example.COM.")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]MX{{10, "mx1.example.com"}, {20, "mx2.example.com"}}, mx.Records); diff != "" {
		t.Errorf("MX (-want +got):\n%s", diff)
	}
	if mx.Canonical != "example.com" || now.until(mx.Expires) != 200*time.Second {
		t.Errorf("MX canonical %q, life %v; want example.com and the least TTL, 200s", mx.Canonical, now.until(mx.Expires))
	}
	addrs, err := c.Addrs(ctx, "example.com")
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	if diff := cmp.Diff(want, addrs.Records, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("Addrs (-want +got):\n%s", diff)
	}
	if got := now.until(addrs.Expires); got != 100*time.Second {
		t.Errorf("addresses live %v, want the lesser of both families, 100s", got)
	}
	txt, err := c.TXT(ctx, "example.com")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"v=spf1 -all", "quote \" backslash \\ octet \xc8 end"}, txt.Records); diff != "" {
		t.Errorf("TXT (-want +got):\n%s", diff)
	}
	tlsa, err := c.TLSA(ctx, "_25._tcp.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]TLSA{{3, 1, 1, []byte{1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}}}, tlsa.Records); diff != "" {
		t.Errorf("TLSA (-want +got):\n%s", diff)
	}
	if a, err := c.CNAME(ctx, "www.example.com"); err != nil || a.Records[0] != "example.com" {
		t.Errorf("CNAME = %v, %v", a, err)
	}
	if a, err := c.PTR(ctx, netip.MustParseAddr("::ffff:192.0.2.1")); err != nil || a.Records[0] != "mail.example.com" {
		t.Errorf("PTR = %v, %v", a, err)
	}
}

func TestNegativeAnswers(t *testing.T) {
	const soa = `example.com. 900 SOA ns.example.com. host.example.com. 1 2 3 4 60`
	for _, tt := range []struct {
		name    string
		rcode   int
		records []string
		kind    error
		life    time.Duration
	}{
		{"no such name", mdns.RcodeNameError, []string{soa}, ErrNotExist, 60 * time.Second},
		{"no such record", mdns.RcodeSuccess, []string{soa}, ErrNoData, 60 * time.Second},
		{"no SOA: kept for the least time only", mdns.RcodeNameError, nil, ErrNotExist, 5 * time.Second},
		{"a day is clamped", mdns.RcodeNameError, []string{`example.com. 86400 SOA ns.example.com. host.example.com. 1 2 3 4 86400`}, ErrNotExist, 15 * time.Minute},
		{"SERVFAIL", mdns.RcodeServerFailure, nil, ErrTemporary, 5 * time.Second},
		{"REFUSED", mdns.RcodeRefused, nil, ErrTemporary, 5 * time.Second},
		{"records of a name that does not exist", mdns.RcodeNameError, []string{`example.com. 300 MX 10 mx.example.com.`, soa}, ErrMalformed, 5 * time.Second},
		{"alias of a name that does not exist", mdns.RcodeNameError, []string{`example.com. 30 CNAME gone.example.`, soa}, ErrNotExist, 30 * time.Second},
		{"a record of another name is not ours", mdns.RcodeSuccess, []string{`other.example. 300 MX 10 evil.example.`, soa}, ErrNoData, 60 * time.Second},
		{"CNAME loop", mdns.RcodeSuccess, []string{`example.com. 30 CNAME b.example.`, `b.example. 30 CNAME example.com.`}, ErrMalformed, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, always(t, tt.rcode, tt.records...))
			now := newClock()
			c := newTestClient(t, Options{Now: now.now, Attempts: 1}, s)
			for range 2 {
				_, err := c.MX(testContext(t), "example.com")
				var e *Error
				if !errors.As(err, &e) || !errors.Is(err, tt.kind) {
					t.Fatalf("error %v, want %v", err, tt.kind)
				}
				if got := now.until(e.Expires); got != tt.life {
					t.Errorf("kept for %v, want %v", got, tt.life)
				}
			}
			if got := s.queries.Load(); got != 1 {
				t.Errorf("%d questions were sent, want 1: the error is remembered", got)
			}
			now.add(tt.life)
			c.MX(testContext(t), "example.com")
			if got := s.queries.Load(); got != 2 {
				t.Errorf("%d questions were sent, want 2: the error's life is over", got)
			}
		})
	}
}

func TestReferralIsNoAbsence(t *testing.T) {
	s := serve(t, func(q *mdns.Msg, _ bool) []*mdns.Msg {
		m := reply(t, q, mdns.RcodeSuccess, `com. 300 NS a.gtld-servers.net.`)
		m.RecursionAvailable = false
		return []*mdns.Msg{m}
	})
	c := newTestClient(t, Options{}, s)
	if _, err := c.MX(testContext(t), "example.com"); !errors.Is(err, ErrTemporary) {
		t.Errorf("error %v, want ErrTemporary: a server that does not recurse knows nothing", err)
	}
}

func TestAnswerIsCachedUntilItsTTL(t *testing.T) {
	s := serve(t, always(t, mdns.RcodeSuccess, `example.com. 100 MX 10 mx.example.com.`))
	now := newClock()
	c := newTestClient(t, Options{Now: now.now}, s)
	ask := func(want int64) {
		t.Helper()
		if _, err := c.MX(testContext(t), "example.com"); err != nil {
			t.Fatal(err)
		}
		if got := s.queries.Load(); got != want {
			t.Fatalf("%d questions were sent, want %d", got, want)
		}
	}
	ask(1)
	now.add(99 * time.Second)
	ask(1)
	now.add(time.Second)
	ask(2)
	if st := c.Stats(); st.Lookups != 3 || st.Hits != 1 || st.Queries != 2 {
		t.Errorf("stats %+v", st)
	}
}

func TestTTLIsClamped(t *testing.T) {
	for _, tt := range []struct {
		ttl  string
		want time.Duration
	}{{"0", 5 * time.Second}, {"604800", 24 * time.Hour}, {"4294967295", 5 * time.Second}} {
		s := serve(t, always(t, mdns.RcodeSuccess, `example.com. `+tt.ttl+` MX 10 mx.example.com.`))
		now := newClock()
		c := newTestClient(t, Options{Now: now.now}, s)
		a, err := c.MX(testContext(t), "example.com")
		if err != nil {
			t.Fatal(err)
		}
		if got := now.until(a.Expires); got != tt.want {
			t.Errorf("TTL %s: kept for %v, want %v", tt.ttl, got, tt.want)
		}
	}
}

func TestTruncatedAnswerIsFetchedOverTCP(t *testing.T) {
	s := serve(t, func(q *mdns.Msg, tcp bool) []*mdns.Msg {
		var records []string
		for i := range 200 {
			records = append(records, fmt.Sprintf(`example.com. 300 MX %d mx%d.example.com.`, i, i))
		}
		m := reply(t, q, mdns.RcodeSuccess, records...)
		if !tcp {
			m.Truncate(udpSize)
		}
		return []*mdns.Msg{m}
	})
	c := newTestClient(t, Options{}, s)
	a, err := c.MX(testContext(t), "example.com")
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Records) != 200 || s.tcp.Load() != 1 {
		t.Errorf("%d records after %d questions over TCP, want 200 after 1", len(a.Records), s.tcp.Load())
	}
}

func TestForeignResponsesArePassedOver(t *testing.T) {
	forge := func(change func(*mdns.Msg)) func(q *mdns.Msg, _ bool) []*mdns.Msg {
		return func(q *mdns.Msg, _ bool) []*mdns.Msg {
			bad := reply(t, q, mdns.RcodeSuccess, `example.com. 300 MX 10 evil.example.`)
			change(bad)
			return []*mdns.Msg{bad, reply(t, q, mdns.RcodeSuccess, `example.com. 300 MX 10 mx.example.com.`)}
		}
	}
	for name, change := range map[string]func(*mdns.Msg){
		"wrong id":        func(m *mdns.Msg) { m.Id++ },
		"wrong name":      func(m *mdns.Msg) { m.Question[0].Name = "other.example." },
		"wrong case":      func(m *mdns.Msg) { m.Question[0].Name = "eXample.com." },
		"wrong type":      func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeA },
		"wrong class":     func(m *mdns.Msg) { m.Question[0].Qclass = mdns.ClassCHAOS },
		"no question":     func(m *mdns.Msg) { m.Question = nil },
		"two questions":   func(m *mdns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"not a response":  func(m *mdns.Msg) { m.Response = false },
		"another opcode":  func(m *mdns.Msg) { m.Opcode = mdns.OpcodeNotify },
		"silence, really": func(m *mdns.Msg) { *m = mdns.Msg{} },
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestClient(t, Options{}, serve(t, forge(change)))
			a, err := c.MX(testContext(t), "example.com")
			if err != nil {
				t.Fatal(err)
			}
			if a.Records[0].Host != "mx.example.com" {
				t.Errorf("took the forged answer: %v", a.Records)
			}
		})
	}
}

func TestRandomCaseMustComeBack(t *testing.T) {
	var seen sync.Map
	s := serve(t, func(q *mdns.Msg, _ bool) []*mdns.Msg {
		seen.Store(q.Question[0].Name, true)
		return []*mdns.Msg{reply(t, q, mdns.RcodeSuccess, `a-long-name-to-have-many-letters.example.com. 300 MX 10 mx.example.com.`)}
	})
	c := newTestClient(t, Options{RandomCase: true, CacheBytes: -1}, s)
	for range 3 {
		if a, err := c.MX(testContext(t), "a-long-name-to-have-many-letters.example.com"); err != nil || a.Canonical != "a-long-name-to-have-many-letters.example.com" {
			t.Fatalf("%v, %v", a, err)
		}
	}
	spellings := 0
	seen.Range(func(name, _ any) bool {
		if name.(string) == strings.ToLower(name.(string)) {
			t.Errorf("asked for %s in lower case", name)
		}
		spellings++
		return true
	})
	if spellings != 3 {
		t.Errorf("%d spellings in 3 questions", spellings)
	}
}

func TestServersAreAskedInTurn(t *testing.T) {
	bad := serve(t, always(t, mdns.RcodeServerFailure))
	good := serve(t, always(t, mdns.RcodeSuccess, `example.com. 300 MX 10 mx.example.com.`))
	c := newTestClient(t, Options{}, bad, good)
	if _, err := c.MX(testContext(t), "example.com"); err != nil {
		t.Fatal(err)
	}
	if bad.queries.Load() != 1 || good.queries.Load() != 1 {
		t.Errorf("asked %d and %d times, want once each", bad.queries.Load(), good.queries.Load())
	}
}

func TestSilentServer(t *testing.T) {
	// Nobody listens at the first, so that how long its silence lasts depends on no clock.
	silent := &testServer{addr: netip.MustParseAddrPort("127.0.0.1:1")}
	good := serve(t, always(t, mdns.RcodeSuccess, `example.com. 300 MX 10 mx.example.com.`, `example.net. 300 MX 10 mx.example.com.`))
	var log strings.Builder
	c := newTestClient(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, silent, good)
	for _, name := range []string{"example.com", "example.net"} {
		if _, err := c.MX(testContext(t), name); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.Stats().Queries; got != 3 {
		t.Errorf("%d questions were sent for two names, want 3: the silent server is asked last for a while", got)
	}
	if n := strings.Count(log.String(), silent.addr.String()); n == 0 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("want one line about the silent server: %s", log.String())
	}

	alone := newTestClient(t, Options{Timeout: 20 * time.Millisecond}, serve(t, func(*mdns.Msg, bool) []*mdns.Msg { return nil }))
	if _, err := alone.MX(testContext(t), "example.com"); !errors.Is(err, ErrTemporary) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want ErrTemporary for the time-out", err)
	}
	if alone.servers[0].avoid.Load() == 0 {
		t.Error("a server that does not answer in time is not asked last")
	}
}

func TestServerWithoutEDNS(t *testing.T) {
	s := serve(t, func(q *mdns.Msg, _ bool) []*mdns.Msg {
		if q.IsEdns0() != nil {
			m := reply(t, q, mdns.RcodeFormatError)
			m.Question = nil
			return []*mdns.Msg{m}
		}
		return []*mdns.Msg{reply(t, q, mdns.RcodeSuccess, `example.com. 300 MX 10 mx.example.com.`)}
	})
	c := newTestClient(t, Options{}, s)
	if _, err := c.MX(testContext(t), "example.com"); err != nil {
		t.Errorf("a server that knows no EDNS: %v", err)
	}
}

func TestUnfinishedChainIsFollowed(t *testing.T) {
	s := serve(t, func(q *mdns.Msg, _ bool) []*mdns.Msg {
		switch q.Question[0].Name {
		case "a.example.":
			return []*mdns.Msg{reply(t, q, mdns.RcodeSuccess, `a.example. 300 CNAME b.example.`)}
		case "b.example.":
			return []*mdns.Msg{reply(t, q, mdns.RcodeSuccess, `b.example. 40 CNAME C.example.`, `c.example. 300 MX 10 mx.example.`)}
		}
		return []*mdns.Msg{reply(t, q, mdns.RcodeServerFailure)}
	})
	now := newClock()
	c := newTestClient(t, Options{Now: now.now}, s)
	a, err := c.MX(testContext(t), "a.example")
	if err != nil {
		t.Fatal(err)
	}
	if a.Canonical != "c.example" || now.until(a.Expires) != 40*time.Second {
		t.Errorf("canonical %q, life %v; want c.example, 40s", a.Canonical, now.until(a.Expires))
	}
}

func TestEndlessChainEnds(t *testing.T) {
	s := serve(t, func(q *mdns.Msg, _ bool) []*mdns.Msg {
		name := q.Question[0].Name
		return []*mdns.Msg{reply(t, q, mdns.RcodeSuccess, name+` 300 CNAME x`+name)}
	})
	c := newTestClient(t, Options{}, s)
	_, err := c.MX(testContext(t), "a.example")
	if !errors.Is(err, ErrMalformed) {
		t.Errorf("error %v, want ErrMalformed", err)
	}
	if got := s.queries.Load(); got > maxChain+1 {
		t.Errorf("asked %d times", got)
	}
}

func TestAuthenticOnlyFromWhomWeTrust(t *testing.T) {
	signed := func(q *mdns.Msg, _ bool) []*mdns.Msg {
		m := reply(t, q, mdns.RcodeSuccess, `example.com. 300 A 192.0.2.1`, `example.com. 300 AAAA 2001:db8::1`)
		m.AuthenticatedData = q.AuthenticatedData
		if q.Question[0].Name == "half.example." {
			m = reply(t, q, mdns.RcodeSuccess, `half.example. 300 A 192.0.2.1`, `half.example. 300 AAAA 2001:db8::1`)
			m.AuthenticatedData = q.Question[0].Qtype == mdns.TypeA
		}
		return []*mdns.Msg{m}
	}
	s := serve(t, signed)
	local := newTestClient(t, Options{}, s)
	if a, err := local.Addrs(testContext(t), "example.com"); err != nil || !a.Authentic {
		t.Errorf("a server on loopback: %+v, %v; want authentic", a, err)
	}
	if a, err := local.Addrs(testContext(t), "half.example"); err != nil || a.Authentic {
		t.Errorf("only one family is signed: %+v, %v; want not authentic", a, err)
	}
	// The same server, as if it were elsewhere.
	far := newTestClient(t, Options{}, s)
	far.servers[0].trusted = false
	if a, err := far.Addrs(testContext(t), "example.com"); err != nil || a.Authentic {
		t.Errorf("a server we do not trust: %+v, %v; want not authentic", a, err)
	}
	// A chain is as good as its weakest link, in whatever response that is.
	chain := newTestClient(t, Options{}, serve(t, func(q *mdns.Msg, _ bool) []*mdns.Msg {
		m := reply(t, q, mdns.RcodeSuccess, `b.example. 300 MX 10 mx.example.`)
		m.AuthenticatedData = true
		if q.Question[0].Name == "a.example." {
			m = reply(t, q, mdns.RcodeSuccess, `a.example. 300 CNAME b.example.`)
		}
		return []*mdns.Msg{m}
	}))
	if a, err := chain.MX(testContext(t), "a.example"); err != nil || a.Authentic {
		t.Errorf("over an alias that is not signed: %+v, %v; want not authentic", a, err)
	}
	o := Options{Servers: []Server{{Addr: netip.MustParseAddrPort("192.0.2.53:53")}, {Addr: netip.MustParseAddrPort("192.0.2.54:53"), Trusted: true}, {Addr: netip.MustParseAddrPort("[::1]:53")}}}
	c := newTestClient(t, o)
	for i, want := range []bool{false, true, true} {
		if c.servers[i].trusted != want {
			t.Errorf("server %s: trusted %v, want %v", c.servers[i].addr, c.servers[i].trusted, want)
		}
	}
}

func TestOneFamilyFails(t *testing.T) {
	const soa = `example.com. 900 SOA ns.example.com. host.example.com. 1 2 3 4 60`
	for _, tt := range []struct {
		name   string
		a, a6  int
		hasA   bool
		kind   error
		life   time.Duration
		signed bool
	}{
		{name: "IPv6 fails: IPv4 for a short time", a6: mdns.RcodeServerFailure, hasA: true, life: 5 * time.Second},
		{name: "no IPv6", hasA: true, life: 60 * time.Second, signed: true},
		{name: "IPv6 is said not to exist", a6: mdns.RcodeNameError, hasA: true, life: 60 * time.Second, signed: true},
		{name: "neither", kind: ErrNoData},
		{name: "no IPv4, IPv6 fails", a6: mdns.RcodeServerFailure, kind: ErrTemporary},
		{name: "IPv4 fails, no IPv6", a: mdns.RcodeServerFailure, kind: ErrTemporary},
		{name: "no such name", a: mdns.RcodeNameError, a6: mdns.RcodeNameError, kind: ErrNotExist},
		{name: "they disagree on existence", a: mdns.RcodeNameError, kind: ErrNoData},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(q *mdns.Msg, _ bool) []*mdns.Msg {
				m := reply(t, q, tt.a6, soa)
				if q.Question[0].Qtype == mdns.TypeA {
					m = reply(t, q, tt.a, soa)
					if tt.hasA {
						m = reply(t, q, tt.a, `example.com. 300 A 192.0.2.1`)
					}
				}
				m.AuthenticatedData = true
				return []*mdns.Msg{m}
			})
			now := newClock()
			c := newTestClient(t, Options{Now: now.now, Attempts: 1}, s)
			a, err := c.Addrs(testContext(t), "example.com")
			if !errors.Is(err, tt.kind) {
				t.Fatalf("error %v, want %v", err, tt.kind)
			}
			if tt.kind == nil && (len(a.Records) != 1 || now.until(a.Expires) != tt.life || a.Authentic != tt.signed) {
				t.Errorf("%v for %v, authentic %v; want one for %v, authentic %v", a.Records, now.until(a.Expires), a.Authentic, tt.life, tt.signed)
			}
		})
	}
}

func TestManyAskOnce(t *testing.T) {
	asked, release := make(chan struct{}, 10), make(chan struct{})
	s := serve(t, func(q *mdns.Msg, _ bool) []*mdns.Msg {
		asked <- struct{}{}
		<-release
		return []*mdns.Msg{reply(t, q, mdns.RcodeSuccess, `example.com. 300 MX 10 mx.example.com.`)}
	})
	c := newTestClient(t, Options{}, s)
	first, cancel := context.WithCancel(testContext(t))
	gaveUp := make(chan error)
	go func() {
		_, err := c.MX(first, "example.com")
		gaveUp <- err
	}()
	<-asked
	// The first caller gives up; the others still get the answer of the question it began.
	var others sync.WaitGroup
	for range 20 {
		others.Go(func() {
			if _, err := c.MX(testContext(t), "example.com"); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrTemporary) {
		t.Errorf("who gave up got %v", err)
	}
	close(release)
	others.Wait()
	if got := s.queries.Load(); got != 1 {
		t.Errorf("%d questions for 21 callers, want 1", got)
	}
}

func TestCloseEndsLookups(t *testing.T) {
	asked := make(chan struct{}, 10)
	s := serve(t, func(*mdns.Msg, bool) []*mdns.Msg { asked <- struct{}{}; return nil })
	c := newTestClient(t, Options{Timeout: time.Hour, Total: time.Hour}, s)
	done := make(chan error)
	go func() {
		_, err := c.MX(context.Background(), "example.com")
		done <- err
	}()
	<-asked
	c.Close()
	if err := <-done; !errors.Is(err, ErrTemporary) {
		t.Errorf("error %v, want ErrTemporary", err)
	}
	if _, err := c.MX(context.Background(), "example.com"); !errors.Is(err, ErrTemporary) {
		t.Errorf("after Close: %v", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	s := serve(t, func(q *mdns.Msg, _ bool) []*mdns.Msg {
		return []*mdns.Msg{reply(t, q, mdns.RcodeSuccess, q.Question[0].Name+` 300 TXT "`+strings.Repeat("x", 200)+`"`)}
	})
	const bytes = 100 << 10
	c := newTestClient(t, Options{CacheBytes: bytes}, s)
	for i := range 1000 {
		if _, err := c.TXT(testContext(t), fmt.Sprintf("n%d.example", i)); err != nil {
			t.Fatal(err)
		}
	}
	c.cache.CleanUp()
	if got := c.cache.WeightedSize(); got > bytes {
		t.Errorf("the cache holds %d octets, at most %d are allowed", got, bytes)
	}
	if got := c.Stats().Entries; got == 0 || got > 200 {
		t.Errorf("%d entries", got)
	}
}

func TestBadNamesAreNotAskedFor(t *testing.T) {
	s := serve(t, always(t, mdns.RcodeSuccess))
	c := newTestClient(t, Options{}, s)
	for _, name := range []string{"", ".", "a..b", "ex ample.com", "bücher.example", strings.Repeat("a", 64) + ".com", "a\r\nb.com"} {
		if _, err := c.MX(testContext(t), name); !errors.Is(err, ErrMalformed) {
			t.Errorf("MX of %q: %v, want ErrMalformed", name, err)
		}
	}
	if s.queries.Load() != 0 {
		t.Error("a bad name was asked for")
	}
}

func TestNewRefusesBadServers(t *testing.T) {
	if _, err := New(Options{Servers: []Server{{}}}); err == nil {
		t.Error("no address was accepted as a server")
	}
}

// BenchmarkCacheHit is the cost of a look-up the cache answers, with 50,000 domains in it.
func BenchmarkCacheHit(b *testing.B) {
	c := newTestClient(b, Options{Servers: []Server{{Addr: netip.MustParseAddrPort("127.0.0.1:1")}}})
	const domains = 50_000
	names := make([]string, domains)
	for i := range names {
		names[i] = fmt.Sprintf("domain-%d.example.com", i)
		c.cache.Set(key{names[i], mdns.TypeMX}, &entry{
			answer:  Answer[MX]{Records: []MX{{10, "mx.example.com"}}, Canonical: names[i]},
			expires: time.Now().Add(time.Hour),
		})
	}
	ctx := context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := c.MX(ctx, names[i%domains]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
