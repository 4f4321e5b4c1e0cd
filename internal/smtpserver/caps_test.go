package smtpserver

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// counts is an Observer that remembers.
type counts struct {
	mu       sync.Mutex
	open     int
	refused  map[string]int
	received int64
	replies  map[string]int
}

func (c *counts) observer() Observer {
	c.refused, c.replies = map[string]int{}, map[string]int{}
	do := func(f func()) { c.mu.Lock(); defer c.mu.Unlock(); f() }
	return Observer{
		Opened:   func() { do(func() { c.open++ }) },
		Closed:   func() { do(func() { c.open-- }) },
		Refused:  func(reason string) { do(func() { c.refused[reason]++ }) },
		Received: func(n int64) { do(func() { c.received += n }) },
		Replied:  func(verb string, _ int) { do(func() { c.replies[verb]++ }) },
	}
}

func greeting(t *testing.T, nc net.Conn) string {
	t.Helper()
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestCapPerAddress(t *testing.T) {
	var c counts
	addr, stop := start(t, Options{Handler: (&recorder{}).session, Caps: NewCaps(10, 2), Observer: c.observer()})
	a, b := dial(t, addr), dial(t, addr)
	greeting(t, a)
	greeting(t, b)
	if g := greeting(t, dial(t, addr)); !strings.HasPrefix(g, "421 4.7.0 ") {
		t.Errorf("third connection: %q", g)
	}
	// One that ends makes room.
	if _, err := io.WriteString(a, "QUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(a); err != nil || string(rest) != "221 2.0.0 Bye\r\n" {
		t.Errorf("QUIT: %q, %v", rest, err)
	}
	_ = b.Close()
	stop()
	if c.refused["address"] != 1 || c.open != 0 || c.replies["QUIT"] != 1 {
		t.Errorf("observed: %+v", &c)
	}
}

func TestCapInAll(t *testing.T) {
	var c counts
	caps := NewCaps(1, 0)
	addr, stop := start(t, Options{Handler: (&recorder{}).session, Caps: caps, Observer: c.observer()})
	other, _ := start(t, Options{Handler: (&recorder{}).session, Caps: caps})
	greeting(t, dial(t, addr))
	if g := greeting(t, dial(t, other)); !strings.HasPrefix(g, "421 4.3.2 ") {
		t.Errorf("second connection, at the other server: %q", g)
	}
	stop()
	greeting(t, dial(t, other)) // room again
	if n := caps.Open(); n != 1 {
		t.Errorf("Open = %d, want 1", n)
	}
}

func TestCapKey(t *testing.T) {
	for a, want := range map[string]string{
		"192.0.2.1":               "192.0.2.1",
		"::ffff:192.0.2.1":        "192.0.2.1",
		"2001:db8:1:2:3:4:5:6":    "2001:db8:1:2::",
		"fe80::1:2:3:4%eth0":      "fe80::",
		"2001:db8:1:2:ffff::ffff": "2001:db8:1:2::",
	} {
		if got := capKey(netip.MustParseAddr(a)); got.String() != want {
			t.Errorf("capKey(%s) = %s, want %s", a, got, want)
		}
	}
	c := NewCaps(0, 1)
	for range 3 {
		if !c.enterAddr(netip.MustParseAddr("192.0.2.1")) || c.enterAddr(netip.MustParseAddr("::ffff:192.0.2.1")) {
			t.Fatal("a mapped address is another one")
		}
		c.leaveAddr(netip.MustParseAddr("::ffff:192.0.2.1"))
	}
	if len(c.byAddr) != 0 {
		t.Errorf("addresses are kept: %v", c.byAddr)
	}
}

func TestOpenRefuses(t *testing.T) {
	var c counts
	addr, stop := start(t, Options{
		Handler:  (&recorder{}).session,
		Open:     func(net.Conn) (net.Conn, error) { return nil, errors.New("no header") },
		Observer: c.observer(),
	})
	if b, err := io.ReadAll(dial(t, addr)); err != nil || len(b) > 0 {
		t.Errorf("got %q, %v; want the end", b, err)
	}
	stop()
	if c.refused["open"] != 1 || c.open != 0 {
		t.Errorf("observed: %+v", &c)
	}
}
