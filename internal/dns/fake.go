package dns

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Fake is a Resolver that answers from a map: for tests. Names in it are lower case without a trailing dot. A name that
// is not in it, and has no name below it that is, does not exist. Its fields must not be changed while it is in use,
// except for SetName.
type Fake struct {
	Names   map[string]FakeName
	Reverse map[netip.Addr][]string // what PTR answers
	// TTL of every answer, positive or negative; 0: five minutes.
	TTL time.Duration
	// Authentic is set on every answer.
	Authentic bool
	// Now is the clock; nil: time.Now.
	Now func() time.Time

	queries atomic.Int64
	changed atomic.Pointer[map[string]FakeName]
}

// FakeName is what a Fake knows of one name.
type FakeName struct {
	MX    []MX
	Addrs []netip.Addr
	TXT   []string
	TLSA  []TLSA
	CNAME string
	// Fail is the kind of error for every type: ErrTemporary for SERVFAIL, ErrNotExist, …
	Fail error
	// FailType is the kind of error for one type: "MX", "ADDR", "TXT", "CNAME", "TLSA".
	FailType map[string]error
	// Hang makes every look-up wait until its context ends: a server that does not answer.
	Hang bool
	// Insecure names are not authentic, whatever Fake.Authentic says.
	Insecure bool
}

// Queries returns how many look-ups were made.
func (f *Fake) Queries() int64 { return f.queries.Load() }

// SetName changes what is known of a name; it may be called while the Fake is in use, by one goroutine at a time.
func (f *Fake) SetName(name string, n FakeName) {
	names := maps.Clone(f.names())
	if names == nil {
		names = make(map[string]FakeName)
	}
	names[name] = n
	f.changed.Store(&names)
}

// MX implements Resolver.
func (f *Fake) MX(ctx context.Context, name string) (Answer[MX], error) {
	return fakeLookup(ctx, f, name, "MX", func(n FakeName) []MX { return n.MX })
}

// Addrs implements Resolver.
func (f *Fake) Addrs(ctx context.Context, name string) (Answer[netip.Addr], error) {
	return fakeLookup(ctx, f, name, "ADDR", func(n FakeName) []netip.Addr { return n.Addrs })
}

// TXT implements Resolver.
func (f *Fake) TXT(ctx context.Context, name string) (Answer[string], error) {
	return fakeLookup(ctx, f, name, "TXT", func(n FakeName) []string { return n.TXT })
}

// CNAME implements Resolver.
func (f *Fake) CNAME(ctx context.Context, name string) (Answer[string], error) {
	return fakeLookup(ctx, f, name, "CNAME", func(n FakeName) []string {
		if n.CNAME == "" {
			return nil
		}
		return []string{n.CNAME}
	})
}

// TLSA implements Resolver.
func (f *Fake) TLSA(ctx context.Context, name string) (Answer[TLSA], error) {
	return fakeLookup(ctx, f, name, "TLSA", func(n FakeName) []TLSA { return n.TLSA })
}

// PTR implements Resolver.
func (f *Fake) PTR(_ context.Context, addr netip.Addr) (Answer[string], error) {
	f.queries.Add(1)
	if names := f.Reverse[addr.Unmap()]; len(names) > 0 {
		return Answer[string]{Records: names, Canonical: addr.String(), Expires: f.expires(), Authentic: f.Authentic}, nil
	}
	return Answer[string]{}, &Error{Kind: ErrNotExist, Name: addr.String(), Type: "PTR", Expires: f.expires()}
}

func (f *Fake) names() map[string]FakeName {
	if p := f.changed.Load(); p != nil {
		return *p
	}
	return f.Names
}

func (f *Fake) expires() time.Time {
	now, ttl := time.Now, f.TTL
	if f.Now != nil {
		now = f.Now
	}
	if ttl == 0 {
		ttl = 5 * time.Minute
	}
	return now().Add(ttl)
}

func fakeLookup[T any](ctx context.Context, f *Fake, asked, typ string, records func(FakeName) []T) (Answer[T], error) {
	f.queries.Add(1)
	fail := &Error{Name: asked, Type: typ, Authentic: f.Authentic, Expires: f.expires()}
	name, err := canonical(asked)
	if err != nil {
		fail.Kind, fail.Err = ErrMalformed, err
		return Answer[T]{}, fail
	}
	names := f.names()
	authentic := f.Authentic
	for range maxChain + 1 {
		fail.Canonical = name
		n, ok := names[name]
		authentic = authentic && !n.Insecure
		fail.Authentic = authentic
		switch {
		case n.Hang:
			<-ctx.Done()
			fail.Kind, fail.Err = ErrTemporary, ctx.Err()
		case n.Fail != nil:
			fail.Kind = n.Fail
		case n.FailType[typ] != nil:
			fail.Kind = n.FailType[typ]
		case n.CNAME != "" && typ != "CNAME":
			name = published(n.CNAME)
			continue
		default:
			if rs := records(n); len(rs) > 0 {
				return Answer[T]{Records: rs, Canonical: name, Expires: f.expires(), Authentic: authentic}, nil
			}
			fail.Kind = ErrNotExist
			below := func(other string) bool { return strings.HasSuffix(other, "."+name) }
			if ok || slices.ContainsFunc(slices.Collect(maps.Keys(names)), below) {
				fail.Kind = ErrNoData
			}
		}
		return Answer[T]{}, fail
	}
	fail.Kind, fail.Err = ErrMalformed, errChain
	return Answer[T]{}, fail
}
