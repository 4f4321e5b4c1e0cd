package message

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postroad/postroad/internal/smtp"
)

// Limits of Walk where WalkOptions sets none.
const (
	DefaultMaxParts = 1000
	DefaultMaxBytes = smtp.DefaultMaxSize
)

// Errors of Walk.
var (
	// ErrLimit is wrapped when a message is deeper, larger or of more parts than allowed.
	ErrLimit = errors.New("message: MIME structure exceeds a limit")
	// ErrBadMIME is wrapped when strict reading finds a multipart without a boundary, or whose boundary never comes.
	ErrBadMIME = errors.New("message: MIME structure is malformed")
	// SkipPart, returned by the function Walk calls, leaves out what is inside the part.
	//lint:ignore ST1012 it is no failure; io/fs names its SkipDir the same way
	SkipPart = errors.New("message: skip this part")
	// Stop, returned by the function Walk calls, ends the walk without an error.
	//lint:ignore ST1012 as SkipPart
	Stop = errors.New("message: stop")
)

// WalkOptions says how Walk reads.
type WalkOptions struct {
	MaxDepth  int   // of parts within parts; 0: smtp.MaxMIMEDepth
	MaxParts  int   // 0: DefaultMaxParts
	MaxBytes  int64 // of the whole message; 0: DefaultMaxBytes
	MaxHeader int   // octets of each header; 0: smtp.MaxHeaderBytes
	// Lenient reads what comes from the world: see ReadHeaderLenient. A multipart without end boundary reaches to the
	// end of what it stands in; one whose boundary never comes is a leaf.
	Lenient bool
	// Messages enters attached messages (message/rfc822, message/global), also ones that are illegally encoded.
	Messages bool
}

// Part is one part of a message as it stands. The message itself is the part with Depth 0.
type Part struct {
	Header   Header
	Media    Media  // of Content-Type; text/plain, or message/rfc822 in a digest, if there is none
	Encoding string // Content-Transfer-Encoding in lower case; "7bit" if there is none
	Body     []byte // as it stands: still encoded, without the line end that belongs to the boundary after it
	Depth    int
	Index    int // number of the part in the order of the walk, from 0
	Parent   int // Index of the part this one stands in; -1 for the message itself
	// Children reports whether Walk goes on into this part: its own text is of no meaning then.
	Children bool

	multi Multipart
}

// Walk reads msg, a whole message, and calls fn for each part, a part before what is inside it. It copies nothing but
// header text. fn may return SkipPart or Stop; any other error ends the walk and is returned. Limits are errors in
// both ways of reading; parts before the limit have been seen by then.
func Walk(msg []byte, o WalkOptions, fn func(Part) error) error {
	o = o.withDefaults()
	if int64(len(msg)) > o.MaxBytes {
		return fmt.Errorf("%w: larger than %d octets", ErrLimit, o.MaxBytes)
	}
	w := walker{o: o, fn: fn}
	if err := w.entity(msg, 0, -1, "text/plain"); err != nil && err != Stop {
		return err
	}
	return nil
}

func (o WalkOptions) withDefaults() WalkOptions {
	if o.MaxDepth <= 0 {
		o.MaxDepth = smtp.MaxMIMEDepth
	}
	if o.MaxParts <= 0 {
		o.MaxParts = DefaultMaxParts
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	return o
}

type walker struct {
	o    WalkOptions
	fn   func(Part) error
	seen int
}

func (w *walker) entity(b []byte, depth, parent int, defaultType string) error {
	if depth > w.o.MaxDepth {
		return fmt.Errorf("%w: parts are nested more than %d deep", ErrLimit, w.o.MaxDepth)
	}
	if w.seen == w.o.MaxParts {
		return fmt.Errorf("%w: more than %d parts", ErrLimit, w.o.MaxParts)
	}
	p, err := ReadPart(b, defaultType, w.o.MaxHeader, w.o.Lenient)
	if err != nil {
		return err
	}
	p.Depth, p.Index, p.Parent = depth, w.seen, parent
	w.seen++

	nested := w.o.Messages && (p.Media.Type == "message/rfc822" || p.Media.Type == "message/global")
	var inner []byte
	switch {
	case p.Media.Is("multipart"):
		p.multi, err = SplitMultipart(p.Body, p.Media.Params["boundary"], w.o.MaxParts-w.seen)
		if errors.Is(err, ErrBadMIME) && w.o.Lenient {
			break
		}
		if err != nil {
			return err
		}
		p.Children = true
	case nested:
		if inner, err = DecodeTransfer(p.Encoding, p.Body); err != nil && !w.o.Lenient {
			return err
		}
		p.Children = true
	}
	if err := w.fn(p); err != nil {
		if err == SkipPart {
			return nil
		}
		return err
	}
	if !p.Children {
		return nil
	}
	if nested {
		return w.entity(inner, depth+1, p.Index, "text/plain")
	}
	defaultType = "text/plain"
	if p.Media.Type == "multipart/digest" {
		defaultType = "message/rfc822" // RFC 2046 §5.1.5
	}
	for _, s := range p.multi.Parts {
		if err := w.entity(p.Body[s.Start:s.End], depth+1, p.Index, defaultType); err != nil {
			return err
		}
	}
	return nil
}

// ReadPart reads the header of one part, or of a message, and leaves its body as it is. defaultType is the type of a
// part that names none.
func ReadPart(b []byte, defaultType string, maxHeader int, lenient bool) (p Part, err error) {
	at := 0
	if lenient {
		p.Header, at = ReadHeaderLenient(b, maxHeader)
	} else if p.Header, at, err = ReadHeader(b, maxHeader); err != nil {
		return Part{}, err
	}
	p.Body = b[at:]
	p.Media.Type, p.Encoding = defaultType, "7bit"
	if v, ok := p.Header.Get("Content-Type"); ok {
		if m := ParseMedia(v); strings.Contains(m.Type, "/") {
			p.Media = m
		} else if m.Type == "text" { // some old senders
			p.Media = Media{Type: "text/plain", Params: m.Params}
		}
	}
	if v, ok := p.Header.Get("Content-Transfer-Encoding"); ok {
		if m := ParseMedia(v); m.Type != "" {
			p.Encoding = m.Type
		}
	}
	return p, nil
}

// Decode undoes the transfer encoding. Broken content is decoded as far as it goes; the error, which wraps
// ErrEncoding, then tells so.
func (p Part) Decode() ([]byte, error) { return DecodeTransfer(p.Encoding, p.Body) }

// Text decodes the part and turns it into UTF-8. It never fails: broken encodings are read as far as they go, an
// unknown charset as UTF-8 or windows-1252.
func (p Part) Text() string {
	b, _ := p.Decode()
	text, _ := DecodeCharset(p.Media.Params["charset"], b)
	return text
}

// Filename returns the file name the part suggests, as a plain text that may hold path separators; "" if none.
func (p Part) Filename() string {
	for _, field := range []string{"Content-Disposition", "Content-Type"} {
		v, _ := p.Header.Get(field)
		m := ParseMedia(v)
		for _, key := range []string{"filename", "name"} {
			if name := m.Params[key]; name != "" {
				return DecodeWords(name)
			}
		}
	}
	return ""
}
