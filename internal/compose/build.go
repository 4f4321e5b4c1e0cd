package compose

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
)

// Message is a message to be built.
type Message struct {
	From    Mailbox   // required
	Sender  *Mailbox  // only where it differs from From
	To, Cc  []Mailbox // visible to all; both may be empty
	ReplyTo []Mailbox
	Subject string
	Text    string // plain text body; line ends of any kind
	HTML    string // HTML body
	// Inline parts are shown inside HTML, which refers to them as cid:ContentID; Attachments are listed beside it.
	Inline, Attachments []Attachment
	// Headers are written as they come, after the fields above. See ValidateHeader for what is refused.
	Headers []HeaderField

	Date      time.Time // required
	MessageID string    // without angle brackets; required
	// Seed makes the boundaries: the same message and seed give the same octets.
	Seed []byte
}

// Mailbox is a display name and an address.
type Mailbox struct {
	Name    string
	Address mail.Address
}

// HeaderField is a field the submitter adds.
type HeaderField struct{ Name, Value string }

// Attachment is a file.
type Attachment struct {
	Filename    string
	ContentType string // with parameters, like "text/csv; charset=utf-8"; "": application/octet-stream
	Content     []byte
	ContentID   string // without angle brackets; required for Inline
}

// Build writes m as an RFC 5322 message with CRLF line ends, safe for every SMTP peer: 7-bit, no line over 998 octets;
// only a local part outside ASCII stays UTF-8, for no encoding is defined for it (RFC 6532). Alternatives, inline parts
// and attachments are nested as readers expect: mixed(alternative(text, related(html, inline…)), attachments…), and no
// multipart stands where one part suffices. Nothing in m can add a field or a part: CR, LF, NUL and other control
// characters are refused, with the path of the value ("to[2].name") in the *Error.
func Build(m Message) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	b := builder{seed: sha256.Sum256(m.Seed)}
	b.dst = make([]byte, 0, 2<<10+len(m.Text)+len(m.HTML)*5/4+attachmentsLen(m.Inline)+attachmentsLen(m.Attachments))
	b.header(m)
	root, err := m.tree()
	if err != nil {
		return nil, err
	}
	b.collect(root)
	b.entity(root)
	if !bytes.HasSuffix(b.dst, crlf) {
		b.dst = append(b.dst, crlf...)
	}
	return b.dst, nil
}

func attachmentsLen(list []Attachment) (n int) {
	for _, a := range list {
		n += base64Len(len(a.Content)) + 500
	}
	return n
}

// builder writes a message.
type builder struct {
	dst  []byte
	seed [32]byte
	n    uint64 // boundaries made
	// verbatim are the contents that go unencoded.
	verbatim [][]byte
}

func (b *builder) header(m Message) {
	b.mailboxes("From", m.From)
	if m.Sender != nil {
		b.mailboxes("Sender", *m.Sender)
	}
	b.mailboxes("To", m.To...)
	b.mailboxes("Cc", m.Cc...)
	b.mailboxes("Reply-To", m.ReplyTo...)
	if m.Subject != "" {
		w := newField(b.dst, "Subject")
		w.text(m.Subject)
		b.dst = w.end()
	}
	b.dst = append(b.dst, "Date: "...)
	b.dst = append(m.Date.AppendFormat(b.dst, DateFormat), crlf...)
	w := newField(b.dst, "Message-ID")
	w.word("<" + m.MessageID + ">")
	b.dst = w.end()
	for _, h := range m.Headers {
		w := newField(b.dst, h.Name)
		if structured(h.Name) {
			w.words(h.Value)
		} else {
			w.text(h.Value)
		}
		b.dst = w.end()
	}
	b.dst = append(b.dst, "MIME-Version: 1.0\r\n"...)
}

func (b *builder) mailboxes(name string, list ...Mailbox) {
	if len(list) == 0 {
		return
	}
	w := newField(b.dst, name)
	for i, m := range list {
		if i > 0 {
			w.glue(",")
		}
		if m.Name == "" {
			w.word(m.Address.String())
			continue
		}
		w.phrase(m.Name)
		w.word(m.Address.Path())
	}
	b.dst = w.end()
}

// To returns the To field of a private copy, with its line end. Name and address are those Build has checked.
func To(m Mailbox) []byte {
	var b builder
	b.mailboxes("To", m)
	return b.dst
}

// boundary makes the next boundary, one that no content holds: base64 and quoted-printable cannot contain "=_", and
// what goes unencoded is looked through.
func (b *builder) boundary() string {
	for {
		var in [40]byte
		copy(in[:], b.seed[:])
		binary.BigEndian.PutUint64(in[32:], b.n)
		b.n++
		sum := sha256.Sum256(in[:])
		boundary := "=_" + hex.EncodeToString(sum[:12])
		if !slices.ContainsFunc(b.verbatim, func(content []byte) bool { return bytes.Contains(content, []byte(boundary)) }) {
			return boundary
		}
	}
}

// collect notes what will be written unencoded.
func (b *builder) collect(n *node) {
	if n.parts == nil && n.encoding == "7bit" {
		b.verbatim = append(b.verbatim, n.content)
	}
	for _, p := range n.parts {
		b.collect(p)
	}
}

// entity writes the fields of an entity, the empty line and its content.
func (b *builder) entity(n *node) {
	boundary := ""
	if n.parts != nil {
		boundary = b.boundary()
		n.media.Params["boundary"] = boundary
	}
	b.media("Content-Type", n.media)
	if n.encoding != "" && n.encoding != "7bit" {
		b.dst = appendEncoding(b.dst, n.encoding)
	}
	if n.disposition.Type != "" {
		b.media("Content-Disposition", n.disposition)
	}
	if n.id != "" {
		b.dst = append(append(append(b.dst, "Content-ID: <"...), n.id...), ">\r\n"...)
	}
	b.dst = append(b.dst, crlf...)
	switch {
	case n.parts != nil:
		for _, p := range n.parts {
			b.dst = append(append(append(b.dst, "--"...), boundary...), crlf...)
			b.entity(p)
			b.dst = append(b.dst, crlf...)
		}
		b.dst = append(append(append(b.dst, "--"...), boundary...), "--\r\n"...)
	case n.encoding == "base64":
		b.dst = appendBase64(b.dst, n.content)
	case n.encoding == "quoted-printable":
		b.dst = appendQuoted(b.dst, n.content)
	default:
		b.dst = append(b.dst, n.content...)
	}
}

func (b *builder) media(name string, m message.Media) {
	w := newField(b.dst, name)
	w.word(m.Type)
	for _, p := range slices.Sorted(maps.Keys(m.Params)) {
		w.param(p, m.Params[p])
	}
	b.dst = w.end()
}
