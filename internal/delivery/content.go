package delivery

import (
	"bytes"
	"fmt"
	"io"

	"github.com/postroad/postroad/internal/mail"
)

// content is what a job's message looks like on the way to one kind of peer.
type content struct {
	prefix   []byte // signatures
	body     mail.Body
	eightBit bool
	utf8     bool
}

// size returns the octets that go out.
func (c *content) size() int64 { return int64(len(c.prefix)) + c.body.Size() }

// prepare makes the content of the job for the peer of the open connection: converted where the peer needs it, then
// signed. The failure is a refusal for good, or a fault of ours.
func (s *session) prepare(job *mail.Job) (*content, *failure) {
	m := job.Message
	ext := s.conn.Extensions()
	convert := m.EightBit && !ext.EightBit
	if s.made != nil && s.madeSeven == convert {
		return s.made, nil
	}
	if ext.Size > 0 && job.Body.Size() > ext.Size {
		return nil, tooLarge(job.Body.Size(), ext.Size)
	}
	c := &s.content
	*c = content{body: job.Body, eightBit: m.EightBit}
	in := SignInput{Message: m, BodyHash: m.Content.BodyHash, Content: job.Body, BodyOffset: m.Content.BodyOffset}
	if convert {
		whole, err := readAll(job.Body)
		if err != nil {
			return nil, ourFault(mail.StageBody, mail.ScopeMessage, mail.ClassTransientSystem, "read content: "+err.Error())
		}
		if s.d.opts.To7Bit == nil {
			return nil, refusal(mail.ScopeMessage, mail.ClassContentSize, "5.6.3 the peer does not offer 8BITMIME and the content cannot be converted")
		}
		seven, err := s.d.opts.To7Bit(whole)
		if err != nil {
			return nil, refusal(mail.ScopeMessage, mail.ClassContentSize, "5.6.3 the peer does not offer 8BITMIME and the content cannot be converted: "+err.Error())
		}
		c.body, c.eightBit = mail.BytesBody(seven), false
		in.Content, in.BodyHash, in.BodyOffset = c.body, [32]byte{}, headerEnd(seven)
	}
	if s.d.opts.Sign != nil {
		var err error
		if c.prefix, err = s.d.sign(s.ctx, s.snap, in, convert); err != nil {
			return nil, ourFault(mail.StageBody, mail.ScopeMessage, mail.ClassTransientSystem, "sign: "+err.Error())
		}
	}
	if ext.Size > 0 && c.size() > ext.Size {
		return nil, tooLarge(c.size(), ext.Size)
	}
	if m.UTF8 {
		header, err := readHeader(c.body, in.BodyOffset)
		if err != nil {
			return nil, ourFault(mail.StageBody, mail.ScopeMessage, mail.ClassTransientSystem, "read content: "+err.Error())
		}
		c.utf8 = !isASCII(header)
	}
	s.made, s.madeSeven = c, convert
	return c, nil
}

// tooLarge is the refusal of a message above the peer's stated limit (RFC 1870 §6.1).
func tooLarge(size, limit int64) *failure {
	return refusal(mail.ScopeMessage, mail.ClassContentSize, fmt.Sprintf("5.3.4 the message has %d octets, the peer takes %d", size, limit))
}

// headerEnd returns where the body of a whole content begins.
func headerEnd(content []byte) int64 {
	if bytes.HasPrefix(content, []byte("\r\n")) {
		return 2
	}
	if i := bytes.Index(content, []byte("\r\n\r\n")); i >= 0 {
		return int64(i) + 4
	}
	return int64(len(content))
}

// readHeader returns the first n octets of a body.
func readHeader(b mail.Body, n int64) ([]byte, error) {
	n = min(n, b.Size())
	if all := b.Bytes(); all != nil {
		return all[:n], nil
	}
	r, err := b.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	header := make([]byte, n)
	_, err = io.ReadFull(r, header)
	return header, err
}

func readAll(b mail.Body) ([]byte, error) { return readHeader(b, b.Size()) }

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
