package smtpserver

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"time"
)

var (
	errShutdown    = errors.New("smtpserver: shutting down")
	errTooSlow     = errors.New("smtpserver: content comes in too slowly")
	errEndlessLine = errors.New("smtpserver: line without end")
)

// readClock says how long the next read may wait. A command has one deadline from the first wait for it to its end. A
// content has a budget of waiting: DataGrace and a second for each MinRate octets that came, DataTimeout in all; time
// that we spend ourselves is not the client's.
type readClock struct {
	content bool
	end     time.Time     // of the command; zero: not begun
	waited  time.Duration // content: spent in reads
	octets  int64         // content: received
	armed   time.Time     // read deadline set on the connection
}

func (k *readClock) startCommand() { k.content, k.end = false, time.Time{} }
func (k *readClock) startContent() { k.content, k.waited, k.octets = true, 0, 0 }

// left returns how long the next read may take.
func (k *readClock) left(o *Options, now time.Time) time.Duration {
	if k.content {
		earned := time.Duration(float64(k.octets) / float64(o.MinRate) * float64(time.Second))
		return min(o.DataGrace+earned, o.DataTimeout) - k.waited
	}
	if k.end.IsZero() {
		k.end = now.Add(o.CommandTimeout)
	}
	return k.end.Sub(now)
}

// connReader reads from the connection for conn.br. Before it waits, what is queued for the client is sent.
type connReader struct{ c *conn }

func (r connReader) Read(p []byte) (int, error) {
	c := r.c
	if err := c.flush(); err != nil {
		return 0, err
	}
	now := time.Now()
	left := c.clock.left(c.o, now)
	if left <= 0 {
		return 0, c.late()
	}
	c.idle.Store(!c.clock.content && !c.inMail)
	// A deadline a little later than wanted is left as it is: setting one costs more than the rest of a small read.
	want := now.Add(left)
	if d := c.clock.armed.Sub(want); d < 0 || d > left/8+left/8 || c.v.draining.Load() {
		c.clock.armed = want.Add(left / 8)
		if err := c.raw.SetReadDeadline(c.clock.armed); err != nil {
			return 0, err
		}
	}
	// Looked at after the deadline is set: a drain that begins now either is seen here or overrides the deadline.
	if c.v.hard.Load() || c.idle.Load() && c.v.draining.Load() {
		return 0, errShutdown
	}
	n, err := c.nc.Read(p)
	c.idle.Store(false)
	if c.clock.content {
		c.clock.waited += time.Since(now)
		c.clock.octets += int64(n)
	}
	if ne, ok := err.(net.Error); ok && ne.Timeout() && c.clock.content && !c.v.hard.Load() {
		return n, c.late()
	}
	return n, err
}

// late is the error for a client that has used up its time.
func (c *conn) late() error {
	if c.clock.content {
		return errTooSlow
	}
	return errTimeout
}

// errTimeout is a time-out found without a read.
var errTimeout net.Error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string   { return "smtpserver: command takes too long" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return false }

// flush sends the queued replies. After a write has failed nothing more is written.
func (c *conn) flush() error {
	if len(c.out) == 0 || c.writeErr != nil {
		c.out = c.out[:0]
		return c.writeErr
	}
	if now := time.Now(); now.After(c.writeArmed) {
		if c.writeErr = c.raw.SetWriteDeadline(now.Add(c.o.WriteTimeout)); c.writeErr != nil {
			return c.writeErr
		}
		c.writeArmed = now.Add(c.o.WriteTimeout / 4)
	}
	_, c.writeErr = c.nc.Write(c.out)
	c.out = c.out[:0]
	return c.writeErr
}

// nextLine returns the next command without its CRLF, valid until the next read. A *smtp.ReplyError tells of a
// malformed line, which has been read whole.
func (c *conn) nextLine(first bool) ([]byte, error) {
	if c.hasPending {
		c.hasPending = false
		return c.pending, c.pendingErr
	}
	c.clock.startCommand()
	if first && c.info.TLS == nil {
		// A TLS hello has no line end to wait for.
		if b, err := c.br.Peek(1); err == nil && b[0] == 0x16 {
			c.end("?", notTLS, "tls")
			return nil, errEnded
		}
	}
	return c.readLine(false)
}

// errEnded says that the dialogue's last reply has been queued.
var errEnded = errors.New("smtpserver: ended")

// readLine reads one line. An auth line may be longer.
func (c *conn) readLine(auth bool) ([]byte, error) {
	line, err := c.br.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return nil, c.skipLine()
	}
	if err != nil {
		return nil, err
	}
	if len(line) > maxLine {
		auth = auth || len(line) >= 5 && bytes.EqualFold(line[:5], []byte("AUTH "))
		if !auth {
			return nil, lineTooLong
		}
		if len(line) > maxAuthLine {
			return nil, authTooLong
		}
	}
	n := len(line) - 2
	if n < 0 || line[n] != '\r' {
		return nil, bareLF
	}
	line = line[:n]
	if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		return nil, badOctet
	}
	return line, nil
}

// skipLine passes over the rest of a line that does not fit the buffer.
func (c *conn) skipLine() error {
	for n := readBuffer; n < maxSkip; n += readBuffer {
		_, err := c.br.ReadSlice('\n')
		if err == nil {
			return lineTooLong
		}
		if err != bufio.ErrBufferFull {
			return err
		}
	}
	return errEndlessLine
}

// maxSkip bounds a line that is passed over, in octets.
const maxSkip = 128 << 10
