package smtpserver

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// startTLS is STARTTLS (RFC 3207). Whatever the client sent in clear after it is thrown away, and the dialogue begins
// anew with another session: octets that somebody on the way slipped in before the handshake cannot become commands,
// and nothing claimed before it is remembered.
func (c *conn) startTLS(args []byte) {
	switch {
	case len(args) > 0:
		c.wrong("STARTTLS", noArguments)
		return
	case c.o.TLS == nil:
		c.wrong("STARTTLS", noTLS)
		return
	case c.info.TLS != nil:
		c.wrong("STARTTLS", tlsAlready)
		return
	}
	c.reply("STARTTLS", replyTLSReady)
	if err := c.flush(); err != nil {
		c.broken(err)
		return
	}
	c.endSession()
	c.info.Helo, c.info.Extended, c.info.Authenticated = "", false, false
	if !c.handshake() {
		c.closing = true
		return
	}
	c.begin("STARTTLS")
}

// handshake puts TLS over the connection, with an empty read buffer.
func (c *conn) handshake() bool {
	nc := tls.Server(c.raw, c.o.TLS)
	ctx, cancel := context.WithTimeout(c.ctx, c.o.TLSTimeout)
	defer cancel()
	_ = c.raw.SetDeadline(time.Now().Add(c.o.TLSTimeout))
	err := nc.HandshakeContext(ctx)
	_ = c.raw.SetDeadline(time.Time{})
	c.clock.armed, c.writeArmed = time.Time{}, time.Time{}
	if err != nil {
		c.o.Observer.Refused("tls")
		c.log.Debug("TLS handshake failed", mail.LogErr, err)
		return false
	}
	c.nc = nc
	c.br.Reset(connReader{c})
	state := nc.ConnectionState()
	c.info.TLS = &state
	return true
}
