package smtpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// conn is one dialogue.
type conn struct {
	v    *service
	o    *Options
	ctx  context.Context
	log  *slog.Logger
	raw  net.Conn // as Open gave it; deadlines are set on it
	nc   net.Conn // raw, or TLS over it
	br   *bufio.Reader
	out  []byte // replies not yet sent
	info ConnInfo
	sess Session

	inMail    bool // Mail succeeded and the transaction is not over
	rcpts     int  // recipients taken
	rcptTried bool
	errors    int  // wrong commands
	junk      int  // commands since the last message
	orphans   int  // RCPT and DATA commands since a MAIL that was refused; noOrphans when none was
	closing   bool // no further command is read
	spoilt    bool // a call of the session did not return: it may still hold the reader
	linger    bool // the client may still be sending: its last reply must reach it

	pending    []byte // a command met between chunks, to be looked at next
	hasPending bool
	pendingErr error // what reading it met

	idle     atomic.Bool // waits for a command outside of a transaction
	clock    readClock
	writeErr error // of a failed write
	// writeArmed: until then the write deadline set is far enough ahead.
	writeArmed time.Time
}

// handle serves one accepted connection to its end.
func (v *service) handle(accepted net.Conn) {
	nc, err := v.o.Open(accepted)
	if err != nil {
		v.o.Observer.Refused("open")
		v.o.Logger.Debug("connection refused", mail.LogErr, err)
		_ = accepted.Close()
		return
	}
	remote := addrPort(nc.RemoteAddr())
	if !v.o.Caps.enterAddr(remote.Addr()) {
		v.turnAway(nc, "address", tooManyOfYou)
		return
	}
	defer v.o.Caps.leaveAddr(remote.Addr())
	v.o.Observer.Opened()
	defer v.o.Observer.Closed()

	c := &conn{
		v: v, o: v.o, ctx: v.ctx, raw: nc, nc: nc, orphans: noOrphans,
		log:  v.o.Logger.With(mail.LogClient, remote.Addr().Unmap()),
		info: ConnInfo{Remote: remote, Local: addrPort(nc.LocalAddr())},
	}
	v.mu.Lock()
	v.conns[c] = struct{}{}
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		delete(v.conns, c)
		v.mu.Unlock()
	}()
	c.br = v.readers.Get().(*bufio.Reader)
	c.br.Reset(connReader{c})
	defer func() {
		if !c.spoilt {
			c.br.Reset(nil)
			v.readers.Put(c.br)
		}
	}()
	defer c.hangUp()
	defer func() {
		defer c.rescue()
		c.endSession()
	}()
	defer c.rescue()
	c.serve()
}

// rescue keeps a fault of ours in one dialogue from ending all others.
func (c *conn) rescue() {
	if r := recover(); r != nil {
		c.spoilt = true
		c.o.Observer.Refused("panic")
		c.log.Error("dialogue ended by a fault of the program", mail.LogErr, fmt.Sprintf("%v\n%s", r, debug.Stack()))
		c.out = append(c.out, localTrouble421...)
		_ = c.flush()
	}
}

var localTrouble421 = smtp.NewReply(421, smtp.Enhanced{4, 3, 0}, "Local trouble; closing").Append(nil)

// serve is the dialogue from greeting to end.
func (c *conn) serve() {
	if c.o.ImplicitTLS && !c.handshake() {
		return
	}
	if !c.begin("") {
		return
	}
	c.reply("", smtp.Reply{Code: 220, Lines: []string{c.o.Hostname + " ESMTP"}})
	first := true
	for !c.closing {
		if !c.inMail && !c.hasPending && c.v.draining.Load() {
			c.end("", shuttingDown, "shutdown")
			break
		}
		line, err := c.nextLine(first)
		first = false
		if err != nil {
			c.lineError(err)
			continue
		}
		c.command(line)
	}
	_ = c.flush()
}

// begin makes the session; on refusal it answers and reports false.
func (c *conn) begin(verb string) bool {
	sess, err := c.o.Handler(c.ctx, &c.info)
	if err == nil {
		c.sess = sess
		return true
	}
	c.o.Observer.Refused("handler")
	c.fail(verb, err)
	c.closing = true
	_ = c.flush()
	return false
}

