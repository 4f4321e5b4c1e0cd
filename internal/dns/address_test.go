package dns

import (
	"net/netip"
	"testing"
)

func TestNotPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "10.0.0.1": true, "172.16.0.1": true, "192.168.1.1": true, "169.254.169.254": true, "0.0.0.0": true,
		"0.1.2.3": true, "100.64.0.1": true, "224.0.0.1": true, "255.255.255.255": true, "240.0.0.1": true, "198.18.0.1": true,
		"2001:0:7f00:1::": true, "::1": true, "::": true, "fe80::1": true, "fc00::1": true, "fd12::1": true, "ff02::1": true, "fec0::1": true,
		"::ffff:127.0.0.1": true, "::ffff:10.0.0.1": true, "64:ff9b::7f00:1": true, "64:ff9b::a00:1": true, "::127.0.0.1": true,
		"2002:7f00:1::": true, "2002:a00:1::": true, "fe80::1%eth0": true,
		"192.0.2.1": false, "8.8.8.8": false, "2001:db8::1": false, "2a00:1450::1": false, "64:ff9b::808:808": false, "2002:808:808::1": false,
		"172.32.0.1": false, "100.128.0.1": false,
	} {
		if got := NotPublic(netip.MustParseAddr(addr)); (got != "") != want {
			t.Errorf("%s: %q", addr, got)
		}
	}
	if NotPublic(netip.Addr{}) == "" {
		t.Error("no address is allowed")
	}
}
