package smtpclient

import (
	"crypto/hmac"
	"crypto/md5" // CRAM-MD5 (RFC 2195) is what some gateways have
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// Credentials is how to log in.
type Credentials struct {
	// Mechanism is "plain", "login" or "cram-md5"; "": the first of these that the peer offers, without TLS only
	// cram-md5.
	Mechanism          string
	Username, Password string
	// AllowClear lets the password go out in clear: for loopback peers.
	AllowClear bool
}

// Auth logs in (RFC 4954). The error is an *Error of stage auth; one that wraps ErrNotOffered or ErrClearText leaves
// the connection as it was.
func (c *Conn) Auth(cred Credentials) error {
	refuse := func(err error) error { return &Error{Stage: mail.StageAuth, Host: c.who, Err: err} }
	inClear := c.tls == nil && !cred.AllowClear
	mech := strings.ToUpper(cred.Mechanism)
	if mech == "" {
		for _, m := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
			if c.ext.offersAuth(m) && (m == "CRAM-MD5" || !inClear) {
				mech = m
				break
			}
		}
		if mech == "" {
			return refuse(fmt.Errorf("AUTH by a mechanism we can use %w", ErrNotOffered))
		}
	}
	if !c.ext.offersAuth(mech) {
		return refuse(fmt.Errorf("AUTH %s %w", mech, ErrNotOffered))
	}
	if strings.ContainsRune(cred.Username+cred.Password, 0) {
		return refuse(fmt.Errorf("%w: NUL in a user name or password", ErrBadArgument))
	}
	if inClear && mech != "CRAM-MD5" {
		return refuse(ErrClearText)
	}
	defer func() { c.ans.secrets = nil }()
	var err error
	switch mech {
	case "PLAIN": // RFC 4616
		err = c.authLine("AUTH PLAIN ", b64("\x00"+cred.Username+"\x00"+cred.Password), cred.Password)
	case "LOGIN":
		if err = c.authLine("AUTH LOGIN", ""); err == nil && c.ans.code == 334 {
			if err = c.authLine("", b64(cred.Username)); err == nil && c.ans.code == 334 {
				err = c.authLine("", b64(cred.Password), cred.Password)
			}
		}
	case "CRAM-MD5":
		if err = c.authLine("AUTH CRAM-MD5", ""); err == nil && c.ans.code == 334 {
			challenge, decodeErr := base64.StdEncoding.DecodeString(strings.TrimSpace(strings.Join(c.ans.reply().Lines, "")))
			if decodeErr != nil {
				return c.fail(mail.StageAuth, fmt.Errorf("%w: the challenge is not base64", ErrProtocol))
			}
			proof := cramMD5(cred.Username, cred.Password, challenge)
			err = c.authLine("", b64(proof), proof[len(cred.Username)+1:])
		}
	default:
		return refuse(fmt.Errorf("%w: AUTH mechanism %q", ErrBadArgument, mech))
	}
	if err != nil {
		return err
	}
	if c.ans.class() != 2 {
		return c.unexpected(mail.StageAuth)
	}
	c.log.opened()
	return nil
}

// authLine is command for a line that ends with a secret, which is shown to nobody. Peers that are at odds with the line
// may quote it: neither the secret nor what else would give it away is kept of their reply.
func (c *Conn) authLine(line, secret string, alike ...string) error {
	c.out = append(append(append(c.out[:0], line...), secret...), '\r', '\n')
	shown := line
	if secret != "" {
		shown += mail.MaskedSecret
		c.ans.hide(append(alike, secret)...)
	}
	c.log.add("C: ", []byte(shown))
	err := c.write(mail.StageAuth, smtp.AuthTimeout)
	clear(c.out)
	if err != nil {
		return err
	}
	return c.read(mail.StageAuth, smtp.AuthTimeout)
}

// cramMD5 answers a challenge (RFC 2195 §2).
func cramMD5(username, password string, challenge []byte) string {
	h := hmac.New(md5.New, []byte(password))
	h.Write(challenge)
	return username + " " + hex.EncodeToString(h.Sum(nil))
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
