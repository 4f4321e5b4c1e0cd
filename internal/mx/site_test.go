package mx

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestSiteOf(t *testing.T) {
	long := "alt1.gmail-smtp-in.l.google.com alt2.gmail-smtp-in.l.google.com alt3.gmail-smtp-in.l.google.com gmail-smtp-in.l.google.com"
	var unlike string
	for i := range 8 {
		unlike += fmt.Sprintf("mx.some-longer-name%d.example%d ", i, i)
	}
	for _, tt := range []struct {
		hosts  string
		policy TLSPolicy
		want   string
	}{
		{"mx.example.com", TLSPolicy{}, "mx.example.com"},
		{"b.example.com a.example.com b.example.com", TLSPolicy{}, "a.example.com,b.example.com"},
		{long, TLSPolicy{}, "4*.l.google.com~"},
		{unlike, TLSPolicy{}, "8*.some-longer-name0.example0~"},
		{"mx.example.com", TLSPolicy{Mode: PolicyTesting, Kind: "mta-sts"}, "mx.example.com"},
		{"mx.example.com", TLSPolicy{Mode: PolicyEnforce, Kind: "dane"}, "mx.example.com!dane"},
		{"mx.example.com", TLSPolicy{Mode: PolicyEnforce, Kind: "mta-sts", Hosts: []string{"mx.example.com"}}, "mx.example.com!mta-sts~"},
	} {
		got := siteOf(hosts(tt.hosts), tt.policy)
		if tt.want[len(tt.want)-1] == '~' {
			if len(got) != len(tt.want)+2*siteHash {
				t.Errorf("%s: %q, want %q and a hash", tt.hosts, got, tt.want)
			}
			got = got[:min(len(got), len(tt.want))]
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.hosts, got, tt.want)
		}
	}
}

// Equal texts mean equal sets of hosts, whatever their order and preference.
func TestSiteTellsSetsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) (list []Host, set map[string]bool) {
			set = make(map[string]bool)
			for _, i := range rapid.SliceOfN(rapid.IntRange(0, 5), 1, 8).Draw(t, label) {
				name := fmt.Sprintf("mx%d.a-rather-long-name.example.com", i)
				set[name] = true
				list = append(list, Host{Name: name, Pref: uint16(rapid.IntRange(0, 9).Draw(t, "pref"))})
			}
			return list, set
		}
		a, setA := draw("a")
		b, setB := draw("b")
		same := len(setA) == len(setB)
		for name := range setA {
			same = same && setB[name]
		}
		if (siteOf(a, TLSPolicy{}) == siteOf(b, TLSPolicy{})) != same {
			t.Fatalf("%v and %v: %q and %q", setA, setB, siteOf(a, TLSPolicy{}), siteOf(b, TLSPolicy{}))
		}
		if n := len(siteOf(a, TLSPolicy{})); n > maxSiteText {
			t.Fatalf("a site of %d octets", n)
		}
	})
}
