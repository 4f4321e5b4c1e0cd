package smtpd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// proxyHeaderTimeout is how long a proxy may take to send its header, which it sends first of all.
const proxyHeaderTimeout = 5 * time.Second

// errNoClientAddress refuses a header for a client that does not come over TCP.
var errNoClientAddress = errors.New("the PROXY header names no TCP client")

// proxies are the networks of the proxies in front of us.
type proxies []netip.Prefix

func (p proxies) contains(a netip.Addr) bool {
	for _, n := range p {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// open reads the PROXY header (versions 1 and 2) of a connection from a proxy, where it is required, and gives the
// connection the client's address. A header from anybody else is left where it is, as the wrong command it is.
//
// A connection without a client, LOCAL in version 2 and UNKNOWN in version 1, is a health check. It is greeted, but
// comes from no address: with the proxy's own it might belong to a network that may send.
func (p proxies) open(nc net.Conn) (net.Conn, error) {
	if len(p) == 0 {
		return nc, nil
	}
	from, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return nil, fmt.Errorf("smtpd: address %s: %w", nc.RemoteAddr(), err)
	}
	if !p.contains(from.Addr().Unmap()) {
		return nc, nil
	}
	c := proxyproto.NewConn(nc, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(proxyHeaderTimeout))
	h := c.ProxyHeader()
	if h == nil {
		_, err := c.Read(nil)
		return nil, fmt.Errorf("smtpd: PROXY header from %s: %w", from, err)
	}
	if h.Command.IsLocal() {
		return nobody{proxied{c}}, nil
	}
	if _, ok := h.SourceAddr.(*net.TCPAddr); !ok || !h.TransportProtocol.IsStream() {
		return nil, fmt.Errorf("smtpd: PROXY header from %s: %w", from, errNoClientAddress)
	}
	return proxied{c}, nil
}

// proxied lets the server close one direction of the connection below.
type proxied struct{ *proxyproto.Conn }

// CloseWrite is net.TCPConn's.
func (p proxied) CloseWrite() error {
	if t, ok := p.TCPConn(); ok {
		return t.CloseWrite()
	}
	return errors.ErrUnsupported
}

// nobody is a connection that comes from no address.
type nobody struct{ proxied }

// RemoteAddr is the unspecified address.
func (nobody) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero} }
