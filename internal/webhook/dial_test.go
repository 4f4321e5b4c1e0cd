package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// nameServer answers questions for A and AAAA by turns with the given addresses, with a time to live of nothing.
func nameServer(t *testing.T, turns ...[]string) (*net.Resolver, *atomic.Int64) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		n := asked.Load()
		if q.Question[0].Qtype == dns.TypeA {
			n = asked.Add(1) - 1
		}
		for _, text := range turns[int(n)%len(turns)] {
			ip := netip.MustParseAddr(text)
			h := dns.RR_Header{Name: q.Question[0].Name, Class: dns.ClassINET, Rrtype: dns.TypeA}
			switch {
			case ip.Is4() && q.Question[0].Qtype == dns.TypeA:
				m.Answer = append(m.Answer, &dns.A{Hdr: h, A: ip.AsSlice()})
			case ip.Is6() && q.Question[0].Qtype == dns.TypeAAAA:
				h.Rrtype = dns.TypeAAAA
				m.Answer = append(m.Answer, &dns.AAAA{Hdr: h, AAAA: ip.AsSlice()})
			}
		}
		_ = w.WriteMsg(m)
	})}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.ActivateAndServe() })
	t.Cleanup(func() {
		_ = server.Shutdown()
		wg.Wait()
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}, &asked
}

// inner is a service inside the operator's network that must not be reached.
func inner(t *testing.T) (port string, reached *atomic.Int64) {
	t.Helper()
	reached = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { reached.Add(1) }))
	t.Cleanup(s.Close)
	return s.URL[strings.LastIndexByte(s.URL, ':')+1:], reached
}

