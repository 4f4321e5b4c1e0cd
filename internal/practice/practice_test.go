package practice

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that only moves when told.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ns.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time      { return time.Unix(0, c.ns.Load()) }
func (c *clock) add(d time.Duration) { c.ns.Add(int64(d)) }

func start(t testing.TB, o Options) *Internet {
	t.Helper()
	if o.Slow == 0 {
		o.Slow = time.Millisecond
	}
	if o.ReportDelay == 0 {
		o.ReportDelay = time.Nanosecond
	}
	n, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (n *Internet) addrOf(host string) string {
	for _, h := range n.hosts {
		if h.name == host {
			return fmt.Sprintf("%s:%d", h.addr, n.port)
		}
	}
	return ""
}

// dialogue is a client that says what a test wants.
type dialogue struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

// connect opens a connection to a host.
func connect(t testing.TB, n *Internet, host string) *dialogue {
	t.Helper()
	conn, err := net.Dial("tcp", n.addrOf(host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(5 * time.Minute))
	return &dialogue{t, conn, bufio.NewReader(conn)}
}

// dial connects and reads the greeting.
func dial(t testing.TB, n *Internet, host string) *dialogue {
	t.Helper()
	d := connect(t, n, host)
	d.expect("220")
	return d
}

// say sends octets and expects the replies, each by how it begins; a reply of "" is the end of the connection.
func (d *dialogue) say(octets string, replies ...string) {
	d.t.Helper()
	if _, err := d.Write([]byte(octets)); err != nil {
		d.t.Fatalf("say %.60q: %v", octets, err)
	}
	for _, want := range replies {
		d.expect(want)
	}
}

func (d *dialogue) expect(want string) (last string) {
	d.t.Helper()
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			if want != "" {
				d.t.Fatalf("the connection ended, want %q: %v", want, err)
			}
			return ""
		}
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		if want == "" || !strings.HasPrefix(line, want) {
			d.t.Fatalf("reply %q, want %q", line, want)
		}
		return line
	}
}

const mailTo = "MAIL FROM:<s@example.com>\r\nRCPT TO:<%s>\r\n"

// deliver sends one message over an open dialogue and expects its last reply.
func (d *dialogue) deliver(to, id, reply string) {
	d.t.Helper()
	d.say(fmt.Sprintf(mailTo, to), "250", "250")
	d.say("DATA\r\n", "354")
	d.say("Message-ID: "+id+"\r\n\r\nhello\r\n.\r\n", reply)
}
