package delivery

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// signatures remembers the signature fields of messages that go to many recipients: signing costs more than the rest
// of an attempt together.
type signatures struct {
	max   int
	mu    sync.Mutex
	state *platform.Snapshot // they were made under; a change of keys makes a new one, and all are forgotten
	known map[signatureKey]*signature
}

type signatureKey struct {
	message mail.MessageID
	seven   bool
}

type signature struct {
	once   sync.Once
	fields []byte
	err    error
}

func newSignatures(max int) *signatures {
	return &signatures{max: max, known: make(map[signatureKey]*signature)}
}

// get returns the entry of a key, making room for it if need be.
func (s *signatures) get(k signatureKey, state *platform.Snapshot) *signature {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != s.state {
		clear(s.known)
		s.state = state
	}
	e := s.known[k]
	if e == nil {
		for old := range s.known {
			if len(s.known) < s.max {
				break
			}
			delete(s.known, old)
		}
		e = new(signature)
		s.known[k] = e
	}
	return e
}

func (s *signatures) drop(k signatureKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, k)
}

// sign returns the signature fields of a content, remembered where the message has more than one recipient.
func (d *Delivery) sign(ctx context.Context, snap *platform.Snapshot, in SignInput, seven bool) ([]byte, error) {
	if in.Message.Recipients < 2 || in.own != nil {
		return d.signNow(ctx, in)
	}
	k := signatureKey{message: in.Message.ID, seven: seven}
	e := d.signatures.get(k, snap)
	e.once.Do(func() { e.fields, e.err = d.signNow(ctx, in) })
	if e.err != nil {
		d.signatures.drop(k)
	}
	return e.fields, e.err
}

func (d *Delivery) signNow(ctx context.Context, in SignInput) ([]byte, error) {
	header, err := readHeader(in.Content, in.BodyOffset)
	if err != nil {
		return nil, err
	}
	in.Header = bytes.TrimSuffix(header, []byte("\r\n")) // the empty line
	if len(in.Header) > 0 && !bytes.HasSuffix(in.Header, []byte("\r\n")) {
		in.Header = header // a content that is all header has no empty line
	}
	if in.own != nil {
		in.Header = append(in.own[:len(in.own):len(in.own)], in.Header...)
	}
	fields, err := d.opts.Sign(ctx, in)
	if err == nil && len(fields) > 0 && !bytes.HasSuffix(fields, []byte("\r\n")) {
		return nil, fmt.Errorf("the signature does not end with CRLF")
	}
	return fields, err
}
