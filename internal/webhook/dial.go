package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/postroad/postroad/internal/dns"
)

// Limits of one request, as its receiver sees them.
const (
	// DefaultTimeout bounds an attempt, from the look-up of the name to the answer's header.
	DefaultTimeout = 15 * time.Second
	// bodyWait is how long the body of an answer may take whose status is known.
	bodyWait = 2 * time.Second
	// maxAnswer is how much of an answer's body is kept, in octets.
	maxAnswer = 4 << 10
	// maxAnswerHeader bounds the header of an answer, in octets.
	maxAnswerHeader = 16 << 10
	// idleConnections, of one host idlePerHost, and idleTimeout bound the connections kept for the next event. Webhooks of
	// many customers may lead to one host that takes events for them.
	idleConnections = 1000
	idlePerHost     = 200
	idleTimeout     = 90 * time.Second
)

// refusedError is an address no connection is made to.
type refusedError struct {
	addr netip.Addr
	why  string
}

// Error implements error.
func (e *refusedError) Error() string {
	return fmt.Sprintf("%s is %s; webhooks lead to the public Internet only", e.addr, e.why)
}

// guard checks every address when its socket is about to be connected: after the name was looked up, so that nothing a
// name server says later can change it.
type guard struct {
	allowPrivate bool
	own          []netip.Addr
}

func (g *guard) check(addr netip.Addr) error {
	if g.allowPrivate {
		return nil
	}
	if slices.Contains(g.own, addr.Unmap().WithZone("")) {
		return &refusedError{addr, "an address of this machine"}
	}
	if why := dns.NotPublic(addr); why != "" {
		return &refusedError{addr, why}
	}
	return nil
}

// control implements net.Dialer.ControlContext.
func (g *guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("webhook: no address to connect to: %s %q", network, address)
	}
	return g.check(ap.Addr())
}

// transport makes the way out of all requests.
func (o *Options) transport() *http.Transport {
	g := &guard{allowPrivate: o.AllowPrivate, own: o.OwnAddrs}
	dialer := &net.Dialer{Timeout: o.Timeout, Resolver: o.Resolver, ControlContext: g.control}
	dial := dialer.DialContext
	if o.Dial != nil {
		dial = o.Dial
	}
	return &http.Transport{
		Proxy:                  nil, // a proxy would connect where we must not
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    o.Timeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: o.Timeout, PingTimeout: o.Timeout},
		DisableCompression:     true, // a few octets may stand for many
		MaxIdleConns:           idleConnections,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxAnswerHeader,
	}
}

// explain says in words of ours why there was no answer.
func explain(err error, timeout time.Duration) string {
	var refused *refusedError
	var name *net.DNSError
	var network net.Error
	switch {
	case errors.As(err, &refused):
		return "not connected: " + refused.Error()
	case errors.As(err, &name) && name.IsNotFound:
		return "the name " + name.Name + " does not exist"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return fmt.Sprintf("no answer within %s", timeout)
	}
	var request *url.Error
	if errors.As(err, &request) { // it would repeat the address
		err = request.Err
	}
	return err.Error()
}
