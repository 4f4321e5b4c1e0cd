package tenant

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

func snapshot() *platform.Snapshot {
	return platform.NewSnapshot(platform.State{Accounts: []platform.Account{
		{Name: "shop", Senders: []platform.Sender{{Name: "shop.example", Verified: true}, {Name: "new.example"}, {Name: "info@mixed.example", Verified: true}}},
		{Name: "rival", Senders: []platform.Sender{{Name: "rival.example", Verified: true}}},
		{Name: "inhouse", Senders: []platform.Sender{{Name: "*"}, {Name: "inhouse.example", Verified: true}}},
		{Name: "paused", State: platform.AccountPaused, Credentials: []platform.Credential{{Name: "c", Kind: platform.CredentialAPI}}},
	}}, "mail.example")
}

func addr(t *testing.T, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestIdentify(t *testing.T) {
	tests := []struct {
		name     string
		account  string
		envelope string
		from     []string
		sender   string
		want     Reason // "": allowed
		verified bool
	}{
		{"own domain", "shop", "bounce@shop.example", []string{"a@shop.example"}, "", "", true},
		{"subdomain of own", "shop", "x@mail.shop.example", []string{"a@news.shop.example"}, "", "", true},
		{"null sender", "shop", "", []string{"a@shop.example"}, "", "", true},
		{"single address, any case", "shop", "", []string{"Info@mixed.example"}, "", "", true},
		{"other address of that domain", "shop", "", []string{"ceo@mixed.example"}, "", SenderUnknown, false},
		{"not verified", "shop", "", []string{"a@new.example"}, "", SenderUnverified, false},
		{"another account's domain in From", "shop", "", []string{"a@rival.example"}, "", SenderForeign, false},
		{"another account's domain in the envelope", "shop", "a@rival.example", []string{"a@shop.example"}, "", SenderForeign, false},
		{"two authors, second foreign", "shop", "", []string{"a@shop.example", "b@rival.example"}, "", SenderForeign, false},
		{"Sender field foreign", "shop", "", []string{"a@shop.example"}, "b@rival.example", SenderForeign, false},
		{"unknown domain", "shop", "", []string{"a@elsewhere.example"}, "", SenderUnknown, false},
		{"suffix that is no parent", "shop", "", []string{"a@evilshop.example"}, "", SenderUnknown, false},
		{"any sender", "inhouse", "x@whatever.example", []string{"a@whatever.example"}, "", "", false},
		{"any sender, own verified", "inhouse", "", []string{"a@inhouse.example"}, "", "", true},
		{"any sender, but owned by another", "inhouse", "", []string{"a@rival.example"}, "", SenderForeign, false},
	}
	snap := snapshot()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := Authors{}
			if tt.envelope != "" {
				a.Envelope = addr(t, tt.envelope)
			}
			for _, f := range tt.from {
				a.From = append(a.From, addr(t, f))
			}
			if tt.sender != "" {
				s := addr(t, tt.sender)
				a.Sender = &s
			}
			id, err := Identify(snap, snap.Account(tt.account), a)
			var r *Refusal
			if tt.want == "" {
				if err != nil || id.Verified != tt.verified {
					t.Fatalf("Identify = %+v, %v, want verified %v", id, err, tt.verified)
				}
				return
			}
			if !errors.As(err, &r) || r.Reason != tt.want {
				t.Fatalf("Identify = %+v, %v, want refusal %s", id, err, tt.want)
			}
		})
	}
}

func TestMaySend(t *testing.T) {
	office := netip.MustParsePrefix("192.0.2.0/24")
	inside, outside := netip.MustParseAddr("::ffff:192.0.2.7"), netip.MustParseAddr("198.51.100.1")
	acc := &platform.Account{Name: "shop"}
	tests := []struct {
		name string
		p    platform.Principal
		ip   netip.Addr
		want Reason
	}{
		{"plain", platform.Principal{Account: acc, Credential: &platform.Credential{Name: "c"}}, outside, ""},
		{"read only", platform.Principal{Account: acc, Credential: &platform.Credential{Name: "c", Scopes: []platform.Scope{platform.ScopeRead}}}, outside, CredentialScope},
		{"inside its network", platform.Principal{Account: acc, Credential: &platform.Credential{Networks: []netip.Prefix{office}}}, inside, ""},
		{"outside its network", platform.Principal{Account: acc, Credential: &platform.Credential{Networks: []netip.Prefix{office}}}, outside, CredentialNetwork},
		{"disabled", platform.Principal{Account: acc, Credential: &platform.Credential{Disabled: true}}, inside, CredentialDisabled},
		{"paused", platform.Principal{Account: &platform.Account{State: platform.AccountPaused}, Credential: &platform.Credential{}}, inside, AccountPaused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := MaySend(tt.p, tt.ip)
			var r *Refusal
			if errors.As(err, &r); (r == nil) != (tt.want == "") || (r != nil && r.Reason != tt.want) {
				t.Fatalf("MaySend = %v, want %q", err, tt.want)
			}
		})
	}
}
