package sqlite

import (
	"context"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
)

// LastAccepted implements store.Record. A delivery that bounced late is no acceptance: its state says so.
func (s *Store) LastAccepted(ctx context.Context, q store.AcceptedQuery) (time.Time, error) {
	if err := s.ready(); err != nil {
		return time.Time{}, err
	}
	rhash := rows.HashText(q.Recipient)
	var found int64
	err := s.days.each(ctx, s.days.canHave(s.days.newestFirst(dayName(q.Since), "~"), rhash), func(d *day) error {
		in, err := d.bucketsOf(ctx, rhash)
		if err != nil || in.none() {
			return err
		}
		err = d.db.query(ctx, "look for acceptance", "SELECT d.recipient, d.updated_at FROM "+ofRecipient+` AND d.updated_at >= $4
			AND (d.state = $5 AND d.updated_at < $6 OR d.state = $7 AND d.updated_at < $8)`,
			[]any{
				rhash, in.first, in.last, micros(q.Since), string(mail.Delivered), micros(q.Delivered), string(mail.Relayed), micros(q.Relayed),
			},
			func(r rowScanner) error {
				var recipient string
				var at int64
				err := r.Scan(&recipient, &at)
				if mail.SameMailbox(recipient, q.Recipient) {
					found = max(found, at)
				}
				return err
			})
		if err == nil && found > 0 {
			return errStop
		}
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	return fromMicros(found), nil
}
