package smtpserver

import (
	"net/netip"
	"sync"
)

// Caps counts connections, in all and per client address, and refuses those beyond its limits. IPv6 clients count
// per /64, because one client owns all of it.
type Caps struct {
	total, perAddress int

	mu     sync.Mutex
	open   int
	byAddr map[netip.Addr]int
}

// NewCaps returns caps of that many connections in all and per address; 0 means no limit.
func NewCaps(total, perAddress int) *Caps {
	return &Caps{total: total, perAddress: perAddress, byAddr: map[netip.Addr]int{}}
}

// Open returns the number of connections counted now.
func (c *Caps) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// enter counts a connection; leave must follow. It reports false when there are too many in all.
func (c *Caps) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total > 0 && c.open >= c.total {
		return false
	}
	c.open++
	return true
}

func (c *Caps) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
}

// enterAddr counts a connection for its address; leaveAddr must follow. It reports false when that has too many.
func (c *Caps) enterAddr(a netip.Addr) bool {
	a = capKey(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perAddress > 0 && c.byAddr[a] >= c.perAddress {
		return false
	}
	c.byAddr[a]++
	return true
}

func (c *Caps) leaveAddr(a netip.Addr) {
	a = capKey(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byAddr[a]--; c.byAddr[a] <= 0 {
		delete(c.byAddr, a)
	}
}

func capKey(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
