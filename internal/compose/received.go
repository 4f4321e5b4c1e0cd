package compose

import (
	"net/netip"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Trace is what a Received field tells of an acceptance.
type Trace struct {
	Host     string    // our own name
	Protocol string    // RFC 3848, RFC 6531: ESMTPSA, UTF8SMTPSA …; HTTP for the API
	ID       string    // the message's id
	TLS      string    // version and cipher, as a comment; "": clear
	At       time.Time // of acceptance

	// For is the recipient. It is given only where the message has one: else Bcc recipients would show.
	For mail.Address
	// Client and Helo are shown only if both are set and the submitter asked for it: they tell where a person sits.
	Client netip.Addr
	Helo   string
}

// Received writes the trace field of RFC 5321 §4.4, CRLF included. Without a client the from clause names
// "submission", a name that tells nothing.
func Received(t Trace) []byte {
	b := make([]byte, 0, 300)
	b = append(b, "Received: from "...)
	if t.Client.IsValid() {
		b = appendName(b, t.Helo)
		b = append(b, " (["...)
		if addr := t.Client.Unmap().WithZone(""); addr.Is6() {
			b = addr.AppendTo(append(b, "IPv6:"...))
		} else {
			b = addr.AppendTo(b)
		}
		b = append(b, "])"...)
	} else {
		b = append(b, "submission"...)
	}
	b = appendName(append(b, "\r\n by "...), t.Host)
	b = appendName(append(b, " with "...), t.Protocol)
	if t.TLS != "" {
		b = append(appendComment(append(b, " ("...), t.TLS), ')')
	}
	b = appendName(append(b, "\r\n id "...), t.ID)
	if !t.For.IsZero() {
		b = append(append(b, "\r\n for "...), t.For.Path()...)
	}
	b = append(b, ";\r\n "...)
	return append(t.At.AppendFormat(b, DateFormat), '\r', '\n')
}

// appendName appends what a client or a setting named, as one word that can end no clause and no field.
func appendName(b []byte, s string) []byte {
	const max = 255
	start := len(b)
	for i := 0; i < len(s) && i < max; i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == ':', c == '[', c == ']':
			b = append(b, c)
		default:
			b = append(b, '?')
		}
	}
	if len(b) == start {
		return append(b, "unknown"...)
	}
	return b
}

// appendComment appends text inside a comment.
func appendComment(b []byte, s string) []byte {
	const max = 100
	for i := 0; i < len(s) && i < max; i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '(' || c == ')' || c == '\\' {
			b = append(b, '?')
		} else {
			b = append(b, c)
		}
	}
	return b
}
