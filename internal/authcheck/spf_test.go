package authcheck

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/dns"
)

func txt(records ...string) dns.FakeName { return dns.FakeName{TXT: records} }

func addrs(list ...string) (n dns.FakeName) {
	for _, a := range list {
		n.Addrs = append(n.Addrs, netip.MustParseAddr(a))
	}
	return n
}

var zone = map[string]dns.FakeName{
	"ip.example":                           txt("v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"),
	"soft.example":                         txt("something else", "V=SPF1 ~all"),
	"open.example":                         txt("v=spf1"),
	"plus.example":                         txt("v=spf1 +all"),
	"none.example":                         txt("v=spf10 -all", "spf"),
	"two.example":                          txt("v=spf1 -all", "v=spf1 +all"),
	"broken.example":                       txt("v=spf1 ip4:192.0.2.300 -all"),
	"late.example":                         txt("v=spf1 ip4:192.0.2.7 nonsense"),
	"fails.example":                        {Fail: dns.ErrTemporary},
	"a.example":                            {TXT: []string{"v=spf1 a -all"}, Addrs: addrs("192.0.2.7", "2001:db8::7").Addrs},
	"anet.example":                         txt("v=spf1 a:host.example/24//64 -all"),
	"host.example":                         addrs("198.51.100.1", "2001:db8:1::1"),
	"mx.example":                           {TXT: []string{"v=spf1 mx -all"}, MX: []dns.MX{{Host: "away.example"}, {Host: "host.example"}}},
	"away.example":                         addrs("203.0.113.1"),
	"include.example":                      txt("v=spf1 include:ip.example ?all"),
	"incnone.example":                      txt("v=spf1 include:nowhere.example -all"),
	"redirect.example":                     txt("v=spf1 redirect=ip.example"),
	"rednone.example":                      txt("v=spf1 redirect=nowhere.example"),
	"redtwice.example":                     txt("v=spf1 redirect=ip.example redirect=ip.example"),
	"exp.example":                          txt("v=spf1 -all exp=why.example unknown=%{i}"),
	"loop.example":                         txt("v=spf1 include:loop.example -all"),
	"void.example":                         txt("v=spf1 a:no1.example a:no2.example a:no3.example ip4:192.0.2.7 -all"),
	"void2.example":                        txt("v=spf1 a:no1.example a:no2.example ip4:192.0.2.7 -all"),
	"ten.example":                          txt("v=spf1" + strings.Repeat(" a:away.example", 10) + " ip4:192.0.2.7 -all"),
	"eleven.example":                       txt("v=spf1" + strings.Repeat(" a:away.example", 11) + " ip4:192.0.2.7 -all"),
	"atemp.example":                        txt("v=spf1 a:fails.example -all"),
	"ptr.example":                          txt("v=spf1 ptr -all"),
	"h7.ptr.example":                       addrs("192.0.2.7"),
	"macro.example":                        txt("v=spf1 exists:%{ir}.%{v}._spf.%{d2} -all"),
	"7.2.0.192.in-addr._spf.macro.example": addrs("127.0.0.2"),
	"local.example":                        txt("v=spf1 exists:%{l1r-}.%{o}.lp.example -all"),
	"jane.local.example.lp.example":        addrs("127.0.0.2"),
	"toplabel.example":                     txt("v=spf1 a:mail -all"),
	"alldigit.example":                     txt("v=spf1 a:mail.123 -all"),
	"letters.example":                      txt("v=spf1 exists:%{c}.example -all"),
	"manymx.example":                       {TXT: []string{"v=spf1 mx -all"}, MX: make([]dns.MX, 11)},
}

func TestCheck(t *testing.T) {
	resolver := &dns.Fake{Names: zone, Reverse: map[netip.Addr][]string{netip.MustParseAddr("192.0.2.7"): {"forged.ptr.example", "h7.ptr.example"}}}
	s := &SPF{Resolver: resolver}
	for _, tt := range []struct {
		domain, ip string
		want       Result
	}{
		{"ip.example", "192.0.2.7", Pass},
		{"ip.example", "::ffff:192.0.2.7", Pass},
		{"ip.example", "2001:db8:9::1", Pass},
		{"ip.example", "198.51.100.7", Fail},
		{"IP.Example.", "192.0.2.7", Pass},
		{"soft.example", "192.0.2.7", SoftFail},
		{"open.example", "192.0.2.7", Neutral},
		{"plus.example", "192.0.2.7", Pass},
		{"none.example", "192.0.2.7", None},
		{"nowhere.example", "192.0.2.7", None},
		{"localhost", "192.0.2.7", None},
		{"[192.0.2.7]", "192.0.2.7", None},
		{"a..b", "192.0.2.7", None},
		{"", "192.0.2.7", None},
		{"two.example", "192.0.2.7", PermError},
		{"broken.example", "192.0.2.7", PermError},
		{"late.example", "192.0.2.7", PermError}, // also where the first term would match
		{"fails.example", "192.0.2.7", TempError},
		{"a.example", "192.0.2.7", Pass},
		{"a.example", "2001:db8::7", Pass},
		{"a.example", "192.0.2.8", Fail},
		{"anet.example", "198.51.100.77", Pass},
		{"anet.example", "2001:db8:1::77", Pass},
		{"anet.example", "2001:db8:1:1::77", Fail},
		{"mx.example", "198.51.100.1", Pass},
		{"mx.example", "198.51.100.2", Fail},
		{"include.example", "192.0.2.7", Pass},
		{"include.example", "198.51.100.2", Neutral}, // the fail of an include is no match
		{"incnone.example", "192.0.2.7", PermError},
		{"redirect.example", "192.0.2.7", Pass},
		{"redirect.example", "198.51.100.2", Fail},
		{"rednone.example", "192.0.2.7", PermError},
		{"redtwice.example", "192.0.2.7", PermError},
		{"exp.example", "192.0.2.7", Fail},
		{"loop.example", "192.0.2.7", PermError},
		{"void.example", "192.0.2.7", PermError},
		{"void2.example", "192.0.2.7", Pass},
		{"ten.example", "192.0.2.7", Pass},
		{"eleven.example", "192.0.2.7", PermError},
		{"atemp.example", "192.0.2.7", TempError},
		{"ptr.example", "192.0.2.7", Pass},
		{"ptr.example", "192.0.2.8", Fail},
		{"macro.example", "192.0.2.7", Pass},
		{"macro.example", "192.0.2.8", Fail},
		{"local.example", "192.0.2.8", Pass},
		{"toplabel.example", "192.0.2.7", PermError},
		{"alldigit.example", "192.0.2.7", PermError},
		{"letters.example", "192.0.2.7", PermError},
		{"manymx.example", "192.0.2.7", PermError},
	} {
		if got := s.Check(t.Context(), netip.MustParseAddr(tt.ip), "jane-doe", tt.domain, "mx.example"); got != tt.want {
			t.Errorf("%s from %s: %s, want %s", tt.domain, tt.ip, got, tt.want)
		}
	}
}

