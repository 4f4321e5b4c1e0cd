package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/mx"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/smtpclient"
)

// MX finds where domains take mail; mx.Resolver is one.
type MX interface {
	Plan(ctx context.Context, domain string) (mx.Plan, error)
	Addrs(ctx context.Context, host string) ([]netip.Addr, error)
}

// SignInput is what there is to sign.
type SignInput struct {
	Message *mail.Message
	// Delivery is the one this signature is for; nil where several deliveries of the message share it.
	Delivery *mail.Delivery
	// Header are the header fields as they go out, without the empty line.
	Header []byte
	// BodyHash is the hash of the body (mail.Content.BodyHash); zero where it must be computed from Content.
	BodyHash [32]byte
	// Content is the whole content as it goes out, its body from BodyOffset on.
	Content    mail.Body
	BodyOffset int64
	// own are fields this delivery alone has, before those of Content.
	own []byte
}

// Options configure a Delivery. Snapshot, MX, Classify and Hostname are required.
type Options struct {
	Snapshot func() *platform.Snapshot
	MX       MX
	// Classify says what a refusal means; bounce.Ruleset.Reply is one.
	Classify func(bounce.Input) bounce.Verdict
	// Sign returns the fields to go before the content, each ending with CRLF: DKIM-Signatures, and what they cover
	// besides the content's own. nil: nothing is signed. It is called once for a message with many recipients.
	Sign func(ctx context.Context, in SignInput) ([]byte, error)
	// ReturnPath makes the envelope sender of routes with return path verp; nil: the submitted sender goes out.
	ReturnPath func(d *mail.Delivery) mail.Address
	// Token is the signed name our header field X-Postroad-Token carries: of the delivery, or of the message where the
	// transaction has several recipients and d is nil. All names have the same length. nil: there is no such field.
	Token func(m *mail.Message, d *mail.Delivery) string
	// To7Bit makes a copy of a content for a peer without 8BITMIME. Any error means that it cannot be converted.
	// nil: nothing can.
	To7Bit func(content []byte) ([]byte, error)
	// Password opens a route's sealed password; required for routes with a user name.
	Password func(r *platform.Route) (string, error)
	// CheckTLS decides whether a connection to host satisfies a TLS policy of a kind other than mta-sts; nil: none
	// does, and the mail waits.
	CheckTLS func(policy mx.TLSPolicy, host string, state tls.ConnectionState) error
	// Roots are the certificate authorities to verify peers with; nil: the system's.
	Roots *x509.CertPool

	Hostname string // for EHLO, where the source has no name of its own
	Port     int    // of MX hosts; 0: 25
	// AllowPrivate lets every route connect to loopback, private and own addresses: for tests and the demo.
	AllowPrivate bool
	OwnAddrs     []netip.Addr

	// Dial is the seam to the network; nil: TCP.
	Dial smtpclient.Dial
	// StopGrace is how long, once the session's context is done, the reply to a content's end is still awaited. 0:
	// 30 s.
	StopGrace time.Duration
	// Transcripts is the most octets of a dialogue kept with its outcome; 0: none is kept.
	Transcripts int
	// FailuresOnly keeps no dialogue of mail that was taken.
	FailuresOnly bool

	Logger *slog.Logger
	Now    func() time.Time
}

// Bounds of one attempt, and of what is remembered between attempts.
const (
	// maxConnects is the most addresses one attempt connects to: what it cannot reach in so many will not be reached
	// by trying the rest of a long MX list now.
	maxConnects = 10
	// maxSessions is the most connections one attempt gets as far as the greeting on.
	maxSessions = 4
	// fallbackConnect is how long connecting to an address may take while there is another to try.
	fallbackConnect = 8 * time.Second
	// badHostFor is how long an address that could not be reached is tried last.
	badHostFor = 5 * time.Minute
	// brokenTLSFor is how long a host whose handshake failed is spoken to in clear.
	brokenTLSFor = time.Hour
	// maxRemembered bounds each of the memories of hosts, in entries.
	maxRemembered = 20_000
	// maxSignatures bounds the remembered signatures, in messages.
	maxSignatures = 4096
	// defaultStopGrace is Options.StopGrace where none is set.
	defaultStopGrace = 30 * time.Second
	// ownFault is when a delivery is tried again that failed for a reason of our own making.
	ownFault = time.Minute
)

// Delivery makes attempts.
type Delivery struct {
	opts       Options
	log        *slog.Logger
	badHosts   *memory[hostKey]
	brokenTLS  *memory[hostKey]
	seenTLS    *memory[string] // relays that have been spoken to with TLS
	signatures *signatures
	tokenSize  int64 // octets of the token field
	sessions   map[platform.TLSMode]tls.ClientSessionCache
}

