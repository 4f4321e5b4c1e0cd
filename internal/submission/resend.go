package submission

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"strings"

	"github.com/postroad/postroad/internal/compose"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/smtp"
)

// Resend is a message that is to be sent again.
type Resend struct {
	Original *mail.Message
	// Content is what was sent, as it was stored.
	Content io.Reader
	// To are the recipients, at most MaxResend.
	To []mail.Address
	// Force sends also to recipients who are suppressed.
	Force    bool
	ClientIP netip.Addr
	Protocol string // HTTP or HTTPS
	// IdempotencyKey makes asking twice send once; "": no such promise.
	IdempotencyKey string
	BodyHash       [32]byte
}

// MaxResend is how many recipients one resending may have: it is for the few whose mail has to go again. Who means to
// repeat a mailing sends it anew.
const MaxResend = 1000

// Resend accepts a message once more, as a new message that names the original. Credential, sender and quota are checked as
// for any other; content, Message-ID and Date stay what they were, with a block of Resent fields before them. Errors are
// *Error.
func (s *Service) Resend(ctx context.Context, p platform.Principal, r Resend) (_ *Receipt, err error) {
	client := Client{IP: r.ClientIP, Protocol: r.Protocol}
	defer func() { s.logRefusal(ctx, p, client, err) }()
	now, err := sending(s.snapshot(), p, r.ClientIP)
	if err != nil {
		return nil, err
	}
	p = now
	switch {
	case len(r.To) == 0:
		return nil, refuse(NoRecipients, "to", "nobody is named whom it could be sent to")
	case len(r.To) > MaxResend:
		return nil, refuse(TooManyRecipients, "to", "%d recipients, at most %d get a message again at one time; name those who need it", len(r.To), MaxResend)
	}
	o := r.Original
	d := draft{
		p: p, client: client, from: o.From, env: Envelope{RequireTLS: o.RequireTLS},
		// A time of sending, or an end, is over; the stream's schedule holds.
		settings: settings{stream: o.Stream, tags: o.Tags, metadata: o.Metadata},
		private:  o.Content.Kind == mail.ContentPrivate, resentOf: o.ID, force: r.Force, recipients: recipientsOf(r.To),
	}
	if r.IdempotencyKey != "" {
		earlier, rec, unlock, err := s.idempotent(ctx, p.Account.Name, r.IdempotencyKey, 0, r.BodyHash)
		if err != nil {
			return nil, err
		}
		if earlier != nil {
			return replay(earlier)
		}
		defer unlock()
		d.idem = rec
	}
	head, content, err := readHead(r.Content)
	if err != nil {
		return nil, err
	}
	at := s.now()
	id := mail.NewMessageID(at)
	block := compose.Resent(compose.Resending{
		From: resender(o), To: nameable(&d, head), MessageID: id.String() + "@" + s.snapshot().Hostname, At: at,
	})
	in, err := s.take(ctx, io.MultiReader(bytes.NewReader(block), bytes.NewReader(head), content))
	if err != nil {
		return nil, err
	}
	defer in.release()
	return s.accept(ctx, d, in)
}

// readHead reads the header, with the empty line, and returns what is behind it.
func readHead(content io.Reader) (head []byte, rest io.Reader, err error) {
	buf := make([]byte, 0, 8<<10)
	for {
		if end := message.HeaderEnd(buf); end >= 0 {
			return buf[:end], io.MultiReader(bytes.NewReader(buf[end:]), content), nil
		}
		if len(buf) > smtp.MaxHeaderBytes+compose.MaxHeaderLine {
			return nil, nil, refuse(BadContent, "header", "the header of the stored message does not end")
		}
		n := len(buf)
		buf = append(buf, make([]byte, 8<<10)...)
		m, err := io.ReadFull(content, buf[n:])
		buf = buf[:n+m]
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			if end := message.HeaderEnd(buf); end >= 0 {
				return buf[:end], bytes.NewReader(buf[end:]), nil
			}
			return buf, bytes.NewReader(nil), nil
		default:
			return nil, nil, &Error{Kind: Unavailable, Detail: "the stored content cannot be read", Err: err}
		}
	}
}

// resender is who sends it again: the author, on whose behalf the platform does.
func resender(o *mail.Message) mail.Address {
	if a, err := mail.ParseAddress(o.HeaderFrom); err == nil {
		return a
	}
	return o.From
}

// nameable are the recipients the Resent-To field may name: one alone, or those whom the message names already. A
// private copy names nobody: its content is one for all.
func nameable(d *draft, head []byte) (to []mail.Address) {
	if d.private {
		return nil
	}
	if len(d.recipients) == 1 {
		return []mail.Address{d.recipients[0].addr}
	}
	h, _ := message.ReadHeaderLenient(head, 0)
	shown := map[string]bool{}
	for _, name := range []string{"To", "Cc"} {
		for _, v := range h.Values(name) {
			for _, m := range message.ParseAddressesLenient(v) {
				shown[strings.ToLower(m.Addr)] = true
			}
		}
	}
	for i := range d.recipients {
		if a := d.recipients[i].addr; shown[strings.ToLower(a.String())] {
			to = append(to, a)
		}
	}
	return to
}
