package main

import (
	"sync"

	"github.com/postroad/postroad/internal/mail"
)

// answer is what a client heard of a message.
type answer int

const (
	doubtful answer = iota // nothing: the connection ended after the whole message was sent
	accepted               // 250 or 202
	refused                // any other reply, or the connection ended before the message was whole
)

// sent is one message a client submitted.
type sent struct {
	rfc822     string // Message-ID without angle brackets: what it is known by everywhere
	recipients []recipient
	answer     answer
	reply      string
	id         mail.MessageID // as the answer named it
	http       []byte         // the request's body, to repeat it
	repeated   bool
}

// recipient is one address, and what should become of a message there.
type recipient struct {
	address string
	want    mail.Result
	late    bool // its host takes the mail and reports later that it could not deliver it
}

// ledger is what the clients know: the truth the record is held against.
type ledger struct {
	mu   sync.Mutex
	list []*sent
}

type counts struct{ accepted, doubtful, refused, recipients int }

func newLedger() *ledger { return &ledger{} }

func (l *ledger) add(s *sent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, s)
}

func (l *ledger) all() []*sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*sent(nil), l.list...)
}

func (l *ledger) count() (c counts) {
	for _, s := range l.all() {
		switch s.answer {
		case accepted:
			c.accepted++
			c.recipients += len(s.recipients)
		case doubtful:
			c.doubtful++
		case refused:
			c.refused++
		}
	}
	return c
}
