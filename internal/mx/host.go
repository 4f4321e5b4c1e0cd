package mx

import (
	"net/netip"
	"strings"

	"github.com/postroad/postroad/internal/mail"
)

// hostName returns a published MX host in canonical form; false if no host can have that name. An IP address written
// as a name is none, although DNS lets it pass.
func hostName(s string) (string, bool) {
	name, err := mail.ParseDomain(s)
	if err != nil || strings.HasPrefix(name, "[") || isAddress(name) {
		return "", false
	}
	return name, true
}

// isHostName reports whether s is a host name in canonical form.
func isHostName(s string) bool {
	name, ok := hostName(s)
	return ok && name == s
}

// isAddress reports whether a name is an IPv4 address, or looks like one in short form: no top-level domain is all
// digits (RFC 3696 §2).
func isAddress(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Trim(last, "0123456789") == ""
}

// literal reads an address literal as mail.ParseDomain writes it.
func literal(s string) (netip.Addr, bool) {
	text, ok := strings.CutPrefix(s, "[")
	if !ok {
		return netip.Addr{}, false
	}
	text, ok = strings.CutSuffix(text, "]")
	if !ok {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(strings.TrimPrefix(text, "IPv6:"))
	return ip, err == nil
}

// matchHost reports whether host fits an MX pattern of MTA-STS: a whole name, or "*." for exactly one label in front
// (RFC 8461 §4.1).
func matchHost(pattern, host string) bool {
	pattern = strings.ToLower(strings.TrimSuffix(pattern, "."))
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		_, parent, found := strings.Cut(host, ".")
		return found && parent == rest
	}
	return pattern == host
}
