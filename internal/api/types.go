package api

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/submission"
)

// Person is an address, written "user@example.com", "Name <user@example.com>", or as an object with email and name.
type Person struct {
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
}

var errPerson = errors.New("want an address, \"Name <address>\", or an object with email and name")

// UnmarshalJSON implements json.Unmarshaler.
func (p *Person) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		list, err := message.ParseAddresses(text)
		if err != nil || len(list) != 1 {
			// Keep it: submission says what is wrong with it, and where.
			p.Email = text
			return nil
		}
		p.Email, p.Name = list[0].Addr, list[0].Name
		return nil
	}
	type plain Person
	if json.Unmarshal(b, (*plain)(p)) != nil {
		return errPerson
	}
	return nil
}

// Schema implements huma.SchemaProvider.
func (Person) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeString, Description: "user@example.com, or Name <user@example.com>"},
		{
			Type: huma.TypeObject, Required: []string{"email"}, AdditionalProperties: false,
			Properties: map[string]*huma.Schema{"email": {Type: huma.TypeString}, "name": {Type: huma.TypeString}},
		},
	}}
}

// People is a list of persons; one alone needs no list.
type People []Person

// UnmarshalJSON implements json.Unmarshaler.
func (l *People) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]Person)(l))
	}
	var one Person
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*l = People{one}
	return nil
}

// Schema implements huma.SchemaProvider.
func (People) Schema(r huma.Registry) *huma.Schema {
	one := Person{}.Schema(r)
	return &huma.Schema{OneOf: append([]*huma.Schema{{Type: huma.TypeArray, Items: one}}, one.OneOf...)}
}

func (l People) persons() []submission.Person {
	out := make([]submission.Person, len(l))
	for i, p := range l {
		out[i] = submission.Person{Email: p.Email, Name: p.Name}
	}
	return out
}

// Attachment is a file of a message.
type Attachment struct {
	Filename    string `json:"filename" doc:"Name shown to the reader." example:"invoice.pdf"`
	Content     []byte `json:"content" doc:"The file, in base64."`
	ContentType string `json:"content_type,omitempty" doc:"Media type; worked out from the name when left out." example:"application/pdf"`
	ContentID   string `json:"content_id,omitempty" doc:"For an inline image: what the HTML refers to as cid:…"`
}

// SendBody is a message in parts.
type SendBody struct {
	From        Person            `json:"from,omitempty" doc:"The author: a verified sender of the account. Needed unless raw is given."`
	To          People            `json:"to,omitempty" doc:"Recipients all can see; to and cc together at most 50."`
	Cc          People            `json:"cc,omitempty"`
	Bcc         People            `json:"bcc,omitempty" doc:"Recipients nobody sees."`
	Recipients  People            `json:"recipients,omitempty" doc:"Each gets a private copy with only its own address in To."`
	ReplyTo     People            `json:"reply_to,omitempty"`
	Subject     string            `json:"subject,omitempty"`
	Text        string            `json:"text,omitempty"`
	HTML        string            `json:"html,omitempty"`
	Attachments []Attachment      `json:"attachments,omitempty"`
	Headers     map[string]string `json:"headers,omitempty" doc:"Further header fields. Structural fields cannot be set here."`
	Raw         []byte            `json:"raw,omitempty" doc:"A whole message (RFC 5322) in base64, instead of subject, text, html, attachments and headers."`
	Tags        []string          `json:"tags,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty" doc:"Kept with the message and given back in events."`
	Stream      mail.Stream       `json:"stream,omitempty" enum:"transactional,bulk" doc:"The credential's default when left out."`
	SendAt      time.Time         `json:"send_at,omitzero" doc:"Not before this time; at most 30 days ahead."`
	ExpiresAt   time.Time         `json:"expires_at,omitzero" doc:"No attempt starts after this time, such as the end of a one-time code's life."`
	RequireTLS  bool              `json:"require_tls,omitempty" doc:"Deliver over TLS or not at all."`
}

func (b *SendBody) request() submission.Request {
	r := submission.Request{
		From: submission.Person{Email: b.From.Email, Name: b.From.Name}, ReplyTo: b.ReplyTo.persons(), To: b.To.persons(), Cc: b.Cc.persons(),
		Bcc: b.Bcc.persons(), Recipients: b.Recipients.persons(), Subject: b.Subject, Text: b.Text, HTML: b.HTML, Raw: b.Raw, Tags: b.Tags,
		Metadata: b.Metadata, Stream: b.Stream, SendAt: b.SendAt, ExpiresAt: b.ExpiresAt, RequireTLS: b.RequireTLS,
	}
	for _, x := range b.Attachments {
		r.Attachments = append(r.Attachments, x.submission())
	}
	for _, name := range slices.Sorted(maps.Keys(b.Headers)) {
		r.Headers = append(r.Headers, submission.Header{Name: name, Value: b.Headers[name]})
	}
	return r
}

func (x Attachment) submission() submission.Attachment {
	return submission.Attachment{Filename: x.Filename, ContentType: x.ContentType, ContentID: x.ContentID, Content: x.Content}
}

// Sent is the answer to a message that was accepted.
type Sent struct {
	ID         mail.MessageID `json:"id"`
	Recipients []SentTo       `json:"recipients" doc:"Each recipient with its delivery; the first 1,000."`
	Count      int            `json:"recipient_count"`
}

// SentTo is one recipient of a message that was accepted.
type SentTo struct {
	Address  string          `json:"address"`
	Delivery mail.DeliveryID `json:"delivery"`
	Status   string          `json:"status" enum:"queued,suppressed"`
	Reason   string          `json:"reason,omitempty" doc:"Why it is suppressed."`
}

func sentOf(r *submission.Receipt) Sent {
	s := Sent{ID: r.Message, Count: r.Count, Recipients: make([]SentTo, 0, len(r.Recipients))}
	for _, x := range r.Recipients {
		s.Recipients = append(s.Recipients, SentTo{Address: x.Address, Delivery: x.Delivery, Status: x.Status, Reason: x.Reason})
	}
	return s
}
