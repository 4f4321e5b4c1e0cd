package dns

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// maxTTL is the largest time to live there is (RFC 2181 §8).
const maxTTL = (1<<31 - 1) * time.Second

// reading is what one response says about a name.
type reading struct {
	records   []mdns.RR // of the type, at canonical
	canonical string    // where the CNAME records of the response led
	hops      int       // CNAME records followed
	ttl       time.Duration
	// kind is ErrNotExist, ErrNoData, ErrTemporary or ErrMalformed; nil: records hold the answer or, if there are
	// none, the chain goes on at canonical.
	kind error
	err  error
}

// readAnswer reads a response with code NOERROR or NXDOMAIN to the question (name, qtype). Records of other names than
// those of the CNAME chain are ignored: a server may not tell us what we did not ask.
func readAnswer(m *mdns.Msg, name string, qtype uint16) reading {
	r := reading{canonical: name, ttl: maxTTL}
	for {
		var alias *mdns.CNAME
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != mdns.ClassINET || !sameName(h.Name, r.canonical) {
				continue
			}
			if h.Rrtype == qtype {
				r.records = append(r.records, rr)
				r.ttl = min(r.ttl, recordTTL(h))
			} else if c, ok := rr.(*mdns.CNAME); ok && alias == nil {
				alias = c
			}
		}
		if len(r.records) > 0 || alias == nil {
			break
		}
		if r.hops++; r.hops > maxChain {
			r.kind, r.err = ErrMalformed, errChain
			return r
		}
		target, err := canonical(alias.Target)
		if err != nil {
			r.kind, r.err = ErrMalformed, err
			return r
		}
		r.canonical = target
		r.ttl = min(r.ttl, recordTTL(&alias.Hdr))
	}
	switch {
	case m.Rcode == mdns.RcodeNameError && len(r.records) > 0:
		r.kind, r.err = ErrMalformed, errDisagrees
	case m.Rcode == mdns.RcodeNameError:
		r.kind = ErrNotExist // of the chain's end (RFC 2308 §2.1)
	case len(r.records) > 0:
		return r
	default:
		if r.kind, r.err = absent(m, r.hops); r.kind == nil {
			return r
		}
	}
	r.ttl = min(r.ttl, negativeTTL(m))
	return r
}

// absent tells what NOERROR without records means: RFC 2308 §2.2.
func absent(m *mdns.Msg, hops int) (kind, err error) {
	referral := false
	for _, rr := range m.Ns {
		switch rr.Header().Rrtype {
		case mdns.TypeSOA:
			return ErrNoData, nil
		case mdns.TypeNS:
			referral = true
		}
	}
	switch {
	case hops > 0:
		return nil, nil // no proof of absence: the server stopped in the middle of the chain
	case referral && !m.RecursionAvailable:
		return ErrTemporary, errReferral
	}
	return ErrNoData, nil
}

// negativeTTL is the lesser of the SOA record's own time to live and its minimum (RFC 2308 §5); zero without one.
func negativeTTL(m *mdns.Msg) time.Duration {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*mdns.SOA); ok {
			return min(recordTTL(&soa.Hdr), time.Duration(soa.Minttl)*time.Second)
		}
	}
	return 0
}

// recordTTL reads a time to live; one with the top bit set counts as zero (RFC 2181 §8).
func recordTTL(h *mdns.RR_Header) time.Duration {
	if h.Ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(h.Ttl) * time.Second
}

// sameName compares a name of a message with a canonical one.
func sameName(wire, name string) bool {
	return strings.EqualFold(strings.TrimSuffix(wire, "."), name)
}

func readMX(rr mdns.RR) (MX, bool) {
	m, ok := rr.(*mdns.MX)
	if !ok {
		return MX{}, false
	}
	return MX{Pref: m.Preference, Host: published(m.Mx)}, true
}

func readA(rr mdns.RR) (netip.Addr, bool) {
	a, ok := rr.(*mdns.A)
	if !ok {
		return netip.Addr{}, false
	}
	return readIP(a.A)
}

func readAAAA(rr mdns.RR) (netip.Addr, bool) {
	a, ok := rr.(*mdns.AAAA)
	if !ok || len(a.AAAA) != net.IPv6len {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(a.AAAA)
	// An IPv4 address in IPv6 clothes would pass filters made for the other family.
	return ip, ok && !ip.Is4In6()
}

func readIP(b net.IP) (netip.Addr, bool) {
	ip, ok := netip.AddrFromSlice(b)
	return ip.Unmap(), ok
}

func readTXT(rr mdns.RR) (string, bool) {
	t, ok := rr.(*mdns.TXT)
	if !ok {
		return "", false
	}
	var b strings.Builder
	for _, s := range t.Txt {
		unescape(&b, s)
	}
	return b.String(), true
}

func readCNAME(rr mdns.RR) (string, bool) {
	c, ok := rr.(*mdns.CNAME)
	if !ok {
		return "", false
	}
	return published(c.Target), true
}

func readPTR(rr mdns.RR) (string, bool) {
	p, ok := rr.(*mdns.PTR)
	if !ok {
		return "", false
	}
	return published(p.Ptr), true
}

func readTLSA(rr mdns.RR) (TLSA, bool) {
	t, ok := rr.(*mdns.TLSA)
	if !ok {
		return TLSA{}, false
	}
	data, err := hex.DecodeString(t.Certificate)
	if err != nil {
		return TLSA{}, false
	}
	return TLSA{Usage: t.Usage, Selector: t.Selector, Matching: t.MatchingType, Data: data}, true
}

// unescape undoes the zone file escapes of RFC 1035 §5.1, which the library leaves in character strings.
func unescape(b *strings.Builder, s string) {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i+2 < len(s) && isDigit(s[i]) && isDigit(s[i+1]) && isDigit(s[i+2]) {
			if v := int(s[i]-'0')*100 + int(s[i+1]-'0')*10 + int(s[i+2]-'0'); v < 256 {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
