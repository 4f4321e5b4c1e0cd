package delivery

import (
	"bytes"
	"fmt"
	"io"

	"github.com/postroad/postroad/internal/compose"
	"github.com/postroad/postroad/internal/mail"
)

// content is what a job's message looks like on the way to one kind of peer.
type content struct {
	prefix   []byte // signatures and what they add, and the To field of a private copy
	body     mail.Body
	eightBit bool
	utf8     bool
}

// size returns the octets that go out, without the token field.
func (c *content) size() int64 { return int64(len(c.prefix)) + c.body.Size() }

// prepare makes the content of the job for the peer of the open connection. The failure is a refusal for good, or a
// fault of ours.
func (s *session) prepare(job *mail.Job) (*content, *failure) {
	ext := s.conn.Extensions()
	size := job.Body.Size() + s.d.tokenSize
	convert := job.Message.EightBit && !ext.EightBit
	if ext.Size > 0 && size > ext.Size {
		return nil, tooLarge(size, ext.Size) // before a signature is made for nothing
	}
	if s.made == nil || s.madeSeven != convert {
		s.made = nil
		if f := s.render(job, convert); f != nil {
			return nil, f
		}
		s.made, s.madeSeven = &s.content, convert
	}
	if size = s.made.size() + s.d.tokenSize; ext.Size > 0 && size > ext.Size {
		return nil, tooLarge(size, ext.Size)
	}
	return s.made, nil
}

// privateTo is the To field of a private copy: its content is stored without one.
func privateTo(job *mail.Job) []byte {
	if job.Message.Content.Kind != mail.ContentPrivate {
		return nil
	}
	d := job.Deliveries[0]
	return compose.To(compose.Mailbox{Name: string(d.Data), Address: d.Recipient})
}

// render fills s.content: converted where the peer needs it, then signed.
func (s *session) render(job *mail.Job, convert bool) *failure {
	m := job.Message
	c := &s.content
	*c = content{body: job.Body, eightBit: m.EightBit}
	in := SignInput{Message: m, BodyHash: m.Content.BodyHash, Content: job.Body, BodyOffset: m.Content.BodyOffset}
	if convert {
		whole, err := readHeader(job.Body, job.Body.Size())
		if err != nil {
			return unreadable(err)
		}
		if s.d.opts.To7Bit == nil {
			return refusal(mail.ScopeMessage, mail.ClassContentSize, "5.6.3 the peer does not offer 8BITMIME and the content cannot be converted")
		}
		seven, err := s.d.opts.To7Bit(whole)
		if err != nil {
			return refusal(mail.ScopeMessage, mail.ClassContentSize, "5.6.3 the peer does not offer 8BITMIME and the content cannot be converted: "+err.Error())
		}
		c.body, c.eightBit = mail.BytesBody(seven), false
		in.Content, in.BodyHash, in.BodyOffset = c.body, [32]byte{}, headerEnd(seven)
	}
	if in.own = privateTo(job); in.own != nil || m.Recipients == 1 {
		in.Delivery = job.Deliveries[0]
	}
	if s.d.opts.Sign != nil {
		fields, err := s.d.sign(s.ctx, s.snap, in, convert)
		if err != nil {
			return ourFault(mail.StageBody, mail.ScopeMessage, mail.ClassTransientSystem, "sign: "+err.Error())
		}
		c.prefix = fields
	}
	if in.own != nil {
		c.prefix = append(c.prefix[:len(c.prefix):len(c.prefix)], in.own...)
		c.utf8 = !isASCII(in.own)
	}
	if m.UTF8 && !c.utf8 {
		header, err := readHeader(c.body, in.BodyOffset)
		if err != nil {
			return unreadable(err)
		}
		c.utf8 = !isASCII(header)
	}
	return nil
}

// unreadable is that the stored content cannot be read.
func unreadable(err error) *failure {
	return ourFault(mail.StageBody, mail.ScopeMessage, mail.ClassTransientSystem, "read content: "+err.Error())
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

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