// once sends one event to an address with the real dialer.
func once(t *testing.T, url string, change func(*Options)) *store.WebhookAttempt {
	t.Helper()
	o := Options{
		Store: nothing{}, Snapshot: func() *platform.Snapshot { return nil }, AllowHTTP: true, Timeout: time.Minute,
		Secret: func(*platform.Webhook, *platform.WebhookKey) ([]byte, error) { return secretOf, nil }, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.client.CloseIdleConnections()
	a, _, ok := s.send(t.Context(), request{hook: &platform.Webhook{URL: url, Keys: []platform.WebhookKey{{}}}, event: "evt_1", body: []byte("{}")})
	if !ok {
		t.Fatal("broken off")
	}
	return a
}

type nothing struct{ Store }

// TestPrivateTargetsAreRefused: whatever name or form leads there, no connection is made to an address inside.
func TestPrivateTargetsAreRefused(t *testing.T) {
	port, reached := inner(t)
	for _, host := range []string{
		"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "10.0.0.1", "169.254.169.254", "192.168.0.1", "172.16.9.9",
		"100.64.0.1", "224.0.0.1", "255.255.255.255", "[fe80::1]", "[fc00::1]", "[64:ff9b::7f00:1]", "[64:ff9b::a00:1]", "[2002:7f00:1::]", "[2001:0:1::1]", "[ff02::1]",
	} {
		a := once(t, "http://"+host+":"+port+"/", nil)
		if a.Status != 0 || a.Taken || !strings.HasPrefix(a.Error, "not connected: ") {
			t.Errorf("%s: %d %q", host, a.Status, a.Error)
		}
	}
	for _, addr := range []string{"127.0.0.1", "10.1.2.3", "::1", "fd00::1", "64:ff9b::7f00:1", "::ffff:127.0.0.1", "169.254.169.254"} {
		resolver, _ := nameServer(t, []string{addr})
		a := once(t, "http://hooks.example:"+port+"/", func(o *Options) { o.Resolver = resolver })
		if a.Status != 0 || !strings.HasPrefix(a.Error, "not connected: ") {
			t.Errorf("a name with %s: %d %q", addr, a.Status, a.Error)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the inner service was reached %d times", n)
	}
	// Decimal, octal and short forms are names to us, not addresses.
	resolver, _ := nameServer(t, nil)
	for _, host := range []string{"2130706433", "0177.0.0.1", "127.1", "0x7f.1"} {
		if a := once(t, "http://"+host+":"+port+"/", func(o *Options) { o.Resolver = resolver }); a.Status != 0 || a.Taken {
			t.Errorf("%s: %+v", host, a)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the inner service was reached %d times", n)
	}
	// It is there, for those who may.
	if a := once(t, "http://127.0.0.1:"+port+"/", func(o *Options) { o.AllowPrivate = true }); !a.Taken || reached.Load() != 1 {
		t.Errorf("allowed: %+v", a)
	}
	own := netip.MustParseAddr("203.0.113.7")
	if a := once(t, "http://203.0.113.7:"+port+"/", func(o *Options) { o.OwnAddrs = []netip.Addr{own} }); !strings.Contains(a.Error, "of this machine") {
		t.Errorf("own address: %+v", a)
	}
}

// TestRebinding: a name that answers with a public address first and an inner one afterwards, or with both, gets nowhere:
// what is checked is the address of the socket that is connected, each time.
func TestRebinding(t *testing.T) {
	port, reached := inner(t)
	resolver, asked := nameServer(t, []string{"203.0.113.7"}, []string{"127.0.0.1"}, []string{"203.0.113.7", "127.0.0.1"}, []string{"127.0.0.1", "::1"})
	refused := 0
	for deadline := time.Now().Add(5 * time.Minute); (asked.Load() < 8 || refused < 3) && time.Now().Before(deadline); {
		a := once(t, "http://rebind.example:"+port+"/", func(o *Options) { o.Resolver, o.Timeout = resolver, time.Second })
		if a.Status != 0 || a.Taken {
			t.Errorf("%+v", a)
		}
		if strings.HasPrefix(a.Error, "not connected: ") {
			refused++
		}
	}
	if n := reached.Load(); n != 0 || asked.Load() < 8 || refused < 3 {
		t.Errorf("the inner service was reached %d times; asked %d times, refused %d times", n, asked.Load(), refused)
	}
}

// TestProxyIsNotUsed: a proxy of the environment would connect where we must not.
func TestProxyIsNotUsed(t *testing.T) {
	port, reached := inner(t)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:"+port)
	}
	resolver, _ := nameServer(t, []string{"203.0.113.7"})
	once(t, "http://hooks.example:"+port+"/", func(o *Options) { o.Resolver, o.Timeout = resolver, 500*time.Millisecond })
	if n := reached.Load(); n != 0 {
		t.Errorf("the proxy was asked %d times", n)
	}
}

// TestTLSIsVerified: a certificate nobody knows is refused, and so is a name it does not have; http goes out only if allowed.
func TestTLSIsVerified(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	private := func(o *Options) { o.AllowPrivate, o.AllowHTTP = true, false }
	known := func(o *Options) {
		private(o)
		o.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	}
	if a := once(t, s.URL, private); a.Status != 0 || !strings.Contains(a.Error, "certificate") {
		t.Errorf("an unknown certificate: %+v", a)
	}
	if a := once(t, s.URL, known); !a.Taken {
		t.Errorf("a known certificate: %+v", a)
	}
	resolver, _ := nameServer(t, []string{"127.0.0.1"})
	url := "https://hooks.invalid:" + strconv.Itoa(s.Listener.Addr().(*net.TCPAddr).Port)
	if a := once(t, url, func(o *Options) { known(o); o.Resolver = resolver }); a.Status != 0 || !strings.Contains(a.Error, "certificate") {
		t.Errorf("another name: %+v", a)
	}
	if a := once(t, "http://127.0.0.1:9/", private); !strings.Contains(a.Error, "https only") {
		t.Errorf("http: %+v", a)
	}
}

func TestExplain(t *testing.T) {
	for want, err := range map[string]error{
		"the name x.example does not exist": &net.DNSError{Name: "x.example", IsNotFound: true},
		"no answer within 15s":              context.DeadlineExceeded,
		"odd":                               errors.New("odd"),
	} {
		if got := explain(err, DefaultTimeout); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
