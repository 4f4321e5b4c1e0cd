package smtpserver

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// mail is MAIL FROM.
func (c *conn) mail(args []byte) {
	switch {
	case c.info.Helo == "":
		c.wrong("MAIL", heloFirst)
		return
	case c.inMail:
		c.wrong("MAIL", nestedMail)
		return
	}
	c.orphans = 0
	from, o, err := c.parseMail(args)
	if err != nil {
		c.wrong("MAIL", err.Reply)
		return
	}
	if o.Size > c.o.MaxSize {
		c.reply("MAIL", declaredTooBig.Reply)
		return
	}
	c.info.UTF8 = o.UTF8
	if err := c.sess.Mail(c.ctx, from, o); err != nil {
		c.info.UTF8 = false
		if c.junk++; c.junk > c.o.MaxJunk {
			c.end("MAIL", tooMuchJunk, "junk")
			return
		}
		c.fail("MAIL", err)
		return
	}
	c.inMail, c.orphans = true, noOrphans
	c.reply("MAIL", replySender)
}

// rcpt is RCPT TO.
func (c *conn) rcpt(args []byte) {
	if !c.inMail {
		c.orphan("RCPT")
		return
	}
	c.rcptTried = true
	to, o, err := c.parseRcpt(args)
	if err != nil {
		// Malformed addresses come from lists, not from clients gone wrong: they do not count against it.
		c.reply("RCPT", err.Reply)
		return
	}
	if c.rcpts >= c.o.MaxRecipients {
		c.reply("RCPT", tooManyRcpts) // RFC 5321 §4.5.3.1.10
		return
	}
	if err := c.sess.Rcpt(c.ctx, to, o); err != nil {
		c.fail("RCPT", err)
		return
	}
	c.rcpts++
	c.reply("RCPT", replyRecipient)
}

func (c *conn) parseMail(args []byte) (from mail.Address, o MailOptions, err *smtp.ReplyError) {
	rest, ok := cutFold(args, "FROM:")
	if !ok {
		return from, o, badMail
	}
	text := string(rest)
	from, text, perr := mail.ParsePath(text)
	if perr != nil {
		return from, o, addressError(smtp.Enhanced{5, 1, 7}, perr)
	}
	var seen paramSet
	for text != "" {
		var key, value string
		if key, value, text, err = nextParam("MAIL", text); err != nil {
			return from, o, err
		}
		twice := false
		switch key {
		case "SIZE":
			o.Size, ok = parseDigits(value)
			ok = ok && seen.add(paramSize, &twice)
		case "BODY":
			o.EightBit = strings.EqualFold(value, "8BITMIME")
			ok = (o.EightBit || strings.EqualFold(value, "7BIT")) && seen.add(paramBody, &twice)
		case "SMTPUTF8":
			o.UTF8 = true
			ok = value == "" && seen.add(paramUTF8, &twice)
		case "REQUIRETLS":
			if !c.o.RequireTLS {
				return from, o, unknownParam("MAIL", key)
			}
			if c.info.TLS == nil {
				return from, o, requireTLSClear // RFC 8689 §4.2.1
			}
			o.RequireTLS = true
			ok = value == "" && seen.add(paramTLS, &twice)
		case "RET":
			o.Ret = strings.ToUpper(value)
			ok = (o.Ret == "FULL" || o.Ret == "HDRS") && seen.add(paramRet, &twice)
		case "ENVID":
			o.EnvID, ok = parseEnvID(value)
			ok = ok && seen.add(paramEnvID, &twice)
		case "AUTH":
			// RFC 4954 §5: must be read where AUTH is offered. Nobody's word on who wrote a message is taken here.
			_, xerr := smtp.ParseXtext(value)
			ok = value != "" && xerr == nil && seen.add(paramAuth, &twice)
		default:
			return from, o, unknownParam("MAIL", key)
		}
		switch {
		case twice:
			return from, o, refuseParam("MAIL", key, "is given twice")
		case !ok:
			return from, o, refuseParam("MAIL", key, paramForms[key])
		}
	}
	if !o.UTF8 && !isASCII(args) {
		return from, o, needUTF8
	}
	return from, o, nil
}

