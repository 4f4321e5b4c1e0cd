package mx

import (
	"errors"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// The final errors: the domain takes no mail, as far as DNS says.
var (
	// ErrNullMX: the domain says that it takes no mail (RFC 7505).
	ErrNullMX = errors.New("the domain accepts no mail (null MX)")
	// ErrNoSuchDomain: there is no such domain (NXDOMAIN).
	ErrNoSuchDomain = errors.New("there is no such domain")
	// ErrNoMailHost: the domain exists, but names no host that could take mail.
	ErrNoMailHost = errors.New("the domain has no mail host")
)

// Two temporary errors that callers may want to tell apart.
var (
	// ErrLoop: the best host of the domain is ourselves. It is temporary, because our own set-up may be what is wrong.
	ErrLoop = errors.New("mail for the domain loops back to us")
	// ErrPolicy: the domain's TLS policy allows none of its hosts, or could not be found out.
	ErrPolicy = errors.New("the TLS policy of the domain does not allow its mail hosts")
)

// Final reports whether err says that the domain will not take mail, now or later.
func Final(err error) bool {
	return errors.Is(err, ErrNullMX) || errors.Is(err, ErrNoSuchDomain) || errors.Is(err, ErrNoMailHost)
}

// Host is one mail host of a plan.
type Host struct {
	Name string // A-labels, lower case; an address literal with its brackets
	Pref uint16
}

// Plan says where a domain takes mail. Hosts may be shared and must not be changed.
type Plan struct {
	Domain string
	// Hosts are in the order to try them: by preference, shuffled anew within one preference for each plan handed out
	// (RFC 5321 §5.1).
	Hosts []Host
	// Site names the set of hosts: the hosts joined, or for a long list its end and a hash. Equal texts mean equal
	// sets. A policy that binds is part of it.
	Site string
	// Receiver is the name of the receiver all hosts belong to; "" if none is recognised.
	Receiver string
	// Implicit: the domain has no MX record and is its own mail host.
	Implicit bool
	Policy   TLSPolicy
	// Expires is when the plan must be made anew.
	Expires time.Time
}

// Target returns the plan's receiver and site.
func (p Plan) Target() mail.Target { return mail.Target{Receiver: p.Receiver, Site: p.Site} }

// PolicyMode says how far a TLS policy binds.
type PolicyMode string

// The policy modes. The zero value is PolicyNone.
const (
	PolicyNone PolicyMode = ""
	// PolicyTesting: failures are reported, but bind nobody (RFC 8461 §5).
	PolicyTesting PolicyMode = "testing"
	// PolicyEnforce: TLS with a certificate as the policy wants it, or no delivery.
	PolicyEnforce PolicyMode = "enforce"
)

// TLSPolicy is what a recipient domain demands of a connection that carries its mail.
type TLSPolicy struct {
	Mode PolicyMode
	// Kind is where it comes from: "mta-sts", "dane", or "" for none.
	Kind string
	// Hosts are the patterns an MX host must match, "*.example.com" or a whole name (RFC 8461 §4.1); empty: any host.
	Hosts []string
	// Expires is when it must be asked for again; zero: it does not shorten the plan's life.
	Expires time.Time
}

// allows reports whether the policy lets mail go to host. Only one that binds can refuse.
func (p TLSPolicy) allows(host string) bool {
	if p.Mode != PolicyEnforce || len(p.Hosts) == 0 {
		return true
	}
	for _, pattern := range p.Hosts {
		if matchHost(pattern, host) {
			return true
		}
	}
	return false
}
