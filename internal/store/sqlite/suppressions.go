package sqlite

import (
	"context"
	"fmt"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

const suppressionColumns = "address, account, stream, reason, origin, since, expires_at"

var putSuppressions = newMulti("suppressions", suppressionColumns, `ON CONFLICT (address, account, stream) DO UPDATE SET
	reason = excluded.reason, origin = excluded.origin, since = excluded.since, expires_at = excluded.expires_at`)

func scanSuppression(r rowScanner) (x platform.Suppression, err error) {
	var since, expires int64
	var origin []byte
	if err := r.Scan(&x.Address, &x.Account, &x.Stream, &x.Reason, &origin, &since, &expires); err != nil {
		return x, err
	}
	x.Since, x.Expires = fromMicros(since), fromMicros(expires)
	return x, x.Origin.UnmarshalText(origin)
}

// PutSuppressions implements store.Suppressions.
func (s *Store) PutSuppressions(ctx context.Context, list []platform.Suppression, audit ...store.AuditEntry) error {
	if err := s.ready(); err != nil {
		return err
	}
	args := make([]any, 0, len(list)*putSuppressions.cols)
	for _, x := range list {
		origin, err := x.Origin.MarshalText()
		if err != nil {
			return fmt.Errorf("sqlite: put suppressions: %w", err)
		}
		args = append(args, x.Address, x.Account, string(x.Stream), x.Reason, string(origin), micros(x.Since), micros(x.Expires))
	}
	return s.platform.write(ctx, "put suppressions", func(t *tx) error {
		if err := putSuppressions.exec(t, args); err != nil {
			return err
		}
		return t.auditAll(audit)
	})
}

// SuppressionsOf implements store.Suppressions.
func (s *Store) SuppressionsOf(ctx context.Context, address string) ([]platform.Suppression, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	var list []platform.Suppression
	err := s.platform.query(ctx, "look up suppressions", "SELECT "+suppressionColumns+` FROM suppressions WHERE address = $1
		ORDER BY account, stream`, []any{address}, func(r rowScanner) error {
		x, err := scanSuppression(r)
		list = append(list, x)
		return err
	})
	return list, err
}

// ListSuppressions implements store.Suppressions.
func (s *Store) ListSuppressions(ctx context.Context, q store.SuppressionQuery) ([]platform.Suppression, string, error) {
	if err := s.ready(); err != nil {
		return nil, "", err
	}
	after, err := parseSuppressionCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	if q.Platform && q.Account != "" {
		return nil, "", fmt.Errorf("%w: suppressions of the platform have no account", store.ErrBadQuery)
	}
	max := store.PageSize(q.Max)
	where := "" // all accounts
	if q.Platform || q.Account != "" {
		where = "account = $1 AND "
	}
	var list []platform.Suppression
	err = s.platform.query(ctx, "list suppressions", "SELECT "+suppressionColumns+" FROM suppressions WHERE "+where+`
		(address, account, stream) > ($2, $3, $4) AND ($5 = '' OR stream = $5) AND ($6 = '' OR reason = $6)
		AND ($7 = '' OR address LIKE $7 ESCAPE '\') AND $1 IS NOT NULL ORDER BY address, account, stream LIMIT $8`,
		[]any{q.Account, after[0], after[1], after[2], string(q.Stream), q.Reason, likeContains(q.Contains), max + 1},
		func(r rowScanner) error {
			x, err := scanSuppression(r)
			list = append(list, x)
			return err
		})
	if err != nil || len(list) <= max {
		return list, "", err
	}
	last := list[max-1]
	return list[:max], suppressionCursor(last.Address, last.Account, string(last.Stream)), nil
}

// likeContains returns the pattern for text with s in it, or "".
func likeContains(s string) string {
	if s == "" {
		return ""
	}
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s) + "%"
}

// A suppression cursor is the last entry's key, its parts ended by NUL, which none of them can hold.
func suppressionCursor(parts ...string) string {
	return store.EncodeCursor([]byte(strings.Join(parts, "\x00")))
}

func parseSuppressionCursor(text string) (key [3]string, err error) {
	if text == "" {
		return key, nil
	}
	b, err := store.DecodeCursor(text)
	parts := strings.Split(string(b), "\x00")
	if err != nil || len(parts) != len(key) {
		return key, fmt.Errorf("%w: %.60q", store.ErrBadCursor, text)
	}
	return [3]string(parts), nil
}

// DeleteSuppression implements store.Suppressions.
func (s *Store) DeleteSuppression(ctx context.Context, account string, stream mail.Stream, address string, audit ...store.AuditEntry) error {
	if err := s.ready(); err != nil {
		return err
	}
	return s.platform.write(ctx, "delete suppression", func(t *tx) error {
		n, err := t.exec("DELETE FROM suppressions WHERE address = $1 AND account = $2 AND stream = $3", address, account, string(stream))
		if err != nil {
			return err
		}
		if n == 0 {
			return store.ErrNotFound
		}
		return t.auditAll(audit)
	})
}

// SuppressedAddresses implements store.Suppressions.
func (s *Store) SuppressedAddresses(ctx context.Context, fn func(address string) error) error {
	if err := s.ready(); err != nil {
		return err
	}
	return s.platform.query(ctx, "read suppressed addresses", "SELECT DISTINCT address FROM suppressions ORDER BY address", nil,
		func(r rowScanner) error {
			var address string
			if err := r.Scan(&address); err != nil {
				return err
			}
			return fn(address)
		})
}
