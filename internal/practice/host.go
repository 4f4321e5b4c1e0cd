package practice

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// tlsKind says what STARTTLS is like at a host.
type tlsKind int

const (
	tlsGood   tlsKind = iota
	tlsNone           // not offered
	tlsBroken         // offered, and every handshake fails
	tlsOdd            // works, with an expired certificate of another name
)

// host is one receiver: an address, and what everyone meets there.
type host struct {
	name string
	addr netip.Addr
	// domains are those whose MX it is, besides its own name's address record.
	domains []string

	tls        tlsKind
	requireTLS bool  // 530 before STARTTLS
	plain      bool  // EHLO is unknown: no extension at all
	refuseAll  bool  // 554 at the greeting
	hangUp     bool  // closes instead of a greeting
	busyFirst  int64 // greets so many connections with 421
	maxSize    int64 // announced with SIZE
	silent     bool  // nobody listens: connections are refused
	load       bool

	missing  bool // this system does not have the address
	listener *net.TCPListener

	connections, open, maxOpen, overTLS, messages atomic.Int64
}

// HostCounters are the totals of one receiver.
type HostCounters struct {
	Name        string
	Addr        netip.AddrPort
	Connections int64 // since Start
	Open        int64 // now
	MaxOpen     int64 // at one time
	TLS         int64 // connections that went over to TLS
	Messages    int64 // transactions accepted
}

// defaultMaxSize is the SIZE limit of ordinary hosts, in octets.
const defaultMaxSize = 64 << 20

// smallSize is the limit of small.test.
const smallSize = 20_000

func loopback(last byte) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, last}) }

// allHosts returns the receivers. Those with an address of their own but 127.0.0.1 need a system that has all of
// 127.0.0.0/8, as Linux does.
func allHosts() []*host {
	hosts := []*host{
		{name: "mx1.mailbox.test", addr: loopback(1), domains: []string{"mailbox.test", "example.test"}},
		{name: "mx.firstdown.test", addr: loopback(2), refuseAll: true},
		{name: "mx.hangup.test", addr: loopback(3), domains: []string{"hangup.test"}, hangUp: true},
		{name: "mx.brokentls.test", addr: loopback(4), domains: []string{"brokentls.test"}, tls: tlsBroken},
		{name: "mx.oddcert.test", addr: loopback(5), domains: []string{"oddcert.test"}, tls: tlsOdd},
		{name: "mx.cleartext.test", addr: loopback(6), domains: []string{"cleartext.test"}, tls: tlsNone},
		{name: "mx.plain.test", addr: loopback(7), domains: []string{"plain.test"}, tls: tlsNone, plain: true},
		{name: "mx.small.test", addr: loopback(8), domains: []string{"small.test"}, maxSize: smallSize},
		{name: "mx.tlsonly.test", addr: loopback(9), domains: []string{"tlsonly.test"}, requireTLS: true},
		{name: "mx.crowded.test", addr: loopback(10), domains: []string{"crowded.test"}, busyFirst: 2},
		{name: "mx.refused.test", addr: loopback(11), domains: []string{"refused.test"}, silent: true},
	}
	for _, h := range hosts {
		setDefault(&h.maxSize, defaultMaxSize)
	}
	return hosts
}

func loadHost() *host {
	return &host{name: "mx.load.test", addr: loopback(1), load: true, maxSize: defaultMaxSize}
}

func (h *host) shut() {
	if h.listener != nil {
		h.listener.Close()
	}
}

func (h *host) counters(port int) HostCounters {
	return HostCounters{
		Name: h.name, Addr: netip.AddrPortFrom(h.addr, uint16(port)),
		Connections: h.connections.Load(), Open: h.open.Load(), MaxOpen: h.maxOpen.Load(),
		TLS: h.overTLS.Load(), Messages: h.messages.Load(),
	}
}

// enter counts a connection in and returns its number, from 1.
func (h *host) enter() int64 {
	open := h.open.Add(1)
	for {
		most := h.maxOpen.Load()
		if open <= most || h.maxOpen.CompareAndSwap(most, open) {
			return h.connections.Add(1)
		}
	}
}
