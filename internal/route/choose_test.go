package route

import (
	"errors"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

func TestChoose(t *testing.T) {
	yes, no := true, false
	routes := []platform.Route{{Name: "direct", Kind: mail.RouteMX}, {Name: "gw", Kind: mail.RouteRelay}, {Name: "off", Kind: mail.RouteRelay, Paused: true}}
	def := platform.Policy{Name: "default", Rules: []platform.PolicyRule{
		{RecipientDomains: []string{"*.corp.example", "corp.example"}, Route: "gw"},
		{Stream: mail.Bulk, Tags: []string{"news", "promo"}, Route: "off"},
		{SenderDomains: []string{"Lost.example"}, Route: "nowhere"},
		{Verified: &no, Route: "gw"},
		{Stream: mail.Transactional, Verified: &yes, Route: "direct"},
	}}
	own := platform.Policy{Name: "acme", Rules: []platform.PolicyRule{{RecipientDomains: []string{"*"}, Route: "gw"}}}
	all := platform.State{Routes: routes, Policies: []platform.Policy{def, own}}
	for _, tc := range []struct {
		name  string
		state platform.State
		f     Facts
		want  string
		err   error
	}{
		{"domain", all, Facts{RecipientDomain: "corp.example"}, "gw", nil},
		{"subdomain", all, Facts{RecipientDomain: "a.Corp.example"}, "gw", nil},
		{"no subdomain of its own", all, Facts{RecipientDomain: "xcorp.example", Verified: true, Stream: mail.Transactional}, "direct", nil},
		{"tag of several", all, Facts{Stream: mail.Bulk, Tags: []string{"x", "promo"}}, "off", ErrPaused},
		{"unknown route", all, Facts{SenderDomain: "lost.EXAMPLE", Verified: true}, "", ErrUnknownRoute},
		{"not verified", all, Facts{RecipientDomain: "b.example"}, "gw", nil},
		{"verified", all, Facts{RecipientDomain: "b.example", Verified: true, Stream: mail.Transactional}, "direct", nil},
		{"nothing matches", all, Facts{Verified: true, Stream: mail.Bulk}, "", ErrNoRoute},
		{"account's own policy", all, Facts{Account: "acme", Verified: true, Stream: mail.Bulk}, "gw", nil},
		{"no policy, one route", platform.State{Routes: routes[:1]}, Facts{}, "direct", nil},
		{"no policy, one route, paused", platform.State{Routes: routes[2:]}, Facts{}, "off", ErrPaused},
		{"no policy, route named default", platform.State{Routes: append([]platform.Route{{Name: "default"}}, routes...)}, Facts{}, "default", nil},
		{"no policy, several routes", platform.State{Routes: routes}, Facts{}, "", ErrNoRoute},
		{"nothing at all", platform.State{}, Facts{}, "", ErrNoRoute},
		{"the platform's alert about the route", all, Facts{Account: platform.SystemAccount, RecipientDomain: "corp.example", Tags: []string{AvoidTag + "gw"}}, "direct", nil},
		{"an alert about another route", all, Facts{Account: platform.SystemAccount, RecipientDomain: "corp.example", Tags: []string{AvoidTag + "direct"}}, "gw", nil},
		{"an alert about the only route", platform.State{Routes: routes[:1]}, Facts{Account: platform.SystemAccount, Tags: []string{AvoidTag + "direct"}}, "direct", nil},
		{"a customer's tag", all, Facts{Account: "shop", RecipientDomain: "corp.example", Tags: []string{AvoidTag + "gw"}}, "gw", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := Choose(platform.NewSnapshot(tc.state, ""), tc.f)
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			switch {
			case tc.err == nil && r.Name != tc.want:
				t.Fatalf("route %s, want %s", r.Name, tc.want)
			case tc.err != nil && r != nil:
				t.Fatalf("route %s beside an error", r.Name)
			}
		})
	}
}
