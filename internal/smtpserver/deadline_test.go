package smtpserver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// pipes is a listener of in-memory connections, for tests in virtual time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close may come from the end of the context and from Run at once.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// peer is a client in virtual time.
type peer struct {
	t  *testing.T
	nc net.Conn
	br *bufio.Reader
}

func (p *pipes) dial(t *testing.T) *peer {
	client, server := net.Pipe()
	p.conns <- server
	t.Cleanup(func() { _ = client.Close() })
	return &peer{t, client, bufio.NewReader(client)}
}

func (c *peer) say(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, s); err != nil {
		c.t.Fatalf("writing %q: %v", s, err)
	}
}

func (c *peer) hear(want string) {
	c.t.Helper()
	line, err := c.br.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, want) {
		c.t.Fatalf("want %q, got %q, %v", want, line, err)
	}
}

func (c *peer) ask(s, want string) { c.t.Helper(); c.say(s); c.hear(want) }

func (c *peer) end() {
	c.t.Helper()
	if b, err := io.ReadAll(c.br); err != nil || len(b) > 0 {
		c.t.Fatalf("want the end, got %q, %v", b, err)
	}
}

// trickle writes s octet by octet, one each step, until the server hangs up.
func (c *peer) trickle(s string, step time.Duration) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		for i := range len(s) {
			if _, err := c.nc.Write([]byte{s[i]}); err != nil {
				return
			}
			time.Sleep(step)
		}
	}()
	return done
}

func (c *peer) envelope() {
	c.t.Helper()
	c.hear("220 ")
	c.ask("HELO x\r\n", "250 ")
	c.ask("MAIL FROM:<a@example.org>\r\n", "250 ")
	c.ask("RCPT TO:<b@example.com>\r\n", "250 ")
}

