package practice

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/smtp"
)

// maxText is the longest line of text a client may send, in octets with its CRLF and without a stuffed dot
// (RFC 5321 §4.5.3.1.6).
const maxText = smtp.MaxTextLine

// content is what came between DATA and the final dot.
type content struct {
	bytes    []byte // without dot-stuffing, at most the host's limit
	size     int64
	eightBit bool
	bareLF   bool
	bareCR   bool
	long     bool
}

// data answers DATA and, after the final dot, the message.
func (s *session) data() {
	if len(s.tx.rcpts) == 0 {
		s.reply(refusal(503, 5, 5, 1, "No recipient was accepted"))
		return
	}
	tx := s.tx
	s.tx = transaction{}
	s.reply(smtp.NewReply(354, smtp.Enhanced{}, "Go ahead, end with a dot on a line of its own"))
	if s.w.Flush() != nil {
		s.ended = true
		return
	}
	if s.dropsContent(tx) {
		return
	}
	c, ok := s.readContent()
	if !ok {
		s.fault("the connection ended within the content")
		s.ended = true
		return
	}
	if refused := s.checkContent(tx, c); refused {
		return
	}
	s.finish(tx, c)
}

// dropsContent hangs up in the middle of the content if a recipient asks for it.
func (s *session) dropsContent(tx transaction) bool {
	for _, rcpt := range tx.rcpts {
		if b, ok := behaviourOf(rcpt); ok && b.when == atData && s.met("data\x00"+tx.from+"\x00"+rcpt, b) {
			s.deadline()
			_, _ = s.r.Peek(1) // the content has begun
			s.hangUp()
			return true
		}
	}
	return false
}

// readContent reads up to the final dot: CRLF . CRLF and nothing else.
func (s *session) readContent() (content, bool) {
	var c content
	lineStart, crlf := true, true
	for {
		s.deadline()
		part, err := s.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return c, false
		}
		whole := err == nil
		if lineStart && crlf && whole && string(part) == ".\r\n" {
			return c, true
		}
		c.add(part, lineStart, s.h.maxSize)
		if !whole {
			c.long = true
			lineStart = false
			continue
		}
		crlf = bytes.HasSuffix(part, []byte("\r\n"))
		c.bareLF = c.bareLF || !crlf
		lineStart = true
	}
}

// add appends a line or a part of one.
func (c *content) add(part []byte, lineStart bool, limit int64) {
	if lineStart && part[0] == '.' {
		part = part[1:] // RFC 5321 §4.5.2
	}
	c.long = c.long || len(part) > maxText
	c.size += int64(len(part))
	for _, b := range part {
		if b >= 0x80 {
			c.eightBit = true
			break
		}
	}
	end := bytes.TrimSuffix(bytes.TrimSuffix(part, []byte("\n")), []byte("\r"))
	c.bareCR = c.bareCR || bytes.IndexByte(end, '\r') >= 0
	if c.size <= limit {
		c.bytes = append(c.bytes, part...)
	}
}

// checkContent refuses what breaks the rules of the extensions in use.
func (s *session) checkContent(tx transaction, c content) (refused bool) {
	switch {
	case c.bareLF || c.bareCR:
		s.fault("the content has a bare CR or LF") // RFC 5321 §2.3.8
		s.reply(refusal(554, 5, 6, 0, "The content has a bare CR or LF"))
	case c.long:
		s.fault("the content has a line longer than %d octets", maxText)
		s.reply(refusal(554, 5, 6, 0, "A line of the content is too long"))
	case c.eightBit && !tx.body8 && !tx.utf8:
		s.fault("the content has octets over 127 that were not announced") // RFC 6152 §3
		s.reply(refusal(554, 5, 6, 1, "The content has octets over 127 without BODY=8BITMIME"))
	case c.size > s.h.maxSize:
		s.reply(s.tooLarge())
	default:
		return false
	}
	return true
}

// finish takes the message, or does what its recipients ask for after the final dot.
func (s *session) finish(tx transaction, c content) {
	r := Received{
		At: s.n.opts.Now(), Host: s.h.name, Source: s.peer, Helo: s.helo, Sender: tx.from, EnvID: tx.envID,
		MessageID: messageID(c.bytes), Size: c.size, TLS: s.tls, Content: c.bytes,
	}
	for _, rcpt := range tx.rcpts {
		b, ok := behaviourOf(rcpt)
		switch {
		case !ok:
		case b.slow:
			if !s.wait(s.n.opts.Slow) {
				return
			}
		case b.when == atDot && s.met("dot\x00"+rcpt+"\x00"+r.MessageID, b):
			if b.reply.Code != 0 {
				s.reply(b.filled(s.peer.String()))
				return
			}
			r.Unanswered = true
		}
	}
	taken := s.n.book.take(r, tx.rcpts)
	s.h.messages.Add(1)
	for _, one := range taken {
		if b, ok := behaviourOf(one.Recipient); ok && b.later != "" {
			s.n.Report(b.later, one)
		}
	}
	if r.Unanswered {
		s.hangUpClean()
		return
	}
	s.reply(smtp.NewReply(250, smtp.Enhanced{2, 0, 0}, "Taken as number %d", taken[0].N))
}

// messageID returns the Message-ID field of a message, or a hash of the whole.
func messageID(b []byte) string {
	header, _, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	if v := headerField(header, "message-id"); v != "" {
		return v
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// headerField returns the value of the first field of that name, unfolded and trimmed.
func headerField(header []byte, name string) string {
	value, found := "", false
	for line := range strings.SplitSeq(string(header), "\r\n") {
		if found {
			if line == "" || line[0] != ' ' && line[0] != '\t' {
				break
			}
			value += line
			continue
		}
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimRight(n, " \t"), name) {
			value, found = v, true
		}
	}
	return strings.TrimSpace(value)
}

func containsAddr(list []netip.Addr, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(b netip.Addr) bool { return b.Unmap() == a })
}
