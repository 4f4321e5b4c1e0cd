package manage

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// Problem is one thing that is wrong in a declared state.
type Problem struct {
	Where string `json:"where"` // such as accounts[shop].credentials[web].networks
	What  string `json:"what"`
}

// Invalid is the error of a state that cannot be stored; it lists all that is wrong.
type Invalid struct{ Problems []Problem }

// Error implements error.
func (e *Invalid) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Where + ": " + p.What
	}
	return "manage: the state is not valid: " + strings.Join(lines, "; ")
}

// namePattern is what entries may be called: names stand in paths, lane keys and logs.
var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// selectorPattern is a DKIM selector of one or more labels (RFC 6376 §3.1).
var selectorPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

type validator struct{ problems []Problem }

func (v *validator) bad(where, format string, args ...any) {
	v.problems = append(v.problems, Problem{where, fmt.Sprintf(format, args...)})
}

func (v *validator) name(where, name string) {
	if !namePattern.MatchString(name) {
		v.bad(where, "name %q: want 1 to 63 lower-case letters, digits, dots, hyphens, underscores, beginning with a letter or digit", name)
	}
}

// Validate checks a whole state. It returns nil or an *Invalid with every problem.
func Validate(s platform.State) error {
	v := &validator{}
	accounts, sources, pools, routes := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	unique := func(kind string, seen map[string]bool, name string) {
		where := fmt.Sprintf("%s[%s]", kind, name)
		v.name(where, name)
		if seen[name] {
			v.bad(where, "the name is there twice")
		}
		seen[name] = true
	}
	for _, a := range s.Accounts {
		unique("accounts", accounts, a.Name)
	}
	for _, x := range s.Sources {
		unique("sources", sources, x.Name)
		v.source(x)
	}
	for _, p := range s.Pools {
		unique("pools", pools, p.Name)
		where := "pools[" + p.Name + "]"
		if len(p.Sources) == 0 {
			v.bad(where+".sources", "a pool needs at least one source")
		}
		v.references(where+".sources", "source", sources, p.Sources)
		v.references(where+".accounts", "account", accounts, p.Accounts)
	}
	for _, r := range s.Routes {
		unique("routes", routes, r.Name)
		v.route(r, pools)
	}
	v.accounts(s.Accounts)
	policies := map[string]bool{}
	for _, p := range s.Policies {
		unique("policies", policies, p.Name)
		v.policy(p, accounts, routes)
	}
	holds := map[string]bool{}
	for _, h := range s.Holds {
		unique("holds", holds, h.Name)
		v.hold(h)
	}
	legal := map[string]bool{}
	for _, h := range s.LegalHolds {
		unique("legal_holds", legal, h.Name)
		v.legalHold(h)
	}
	if len(v.problems) > 0 {
		return &Invalid{v.problems}
	}
	return nil
}

func (v *validator) references(where, kind string, known map[string]bool, names []string) {
	for _, n := range names {
		if !known[n] {
			v.bad(where, "there is no %s %q", kind, n)
		}
	}
}

func (v *validator) accounts(list []platform.Account) {
	logins, owners, hashes := map[string]string{}, map[string]string{}, map[string]string{}
	for i := range list {
		a := &list[i]
		where := "accounts[" + a.Name + "]"
		if !slices.Contains([]platform.AccountState{"", platform.AccountActive, platform.AccountThrottled, platform.AccountPaused}, a.State) {
			v.bad(where+".state", "%q is none of active, throttled, paused", a.State)
		}
		if a.Contact != "" {
			if _, err := mail.ParseAddress(a.Contact); err != nil {
				v.bad(where+".contact", "%q: %v", a.Contact, err)
			}
		}
		if a.MessagesPerHour < 0 || a.RecipientsPerDay < 0 || a.MaxConnections < 0 || a.Weight < 0 {
			v.bad(where, "limits and weight cannot be negative")
		}
		v.digest(where, a)
		v.archive(where+".archive", a.Archive)
		senders := map[string]bool{}
		for j := range a.Senders {
			v.sender(where, &a.Senders[j], a.Name, senders, owners)
		}
		names := map[string]bool{}
		for j := range a.Credentials {
			c := &a.Credentials[j]
			cw := where + ".credentials[" + c.Name + "]"
			v.name(cw, c.Name)
			if names[c.Name] {
				v.bad(cw, "the name is there twice")
			}
			names[c.Name] = true
			v.credential(cw, a, c, logins, hashes)
		}
		v.mailboxes(where, a)
		v.notices(where, a)
		v.webhooks(where, a.Webhooks)
	}
}

// digest checks that a report by mail has somebody to go to.
func (v *validator) digest(where string, a *platform.Account) {
	switch a.Digest {
	case "", platform.DigestOff:
	case platform.DigestDaily, platform.DigestWeekly, platform.DigestMonthly:
		if a.Contact == "" {
			v.bad(where+".digest", "there is nobody to send it to: set contact to a mail address")
		}
	default:
		v.bad(where+".digest", "%q is none of off, daily, weekly, monthly", a.Digest)
	}
}

