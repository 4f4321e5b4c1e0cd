package delivery

import "github.com/postroad/postroad/internal/mail"

// tokenField is our name in a message that went out. It comes back with a returned header wherever the return path is
// lost: with complaints to fixed addresses, with bounces that a relay sends to the author. It signs itself, so DKIM does
// not cover it, and one DKIM signature serves all recipients of a message.
const tokenField = "X-Postroad-Token: "

// token appends the field of a transaction; d is nil where it has several recipients.
func (d *Delivery) token(b []byte, m *mail.Message, one *mail.Delivery) []byte {
	if d.opts.Token == nil {
		return b
	}
	return append(append(append(b, tokenField...), d.opts.Token(m, one)...), "\r\n"...)
}

// prefix makes what goes before the body in the transaction of s.group.
func (s *session) prefix(c *content) []byte {
	var one *mail.Delivery
	if len(s.group) == 1 {
		one = s.job.Deliveries[s.group[0]]
	}
	s.head = append(s.d.token(s.head[:0], s.job.Message, one), c.prefix...)
	return s.head
}
