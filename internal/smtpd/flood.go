package smtpd

import (
	"net/netip"
	"sync"
	"time"
)

// What comes back is kept for weeks, and anybody may send it. Each sender's share of an hour is bounded; over it the answer is
// for the moment, so that who is honest comes again.
const (
	// maxPerToken is how many mails an hour come to one return path: a list behind the recipient may answer for all its
	// members.
	maxPerToken = 1000
	// maxPerNetwork is how much an hour comes from one network to the addresses that everybody knows, in octets: the
	// complaints of a large provider about a large sender.
	maxPerNetwork = 1 << 30
	// maxFloodKeys bounds what is counted, in return paths and networks; over it counting begins anew.
	maxFloodKeys = 100_000
	// A client is counted with its network, for it has all of it.
	floodBits4, floodBits6 = 24, 48
)

// flood counts what came in this hour of the clock. It is safe for concurrent use.
type flood struct {
	mu       sync.Mutex
	hour     int64
	tokens   map[string]int
	networks map[netip.Prefix]int64
}

// over reports whether the share of an address or network is used up. An empty token stands for the addresses that everybody
// knows.
func (f *flood) over(now time.Time, token string, client netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn(now)
	if token != "" {
		return f.tokens[token] >= maxPerToken
	}
	return f.networks[network(client)] >= maxPerNetwork
}

// add counts one mail of size octets.
func (f *flood) add(now time.Time, token string, client netip.Addr, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn(now)
	if token != "" {
		f.tokens[token]++
	} else {
		f.networks[network(client)] += size
	}
}

// turn begins a new hour.
func (f *flood) turn(now time.Time) {
	if hour := now.Unix() / 3600; f.tokens == nil || hour != f.hour || len(f.tokens)+len(f.networks) > maxFloodKeys {
		f.hour, f.tokens, f.networks = hour, map[string]int{}, map[netip.Prefix]int64{}
	}
}

func network(client netip.Addr) netip.Prefix {
	client = client.Unmap()
	bits := floodBits6
	if client.Is4() {
		bits = floodBits4
	}
	p, err := client.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{} // of a client without an address
	}
	return p
}