// virtual runs a server in virtual time; test gets it running, and the func that ends Run's context.
func virtual(t *testing.T, o Options, test func(t *testing.T, l *pipes, shut func(), down chan struct{})) {
	synctest.Test(t, func(t *testing.T) {
		o.Hostname, o.Logger = "mx.example.net", quiet
		s, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		l := newPipes()
		ctx, cancel := context.WithCancel(t.Context())
		down := make(chan struct{})
		go func() {
			defer close(down)
			if err := s.Run(ctx, l); err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		test(t, l, cancel, down)
		cancel()
		<-down
	})
}

// within fails the test unless about want has passed since start: deadlines may be an eighth late, never early.
func within(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	if d := time.Since(start); d < want || d > want+want/4+2*time.Second {
		t.Errorf("ended after %v, want %v", d, want)
	}
}

func TestSilentClient(t *testing.T) {
	virtual(t, Options{Handler: (&recorder{}).session}, func(t *testing.T, l *pipes, _ func(), _ chan struct{}) {
		start := time.Now()
		c := l.dial(t)
		c.hear("220 ")
		c.hear("421 4.4.2 ")
		c.end()
		within(t, start, DefaultCommandTimeout)
	})
}

func TestTricklingCommand(t *testing.T) {
	virtual(t, Options{Handler: (&recorder{}).session}, func(t *testing.T, l *pipes, _ func(), _ chan struct{}) {
		start := time.Now()
		c := l.dial(t)
		c.hear("220 ")
		done := c.trickle("NOOP "+strings.Repeat("x", 500), 2*time.Second)
		c.hear("421 4.4.2 ")
		c.end()
		within(t, start, DefaultCommandTimeout)
		<-done
	})
}

func TestPatientClientIsServed(t *testing.T) {
	virtual(t, Options{Handler: (&recorder{}).session}, func(t *testing.T, l *pipes, _ func(), _ chan struct{}) {
		c := l.dial(t)
		c.hear("220 ")
		for range 20 {
			time.Sleep(4 * time.Minute)
			c.ask("NOOP\r\n", "250 ")
		}
		c.ask("QUIT\r\n", "221 ")
		c.end()
	})
}

func TestTricklingContent(t *testing.T) {
	rec := &recorder{}
	virtual(t, Options{Handler: rec.session}, func(t *testing.T, l *pipes, _ func(), _ chan struct{}) {
		c := l.dial(t)
		c.envelope()
		c.ask("DATA\r\n", "354 ")
		start := time.Now()
		done := c.trickle(strings.Repeat("x", 500), time.Second)
		c.hear("421 4.4.2 The message comes in too slowly")
		c.end()
		within(t, start, DefaultDataGrace)
		<-done
	})
	if got := rec.calls[2]; !strings.HasPrefix(got, "Data failed: smtpserver: content comes in too") {
		t.Errorf("the session got %q", got)
	}
}

// A slow line that keeps the least rate is served, for longer than the grace and up to DataTimeout.
func TestSlowContent(t *testing.T) {
	send := func(t *testing.T, c *peer, kilobytes int) error {
		for range kilobytes {
			if _, err := io.WriteString(c.nc, strings.Repeat("x", 1022)+"\r\n"); err != nil {
				return err
			}
			time.Sleep(time.Second)
		}
		return nil
	}
	virtual(t, Options{Handler: (&recorder{}).session}, func(t *testing.T, l *pipes, _ func(), _ chan struct{}) {
		c := l.dial(t)
		c.envelope()
		c.ask("DATA\r\n", "354 ")
		if err := send(t, c, 20*60); err != nil {
			t.Fatal(err)
		}
		c.ask(".\r\n", "250 ")
		c.ask("QUIT\r\n", "221 ")
		c.end()
	})
	virtual(t, Options{Handler: (&recorder{}).session}, func(t *testing.T, l *pipes, _ func(), _ chan struct{}) {
		c := l.dial(t)
		c.envelope()
		c.ask("DATA\r\n", "354 ")
		start := time.Now()
		sent := make(chan error)
		go func() { sent <- send(t, c, 60*60) }()
		c.hear("421 4.4.2 ")
		c.end()
		within(t, start, DefaultDataTimeout)
		if err := <-sent; err == nil {
			t.Error("the server took an hour of content")
		}
	})
}

// handing is a session that takes an hour over each read of a content.
type handing struct {
	Session
	each time.Duration
}

func (h *handing) Data(_ context.Context, r io.Reader) (smtp.Reply, error) {
	p := make([]byte, 1000)
	for {
		_, err := r.Read(p)
		time.Sleep(h.each)
		if err == io.EOF {
			return smtp.Reply{}, nil
		}
		if err != nil {
			return smtp.Reply{}, err
		}
	}
}

// Time that we spend is not the client's.
func TestSlowSession(t *testing.T) {
	handler := func(ctx context.Context, info *ConnInfo) (Session, error) {
		s, err := (&recorder{}).session(ctx, info)
		return &handing{s, time.Hour}, err
	}
	virtual(t, Options{Handler: handler}, func(t *testing.T, l *pipes, _ func(), _ chan struct{}) {
		c := l.dial(t)
		c.envelope()
		c.ask("DATA\r\n", "354 ")
		for range 5 {
			c.say("some text\r\n")
		}
		c.ask(".\r\n", "250 ")
		c.ask("QUIT\r\n", "221 ")
		c.end()
	})
}

func TestClientThatDoesNotRead(t *testing.T) {
	virtual(t, Options{Handler: (&recorder{}).session}, func(t *testing.T, l *pipes, shut func(), down chan struct{}) {
		start := time.Now()
		c := l.dial(t)
		// Nobody reads the greeting; the server gives up writing it, and everything.
		for {
			if _, err := io.WriteString(c.nc, "NOOP\r\n"); err != nil {
				break
			}
		}
		within(t, start, DefaultWriteTimeout)
	})
}

func TestTricklingBetweenChunks(t *testing.T) {
	virtual(t, Options{Handler: (&recorder{}).session}, func(t *testing.T, l *pipes, _ func(), _ chan struct{}) {
		c := l.dial(t)
		c.envelope()
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				if _, err := io.WriteString(c.nc, "BDAT 1\r\nx"); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		}()
		for {
			line, err := c.br.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, "421 4.4.2 ") {
				break
			}
		}
		within(t, start, DefaultDataGrace)
		c.end()
		<-done
	})
}

