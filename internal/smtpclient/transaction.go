package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// Recipient is one recipient of a transaction.
type Recipient struct {
	Addr   mail.Address
	Notify mail.Notify // sent where the peer offers DSN; zero: not said
	ORcpt  string      // "rfc822;address", decoded; "": none
}

// Transaction is one message to be sent.
type Transaction struct {
	From  mail.Address
	Rcpts []Recipient // at least one
	// Prefix are header fields that go before the stored content; each ends with CRLF.
	Prefix []byte
	// Body is the content.
	Body mail.Body

	EightBit bool // the content is 8BITMIME (RFC 6152)
	UTF8     bool // ask for SMTPUTF8 (RFC 6531)
	// RequireTLS asks the peer to keep to TLS further on (RFC 8689); it needs the extension, and TLS here.
	RequireTLS bool
	EnvID, Ret string // sent where the peer offers DSN; "": not said
	// Durable is called once before the octets that end the content are written; they are not when it fails. nil: no
	// one has to be asked.
	Durable func(ctx context.Context) error
}

// Result is what became of a transaction's recipients. It may be used again for the next one.
type Result struct {
	// Refused has an entry for each recipient: its own refusal, or nil where it shares the fate of the transaction.
	Refused []*Error
	// Accepted counts the recipients the peer took at RCPT.
	Accepted int
	// Reply is the peer's reply to the content; only when Send returned nil and Accepted is not 0.
	Reply smtp.Reply
}

// Bounds of what goes out in one write.
const (
	// maxSingle is the most content that is put together and written at once. Larger content is streamed in blocks.
	maxSingle = 64 << 10
	// maxAhead is the most octets of commands sent ahead of their replies, well below any socket buffer: two sides
	// that only write block each other (RFC 2920 §3.1).
	maxAhead = 16 << 10
	// trustIdle is how long after its last answer a kept connection is trusted with content before it has answered
	// again. Once content is out, a connection that turns out to be gone leaves the message uncertain.
	trustIdle = 2 * time.Second
	// errorReplyTimeout is how long a reply is awaited that may explain why a write failed.
	errorReplyTimeout = 2 * time.Second
)

// step is a command whose reply is still to come.
type step struct {
	kind stepKind
	rcpt int
}

type stepKind uint8

const (
	stepRset stepKind = iota
	stepMail
	stepRcpt
	stepData
)

// Send carries out one transaction. res tells the fate of each recipient that was refused on its own; the error is an
// *Error and the fate of all the others. Whether the connection lives on, Usable tells.
func (c *Conn) Send(t *Transaction, res *Result) error {
	res.reset(len(t.Rcpts))
	if err := c.check(t); err != nil {
		return err
	}
	if c.spent != nil {
		return c.fail(mail.StageMail, c.spent)
	}
	c.log.begin()
	if err := c.inStep(); err != nil {
		return err
	}
	c.durable = false
	fresh := c.sent == 0
	c.sent++
	before := c.last
	err := c.transact(t, res)
	_ = c.setEnding(false)
	// Nothing came back on a connection that had worked before: it was gone.
	if e := (*Error)(nil); !fresh && errors.As(err, &e) && e.Reply == nil && !e.Uncertain && c.last.Equal(before) &&
		!errors.Is(e.Err, ErrProtocol) && !errors.Is(e.Err, ErrNotDurable) && !errors.Is(e.Err, os.ErrDeadlineExceeded) &&
		c.ctx.Err() == nil && c.spent != nil {
		e.Stale = true
	}
	return err
}

// inStep refuses to go on when the peer has said something unasked: the next reply would be taken for one to another
// command. Mostly it is 421 on a connection kept too long.
func (c *Conn) inStep() error {
	if c.in.buffered() == 0 {
		return nil
	}
	if err := c.read(mail.StageMail, smtp.MailTimeout); err != nil {
		return err
	}
	if c.ans.code == 421 {
		return c.refused(mail.StageMail)
	}
	e := c.fail(mail.StageMail, fmt.Errorf("%w: an unasked reply %q", ErrProtocol, clip(c.ans.raw, 200)))
	e.Stale = c.sent > 0
	return e
}

// check refuses what would break the dialogue or need what the peer has not. Nothing has been sent then.
func (c *Conn) check(t *Transaction) error {
	bad := func(err error) error { return &Error{Stage: mail.StageMail, Host: c.who, Err: err} }
	if len(t.Rcpts) == 0 {
		return bad(fmt.Errorf("%w: no recipients", ErrBadArgument))
	}
	if !t.From.IsZero() && !validAddress(t.From) {
		return bad(fmt.Errorf("%w: sender address", ErrBadArgument))
	}
	ascii := t.From.IsASCII()
	for i := range t.Rcpts {
		if !validAddress(t.Rcpts[i].Addr) {
			return bad(fmt.Errorf("%w: recipient address", ErrBadArgument))
		}
		ascii = ascii && t.Rcpts[i].Addr.IsASCII()
	}
	switch t.Ret {
	case "", "FULL", "HDRS":
	default:
		return bad(fmt.Errorf("%w: RET", ErrBadArgument))
	}
	switch {
	case t.EightBit && !c.ext.EightBit:
		return bad(fmt.Errorf("8BITMIME %w", ErrNotOffered))
	case (t.UTF8 || !ascii) && !c.ext.UTF8:
		return bad(fmt.Errorf("SMTPUTF8 %w", ErrNotOffered))
	case t.RequireTLS && (!c.ext.RequireTLS || c.tls == nil):
		return bad(fmt.Errorf("REQUIRETLS %w", ErrNotOffered))
	}
	return nil
}

