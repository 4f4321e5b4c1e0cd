package delivery

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/dns"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/smtp"
)

// candidate is one address of one host.
type candidate struct {
	host  string // A-labels or an address literal
	addr  netip.AddrPort
	local netip.Addr
}

// candidates hands out the addresses of a list of hosts in the order to try them: host by host, the families as the
// source has them, addresses known to be unreachable last.
type candidates struct {
	s     *session
	hosts []string
	port  uint16
	addrs []candidate    // of the host begun
	late  []candidate    // known to be bad
	skip  netip.AddrPort // one that was tried before
	given int
}

// next returns the next address; ok is false when none is left. A host without usable address gives a failure and the
// next call goes on behind it.
func (c *candidates) next(ctx context.Context) (next candidate, f *failure, ok bool) {
	for c.given < maxConnects {
		if len(c.addrs) > 0 {
			next, c.addrs = c.addrs[0], c.addrs[1:]
			if next.addr == c.skip {
				continue
			}
			if len(c.hosts) > 0 || len(c.addrs) > 0 || len(c.late) > 0 {
				if !c.s.d.badHosts.until(c.s.hostKey(next), c.s.d.opts.Now()).IsZero() {
					c.late = append(c.late, next)
					continue
				}
			}
			c.given++
			return next, nil, true
		}
		if len(c.hosts) > 0 {
			host := c.hosts[0]
			c.hosts = c.hosts[1:]
			if f := c.lookUp(ctx, host); f != nil {
				return candidate{host: host}, f, true
			}
			continue
		}
		if len(c.late) == 0 {
			break
		}
		next, c.late = c.late[0], c.late[1:]
		c.given++
		return next, nil, true
	}
	return candidate{}, nil, false
}

// more reports whether next may give another address.
func (c *candidates) more() bool {
	return c.given < maxConnects && len(c.addrs)+len(c.hosts)+len(c.late) > 0
}

// timeout is how long connecting to the candidate just given may take.
func (c *candidates) timeout() time.Duration {
	if c.more() {
		return fallbackConnect
	}
	return smtp.ConnectTimeout
}

// lookUp finds the addresses of a host.
func (c *candidates) lookUp(ctx context.Context, host string) *failure {
	ips, err := c.s.hostAddrs(ctx, host)
	if err != nil {
		return &failure{
			stage: mail.StageDNS, class: mail.ClassNetwork, scope: mail.ScopeHost, result: mail.Deferred,
			action: mail.ActionRetry, text: err.Error(),
		}
	}
	bind := bindingOf(c.s.source)
	why := "no address of a family the source has"
	for _, six := range bind.order() {
		for _, ip := range ips {
			ip = ip.Unmap()
			if ip.Is6() != six {
				continue
			}
			if reason := c.s.refuseAddr(ip); reason != "" {
				why = ip.String() + " is " + reason
				continue
			}
			c.addrs = append(c.addrs, candidate{host: host, addr: netip.AddrPortFrom(ip, c.port), local: bind.local(six)})
		}
	}
	if len(c.addrs) == 0 {
		return &failure{
			stage: mail.StageDNS, class: mail.ClassNetwork, scope: mail.ScopeHost, result: mail.Deferred,
			action: mail.ActionRetry, text: "no usable address for " + host + ": " + why,
		}
	}
	return nil
}

// hostAddrs returns the addresses of an MX host, or of a relay that may be written as an address.
func (s *session) hostAddrs(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(bareHost(host)); err == nil {
		return []netip.Addr{ip}, nil
	}
	return s.d.opts.MX.Addrs(ctx, host)
}

// bareHost returns a host name as it is, and an address literal as the address in it.
func bareHost(host string) string { return strings.Trim(strings.TrimPrefix(host, "[IPv6:"), "[]") }

// refuseAddr says why the session may not connect to ip, or "".
func (s *session) refuseAddr(ip netip.Addr) string {
	if s.d.opts.AllowPrivate || s.route.AllowPrivate {
		return ""
	}
	if s.d.own(ip) || s.source != nil && (s.source.IP == ip || s.source.IPv6 == ip) {
		return "our own"
	}
	return dns.NotPublic(ip)
}

func (s *session) hostKey(c candidate) hostKey {
	return hostKey{addr: c.addr, source: sourceName(s.source)}
}

// binding is the addresses of a source by family.
type binding struct{ four, six netip.Addr }

// bindingOf returns the addresses a source binds to; a source without any leaves the choice to the system.
func bindingOf(src *platform.Source) (b binding) {
	if src == nil {
		return b
	}
	for _, ip := range []netip.Addr{src.IPv6, src.IP} {
		if ip = ip.Unmap(); ip.Is4() {
			b.four = ip
		} else if ip.Is6() && !b.six.IsValid() {
			b.six = ip
		}
	}
	return b
}

// order returns the families to try, true for IPv6: first where the source has an address of it, after IPv4 where the
// system chooses.
func (b binding) order() []bool {
	switch {
	case b.four.IsValid() && b.six.IsValid():
		return []bool{true, false}
	case b.six.IsValid():
		return []bool{true}
	case b.four.IsValid():
		return []bool{false}
	}
	return []bool{false, true}
}

func (b binding) local(six bool) netip.Addr {
	if six {
		return b.six
	}
	return b.four
}
