package smtpclient

import (
	"strconv"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// maxEnvID and maxORcpt bound DSN parameters, in octets as sent (RFC 3461 §4.4 and §4.2). One that is longer is left
// out: it is the sender's bookkeeping, no reason not to deliver.
const (
	maxEnvID = 100
	maxORcpt = 500
)

// appendMail appends the MAIL command with the parameters the peer understands.
func (c *Conn) appendMail(b []byte, t *Transaction) []byte {
	b = append(b, "MAIL FROM:"...)
	b = append(b, t.From.Path()...)
	if c.ext.Size > 0 {
		b = append(b, " SIZE="...) // RFC 1870 §6
		b = strconv.AppendInt(b, int64(len(t.Prefix))+t.Body.Size(), 10)
	}
	if t.EightBit {
		b = append(b, " BODY=8BITMIME"...)
	}
	if t.UTF8 || !t.ascii() {
		b = append(b, " SMTPUTF8"...)
	}
	if t.RequireTLS {
		b = append(b, " REQUIRETLS"...)
	}
	if c.ext.DSN {
		if t.Ret != "" {
			b = append(append(b, " RET="...), t.Ret...)
		}
		if t.EnvID != "" {
			b = appendParam(b, " ENVID=", t.EnvID, maxEnvID)
		}
	}
	return append(b, '\r', '\n')
}

// appendRcpt appends the RCPT command with the parameters the peer understands.
func (c *Conn) appendRcpt(b []byte, r *Recipient) []byte {
	b = append(b, "RCPT TO:"...)
	b = append(b, r.Addr.Path()...)
	if c.ext.DSN {
		if r.Notify != 0 {
			b = appendNotify(b, r.Notify)
		}
		if r.ORcpt != "" {
			b = appendParam(b, " ORCPT=", r.ORcpt, maxORcpt)
		}
	}
	return append(b, '\r', '\n')
}

func appendNotify(b []byte, n mail.Notify) []byte {
	b = append(b, " NOTIFY="...)
	if n&mail.NotifyNever != 0 {
		return append(b, "NEVER"...)
	}
	for _, c := range [...]struct {
		bit  mail.Notify
		name string
	}{{mail.NotifySuccess, "SUCCESS,"}, {mail.NotifyFailure, "FAILURE,"}, {mail.NotifyDelay, "DELAY,"}} {
		if n&c.bit != 0 {
			b = append(b, c.name...)
		}
	}
	return b[:len(b)-1]
}

// appendParam appends name and value, the value in xtext (RFC 3461 §4), or nothing when that is longer than limit. The
// address type of an ORCPT needs no encoding.
func appendParam(b []byte, name, value string, limit int) []byte {
	start := len(b)
	b = smtp.AppendXtext(append(b, name...), value)
	if len(b)-start-len(name) > limit {
		return b[:start]
	}
	return b
}

func (t *Transaction) ascii() bool {
	if !t.From.IsASCII() {
		return false
	}
	for i := range t.Rcpts {
		if !t.Rcpts[i].Addr.IsASCII() {
			return false
		}
	}
	return true
}

// validAddress reports whether a is what mail.ParseAddress lets through, as far as the dialogue is concerned: no
// control character or octet that ends the path or the command, whoever made the value.
func validAddress(a mail.Address) bool {
	if a.Local == "" || a.Domain == "" || len(a.Local) > 2*mail.MaxLocalPart || len(a.Domain) > mail.MaxDomain {
		return false
	}
	for i := range len(a.Local) {
		if c := a.Local[i]; c < ' ' || c == 0x7f {
			return false
		}
	}
	for i := range len(a.Domain) {
		if c := a.Domain[i]; c <= ' ' || c >= 0x7f || c == '<' || c == '>' || c == '@' {
			return false
		}
	}
	return true
}
