package authcheck

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"github.com/postroad/postroad/internal/dns"
)

// Result is what SPF says of a host and a domain (RFC 7208 §2.6).
type Result string

// The results.
const (
	None      Result = "none"      // the domain publishes no record
	Neutral   Result = "neutral"   // it says nothing about this host
	Pass      Result = "pass"      // the host may send for it
	Fail      Result = "fail"      // it may not
	SoftFail  Result = "softfail"  // it probably may not
	TempError Result = "temperror" // DNS cannot say at the moment
	PermError Result = "permerror" // the record is wrong
)

// Limits of one check, RFC 7208 §4.6.4.
const (
	maxTerms  = 10 // mechanisms and modifiers that ask DNS
	maxVoids  = 2  // answers without a record
	maxNames  = 10 // MX hosts, or names of an address, looked at
	maxRecord = 8 << 10
	maxDomain = 253
	maxLabels = 127
	maxDepth  = 11 // records within records; each costs a term, so this is never reached first
)

// SPF checks hosts. Resolver is required.
type SPF struct {
	Resolver dns.Resolver
}

// Check says whether the host at ip may send for the domain of an envelope sender, local@domain. For the null sender
// give the domain of HELO and "postmaster" (RFC 7208 §2.4). helo is what the host calls itself.
func (s *SPF) Check(ctx context.Context, ip netip.Addr, local, domain, helo string) Result {
	if local == "" {
		local = "postmaster" // RFC 7208 §4.3
	}
	c := &check{ctx: ctx, dns: s.Resolver, ip: ip.Unmap().WithZone(""), local: local, sender: domain, helo: helo}
	return c.host(domain)
}

// check is one evaluation.
type check struct {
	ctx    context.Context
	dns    dns.Resolver
	ip     netip.Addr
	local  string
	sender string // domain of the sender
	helo   string

	terms, voids, depth int
	names               []string // of ip, that point back to it; nil: not asked for
	asked               bool
}

// stop ends an evaluation with an error result.
type stop Result

func (s stop) Error() string { return string(s) }

// host is check_host() of RFC 7208 §4.
func (c *check) host(domain string) Result {
	r, err := c.evaluate(strings.TrimSuffix(strings.ToLower(domain), "."))
	var s stop
	if errors.As(err, &s) {
		return Result(s)
	}
	return r
}

func (c *check) evaluate(domain string) (Result, error) {
	if c.depth++; c.depth > maxDepth {
		return PermError, stop(PermError)
	}
	defer func() { c.depth-- }()
	if !validName(domain) {
		return None, nil // RFC 7208 §4.3
	}
	text, err := c.record(domain)
	if err != nil || text == "" {
		return None, err
	}
	terms, redirect, err := parse(text)
	if err != nil {
		return PermError, stop(PermError)
	}
	for _, t := range terms {
		match, err := c.matches(t, domain)
		if err != nil {
			return PermError, err
		}
		if match {
			return t.result, nil
		}
	}
	if redirect == "" {
		return Neutral, nil
	}
	if err := c.count(); err != nil {
		return PermError, err
	}
	target, err := c.expand(redirect, domain)
	if err != nil {
		return PermError, err
	}
	r, err := c.evaluate(target)
	if err == nil && r == None {
		return PermError, stop(PermError) // RFC 7208 §6.1
	}
	return r, err
}

// record returns the one SPF record of a domain; "" if it has none.
func (c *check) record(domain string) (string, error) {
	a, err := c.dns.TXT(c.ctx, domain)
	if err != nil {
		if absent(err) {
			return "", nil
		}
		return "", stop(TempError)
	}
	found := ""
	for _, text := range a.Records {
		if !strings.EqualFold(text[:min(len(text), 6)], "v=spf1") || len(text) > 6 && text[6] != ' ' {
			continue
		}
		if found != "" || len(text) > maxRecord {
			return "", stop(PermError) // RFC 7208 §4.5
		}
		found = text
	}
	return found, nil
}

