package practice

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"time"
)

// serveLoad is the accept-all receiver for benches: it counts and keeps nothing. One buffer is its whole memory.
func (n *Internet) serveLoad(h *host, conn net.Conn) {
	s := &loadSession{n: n, h: h, load: *n.opts.Load, conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	defer s.settle()
	s.say("220 " + h.name + " ESMTP accepts everything\r\n")
	for s.step() {
	}
	s.flush()
}

// loadSession is one connection of the accept-all receiver.
type loadSession struct {
	n    *Internet
	h    *host
	load Load
	conn net.Conn
	r    *bufio.Reader
	out  []byte // replies not yet sent

	overTLS bool
	asked   int64 // recipients asked for
	rcpts   int64 // accepted in this transaction
	sum     Counters
}

func (s *loadSession) say(reply string) { s.out = append(s.out, reply...) }

// flush sends the replies of a group at once.
func (s *loadSession) flush() bool {
	if len(s.out) == 0 {
		return true
	}
	if s.load.Latency > 0 {
		t := time.NewTimer(s.load.Latency)
		select {
		case <-t.C:
		case <-s.n.ctx.Done():
			t.Stop()
			return false
		}
	}
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err == nil
}

// settle adds what was counted to the totals.
func (s *loadSession) settle() {
	sum := s.sum
	if sum == (Counters{}) {
		return
	}
	s.sum = Counters{}
	s.h.messages.Add(sum.Messages)
	s.n.book.count(func(c *Counters) {
		c.Messages += sum.Messages
		c.Recipients += sum.Recipients
		c.Octets += sum.Octets
		c.Deferred += sum.Deferred
		c.Refused += sum.Refused
		c.TLS += sum.TLS
	})
}

// step answers one command; false ends the session.
func (s *loadSession) step() bool {
	if s.r.Buffered() == 0 {
		s.conn.SetDeadline(time.Now().Add(idleTimeout))
		s.settle() // before the client hears of it, so that totals are never behind
		if !s.flush() {
			return false
		}
	}
	line, err := s.r.ReadSlice('\n')
	if err != nil || len(line) < 4 {
		return false
	}
	switch verb := string(bytes.ToUpper(line[:4])); verb {
	case "EHLO":
		s.say("250-" + s.h.name + "\r\n250-PIPELINING\r\n250-SIZE " + strconv.FormatInt(s.h.maxSize, 10) +
			"\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n")
		if s.load.StartTLS && !s.overTLS {
			s.say("250-STARTTLS\r\n")
		}
		s.say("250 ENHANCEDSTATUSCODES\r\n")
	case "STAR":
		return s.startTLS()
	case "MAIL":
		s.rcpts = 0
		s.say("250 2.1.0 OK\r\n")
	case "RCPT":
		if s.asked++; s.load.DeferEvery > 0 && s.asked%int64(s.load.DeferEvery) == 0 {
			s.sum.Deferred++
			s.say("451 4.3.2 Busy, try again later\r\n")
			return true
		}
		s.rcpts++
		s.say("250 2.1.5 OK\r\n")
	case "DATA":
		if s.rcpts == 0 {
			s.sum.Refused++
			s.say("503 5.5.1 No recipient was accepted\r\n")
			return true
		}
		s.say("354 Go ahead\r\n")
		return s.flush() && s.swallow()
	case "RSET", "NOOP", "HELO":
		s.rcpts = 0
		s.say("250 2.0.0 OK\r\n")
	case "QUIT":
		s.say("221 2.0.0 Bye\r\n")
		return false
	default:
		s.sum.Refused++
		s.say("500 5.5.2 Command not known\r\n")
	}
	return true
}

// swallow reads up to CRLF . CRLF without keeping anything.
func (s *loadSession) swallow() bool {
	var size int64
	lineStart := true
	for {
		line, err := s.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return false
		}
		if lineStart && string(line) == ".\r\n" {
			break
		}
		size += int64(len(line))
		lineStart = bytes.HasSuffix(line, crlf)
	}
	s.sum.Messages++
	s.sum.Recipients += s.rcpts
	s.sum.Octets += size
	s.rcpts = 0
	s.say("250 2.0.0 Taken\r\n")
	return true
}

var crlf = []byte("\r\n")

func (s *loadSession) startTLS() bool {
	if !s.load.StartTLS || s.overTLS || s.r.Buffered() > 0 {
		return false
	}
	s.say("220 2.0.0 Ready to start TLS\r\n")
	if !s.flush() {
		return false
	}
	conn := tls.Server(s.conn, s.n.certs.good)
	if err := conn.HandshakeContext(s.n.ctx); err != nil {
		return false
	}
	s.overTLS = true
	s.h.overTLS.Add(1)
	s.sum.TLS++
	s.conn, s.r = conn, bufio.NewReaderSize(conn, 64<<10)
	return true
}