func (v *validator) sender(where string, s *platform.Sender, account string, seen map[string]bool, owners map[string]string) {
	sw := where + ".senders[" + s.Name + "]"
	if seen[s.Name] {
		v.bad(sw, "the sender is there twice")
	}
	seen[s.Name] = true
	if s.Name == "*" {
		if len(s.Keys) > 0 {
			v.bad(sw+".keys", "a sender that stands for any name has no domain to sign for")
		}
		return
	}
	// A name belongs to one account: otherwise two customers could write as each other.
	if other, taken := owners[s.Name]; taken && other != account {
		v.bad(sw, "account %s has this sender already", other)
	}
	owners[s.Name] = account
	if strings.Contains(s.Name, "@") {
		a, err := mail.ParseAddress(s.Name)
		switch {
		case err != nil:
			v.bad(sw, "%v", err)
		case strings.ToLower(a.Local)+"@"+a.Domain != s.Name:
			v.bad(sw, "write it in lower case and A-labels: %s@%s", strings.ToLower(a.Local), a.Domain)
		}
	} else if d, err := mail.ParseDomain(s.Name); err != nil {
		v.bad(sw, "%v", err)
	} else if d != s.Name {
		v.bad(sw, "write it in lower case and A-labels: %s", d)
	}
	selectors := map[string]bool{}
	for _, k := range s.Keys {
		kw := sw + ".keys[" + k.Selector + "]"
		if !selectorPattern.MatchString(k.Selector) || len(k.Selector) > 63 {
			v.bad(kw, "%q is not a DKIM selector", k.Selector)
		}
		if selectors[k.Selector] {
			v.bad(kw, "the selector is there twice")
		}
		selectors[k.Selector] = true
		if k.Algorithm != "rsa-2048" && k.Algorithm != "ed25519" {
			v.bad(kw+".algorithm", "%q is none of rsa-2048, ed25519", k.Algorithm)
		}
	}
}

func (v *validator) credential(where string, a *platform.Account, c *platform.Credential, logins, hashes map[string]string) {
	switch c.Kind {
	case platform.CredentialSMTP:
		login := c.Login(a)
		if len(login) > 255 || strings.ContainsFunc(login, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			v.bad(where+".username", "a login name has at most 255 octets and no control characters")
		}
		if other, taken := logins[login]; taken {
			v.bad(where+".username", "the login name %q is used by %s", login, other)
		}
		logins[login] = where
	case platform.CredentialAPI:
		if c.Hash != "" {
			if other, taken := hashes[c.Hash]; taken {
				v.bad(where+".secret", "the key is used by %s", other)
			}
			hashes[c.Hash] = where
		}
	case platform.CredentialNetwork:
		if len(c.Networks) == 0 {
			v.bad(where+".networks", "a network credential needs the networks it is for")
		}
		for _, n := range c.Networks {
			if n.Bits() == 0 {
				v.bad(where+".networks", "%s would let the whole world send without a login", n)
			}
		}
	default:
		v.bad(where+".kind", "%q is none of smtp, api, network", c.Kind)
	}
	for _, n := range c.Networks {
		if n != n.Masked() {
			v.bad(where+".networks", "%s has bits set beyond the prefix; write %s", n, n.Masked())
		}
	}
	for _, sc := range c.Scopes {
		if sc != platform.ScopeSend && sc != platform.ScopeRead && sc != platform.ScopeContent && sc != platform.ScopeAdmin {
			v.bad(where+".scopes", "%q is none of send, read, content, admin", sc)
		}
		if sc == platform.ScopeAdmin && c.Kind != platform.CredentialAPI {
			v.bad(where+".scopes", "admin is for api credentials only")
		}
	}
	if c.Stream != "" && !c.Stream.Valid() {
		v.bad(where+".stream", "%q is none of transactional, bulk", c.Stream)
	}
	if c.Newlines != "" && c.Newlines != platform.NewlinesReject && c.Newlines != platform.NewlinesNormalise {
		v.bad(where+".newlines", "%q is none of reject, normalise", c.Newlines)
	}
	if c.Secret != "" && len(c.Secret) < 12 {
		v.bad(where+".secret", "a secret has at least 12 characters; leave it out and a good one is made")
	}
}

func (v *validator) source(s platform.Source) {
	where := "sources[" + s.Name + "]"
	if s.IP.IsValid() && !s.IP.Is4() {
		v.bad(where+".ip", "%s is not an IPv4 address; an IPv6 address goes into ipv6", s.IP)
	}
	if s.IPv6.IsValid() && !s.IPv6.Is6() {
		v.bad(where+".ipv6", "%s is not an IPv6 address", s.IPv6)
	}
	if s.EHLO != "" {
		if _, err := mail.ParseDomain(s.EHLO); err != nil {
			v.bad(where+".ehlo", "%q: %v", s.EHLO, err)
		}
	}
	if s.Weight < 0 {
		v.bad(where+".weight", "cannot be negative")
	}
	if s.State != "" && s.State != "active" && s.State != "resting" {
		v.bad(where+".state", "%q is none of active, resting", s.State)
	}
}

