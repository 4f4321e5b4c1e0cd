package dns

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testServer is a name server whose answers a test writes itself.
type testServer struct {
	addr    netip.AddrPort
	queries atomic.Int64
	tcp     atomic.Int64
}

// serve answers with the messages that handle returns; none means silence.
func serve(t *testing.T, handle func(q *mdns.Msg, tcp bool) []*mdns.Msg) *testServer {
	t.Helper()
	s := new(testServer)
	pc, l := listenBoth(t)
	s.addr = pc.LocalAddr().(*net.UDPAddr).AddrPort()
	handler := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		_, udp := w.RemoteAddr().(*net.UDPAddr)
		s.queries.Add(1)
		if !udp {
			s.tcp.Add(1)
		}
		for _, m := range handle(q, !udp) {
			if err := w.WriteMsg(m); err != nil {
				t.Errorf("test server: %v", err)
			}
		}
	})
	var started sync.WaitGroup
	for _, server := range []*mdns.Server{{PacketConn: pc, Handler: handler}, {Listener: l, Handler: handler}} {
		started.Add(1)
		server.NotifyStartedFunc = started.Done
		done := make(chan struct{})
		go func() { defer close(done); server.ActivateAndServe() }()
		t.Cleanup(func() { server.Shutdown(); <-done })
	}
	started.Wait()
	return s
}

// reply makes a response with the records given as lines of a zone file.
func reply(t testing.TB, q *mdns.Msg, rcode int, records ...string) *mdns.Msg {
	t.Helper()
	m := new(mdns.Msg)
	m.SetRcode(q, rcode)
	m.RecursionAvailable = true
	for _, text := range records {
		rr, err := mdns.NewRR(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if rr.Header().Rrtype == mdns.TypeSOA || rr.Header().Rrtype == mdns.TypeNS {
			m.Ns = append(m.Ns, rr)
		} else {
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

// always answers every question with the same records.
func always(t testing.TB, rcode int, records ...string) func(*mdns.Msg, bool) []*mdns.Msg {
	return func(q *mdns.Msg, _ bool) []*mdns.Msg { return []*mdns.Msg{reply(t, q, rcode, records...)} }
}

// clock is a time that only moves when told.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ns.Store(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time                  { return time.Unix(0, c.ns.Load()).UTC() }
func (c *clock) add(d time.Duration)             { c.ns.Add(int64(d)) }
func (c *clock) until(t time.Time) time.Duration { return t.Sub(c.now()) }

func newTestClient(t testing.TB, o Options, servers ...*testServer) *Client {
	t.Helper()
	for _, s := range servers {
		o.Servers = append(o.Servers, Server{Addr: s.addr})
	}
	if o.Timeout == 0 {
		o.Timeout, o.Total = 5*time.Minute, 5*time.Minute // only tests of time-outs may meet one
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// listenBoth takes one port for UDP and TCP. The TCP port of that number may be in use, so several are tried.
func listenBoth(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 50 {
		var pc net.PacketConn
		if pc, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		var l net.Listener
		if l, err = net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			return pc, l
		}
		pc.Close()
	}
	t.Fatal(err)
	return nil, nil
}
