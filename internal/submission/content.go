package submission

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/postroad/postroad/internal/compose"
	"github.com/postroad/postroad/internal/dkim"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/spool"
)

// maxLine is the longest line of a body that goes out as it is, without its CRLF (RFC 5321 §4.5.3.1.6).
const maxLine = smtp.MaxTextLine - 2

// intake is a message as it came: its header and the beginning of its body in memory, the rest still to be read.
type intake struct {
	buf    *bytes.Buffer // from buffers
	header []byte        // of buf: with the empty line after it
	start  []byte        // of buf: the body as far as it was read
	rest   io.Reader     // nil: start is the whole body
	size   int64         // read so far
	max    int64
}

var buffers = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, 8<<10)) }}

// keepBuffer is the largest buffer that goes back to the pool.
const keepBuffer = 2 * spool.DefaultMaxInline

func (in *intake) release() {
	if in.buf.Cap() <= keepBuffer {
		in.buf.Reset()
		buffers.Put(in.buf)
	}
	in.buf, in.header, in.start = nil, nil, nil
}

// take reads content until the header and what may be kept inline of the body is there.
func (s *Service) take(ctx context.Context, content io.Reader) (*intake, error) {
	in := &intake{buf: buffers.Get().(*bytes.Buffer), max: s.o.MaxSize}
	limit := int64(spool.DefaultMaxInline)
	for {
		n, err := in.buf.ReadFrom(io.LimitReader(content, limit-int64(in.buf.Len())))
		in.size += n
		if err != nil {
			in.release()
			return nil, err
		}
		if in.size > in.max {
			in.release()
			return nil, refuse(TooLarge, "", "the message is larger than %d octets", s.o.MaxSize)
		}
		whole := int64(in.buf.Len()) < limit
		end := message.HeaderEnd(in.buf.Bytes())
		switch {
		case end >= 0 || whole:
			b := in.buf.Bytes()
			if end < 0 {
				end = len(b)
			}
			in.header, in.start = b[:end], b[end:]
			if !whole {
				in.rest = content
			}
			return in, ctx.Err()
		case limit >= smtp.MaxHeaderBytes:
			in.release()
			return nil, refuse(BadContent, "header", "the header is longer than %d octets, or the empty line after it is missing", smtp.MaxHeaderBytes)
		}
		limit = smtp.MaxHeaderBytes
	}
}

// stored is content in the form it is kept.
type stored struct {
	body   []byte               // nil: in file
	file   *spool.ContentWriter // nil: in body
	size   int64
	offset int64 // where the body begins
	hash   [32]byte
	facts  dkim.BodyFacts
}

// drop removes the file of content that was not accepted.
func (c *stored) drop() error {
	if c.file == nil {
		return nil
	}
	return c.file.Abort()
}

// hashers are reused: a hash's state is most of what a small message would allocate.
var hashers = sync.Pool{New: func() any { return dkim.NewBodyHasher() }}

// store puts the header for keeping (with its empty line) before the body, checks the body on the way, and keeps small
// content in memory and large content in a file. On an error nothing is kept.
func (s *Service) store(ctx context.Context, id mail.MessageID, header []byte, in *intake) (c stored, err error) {
	h := hashers.Get().(*dkim.BodyHasher)
	defer func() { h.Reset(); hashers.Put(h) }()
	c.offset = int64(len(header))
	_, _ = h.Write(in.start)
	if in.rest == nil && c.offset+int64(len(in.start)) <= spool.DefaultMaxInline {
		c.hash, c.facts = h.Sum(), h.Facts()
		c.body = append(append(make([]byte, 0, len(header)+len(in.start)), header...), in.start...)
		c.size = int64(len(c.body))
		return c, checkBody(c.facts)
	}

	w, err := s.o.Spool.NewContent(id)
	if err != nil {
		return stored{}, spoolError(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Abort())
		}
	}()
	for _, b := range [][]byte{header, in.start} {
		if _, err := w.Write(b); err != nil {
			return stored{}, spoolError(err)
		}
	}
	if in.rest != nil {
		if err := in.copyRest(ctx, h, w); err != nil {
			return stored{}, err
		}
	}
	c.hash, c.facts, c.size, c.file = h.Sum(), h.Facts(), w.Size(), w
	if err := checkBody(c.facts); err != nil {
		return stored{}, err
	}
	if err := w.Finish(); err != nil {
		return stored{}, spoolError(err)
	}
	return c, nil
}

// shorten re-encodes content with lines longer than SMTP allows and stores it anew in place of what was stored. It
// has to have all of it in memory; such messages are few.
func (s *Service) shorten(ctx context.Context, id mail.MessageID, c stored) (stored, error) {
	select {
	case s.long <- struct{}{}:
		defer func() { <-s.long }()
	case <-ctx.Done():
		return stored{}, errors.Join(ctx.Err(), c.drop())
	}
	whole := c.body
	if c.file != nil {
		r, err := c.file.Open()
		if err == nil {
			whole, err = io.ReadAll(r)
			err = errors.Join(err, r.Close())
		}
		if err = errors.Join(err, c.drop()); err != nil {
			return stored{}, spoolError(err)
		}
	}
	short, err := compose.ShortenLines(whole)
	if err != nil {
		return stored{}, contentError(err)
	}
	end := message.HeaderEnd(short)
	if end < 0 {
		return stored{}, refuse(BadContent, "body", "its lines are longer than %d octets and cannot be re-encoded", maxLine)
	}
	return s.store(ctx, id, short[:end], &intake{start: short[end:], max: int64(len(short))})
}

// copyRest streams what is left of the content through the hasher to the file.
func (in *intake) copyRest(ctx context.Context, h *dkim.BodyHasher, w *spool.ContentWriter) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := in.rest.Read(buf)
		in.size += int64(n)
		if in.size > in.max {
			return refuse(TooLarge, "", "the message is larger than %d octets", in.max)
		}
		_, _ = h.Write(buf[:n])
		if _, werr := w.Write(buf[:n]); werr != nil {
			return spoolError(werr)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// checkBody refuses what no receiver takes, or what two receivers would read differently.
func checkBody(f dkim.BodyFacts) error {
	switch {
	case f.NUL:
		return refuse(BadContent, "body", "it contains a NUL octet; encode binary parts in base64")
	case f.BareCR || f.BareLF:
		return refuse(BadContent, "body", "a CR or LF stands alone; every line must end with CRLF")
	case f.MaxLine > smtp.MaxBodyLine:
		return refuse(BadContent, "body", "a line is longer than %d octets; encode it in quoted-printable or base64", smtp.MaxBodyLine)
	}
	return nil
}

// spoolError translates an error of the spool.
func spoolError(err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, spool.ErrDiskFull):
		return &Error{Kind: NoSpace, Detail: "there is no room for new mail at the moment; try again later", Err: err}
	}
	return &Error{Kind: Unavailable, Detail: "the message could not be stored; try again later", Err: err}
}
