package spool

import (
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/postroad/postroad/internal/mail"
)

// A message whose content is owed has a record beside it that keeps message and content in the spool until
// Batch.Archived names it, also after its last delivery: what was promised to the archive is lost only with the spool.
// The record is a version and these bits.
const (
	owedOver     = 1 << iota // its deliveries are over
	owedExternal             // its content is in a file
)

// owedNone stands in a frame's notes for a record that was removed.
const owedNone = 0xff

func owedValue(bits byte) []byte { return []byte{recordVersion, bits} }

func decodeOwed(value []byte) (bits byte, ok bool) {
	if len(value) < 2 || value[0] != recordVersion {
		return 0, false
	}
	return value[1], true
}

// Owed returns up to max messages with an id greater than after whose content has not been archived yet, in the order of
// their ids. Acceptances whose stage cannot be seen yet are left out.
func (s *Spool) Owed(ctx context.Context, after mail.MessageID, max int) ([]mail.MessageID, error) {
	if max <= 0 {
		return nil, nil
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	var ids []mail.MessageID
	lower := append(idKey(nil, tabOwed, after), 0)
	err := s.scan(ctx, lower, []byte{tabOwed + 1}, func(key, _ []byte) (bool, error) {
		if len(key) == 1+idLen && !s.stages.hidden(mail.MessageID(key[1:])) {
			ids = append(ids, mail.MessageID(key[1:]))
		}
		return len(ids) < max, nil
	})
	return ids, err
}

// NotifyOwed is signalled after a frame that owes content to the archive: a hint to call Owed. It has room for one signal.
func (s *Spool) NotifyOwed() <-chan struct{} { return s.notifyOwed }

func (s *Spool) signalOwed() {
	select {
	case s.notifyOwed <- struct{}{}:
	default:
	}
}

// owe notes that the content of an accepted message must be archived before it goes.
func (f *frame) owe(id mail.MessageID, external bool) {
	var bits byte
	if external {
		bits = owedExternal
	}
	f.setOwed(id, bits)
	f.owes = true
}

func (f *frame) setOwed(id mail.MessageID, bits byte) {
	f.set(f.idKey(tabOwed, id), owedValue(bits))
	f.noteOwed(id, bits)
}

func (f *frame) noteOwed(id mail.MessageID, bits byte) {
	if f.owed == nil {
		f.owed = make(map[mail.MessageID]byte)
	}
	f.owed[id] = bits
}

// owing returns the bits of a message whose content is owed, this frame's own changes included.
func (f *frame) owing(id mail.MessageID) (bits byte, ok bool) {
	if bits, ok = f.owed[id]; ok {
		return bits, bits != owedNone
	}
	v, closer, err := f.s.db.Get(f.idKey(tabOwed, id))
	if err == pebble.ErrNotFound {
		return 0, false
	}
	if err != nil {
		// Kept rather than lost: what cannot be read now is looked at again when it is released.
		f.s.o.Logger.Error("whether a content is archived cannot be read; it will be kept", mail.LogMsg, id, mail.LogErr, f.s.readError(err))
		return 0, true
	}
	defer closer.Close()
	if bits, ok = decodeOwed(v); !ok {
		f.s.o.Logger.Error("the note that a content is to be archived cannot be decoded; it will be kept", mail.LogMsg, id)
		if f.s.isExternal(id) {
			bits = owedExternal
		}
	}
	return bits, true
}

// archived releases the content of a message; it goes now if its deliveries are over. Naming one that owes nothing does
// nothing, so a release may be made twice.
func (f *frame) archived(id mail.MessageID) {
	bits, ok := f.owing(id)
	if !ok {
		return
	}
	f.delete(f.idKey(tabOwed, id))
	f.noteOwed(id, owedNone)
	if bits&owedOver != 0 {
		f.drop(id, bits&owedExternal != 0)
	}
}
