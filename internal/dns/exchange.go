package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"
)

const (
	// udpSize is the datagram we say we can take: the least MTU of IPv6, 1280, less headers, is never fragmented
	// (RFC 9715 §3.2 allows 1400 at most).
	udpSize = 1232
	// readSize is what we do take over UDP: some servers send more than was asked for.
	readSize = 4096
	// avoidFor is how long a server that did not answer is asked last.
	avoidFor = 30 * time.Second
)

// errGarbled is wrapped by the error of a response that cannot be read or does not fit the question.
var errGarbled = errors.New("the response cannot be read")

// server is a name server and what we learned of it.
type server struct {
	addr    string
	trusted bool
	avoid   atomic.Int64 // unix nanoseconds until which it is asked last
}

// exchange asks the servers in turn until one gives a response with code NOERROR or NXDOMAIN. The server returned is
// the last one asked.
func (c *Client) exchange(ctx context.Context, name string, qtype uint16) (*mdns.Msg, *server, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("%w: %w", errStopped, ctx.Err())
	}
	var last *server
	var lastErr error
	for range c.opts.Attempts {
		for _, s := range c.inOrder() {
			m, err := c.ask(ctx, s, name, qtype)
			if err == nil {
				s.avoid.Store(0)
				return m, s, nil
			}
			last, lastErr = s, err
			if ctx.Err() != nil {
				return nil, last, lastErr
			}
		}
	}
	return nil, last, lastErr
}

// inOrder returns the servers as configured, those that lately did not answer last.
func (c *Client) inOrder() []*server {
	now := c.opts.Now().UnixNano()
	first := make([]*server, 0, len(c.servers))
	var later []*server
	for _, s := range c.servers {
		if s.avoid.Load() > now {
			later = append(later, s)
		} else {
			first = append(first, s)
		}
	}
	return append(first, later...)
}

// ask puts the question to one server: over UDP, over TCP if the answer does not fit, and without EDNS if the server
// does not know it (RFC 6891 §7).
func (c *Client) ask(ctx context.Context, s *server, name string, qtype uint16) (*mdns.Msg, error) {
	edns := true
	network := "udp"
	for range 3 {
		q := c.question(name, qtype, edns)
		m, err := c.send(ctx, s, network, q)
		switch {
		case err != nil:
			if !errors.Is(err, errGarbled) && ctx.Err() == nil {
				c.avoid(s, err)
			}
			return nil, err
		case m.Truncated && network == "udp":
			network = "tcp"
		case m.Truncated:
			return nil, fmt.Errorf("%w: it is cut short over TCP", errGarbled)
		case edns && (m.Rcode == mdns.RcodeFormatError || m.Rcode == mdns.RcodeNotImplemented || m.Rcode == mdns.RcodeBadVers):
			edns = false
		case m.Rcode == mdns.RcodeSuccess || m.Rcode == mdns.RcodeNameError:
			return m, nil
		default:
			return nil, fmt.Errorf("the server answers %s", rcodeName(m.Rcode))
		}
	}
	return nil, fmt.Errorf("%w: neither UDP, TCP nor plain DNS gives a whole one", errGarbled)
}

// avoid has a server asked last for a while. Only the beginning of a silence is logged, not each question in it.
func (c *Client) avoid(s *server, err error) {
	now := c.opts.Now()
	if before := s.avoid.Swap(now.Add(avoidFor).UnixNano()); before == 0 {
		c.opts.Logger.Warn("dns: name server does not answer, it is asked last for now: "+s.addr, "err", err)
	}
}

func rcodeName(code int) string {
	if s, ok := mdns.RcodeToString[code]; ok {
		return s
	}
	return fmt.Sprintf("code %d", code)
}

func (c *Client) question(name string, qtype uint16, edns bool) *mdns.Msg {
	q := new(mdns.Msg)
	q.SetQuestion(name+".", qtype)
	q.Id = mdns.Id()
	q.AuthenticatedData = true // RFC 6840 §5.7: we understand the AD bit, without asking for the signatures
	if c.opts.RandomCase {
		q.Question[0].Name = randomCase(q.Question[0].Name)
	}
	if edns {
		q.SetEdns0(udpSize, false)
	}
	return q
}

func randomCase(name string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' && rand.Uint32()&1 == 0 {
			return r - 'a' + 'A'
		}
		return r
	}, name)
}

// send does one exchange. Each has a socket of its own, so that the kernel picks a fresh random port and passes on
// only datagrams from the address asked (RFC 5452 §9.2).
func (c *Client) send(ctx context.Context, s *server, network string, q *mdns.Msg) (*mdns.Msg, error) {
	wire, err := q.Pack()
	if err != nil {
		return nil, fmt.Errorf("%w: the question cannot be written: %w", errGarbled, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	c.queries.Add(1)
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, s.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var m *mdns.Msg
	if network == "tcp" {
		m, err = overTCP(conn, wire, q)
	} else {
		m, err = overUDP(conn, wire, q)
	}
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("no response over %s in time: %w", network, ctx.Err())
	}
	return m, err
}

// overUDP waits for the response; datagrams that do not fit the question are passed over, for a forger must not be
// able to end the wait.
func overUDP(conn net.Conn, wire []byte, q *mdns.Msg) (*mdns.Msg, error) {
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	buf := make([]byte, readSize)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		m, err := readResponse(buf[:n], q)
		if errors.Is(err, errForeign) {
			continue
		}
		return m, err
	}
}

func overTCP(conn net.Conn, wire []byte, q *mdns.Msg) (*mdns.Msg, error) {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(wire)), uint16(len(wire)))
	if _, err := conn.Write(append(framed, wire...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return nil, err
	}
	return readResponse(buf, q)
}

// errForeign is a message that is no response to our question; it also is errGarbled.
var errForeign = fmt.Errorf("%w: it does not fit the question", errGarbled)

// readResponse reads b as the response to q. Header and question are checked before anything else counts.
func readResponse(b []byte, q *mdns.Msg) (*mdns.Msg, error) {
	const headerSize = 12
	if len(b) < headerSize || binary.BigEndian.Uint16(b) != q.Id {
		return nil, errForeign
	}
	m := new(mdns.Msg)
	err := m.Unpack(b)
	if !m.Response || m.Opcode != mdns.OpcodeQuery {
		return nil, errForeign
	}
	switch len(m.Question) {
	case 0:
		// A server that could not read the question cannot repeat it.
		if m.Rcode != mdns.RcodeFormatError && m.Rcode != mdns.RcodeNotImplemented {
			return nil, errForeign
		}
	case 1:
		// The name is compared octet by octet: our lower case, or the random case we chose, must come back.
		got, want := m.Question[0], q.Question[0]
		if got.Qtype != want.Qtype || got.Qclass != want.Qclass || got.Name != want.Name {
			return nil, errForeign
		}
	default:
		return nil, errForeign
	}
	if err != nil && !m.Truncated { // a truncated one is asked for again over TCP
		return nil, fmt.Errorf("%w: %w", errGarbled, err)
	}
	return m, nil
}
