package report

import (
	"bytes"
	"fmt"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/smtp"
)

// NoticeField is the header field that marks a notice Build wrote; its value says what kind it is. Whoever reads mailboxes
// can tell by it that a report is the platform's own and tells it nothing new.
const NoticeField = "Postroad-Notice"

// Notice is a delivery status notification to be written (RFC 3464).
type Notice struct {
	Kind      Kind         // Bounce, Delay or Delivered: what the subject and NoticeField say
	From      string       // of the From field, with its display name: "Mail delivery <postmaster@mail.example>"
	To        mail.Address // the sender of the message it is about
	Subject   string       // any text
	Date      time.Time
	MessageID string // its own, without angle brackets
	// Text explains in words, in lines of any length.
	Text string

	ReportingMTA string    // host name
	EnvelopeID   string    // as the sender gave it (ENVID), xtext decoded; "": none
	Arrival      time.Time // when the message was accepted
	Recipients   []NoticeRecipient

	// Original is the header of the message, or what is known of it; with Whole the message itself. It is the third part.
	Original []byte
	Whole    bool
	// InReplyTo is the Message-ID of the message, without angle brackets; "": unknown.
	InReplyTo string
}

// NoticeRecipient is what became of one recipient.
type NoticeRecipient struct {
	Final    mail.Address
	Original string // as the sender gave it (ORCPT): "rfc822;address", xtext decoded; "": none
	Action   Action
	Status   smtp.Enhanced // zero: 2.0.0, 4.0.0 or 5.0.0, as Action says
	// RemoteMTA is the host that said Diagnostic, or that took the message.
	RemoteMTA  string
	Diagnostic string // the peer's reply, lines joined by LF; at most maxBuiltDiagnostic octets of it are written
	// LastAttempt and WillRetryUntil are left out where zero.
	LastAttempt    time.Time
	WillRetryUntil time.Time
}

// Limits of what Build writes, in octets: a line may have 998 (RFC 5322 §2.1.1).
const (
	maxBuiltDiagnostic = 800
	maxBuiltSubject    = 200
	maxBuiltLine       = 900
)

// Build writes the notice as a multipart/report of three parts, with CRLF line ends, in 7 bits but for a UTF-8 local part in
// the To field. Addresses outside ASCII are written in the 7-bit form of RFC 6533 §3, so that any mail system can carry the
// notice. No value can add a field or a part: control characters become spaces.
func Build(n *Notice) []byte {
	b := &bytes.Buffer{}
	boundary := "report_" + safe(strings.Map(boundaryRune, n.MessageID), 60)
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "%s: %s\r\n", name, value)
		}
	}
	field("From", safe(n.From, maxBuiltLine))
	field("To", safe(n.To.String(), maxBuiltLine))
	field("Subject", message.EncodeWords(safe(n.Subject, maxBuiltSubject), len("Subject: ")))
	field("Date", n.Date.Format(dateLayout))
	field("Message-ID", "<"+safe(n.MessageID, maxBuiltLine)+">")
	if n.InReplyTo != "" && isASCII(n.InReplyTo) {
		field("In-Reply-To", "<"+safe(n.InReplyTo, maxBuiltLine)+">")
		field("References", "<"+safe(n.InReplyTo, maxBuiltLine)+">")
	}
	field("Auto-Submitted", "auto-replied") // RFC 3834 §5
	field(NoticeField, string(n.Kind))
	field("MIME-Version", "1.0")
	fmt.Fprintf(b, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n\r\n", boundary)
	b.WriteString("This is a delivery status notification (RFC 3464).\r\n")

	part := func(header string) { fmt.Fprintf(b, "\r\n--%s\r\n%s\r\n", boundary, header) }
	part("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n")
	q := quotedprintable.NewWriter(b)
	_, _ = q.Write([]byte(crlf(n.Text))) // a Buffer takes everything
	_ = q.Close()
	part("Content-Type: message/delivery-status\r\n")
	n.status(b)
	switch original := ended(crlf(string(n.Original))); {
	case len(n.Original) == 0:
	case n.Whole && isMail7Bit(original):
		part("Content-Type: message/rfc822\r\n")
		b.WriteString(original)
	case n.Whole:
		part("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n")
		b.WriteString(original)
	default:
		part("Content-Type: text/rfc822-headers; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n")
		q := quotedprintable.NewWriter(b)
		_, _ = q.Write([]byte(original))
		_ = q.Close()
	}
	fmt.Fprintf(b, "\r\n--%s--\r\n", boundary)
	return b.Bytes()
}

