package smtpclient

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// singleContent returns the body of t when it is in memory and small enough to go out in one write, else nil.
func singleContent(t *Transaction) []byte {
	if b := t.Body.Bytes(); b != nil && len(t.Prefix)+len(b) <= maxSingle {
		return b
	}
	return nil
}

// ready asks for what must be durable before the content may end, once in a transaction.
func (c *Conn) ready(t *Transaction) error {
	if c.durable || t.Durable == nil {
		return nil
	}
	if err := t.Durable(c.ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	c.durable = true
	return nil
}

// sendBDAT carries out a transaction whose content goes with BDAT in one chunk: with PIPELINING all of it in one
// write, else after the reply to RCPT.
func (c *Conn) sendBDAT(t *Transaction, res *Result, content []byte) error {
	var mailErr *Error
	var answer int
	if !c.ext.Pipelining {
		var err error
		mailErr, _, err = c.envelope(t, res, true)
		if err != nil {
			return err
		}
		if mailErr != nil {
			return mailErr
		}
		if res.Accepted == 0 {
			return nil
		}
	}
	if err := c.ready(t); err != nil {
		return &Error{Stage: mail.StageBody, Host: c.who, Err: err} // nothing of the content is out: no harm done
	}
	if c.ext.Pipelining {
		if _, _, err := c.envelope(t, res, true); err != nil {
			return err
		}
	}
	c.out = append(c.out, "BDAT "...)
	c.out = strconv.AppendInt(c.out, int64(len(t.Prefix)+len(content)), 10)
	c.out = append(c.out, " LAST\r\n"...)
	c.log.add("C: ", c.out)
	c.noteContent(t)
	c.out = append(append(c.out, t.Prefix...), content...)
	if err := c.setEnding(true); err != nil {
		return c.fail(mail.StageBody, err)
	}
	if err := c.write(mail.StageBody, smtp.DataXferTimeout); err != nil {
		return err
	}
	if err := c.replies(t, res, &mailErr, &answer); err != nil {
		return uncertain(err)
	}
	if mailErr == nil && res.Accepted > 0 {
		return c.final(res, true)
	}
	// The chunk is refused too, or taken for nobody (RFC 3030 §4.2).
	c.dirty = true
	if c.spent == nil {
		if err := c.read(mail.StageData, smtp.DataDoneTimeout); err == nil {
			c.last = time.Now()
		}
	}
	if mailErr != nil {
		return mailErr
	}
	return nil
}

func (c *Conn) noteContent(t *Transaction) {
	if c.log.max > 0 {
		c.log.note("%d octets of content", int64(len(t.Prefix))+t.Body.Size())
	}
}

// data sends the content after 354.
func (c *Conn) data(t *Transaction, res *Result) error {
	if body := singleContent(t); body != nil {
		if err := c.ready(t); err != nil {
			return c.fail(mail.StageBody, err)
		}
		var w smtp.DotWriter
		c.out = w.End(w.Append(w.Append(c.out[:0], t.Prefix), body))
	} else if err := c.stream(t); err != nil {
		return err
	}
	// c.out holds the end of the content.
	if err := c.setEnding(true); err != nil {
		return c.fail(mail.StageBody, err)
	}
	c.noteContent(t)
	c.steps = c.steps[:0]
	// A write that fails has not handed over the final dot, its last octets: there is no doubt about the message.
	if err := c.write(mail.StageBody, smtp.DataXferTimeout); err != nil {
		return err
	}
	return c.final(res, false)
}

// stream sends a large content in blocks, all but the last of which, with the final dot, is left in c.out.
func (c *Conn) stream(t *Transaction) error {
	body, err := t.Body.Open()
	if err != nil {
		return c.fail(mail.StageBody, fmt.Errorf("%w: %w", ErrContent, err))
	}
	defer body.Close()
	var w smtp.DotWriter
	block := make([]byte, maxSingle)
	c.out = w.Append(c.out[:0], t.Prefix)
	for left := t.Body.Size(); left > 0; {
		n, err := io.ReadFull(body, block[:min(int64(len(block)), left)])
		if err != nil {
			// The content is shorter than it should be: no dot may follow.
			return c.fail(mail.StageBody, fmt.Errorf("%w: %w", ErrContent, err))
		}
		if len(c.out) > 0 {
			if err := c.write(mail.StageBody, smtp.DataXferTimeout); err != nil {
				return err
			}
		}
		c.out = w.Append(c.out[:0], block[:n])
		left -= int64(n)
	}
	if err := c.ready(t); err != nil {
		return c.fail(mail.StageBody, err)
	}
	c.out = w.End(c.out)
	return nil
}

// final reads the reply to the end of the content.
func (c *Conn) final(res *Result, bdat bool) error {
	if err := c.read(mail.StageDot, smtp.DataDoneTimeout); err != nil {
		return uncertain(err)
	}
	c.last = time.Now()
	switch c.ans.class() {
	case 2:
		c.dirty = false
		res.Reply = c.ans.reply()
		return nil
	case 3:
		return uncertain(c.unexpected(mail.StageDot))
	}
	c.dirty = bdat // RFC 3030 §2: after a failed BDAT only RSET makes the state certain
	return c.refused(mail.StageDot)
}

// loneDot ends a DATA phase that nobody wanted. Whatever the peer makes of it, a RSET follows.
func (c *Conn) loneDot() {
	c.dirty = true
	c.out = append(c.out[:0], ".\r\n"...)
	c.log.add("C: ", c.out)
	if c.write(mail.StageData, smtp.DataXferTimeout) == nil && c.read(mail.StageData, smtp.DataInitTimeout) == nil {
		c.last = time.Now()
	}
}

// uncertain marks the Error of a lost reply to the end of the content.
func uncertain(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Reply == nil {
		e.Stage, e.Uncertain = mail.StageDot, true
	}
	return err
}
