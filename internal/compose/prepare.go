package compose

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/smtp"
)

// Policy is what Prepare needs to know besides the header.
type Policy struct {
	// Now is the Date of a message that has none.
	Now time.Time
	// MessageID is the Message-ID, without angle brackets, of a message that has none: unique, like "msg_…@host".
	MessageID string
	// Received is put on top as it is: what Received made; nil: nothing.
	Received []byte
	// MaxHeader bounds the octets of the header as it came; 0: smtp.MaxHeaderBytes.
	MaxHeader int
}

// Prepared is the header as it will be stored, and what was read in it.
type Prepared struct {
	// Header is the new header with the empty line after it.
	Header []byte
	// From is the author's address.
	From mail.Address
	// Sender is the address of the Sender field; zero if there is none.
	Sender mail.Address
	// Subject is decoded and cut to mail.MaxSubject octets.
	Subject string
	// MessageID is the Message-ID without angle brackets, the added one too; cut to MaxMessageID octets.
	MessageID string
	// Received is how many Received fields the message came with.
	Received int
	Controls Controls
	// EightBit: a field that stays has octets over 127. UTF8: and they are UTF-8, so that the message needs SMTPUTF8
	// (RFC 6531); otherwise they are somebody's 8-bit charset, and go out as they are.
	EightBit, UTF8 bool
}

// MaxMessageID bounds Prepared.MessageID, in octets.
const MaxMessageID = 500

// MaxHeaderLine is the longest header line, in octets without CRLF (RFC 5322 §2.1.1).
const MaxHeaderLine = 998

// fieldRule is what the policy does with fields of one name.
type fieldRule uint8

const (
	keep fieldRule = iota
	drop
	feedback // dropped, unless the submitter signed it: then it is the address of a feedback loop of his own
	received
	signature
	once // from here on: kept, and a second one refused
	from
	sender
	subject
	date
	messageID
)

// fieldRules names every field that is not simply kept. once is for the fields RFC 5322 §3.6 and RFC 2045 allow once,
// and the pair a one-click unsubscribe is read from (RFC 8058 §4): of two, one reader would take the first, another the
// last.
var fieldRules = map[string]fieldRule{
	"from": from, "sender": sender, "subject": subject, "date": date, "message-id": messageID,
	"reply-to": once, "to": once, "cc": once, "in-reply-to": once, "references": once,
	"mime-version": once, "content-type": once, "content-transfer-encoding": once, "content-disposition": once,
	"content-id": once, "content-description": once,
	"list-unsubscribe": once, "list-unsubscribe-post": once,
	"bcc": drop, "resent-bcc": drop, "return-path": drop, "x-postroad-token": drop,
	"cfbl-address": feedback, "cfbl-feedback-id": feedback,
	"received": received, "dkim-signature": signature, "arc-message-signature": signature,
}

// maxRuleName is longer than every name in fieldRules, and as long as any that is looked up.
const maxRuleName = 32

// lookupRule returns the rule for a name in any case, without making a lower-case copy of it.
func lookupRule(name string) fieldRule {
	var buf [maxRuleName]byte
	if len(name) > len(buf) {
		return keep
	}
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return fieldRules[string(buf[:len(name)])]
}

// Prepare applies the header policy to header, the header of a message as it came, with or without the empty line
// after it. Errors are *Error.
func Prepare(header []byte, p Policy) (Prepared, error) {
	h, _, err := message.ReadHeader(header, p.MaxHeader)
	if err != nil {
		return Prepared{}, headerError(err)
	}
	w := preparer{p: p}
	w.out.Header = append(make([]byte, 0, len(p.Received)+len(header)+200), p.Received...)
	w.ownLoop = signsLoop(h)
	for i, f := range h.Fields() {
		rule := lookupRule(f.Name)
		if rule == keep && isControl(f.Name) {
			if err := w.out.Controls.set(f); err != nil {
				return Prepared{}, err
			}
			continue
		}
		if rule >= once {
			if err := refuseSecond(h.Fields()[:i], f); err != nil {
				return Prepared{}, err
			}
		}
		if err := w.field(f, rule); err != nil {
			return Prepared{}, err
		}
	}
	if err := w.finish(); err != nil {
		return Prepared{}, err
	}
	return w.out, nil
}

type preparer struct {
	p       Policy
	out     Prepared
	hasFrom bool
	hasDate bool
	hasID   bool
	ownLoop bool // a signature of the submitter's covers his own CFBL fields
}

// refuseSecond refuses f if a field of its name stands above it.
func refuseSecond(above []message.Field, f message.Field) error {
	for i := range above {
		if above[i].Is(f.Name) {
			return invalid(f.Name, "the field stands twice in the header; it may stand once")
		}
	}
	return nil
}

