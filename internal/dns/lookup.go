package dns

import (
	"context"
	"errors"
	"net/netip"
	"time"
	"unsafe"

	mdns "github.com/miekg/dns"
)

// typeAddrs is the cache's key for A and AAAA together; it is from the private range (RFC 6895 §3.1), never sent.
const typeAddrs uint16 = 65280

// maxChain bounds the CNAME records one look-up follows. Name servers stop at 8 to 16.
const maxChain = 10

var (
	errChain     = errors.New("too many CNAME records, or a loop of them")
	errStopped   = errors.New("no free slot to ask")
	errReferral  = errors.New("the server only refers to others: it does not recurse")
	errDisagrees = errors.New("records of a name that is said not to exist")
	errNoRecord  = errors.New("no record of the answer can be read")
)

type key struct {
	name  string
	qtype uint16
}

// entry is one answer or error as the cache holds it. It is never changed.
type entry struct {
	answer  any // Answer[T] of the type asked for; nil if err is set
	err     error
	expires time.Time
	octets  int // of the records, roughly
}

func (e *entry) weight(k key) uint32 {
	const overhead = 320 // entry, key, cache node, error or answer header
	return uint32(min(overhead+2*len(k.name)+e.octets, 1<<20))
}

// flight is one look-up under way.
type flight struct {
	done  chan struct{}
	entry *entry // set before done is closed
}

// lookup answers from the cache, or joins or starts the flight for the name.
func lookup[T any](
	ctx context.Context, c *Client, name string, qtype uint16,
	fill func(context.Context, *Client, string) (Answer[T], error),
) (Answer[T], error) {
	c.lookups.Add(1)
	asked := name
	name, err := canonical(name)
	if err != nil {
		return Answer[T]{}, &Error{Kind: ErrMalformed, Name: asked, Type: typeName(qtype), Err: err}
	}
	k := key{name, qtype}
	e := c.cached(k)
	if e == nil {
		e, err = c.fly(ctx, k, func(ctx context.Context) *entry { return fillEntry(ctx, c, k, fill) })
		if err != nil {
			return Answer[T]{}, &Error{Kind: ErrTemporary, Name: name, Type: typeName(qtype), Err: err}
		}
	}
	if e.err != nil {
		return Answer[T]{}, e.err
	}
	return e.answer.(Answer[T]), nil
}

func (c *Client) cached(k key) *entry {
	if c.cache == nil {
		return nil
	}
	e, ok := c.cache.GetIfPresent(k)
	if !ok || !c.opts.Now().Before(e.expires) {
		return nil
	}
	c.hits.Add(1)
	return e
}

