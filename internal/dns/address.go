package dns

import "net/netip"

// reserved are ranges no public host of the Internet can have, beside those netip knows by name.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),      // RFC 791: this network
	netip.MustParsePrefix("100.64.0.0/10"),  // RFC 6598: carriers' shared space
	netip.MustParsePrefix("192.0.0.0/24"),   // RFC 6890: protocol assignments
	netip.MustParsePrefix("198.18.0.0/15"),  // RFC 2544: benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),    // RFC 1112: reserved, and broadcast
	netip.MustParsePrefix("100::/64"),       // RFC 6666: discard
	netip.MustParsePrefix("fec0::/10"),      // RFC 3879: site-local
	netip.MustParsePrefix("64:ff9b:1::/48"), // RFC 8215: translation inside a site
	netip.MustParsePrefix("2001::/32"),      // RFC 4380: Teredo, an IPv4 host behind a relay
}

// translated are prefixes whose addresses carry an IPv4 address in their last 32 bits.
var translated = []netip.Prefix{
	netip.MustParsePrefix("64:ff9b::/96"), // RFC 6052
	netip.MustParsePrefix("::/96"),        // RFC 4291 §2.5.5.1
}

// NotPublic says why addr is no address of the public Internet, or "". What DNS says is written by strangers: whoever
// connects to where they point asks here first, or a record of theirs could lead our client to services inside the
// operator's network. An IPv4 address inside an IPv6 one is looked at too.
func NotPublic(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid():
		return "no address"
	case addr.IsUnspecified():
		return "the unspecified address"
	case addr.IsLoopback():
		return "a loopback address"
	case addr.IsPrivate():
		return "a private address"
	case addr.IsLinkLocalUnicast():
		return "a link-local address"
	case addr.IsMulticast():
		return "a multicast address"
	}
	for _, p := range reserved {
		if p.Contains(addr) {
			return "a reserved address"
		}
	}
	for _, p := range translated {
		if p.Contains(addr) {
			b := addr.As16()
			return NotPublic(netip.AddrFrom4([4]byte(b[12:])))
		}
	}
	if b := addr.As16(); addr.Is6() && b[0] == 0x20 && b[1] == 0x02 { // 6to4, RFC 3056
		return NotPublic(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return ""
}
