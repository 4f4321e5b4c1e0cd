package config

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
)

// ReturnPath is where bounces, complaints and automatic replies come back to.
type ReturnPath struct {
	// Domain of the signed return paths; its MX must lead to the listener. "": the hostname.
	Domain string `toml:"domain"`
	// Listen is where the MX leads: port 25 of a public address, in the end. Empty: nothing is received.
	Listen []string `toml:"listen"`
	// Domains are further domains whose MX is the listener: their postmaster@, abuse@ and report addresses are taken
	// too, and return paths of a domain used before.
	Domains []string `toml:"domains"`
	// ReportAddresses are local parts at all these domains that take reports: of feedback loops, DMARC, TLS-RPT.
	ReportAddresses []string `toml:"report_addresses"`
	// ForwardTo is the operator's address: mail for postmaster@ and abuse@ is sent on there. "": it is kept only.
	ForwardTo string `toml:"forward_to"`
	// ProxyFrom are the proxies whose PROXY header is believed; from these it is required.
	ProxyFrom      []netip.Prefix `toml:"proxy_from"`
	MaxSize        Size           `toml:"max_size"`
	MaxConnections int            `toml:"max_connections"`
	MaxPerAddress  int            `toml:"max_connections_per_address"`
}

// defaultReturnPath listens on loopback, as everything does without a configuration.
func defaultReturnPath() ReturnPath {
	return ReturnPath{
		Listen: []string{"127.0.0.1:2025"}, ReportAddresses: []string{"fbl", "dmarc", "tlsrpt"},
		MaxSize: 50 << 20, MaxConnections: 500, MaxPerAddress: 50,
	}
}

// minReport is the least return_path.max_size, in octets: a bounce that returns a message has its octets and more.
const minReport = 1 << 20

func (r *ReturnPath) validate(bad func(key, format string, args ...any), hostname string) {
	own := []string{strings.ToLower(hostname), strings.ToLower(r.Domain)}
	if r.Domain != "" {
		if _, err := mail.ParseDomain(r.Domain); err != nil {
			bad("return_path.domain", "%q: %v", r.Domain, err)
		}
	}
	for _, d := range r.Domains {
		if _, err := mail.ParseDomain(d); err != nil {
			bad("return_path.domains", "%q: %v", d, err)
		}
		own = append(own, strings.ToLower(d))
	}
	for _, local := range r.ReportAddresses {
		a, err := mail.ParseAddress(local + "@example.com")
		switch {
		case err != nil || a.Local != local || !a.IsASCII():
			bad("return_path.report_addresses", "%q is not the part of an address before the @, such as fbl", local)
		case strings.EqualFold(local, "postmaster"), strings.EqualFold(local, "abuse"):
			bad("return_path.report_addresses", "%s@ is always taken, for the operator to read", local)
		}
	}
	if r.ForwardTo != "" {
		a, err := mail.ParseAddress(r.ForwardTo)
		switch {
		case err != nil:
			bad("return_path.forward_to", "%q: %v", r.ForwardTo, err)
		case slices.Contains(own, a.Domain):
			bad("return_path.forward_to", "%s is at a domain whose mail comes here: it would go round in circles", r.ForwardTo)
		}
	}
	atLeast(bad, "return_path.max_size", int64(r.MaxSize), minReport)
	atLeast(bad, "return_path.max_connections", int64(r.MaxConnections), 1)
	atLeast(bad, "return_path.max_connections_per_address", int64(r.MaxPerAddress), 1)
}
