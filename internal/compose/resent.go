package compose

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Resending is what the fields of a message that is sent again tell.
type Resending struct {
	From mail.Address // who sends it again
	// To are the recipients that may be named to each other; none: the field is left out, as RFC 5322 §3.6.6 allows.
	To        []mail.Address
	MessageID string // of this sending, without angle brackets
	At        time.Time
}

// Resent writes the block of fields that goes before the header of a message that is brought into the mail system again
// (RFC 5322 §3.6.6), CRLF included. Everything below it, Message-ID and Date too, stays what it was.
func Resent(r Resending) []byte {
	b := make([]byte, 0, 300)
	b = append(b, "Resent-Date: "...)
	b = append(r.At.AppendFormat(b, DateFormat), "\r\nResent-From: "...)
	b = append(append(b, r.From.String()...), "\r\n"...)
	for i, to := range r.To {
		if i == 0 {
			b = append(b, "Resent-To: "...)
		} else {
			b = append(b, ",\r\n "...)
		}
		b = append(b, to.String()...)
	}
	if len(r.To) > 0 {
		b = append(b, "\r\n"...)
	}
	return append(append(append(b, "Resent-Message-ID: <"...), r.MessageID...), ">\r\n"...)
}
