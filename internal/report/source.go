package report

import (
	"bytes"
	"errors"
	"html"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
)

// letter is a mail taken apart: what its readers look at.
type letter struct {
	lim    Limits
	header message.Header
	words  string // lowered, made once
	// What mentions and original return, made once.
	mentioned []mention
	lines     []string
	origin    *Original
	// text is the explanation: every part a person is meant to read, up to where the returned message begins.
	text string
	// status and feedback are the bodies of the machine-readable parts, decoded.
	status   []string
	feedback []string
	// returned is the header of the returned message, from an attached message, an attached header, or the text.
	returned  message.Header
	hasOrigin bool
	attached  []byte // the first attached message
	truncated bool
}

// maxLooseStatus bounds how large a delivery status may be that is not called one, in octets.
const maxLooseStatus = 64 << 10

// maxHeader bounds each header that is read, in octets.
const maxHeader = 128 << 10

// collect takes a mail apart.
func collect(raw []byte, lim Limits) *letter {
	m := &letter{lim: lim}
	if len(raw) > lim.Bytes {
		raw, m.truncated = raw[:lim.Bytes], true
	}
	raw = bytes.TrimLeft(raw, " \t\r\n") // a blank line before the header
	var plain, rich strings.Builder
	inside := -1 // the Index of an attached message we are in
	depth, wrapped := 0, false
	opts := message.WalkOptions{MaxDepth: lim.Depth, MaxParts: lim.Parts, MaxBytes: int64(lim.Bytes), MaxHeader: maxHeader, Lenient: true, Messages: true}
	lost, mended := "", false
	visit := func(p message.Part) error {
		if p.Depth == 0 {
			if lost = lostBoundary(p); lost != "" && !mended {
				return message.Stop
			}
			m.header = p.Header
		}
		if inside >= 0 && p.Depth > depth {
			// Of the returned message only its own header counts: what it carries is not about our mail.
			if p.Parent == inside && !m.hasOrigin {
				m.returned, m.hasOrigin = p.Header, true
			}
			return message.SkipPart
		}
		inside = -1
		if p.Depth == 1 && wrapped {
			m.returned, m.hasOrigin = p.Header, true
		}
		switch {
		case p.Media.Type == "message/rfc822" || p.Media.Type == "message/global":
			if p.Depth == 0 {
				wrapped = true // the mail is nothing but an attached one: it may be the report, or what is complained of
				return nil
			}
			inside, depth = p.Index, p.Depth
			if body, err := p.Decode(); err == nil && len(m.attached) == 0 {
				m.attached = body
			}
		case p.Children:
		case p.Media.Is("message") && strings.HasSuffix(p.Media.Type, "delivery-status"):
			m.status = append(m.status, p.Text())
		case p.Media.Type == "application/octet-stream" && len(p.Body) <= maxLooseStatus:
			// Some gateways rename what they do not know.
			if t := p.Text(); beginsStatus(t) {
				m.status = append(m.status, t)
			}
		case p.Media.Type == "message/feedback-report":
			m.feedback = append(m.feedback, p.Text())
		case p.Media.Type == "text/rfc822-headers" || p.Media.Type == "message/rfc822-headers" || p.Media.Type == "message/global-headers" || p.Media.Type == "text/rfc822-header":
			if !m.hasOrigin {
				m.takeHeader([]byte(p.Text()))
			}
		case p.Media.Type == "text/html":
			appendText(&rich, htmlText(m.partText(p)), lim.Text)
		case p.Media.Is("text") || p.Media.Is("multipart") || p.Media.Type == "message/disposition-notification" || !strings.Contains(p.Media.Type, "/"):
			// A multipart whose boundary never comes is read as text: broken reports still say something.
			appendText(&plain, m.partText(p), lim.Text)
		}
		return nil
	}
	err := message.Walk(raw, opts, visit)
	if lost != "" {
		mended = true
		err = message.Walk(withBoundary(raw, lost), opts, visit)
	}
	if errors.Is(err, message.ErrLimit) {
		m.truncated = true
	}
	text := plain.String()
	if strings.TrimSpace(text) == "" {
		text = rich.String()
	}
	if strings.Contains(text, "\x1b$") {
		// Japanese mail that does not name its charset; ISO-2022-JP announces itself.
		text, _ = message.DecodeCharset("iso-2022-jp", []byte(text))
	}
	m.cutReturned(text)
	return m
}

// partText decodes a part. Where that names no charset, or one its octets are not of, what the mail's header is written in
// stands in, or what the HTML says of itself.
func (m *letter) partText(p message.Part) string {
	b, _ := p.Decode()
	charset := strings.ToLower(p.Media.Params["charset"])
	switch charset {
	case "", "us-ascii", "ascii", "utf-8", "utf8", "7bit", "8bit", "unknown", "unknown-8bit", "default":
		if utf8.Valid(b) {
			break
		}
		if own := charsetOf(b[:min(len(b), maxPreamble)]); own != "" && p.Media.Type == "text/html" {
			charset = own
			break
		}
		for _, name := range []string{"Subject", "From", "To"} {
			v, _ := m.header.Get(name)
			if _, word, ok := strings.Cut(v, "=?"); ok {
				if word, _, _ = strings.Cut(word, "?"); !strings.EqualFold(word, "utf-8") && !strings.EqualFold(word, "us-ascii") {
					charset = word
					break
				}
			}
		}
	}
	text, _ := message.DecodeCharset(charset, b)
	return text
}

