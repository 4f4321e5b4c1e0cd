package compose

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/mail"
)

// check refuses what Build cannot write, with the path of the value.
func (m Message) check() error {
	if m.From.Address.IsZero() {
		return invalid("from", "it is missing")
	}
	if m.Date.IsZero() || m.MessageID == "" {
		return invalid("message_id", "date and message id are missing")
	}
	if m.Text == "" && m.HTML == "" && len(m.Attachments) == 0 {
		return invalid("text", "the message has neither text, html nor attachments")
	}
	if m.HTML == "" && len(m.Inline) > 0 {
		return invalid("inline", "inline parts need html to be shown in")
	}
	if err := checkMailbox("from", m.From); err != nil {
		return err
	}
	if m.Sender != nil {
		if err := checkMailbox("sender", *m.Sender); err != nil {
			return err
		}
	}
	for _, list := range []struct {
		field string
		boxes []Mailbox
	}{{"to", m.To}, {"cc", m.Cc}, {"reply_to", m.ReplyTo}} {
		for i, box := range list.boxes {
			if err := checkMailbox(fmt.Sprintf("%s[%d]", list.field, i), box); err != nil {
				return err
			}
		}
	}
	if err := checkValue("subject", m.Subject); err != nil {
		return err
	}
	if err := checkID("message_id", m.MessageID); err != nil {
		return err
	}
	if err := checkText("text", m.Text); err != nil {
		return err
	}
	if err := checkText("html", m.HTML); err != nil {
		return err
	}
	return m.checkHeaders()
}

func (m Message) checkHeaders() error {
	for i, h := range m.Headers {
		field := fmt.Sprintf("headers[%d]", i)
		if err := ValidateHeader(field, h); err != nil {
			return err
		}
		for _, other := range m.Headers[:i] {
			if strings.EqualFold(other.Name, h.Name) && lookupRule(h.Name) >= once {
				return invalid(field+".name", "%s may stand once", h.Name)
			}
		}
	}
	return nil
}

func checkMailbox(field string, m Mailbox) error {
	if err := checkValue(field+".name", m.Name); err != nil {
		return err
	}
	if _, err := mail.ParseAddress(m.Address.String()); err != nil {
		return invalid(field+".address", "%s", reason(err, mail.ErrBadAddress))
	}
	return nil
}

// checkValue refuses what could end a field, or is not text.
func checkValue(field, s string) error {
	const max = 16 << 10
	switch {
	case len(s) > max:
		return invalid(field, "it is longer than %d octets", max)
	case !utf8.ValidString(s):
		return invalid(field, "it is not valid UTF-8")
	}
	for _, r := range s {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return invalid(field, "the control character U+%04X is not allowed", r)
		}
	}
	return nil
}

func checkText(field, s string) error {
	if !utf8.ValidString(s) {
		return invalid(field, "it is not valid UTF-8")
	}
	if strings.IndexByte(s, 0) >= 0 {
		return invalid(field, "NUL is not allowed")
	}
	return nil
}

// checkID refuses what cannot stand between the angle brackets of Message-ID and Content-ID (RFC 5322 §3.6.4).
func checkID(field, id string) error {
	left, right, ok := strings.Cut(id, "@")
	if !ok && field == "message_id" || left == "" || ok && right == "" || len(id) > 250 {
		return invalid(field, "it must look like left@right, of at most 250 octets")
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`<>()[]\",;:`, c) >= 0 && !(c == '[' || c == ']' || c == ':') {
			return invalid(field, "a character is not allowed")
		}
	}
	return nil
}
