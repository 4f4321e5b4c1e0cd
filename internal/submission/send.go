package submission

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"path"
	"strings"

	"github.com/postroad/postroad/internal/compose"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/smtp"
)

// Send accepts one message as an application asks for it. When it returns without error, the message is on disk.
// Errors are *Error and name the field of the request.
func (s *Service) Send(ctx context.Context, p platform.Principal, r Request) (_ *Receipt, err error) {
	client := Client{IP: r.ClientIP, Protocol: r.Protocol}
	defer func() { s.logRefusal(ctx, p, client, err) }()
	now, err := sending(s.snapshot(), p, r.ClientIP)
	if err != nil {
		return nil, err
	}
	p = now
	d := draft{
		p: p, client: client, env: Envelope{RequireTLS: r.RequireTLS},
		settings: settings{stream: r.Stream, tags: r.Tags, metadata: r.Metadata, sendAt: r.SendAt, expiresAt: r.ExpiresAt},
	}
	if r.IdempotencyKey != "" {
		earlier, rec, unlock, err := s.idempotent(ctx, p.Account.Name, r.IdempotencyKey, r.Part, r.BodyHash)
		if err != nil {
			return nil, err
		}
		if earlier != nil {
			return replay(earlier)
		}
		defer unlock()
		d.idem = rec
	}
	var content []byte
	if r.Raw != nil {
		content, err = s.raw(&d, &r)
	} else {
		content, err = s.parts(&d, &r)
	}
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > s.o.MaxSize {
		return nil, refuse(TooLarge, "", "the message has %d octets, the limit is %d", len(content), s.o.MaxSize)
	}
	in, err := s.take(ctx, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	defer in.release()
	return s.accept(ctx, d, in)
}

// replay gives the earlier answer again.
func replay(earlier []byte) (*Receipt, error) {
	var r Receipt
	if err := json.Unmarshal(earlier, &r); err != nil {
		return nil, &Error{Kind: Unavailable, Detail: "the earlier answer could not be read", Err: err}
	}
	r.Replayed = true
	return &r, nil
}

// parts builds the message of a request and its envelope.
func (s *Service) parts(d *draft, r *Request) ([]byte, error) {
	from, err := person("from", r.From)
	if err != nil {
		return nil, err
	}
	visible := len(r.To) + len(r.Cc)
	switch {
	case visible > MaxVisible:
		return nil, refuse(TooManyRecipients, "to", "to and cc name %d recipients who would all see each other, at most %d may; use recipients for private copies", visible, MaxVisible)
	case len(r.Bcc) > MaxBcc:
		return nil, refuse(TooManyRecipients, "bcc", "%d recipients, at most %d may be named; use recipients for private copies", len(r.Bcc), MaxBcc)
	case len(r.Recipients) > s.o.MaxPrivate:
		return nil, refuse(TooManyRecipients, "recipients", "%d recipients, at most %d may be named in one request", len(r.Recipients), s.o.MaxPrivate)
	case len(r.Recipients) > 0 && visible+len(r.Bcc) > 0:
		return nil, refuse(BadRequest, "recipients", "each of them gets a private copy; to, cc and bcc cannot go with it")
	case len(r.Recipients)+visible+len(r.Bcc) == 0:
		return nil, refuse(NoRecipients, "to", "the message has no recipient: name some in to, cc, bcc or recipients")
	}
	now := s.now()
	id := mail.NewMessageID(now)
	m := compose.Message{
		From: from, Subject: r.Subject, Text: r.Text, HTML: r.HTML, Date: now, Seed: id[:],
		MessageID: id.String() + "@" + from.Address.Domain,
	}
	if m.To, err = people("to", r.To); err != nil {
		return nil, err
	}
	if m.Cc, err = people("cc", r.Cc); err != nil {
		return nil, err
	}
	bcc, err := people("bcc", r.Bcc)
	if err != nil {
		return nil, err
	}
	if m.ReplyTo, err = people("reply_to", r.ReplyTo); err != nil {
		return nil, err
	}
	private, err := people("recipients", r.Recipients)
	if err != nil {
		return nil, err
	}
	d.private = len(private) > 0
	seen := map[mail.Address]bool{}
	for _, list := range [][]compose.Mailbox{m.To, m.Cc, bcc, private} {
		for _, x := range list {
			if seen[x.Address] {
				continue
			}
			seen[x.Address] = true
			rc := recipient{addr: x.Address}
			if d.private {
				rc.name = x.Name
			}
			d.recipients = append(d.recipients, rc)
		}
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, compose.HeaderField{Name: h.Name, Value: h.Value})
	}
	for i, a := range r.Attachments {
		out := compose.Attachment{Filename: a.Filename, ContentType: a.ContentType, ContentID: a.ContentID, Content: a.Content}
		if out.ContentType == "" {
			out.ContentType = mime.TypeByExtension(strings.ToLower(path.Ext(a.Filename)))
		}
		switch {
		case a.ContentID != "":
			m.Inline = append(m.Inline, out)
		case a.Filename == "":
			return nil, refuse(BadRequest, fmt.Sprintf("attachments[%d].filename", i), "an attachment needs a name")
		default:
			m.Attachments = append(m.Attachments, out)
		}
	}
	d.from = from.Address
	content, err := compose.Build(m)
	if err != nil {
		return nil, contentError(inRequest(err, r))
	}
	return content, nil
}