func (c *conn) parseRcpt(args []byte) (to mail.Address, o RcptOptions, err *smtp.ReplyError) {
	rest, ok := cutFold(args, "TO:")
	if !ok {
		return to, o, badRcpt
	}
	text := string(rest)
	if len(text) >= 12 && strings.EqualFold(text[:12], "<postmaster>") {
		to, text = mail.Address{Local: "postmaster", Domain: strings.ToLower(c.o.Hostname)}, text[12:] // RFC 5321 §4.5.1
	} else {
		var perr error
		if to, text, perr = mail.ParsePath(text); perr != nil {
			return to, o, addressError(smtp.Enhanced{5, 1, 3}, perr)
		}
	}
	if to.IsZero() {
		return to, o, nullRecipient
	}
	var seen paramSet
	for text != "" {
		var key, value string
		if key, value, text, err = nextParam("RCPT", text); err != nil {
			return to, o, err
		}
		twice := false
		switch key {
		case "NOTIFY":
			o.Notify, ok = parseNotify(value)
			ok = ok && seen.add(paramNotify, &twice)
		case "ORCPT":
			o.ORcpt, ok = parseORcpt(value)
			ok = ok && seen.add(paramORcpt, &twice)
		default:
			return to, o, unknownParam("RCPT", key)
		}
		switch {
		case twice:
			return to, o, refuseParam("RCPT", key, "is given twice")
		case !ok:
			return to, o, refuseParam("RCPT", key, paramForms[key])
		}
	}
	if !c.info.UTF8 && !isASCII(args) {
		return to, o, needUTF8
	}
	return to, o, nil
}

// cutFold cuts prefix, in any case, from args, and the spaces after it: RFC 5321 has none there, old clients do.
func cutFold(args []byte, prefix string) ([]byte, bool) {
	if len(args) < len(prefix) || !strings.EqualFold(string(args[:len(prefix)]), prefix) {
		return nil, false
	}
	return bytes.TrimLeft(args[len(prefix):], " "), true
}

func addressError(e smtp.Enhanced, err error) *smtp.ReplyError {
	text := strings.TrimPrefix(err.Error(), mail.ErrBadAddress.Error()+": ")
	return &smtp.ReplyError{Reply: smtp.NewReply(501, e, "Bad address: %s", text)}
}

// paramSet remembers which parameters came.
type paramSet uint16

const (
	paramSize paramSet = 1 << iota
	paramBody
	paramUTF8
	paramTLS
	paramRet
	paramEnvID
	paramAuth
	paramNotify
	paramORcpt
)

func (s *paramSet) add(p paramSet, twice *bool) bool {
	*twice = *s&p != 0
	*s |= p
	return !*twice
}

// paramForms says what the value of a parameter must be.
var paramForms = map[string]string{
	"SIZE":       "must be a number of octets",
	"BODY":       "must be 7BIT or 8BITMIME",
	"SMTPUTF8":   "takes no value",
	"REQUIRETLS": "takes no value",
	"RET":        "must be FULL or HDRS",
	"ENVID":      "must be 1 to 100 octets of xtext",
	"AUTH":       "must be an address in xtext or <>",
	"NOTIFY":     "must be NEVER or a list of SUCCESS, FAILURE, DELAY",
	"ORCPT":      "must be an address type, a semicolon and an address in xtext",
}

// maxKeyword bounds what is repeated of a keyword, in octets.
const maxKeyword = 40

// refuseParam names a parameter that is wrong. key is a keyword as nextParam returns it, harmless to repeat.
func refuseParam(verb, key, what string) *smtp.ReplyError { return paramReply(501, verb, key, what) }

func unknownParam(verb, key string) *smtp.ReplyError {
	return paramReply(555, verb, key, "is not supported")
}

