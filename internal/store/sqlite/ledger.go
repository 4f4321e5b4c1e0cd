package sqlite

import (
	"context"
	"fmt"

	"github.com/postroad/postroad/internal/store"
)

// Take implements store.Ledger.
func (s *Store) Take(ctx context.Context, key, period string, want, limit int64) (granted int64, err error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	if want < 0 {
		return 0, fmt.Errorf("sqlite: take from ledger: %w: %d units", store.ErrBadQuery, want)
	}
	first := max(0, min(want, limit))
	err = s.platform.write(ctx, "take from ledger", func(t *tx) error {
		const grant = "CASE WHEN ledger.taken >= $6 THEN 0 WHEN $5 <= $6 - ledger.taken THEN $5 ELSE $6 - ledger.taken END"
		return t.row(`INSERT INTO ledger (key, period, taken, granted, used_at) VALUES ($1, $2, $3, $3, $4)
			ON CONFLICT (key, period) DO UPDATE SET granted = `+grant+`, taken = ledger.taken + `+grant+`, used_at = excluded.used_at
			RETURNING granted`, []any{key, period, first, micros(s.opts.Now()), want, limit}, &granted)
	})
	if err != nil {
		return 0, err
	}
	return granted, nil
}