func (w *preparer) field(f message.Field, rule fieldRule) (err error) {
	switch rule {
	case drop:
		return nil
	case feedback:
		if !w.ownLoop {
			return nil
		}
	case from:
		w.hasFrom = true
		if w.out.From, err = oneAddress(f); err != nil {
			return err
		}
	case sender:
		if w.out.Sender, err = oneAddress(f); err != nil {
			return err
		}
	case subject:
		w.out.Subject = mail.Cut(message.DecodeWords(f.Value()), mail.MaxSubject)
	case date:
		w.hasDate = true
	case messageID:
		w.hasID = true
		w.out.MessageID = mail.Cut(strings.TrimSuffix(strings.TrimPrefix(message.DecodeWords(f.Value()), "<"), ">"), MaxMessageID)
	case received:
		if w.out.Received++; w.out.Received > smtp.MaxReceived {
			// RFC 5321 §6.3
			return &Error{Field: "Received", Reason: "too many hops: the message is going round", Code: codeLoop, Err: ErrLoop}
		}
	}
	w.look(f.Raw)
	return w.keep(f)
}

// look notes octets over 127. One field that is not UTF-8 makes the whole header not UTF-8.
func (w *preparer) look(raw []byte) {
	if w.out.EightBit && !w.out.UTF8 || !hasHigh(raw) {
		return
	}
	w.out.UTF8 = utf8.Valid(raw) && (w.out.UTF8 || !w.out.EightBit)
	w.out.EightBit = true
}

// keep copies the field, folding lines SMTP could not carry.
func (w *preparer) keep(f message.Field) (err error) {
	if len(f.Raw) <= MaxHeaderLine+2 || !hasLongLine(f.Raw) {
		w.out.Header = append(w.out.Header, f.Raw...)
		return nil
	}
	w.out.Header, err = appendRefolded(w.out.Header, f)
	return err
}

// appendRefolded appends a field and folds, at white space, its lines longer than MaxHeaderLine.
func appendRefolded(dst []byte, f message.Field) ([]byte, error) {
	text := len(f.Name) + 1 // where the line may first be folded: behind some text of the value
	for raw := f.Raw; len(raw) > 0; {
		n := bytes.IndexByte(raw, '\n') + 1
		if n == 0 {
			n = len(raw)
		}
		line := raw[:n]
		raw = raw[n:]
		for len(line) > MaxHeaderLine+2 {
			for line[text] == ' ' || line[text] == '\t' {
				text++
			}
			at := bytes.LastIndexAny(line[:MaxHeaderLine+1], " \t")
			if at < text {
				return nil, invalid(f.Name, "a line is longer than %d octets and cannot be folded", MaxHeaderLine)
			}
			dst = append(append(dst, line[:at]...), crlf...)
			line, text = line[at:], 0
		}
		dst = append(dst, line...)
		text = 0
	}
	return dst, nil
}

// finish adds what is missing and the empty line.
func (w *preparer) finish() error {
	if !w.hasFrom {
		return invalid("From", "the field is missing")
	}
	b := w.out.Header
	if !w.hasDate {
		b = append(b, "Date: "...)
		b = append(w.p.Now.AppendFormat(b, DateFormat), '\r', '\n')
	}
	if !w.hasID {
		w.out.MessageID = w.p.MessageID
		b = append(append(append(b, "Message-ID: <"...), w.p.MessageID...), ">\r\n"...)
	}
	w.out.Header = append(b, '\r', '\n')
	return nil
}

// DateFormat is date-time of RFC 5322 §3.3.
const DateFormat = "Mon, 02 Jan 2006 15:04:05 -0700"

// oneAddress reads a field that must name exactly one mailbox.
func oneAddress(f message.Field) (a mail.Address, err error) {
	list, err := message.ParseAddresses(f.Value())
	switch {
	case err != nil:
		return a, invalid(f.Name, "%s", reason(err, message.ErrBadAddressList))
	case len(list) == 0:
		return a, invalid(f.Name, "the field names no address")
	case len(list) > 1:
		return a, invalid(f.Name, "the field names %d addresses; it may name one", len(list))
	}
	if a, err = mail.ParseAddress(list[0].Addr); err != nil {
		return a, invalid(f.Name, "%s", reason(err, mail.ErrBadAddress))
	}
	return a, nil
}

// reason returns the text of err behind that of its kind.
func reason(err, kind error) string { return strings.TrimPrefix(err.Error(), kind.Error()+": ") }

func headerError(err error) error {
	e := &Error{Reason: err.Error(), Code: codeContent, Err: err}
	var he *message.HeaderError
	if errors.As(err, &he) {
		e.Reason = strings.TrimPrefix(he.Error(), "message: ")
	}
	return e
}

// hasHigh reports whether b has octets over 127.
func hasHigh(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return true
		}
	}
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// hasLongLine reports whether b has a line longer than MaxHeaderLine, which is also the limit of body lines.
func hasLongLine(b []byte) bool {
	for len(b) > MaxHeaderLine {
		n := bytes.IndexByte(b, '\n')
		if n < 0 {
			return true
		}
		if n > MaxHeaderLine+1 || n == MaxHeaderLine+1 && b[n-1] != '\r' {
			return true
		}
		b = b[n+1:]
	}
	return false
}