func (v *validator) route(r platform.Route, pools map[string]bool) {
	where := "routes[" + r.Name + "]"
	if r.Pool != "" && !pools[r.Pool] {
		v.bad(where+".pool", "there is no pool %q", r.Pool)
	}
	modes := []platform.TLSMode{"", platform.TLSOpportunistic, platform.TLSRequired, platform.TLSVerify, platform.TLSNone}
	switch r.Kind {
	case mail.RouteMX:
		for field, set := range map[string]bool{"host": r.Host != "", "auth": r.Auth != "", "username": r.Username != "", "password": r.Password != ""} {
			if set {
				v.bad(where+"."+field, "an mx route has none; use kind = \"relay\" for a gateway")
			}
		}
	case mail.RouteRelay:
		modes = append(modes, platform.TLSImplicit)
		if r.Host == "" {
			v.bad(where+".host", "a relay needs a host")
		} else if _, err := mail.ParseDomain(r.Host); err != nil && !isIP(r.Host) {
			v.bad(where+".host", "%q is neither a host name nor an address", r.Host)
		}
		if !slices.Contains([]string{"", "plain", "login", "cram-md5"}, r.Auth) {
			v.bad(where+".auth", "%q is none of plain, login, cram-md5", r.Auth)
		}
		if r.Auth != "" && (r.Username == "" || (r.Password == "" && len(r.Sealed) == 0)) {
			v.bad(where+".auth", "username and password are needed with auth")
		}
		if r.Auth != "" && r.Auth != "cram-md5" && r.TLS == platform.TLSOpportunistic {
			v.bad(where+".tls", "a password would go out in clear when the relay offers no TLS; use verify, required or implicit")
		}
	default:
		v.bad(where+".kind", "%q is none of mx, relay", r.Kind)
	}
	if !slices.Contains(modes, r.TLS) {
		v.bad(where+".tls", "%q is not possible here; want one of %v", r.TLS, modes[1:])
	}
	if r.Port < 0 || r.Port > 65535 {
		v.bad(where+".port", "%d is not a port", r.Port)
	}
	switch r.ReturnPath {
	case "", platform.ReturnPathVERP, platform.ReturnPathSender:
		if r.ReturnAddress != "" {
			v.bad(where+".return_address", "only goes with return_path = \"fixed\"")
		}
	case platform.ReturnPathFixed:
		if _, err := mail.ParseAddress(r.ReturnAddress); err != nil {
			v.bad(where+".return_address", "return_path = \"fixed\" needs an address: %v", err)
		}
	default:
		v.bad(where+".return_path", "%q is none of verp, fixed, sender", r.ReturnPath)
	}
	if r.MaxConnections < 0 || r.MessagesPerConnection < 0 || r.MaxRecipients < 0 {
		v.bad(where, "limits cannot be negative")
	}
	if r.MaxRecipients > 100 {
		v.bad(where+".max_recipients", "%d is more than the 100 every server must take", r.MaxRecipients) // RFC 5321 §4.5.3.1.8
	}
}

func (v *validator) policy(p platform.Policy, accounts, routes map[string]bool) {
	where := "policies[" + p.Name + "]"
	if p.Name != "default" && !accounts[p.Name] {
		v.bad(where, "a policy is named default or like an account; there is no account %q", p.Name)
	}
	if len(p.Rules) == 0 {
		v.bad(where+".rules", "a policy needs at least one rule")
	}
	for i, r := range p.Rules {
		rw := fmt.Sprintf("%s.rules[%d]", where, i)
		if !routes[r.Route] {
			v.bad(rw+".route", "there is no route %q", r.Route)
		}
		if r.Stream != "" && !r.Stream.Valid() {
			v.bad(rw+".stream", "%q is none of transactional, bulk", r.Stream)
		}
	}
}

func (v *validator) hold(h platform.Hold) {
	where := "holds[" + h.Name + "]"
	if h.Account == "" && h.Stream == "" && h.Domain == "" && h.Sender == "" && h.Credential == "" && h.Tag == "" &&
		h.Route == "" && h.Source == "" && h.Site == "" && h.Receiver == "" {
		v.bad(where, "a hold needs at least one condition")
	}
	if h.Reason == "" {
		v.bad(where+".reason", "say why; it is what the customer's staff will read")
	}
	if h.Stream != "" && !h.Stream.Valid() {
		v.bad(where+".stream", "%q is none of transactional, bulk", h.Stream)
	}
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
