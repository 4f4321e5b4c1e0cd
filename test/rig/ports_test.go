package rig

import (
	"net"
	"strconv"
	"testing"
)

// TestFreeAddr: no port is given twice, and none that an outgoing connection may take.
func TestFreeAddr(t *testing.T) {
	seen := map[string]bool{}
	for range 2000 {
		a, err := FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		if seen[a] {
			t.Fatalf("%s twice", a)
		}
		seen[a] = true
		_, port, err := net.SplitHostPort(a)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < firstPort || n >= lastPort {
			t.Fatalf("%s (%v, %v)", a, err, perr)
		}
	}
}