// fly waits for the flight of k, which it starts if there is none. The flight goes on when ctx ends.
func (c *Client) fly(ctx context.Context, k key, fill func(context.Context) *entry) (*entry, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, errClosed
	}
	f, ok := c.flights[k]
	if !ok {
		f = &flight{done: make(chan struct{})}
		c.flights[k] = f
		c.wg.Go(func() {
			ctx, cancel := context.WithTimeout(c.ctx, c.opts.Total)
			defer cancel()
			f.entry = fill(ctx)
			// The cache before the flight's end: whoever comes between finds one of them.
			if c.cache != nil && c.ctx.Err() == nil {
				c.cache.Set(k, f.entry)
			}
			c.mu.Lock()
			delete(c.flights, k)
			c.mu.Unlock()
			close(f.done)
		})
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.entry, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// fillEntry runs fill and decides how long its result is kept.
func fillEntry[T any](
	ctx context.Context, c *Client, k key, fill func(context.Context, *Client, string) (Answer[T], error),
) *entry {
	a, err := fill(ctx, c, k.name)
	if err == nil {
		e := &entry{answer: a, expires: a.Expires}
		for i := range a.Records {
			e.octets += recordOctets(&a.Records[i])
		}
		return e
	}
	var de *Error
	if !errors.As(err, &de) {
		de = &Error{Kind: ErrTemporary, Name: k.name, Type: typeName(k.qtype), Err: err}
	}
	if !Final(de) {
		c.failures.Add(1)
		de.Expires = c.opts.Now().Add(c.opts.FailureTTL)
	}
	return &entry{err: de, expires: de.Expires}
}

func recordOctets(r any) int {
	switch r := r.(type) {
	case *MX:
		return int(unsafe.Sizeof(*r)) + len(r.Host)
	case *string:
		return int(unsafe.Sizeof(*r)) + len(*r)
	case *TLSA:
		return int(unsafe.Sizeof(*r)) + len(r.Data)
	case *netip.Addr:
		return int(unsafe.Sizeof(*r))
	}
	return 0
}

// fetch asks the servers for one type and reads the records. A chain of CNAME records that a server leaves unfinished
// is followed with further questions.
func fetch[T any](
	ctx context.Context, c *Client, name string, qtype uint16, read func(mdns.RR) (T, bool),
) (Answer[T], error) {
	fail := &Error{Name: name, Type: typeName(qtype), Canonical: name}
	out := Answer[T]{Canonical: name, Authentic: true}
	ttl := maxTTL
	for hops := 0; ; {
		m, s, err := c.exchange(ctx, out.Canonical, qtype)
		if s != nil {
			fail.Server = s.addr
		}
		if err != nil {
			fail.Kind, fail.Err = ErrTemporary, err
			if errors.Is(err, errGarbled) {
				fail.Kind = ErrMalformed
			}
			return Answer[T]{}, fail
		}
		r := readAnswer(m, out.Canonical, qtype)
		out.Canonical, fail.Canonical = r.canonical, r.canonical
		out.Authentic = out.Authentic && s.trusted && m.AuthenticatedData
		fail.Authentic = out.Authentic
		ttl = min(ttl, r.ttl)
		switch hops += r.hops; {
		case r.kind != nil:
			fail.Kind, fail.Err = r.kind, r.err
			fail.Expires = c.expires(ttl, c.opts.MaxNegativeTTL)
			return Answer[T]{}, fail
		case hops > maxChain:
			fail.Kind, fail.Err = ErrMalformed, errChain
			return Answer[T]{}, fail
		case len(r.records) == 0:
			continue // the chain goes on elsewhere
		}
		for _, rr := range r.records {
			if v, ok := read(rr); ok {
				out.Records = append(out.Records, v)
			}
		}
		if len(out.Records) == 0 {
			fail.Kind, fail.Err = ErrMalformed, errNoRecord
			return Answer[T]{}, fail
		}
		out.Expires = c.expires(ttl, c.opts.MaxTTL)
		return out, nil
	}
}

func (c *Client) expires(ttl, most time.Duration) time.Time {
	return c.opts.Now().Add(max(min(ttl, most), c.opts.MinTTL))
}

// fetchAddrs asks for both families side by side.
func fetchAddrs(ctx context.Context, c *Client, name string) (Answer[netip.Addr], error) {
	var a6 Answer[netip.Addr]
	var err6 error
	done := make(chan struct{})
	c.wg.Go(func() {
		defer close(done)
		a6, err6 = fetch(ctx, c, name, mdns.TypeAAAA, readAAAA)
	})
	a4, err4 := fetch(ctx, c, name, mdns.TypeA, readA)
	<-done
	return joinFamilies(c.opts.Now().Add(c.opts.FailureTTL), a4, err4, a6, err6)
}

// joinFamilies makes one answer of two. A family that cannot be had now makes the answer short-lived (until retry) and
// not authentic; with no address at all it makes it temporary. An address in one family outweighs the other's "no such
// name": some servers say that of a type they do not know.
func joinFamilies(
	retry time.Time, a4 Answer[netip.Addr], err4 error, a6 Answer[netip.Addr], err6 error,
) (Answer[netip.Addr], error) {
	switch {
	case err4 == nil && err6 == nil:
		a4.Records = append(a4.Records[:len(a4.Records):len(a4.Records)], a6.Records...)
		a4.Authentic = a4.Authentic && a6.Authentic
		a4.Expires = earlier(a4.Expires, a6.Expires)
		return a4, nil
	case err4 == nil:
		return oneFamily(retry, a4, err6), nil
	case err6 == nil:
		return oneFamily(retry, a6, err4), nil
	case !Final(err4):
		return a4, err4
	case !Final(err6):
		return a6, err6
	case errors.Is(err4, ErrNotExist) && errors.Is(err6, ErrNoData):
		return a6, err6
	}
	return a4, err4
}

func oneFamily(retry time.Time, a Answer[netip.Addr], other error) Answer[netip.Addr] {
	var e *Error
	if !errors.As(other, &e) {
		return a
	}
	a.Authentic = a.Authentic && e.Authentic
	if !Final(e) {
		a.Expires = earlier(a.Expires, retry)
	} else {
		a.Expires = earlier(a.Expires, e.Expires)
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func typeName(qtype uint16) string {
	if qtype == typeAddrs {
		return "address"
	}
	return mdns.TypeToString[qtype]
}
