package smtpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/smtpserver"
)

// Options are the settings of all listeners.
type Options struct {
	Hostname  string
	Listeners []Listener
	// Certificates gives TLS to all listeners; nil: no TLS anywhere.
	Certificates *Certificates
	// MaxConnections and MaxPerAddress cap connections over all listeners that have no caps of their own; 0: the
	// defaults of smtpserver.
	MaxConnections int
	MaxPerAddress  int
	DrainTimeout   time.Duration // 0: smtpserver.DefaultDrainTimeout

	Metrics *Metrics // nil: not counted
	Logger  *slog.Logger
}

// Listener is one way in: some addresses and what is done there.
type Listener struct {
	// Name is its label in metrics and logs: "submission", "submissions", "return-path".
	Name      string
	Addresses []string // host:port
	Hostname  string   // in the greeting and in EHLO's reply; "": Options.Hostname
	Sessions  smtpserver.Handler
	// ImplicitTLS: TLS from the first octet (RFC 8314); else STARTTLS.
	ImplicitTLS bool
	// ClearAuth allows AUTH in clear from loopback addresses.
	ClearAuth bool
	// RequireTLS offers REQUIRETLS (RFC 8689).
	RequireTLS bool
	// Proxies are the networks whose connections must begin with a PROXY header.
	Proxies       []netip.Prefix
	MaxSize       int64 // 0: smtp.DefaultMaxSize
	MaxRecipients int   // 0: smtpserver.DefaultMaxRecipients
	// MaxConnections and MaxPerAddress are caps of this listener alone: a flood here takes no place of others. 0: it
	// shares those of Options.
	MaxConnections int
	MaxPerAddress  int
}

// Server holds open listeners.
type Server struct {
	o     Options
	bound []bound
}

type bound struct {
	Listener
	socket net.Listener
	server *smtpserver.Server
}

// New opens all listeners, or none: an error says which could not be opened. Run, or Close, closes them.
func New(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = smtpserver.DefaultMaxConnections
	}
	if o.MaxPerAddress == 0 {
		o.MaxPerAddress = smtpserver.DefaultMaxPerAddress
	}
	caps := smtpserver.NewCaps(o.MaxConnections, o.MaxPerAddress)
	s := &Server{o: o}
	for _, l := range o.Listeners {
		engine, err := s.engine(l, caps)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("smtpd: listener %s: %w", l.Name, err)
		}
		for _, address := range l.Addresses {
			socket, err := net.Listen("tcp", address)
			if err != nil {
				s.Close()
				return nil, fmt.Errorf("smtpd: listener %s: %w", l.Name, err)
			}
			s.bound = append(s.bound, bound{Listener: l, socket: socket, server: engine})
		}
	}
	return s, nil
}

func (s *Server) engine(l Listener, caps *smtpserver.Caps) (*smtpserver.Server, error) {
	if l.MaxConnections > 0 {
		caps = smtpserver.NewCaps(l.MaxConnections, l.MaxPerAddress)
	}
	o := smtpserver.Options{
		Hostname:      s.o.Hostname,
		Handler:       l.Sessions,
		Logger:        s.o.Logger,
		ImplicitTLS:   l.ImplicitTLS,
		ClearAuth:     l.ClearAuth,
		RequireTLS:    l.RequireTLS,
		Open:          proxies(l.Proxies).open,
		Caps:          caps,
		MaxSize:       l.MaxSize,
		MaxRecipients: l.MaxRecipients,
		DrainTimeout:  s.o.DrainTimeout,
	}
	if l.Hostname != "" {
		o.Hostname = l.Hostname
	}
	if s.o.Certificates != nil {
		o.TLS = s.o.Certificates.TLSConfig()
	}
	if s.o.Metrics != nil {
		o.Observer = s.o.Metrics.observer(l.Name)
	}
	return smtpserver.New(o)
}

// Addrs returns the addresses the listeners of that name are bound to.
func (s *Server) Addrs(name string) (addrs []net.Addr) {
	for _, b := range s.bound {
		if b.Name == name {
			addrs = append(addrs, b.socket.Addr())
		}
	}
	return addrs
}

// Close closes the listeners of a server that is not run.
func (s *Server) Close() {
	for _, b := range s.bound {
		_ = b.socket.Close()
	}
}

// Run serves until ctx ends, lets the dialogues in hand end, and returns. One listener that fails ends all of them:
// its error is returned.
func (s *Server) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, len(s.bound))
	var wg sync.WaitGroup
	for i, b := range s.bound {
		wg.Go(func() {
			if err := b.server.Run(ctx, b.socket); err != nil {
				errs[i] = fmt.Errorf("smtpd: listener %s: %w", b.Name, err)
			}
			stop()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
