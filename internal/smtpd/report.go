package smtpd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/postroad/postroad/internal/compose"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/spool"
)

// Data implements smtpserver.Session: the content becomes one entry of the inbox for each recipient. Where one of several
// cannot be stored the answer is temporary; the copies stored before come again then, and are known as repeated by
// what they say.
func (c *returnSession) Data(ctx context.Context, r io.Reader) (smtp.Reply, error) {
	room := maxWhole
	if c.kind != toOperator {
		room = max(maxWhole/len(c.rcpts), minReportShare)
	}
	s := newSink(c.p, room)
	defer s.free()
	if _, err := io.Copy(s, r); err != nil {
		return smtp.Reply{}, err
	}
	if c.kind == toOperator && s.size > maxWhole {
		return smtp.Reply{}, c.p.refuse("size", tooLongToRead)
	}
	if received(s.head) > smtp.MaxReceived {
		return smtp.Reply{}, c.p.refuse("loop", looping)
	}
	content, cut := s.content()
	var first mail.ReportID
	for _, to := range c.rcpts {
		id, err := c.store(ctx, to, content, cut)
		if err != nil {
			return smtp.Reply{}, err
		}
		if first.IsZero() {
			first = id
		}
	}
	return smtp.Reply{Code: 250, Enhanced: smtp.Enhanced{2, 6, 0}, Lines: []string{first.String() + " taken"}}, nil
}

// store puts the content, of which cut octets are missing, into the inbox for one recipient.
func (c *returnSession) store(ctx context.Context, to mail.Address, content []byte, cut int64) (mail.ReportID, error) {
	p, now := c.p, c.p.o.Now()
	id := mail.NewReportID(now)
	client := c.info.Remote.Addr().Unmap()
	e := spool.InboxEntry{Kind: spool.InboxReturnPath, Received: now, Meta: map[string]string{
		spool.MetaReport: id.String(), spool.MetaFrom: c.from.String(), spool.MetaRecipient: to.String(), spool.MetaClient: client.String(),
	}}
	if c.info.Helo != "" {
		e.Meta[spool.MetaHelo] = c.info.Helo
	}
	if name := c.info.TLSName(); name != "" {
		e.Meta[spool.MetaTLS] = name
	}
	// RFC 5321 §4.4: both fields stand before all others.
	trace := append(append([]byte("Return-Path: "), c.from.Path()...), "\r\n"...)
	trace = append(trace, compose.Received(compose.Trace{
		Host: p.o.Hostname, Protocol: c.info.Protocol(), ID: id.String(), TLS: c.info.TLSName(), At: now, For: to, Client: client, Helo: c.info.Helo,
	})...)
	if cut > 0 {
		e.Meta[spool.MetaTruncated] = strconv.FormatInt(cut, 10)
	}
	e.Raw = append(trace, content...)
	_, err := p.o.Inbox.PutInbox(ctx, e)
	switch {
	case errors.Is(err, spool.ErrDiskFull):
		return id, p.refuse("space", noSpace)
	case err != nil:
		p.refused.WithLabelValues("spool").Inc()
		return id, &smtp.ReplyError{Reply: spoolDown.Reply, Err: err}
	}
	kind, _ := p.find(to)
	p.taken.WithLabelValues(string(kind)).Inc()
	p.flood.add(now, floodKey(kind, to), client, int64(len(content)))
	p.o.Logger.Info("mail came back", mail.LogEvent, "report_taken", mail.LogReport, id, mail.LogClient, client, mail.LogRcpt, to)
	p.o.Stored()
	return id, nil
}

// sink keeps the beginning and the end of a content, and counts what is between them.
type sink struct {
	p                *ReturnPath
	maxHead, maxTail int // octets kept
	room             int // for both and what joins them
	head             []byte
	tail             []byte // the last octets behind head, twice maxTail at the most
	taken            int64  // of the budget of memory
	size             int64  // of the whole content
}

const firstBuffer = 16 << 10 // octets; most reports fit

func newSink(p *ReturnPath, room int) *sink {
	s := &sink{p: p, room: room}
	s.maxHead, s.maxTail = report.Shares(room)
	return s
}

// Write implements io.Writer.
func (s *sink) Write(b []byte) (int, error) {
	written := len(b)
	s.size += int64(written)
	n := min(len(b), s.maxHead-len(s.head))
	if err := s.grow(&s.head, n, s.maxHead); err != nil {
		return 0, err
	}
	s.head, b = append(s.head, b[:n]...), b[n:]
	for len(b) > 0 && s.maxTail > 0 {
		if len(s.tail) == 2*s.maxTail { // the older half is not the end any more
			s.tail = append(s.tail[:0], s.tail[s.maxTail:]...)
		}
		n := min(len(b), 2*s.maxTail-len(s.tail))
		if err := s.grow(&s.tail, n, 2*s.maxTail); err != nil {
			return 0, err
		}
		s.tail, b = append(s.tail, b[:n]...), b[n:]
	}
	return written, nil
}

// grow makes room for n octets in a buffer that never holds more than most, if the budget has as many.
func (s *sink) grow(b *[]byte, n, most int) error {
	need := len(*b) + n
	if need <= cap(*b) {
		return nil
	}
	size := min(max(2*cap(*b), need, firstBuffer), most)
	more := int64(size - cap(*b))
	if s.p.buffered.Add(more) > maxReportBuffers {
		s.p.buffered.Add(-more)
		return s.p.refuse("memory", busy)
	}
	s.taken += more
	*b = append(make([]byte, 0, size), *b...)
	return nil
}

// content returns what is kept, and how many octets are missing in it.
func (s *sink) content() (kept []byte, cut int64) {
	if s.size <= int64(min(s.room, len(s.head)+len(s.tail))) {
		return append(s.head, s.tail...), 0
	}
	return report.Join(s.head, s.tail[max(0, len(s.tail)-s.maxTail):], s.size)
}

// free gives the memory back to the budget.
func (s *sink) free() { s.p.buffered.Add(-s.taken) }

// received counts the Received fields of a mail.
func received(raw []byte) (n int) {
	const name = "received:"
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\r\n"))
		if len(line) == 0 {
			break
		}
		if len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			n++
		}
		raw = rest
	}
	return n
}