// RFC 7208 §7.4 has these examples.
func TestMacros(t *testing.T) {
	c := &check{ctx: context.Background(), dns: &dns.Fake{}, local: "strong-bad", sender: "email.example.com", helo: "mx.example.org"}
	for _, tt := range []struct{ ip, spec, want string }{
		{"192.0.2.3", "%{s}", "strong-bad@email.example.com"},
		{"192.0.2.3", "%{o}", "email.example.com"},
		{"192.0.2.3", "%{d4}", "email.example.com"},
		{"192.0.2.3", "%{d2}", "example.com"},
		{"192.0.2.3", "%{d1}", "com"},
		{"192.0.2.3", "%{dr}", "com.example.email"},
		{"192.0.2.3", "%{d2r}", "example.email"},
		{"192.0.2.3", "%{l-}", "strong.bad"},
		{"192.0.2.3", "%{lr-}", "bad.strong"},
		{"192.0.2.3", "%{l1r-}", "strong"},
		{"192.0.2.3", "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"},
		{"192.0.2.3", "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"},
		{"2001:db8::cb01", "%{ir}.%{v}._spf.%{d2}", "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"},
		{"192.0.2.3", "%{h}.%{p}", "mx.example.org.unknown"},
		{"192.0.2.3", "a%%b%_c%-d", "a%b c%20d"},
		{"192.0.2.3", "%{S}", "strong-bad%40email.example.com"},
	} {
		c.ip = netip.MustParseAddr(tt.ip)
		if got, err := c.expand(tt.spec, "email.example.com"); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.spec, got, err, tt.want)
		}
	}
	for _, bad := range []string{"%", "%x", "%{", "%{}", "%{q}", "%{d0}", "%{d2x}", "%{d99999999999999999999}"} {
		if got, err := c.expand(bad, "email.example.com"); err == nil {
			t.Errorf("%s is taken: %q", bad, got)
		}
	}
	if got, err := c.expand(strings.Repeat("label.", 100)+"example.com", "x.example"); err != nil || len(got) > maxDomain || !strings.HasSuffix(got, ".example.com") {
		t.Errorf("a long name: %q, %v", got, err)
	}
}

// Whatever a record says, a check ends, with a result there is, after a bounded number of questions.
func FuzzCheck(f *testing.F) {
	for _, n := range zone {
		for _, r := range n.TXT {
			f.Add(r)
		}
	}
	f.Add("v=spf1 include:%{d} redirect=%{d} a mx ptr exists:%{ir}.%{p}")
	results := map[Result]bool{None: true, Neutral: true, Pass: true, Fail: true, SoftFail: true, TempError: true, PermError: true}
	f.Fuzz(func(t *testing.T, record string) {
		resolver := &dns.Fake{Names: map[string]dns.FakeName{"fuzz.example": {
			TXT: []string{record}, Addrs: addrs("203.0.113.9").Addrs, MX: []dns.MX{{Host: "fuzz.example"}, {Host: ""}},
		}}, Reverse: map[netip.Addr][]string{netip.MustParseAddr("192.0.2.7"): {"fuzz.example", "x.example"}}}
		got := (&SPF{Resolver: resolver}).Check(context.Background(), netip.MustParseAddr("192.0.2.7"), "a b", "fuzz.example", "h")
		if !results[got] {
			t.Fatalf("%q gives %q", record, got)
		}
		if n := resolver.Queries(); n > 200 {
			t.Fatalf("%q costs %d questions", record, n)
		}
	})
}

func ExampleSPF_Check() {
	s := &SPF{Resolver: &dns.Fake{Names: zone}}
	fmt.Println(s.Check(context.Background(), netip.MustParseAddr("192.0.2.7"), "jane", "ip.example", "mx.example"))
	// Output: pass
}
