package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// Dial opens a connection from local (zero: the system's choice) to peer.
type Dial func(ctx context.Context, local netip.Addr, peer netip.AddrPort) (net.Conn, error)

// Options says whom to connect to and as whom.
type Options struct {
	Peer  netip.AddrPort
	Host  string     // the peer's host name, for errors and TLS; "": its address
	Local netip.Addr // source address; zero: the system's choice
	Name  string     // what we call ourselves in EHLO: a host name or an address literal
	// TLS, if set, is used from the first octet (RFC 8314 §3.3).
	TLS *tls.Config
	// Dial is the seam to the network; nil: NetDial.
	Dial Dial
	// ConnectTimeout bounds dialling; 0: smtp.ConnectTimeout. A caller with another address to try makes it shorter.
	ConnectTimeout time.Duration
	// StopGrace is how long the reply to the end of the content is still awaited once the context is done; 0: for
	// the whole of smtp.DataDoneTimeout.
	StopGrace time.Duration
	// Transcript bounds the kept dialogue, in octets; 0: none is kept.
	Transcript int
}

// Conn is one connection to a peer.
type Conn struct {
	opts Options
	who  string // host[address], for errors
	ctx  context.Context
	raw  net.Conn // the TCP connection: its deadlines also hold for TLS on top of it
	conn net.Conn // raw, or TLS on top of it
	tls  *tls.ConnectionState
	ext  Extensions
	log  transcript

	in      reader
	out     []byte // commands and content on their way out
	ans     answer
	limit   time.Duration // of the reply being read; see wait
	armed   bool
	wait    func() error
	steps   []step
	durable bool // Transaction.Durable of the current transaction has returned nil

	injected int       // octets a peer sent in clear between its reply to STARTTLS and the handshake
	sent     int       // transactions begun
	dirty    bool      // a transaction is open on the peer's side: RSET before the next
	last     time.Time // when the peer last answered
	spent    error     // why the connection can carry nothing more; nil: it can

	mu        sync.Mutex
	cancelled bool
	ending    bool // the end of the content is out: the context cancels nothing
	unwatch   func() bool
}

// NetDial connects by TCP.
func NetDial(ctx context.Context, local netip.Addr, peer netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true}}
	if local.IsValid() && !local.IsUnspecified() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext(ctx, "tcp", peer.String())
}

// Connect opens a connection and reads the greeting. ctx governs the connection until it is closed: when it is done
// the step in progress fails, but for the wait after the end of a content. The error is an *Error of stage connect,
// starttls (when opts.TLS is set) or greeting.
func Connect(ctx context.Context, opts Options) (*Conn, error) {
	c := &Conn{opts: opts, ctx: ctx, who: opts.Host + "[" + opts.Peer.Addr().String() + "]"}
	c.log.max = opts.Transcript
	c.wait = c.waitRead
	if !validName(opts.Name) {
		return nil, c.fail(mail.StageConnect, fmt.Errorf("%w: %q is no name to greet with", ErrBadArgument, opts.Name))
	}
	dial, timeout := opts.Dial, opts.ConnectTimeout
	if dial == nil {
		dial = NetDial
	}
	if timeout == 0 {
		timeout = smtp.ConnectTimeout
	}
	dialCtx, cancel := context.WithTimeout(ctx, timeout)
	raw, err := dial(dialCtx, opts.Local, opts.Peer)
	cancel()
	if err != nil {
		return nil, c.fail(mail.StageConnect, err)
	}
	c.raw, c.conn = raw, raw
	c.in.src = raw
	c.unwatch = context.AfterFunc(ctx, c.cancel)
	if opts.TLS != nil {
		if err := c.handshake(opts.TLS); err != nil {
			return nil, err
		}
	}
	if err := c.read(mail.StageGreeting, smtp.GreetingTimeout); err != nil {
		return nil, err
	}
	if c.ans.class() != 2 {
		err := c.refused(mail.StageGreeting)
		c.Close()
		return nil, err
	}
	return c, nil
}

// Quit says goodbye, waits shortly for the answer, and closes the connection. It may be called on a spent one.
func (c *Conn) Quit() {
	if c.spent == nil && c.ctx.Err() == nil {
		c.out = append(c.out[:0], "QUIT\r\n"...)
		if c.write(mail.StageQuit, smtp.QuitTimeout) == nil {
			_ = c.read(mail.StageQuit, smtp.QuitTimeout) // whatever the answer is, we are going
		}
	}
	c.Close()
}

// Close drops the connection without a word.
func (c *Conn) Close() {
	if c.unwatch != nil {
		c.unwatch()
	}
	if c.spent == nil {
		c.spent = ErrClosed
	}
	if c.raw != nil {
		c.raw.Close() // no close_notify: nobody is to wait for a peer that may be gone
	}
}

// Usable reports whether the connection can carry one more transaction, as far as we know and as the peer's limit
// MAILMAX (RFC 9422 §4.1) allows.
func (c *Conn) Usable() bool {
	return c.spent == nil && (c.ext.MailMax == 0 || c.sent < c.ext.MailMax)
}