func absent(err error) bool { return errors.Is(err, dns.ErrNotExist) || errors.Is(err, dns.ErrNoData) }

// count counts a term that asks DNS.
func (c *check) count() error {
	if c.terms++; c.terms > maxTerms {
		return stop(PermError)
	}
	return nil
}

// lookup turns the error of a look-up into none, for an answer without a record, or a result.
func (c *check) lookup(err error) error {
	switch {
	case err == nil:
		return nil
	case absent(err):
		if c.voids++; c.voids > maxVoids {
			return stop(PermError)
		}
		return nil
	case errors.Is(err, dns.ErrMalformed):
		return nil // a name that cannot be asked for has no record
	}
	return stop(TempError)
}

// matches evaluates one mechanism (RFC 7208 §5).
func (c *check) matches(t term, domain string) (bool, error) {
	switch t.name {
	case "all":
		return true, nil
	case "ip4", "ip6":
		return t.net.Contains(c.ip), nil
	}
	if err := c.count(); err != nil {
		return false, err
	}
	target := domain
	if t.spec != "" {
		var err error
		if target, err = c.expand(t.spec, domain); err != nil {
			return false, err
		}
	}
	switch t.name {
	case "include":
		r, err := c.evaluate(target)
		if err != nil {
			return false, err
		}
		if r == None {
			return false, stop(PermError) // RFC 7208 §5.2
		}
		return r == Pass, nil
	case "a":
		return c.addrMatches(target, t)
	case "mx":
		a, err := c.dns.MX(c.ctx, target)
		if err := c.lookup(err); err != nil {
			return false, err
		}
		if len(a.Records) > maxNames {
			return false, stop(PermError) // RFC 7208 §4.6.4
		}
		for _, m := range a.Records {
			if match, err := c.addrMatches(m.Host, t); match || err != nil {
				return match, err
			}
		}
		return false, nil
	case "ptr":
		for _, name := range c.validated() {
			if name == target || strings.HasSuffix(name, "."+target) {
				return true, nil
			}
		}
		return false, nil
	default: // exists
		a, err := c.dns.Addrs(c.ctx, target)
		if err := c.lookup(err); err != nil {
			return false, err
		}
		for _, ip := range a.Records {
			if ip.Is4() { // RFC 7208 §5.7: an A record, also for IPv6 hosts
				return true, nil
			}
		}
		return false, nil
	}
}

// addrMatches reports whether an address of the name, widened to the term's prefix, is the host's.
func (c *check) addrMatches(name string, t term) (bool, error) {
	if !validName(strings.TrimSuffix(name, ".")) {
		return false, nil
	}
	a, err := c.dns.Addrs(c.ctx, name)
	if err := c.lookup(err); err != nil {
		return false, err
	}
	for _, ip := range a.Records {
		bits := t.bits4
		if ip.Is6() {
			bits = t.bits6
		}
		if p, err := ip.Prefix(bits); err == nil && p.Contains(c.ip) {
			return true, nil
		}
	}
	return false, nil
}

// validated returns the names of the host that point back to it (RFC 7208 §5.5); trouble with DNS gives none.
func (c *check) validated() []string {
	if c.asked {
		return c.names
	}
	c.asked = true
	a, err := c.dns.PTR(c.ctx, c.ip)
	if err != nil {
		return nil
	}
	for i, name := range a.Records {
		if i == maxNames {
			break
		}
		addrs, err := c.dns.Addrs(c.ctx, name)
		if err != nil {
			continue
		}
		for _, ip := range addrs.Records {
			if ip == c.ip {
				c.names = append(c.names, strings.TrimSuffix(strings.ToLower(name), "."))
				break
			}
		}
	}
	return c.names
}

// validName reports whether SPF asks about a domain: several labels, each of 1 to 63 octets.
func validName(domain string) bool {
	if len(domain) == 0 || len(domain) > maxDomain || !strings.Contains(domain, ".") || domain[0] == '[' {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return true
}
