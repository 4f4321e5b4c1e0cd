package compose

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

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

// node is an entity to be written: a multipart with its parts, or a leaf.
type node struct {
	media, disposition message.Media
	id                 string
	encoding           string
	content            []byte
	parts              []*node
}

// tree nests the bodies and attachments.
func (m Message) tree() (*node, error) {
	var bodies []*node
	if m.Text != "" {
		bodies = append(bodies, textNode("text/plain", m.Text))
	}
	if m.HTML != "" {
		related := []*node{textNode("text/html", m.HTML)}
		for i, a := range m.Inline {
			if a.ContentID == "" {
				return nil, invalid(fmt.Sprintf("inline[%d].content_id", i), "it is missing")
			}
			n, err := fileNode(fmt.Sprintf("inline[%d]", i), "inline", a)
			if err != nil {
				return nil, err
			}
			related = append(related, n)
		}
		bodies = append(bodies, join("multipart/related", related))
	}
	all := []*node{}
	if len(bodies) > 0 {
		all = append(all, join("multipart/alternative", bodies))
	}
	for i, a := range m.Attachments {
		n, err := fileNode(fmt.Sprintf("attachments[%d]", i), "attachment", a)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return join("multipart/mixed", all), nil
}

// join puts parts into a multipart, unless there is one only.
func join(mediaType string, parts []*node) *node {
	if len(parts) == 1 {
		return parts[0]
	}
	n := &node{media: message.Media{Type: mediaType, Params: map[string]string{}}, parts: parts}
	if mediaType == "multipart/related" {
		n.media.Params["type"] = parts[0].media.Type // RFC 2387 §3.1
	}
	return n
}

func textNode(mediaType, text string) *node {
	n := &node{media: message.Media{Type: mediaType, Params: map[string]string{"charset": "utf-8"}}}
	n.content = withCRLF(text)
	n.encoding = textEncoding(n.content)
	if n.encoding == "7bit" {
		n.media.Params["charset"] = "us-ascii"
	}
	return n
}

// textEncoding chooses the encoding of a text: none if it may go as it is, else the one that suits.
func textEncoding(content []byte) string {
	switch {
	case !hasHigh(content) && !hasControl(content) && !hasLongLine(content):
		return "7bit"
	case betterQuoted(content):
		return "quoted-printable"
	}
	return "base64"
}

func hasControl(b []byte) bool {
	for i, c := range b {
		if c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f || c == '\r' && (i+1 == len(b) || b[i+1] != '\n') || c == '\n' && (i == 0 || b[i-1] != '\r') {
			return true
		}
	}
	return false
}

// withCRLF gives every line of a text, the last one too, the line end CRLF, whatever it had.
func withCRLF(s string) []byte {
	b := make([]byte, 0, len(s)+len(s)/40+2)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n' && i > 0 && s[i-1] == '\r':
		case c == '\r' || c == '\n':
			b = append(b, crlf...)
		default:
			b = append(b, c)
		}
	}
	if !bytes.HasSuffix(b, crlf) {
		b = append(b, crlf...)
	}
	return b
}

func fileNode(field, disposition string, a Attachment) (*node, error) {
	if err := checkValue(field+".filename", a.Filename); err != nil {
		return nil, err
	}
	if err := checkValue(field+".content_type", a.ContentType); err != nil {
		return nil, err
	}
	n := &node{content: a.Content, encoding: "base64", id: a.ContentID, disposition: message.Media{Type: disposition}}
	if a.ContentID != "" {
		if err := checkID(field+".content_id", a.ContentID); err != nil {
			return nil, err
		}
	}
	if a.Filename != "" {
		n.disposition.Params = map[string]string{"filename": a.Filename}
	}
	n.media.Type = "application/octet-stream"
	if a.ContentType != "" {
		n.media = message.ParseMedia(a.ContentType)
	}
	major, minor, _ := strings.Cut(n.media.Type, "/")
	if !isTokenText(major) || !isTokenText(minor) {
		return nil, invalid(field+".content_type", "it must look like image/png")
	}
	for name := range n.media.Params {
		if !isTokenText(name) || len(name) > 60 {
			return nil, invalid(field+".content_type", "a parameter name is malformed")
		}
	}
	switch {
	case major == "multipart":
		return nil, invalid(field+".content_type", "a multipart cannot be attached")
	case major == "message":
		// RFC 2046 §5.2: base64 is not allowed on these; what is not clean text goes as a file.
		if textEncoding(a.Content) == "7bit" {
			n.encoding = "7bit"
		} else {
			n.media = message.Media{Type: "application/octet-stream"}
		}
	}
	return n, nil
}

func isTokenText(s string) bool {
	for i := range len(s) {
		if !isToken(s[i]) && s[i] != '.' {
			return false
		}
	}
	return s != ""
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
