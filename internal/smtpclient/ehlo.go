package smtpclient

import (
	"strconv"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// Extensions is what a peer offers, read from its reply to EHLO.
type Extensions struct {
	Pipelining bool // RFC 2920
	Chunking   bool // RFC 3030
	EightBit   bool // RFC 6152
	UTF8       bool // RFC 6531
	StartTLS   bool // RFC 3207
	DSN        bool // RFC 3461
	RequireTLS bool // RFC 8689
	Size       int64
	Auth       []string // mechanisms, upper case
	// Limits of RFC 9422; 0: none told.
	MailMax, RcptMax, RcptDomainMax int
}

// Extensions returns what the peer offered in its last reply to EHLO.
func (c *Conn) Extensions() Extensions { return c.ext }

// Hello greets the peer with EHLO, or with HELO when it does not know EHLO (RFC 5321 §3.2). The error is an *Error of
// stage ehlo. A refusal of 550 and the like refuses us, not the command, and is not tried again as HELO.
func (c *Conn) Hello() error {
	c.ext = Extensions{}
	if err := c.command(mail.StageEhlo, smtp.EhloTimeout, "EHLO "+c.opts.Name); err != nil {
		return err
	}
	if c.ans.class() == 2 {
		c.ext = parseExtensions(c.ans.reply().Lines)
		c.log.opened()
		return nil
	}
	switch c.ans.code {
	case 500, 501, 502, 504:
		if err := c.command(mail.StageEhlo, smtp.EhloTimeout, "HELO "+c.opts.Name); err != nil {
			return err
		}
		if c.ans.class() == 2 {
			c.log.opened()
			return nil
		}
	}
	return c.unexpected(mail.StageEhlo)
}

// parseExtensions reads the lines of a reply to EHLO, of which the first is the greeting. Keywords are in any case
// (RFC 5321 §2.4); one that cannot be read counts as not offered.
func parseExtensions(lines []string) (e Extensions) {
	for i, line := range lines {
		if i == 0 {
			continue
		}
		keyword, params, _ := strings.Cut(strings.TrimSpace(line), " ")
		keyword = strings.ToUpper(keyword)
		// "AUTH=LOGIN PLAIN" is how servers wrote it before RFC 2554.
		if rest, ok := strings.CutPrefix(keyword, "AUTH="); ok {
			keyword, params = "AUTH", rest+" "+params
		}
		switch keyword {
		case "PIPELINING":
			e.Pipelining = true
		case "CHUNKING":
			e.Chunking = true
		case "8BITMIME":
			e.EightBit = true
		case "SMTPUTF8":
			e.UTF8 = true
		case "STARTTLS":
			e.StartTLS = true
		case "DSN":
			e.DSN = true
		case "REQUIRETLS":
			e.RequireTLS = true
		case "SIZE":
			// RFC 1870 §4: no number, or 0, is no limit.
			if n, err := strconv.ParseInt(strings.TrimSpace(params), 10, 64); err == nil && n > 0 {
				e.Size = n
			}
		case "AUTH":
			for mech := range strings.FieldsSeq(strings.ToUpper(params)) {
				if !e.offersAuth(mech) {
					e.Auth = append(e.Auth, mech)
				}
			}
		case "LIMITS":
			for limit := range strings.FieldsSeq(params) {
				name, value, _ := strings.Cut(limit, "=")
				n, err := strconv.Atoi(value)
				if err != nil || n < 1 {
					continue
				}
				switch strings.ToUpper(name) {
				case "MAILMAX":
					e.MailMax = n
				case "RCPTMAX":
					e.RcptMax = n
				case "RCPTDOMAINMAX":
					e.RcptDomainMax = n
				}
			}
		}
	}
	return e
}

func (e *Extensions) offersAuth(mech string) bool {
	for _, m := range e.Auth {
		if m == mech {
			return true
		}
	}
	return false
}