func (c *conn) endTransaction() {
	if c.inMail {
		c.inMail = false
		c.sess.Reset()
	}
	c.rcpts, c.rcptTried, c.orphans, c.info.UTF8 = 0, false, noOrphans, false
}

func (c *conn) endSession() {
	if c.sess != nil {
		sess := c.sess
		defer func() { c.sess = nil; sess.Close() }()
		c.endTransaction()
	}
}

// hangUp closes the connection. Where the client may still be sending, closing at once would make the kernel discard
// our last reply; so it is told that we are done and given a moment to stop.
func (c *conn) hangUp() {
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok && c.linger && !c.v.hard.Load() {
		if half.CloseWrite() == nil {
			_ = c.raw.SetReadDeadline(time.Now().Add(lingerTime))
			_, _ = io.CopyN(io.Discard, c.raw, lingerOctets)
		}
	}
	_ = c.nc.Close()
}

// noOrphans is the value of conn.orphans where no MAIL was refused.
const noOrphans = -1

const (
	lingerTime   = time.Second
	lingerOctets = 1 << 20
)

// reply queues a reply; it leaves when the client's next octets are waited for, so that the replies to pipelined
// commands share a packet (RFC 2920 §3.2).
func (c *conn) reply(verb string, r smtp.Reply) {
	c.o.Observer.Replied(verb, r.Code)
	c.out = r.Append(c.out)
	if len(c.out) > maxReplies {
		_ = c.flush() // an error comes back at the next read
	}
}

// wrong answers a command that is a mistake of the client's, and counts it.
func (c *conn) wrong(verb string, r smtp.Reply) {
	if c.errors++; c.errors >= c.o.MaxErrors {
		c.end(verb, tooManyErrors, "errors")
		return
	}
	c.reply(verb, r)
}

// orphan answers RCPT or DATA without MAIL. A client that pipelines sends them before it knows that MAIL was refused;
// that is no mistake of its.
func (c *conn) orphan(verb string) {
	if c.orphans < 0 || c.orphans > c.o.MaxRecipients {
		c.wrong(verb, mailFirst)
		return
	}
	c.orphans++
	c.reply(verb, mailFirst)
}

// end answers with the last reply of the connection.
func (c *conn) end(verb string, r smtp.Reply, reason string) {
	if reason != "" {
		c.o.Observer.Refused(reason)
	}
	c.closing, c.linger = true, true
	c.reply(verb, r)
}

// fail answers an error of the session.
func (c *conn) fail(verb string, err error) {
	r := localTrouble
	var re *smtp.ReplyError
	if errors.As(err, &re) {
		r = re.Reply
		if re.Err != nil {
			c.log.Warn("refused", mail.LogCode, r.Code, mail.LogErr, err)
		}
	} else {
		c.log.Error("a session failed", mail.LogErr, err)
	}
	if r.Code == 421 {
		c.closing, c.linger = true, true
	}
	c.reply(verb, r)
}

// lineError deals with a command line that could not be read: a malformed one is answered, the connection's own
// trouble ends the dialogue.
func (c *conn) lineError(err error) {
	var re *smtp.ReplyError
	if errors.As(err, &re) {
		c.wrong("?", re.Reply)
		return
	}
	c.broken(err)
}

// broken ends the dialogue after a read or write failed.
func (c *conn) broken(err error) {
	var ne net.Error
	switch {
	case c.closing: // the last reply has been queued
	case c.writeErr != nil:
		c.closing = true
	case errors.Is(err, errShutdown), c.v.hard.Load(), c.v.draining.Load() && !c.inMail && errors.As(err, &ne) && ne.Timeout():
		c.end("", shuttingDown, "shutdown")
	case errors.Is(err, errTooSlow):
		c.end("", tooSlow, "rate")
	case errors.As(err, &ne) && ne.Timeout():
		c.end("", timedOut, "timeout")
	case errors.Is(err, errEndlessLine):
		c.end("?", lineTooLong.Reply, "errors")
	default:
		c.closing = true
		c.out = c.out[:0]
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	ap, _ := netip.ParseAddrPort(a.String()) // a pipe in a test: the zero address
	return ap
}
