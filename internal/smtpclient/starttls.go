package smtpclient

import (
	"crypto/tls"
	"fmt"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// StartTLS asks for TLS and greets the peer again (RFC 3207 §4.2). Nothing the peer said in clear survives: its
// extensions are forgotten and what it sent ahead of the handshake is dropped (see Injected). A refusal leaves the
// connection usable in clear; after any other error it is closed. The error is an *Error of stage starttls, or ehlo
// for the greeting.
func (c *Conn) StartTLS(config *tls.Config) error {
	if c.tls != nil {
		return c.fail(mail.StageStartTLS, fmt.Errorf("%w: TLS is on already", ErrBadArgument))
	}
	if !c.ext.StartTLS {
		return &Error{Stage: mail.StageStartTLS, Host: c.who, Err: fmt.Errorf("STARTTLS %w", ErrNotOffered)}
	}
	if err := c.command(mail.StageStartTLS, smtp.TLSTimeout, "STARTTLS"); err != nil {
		return err
	}
	if c.ans.class() != 2 {
		return c.unexpected(mail.StageStartTLS)
	}
	if n := c.in.drop(); n > 0 {
		c.injected += n
		c.log.note("dropped %d octets sent in clear after the reply to STARTTLS", n)
	}
	if err := c.handshake(config); err != nil {
		return err
	}
	return c.Hello()
}

func (c *Conn) handshake(config *tls.Config) error {
	c.ext = Extensions{}
	conn := tls.Client(c.raw, config)
	if err := c.arm(c.raw.SetDeadline, smtp.TLSTimeout); err != nil {
		return c.fail(mail.StageStartTLS, err)
	}
	if err := conn.Handshake(); err != nil {
		return c.fail(mail.StageStartTLS, fmt.Errorf("TLS handshake: %w", err))
	}
	state := conn.ConnectionState()
	c.tls, c.conn, c.in.src = &state, conn, conn
	c.log.note("%s, %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
	return nil
}
