package practice

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"

	mdns "github.com/miekg/dns"
)

// ttl of every record of the practice zone, in seconds: short, so that nobody waits for a change.
const ttl = 30

// zone is what the practice name server knows.
type zone struct {
	mu    sync.RWMutex         // of names
	names map[string][]mdns.RR // by lower-case name with its trailing dot
	fails map[string]bool      // names answered with SERVFAIL
	// wild, if set, is where every unknown name below .test takes mail.
	wild string
}

// newZone makes the records of the hosts and of the domains that exist for their DNS alone.
func newZone(hosts []*host, load bool, extra []string) (*zone, error) {
	z := &zone{names: make(map[string][]mdns.RR), fails: map[string]bool{"servfail.test.": true, "mx.deaf.test.": true}}
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, h := range hosts {
		if h.missing {
			continue
		}
		add("%s. A %s", h.name, h.addr)
		ptr, err := mdns.ReverseAddr(h.addr.String())
		if err != nil {
			return nil, err
		}
		add("%s PTR %s.", ptr, h.name)
		for _, d := range h.domains {
			add("%s. MX 10 %s.", d, h.name)
		}
	}
	if load {
		z.wild = hosts[0].name + "."
	} else {
		for _, name := range siteSamples {
			add("%s.test. MX 10 mx.%s.test.", name, name)
			add("mx.%s.test. A %s", name, hosts[0].addr)
		}
		lines = append(lines,
			"firstdown.test. MX 10 mx.firstdown.test.",
			"firstdown.test. MX 20 mx1.mailbox.test.",
			"null.test. MX 0 .",
			"implicit.test. A 127.0.0.1",
			"alias.test. CNAME mailbox.test.",
			"nomail.test. TXT \"this name has neither MX nor address\"",
			"deadmx.test. MX 10 mx.gone.test.",
			"deaf.test. MX 10 mx.deaf.test.",
			"literal.test. MX 10 127.0.0.1.",
		)
	}
	for _, line := range append(lines, extra...) {
		if err := z.add(line); err != nil {
			return nil, err
		}
	}
	return z, nil
}

func (z *zone) add(line string) error {
	p := mdns.NewZoneParser(strings.NewReader(line), ".", "")
	p.SetDefaultTTL(ttl)
	rr, ok := p.Next()
	if !ok {
		return fmt.Errorf("the record %q: %w", line, p.Err())
	}
	name := strings.ToLower(rr.Header().Name)
	z.mu.Lock()
	defer z.mu.Unlock()
	z.names[name] = append(z.names[name], rr)
	return nil
}

// answer fills in the reply to one question as a name server that recurses would.
func (z *zone) answer(m *mdns.Msg, q mdns.Question) {
	z.mu.RLock()
	defer z.mu.RUnlock()
	name := strings.ToLower(q.Name)
	const maxAliases = 8
	for range maxAliases {
		if z.fails[name] {
			m.Answer = nil
			m.Rcode = mdns.RcodeServerFailure
			return
		}
		var alias *mdns.CNAME
		for _, rr := range z.names[name] {
			if rr.Header().Rrtype == q.Qtype {
				m.Answer = append(m.Answer, rr)
			} else if c, ok := rr.(*mdns.CNAME); ok {
				alias = c
			}
		}
		if alias == nil {
			break
		}
		m.Answer = append(m.Answer, alias)
		name = strings.ToLower(alias.Target)
	}
	if n := len(m.Answer); n > 0 && m.Answer[n-1].Header().Rrtype == q.Qtype {
		return
	}
	if z.wild != "" && len(z.names[name]) == 0 && strings.HasSuffix(name, ".test.") {
		if q.Qtype == mdns.TypeMX {
			m.Answer = append(m.Answer, &mdns.MX{
				Hdr:        mdns.RR_Header{Name: q.Name, Rrtype: mdns.TypeMX, Class: mdns.ClassINET, Ttl: ttl},
				Preference: 10, Mx: z.wild,
			})
			return
		}
	} else if !z.exists(name) {
		m.Rcode = mdns.RcodeNameError
		// What this internet does not contain, it has no right to deny.
		if len(m.Answer) == 0 && !z.owns(name) {
			m.Rcode = mdns.RcodeRefused
			return
		}
	}
	m.Ns = append(m.Ns, &mdns.SOA{
		Hdr: mdns.RR_Header{Name: apex(name), Rrtype: mdns.TypeSOA, Class: mdns.ClassINET, Ttl: ttl},
		Ns:  "ns.mailbox.test.", Mbox: "hostmaster.mailbox.test.", Serial: 1,
		Refresh: ttl, Retry: ttl, Expire: ttl, Minttl: ttl,
	})
}

// mailHost returns the first MX of a domain and its address; zero values where the zone has none.
func (z *zone) mailHost(domain string) (host string, ip netip.Addr) {
	z.mu.RLock()
	defer z.mu.RUnlock()
	for _, rr := range z.names[strings.ToLower(domain)+"."] {
		if mx, ok := rr.(*mdns.MX); ok {
			host = strings.ToLower(mx.Mx)
			break
		}
	}
	for _, rr := range z.names[host] {
		switch a := rr.(type) {
		case *mdns.A:
			ip, _ = netip.AddrFromSlice(a.A.To4())
		case *mdns.AAAA:
			ip, _ = netip.AddrFromSlice(a.AAAA)
		}
	}
	return host, ip
}

// exists reports whether the name, or one below it, has a record.
func (z *zone) exists(name string) bool {
	if len(z.names[name]) > 0 {
		return true
	}
	for other := range z.names {
		if strings.HasSuffix(other, "."+name) {
			return true
		}
	}
	return false
}

// owns reports whether the name lies where the practice internet may say that something does not exist: below the
// names reserved for tests and examples (RFC 6761 §6), and the reverse names of loopback.
func (z *zone) owns(name string) bool {
	for _, end := range []string{"test.", "example.", "invalid.", "example.com.", "example.net.", "example.org.", "127.in-addr.arpa."} {
		if name == end || strings.HasSuffix(name, "."+end) {
			return true
		}
	}
	return false
}

// apex returns the zone a name is said to be in: its last label.
func apex(name string) string {
	labels := mdns.SplitDomainName(name)
	if len(labels) == 0 {
		return "."
	}
	return labels[len(labels)-1] + "."
}
