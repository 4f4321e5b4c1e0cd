package sqlite

import (
	"context"
	"fmt"
)

// GetMeta implements store.Meta.
func (s *Store) GetMeta(ctx context.Context, key string) (value []byte, err error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	if err := s.platform.row(ctx, "read meta", "SELECT value FROM meta WHERE key = $1", []any{key}, &value); err != nil {
		return nil, fmt.Errorf("%w (%s)", err, key)
	}
	return value, nil
}

// PutMeta implements store.Meta.
func (s *Store) PutMeta(ctx context.Context, key string, value []byte) error {
	if err := s.ready(); err != nil {
		return err
	}
	if value == nil {
		value = []byte{} // not NULL
	}
	return s.platform.write(ctx, "write meta", func(t *tx) error {
		_, err := t.exec("INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
		return err
	})
}

// DeleteMeta implements store.Meta.
func (s *Store) DeleteMeta(ctx context.Context, key string) error {
	if err := s.ready(); err != nil {
		return err
	}
	return s.platform.write(ctx, "delete meta", func(t *tx) error {
		_, err := t.exec("DELETE FROM meta WHERE key = $1", key)
		return err
	})
}
