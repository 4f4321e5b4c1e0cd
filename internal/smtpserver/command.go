package smtpserver

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/smtp"
)

// maxVerb is the length of the longest verb looked up.
const maxVerb = 8

// splitCommand returns the verb in upper case, written to buf, and the arguments without the space before them and
// without trailing white space (RFC 5321 §4.1.1: trailing white space is tolerated). A verb too long for buf comes
// back empty.
func splitCommand(buf *[maxVerb]byte, line []byte) (verb, args []byte) {
	line = bytes.TrimRight(line, " \t")
	n := bytes.IndexByte(line, ' ')
	if n < 0 {
		n = len(line)
	} else {
		args = bytes.TrimLeft(line[n:], " ")
	}
	if n > maxVerb {
		return nil, args
	}
	for i, ch := range line[:n] {
		if 'a' <= ch && ch <= 'z' {
			ch -= 'a' - 'A'
		}
		buf[i] = ch
	}
	return buf[:n], args
}

// command carries out one command.
func (c *conn) command(line []byte) {
	var buf [maxVerb]byte
	verb, args := splitCommand(&buf, line)
	switch string(verb) {
	case "MAIL":
		c.mail(args)
	case "RCPT":
		c.rcpt(args)
	case "DATA":
		c.data(args)
	case "BDAT":
		c.bdat(args)
	case "EHLO":
		c.helo("EHLO", args)
	case "HELO":
		c.helo("HELO", args)
	case "AUTH":
		c.auth(args)
	case "STARTTLS":
		c.startTLS(args)
	case "RSET":
		if len(args) > 0 {
			c.wrong("RSET", noArguments)
			return
		}
		c.endTransaction()
		c.idleCommand("RSET", replyOK)
	case "NOOP":
		c.idleCommand("NOOP", replyOK)
	case "QUIT":
		if len(args) > 0 {
			c.wrong("QUIT", noArguments)
			return
		}
		c.closing = true
		c.reply("QUIT", replyBye)
	case "VRFY":
		if len(args) == 0 {
			c.wrong("VRFY", needArgument)
			return
		}
		c.idleCommand("VRFY", replyVrfy)
	case "HELP":
		c.idleCommand("HELP", replyHelp)
	case "EXPN", "TURN", "ETRN", "SEND", "SOML", "SAML":
		c.wrong("?", notImplemented)
	case "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE":
		// A browser talked into sending mail for somebody: its form fields must not be looked at.
		c.end("?", notHTTP, "http")
	default:
		c.wrong("?", unknownCommand)
	}
}

// idleCommand answers a command that brings no message nearer.
func (c *conn) idleCommand(verb string, r smtp.Reply) {
	if c.junk++; c.junk > c.o.MaxJunk {
		c.end(verb, tooMuchJunk, "junk")
		return
	}
	c.reply(verb, r)
}

// helo is EHLO and HELO (RFC 5321 §4.1.1.1). Either resets.
func (c *conn) helo(verb string, args []byte) {
	if !validHelo(args) {
		c.wrong(verb, badHelo)
		return
	}
	c.endTransaction()
	c.info.Helo, c.info.Extended = asciiName(args), verb == "EHLO"
	r := smtp.Reply{Code: 250, Lines: []string{c.o.Hostname}}
	if c.info.Extended {
		r.Lines = c.extensions()
	}
	c.idleCommand(verb, r)
}

// validHelo checks the form of the client's name, no more: RFC 5321 §4.1.4 forbids to refuse mail over it, and
// clients behind NAT say all sorts of things. What could break a header field or a log line is refused.
func validHelo(name []byte) bool {
	if len(name) == 0 || len(name) > maxHelo || !utf8.Valid(name) {
		return false
	}
	for _, r := range string(name) {
		switch {
		case r <= ' ', r == '<', r == '>', r == '(', r == ')', r == '"', r == '\\', r == ';', r == ',':
			return false
		case !unicode.IsPrint(r):
			return false
		}
	}
	return true
}

// asciiName makes a name fit for a header field.
func asciiName(name []byte) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return '?'
		}
		return r
	}, string(name))
}

// extensions are the lines of the reply to EHLO as things stand.
func (c *conn) extensions() []string {
	lines := []string{
		c.o.Hostname,
		"PIPELINING",
		"SIZE " + strconv.FormatInt(c.o.MaxSize, 10),
		"8BITMIME",
		"SMTPUTF8",
		"CHUNKING",
		"DSN",
		"ENHANCEDSTATUSCODES",
		"LIMITS RCPTMAX=" + strconv.Itoa(c.o.MaxRecipients), // RFC 9422
	}
	if c.o.TLS != nil && c.info.TLS == nil {
		lines = append(lines, "STARTTLS")
	}
	if c.o.RequireTLS && c.info.TLS != nil {
		lines = append(lines, "REQUIRETLS")
	}
	if _, ok := c.sess.(AuthSession); ok && !c.info.Authenticated && c.authAllowed() {
		lines = append(lines, "AUTH PLAIN LOGIN")
	}
	return lines
}