// transact is Send for a transaction that may go out on a connection that works.
func (c *Conn) transact(t *Transaction, res *Result) error {
	content := singleContent(t)
	if c.bdatFits(t, content) {
		return c.sendBDAT(t, res, content)
	}
	mailErr, answer, err := c.envelope(t, res, false)
	if err != nil {
		return err
	}
	if mailErr != nil || res.Accepted == 0 {
		// The peer may have said 354 to the DATA that was sent ahead: a lone dot ends it (RFC 2920 §3.1).
		if answer == 354 {
			c.loneDot()
		}
		if mailErr != nil {
			return mailErr
		}
		return nil
	}
	if answer != 354 {
		return c.unexpected(mail.StageData)
	}
	return c.data(t, res)
}

// bdatFits reports whether BDAT (RFC 3030) saves a round trip: with PIPELINING for a single recipient, when the whole
// transaction is one write; without it always, for want of the wait for 354. More recipients, larger content and a
// connection not heard of for a while are better told first whether the content is wanted.
func (c *Conn) bdatFits(t *Transaction, content []byte) bool {
	if !c.ext.Chunking || content == nil || !smtp.IsNormal(content) || !smtp.IsNormal(t.Prefix) {
		return false
	}
	if !c.ext.Pipelining {
		return true
	}
	return len(t.Rcpts) == 1 && (c.sent == 1 || time.Since(c.last) < trustIdle && alive(c.raw))
}

// envelope sends RSET where one is due, MAIL, RCPT and DATA (when not bdat), as far ahead of the replies as the peer
// and maxAhead allow, and reads the replies. mailErr is the refusal of MAIL, answer the code of the reply to DATA or
// 0; err an end of the connection.
func (c *Conn) envelope(t *Transaction, res *Result, bdat bool) (mailErr *Error, answer int, err error) {
	c.out, c.steps = c.out[:0], c.steps[:0]
	if c.dirty {
		c.out = append(c.out, "RSET\r\n"...)
		if err := c.ahead(t, res, &mailErr, &answer, step{kind: stepRset}, false); err != nil {
			return nil, 0, err
		}
	}
	c.out = c.appendMail(c.out, t)
	if err := c.ahead(t, res, &mailErr, &answer, step{kind: stepMail}, false); err != nil {
		return nil, 0, err
	}
	for i := range t.Rcpts {
		if mailErr != nil {
			return mailErr, 0, nil
		}
		c.out = c.appendRcpt(c.out, &t.Rcpts[i])
		if err := c.ahead(t, res, &mailErr, &answer, step{kind: stepRcpt, rcpt: i}, false); err != nil {
			return nil, 0, err
		}
	}
	if len(c.steps) == 0 && (mailErr != nil || res.Accepted == 0) {
		return mailErr, 0, nil // all is answered, and nobody is left to send to
	}
	if !bdat {
		c.out = append(c.out, "DATA\r\n"...)
		err = c.ahead(t, res, &mailErr, &answer, step{kind: stepData}, true)
	}
	return mailErr, answer, err
}

// ahead notes a command appended to c.out, and when it cannot be sent ahead sends what waits and reads its replies.
func (c *Conn) ahead(t *Transaction, res *Result, mailErr **Error, answer *int, s step, flush bool) error {
	c.steps = append(c.steps, s)
	if !flush && c.ext.Pipelining && len(c.out) < maxAhead {
		return nil
	}
	c.log.add("C: ", c.out)
	if err := c.write(c.steps[0].stage(), smtp.MailTimeout); err != nil {
		return err
	}
	c.out = c.out[:0]
	err := c.replies(t, res, mailErr, answer)
	c.steps = c.steps[:0]
	return err
}

// replies reads the replies of c.steps.
func (c *Conn) replies(t *Transaction, res *Result, mailErr **Error, answer *int) error {
	for _, s := range c.steps {
		stage := s.stage()
		if err := c.read(stage, s.limit()); err != nil {
			if *mailErr != nil {
				return *mailErr // the refusal is known; that the connection ended changes nothing
			}
			return err
		}
		c.last = time.Now()
		ok := c.ans.class() == 2
		if c.ans.code == 421 && *mailErr == nil {
			return c.refused(stage)
		}
		switch s.kind {
		case stepRset:
			if !ok {
				e := c.refused(stage)
				c.spend(ErrClosed)
				return e
			}
			c.dirty = false
		case stepMail:
			if !ok {
				e := c.unexpected(stage)
				if e.Reply == nil {
					return e
				}
				*mailErr = e
			} else {
				c.dirty = true
			}
		case stepRcpt:
			switch {
			case *mailErr != nil:
			case ok:
				res.Accepted++
			default:
				e := c.unexpected(stage)
				if e.Reply == nil {
					return e
				}
				res.Refused[s.rcpt] = e
			}
		case stepData:
			*answer = c.ans.code
		}
	}
	return nil
}

func (s step) stage() mail.Stage {
	switch s.kind {
	case stepRcpt:
		return mail.StageRcpt
	case stepData:
		return mail.StageData
	}
	return mail.StageMail
}

func (s step) limit() time.Duration {
	switch s.kind {
	case stepRcpt:
		return smtp.RcptTimeout
	case stepData:
		return smtp.DataInitTimeout
	}
	return smtp.MailTimeout
}

func (r *Result) reset(n int) {
	r.Accepted, r.Reply = 0, smtp.Reply{}
	if cap(r.Refused) < n {
		r.Refused = make([]*Error, n)
		return
	}
	r.Refused = r.Refused[:n]
	clear(r.Refused)
}