// dateLayout is that of Date and of the dates in a delivery status (RFC 5322 §3.3).
const dateLayout = "Mon, 02 Jan 2006 15:04:05 -0700"

// status writes the fields per message and per recipient (RFC 3464 §2.2 and §2.3).
func (n *Notice) status(b *bytes.Buffer) {
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "%s: %s\r\n", name, value)
		}
	}
	if n.EnvelopeID != "" && isASCII(n.EnvelopeID) {
		field("Original-Envelope-Id", safe(n.EnvelopeID, maxBuiltLine))
	}
	field("Reporting-MTA", "dns; "+safe(n.ReportingMTA, maxBuiltLine))
	if !n.Arrival.IsZero() {
		field("Arrival-Date", n.Arrival.UTC().Format(dateLayout))
	}
	for i := range n.Recipients {
		r := &n.Recipients[i]
		b.WriteString("\r\n")
		if kind, value, ok := strings.Cut(r.Original, ";"); ok && value != "" {
			field("Original-Recipient", typedAddress(safe(strings.TrimSpace(kind), 40), safe(strings.TrimSpace(value), maxBuiltLine)))
		}
		field("Final-Recipient", typedAddress("rfc822", safe(r.Final.String(), maxBuiltLine)))
		field("Action", string(r.Action))
		field("Status", r.status().String())
		if r.RemoteMTA != "" {
			field("Remote-MTA", "dns; "+safe(r.RemoteMTA, maxBuiltLine))
		}
		if r.Diagnostic != "" {
			field("Diagnostic-Code", "smtp; "+ascii(safe(r.Diagnostic, maxBuiltDiagnostic)))
		}
		if !r.LastAttempt.IsZero() {
			field("Last-Attempt-Date", r.LastAttempt.UTC().Format(dateLayout))
		}
		if !r.WillRetryUntil.IsZero() {
			field("Will-Retry-Until", r.WillRetryUntil.UTC().Format(dateLayout))
		}
	}
}

// status is Status, or one that says no more than Action does. A code whose class contradicts the action would be read as
// the truth: a mail that was given up after many 4.2.2 has failed all the same (RFC 3464 §2.3.4 allows it), a failure of
// class 2 would not be.
func (r *NoticeRecipient) status() smtp.Enhanced {
	s := r.Status
	switch r.Action {
	case Failed:
		if s.IsZero() || s[0] == 2 {
			return smtp.Enhanced{5, 0, 0}
		}
	case Delayed:
		if s.IsZero() || s[0] != 4 {
			return smtp.Enhanced{4, 0, 0}
		}
	default:
		if s.IsZero() || s[0] != 2 {
			return smtp.Enhanced{2, 0, 0}
		}
	}
	return s
}

// typedAddress writes an address with its type, in the 7-bit form of RFC 6533 §3 where it is not ASCII.
func typedAddress(kind, address string) string {
	if isASCII(address) {
		return kind + "; " + address
	}
	var b strings.Builder
	for _, r := range address {
		if r < utf8.RuneSelf && r != '\\' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x{%X}`, r)
		}
	}
	return "utf-8; " + b.String()
}

// safe makes one line of a text: control characters become spaces, runs of them one; what is over max octets is cut off
// between characters.
func safe(s string, max int) string {
	var b strings.Builder
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			r = ' '
		}
		if r == ' ' && (b.Len() == 0 || strings.HasSuffix(b.String(), " ")) {
			continue
		}
		if b.Len()+utf8.RuneLen(r) > max {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimRight(b.String(), " ")
}

func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return '?'
		}
		return r
	}, s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isMail7Bit reports whether a message can stand as it is in a 7-bit part.
func isMail7Bit(s string) bool { return isASCII(s) }

func boundaryRune(r rune) rune {
	if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' {
		return r
	}
	return '_'
}

// crlf writes line ends of any kind as CRLF.
func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n"), "\n", "\r\n")
}

func ended(s string) string {
	if strings.HasSuffix(s, "\r\n") {
		return s
	}
	return s + "\r\n"
}
