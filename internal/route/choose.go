package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// Facts are what a policy may look at.
type Facts struct {
	Account         string
	Stream          mail.Stream
	SenderDomain    string // of the envelope sender, or of the From field where the envelope sender is null
	RecipientDomain string
	Tags            []string
	Verified        bool
}

// Errors of Choose. A delivery that meets one waits, with an alert; it never bounces for it.
var (
	// ErrNoRoute: no rule of the account's policy matches, or there is no policy and no single route to fall back on.
	ErrNoRoute = errors.New("no route")
	// ErrUnknownRoute: the rule that matches names a route that does not exist.
	ErrUnknownRoute = errors.New("unknown route")
	// ErrPaused: the route chosen is paused.
	ErrPaused = errors.New("route is paused")
)

// DefaultRoute is the route taken where there is no policy at all.
const DefaultRoute = "default"

// AvoidTag begins a tag of the platform's own mail that names a route it tells the trouble of: it goes by another one
// where there is one.
const AvoidTag = "avoid-route/"

// Choose returns the route of a delivery: that of the first rule that matches in the account's policy, else in the
// policy named "default". Without any policy it is the route named "default", else the only route there is. Errors
// wrap ErrNoRoute, ErrUnknownRoute or ErrPaused.
func Choose(snap *platform.Snapshot, f Facts) (*platform.Route, error) {
	r, err := choose(snap, &f)
	if other := detour(snap, &f, r); other != nil {
		return other, nil
	}
	if err != nil {
		return nil, err
	}
	if r.Paused {
		return nil, fmt.Errorf("route: %w: %s", ErrPaused, r.Name)
	}
	return r, nil
}

// detour returns another route for mail that must not go by the one chosen, nil where it may or there is none.
func detour(snap *platform.Snapshot, f *Facts, chosen *platform.Route) *platform.Route {
	if f.Account != platform.SystemAccount {
		return nil // tags of customers mean nothing here
	}
	avoid := func(name string) bool { return slices.Contains(f.Tags, AvoidTag+name) }
	if chosen == nil || !avoid(chosen.Name) {
		return nil
	}
	state := snap.State()
	for i := range state.Routes {
		if r := &state.Routes[i]; !r.Paused && !avoid(r.Name) && (r.Kind == mail.RouteMX || r.Kind == mail.RouteRelay) {
			return snap.Route(r.Name)
		}
	}
	return nil
}

func choose(snap *platform.Snapshot, f *Facts) (*platform.Route, error) {
	p := snap.Policy(f.Account)
	if p == nil {
		if r := snap.Route(DefaultRoute); r != nil {
			return r, nil
		}
		state := snap.State()
		if len(state.Routes) == 1 {
			return snap.Route(state.Routes[0].Name), nil
		}
		return nil, fmt.Errorf("route: %w: there is no policy for account %s and %d routes to choose from",
			ErrNoRoute, f.Account, len(state.Routes))
	}
	for i := range p.Rules {
		if !matches(&p.Rules[i], f) {
			continue
		}
		if r := snap.Route(p.Rules[i].Route); r != nil {
			return r, nil
		}
		return nil, fmt.Errorf("route: %w: %s, named by rule %d of policy %s", ErrUnknownRoute, p.Rules[i].Route, i+1, p.Name)
	}
	return nil, fmt.Errorf("route: %w: no rule of policy %s matches", ErrNoRoute, p.Name)
}

func matches(r *platform.PolicyRule, f *Facts) bool {
	switch {
	case r.Stream != "" && r.Stream != f.Stream:
		return false
	case len(r.SenderDomains) > 0 && !anyDomain(r.SenderDomains, f.SenderDomain):
		return false
	case len(r.RecipientDomains) > 0 && !anyDomain(r.RecipientDomains, f.RecipientDomain):
		return false
	case r.Verified != nil && *r.Verified != f.Verified:
		return false
	case len(r.Tags) > 0 && !slices.ContainsFunc(r.Tags, func(t string) bool { return slices.Contains(f.Tags, t) }):
		return false
	}
	return true
}

// anyDomain reports whether domain is one of the patterns: a domain, "*.domain" for its subdomains, or "*".
func anyDomain(patterns []string, domain string) bool {
	for _, p := range patterns {
		if p == "*" || strings.EqualFold(p, domain) {
			return true
		}
		if suffix, ok := strings.CutPrefix(p, "*"); ok && len(suffix) > 1 && suffix[0] == '.' &&
			len(domain) > len(suffix) && strings.EqualFold(domain[len(domain)-len(suffix):], suffix) {
			return true
		}
	}
	return false
}
