package dns

import (
	"context"
	"errors"
	"net/netip"
	"testing"
)

func TestFake(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.1")
	f := &Fake{
		Authentic: true,
		Names: map[string]FakeName{
			"example.com":      {MX: []MX{{10, "mx.example.com"}}},
			"mx.example.com":   {Addrs: []netip.Addr{ip}},
			"alias.example":    {CNAME: "example.com"},
			"loop.example":     {CNAME: "loop.example"},
			"insecure.example": {CNAME: "example.com", Insecure: true},
			"fail.example":     {Fail: ErrTemporary, Addrs: []netip.Addr{ip}},
			"half.example":     {FailType: map[string]error{"MX": ErrTemporary}, Addrs: []netip.Addr{ip}},
			"hang.example":     {Hang: true},
			"a.b.example":      {TXT: []string{"x"}},
		},
		Reverse: map[netip.Addr][]string{ip: {"mx.example.com"}},
	}
	ctx := context.Background()
	for _, tt := range []struct {
		name string
		kind error
	}{
		{"example.com", nil},
		{"EXAMPLE.com.", nil},
		{"alias.example", nil},
		{"mx.example.com", ErrNoData},
		{"b.example", ErrNoData},
		{"no.example", ErrNotExist},
		{"loop.example", ErrMalformed},
		{"bad name", ErrMalformed},
		{"fail.example", ErrTemporary},
		{"half.example", ErrTemporary},
	} {
		a, err := f.MX(ctx, tt.name)
		if !errors.Is(err, tt.kind) {
			t.Errorf("MX of %s: %v, want %v", tt.name, err, tt.kind)
		}
		if tt.kind == nil && (a.Canonical != "example.com" || !a.Authentic || len(a.Records) != 1) {
			t.Errorf("MX of %s: %+v", tt.name, a)
		}
	}
	if a, err := f.MX(ctx, "insecure.example"); err != nil || a.Authentic {
		t.Errorf("over an insecure alias: %+v, %v", a, err)
	}
	if _, err := f.Addrs(ctx, "half.example"); err != nil {
		t.Errorf("only MX fails: %v", err)
	}
	if a, err := f.PTR(ctx, ip); err != nil || a.Records[0] != "mx.example.com" {
		t.Errorf("PTR: %+v, %v", a, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.MX(ended, "hang.example"); !errors.Is(err, ErrTemporary) || !errors.Is(err, context.Canceled) {
		t.Errorf("a server that hangs: %v", err)
	}
	before := f.Queries()
	f.SetName("no.example", FakeName{MX: []MX{{1, "mx.example.com"}}})
	if _, err := f.MX(ctx, "no.example"); err != nil || f.Queries() != before+1 {
		t.Errorf("after SetName: %v, %d queries", err, f.Queries()-before)
	}
}
