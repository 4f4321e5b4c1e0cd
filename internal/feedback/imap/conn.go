package imap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	imap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// Time-outs of the steps of a dialogue. A search or fetch in a large mailbox on a slow disk takes minutes.
const (
	connectTimeout = 30 * time.Second
	loginTimeout   = time.Minute
	answerTimeout  = 3 * time.Minute
	logoutTimeout  = 5 * time.Second
)

// maxAnswer bounds what a server may send in one step, in octets: a report of spool.MaxReport, or the numbers of a
// million and a half mails. A server that sends more is cut off.
const maxAnswer = 16 << 20

var errTooMuch = errors.New("the server sent more than it was asked for")

// loginError is a refusal of our name and password.
type loginError struct{ err error }

func (e *loginError) Error() string { return e.err.Error() }
func (e *loginError) Unwrap() error { return e.err }

// bounded is a connection that reads no more than it is allowed.
type bounded struct {
	net.Conn
	left atomic.Int64
	once sync.Once
	err  error
}

func (c *bounded) Read(b []byte) (int, error) {
	if c.left.Load() <= 0 {
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(b)
	c.left.Add(-int64(n))
	return n, err
}

func (c *bounded) Close() error {
	c.once.Do(func() { c.err = c.Conn.Close() })
	return c.err
}

// conn is one session with a server. One goroutine uses it.
type conn struct {
	net      *bounded
	client   *imapclient.Client
	grown    chan struct{} // told that the mailbox has changed
	patience float64       // Options.Patience
	noIdle   bool          // the server refuses IDLE
}

// connect dials, secures and logs in. A refused login is a *loginError.
func (r *reader) connect(ctx context.Context) (_ *conn, err error) {
	password, err := r.o.Password(r.at.account, &r.box)
	if err != nil {
		return nil, &loginError{err}
	}
	dialing, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := r.o.Dial(dialing, "tcp", net.JoinHostPort(r.box.Host, strconv.Itoa(r.box.Port)))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &conn{net: &bounded{Conn: raw}, grown: make(chan struct{}, 1), patience: r.o.Patience}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if r.box.TLS == platform.TLSNone && !near(raw.RemoteAddr()) {
		return nil, fmt.Errorf("connect: %s is no address near enough for a password in clear", raw.RemoteAddr())
	}
	err = c.step(ctx, "secure", connectTimeout, func() error { return c.secure(&r.box) })
	if err != nil {
		return nil, err
	}
	if err := c.step(ctx, "log in", loginTimeout, func() error { return c.login(r.box.Username, password) }); err != nil {
		return nil, err
	}
	return c, nil
}

// near reports whether an address is on this machine or in a private network.
func near(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && (ap.Addr().Unmap().IsLoopback() || ap.Addr().Unmap().IsPrivate())
}

// secure brings the connection to where commands can be sent.
func (c *conn) secure(b *platform.Mailbox) error {
	config := &tls.Config{ServerName: b.Host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: b.TLS == platform.TLSRequired} //nolint:gosec // what "required" means
	if b.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(b.CA)) {
			return errors.New("ca holds no certificate in PEM")
		}
	}
	o := &imapclient.Options{TLSConfig: config, UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				select {
				case c.grown <- struct{}{}:
				default:
				}
			}
		},
	}}
	var err error
	switch b.TLS {
	case platform.TLSNone:
		c.client = imapclient.New(c.net, o)
	case platform.TLSVerify, platform.TLSRequired:
		// It refuses a server that is logged in before TLS, and one that slips commands in behind STARTTLS.
		c.client, err = imapclient.NewStartTLS(c.net, o)
	default:
		config.NextProtos = []string{"imap"}
		secured := tls.Client(c.net, config)
		if err = secured.Handshake(); err == nil {
			c.client = imapclient.New(secured, o)
		}
	}
	if err != nil {
		return err
	}
	return c.client.WaitGreeting()
}

// login logs in. What the server says no to is a *loginError, unless it says that the fault is its own (RFC 5530 §3).
func (c *conn) login(username, password string) error {
	caps := c.client.Caps()
	if c.client.State() == imap.ConnStateAuthenticated {
		return nil // greeted with PREAUTH
	}
	var err error
	switch {
	case !caps.Has(imap.CapLoginDisabled):
		err = c.client.Login(username, password).Wait()
	case caps.Has(imap.AuthCap(sasl.Plain)):
		err = c.client.Authenticate(sasl.NewPlainClient("", username, password))
	default:
		return &loginError{errors.New("the server offers neither LOGIN nor AUTH=PLAIN")}
	}
	if err == nil {
		return nil
	}
	var no *imap.Error
	refused := errors.As(err, &no)
	// A server may quote what it does not like, and the error gets into an alert and the log.
	shown := mail.MaskSecrets(err.Error(), password, base64.StdEncoding.EncodeToString([]byte("\x00"+username+"\x00"+password)))
	if shown != err.Error() {
		err = errors.New(shown)
	}
	if refused && no.Code != imap.ResponseCodeUnavailable && no.Code != imap.ResponseCodeInUse && no.Code != imap.ResponseCodeLimit {
		return &loginError{err}
	}
	return err
}

// step runs one exchange with the server: it ends in time, or with the connection.
func (c *conn) step(ctx context.Context, what string, most time.Duration, do func() error) error {
	most = time.Duration(float64(most) * c.patience)
	timed, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("no answer within %s", most))
	defer cancel()
	c.net.left.Store(maxAnswer)
	stop := context.AfterFunc(timed, func() { c.net.Close() })
	err := do()
	if !stop() {
		err = context.Cause(timed)
	} else if c.net.left.Load() <= 0 {
		err = errTooMuch
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// close says goodbye if the server listens, and ends the connection.
func (c *conn) close() {
	if c.client != nil {
		_ = c.step(context.Background(), "log out", logoutTimeout, func() error { return c.client.Logout().Wait() })
	}
	c.net.Close()
	if c.client != nil {
		c.client.Close()
	}
}
