package compose

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/postroad/postroad/internal/message"
)

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
