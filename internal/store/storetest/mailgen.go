package storetest

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Mail makes deliveries and their events with rising sequences, the same ones each time.
type Mail struct {
	Spool mail.SpoolID
	Seq   uint64
	Clock time.Time

	n uint64
}

// NewMail returns a Mail for a spool that begins at a time.
func NewMail(spool mail.SpoolID, clock time.Time) *Mail { return &Mail{Spool: spool, Clock: clock} }

// uuid returns a fixed id of the time, different for each call.
func (g *Mail) uuid() (u [16]byte) {
	g.n++
	ms := uint64(g.Clock.UnixMilli())
	binary.BigEndian.PutUint64(u[:8], ms<<16|7<<12|g.n&0xfff)
	binary.BigEndian.PutUint64(u[8:], 1<<63|uint64(g.Spool)<<32|g.n)
	return u
}

// Message returns a new message of an account.
func (g *Mail) Message(account string) *mail.Message {
	id := mail.MessageID(g.uuid())
	return &mail.Message{
		ID: id, Account: account, Credential: "app", Stream: mail.Transactional,
		From:       mail.Address{Local: "billing", Domain: account + ".example"},
		AcceptedAt: g.Clock, ExpiresAt: g.Clock.Add(48 * time.Hour), HeaderFrom: "billing@" + account + ".example",
		Subject: fmt.Sprintf("Invoice %d for your order", g.n), RFC822ID: fmt.Sprintf("%d@%s.example", g.n, account),
		Tags: []string{"invoice"}, Size: 4096, Recipients: 1, Verified: true,
		Content: mail.Content{Kind: mail.ContentRaw, BodyOffset: 700, BodyHash: [32]byte{1, 2, 3}},
	}
}

// Delivery returns the id of a new delivery.
func (g *Mail) Delivery() mail.DeliveryID { return mail.DeliveryID(g.uuid()) }

// Event returns the next event of a delivery.
func (g *Mail) Event(t mail.EventType, m *mail.Message, d mail.DeliveryID, rcpt string) *mail.Event {
	g.Seq++
	return &mail.Event{
		ID: mail.EventID{Spool: g.Spool, Seq: g.Seq}, Type: t, At: g.Clock, Account: m.Account, Stream: m.Stream,
		Message: m.ID, Delivery: d, Recipient: rcpt,
	}
}

// Accepted returns the next event: the message was accepted for rcpt.
func (g *Mail) Accepted(m *mail.Message, d mail.DeliveryID, rcpt string) *mail.Event {
	e := g.Event(mail.EventAccepted, m, d, rcpt)
	e.Envelope = m
	return e
}

// Tried returns the next event: the n-th attempt ended as t with a reply.
func (g *Mail) Tried(t mail.EventType, m *mail.Message, d mail.DeliveryID, rcpt string, n int, code int, reply string) *mail.Event {
	e := g.Event(t, m, d, rcpt)
	e.Attempt = &mail.Attempt{
		N: n, At: g.Clock, Route: "direct", Kind: mail.RouteMX, Source: "out1",
		Lane: "direct@out1>bigmail:mx1.bigmail.example,mx2.bigmail.example", Host: "mx1.bigmail.example", IP: "192.0.2.25", TLS: "TLS1.3",
		Stage: mail.StageDot, Code: code, Reply: reply,
		Waiting: 3 * time.Millisecond, Connect: 12 * time.Millisecond, Sending: 40 * time.Millisecond,
	}
	if code >= 400 {
		e.Class, e.Scope, e.Action, e.Rule = mail.ClassGreylisted, mail.ScopeRecipient, mail.ActionRetry, "generic-greylist"
		e.Next = g.Clock.Add(5 * time.Minute)
		e.Attempt.Enhanced = "4.7.1"
	}
	return e
}

// Sent returns accepted and delivered events of n messages to different recipients.
func (g *Mail) Sent(account string, n int) []*mail.Event {
	list := make([]*mail.Event, 0, 2*n)
	for range n {
		m := g.Message(account)
		d := g.Delivery()
		rcpt := fmt.Sprintf("user%d@bigmail.example", g.n)
		list = append(list, g.Accepted(m, d, rcpt),
			g.Tried(mail.EventDelivered, m, d, rcpt, 1, 250, "250 2.0.0 Ok: queued as 4F2A3B1C9D"))
		g.Clock = g.Clock.Add(time.Millisecond)
	}
	return list
}
