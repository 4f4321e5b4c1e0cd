package smtpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// Server serves the dialogue with one set of options.
type Server struct {
	o       Options
	readers sync.Pool // of *bufio.Reader
}

// New returns a server. It returns an error where options contradict themselves.
func New(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{o: o}
	s.readers.New = func() any { return bufio.NewReaderSize(nil, readBuffer) }
	return s, nil
}

// service is one run of a server over one listener.
type service struct {
	*Server
	o        *Options
	ctx      context.Context // of the sessions; outlives Run's by the drain
	draining atomic.Bool     // no new transactions
	hard     atomic.Bool     // no waiting for clients any more

	mu    sync.Mutex
	conns map[*conn]struct{}
	wg    sync.WaitGroup
}

// Run serves the connections of l until ctx ends or l fails, and closes l. Then it lets the transactions in hand go
// on for DrainTimeout, answers 421 4.3.2 to everybody, and returns when all connections have ended: nil, or why l
// failed. It may be called for several listeners at once.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	sessions, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	v := &service{Server: s, o: &s.o, ctx: sessions, conns: map[*conn]struct{}{}}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	err := v.accept(ctx, l)
	stop()
	_ = l.Close()
	v.drain(kill)
	return err
}

func (v *service) accept(ctx context.Context, l net.Listener) error {
	var pause time.Duration
	for {
		nc, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("smtpserver: accept on %s: %w", l.Addr(), err)
			}
			// Out of descriptors, most likely; or a connection that was gone before we took it.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			v.o.Logger.Error("accepting connections fails; trying again", mail.LogErr, err, mail.LogDelay, pause)
			t := time.NewTimer(pause)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
			}
			continue
		}
		pause = 0
		if !v.o.Caps.enter() {
			v.turnAway(nc, "total", tooManyInAll)
			continue
		}
		v.wg.Go(func() {
			defer v.o.Caps.leave()
			v.handle(nc)
		})
	}
}

// turnAway answers a connection that is not served. A few octets into a fresh connection do not block.
func (v *service) turnAway(nc net.Conn, reason string, r smtp.Reply) {
	v.o.Observer.Refused(reason)
	if !v.o.ImplicitTLS {
		_ = nc.SetWriteDeadline(time.Now().Add(refusalWrite))
		_, _ = nc.Write(r.Append(nil))
	}
	_ = nc.Close()
}

// drain ends all connections: those without a transaction at once, the others when it is over or the time is.
func (v *service) drain(kill context.CancelFunc) {
	v.draining.Store(true)
	v.wake(func(c *conn) bool { return c.idle.Load() })
	done := make(chan struct{})
	go func() { v.wg.Wait(); close(done) }()
	if waitFor(done, v.o.DrainTimeout) {
		return
	}
	v.hard.Store(true)
	kill()
	v.wake(func(*conn) bool { return true })
	if waitFor(done, refusalWrite) {
		return
	}
	v.mu.Lock()
	for c := range v.conns {
		_ = c.raw.Close()
	}
	v.mu.Unlock()
	<-done
}

// wake interrupts the reads of those connections.
func (v *service) wake(which func(*conn) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.conns {
		if which(c) {
			_ = c.raw.SetReadDeadline(past)
		}
	}
}

func waitFor(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

var past = time.Unix(1, 0)