func paramReply(code int, verb, key, what string) *smtp.ReplyError {
	if len(key) > maxKeyword {
		key = key[:maxKeyword] + "..."
	}
	return smtp.Refuse(code, smtp.Enhanced{5, 5, 4}, "%s parameter %s %s", verb, key, what)
}

// nextParam cuts one " keyword[=value]" from s (RFC 5321 §4.1.2, esmtp-param). The keyword, of letters, digits and hyphens, is
// returned in upper case.
func nextParam(verb, s string) (key, value, rest string, err *smtp.ReplyError) {
	param := strings.TrimLeft(s, " ")
	if len(param) == len(s) || param == "" {
		return "", "", "", malformedParam // something glued to the path, or to nothing
	}
	param, rest, _ = strings.Cut(param, " ")
	if rest != "" {
		rest = s[len(s)-len(rest)-1:]
	}
	key, value, hasValue := strings.Cut(param, "=")
	if key == "" {
		return "", "", "", malformedParam
	}
	for i := range len(key) {
		ch := key[i]
		if !('a' <= ch && ch <= 'z' || 'A' <= ch && ch <= 'Z' || '0' <= ch && ch <= '9' || ch == '-' && i > 0) {
			return "", "", "", malformedParam
		}
	}
	key = strings.ToUpper(key)
	if hasValue && value == "" {
		return "", "", "", refuseParam(verb, key, "has no value behind the =")
	}
	for i := range len(value) {
		if ch := value[i]; ch <= ' ' || ch == 0x7f {
			return "", "", "", refuseParam(verb, key, "has a value with control characters")
		}
	}
	return key, value, rest, nil
}

func parseDigits(s string) (n int64, ok bool) {
	if s == "" || len(s) > maxSizeDigits {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// parseEnvID decodes an envelope id: xtext of printable ASCII (RFC 3461 §4.4).
func parseEnvID(value string) (string, bool) {
	if len(value) > maxEnvID {
		return "", false
	}
	id, err := smtp.ParseXtext(value)
	if err != nil || id == "" {
		return "", false
	}
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return "", false
		}
	}
	return id, true
}

// parseNotify reads NOTIFY=NEVER or a list of the other three (RFC 3461 §4.1).
func parseNotify(value string) (n mail.Notify, ok bool) {
	for word := range strings.SplitSeq(value, ",") {
		var bit mail.Notify
		switch strings.ToUpper(word) {
		case "NEVER":
			bit = mail.NotifyNever
		case "SUCCESS":
			bit = mail.NotifySuccess
		case "FAILURE":
			bit = mail.NotifyFailure
		case "DELAY":
			bit = mail.NotifyDelay
		default:
			return 0, false
		}
		if n&bit != 0 {
			return 0, false
		}
		n |= bit
	}
	return n, n&mail.NotifyNever == 0 || n == mail.NotifyNever
}

// parseORcpt decodes an original recipient: address type, semicolon, xtext (RFC 3461 §4.2). The type utf-8 may hold
// UTF-8 as it is (RFC 6533 §3).
func parseORcpt(value string) (string, bool) {
	if len(value) > maxORcpt {
		return "", false
	}
	kind, text, ok := strings.Cut(value, ";")
	if !ok || kind == "" || text == "" {
		return "", false
	}
	for i := range len(kind) {
		ch := kind[i]
		if !('a' <= ch && ch <= 'z' || 'A' <= ch && ch <= 'Z' || '0' <= ch && ch <= '9' || ch == '-') {
			return "", false
		}
	}
	kind = strings.ToLower(kind)
	if kind != "utf-8" || isASCII([]byte(text)) {
		var err error
		if text, err = smtp.ParseXtext(text); err != nil {
			return "", false
		}
	}
	if !utf8.ValidString(text) {
		return "", false
	}
	for _, r := range text {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || r >= 0x80 && (kind != "utf-8" || !unicode.IsPrint(r)) {
			return "", false
		}
	}
	return kind + ";" + text, true
}

func isASCII(b []byte) bool {
	for _, ch := range b {
		if ch >= 0x80 {
			return false
		}
	}
	return true
}
