package dns

import (
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
)

// FuzzResponse feeds octets off the wire to everything that reads them.
func FuzzResponse(f *testing.F) {
	q := new(mdns.Msg)
	q.SetQuestion("example.com.", mdns.TypeMX)
	q.Id = 0x1234
	seed := func(rcode int, records ...string) {
		wire, err := reply(f, q, rcode, records...).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	seed(mdns.RcodeSuccess, `example.com. 300 MX 10 mx.example.com.`, `example.com. 300 MX 0 .`)
	seed(mdns.RcodeSuccess, `example.com. 300 CNAME b.example.`, `b.example. 300 CNAME example.com.`)
	seed(mdns.RcodeSuccess, `example.com. 300 CNAME b.example.`, `b.example. 300 MX 10 a\.b\000c.example.`)
	seed(mdns.RcodeSuccess, `example.com. 300 TXT "\255\"\\" "x"`, `example.com. 300 TLSA 3 1 1 00`)
	seed(mdns.RcodeNameError, `example.com. 900 SOA ns.example.com. host.example.com. 1 2 3 4 60`)
	seed(mdns.RcodeSuccess, `example.com. 300 A 192.0.2.1`, `example.com. 300 AAAA ::ffff:192.0.2.1`, `example.com. 300 PTR x.example.`)
	seed(mdns.RcodeFormatError)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1 {
			b[0], b[1] = 0x12, 0x34 // get past the id
		}
		m, err := readResponse(b, q)
		if err != nil {
			return
		}
		for _, qtype := range []uint16{mdns.TypeMX, mdns.TypeA, mdns.TypeAAAA, mdns.TypeTXT, mdns.TypeCNAME, mdns.TypeTLSA, mdns.TypePTR} {
			r := readAnswer(m, "example.com", qtype)
			if name, err := canonical(r.canonical); err != nil || name != r.canonical {
				t.Fatalf("canonical name %q: %v", r.canonical, err)
			}
			if r.ttl < 0 || r.ttl > maxTTL {
				t.Fatalf("time to live %v", r.ttl)
			}
			for _, rr := range r.records {
				if r.kind == nil && !sameName(rr.Header().Name, r.canonical) {
					t.Fatalf("a record of %s at %s", rr.Header().Name, r.canonical)
				}
				checkRead(t, rr)
			}
		}
	})
}

// checkRead reads a record with every reader: one of another type must be refused, names must be safe to log.
func checkRead(t *testing.T, rr mdns.RR) {
	var names []string
	if mx, ok := readMX(rr); ok {
		names = append(names, mx.Host)
	}
	if s, ok := readCNAME(rr); ok {
		names = append(names, s)
	}
	if s, ok := readPTR(rr); ok {
		names = append(names, s)
	}
	if ip, ok := readA(rr); ok && !ip.Is4() {
		t.Fatalf("A record with %v", ip)
	}
	if ip, ok := readAAAA(rr); ok && (!ip.Is6() || ip.Is4In6()) {
		t.Fatalf("AAAA record with %v", ip)
	}
	readTXT(rr)
	readTLSA(rr)
	for _, n := range names {
		if strings.ContainsFunc(n, func(r rune) bool { return r < ' ' || r >= 0x7f || 'A' <= r && r <= 'Z' }) {
			t.Fatalf("name %q", n)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		``: ``, `plain`: `plain`, `\"`: `"`, `\\`: `\`, `\065\066`: `AB`, `\999`: `999`, `\`: `\`, `\06`: `06`, `x\000y`: "x\x00y",
	} {
		var b strings.Builder
		if unescape(&b, in); b.String() != want {
			t.Errorf("unescape(%q) = %q, want %q", in, b.String(), want)
		}
	}
}
