package compose

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/smtp"
)

// To7Bit returns msg, a whole message with CRLF line ends, with every body that has octets over 127, NUL or long lines
// re-encoded in quoted-printable or base64, whichever suits: for a peer without 8BITMIME (RFC 6152 §3). Part
// headers change only in Content-Transfer-Encoding; boundaries, and parts that need nothing, stay as they are; a
// message that needs nothing comes back itself, not a copy. The message's own header fields are not converted:
// octets over 127 there need SMTPUTF8.
//
// Content that may not change is refused with an *Error of ErrSigned: what a part of multipart/signed or encrypted, of
// S/MIME, or a message with a DKIM or ARC signature would need converted. Content that cannot be converted, as a
// broken multipart, is refused with one of ErrConvert.
func To7Bit(msg []byte) ([]byte, error) { return convert(msg, true) }

// ShortenLines is To7Bit for lines longer than SMTP allows alone (RFC 5321 §4.5.3.1.6: 998 octets): parts with octets
// over 127 but short lines stay as they are. It serves acceptance, where such lines are taken and repaired.
func ShortenLines(msg []byte) ([]byte, error) { return convert(msg, false) }

// converter re-encodes one message.
type converter struct {
	sevenBit bool // octets over 127 are wrong too
	parts    int
}

// place says where an entity stands, and so what may be done to its header.
type place uint8

const (
	whole    place = iota // the message itself
	inside                // a part of a multipart
	attached              // a message in a message/rfc822 part
)

// needs reports whether b cannot go out as it is.
func (c *converter) needs(b []byte) bool {
	return hasLongLine(b) || c.sevenBit && (hasHigh(b) || bytes.IndexByte(b, 0) >= 0)
}

func convert(msg []byte, sevenBit bool) ([]byte, error) {
	c := converter{sevenBit: sevenBit}
	p, err := message.ReadPart(msg, "text/plain", 0, false)
	if err != nil {
		return nil, headerError(err)
	}
	if !c.needs(p.Body) {
		return msg, nil
	}
	for _, f := range p.Header.Fields() {
		if lookupRule(f.Name) == signature {
			return nil, signed("the message carries a " + f.Name)
		}
	}
	out, err := c.entity(make([]byte, 0, len(msg)+len(msg)/8+200), p, whole, 0)
	if err == nil && !bytes.HasSuffix(out, crlf) {
		out = append(out, crlf...)
	}
	return out, err
}

func signed(why string) *Error {
	return &Error{Reason: why + ", and its body has lines or octets that would have to be changed", Code: codeContent, Err: ErrSigned}
}

func cannot(format string, args ...any) *Error {
	return &Error{Reason: "the body has lines or octets that must be changed, but " + fmt.Sprintf(format, args...), Code: codeConvert, Err: ErrConvert}
}

// inner appends an entity that stands in another one: as it is, if it can.
func (c *converter) inner(dst, raw []byte, defaultType string, at place, depth int) ([]byte, error) {
	if !c.needs(raw) {
		return append(dst, raw...), nil
	}
	p, err := message.ReadPart(raw, defaultType, 0, true)
	if err != nil {
		return nil, headerError(err)
	}
	return c.entity(dst, p, at, depth)
}

// entity appends p, converted. p needs it, or something in it does.
func (c *converter) entity(dst []byte, p message.Part, at place, depth int) ([]byte, error) {
	if c.parts++; depth > smtp.MaxMIMEDepth || c.parts > message.DefaultMaxParts {
		return nil, cannot("it has too many parts, or parts nested too deep")
	}
	switch t := p.Media.Type; {
	case t == "multipart/signed" || t == "multipart/encrypted":
		return nil, signed("it is " + t)
	case t == "application/pkcs7-mime" || t == "application/x-pkcs7-mime" || t == "application/pgp-encrypted":
		return nil, signed("it is " + t)
	case !c.needs(p.Body): // only the header does
		dst, err := c.header(dst, p, at, "")
		return append(dst, p.Body...), err
	case p.Media.Is("multipart"):
		return c.multipart(dst, p, at, depth)
	case t == "message/rfc822" || t == "message/global":
		dst, err := c.container(dst, p, at)
		if err != nil {
			return nil, err
		}
		return c.inner(dst, p.Body, "text/plain", attached, depth+1)
	case p.Media.Is("message") && t != "message/global-delivery-status" && t != "message/global-headers":
		// RFC 2046 §5.2: no encoding is allowed on these.
		return nil, cannot("a part is %s", t)
	}
	return c.leaf(dst, p, at)
}