// charsetOf returns the charset that the head of an HTML text names; "" if it names none.
func charsetOf(b []byte) string {
	i := indexFold(string(b), "charset=")
	if i < 0 {
		return ""
	}
	name := strings.TrimLeft(string(b[i+len("charset="):]), "\"' ")
	for end := range len(name) {
		if c := name[end]; !isAlnum(c) && c != '-' && c != '_' {
			return name[:end]
		}
	}
	return ""
}

func appendText(b *strings.Builder, s string, max int) {
	room := max - b.Len()
	if room < 0 {
		return
	}
	b.WriteString(mail.Cut(s, room))
	b.WriteByte('\n')
}

// takeHeader keeps a header found in the mail as that of the returned message, if it looks like one.
func (m *letter) takeHeader(b []byte) {
	b = bytes.TrimLeft(b, "\r\n \t")
	h, _ := message.ReadHeaderLenient(b, maxHeader)
	if len(h.Fields()) > 0 {
		m.returned, m.hasOrigin = h, true
	}
}

// blanks makes wide and narrow blanks spaces, and drops what has no width: HTML is full of them, and they stand right
// beside addresses.
var blanks = strings.NewReplacer("\u00a0", " ", "\u2007", " ", "\u202f", " ", "\u3000", " ", "\u200b", "", "\u200c", "", "\u200e", "", "\u200f", "", "\u2060", "", "\ufeff", "", "\u00ad", "")

// cutReturned keeps as text what stands before the returned message, and reads the header of that message.
func (m *letter) cutReturned(text string) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	if !isASCII(text) {
		text = blanks.Replace(text)
	}
	text = joinAddresses(text)
	end, origin := findReturned(text)
	m.text = strings.TrimSpace(text[:end])
	if !m.hasOrigin && origin >= 0 {
		m.takeHeader([]byte(text[origin:]))
		if from, _ := m.returned.Get("From"); len(m.attached) == 0 && daemonLocal(firstAddress(from)) {
			m.attached = []byte(text[origin:]) // a report that is passed on, in the text
		}
	}
}

// htmlText reduces HTML to its words, one block a line.
func htmlText(s string) string {
	var b strings.Builder
	link, shown := "", 0 // the address a link leads to, and where what it shows begins
	for len(s) > 0 {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = s[i+1:]
		// An address in angle brackets that should have been escaped.
		if end := strings.IndexByte(s, '>'); end > 0 && strings.IndexByte(s[:end], '@') > 0 && !strings.ContainsAny(s[:end], " \n\"=") {
			b.WriteString("<" + s[:end+1])
			s = s[end+1:]
			continue
		}
		name := 0
		for name < len(s) && (s[name] == '/' || s[name] == '!' || isAlnum(s[name])) {
			name++
		}
		tag := strings.ToLower(strings.Trim(s[:name], "/"))
		switch tag {
		case "style", "script", "head", "title":
			if !strings.HasPrefix(s, "/") {
				if end := indexFold(s, "</"+tag); end >= 0 {
					s = s[end+2+len(tag):]
				}
			}
		case "br", "p", "div", "tr", "li", "h1", "h2", "h3", "h4", "hr", "table", "ul", "pre", "blockquote":
			b.WriteByte('\n')
		case "td", "th":
			b.WriteByte(' ')
		}
		end := strings.IndexByte(s, '>')
		if end < 0 {
			break
		}
		switch {
		case tag != "a":
		case s[0] != '/':
			link, shown = mailtoIn(s[:end]), b.Len()
		case link != "":
			if !strings.Contains(strings.ToLower(b.String()[shown:]), strings.ToLower(link)) {
				b.WriteString("<mailto:" + link + ">") // a name is shown
			}
			link = ""
		}
		s = s[end+1:]
	}
	return html.UnescapeString(b.String())
}

// mailtoIn returns the address a tag links to; "" if it links to none.
func mailtoIn(tag string) string {
	i := indexFold(tag, "mailto:")
	if i < 0 {
		return ""
	}
	a := html.UnescapeString(tag[i+len("mailto:"):])
	if end := strings.IndexAny(a, "\"'?<> "); end >= 0 {
		a = a[:end]
	}
	a, err := url.PathUnescape(a)
	if err != nil || !looksLikeAddress(a) {
		return ""
	}
	return a
}

// indexFold finds an ASCII text in any case.
func indexFold(s, lower string) int {
	first := lower[:1] + strings.ToUpper(lower[:1])
	for i := 0; i+len(lower) <= len(s); i++ {
		j := strings.IndexAny(s[i:], first)
		if j < 0 {
			return -1
		}
		i += j
		if i+len(lower) <= len(s) && strings.EqualFold(s[i:i+len(lower)], lower) {
			return i
		}
	}
	return -1
}

func isAlnum(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' }
