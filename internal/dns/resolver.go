package dns

import (
	"context"
	"net/netip"
	"time"
)

// Resolver looks names up. Every error wraps ErrNotExist, ErrNoData, ErrTemporary or ErrMalformed and is an *Error. A
// method follows CNAME records (but CNAME itself does not) and returns at least one record when its error is nil.
type Resolver interface {
	// MX returns the mail exchangers of name in the order of the answer. Hosts are as published: they may be names no
	// host can have, and a null MX (RFC 7505) has Host "".
	MX(ctx context.Context, name string) (Answer[MX], error)
	// Addrs returns the addresses of name: IPv4 first, then IPv6. Where one family is found and the other fails, the
	// found one is returned, not authentic, for a short time.
	Addrs(ctx context.Context, name string) (Answer[netip.Addr], error)
	// TXT returns the text records of name, the strings of each record joined (RFC 7208 §3.3), octets as published.
	TXT(ctx context.Context, name string) (Answer[string], error)
	// CNAME returns the one name that name is an alias of, or ErrNoData.
	CNAME(ctx context.Context, name string) (Answer[string], error)
	// TLSA returns the TLSA records of name, which includes port and protocol: _25._tcp.mx.example.com (RFC 6698 §3).
	TLSA(ctx context.Context, name string) (Answer[TLSA], error)
	// PTR returns the names addr points back to.
	PTR(ctx context.Context, addr netip.Addr) (Answer[string], error)
}

// Answer holds the records of one type at one name.
type Answer[T any] struct {
	// Records are shared with the cache: read-only.
	Records []T
	// Canonical is the name that holds the records: the name asked for, or where its CNAME records led.
	Canonical string
	// Expires is when the answer's time to live, clamped, is over.
	Expires time.Time
	// Authentic: validated by DNSSEC on the whole way, CNAME records included, by a name server we trust.
	Authentic bool
}

// MX is one mail exchanger.
type MX struct {
	Pref uint16
	Host string
}

// TLSA is one certificate association (RFC 6698 §2.1).
type TLSA struct {
	Usage    uint8
	Selector uint8
	Matching uint8
	Data     []byte
}