// hostKey names an address as reached from a source.
type hostKey struct {
	addr   netip.AddrPort
	source string
}

// New makes a Delivery.
func New(o Options) (*Delivery, error) {
	if o.Snapshot == nil || o.MX == nil || o.Classify == nil || o.Hostname == "" {
		return nil, errors.New("delivery: Options.Snapshot, MX, Classify and Hostname are required")
	}
	if o.Port == 0 {
		o.Port = 25
	}
	if o.StopGrace == 0 {
		o.StopGrace = defaultStopGrace
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Delivery{
		opts: o, log: o.Logger,
		badHosts: newMemory[hostKey](maxRemembered), brokenTLS: newMemory[hostKey](maxRemembered),
		seenTLS: newMemory[string](maxRemembered), signatures: newSignatures(maxSignatures),
		// A session begun without a check of the certificate is not taken up by one that checks.
		sessions: map[platform.TLSMode]tls.ClientSessionCache{
			platform.TLSOpportunistic: tls.NewLRUClientSessionCache(1024), platform.TLSVerify: tls.NewLRUClientSessionCache(1024),
		},
	}
	d.tokenSize = int64(len(d.token(nil, &mail.Message{}, nil)))
	return d, nil
}

// Locate says where mail for domain goes by the route of that name. The outcome is non-nil when there is no such
// place: Bounced when DNS says that the domain takes no mail, Deferred for everything that may pass. It lacks what
// belongs to a delivery: Delivery and Attempt.N.
func (d *Delivery) Locate(ctx context.Context, route, domain string) (mail.Target, *mail.Outcome) {
	r := d.opts.Snapshot().Route(route)
	if f := d.routeFault(r, route); f != nil {
		return mail.Target{}, d.unlocated(route, f)
	}
	if r.Kind == mail.RouteRelay {
		return mail.Target{Site: relaySite(r)}, nil
	}
	plan, err := d.opts.MX.Plan(ctx, domain)
	if err != nil {
		f := dnsFailure(err)
		o := d.unlocated(route, f)
		o.Attempt.Kind = r.Kind
		return mail.Target{}, o
	}
	return plan.Target(), nil
}

func (d *Delivery) unlocated(route string, f *failure) *mail.Outcome {
	o := &mail.Outcome{Tried: f.result == mail.Bounced}
	o.Attempt = mail.Attempt{At: d.opts.Now(), Route: route, Stage: mail.StageDNS}
	f.fill(o)
	return o
}

// routeFault returns why nothing can go by the route now, or nil.
func (d *Delivery) routeFault(r *platform.Route, name string) *failure {
	switch {
	case r == nil:
		return ourFault(mail.StageNone, mail.ScopeRoute, mail.ClassProtocol, "there is no route named "+strconv.Quote(name))
	case r.Kind == mail.RouteRelay && r.Host == "":
		return ourFault(mail.StageNone, mail.ScopeRoute, mail.ClassProtocol, "the relay route names no host")
	case r.Kind != mail.RouteMX && r.Kind != mail.RouteRelay:
		return ourFault(mail.StageNone, mail.ScopeRoute, mail.ClassProtocol, "routes of kind "+strconv.Quote(string(r.Kind))+" are not for SMTP")
	}
	return nil
}

// relaySite returns the host and port of a relay as lanes name it.
func relaySite(r *platform.Route) string { return r.Host + ":" + strconv.Itoa(relayPort(r)) }

func relayPort(r *platform.Route) int {
	switch {
	case r.Port != 0:
		return r.Port
	case r.TLS == platform.TLSImplicit:
		return 465
	}
	return 25
}

// dnsFailure is what an error of Plan means.
func dnsFailure(err error) *failure {
	f := &failure{stage: mail.StageDNS, result: mail.Deferred, class: mail.ClassNetwork, scope: mail.ScopeSite, action: mail.ActionRetry, text: err.Error()}
	if mx.Final(err) {
		f.result, f.class, f.scope, f.action = mail.Bounced, mail.ClassInvalidDomain, mail.ScopeRecipient, mail.ActionGiveUp
		switch {
		case errors.Is(err, mx.ErrNullMX):
			f.text = "5.1.10 " + f.text // RFC 7505 §4.2
		case errors.Is(err, mx.ErrNoSuchDomain):
			f.text = "5.1.2 " + f.text
		default:
			f.text = "5.4.4 " + f.text
		}
	}
	return f
}

// own reports whether addr is one of ours.
func (d *Delivery) own(addr netip.Addr) bool { return slices.Contains(d.opts.OwnAddrs, addr) }
