package platform

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
)

// Snapshot is a State indexed for the hot path. It is immutable; all methods may be called at once from anywhere.
type Snapshot struct {
	state State
	// Hostname is the platform's own host name: greeting, Received, EHLO of sources without one.
	Hostname string

	accounts    map[string]*Account
	sources     map[string]*Source
	pools       map[string]*Pool
	routes      map[string]*Route
	policies    map[string]*Policy
	byUsername  map[string]Principal
	byHash      map[string]Principal
	networks    []Principal
	senderOwner map[string]SenderRef
}

// Principal is an account's credential: who is speaking.
type Principal struct {
	Account    *Account
	Credential *Credential
}

// SenderRef is a sender and the account that owns it. A sender name belongs to one account only, but "*".
type SenderRef struct {
	Account *Account
	Sender  *Sender
}

// NewSnapshot indexes state, which must have been validated and must not be changed afterwards.
func NewSnapshot(state State, hostname string) *Snapshot {
	s := &Snapshot{
		state: state, Hostname: hostname,
		accounts: index(state.Accounts, func(a *Account) string { return a.Name }),
		sources:  index(state.Sources, func(x *Source) string { return x.Name }),
		pools:    index(state.Pools, func(p *Pool) string { return p.Name }),
		routes:   index(state.Routes, func(r *Route) string { return r.Name }),
		policies: index(state.Policies, func(p *Policy) string { return p.Name }),

		byUsername:  map[string]Principal{},
		byHash:      map[string]Principal{},
		senderOwner: map[string]SenderRef{},
	}
	for i := range state.Accounts {
		a := &state.Accounts[i]
		for j := range a.Credentials {
			c := &a.Credentials[j]
			p := Principal{Account: a, Credential: c}
			switch c.Kind {
			case CredentialSMTP:
				s.byUsername[c.Login(a)] = p
			case CredentialAPI:
				s.byHash[c.Hash] = p
			case CredentialNetwork:
				s.networks = append(s.networks, p)
			}
		}
		for j := range a.Senders {
			if n := a.Senders[j].Name; n != "*" {
				s.senderOwner[n] = SenderRef{Account: a, Sender: &a.Senders[j]}
			}
		}
	}
	return s
}

func index[T any](list []T, name func(*T) string) map[string]*T {
	m := make(map[string]*T, len(list))
	for i := range list {
		m[name(&list[i])] = &list[i]
	}
	return m
}

// Login returns the credential's SMTP login name.
func (c *Credential) Login(a *Account) string {
	if c.Username != "" {
		return c.Username
	}
	return a.Name + "/" + c.Name
}

// State returns the state the snapshot was made of; it must not be changed.
func (s *Snapshot) State() State { return s.state }

// Account returns the account of that name, or nil.
func (s *Snapshot) Account(name string) *Account { return s.accounts[name] }

// Source returns the source of that name, or nil.
func (s *Snapshot) Source(name string) *Source { return s.sources[name] }

// Pool returns the pool of that name, or nil.
func (s *Snapshot) Pool(name string) *Pool { return s.pools[name] }

// Route returns the route of that name, or nil.
func (s *Snapshot) Route(name string) *Route { return s.routes[name] }

// Policy returns the account's own policy, else the one named "default", else nil.
func (s *Snapshot) Policy(account string) *Policy {
	if p := s.policies[account]; p != nil {
		return p
	}
	return s.policies["default"]
}

// Holds returns the standing holds.
func (s *Snapshot) Holds() []Hold { return s.state.Holds }

// LegalHolds returns the legal holds that stand.
func (s *Snapshot) LegalHolds() []LegalHold { return s.state.LegalHolds }

// Login returns the smtp credential with that login name.
func (s *Snapshot) Login(username string) (Principal, bool) {
	p, ok := s.byUsername[username]
	return p, ok
}

// Key returns the api credential with that stored hash.
func (s *Snapshot) Key(hash string) (Principal, bool) {
	p, ok := s.byHash[hash]
	return p, ok
}

// Network returns the network credential whose networks hold ip; the longest prefix wins.
func (s *Snapshot) Network(ip netip.Addr) (best Principal, ok bool) {
	bits := -1
	ip = ip.Unmap()
	for _, p := range s.networks {
		for _, n := range p.Credential.Networks {
			if n.Contains(ip) && n.Bits() > bits {
				best, bits, ok = p, n.Bits(), true
			}
		}
	}
	return best, ok
}

// SenderOwner returns who owns the address: the account with the address itself, else with its domain, else with a
// parent domain of it.
func (s *Snapshot) SenderOwner(a mail.Address) (SenderRef, bool) {
	if r, ok := s.senderOwner[strings.ToLower(a.Local)+"@"+a.Domain]; ok {
		return r, true
	}
	for d := a.Domain; d != ""; {
		if r, ok := s.senderOwner[d]; ok {
			return r, true
		}
		_, rest, found := strings.Cut(d, ".")
		if !found {
			break
		}
		d = rest
	}
	return SenderRef{}, false
}

// AnySender reports whether the account may write From anything.
func (a *Account) AnySender() bool {
	return slices.ContainsFunc(a.Senders, func(s Sender) bool { return s.Name == "*" })
}

// Allows reports whether the credential may do what scope says. A credential without scopes may send and read.
func (c *Credential) Allows(scope Scope) bool {
	if len(c.Scopes) == 0 {
		return scope == ScopeSend || scope == ScopeRead
	}
	return slices.Contains(c.Scopes, scope)
}

// AllowsFrom reports whether the credential may be used from ip.
func (c *Credential) AllowsFrom(ip netip.Addr) bool {
	if len(c.Networks) == 0 {
		return true
	}
	ip = ip.Unmap()
	return slices.ContainsFunc(c.Networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}