// Sent returns how many transactions were begun.
func (c *Conn) Sent() int { return c.sent }

// TLS returns the state of TLS, or nil in clear.
func (c *Conn) TLS() *tls.ConnectionState { return c.tls }

// Injected returns how many octets were dropped that came in clear after the peer's reply to STARTTLS.
func (c *Conn) Injected() int { return c.injected }

// Transcript returns the dialogue of opening the connection and of the last transaction.
func (c *Conn) Transcript() string { return c.log.text() }

// write sends c.out, all of it within limit.
func (c *Conn) write(stage mail.Stage, limit time.Duration) error {
	if c.spent != nil {
		return c.fail(stage, c.spent)
	}
	if err := c.arm(c.raw.SetWriteDeadline, limit); err != nil {
		return c.fail(stage, err)
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return c.explain(stage, err)
	}
	return nil
}

// explain returns the Error of a failed write: the peer's own words where there are some, for one that refuses midway
// often says so and hangs up.
func (c *Conn) explain(stage mail.Stage, err error) error {
	_ = c.arm(c.raw.SetReadDeadline, errorReplyTimeout)
	noWait := func() error { return nil }
	for i := range len(c.steps) + 1 {
		if c.in.answer(&c.ans, noWait) != nil {
			break
		}
		c.log.add("S: ", c.ans.raw)
		if c.ans.class() >= 4 {
			if i < len(c.steps) {
				stage = c.steps[i].stage()
			}
			c.spend(err)
			return c.refused(stage)
		}
	}
	return c.fail(stage, err)
}

// read reads one reply into c.ans, all of it within limit. A 421 ends the connection (RFC 5321 §3.8), but is a reply.
func (c *Conn) read(stage mail.Stage, limit time.Duration) error {
	if c.spent != nil {
		return c.fail(stage, c.spent)
	}
	c.limit, c.armed = limit, false
	if err := c.in.answer(&c.ans, c.wait); err != nil {
		return c.fail(stage, err)
	}
	c.log.add("S: ", c.ans.raw)
	if c.ans.code == 421 {
		c.spend(ErrClosed)
	}
	return nil
}

// command sends one line and reads its reply.
func (c *Conn) command(stage mail.Stage, limit time.Duration, line string) error {
	c.out = append(append(c.out[:0], line...), '\r', '\n')
	c.log.add("C: ", c.out)
	if err := c.write(stage, limit); err != nil {
		return err
	}
	return c.read(stage, limit)
}

// waitRead arms the deadline of a reply, once: it holds for the whole of it, so that octets that trickle do not
// stretch it.
func (c *Conn) waitRead() error {
	if c.armed {
		return nil
	}
	c.armed = true
	return c.arm(c.raw.SetReadDeadline, c.limit)
}

// arm sets a deadline unless the context is done.
func (c *Conn) arm(set func(time.Time) error, limit time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancelled {
		if !c.ending {
			return context.Cause(c.ctx)
		}
		if c.opts.StopGrace > 0 {
			limit = min(limit, c.opts.StopGrace)
		}
	}
	return set(time.Now().Add(limit))
}

// cancel is called when the context is done.
func (c *Conn) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancelled = true
	switch {
	case !c.ending:
		_ = c.raw.SetDeadline(time.Unix(1, 0))
	case c.opts.StopGrace > 0:
		_ = c.raw.SetDeadline(time.Now().Add(c.opts.StopGrace))
	}
}

// setEnding opens (or closes) the time in which the context cancels nothing. It fails when the context is done
// already.
func (c *Conn) setEnding(on bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if on && c.cancelled {
		return context.Cause(c.ctx)
	}
	c.ending = on
	return nil
}

// fail drops the connection and returns the Error of it.
func (c *Conn) fail(stage mail.Stage, err error) *Error {
	c.mu.Lock()
	if c.cancelled && !c.ending && errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.Cause(c.ctx)
	}
	c.mu.Unlock()
	c.log.note("%s: %v", stage, err)
	c.spend(err)
	return &Error{Stage: stage, Host: c.who, Err: err}
}

// refused returns the Error of the reply just read.
func (c *Conn) refused(stage mail.Stage) *Error {
	r := c.ans.reply()
	return &Error{Stage: stage, Host: c.who, Reply: &r}
}

// unexpected is refused for a reply that should have been one of the success kind: a positive one means that we and
// the peer have lost step.
func (c *Conn) unexpected(stage mail.Stage) *Error {
	if c.ans.class() >= 4 {
		return c.refused(stage)
	}
	return c.fail(stage, fmt.Errorf("%w: unexpected reply %q", ErrProtocol, clip(c.ans.raw, 200)))
}

func (c *Conn) spend(err error) {
	if c.spent == nil {
		c.spent = err
	}
	if c.unwatch != nil {
		c.unwatch()
	}
	if c.raw != nil {
		c.raw.Close()
	}
}

// validName reports whether name may follow EHLO: a domain or an address literal (RFC 5321 §4.1.1.1).
func validName(name string) bool {
	_, err := mail.ParseDomain(name)
	return err == nil
}
