package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/smtp"
	"strings"

	"github.com/postroad/postroad/internal/client"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/practice"
)

// demoAccess is how the demo's account gets in.
type demoAccess struct {
	smtp, login, password string
	http, key             string
}

func encodePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// freeOr returns the address if it can be listened on, else one that the system chooses.
func freeOr(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = l.Close()
	return addr
}

// sampleText is the body of a sample message.
func sampleText(s practice.Sample) string {
	text := "This message goes to an address where this happens: " + s.Subject + ".\r\n"
	if s.EightBit {
		text += "Grüße — 8-bit text.\r\n"
	}
	for len(text) < s.Size {
		text += strings.Repeat("Filler to make the message large. ", 2) + "\r\n"
	}
	return text
}

// sendSMTP hands a sample in as a mail program would: STARTTLS, AUTH, DATA. The id in the reply leads to the delivery.
func (a *demoAccess) sendSMTP(ctx context.Context, s practice.Sample) (mail.DeliveryID, error) {
	reply, err := a.dialogue(s)
	if err != nil {
		return mail.DeliveryID{}, err
	}
	_, rest, ok := strings.Cut(reply, mail.PrefixMessage)
	if !ok || len(rest) < 26 {
		return mail.DeliveryID{}, fmt.Errorf("the reply %q names no message", reply)
	}
	c, err := client.New(client.Options{URL: a.http, Key: a.key})
	if err != nil {
		return mail.DeliveryID{}, err
	}
	var m message
	if err := c.Do(ctx, http.MethodGet, "/v1/messages/"+mail.PrefixMessage+rest[:26], nil, nil, &m); err != nil {
		return mail.DeliveryID{}, err
	}
	if len(m.Deliveries) != 1 {
		return mail.DeliveryID{}, fmt.Errorf("%d deliveries, want 1", len(m.Deliveries))
	}
	return mail.ParseDeliveryID(m.Deliveries[0].ID)
}

func (a *demoAccess) dialogue(s practice.Sample) (reply string, err error) {
	c, err := smtp.Dial(a.smtp)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.Hello("client." + demoDomain); err != nil {
		return "", err
	}
	// The demo's certificate was made a moment ago; there is nobody to vouch for it.
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true, ServerName: "postroad.test"}); err != nil {
		return "", err
	}
	if err := c.Auth(smtp.PlainAuth("", a.login, a.password, "127.0.0.1")); err != nil {
		return "", err
	}
	if err := c.Mail("info@" + demoDomain); err != nil {
		return "", err
	}
	if err := c.Rcpt(s.Recipient); err != nil {
		return "", err
	}
	// net/smtp drops the text of the reply to the content; ask for it below it.
	id, err := c.Text.Cmd("DATA")
	if err != nil {
		return "", err
	}
	c.Text.StartResponse(id)
	_, _, err = c.Text.ReadResponse(354)
	c.Text.EndResponse(id)
	if err != nil {
		return "", err
	}
	w := c.Text.DotWriter()
	cte := ""
	if s.EightBit {
		cte = "Content-Transfer-Encoding: 8bit\r\n"
	}
	_, err = fmt.Fprintf(w, "From: Shop <info@%s>\r\nTo: <%s>\r\nSubject: %s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n%s\r\n%s", demoDomain, s.Recipient, s.Subject, cte, sampleText(s))
	if err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	_, reply, err = c.Text.ReadResponse(250)
	if err != nil {
		return "", err
	}
	return reply, c.Quit()
}

// sendHTTP hands a sample in as an application would.
func (a *demoAccess) sendHTTP(ctx context.Context, s practice.Sample) (mail.DeliveryID, error) {
	c, err := client.New(client.Options{URL: a.http, Key: a.key})
	if err != nil {
		return mail.DeliveryID{}, err
	}
	body := sendBody{From: "Shop <info@" + demoDomain + ">", To: []string{s.Recipient}, Subject: s.Subject, Text: sampleText(s)}
	if s.EightBit {
		body = sendBody{Raw: []byte("From: info@" + demoDomain + "\nTo: " + s.Recipient + "\nSubject: " + s.Subject +
			"\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + strings.ReplaceAll(sampleText(s), "\r\n", "\n"))}
	}
	var answer sent
	if err := c.Do(ctx, http.MethodPost, "/v1/messages", nil, body, &answer); err != nil {
		return mail.DeliveryID{}, err
	}
	if len(answer.Recipients) != 1 {
		return mail.DeliveryID{}, fmt.Errorf("%d recipients, want 1", len(answer.Recipients))
	}
	return mail.ParseDeliveryID(answer.Recipients[0].Delivery)
}