func TestShutdownWhenIdle(t *testing.T) {
	virtual(t, Options{Handler: (&recorder{}).session}, func(t *testing.T, l *pipes, shut func(), down chan struct{}) {
		c := l.dial(t)
		c.hear("220 ")
		half := l.dial(t)
		half.hear("220 ")
		half.say("NO")
		synctest.Wait()
		start := time.Now()
		shut()
		c.hear("421 4.3.2 ")
		c.end()
		half.hear("421 4.3.2 ")
		half.end()
		<-down
		if d := time.Since(start); d != 0 {
			t.Errorf("shutting down took %v", d)
		}
	})
}

func TestShutdownInTransaction(t *testing.T) {
	rec := &recorder{}
	virtual(t, Options{Handler: rec.session}, func(t *testing.T, l *pipes, shut func(), down chan struct{}) {
		c := l.dial(t)
		c.envelope()
		shut()
		synctest.Wait()
		c.ask("RCPT TO:<c@example.com>\r\n", "250 ")
		time.Sleep(5 * time.Second)
		c.ask("DATA\r\n", "354 ")
		time.Sleep(5 * time.Second)
		c.ask("x\r\n.\r\n", "250 2.6.0 ")
		c.hear("421 4.3.2 ")
		c.end()
		<-down
	})
	if n := len(rec.calls); n != 5 || rec.calls[4] != "Reset" {
		t.Errorf("calls: %q", rec.calls)
	}
}

func TestShutdownHasABound(t *testing.T) {
	for _, where := range []string{"command", "content"} {
		rec := &recorder{}
		virtual(t, Options{Handler: rec.session}, func(t *testing.T, l *pipes, shut func(), down chan struct{}) {
			c := l.dial(t)
			c.envelope()
			if where == "content" {
				c.ask("DATA\r\n", "354 ")
				c.say("half a mess")
			}
			start := time.Now()
			shut()
			c.hear("421 4.3.2 ")
			c.end()
			<-down
			if d := time.Since(start); d != DefaultDrainTimeout {
				t.Errorf("%s: shutting down took %v", where, d)
			}
		})
		if last := rec.calls[len(rec.calls)-1]; last != "Reset" {
			t.Errorf("%s: last call %q", where, last)
		}
	}
}

// stuck is a session that hangs until its context ends.
type stuck struct{ Session }

func (stuck) Rcpt(ctx context.Context, _ mail.Address, _ RcptOptions) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestShutdownEndsAStuckSession(t *testing.T) {
	handler := func(ctx context.Context, info *ConnInfo) (Session, error) {
		s, err := (&recorder{}).session(ctx, info)
		return stuck{s}, err
	}
	virtual(t, Options{Handler: handler}, func(t *testing.T, l *pipes, shut func(), down chan struct{}) {
		c := l.dial(t)
		c.hear("220 ")
		c.ask("HELO x\r\n", "250 ")
		c.ask("MAIL FROM:<a@example.org>\r\n", "250 ")
		c.say("RCPT TO:<b@example.com>\r\n")
		start := time.Now()
		shut()
		c.hear("451 4.3.0 ")
		c.hear("421 4.3.2 ")
		c.end()
		<-down
		if d := time.Since(start); d != DefaultDrainTimeout {
			t.Errorf("shutting down took %v", d)
		}
	})
}