func (c *converter) multipart(dst []byte, p message.Part, at place, depth int) ([]byte, error) {
	const longest = 200 // RFC 2046 §5.1.1 allows 70
	boundary := p.Media.Params["boundary"]
	m, err := message.SplitMultipart(p.Body, boundary, message.DefaultMaxParts)
	if err != nil || len(boundary) > longest || !isASCIIText(boundary) {
		return nil, cannot("a %s is malformed", p.Media.Type)
	}
	if dst, err = c.container(dst, p, at); err != nil {
		return nil, err
	}
	// Preamble and epilogue are shown to nobody (RFC 2046 §5.1.1): what cannot stay is left out.
	from := 0
	if c.needs(p.Body[:m.Preamble]) {
		from = m.Preamble
	}
	defaultType := "text/plain"
	if p.Media.Type == "multipart/digest" {
		defaultType = "message/rfc822"
	}
	for _, s := range m.Parts {
		dst = append(dst, p.Body[from:s.Start]...)
		from = s.End
		if dst, err = c.inner(dst, p.Body[s.Start:s.End], defaultType, inside, depth+1); err != nil {
			return nil, err
		}
	}
	if c.needs(p.Body[m.Epilogue:]) {
		return append(dst, p.Body[from:m.Epilogue]...), nil
	}
	return append(dst, p.Body[from:]...), nil
}

// container appends the header of an entity whose content is converted inside, which must not be encoded itself (RFC
// 2046 §5.1, §5.2.1).
func (c *converter) container(dst []byte, p message.Part, at place) ([]byte, error) {
	switch p.Encoding {
	case "7bit":
		return c.header(dst, p, at, "")
	case "8bit", "binary":
		if c.sevenBit {
			return c.header(dst, p, at, "7bit")
		}
		return c.header(dst, p, at, "")
	}
	return nil, cannot("a %s has the encoding %.40q", p.Media.Type, p.Encoding)
}

func (c *converter) leaf(dst []byte, p message.Part, at place) ([]byte, error) {
	content, err := p.Decode()
	if err != nil && p.Encoding != "quoted-printable" {
		// Broken quoted-printable has one meaning still; broken base64 has none.
		return nil, cannot("a part's encoding %.40q is unknown or broken", p.Encoding)
	}
	encoding := "base64"
	if p.Media.Is("text") && betterQuoted(content) {
		encoding = "quoted-printable"
	}
	if dst, err = c.header(dst, p, at, encoding); err != nil {
		return nil, err
	}
	if encoding == "base64" {
		return appendBase64(dst, content), nil
	}
	return appendQuoted(dst, content), nil
}

// header appends the header of p and the empty line, with Content-Transfer-Encoding set unless encoding is "".
func (c *converter) header(dst []byte, p message.Part, at place, encoding string) (_ []byte, err error) {
	set := encoding == ""
	for _, f := range p.Header.Fields() {
		switch {
		case f.Is("Content-Transfer-Encoding") && encoding != "":
			if !set {
				dst, set = appendEncoding(dst, encoding), true
			}
		case at != whole && c.sevenBit && (hasHigh(f.Raw) || bytes.IndexByte(f.Raw, 0) >= 0):
			if at == attached {
				return nil, cannot("the header of an attached message is part of it")
			}
			if dst, err = appendASCIIField(dst, f); err != nil {
				return nil, err
			}
		case hasLongLine(f.Raw):
			if dst, err = appendRefolded(dst, f); err != nil {
				return nil, err
			}
		default:
			dst = append(dst, f.Raw...)
		}
	}
	if set {
		return append(dst, crlf...), nil
	}
	if at != inside && p.Header.Count("MIME-Version") == 0 {
		dst = append(dst, "MIME-Version: 1.0\r\n"...)
	}
	if p.Header.Count("Content-Type") == 0 && p.Media.Type == "text/plain" && hasHigh(p.Body) {
		charset := "unknown-8bit" // RFC 1428 §3
		if utf8.Valid(p.Body) {
			charset = "utf-8"
		}
		dst = append(dst, "Content-Type: text/plain; charset="+charset+"\r\n"...)
	}
	return append(appendEncoding(dst, encoding), crlf...), nil
}

func appendEncoding(dst []byte, encoding string) []byte {
	return append(append(append(dst, "Content-Transfer-Encoding: "...), encoding...), crlf...)
}

// appendASCIIField writes a field of a part that has octets over 127 so that it has none: parameters by RFC 2231,
// other text by RFC 2047.
func appendASCIIField(dst []byte, f message.Field) ([]byte, error) {
	w := newField(dst, f.Name)
	if f.Is("Content-Type") || f.Is("Content-Disposition") {
		m := message.ParseMedia(f.Value())
		if !isASCIIText(m.Type) {
			return nil, cannot("the %s of a part is malformed", f.Name)
		}
		w.word(m.Type)
		for _, name := range slices.Sorted(maps.Keys(m.Params)) {
			if isTokenText(name) {
				w.param(name, m.Params[name])
			}
		}
	} else {
		w.text(message.DecodeWords(f.Value()))
	}
	return w.end(), nil
}
