package sqlite

import (
	"context"
	"errors"
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

// Give implements store.Ledger.
func (s *Store) Give(ctx context.Context, key, period string, n int64) error {
	if err := s.ready(); err != nil {
		return err
	}
	if n < 0 {
		return fmt.Errorf("sqlite: give back to ledger: %w: %d units", store.ErrBadQuery, n)
	}
	return s.platform.write(ctx, "give back to ledger", func(t *tx) error {
		_, err := t.exec(`UPDATE ledger SET taken = CASE WHEN taken < $1 THEN 0 ELSE taken - $1 END
			WHERE key = $2 AND period = $3`, n, key, period)
		return err
	})
}

// Taken implements store.Ledger.
func (s *Store) Taken(ctx context.Context, key, period string) (taken int64, err error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	err = s.platform.row(ctx, "read ledger", "SELECT taken FROM ledger WHERE key = $1 AND period = $2", []any{key, period}, &taken)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	return taken, err
}
