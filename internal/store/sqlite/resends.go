package sqlite

import (
	"context"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// putResends notes which of the messages accepted send another again. It is part of the watermark's transaction: events
// that come again after a crash write the same rows.
func (t *tx) putResends(events []*mail.Event) error {
	for _, e := range events {
		if e.Envelope == nil || e.Envelope.ResentOf.IsZero() {
			continue
		}
		_, err := t.exec("INSERT INTO resends (original, message, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
			e.Envelope.ResentOf[:], e.Message[:], micros(e.Envelope.AcceptedAt))
		if err != nil {
			return err
		}
	}
	return nil
}

// Resends implements store.Record.
func (s *Store) Resends(ctx context.Context, original mail.MessageID) (list []mail.MessageID, err error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	err = s.platform.query(ctx, "read resends", "SELECT message FROM resends WHERE original = $1 ORDER BY message LIMIT $2", []any{original[:], store.MaxPage},
		func(r rowScanner) error {
			var key []byte
			if err := r.Scan(&key); err != nil {
				return err
			}
			var id mail.MessageID
			copy(id[:], key)
			list = append(list, id)
			return nil
		})
	return list, err
}
