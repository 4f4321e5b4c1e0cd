package compose

import (
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
)

// Loop is how complaints about a message are to come back.
type Loop struct {
	// Address is where they are asked to be sent, for CFBL-Address; zero: nowhere.
	Address mail.Address
	// ID is what names the message there, for CFBL-Feedback-ID: letters, digits and hyphens, and hard to forge.
	ID string
	// AuthorSigns: a signature of the From domain will cover the fields.
	AuthorSigns bool
	// Campaign, Account and Stream go into Feedback-ID.
	Campaign, Account, Stream string
}

// senderID names the platform in Feedback-ID: Gmail groups its figures by this fourth field, which must have 5 to 15
// characters and stay the same.
const senderID = "postroad"

// maxFeedbackPart bounds each of the other parts of Feedback-ID, in octets.
const maxFeedbackPart = 64

// LoopFields are the fields that bring complaints about a message with this header back; they are to be signed with it:
// Feedback-ID (Gmail), and CFBL-Address and CFBL-Feedback-ID (RFC 9477). What the message brings of its own, and what
// a signature of its author's excludes, is left as it is. Errors are *Error.
func LoopFields(header []byte, l Loop) ([]byte, error) {
	h, _, err := message.ReadHeader(header, 0)
	if err != nil {
		return nil, headerError(err)
	}
	var b []byte
	if !has(h, "feedback-id") && !signs(h, "feedback-id") {
		b = append(b, "Feedback-ID: "+feedbackPart(l.Campaign)+":"+feedbackPart(l.Account)+":"+feedbackPart(l.Stream)+":"+senderID+"\r\n"...)
	}
	// RFC 9477 §3.1.3: at a third party's address the signature of the From domain stands beside that of the address's
	// domain. One that came with the message cannot cover the fields; then that of the address's domain does alone.
	if !l.Address.IsZero() && (l.AuthorSigns || has(h, "dkim-signature")) && !has(h, "cfbl-address") && !signsLoop(h) {
		b = append(b, "CFBL-Address: "+l.Address.String()+"; report=arf\r\n"...)
		b = append(b, "CFBL-Feedback-ID: "+l.ID+"\r\n"...)
	}
	return b, nil
}

func has(h message.Header, name string) bool {
	for _, f := range h.Fields() {
		if f.Is(name) {
			return true
		}
	}
	return false
}

// feedbackPart makes text fit for one part of Feedback-ID.
func feedbackPart(text string) string {
	text = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '_'
	}, text)
	return text[:min(len(text), maxFeedbackPart)]
}

// signsLoop reports whether a DKIM signature of the header covers CFBL fields: they are the author's own then, or must
// not be there.
func signsLoop(h message.Header) bool {
	return signs(h, "cfbl-address") || signs(h, "cfbl-feedback-id")
}

// signs reports whether h= of a DKIM signature in the header names the field.
func signs(h message.Header, name string) bool {
	for _, f := range h.Fields() {
		if !f.Is("dkim-signature") {
			continue
		}
		for tag := range strings.SplitSeq(f.Value(), ";") {
			key, value, _ := strings.Cut(tag, "=")
			if strings.TrimSpace(key) != "h" {
				continue
			}
			for signed := range strings.SplitSeq(value, ":") {
				if strings.EqualFold(strings.TrimSpace(signed), name) {
					return true
				}
			}
		}
	}
	return false
}
