package feedback

import (
	"bytes"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/report"
)

// marks are the signed tokens of ours that a mail carries, none of which can have been made by anybody else.
type marks struct {
	deliveries []mail.DeliveryID
	messages   []mail.MessageID
	// bad: a field that holds a token of ours holds one that does not verify.
	bad bool
}

// tokenField is the field of ours that holds the token alone.
const tokenField = "X-Postroad-Token"

// ownFields are the fields of a returned message that hold a token, the surest first: ours, RFC 9477's, and what the last
// host makes of the return path.
var ownFields = []string{tokenField, "CFBL-Feedback-ID", "Return-Path"}

// pathFields are those of the report itself that name the mailbox it was for.
var pathFields = []string{"Delivered-To", "X-Original-To", "Envelope-To", "To"}

// Bounds of the search.
const (
	tokenLen  = 45      // octets of a token: a mark of 3 and 42 letters and digits
	maxTokens = 5000    // what looks like a token and is tried, per text: each costs a signature
	maxMarks  = 20      // kept
	maxText   = 4 << 20 // octets of decoded parts that are searched
)

// findMarks looks where a token should stand, and only if there is none anywhere in the mail: odd dialects quote the
// header of the returned message in their text.
func findMarks(raw []byte, rep *report.Report, key *mail.ReturnPathKey) (m marks) {
	for _, name := range ownFields {
		for _, f := range rep.Original.Header {
			if !strings.EqualFold(f.Name, name) {
				continue
			}
			m.scan([]byte(f.Value), key)
			if m.any() {
				m.first()
				return m // the one on top was written last
			}
			m.bad = m.bad || name == tokenField
		}
	}
	if m.bad {
		return m
	}
	h, _ := message.ReadHeaderLenient(bytes.TrimLeft(raw, " \t\r\n"), maxHeader)
	for _, name := range pathFields {
		if v, ok := h.Get(name); ok {
			if m.scan([]byte(v), key); m.any() {
				m.first()
				return m
			}
		}
	}
	m.scan(raw, key)
	m.scanParts(raw, key)
	return m
}

func (m *marks) any() bool { return len(m.deliveries)+len(m.messages) > 0 }

// first leaves one token, one of a delivery rather than of a message.
func (m *marks) first() {
	if len(m.deliveries) > 0 {
		m.deliveries, m.messages = m.deliveries[:1], nil
		return
	}
	m.messages = m.messages[:1]
}

// scan adds the tokens that stand in a text.
func (m *marks) scan(text []byte, key *mail.ReturnPathKey) {
	for at, tried := 0, 0; tried < maxTokens; {
		i := bytes.Index(text[at:], []byte("1-"))
		if i < 0 {
			return
		}
		begin := at + i - 1
		at += i + 2
		if begin < 0 || begin+tokenLen > len(text) {
			continue
		}
		token := string(text[begin : begin+tokenLen])
		switch token[0] | 0x20 {
		case 'b':
			tried++
			if id, ok := key.Delivery(token); ok && !slices.Contains(m.deliveries, id) && len(m.deliveries) < maxMarks {
				m.deliveries = append(m.deliveries, id)
			}
		case 'm':
			tried++
			if id, ok := key.Message(token); ok && !slices.Contains(m.messages, id) && len(m.messages) < maxMarks {
				m.messages = append(m.messages, id)
			}
		}
	}
}

// scanParts adds the tokens that stand in parts which are encoded.
func (m *marks) scanParts(raw []byte, key *mail.ReturnPathKey) {
	room := maxText
	lim := report.DefaultLimits
	opts := message.WalkOptions{MaxDepth: lim.Depth, MaxParts: lim.Parts, MaxBytes: int64(lim.Bytes), MaxHeader: maxHeader, Lenient: true, Messages: true}
	// What ends the walk early is a bound; what was seen before it counts.
	_ = message.Walk(raw, opts, func(p message.Part) error {
		switch strings.ToLower(p.Encoding) {
		case "base64", "quoted-printable":
		default:
			return nil
		}
		b, _ := p.Decode() // as far as it goes
		if len(b) > room {
			b = b[:room]
		}
		m.scan(b, key)
		if room -= len(b); room == 0 {
			return message.Stop
		}
		return nil
	})
}
