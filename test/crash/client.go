package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Time limits of a client, and what it sends.
const (
	clientTimeout = 30 * time.Second
	pause         = 5 * time.Millisecond // before the next try after a refused connection
	// Every largeEvery-th message or so is larger than what the spool keeps within its frames.
	largeEvery = 40
	largeSize  = 200 << 10
	smallSize  = 6 << 10
)

const sender = "orders@shop.test"

// client submits messages until its context ends. It never repeats one over SMTP: what was in doubt stays in doubt.
type client struct {
	t      *trial
	name   string
	ledger *ledger
	random *rand.Rand
	n      int
}

// compose makes the next message.
func (c *client) compose() (*sent, []byte) {
	c.n++
	s := &sent{rfc822: fmt.Sprintf("%s-%d@crash.test", c.name, c.n), answer: refused}
	rcpts := 1
	if c.random.IntN(8) == 0 {
		rcpts = 2 + c.random.IntN(4)
	}
	for i := range rcpts {
		local := fmt.Sprintf("%s-%d-%d", c.name, c.n, i)
		r := recipient{address: local + "@" + domain(c.random.IntN(domains)), want: mail.Delivered}
		switch c.random.IntN(20) {
		case 0:
			r = recipient{address: "unknown+" + local + "@" + domain(c.random.IntN(domains)), want: mail.Bounced}
		case 1:
			r.address = "greylist+" + local + "@greylist.test"
		case 2, 3:
			r.address, r.late = latePrefix+r.address, true
		}
		s.recipients = append(s.recipients, r)
	}
	size := 200 + c.random.IntN(smallSize)
	if c.random.IntN(largeEvery) == 0 {
		size += largeSize
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Orders <%s>\r\nTo: undisclosed-recipients:;\r\nSubject: order %s\r\nDate: %s\r\nMessage-ID: <%s>\r\n\r\n",
		sender, s.rfc822, time.Now().Format(time.RFC1123Z), s.rfc822)
	for b.Len() < size {
		b.WriteString("This line is here to give the message the size it should have.\r\n")
	}
	return s, b.Bytes()
}

// smtpKept sends as many messages over a connection as it lasts.
func (c *client) smtpKept(ctx context.Context) { c.smtp(ctx, 1<<30) }

// smtpNew takes a new connection for each message.
func (c *client) smtpNew(ctx context.Context) { c.smtp(ctx, 1) }

func (c *client) smtp(ctx context.Context, perConnection int) {
	for ctx.Err() == nil {
		conn, err := dial(c.t.p.SMTP)
		if err != nil {
			rest(ctx)
			continue
		}
		for range perConnection {
			s, content := c.compose()
			err = conn.send(s, content)
			c.ledger.add(s)
			if err != nil || ctx.Err() != nil {
				break
			}
		}
		conn.Close()
	}
}

func rest(ctx context.Context) {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}

// connection is an SMTP dialogue without any finesse: what counts is to know exactly what was answered.
type connection struct {
	net.Conn
	text *textproto.Reader
	w    *textproto.Conn
}

func dial(addr string) (*connection, error) {
	conn, err := net.DialTimeout("tcp", addr, clientTimeout)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(clientTimeout)) // a connection that cannot have one fails at once
	w := textproto.NewConn(conn)
	c := &connection{Conn: conn, text: &w.Reader, w: w}
	if _, _, err := c.text.ReadResponse(220); err != nil {
		conn.Close()
		return nil, err
	}
	if err := c.command(250, "EHLO client.test"); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *connection) command(want int, format string, args ...any) error {
	if err := c.w.PrintfLine(format, args...); err != nil {
		return err
	}
	_, _, err := c.text.ReadResponse(want)
	return err
}

// send submits one message and notes the answer. An error ends the connection's use.
func (c *connection) send(s *sent, content []byte) error {
	_ = c.SetDeadline(time.Now().Add(clientTimeout))
	if err := c.command(250, "MAIL FROM:<%s>", sender); err != nil {
		return err
	}
	for _, r := range s.recipients {
		if err := c.command(250, "RCPT TO:<%s>", r.address); err != nil {
			return err
		}
	}
	if err := c.command(354, "DATA"); err != nil {
		return err
	}
	// No line of the content begins with a dot.
	if _, err := c.Write(content); err != nil {
		return err
	}
	// From here on the platform may have it.
	s.answer = doubtful
	if _, err := io.WriteString(c.Conn, ".\r\n"); err != nil {
		return err
	}
	code, text, err := c.text.ReadResponse(250)
	s.reply = fmt.Sprintf("%d %s", code, text)
	var other *textproto.Error
	switch {
	case errors.As(err, &other):
		s.answer = refused
	case err == nil:
		s.answer = accepted
		s.id = messageID(text)
	}
	return err
}

// messageID finds the id in a reply's text.
func messageID(text string) mail.MessageID {
	for _, word := range strings.Fields(text) {
		if id, err := mail.ParseMessageID(strings.Trim(word, ".,;:()")); err == nil {
			return id
		}
	}
	return mail.MessageID{}
}

// http sends whole messages to the API, each with an idempotency key.
func (c *client) http(ctx context.Context) {
	web := &http.Client{Timeout: clientTimeout, Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	for ctx.Err() == nil {
		s, content := c.compose()
		var to []string
		for _, r := range s.recipients {
			to = append(to, r.address)
		}
		s.http, _ = json.Marshal(map[string]any{"raw": content, "to": to}) // these types can be written
		c.post(ctx, web, s)
		c.ledger.add(s)
		if s.answer != accepted {
			rest(ctx)
		}
	}
}

// post makes one request and notes the answer.
func (c *client) post(ctx context.Context, web *http.Client, s *sent) {
	// The request goes on when the round ends: the platform is what ends.
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, "http://"+c.t.p.API+"/v1/messages", bytes.NewReader(s.http))
	if err != nil {
		s.reply = err.Error()
		return
	}
	r.Header.Set("Authorization", "Bearer "+apiKey)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", s.rfc822)
	// Whatever goes wrong once there is a connection, the platform may have read the request. (The transport itself
	// repeats a request that has an idempotency key, so the error alone does not tell.)
	connected := false
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }}))
	s.answer = doubtful
	resp, err := web.Do(r)
	if err != nil {
		s.reply = err.Error()
		if !connected {
			s.answer = refused // nobody listened
		}
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.reply = err.Error()
		return
	}
	s.reply = fmt.Sprintf("%s %.300s", resp.Status, body)
	var answer struct {
		ID mail.MessageID `json:"id"`
	}
	switch {
	case resp.StatusCode != http.StatusAccepted && resp.StatusCode != http.StatusOK:
		s.answer = refused
	case json.Unmarshal(body, &answer) == nil:
		s.answer, s.id = accepted, answer.ID
	}
}

// repeat sends the requests that got no answer once more, with their keys: each must be accepted now, and make one
// message in all.
func (c *client) repeat(ctx context.Context) error {
	web := &http.Client{Timeout: clientTimeout, Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	for _, s := range c.ledger.all() {
		if s.http == nil || s.answer != doubtful {
			continue
		}
		s.repeated = true
		if c.post(ctx, web, s); s.answer != accepted {
			return fmt.Errorf("the request for %s, repeated after a crash, was not accepted: %s", s.rfc822, s.reply)
		}
	}
	return nil
}
