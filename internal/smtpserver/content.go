package smtpserver

import (
	"bytes"
	"errors"

	"github.com/postroad/postroad/internal/smtp"
)

func (c *conn) dataOptions() smtp.DataOptions {
	o := smtp.DataOptions{MaxSize: c.o.MaxSize}
	if s, ok := c.sess.(NewlinesSession); ok {
		o.Newlines = s.Newlines()
	}
	return o
}

// contentRefused returns the reply to a content command that comes at a wrong moment.
func (c *conn) contentRefused() (r smtp.Reply, refused bool) {
	switch {
	case !c.inMail:
		return mailFirst, true
	case c.rcpts == 0 && c.rcptTried:
		return noRecipients, true
	case c.rcpts == 0:
		return rcptFirst, true
	}
	return r, false
}

// data is DATA (RFC 5321 §4.1.1.4).
func (c *conn) data(args []byte) {
	if len(args) > 0 {
		c.wrong("DATA", noArguments)
		return
	}
	if !c.inMail {
		c.orphan("DATA")
		return
	}
	if r, refused := c.contentRefused(); refused {
		c.idleCommand("DATA", r) // pipelining clients send it without knowing
		return
	}
	c.reply("DATA", replyGoAhead)
	c.clock.startContent()
	dr := smtp.NewDataReader(c.br, c.dataOptions())
	accepted, err := c.sess.Data(c.ctx, dr)
	c.contentDone(dr, dr.Drain(), accepted, err)
}

// bdat is BDAT (RFC 3030 §2). The chunks of one content are read within one call of Session.Data: where the reader
// comes to the end of a chunk, nextChunk answers it and reads the command for the next.
func (c *conn) bdat(args []byte) {
	n, last, ok := parseBdat(args)
	if !ok {
		// How many octets of content follow cannot be known; nothing after this can be told from commands.
		c.end("BDAT", badBdat, "errors")
		return
	}
	c.clock.startContent()
	if r, refused := c.contentRefused(); refused {
		c.skipChunk(n, r)
		return
	}
	if n > c.o.MaxSize+smtp.MaxBodyLine {
		c.end("BDAT", chunkTooLarge, "errors")
		return
	}
	size := n
	dr := smtp.NewChunkReader(c.br, c.dataOptions(), n, last, func() (int64, bool, error) {
		c.reply("BDAT", smtp.NewReply(250, smtp.Enhanced{2, 0, 0}, "%d octets taken", size))
		n, last, err := c.nextChunk()
		size = n
		return n, last, err
	})
	accepted, err := c.sess.Data(c.ctx, dr)
	var rest error
	if err == nil {
		rest = dr.Drain()
	} else {
		rest = dr.DrainChunk()
	}
	c.contentDone(dr, rest, accepted, err)
}

// contentDone answers a content. rest is what reading to its true end came to, err what the session said.
func (c *conn) contentDone(dr *smtp.DataReader, rest error, accepted smtp.Reply, err error) {
	var bounds *smtp.ReplyError
	switch {
	case c.hasPending:
		// Another command came instead of the next chunk: there is no content, and nothing to answer.
	case errors.As(rest, &bounds):
		c.end("CONTENT", bounds.Reply, "errors")
	case rest != nil:
		c.broken(rest)
	case dr.Fault() != nil:
		c.reply("CONTENT", dr.Fault().Reply)
	case err != nil:
		c.fail("CONTENT", err)
	default:
		if accepted.Code == 0 {
			accepted = replyOK
		}
		c.errors, c.junk = 0, 0
		c.o.Observer.Received(dr.Size())
		c.reply("CONTENT", accepted)
	}
	dr.Detach()
	c.endTransaction()
	c.clock.startCommand()
	// The client must not wait for this answer because it sent more: until it has it, it keeps the message too.
	if err := c.flush(); err != nil {
		c.broken(err)
	}
}

var errNoChunk = errors.New("smtpserver: another command came instead of the next chunk")

// nextChunk reads the BDAT command of the next chunk. Any other command but NOOP is left for the main loop, and the
// content is given up.
func (c *conn) nextChunk() (n int64, last bool, err error) {
	for {
		line, err := c.readLine(false)
		var re *smtp.ReplyError
		if err != nil && !errors.As(err, &re) {
			return 0, false, err
		}
		if err == nil {
			var buf [maxVerb]byte
			verb, args := splitCommand(&buf, line)
			switch string(verb) {
			case "BDAT":
				if n, last, ok := parseBdat(args); ok && n <= c.o.MaxSize+smtp.MaxBodyLine {
					return n, last, nil
				}
			case "NOOP":
				if c.idleCommand("NOOP", replyOK); !c.closing {
					continue
				}
				return 0, false, errEnded
			}
		}
		c.pending = append(c.pending[:0], line...)
		c.hasPending, c.pendingErr = true, err
		return 0, false, errNoChunk
	}
}

// skipChunk passes over a chunk nobody wants and answers it.
func (c *conn) skipChunk(n int64, r smtp.Reply) {
	if n > c.o.MaxSize+smtp.MaxBodyLine {
		c.end("BDAT", chunkTooLarge, "errors")
		return
	}
	for n > 0 {
		m, err := c.br.Discard(int(min(n, readBuffer)))
		if err != nil {
			c.broken(err)
			return
		}
		n -= int64(m)
	}
	c.idleCommand("BDAT", r) // a client that pipelines chunks sends many after the one refused
}

// parseBdat reads "octets [LAST]".
func parseBdat(args []byte) (n int64, last, ok bool) {
	size, rest, more := bytes.Cut(args, []byte(" "))
	if more {
		if last = bytes.EqualFold(bytes.TrimSpace(rest), []byte("LAST")); !last {
			return 0, false, false
		}
	}
	n, ok = parseDigits(string(size))
	return n, last, ok
}