// inRequest names a field as the request does: compose is given files that are shown and files that are attached in two
// lists, which here are one.
func inRequest(err error, r *Request) error {
	var e *compose.Error
	if !errors.As(err, &e) {
		return err
	}
	var n int
	inline := strings.HasPrefix(e.Field, "inline[")
	if _, bad := fmt.Sscanf(strings.TrimPrefix(strings.TrimPrefix(e.Field, "inline"), "attachments"), "[%d]", &n); bad != nil {
		return err
	}
	for i := range r.Attachments {
		if (r.Attachments[i].ContentID != "") != inline {
			continue
		}
		if n--; n < 0 {
			named := *e
			named.Field = fmt.Sprintf("attachments[%d]%s", i, e.Field[strings.IndexByte(e.Field, ']')+1:])
			return &named
		}
	}
	return err
}

// raw takes the message of a request as it is, and its envelope from the request or from its header.
func (s *Service) raw(d *draft, r *Request) ([]byte, error) {
	switch {
	case r.Subject != "" || r.Text != "" || r.HTML != "" || len(r.Attachments)+len(r.Headers)+len(r.ReplyTo) > 0:
		return nil, refuse(BadRequest, "raw", "a whole message cannot go with subject, text, html, attachments, headers or reply_to")
	case len(r.Recipients) > 0:
		return nil, refuse(BadRequest, "recipients", "a whole message goes out as it is to all its recipients; name them in to")
	}
	content := r.Raw
	// Files on Unix have LF alone; a message that has no CRLF at all is one of these.
	if d.p.Credential.Newlines == platform.NewlinesNormalise || !bytes.Contains(content, []byte("\r\n")) {
		content = normalise(content)
	}
	h, _, err := message.ReadHeader(content, smtp.MaxHeaderBytes)
	if err != nil {
		return nil, &Error{Kind: BadContent, Field: "raw", Detail: "its header cannot be read: " + strings.TrimPrefix(err.Error(), "message: "), Err: err}
	}
	if err := rawEnvelope(d, r, h); err != nil {
		return nil, err
	}
	if len(d.recipients) > s.o.MaxRecipients {
		return nil, refuse(TooManyRecipients, "to", "%d recipients, at most %d may be named", len(d.recipients), s.o.MaxRecipients)
	}
	return content, nil
}

func rawEnvelope(d *draft, r *Request, h message.Header) error {
	if r.From.Email != "" {
		from, err := person("from", r.From)
		if err != nil {
			return err
		}
		d.from = from.Address
	} else {
		for _, name := range []string{"Sender", "From"} {
			if list, err := headerAddresses(h, name); err != nil {
				return err
			} else if len(list) > 0 {
				d.from = list[0]
				break
			}
		}
	}
	seen := map[mail.Address]bool{}
	add := func(a mail.Address) {
		if !seen[a] {
			seen[a] = true
			d.recipients = append(d.recipients, recipient{addr: a})
		}
	}
	for _, list := range []struct {
		field  string
		people []Person
	}{{"to", r.To}, {"cc", r.Cc}, {"bcc", r.Bcc}} {
		named, err := people(list.field, list.people)
		if err != nil {
			return err
		}
		for _, x := range named {
			add(x.Address)
		}
	}
	if len(d.recipients) == 0 {
		for _, name := range []string{"To", "Cc", "Bcc"} {
			list, err := headerAddresses(h, name)
			if err != nil {
				return err
			}
			for _, a := range list {
				add(a)
			}
		}
	}
	if len(d.recipients) == 0 {
		return refuse(NoRecipients, "to", "the message has no recipient, neither in the request nor in its To, Cc and Bcc fields")
	}
	return nil
}

func headerAddresses(h message.Header, name string) ([]mail.Address, error) {
	var out []mail.Address
	for _, v := range h.Values(name) {
		list, err := message.ParseAddresses(v)
		if err != nil {
			return nil, &Error{Kind: BadContent, Field: name, Detail: "its addresses cannot be read", Err: err}
		}
		for _, m := range list {
			a, err := mail.ParseAddress(m.Addr)
			if err != nil {
				return nil, badAddress(name, err)
			}
			out = append(out, a)
		}
	}
	return out, nil
}

func badAddress(field string, err error) *Error {
	return refuse(BadAddress, field, "%s", strings.TrimPrefix(err.Error(), mail.ErrBadAddress.Error()+": "))
}

func person(field string, p Person) (compose.Mailbox, error) {
	if p.Email == "" {
		return compose.Mailbox{}, refuse(BadRequest, field, "an address is needed")
	}
	a, err := mail.ParseAddress(p.Email)
	if err != nil {
		return compose.Mailbox{}, badAddress(field, err)
	}
	return compose.Mailbox{Name: p.Name, Address: a}, nil
}

func people(field string, list []Person) ([]compose.Mailbox, error) {
	out := make([]compose.Mailbox, 0, len(list))
	for i, p := range list {
		m, err := person(fmt.Sprintf("%s[%d]", field, i), p)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// normalise ends every line with CRLF.
func normalise(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(b)/32)
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '\r':
			if i+1 < len(b) && b[i+1] == '\n' {
				i++
			}
			out = append(out, '\r', '\n')
		case '\n':
			out = append(out, '\r', '\n')
		default:
			out = append(out, c)
		}
	}
	return out
}
