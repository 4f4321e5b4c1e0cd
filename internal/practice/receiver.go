package practice

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// idleTimeout is how long a receiver waits for a client. RFC 5321 §4.5.3.2.7 asks for 5 min; one minute is plenty on
// loopback, and a client that stalls shows sooner.
const idleTimeout = time.Minute

// maxLine bounds a command line, in octets with its end; longer ones end the connection.
const maxLine = 4096

// accept takes connections of one host until its listener closes.
func (n *Internet) accept(h *host) {
	for {
		conn, err := h.listener.AcceptTCP()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) && n.ctx.Err() == nil {
				n.opts.Logger.Warn("practice: receiver cannot accept", mail.LogMX, h.name, mail.LogErr, err)
				select {
				case <-time.After(100 * time.Millisecond): // out of file descriptors: others may free some
					continue
				case <-n.ctx.Done():
				}
			}
			return
		}
		if !n.enter(conn) {
			conn.Close()
			continue
		}
		n.wg.Go(func() {
			defer n.leave(conn)
			number := h.enter()
			defer h.open.Add(-1)
			n.book.count(func(c *Counters) { c.Connections++ })
			if h.load {
				n.serveLoad(h, conn)
				return
			}
			newSession(n, h, conn).serve(number)
		})
	}
}

// enter notes a connection so that Close can end it; false if there are too many, or none may come any more.
func (n *Internet) enter(conn net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || len(n.conns) >= n.opts.MaxConnections {
		return false
	}
	n.conns[conn] = struct{}{}
	return true
}

func (n *Internet) leave(conn net.Conn) {
	conn.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, conn)
}

// session is one connection to a receiver.
type session struct {
	n    *Internet
	h    *host
	tcp  *net.TCPConn
	conn net.Conn // tcp, or TLS over it
	r    *bufio.Reader
	w    *bufio.Writer
	peer netip.Addr

	helo  string
	esmtp bool
	tls   string
	tx    transaction
	ended bool // no further command is read
}

// transaction is one message on its way in.
type transaction struct {
	open  bool
	from  string
	envID string
	body8 bool // BODY=8BITMIME
	utf8  bool
	rcpts []string
}

func newSession(n *Internet, h *host, conn *net.TCPConn) *session {
	s := &session{n: n, h: h, tcp: conn, peer: conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()}
	s.use(conn)
	return s
}

func (s *session) use(conn net.Conn) {
	s.conn = conn
	s.r = bufio.NewReaderSize(conn, maxLine)
	s.w = bufio.NewWriter(conn)
}

// serve runs the dialogue. number is that of the connection at this host.
func (s *session) serve(number int64) {
	defer func() {
		_ = s.w.Flush()
		s.conn.Close()
	}()
	switch {
	case s.h.hangUp:
		s.hangUp()
		return
	case s.h.refuseAll:
		s.reply(refusal(554, 5, 3, 2, s.h.name+" takes no mail"))
		return
	case number <= s.h.busyFirst:
		s.reply(refusal(421, 4, 3, 2, s.h.name+" has too many connections, try again later"))
		return
	}
	s.reply(smtp.NewReply(220, smtp.Enhanced{}, "%s ESMTP practice receiver", s.h.name))
	for !s.ended {
		line, ok := s.readLine()
		if !ok {
			return
		}
		s.command(line)
	}
}

// readLine flushes replies once no further command waits, and reads one.
func (s *session) readLine() (string, bool) {
	s.deadline()
	if s.r.Buffered() == 0 && s.w.Flush() != nil {
		return "", false
	}
	b, err := s.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		s.fault("a command line is longer than %d octets", maxLine)
		s.reply(refusal(500, 5, 5, 2, "Line too long"))
		return "", false
	}
	if err != nil {
		if len(b) > 0 {
			s.fault("the connection ended within a command line")
		}
		return "", false
	}
	line := string(b[:len(b)-1])
	line, ok := strings.CutSuffix(line, "\r")
	if !ok {
		s.fault("a command line ends in a bare LF")
	}
	if len(line)+2 > smtp.MaxCommandLine && !strings.HasPrefix(strings.ToUpper(line), "MAIL") && !strings.HasPrefix(strings.ToUpper(line), "RCPT") {
		s.fault("a command line is longer than %d octets", smtp.MaxCommandLine)
	}
	return line, true
}

func (s *session) deadline() { s.conn.SetDeadline(time.Now().Add(idleTimeout)) }

// reply writes a reply; it goes out when the client waits for it.
func (s *session) reply(r smtp.Reply) {
	switch {
	case r.Permanent():
		s.n.book.count(func(c *Counters) { c.Refused++ })
	case r.Temporary():
		s.n.book.count(func(c *Counters) { c.Deferred++ })
	}
	if s.h.plain {
		r.Enhanced = smtp.Enhanced{}
	}
	// A write that fails shows at the next read.
	_, _ = s.w.Write(r.Append(nil))
	if r.Code == 421 {
		s.ended = true // RFC 5321 §3.8
	}
}

// fault notes what the client did wrong.
func (s *session) fault(format string, args ...any) {
	s.n.book.violation("%s, client %s (%s): "+format, append([]any{s.h.name, s.peer, s.helo}, args...)...)
}

// hangUp breaks the connection off: the client gets a reset, whatever it has sent is lost.
func (s *session) hangUp() {
	s.n.book.count(func(c *Counters) { c.Dropped++ })
	_ = s.w.Flush()
	_ = s.tcp.SetLinger(0)
	s.tcp.Close()
	s.ended = true
}

// hangUpClean ends the connection in order, without a word.
func (s *session) hangUpClean() {
	s.n.book.count(func(c *Counters) { c.Dropped++ })
	s.ended = true
}

// wait holds the dialogue up; false if the practice internet ends meanwhile.
func (s *session) wait(d time.Duration) bool {
	_ = s.w.Flush()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		s.deadline()
		return true
	case <-s.n.ctx.Done():
		s.ended = true
		return false
	}
}

// startTLS answers STARTTLS (RFC 3207).
func (s *session) startTLS() {
	if s.r.Buffered() > 0 {
		// RFC 3207 §4.2: what was sent before the handshake must not count after it.
		s.fault("sent something in clear after STARTTLS")
		s.hangUp()
		return
	}
	s.reply(smtp.NewReply(220, smtp.Enhanced{2, 0, 0}, "Ready to start TLS"))
	if s.w.Flush() != nil {
		s.ended = true
		return
	}
	config := s.n.certs.good
	switch s.h.tls {
	case tlsOdd:
		config = s.n.certs.odd
	case tlsBroken:
		_, _ = s.r.Peek(1)                                // the client has begun its handshake
		_, _ = s.tcp.Write([]byte{21, 3, 1, 0, 2, 2, 40}) // alert: handshake_failure (RFC 8446 §6)
		s.n.book.count(func(c *Counters) { c.Dropped++ })
		s.ended = true
		return
	}
	conn := tls.Server(s.tcp, config)
	ctx, cancel := context.WithTimeout(s.n.ctx, 10*time.Second)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		s.ended = true
		return
	}
	s.tls = strings.ReplaceAll(tls.VersionName(conn.ConnectionState().Version), " ", "")
	s.h.overTLS.Add(1)
	s.n.book.count(func(c *Counters) { c.TLS++ })
	s.use(conn)
	s.helo, s.esmtp, s.tx = "", false, transaction{}
}