func TestHandlerRefuses(t *testing.T) {
	for want, err := range map[string]error{
		"554 5.7.1 Not you":          smtp.Refuse(554, smtp.Enhanced{5, 7, 1}, "Not you"),
		"451 4.3.0 Local trouble; t": errors.New("secret"),
	} {
		handler := func(context.Context, *ConnInfo) (Session, error) { return nil, err }
		virtual(t, Options{Handler: handler}, func(t *testing.T, l *pipes, _ func(), _ chan struct{}) {
			c := l.dial(t)
			c.hear(want)
			c.end()
		})
	}
}

// deaf is a session that does not hear that its context has ended.
type deaf struct{ Session }

func (deaf) Rcpt(context.Context, mail.Address, RcptOptions) error {
	time.Sleep(time.Hour)
	return nil
}

func TestShutdownWaitsForADeafSession(t *testing.T) {
	handler := func(ctx context.Context, info *ConnInfo) (Session, error) {
		s, err := (&recorder{}).session(ctx, info)
		return deaf{s}, err
	}
	virtual(t, Options{Handler: handler}, func(t *testing.T, l *pipes, shut func(), down chan struct{}) {
		c := l.dial(t)
		c.hear("220 ")
		c.ask("HELO x\r\n", "250 ")
		c.ask("MAIL FROM:<a@example.org>\r\n", "250 ")
		c.say("RCPT TO:<b@example.com>\r\n")
		start := time.Now()
		shut()
		c.end() // the client is let go when the time is up
		if d := time.Since(start); d != DefaultDrainTimeout+refusalWrite {
			t.Errorf("the client was let go after %v", d)
		}
		<-down // Run does not return before its goroutines
		if d := time.Since(start); d != time.Hour {
			t.Errorf("Run returned after %v", d)
		}
	})
}

func TestSilentHandshake(t *testing.T) {
	var n counts
	virtual(t, Options{Handler: (&recorder{}).session, TLS: testTLS(), Observer: n.observer()}, func(t *testing.T, l *pipes, _ func(), _ chan struct{}) {
		c := l.dial(t)
		c.hear("220 ")
		start := time.Now()
		c.ask("STARTTLS\r\n", "220 ")
		c.end()
		within(t, start, DefaultTLSTimeout)
	})
	if n.refused["tls"] != 1 {
		t.Errorf("observed %v", n.refused)
	}
}

func TestHandshakeOfGarbage(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		var n counts
		o := Options{Handler: (&recorder{}).session, TLS: testTLS(), ImplicitTLS: implicit, Observer: n.observer()}
		virtual(t, o, func(t *testing.T, l *pipes, _ func(), _ chan struct{}) {
			c := l.dial(t)
			if !implicit {
				c.hear("220 ")
				c.ask("STARTTLS\r\n", "220 ")
			}
			c.say("EHLO in clear\r\n")
			if _, err := io.Copy(io.Discard, c.br); err != nil { // a TLS alert
				t.Error(err)
			}
		})
		if n.refused["tls"] != 1 || n.open != 0 {
			t.Errorf("observed %+v", &n)
		}
	}
}

// starved is a listener out of descriptors for a while.
type starved struct {
	*pipes
	times atomic.Int64
}

func (s *starved) Accept() (net.Conn, error) {
	if s.times.Add(-1) >= 0 {
		return nil, errors.New("too many open files")
	}
	return s.pipes.Accept()
}

func TestAcceptTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Options{Hostname: "mx.example.net", Handler: (&recorder{}).session, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		l := &starved{pipes: newPipes()}
		l.times.Store(20)
		ctx, cancel := context.WithCancel(t.Context())
		down := make(chan struct{})
		go func() {
			defer close(down)
			if err := s.Run(ctx, l); err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		start := time.Now()
		c := l.dial(t)
		c.hear("220 ")
		if d := time.Since(start); d < 5*time.Second || d > 20*time.Second {
			t.Errorf("served after %v", d)
		}
		// While it waits, it still hears that it is over.
		l.times.Store(1000)
		d := l.dial(t)
		d.hear("220 ")
		cancel()
		c.hear("421 ")
		d.hear("421 ")
		<-down
	})
}
