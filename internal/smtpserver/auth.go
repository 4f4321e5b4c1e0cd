package smtpserver

import (
	"bytes"
	"encoding/base64"
	"errors"

	"github.com/postroad/postroad/internal/smtp"
)

// authAllowed reports whether a password may be sent as things stand.
func (c *conn) authAllowed() bool {
	return c.info.TLS != nil || c.o.ClearAuth && c.info.Remote.Addr().Unmap().IsLoopback()
}

// auth is AUTH (RFC 4954).
func (c *conn) auth(args []byte) {
	sess, ok := c.sess.(AuthSession)
	switch {
	case !ok:
		c.wrong("AUTH", noAuth)
		return
	case !c.info.Extended:
		c.wrong("AUTH", ehloFirst)
		return
	case c.info.Authenticated:
		c.wrong("AUTH", authTwice)
		return
	case c.inMail:
		c.wrong("AUTH", authInMail)
		return
	case !c.authAllowed():
		c.wrong("AUTH", clearAuth)
		return
	}
	mechanism, initial, _ := bytes.Cut(args, []byte(" "))
	var cred Credentials
	switch {
	case bytes.EqualFold(mechanism, []byte("PLAIN")):
		cred, ok = c.authPlain(bytes.Clone(initial))
	case bytes.EqualFold(mechanism, []byte("LOGIN")):
		cred, ok = c.authLogin(bytes.Clone(initial))
	case len(mechanism) == 0:
		c.wrong("AUTH", needArgument)
		return
	default:
		c.wrong("AUTH", noMechanism)
		return
	}
	if !ok {
		return // answered
	}
	if err := sess.Auth(c.ctx, cred); err != nil {
		c.authFailed(err)
		return
	}
	c.info.Authenticated = true
	c.reply("AUTH", replyAuthed)
}

// authFailed answers a refused log-in. Guessing costs more of the error budget than a slip of the protocol.
func (c *conn) authFailed(err error) {
	var re *smtp.ReplyError
	if errors.As(err, &re) && re.Reply.Permanent() {
		c.errors += authErrorWeight - 1
		if c.errors+1 >= c.o.MaxErrors {
			c.end("AUTH", tooManyErrors, "errors")
			return
		}
		c.errors++
	}
	c.fail("AUTH", err)
}

// authErrorWeight is how many errors a refused log-in counts for.
const authErrorWeight = 3

// authPlain reads the one message of PLAIN: authorisation identity, NUL, user name, NUL, password (RFC 4616).
func (c *conn) authPlain(initial []byte) (cred Credentials, ok bool) {
	msg, ok := c.authMessage(initial, replyGiveSecret)
	if !ok {
		return cred, false
	}
	parts := bytes.Split(msg, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 {
		c.wrong("AUTH", authMalformed)
		return cred, false
	}
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		c.wrong("AUTH", badIdentity)
		return cred, false
	}
	return Credentials{Mechanism: "PLAIN", Username: string(parts[1]), Password: string(parts[2])}, true
}

// authLogin reads the two messages of LOGIN; the initial response, where one is sent, is the user name.
func (c *conn) authLogin(initial []byte) (cred Credentials, ok bool) {
	user, ok := c.authMessage(initial, replyUsername)
	if !ok {
		return cred, false
	}
	if len(user) == 0 || bytes.IndexByte(user, 0) >= 0 {
		c.wrong("AUTH", authMalformed)
		return cred, false
	}
	password, ok := c.authMessage(nil, replyPassword)
	if !ok {
		return cred, false
	}
	return Credentials{Mechanism: "LOGIN", Username: string(user), Password: string(password)}, true
}

// authMessage returns one decoded message of the client: initial, or what it answers to challenge. When there is none
// it has answered why, and reports false.
func (c *conn) authMessage(initial []byte, challenge smtp.Reply) ([]byte, bool) {
	line := initial
	if len(line) == 0 {
		c.reply("AUTH", challenge)
		c.clock.startCommand()
		var err error
		if line, err = c.readLine(true); err != nil {
			c.lineError(err)
			return nil, false
		}
		if string(line) == "*" {
			c.wrong("AUTH", authCancelled)
			return nil, false
		}
	} else if string(line) == "=" {
		return nil, true // RFC 4954 §4: an initial response of no octets
	}
	msg, err := base64.StdEncoding.AppendDecode(nil, line)
	if err != nil {
		c.wrong("AUTH", authMalformed)
		return nil, false
	}
	return msg, true
}
