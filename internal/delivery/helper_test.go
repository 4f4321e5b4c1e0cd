package delivery

import "net/netip"

func parse(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}
