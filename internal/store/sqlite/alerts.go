package sqlite

import (
	"context"
	"time"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

const alertColumns = "id, kind, scope, message, since, last, count, cleared_at"

func scanAlert(r rowScanner) (a platform.Alert, err error) {
	var since, last, cleared int64
	err = r.Scan(&a.ID, &a.Kind, &a.Scope, &a.Message, &since, &last, &a.Count, &cleared)
	a.Since, a.Last, a.Cleared = fromMicros(since), fromMicros(last), fromMicros(cleared)
	return a, err
}

// RaiseAlert implements store.Alerts.
func (s *Store) RaiseAlert(ctx context.Context, kind, scope, message string, at time.Time) (a platform.Alert, fresh bool, err error) {
	if err := s.ready(); err != nil {
		return a, false, err
	}
	err = s.platform.write(ctx, "raise alert", func(t *tx) error {
		q, err := t.stmt(`INSERT INTO alerts (kind, scope, message, since, last, count) VALUES ($1, $2, $3, $4, $4, 1)
			ON CONFLICT (kind, scope) WHERE cleared_at = 0 DO UPDATE SET message = excluded.message, last = excluded.last,
			count = alerts.count + 1 RETURNING ` + alertColumns)
		if err != nil {
			return err
		}
		a, err = scanAlert(q.QueryRowContext(t.ctx, kind, scope, message, micros(at)))
		return err
	})
	return a, a.Count == 1, err
}

// ClearAlert implements store.Alerts.
func (s *Store) ClearAlert(ctx context.Context, kind, scope string, at time.Time) (cleared bool, err error) {
	if err := s.ready(); err != nil {
		return false, err
	}
	err = s.platform.write(ctx, "clear alert", func(t *tx) error {
		n, err := t.exec("UPDATE alerts SET cleared_at = $1 WHERE kind = $2 AND scope = $3 AND cleared_at = 0", micros(at), kind, scope)
		cleared = n > 0
		return err
	})
	return cleared, err
}

// ListAlerts implements store.Alerts.
func (s *Store) ListAlerts(ctx context.Context, q store.AlertQuery) ([]platform.Alert, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	withCleared := 0
	if q.Cleared {
		withCleared = 1
	}
	var list []platform.Alert
	err := s.platform.query(ctx, "list alerts", "SELECT "+alertColumns+` FROM alerts WHERE ($1 = 1 OR cleared_at = 0)
		AND ($2 = '' OR kind = $2) ORDER BY CASE WHEN cleared_at = 0 THEN 0 ELSE 1 END, since DESC, id DESC LIMIT $3`,
		[]any{withCleared, q.Kind, store.PageSize(q.Max)}, func(r rowScanner) error {
			a, err := scanAlert(r)
			list = append(list, a)
			return err
		})
	return list, err
}
