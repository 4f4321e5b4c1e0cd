package sqlite

import (
	"context"
	"fmt"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

const suppressionColumns = "address, account, stream, class, reason, actor, origin, receiver, since, expires_at"

const replaceSuppression = `ON CONFLICT (address, account, stream) DO UPDATE SET class = excluded.class, reason = excluded.reason,
	actor = excluded.actor, origin = excluded.origin, receiver = excluded.receiver, since = excluded.since, expires_at = excluded.expires_at`

// lastsLonger is when an entry gives way to a new one: it ends, and the new one never does, or later.
const lastsLonger = " WHERE suppressions.expires_at > 0 AND (excluded.expires_at = 0 OR excluded.expires_at > suppressions.expires_at)"

var (
	putSuppressions    = newMulti("suppressions", suppressionColumns, replaceSuppression)
	addSuppressions    = newMulti("suppressions", suppressionColumns, "ON CONFLICT (address, account, stream) DO NOTHING")
	extendSuppressions = newMulti("suppressions", suppressionColumns, replaceSuppression+lastsLonger)
)

func suppressionArgs(args []any, x *platform.Suppression) ([]any, error) {
	origin, err := x.Origin.MarshalText()
	if err != nil {
		return nil, fmt.Errorf("sqlite: put suppressions: %w", err)
	}
	return append(args, x.Address, x.Account, string(x.Stream), string(x.Class), x.Reason, x.Actor, string(origin), x.Receiver,
		micros(x.Since), micros(x.Expires)), nil
}

func scanSuppression(r rowScanner) (x platform.Suppression, err error) {
	var since, expires int64
	var origin []byte
	if err := r.Scan(&x.Address, &x.Account, &x.Stream, &x.Class, &x.Reason, &x.Actor, &origin, &x.Receiver, &since, &expires); err != nil {
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
	for i := range list {
		var err error
		if args, err = suppressionArgs(args, &list[i]); err != nil {
			return err
		}
	}
	return s.platform.write(ctx, "put suppressions", func(t *tx) error {
		if err := putSuppressions.exec(t, args); err != nil {
			return err
		}
		return t.auditAll(audit)
	})
}

// MergeSuppressions implements store.Suppressions.
func (s *Store) MergeSuppressions(ctx context.Context, list []platform.Suppression, audit ...store.AuditEntry) (done store.Merged, err error) {
	if err := s.ready(); err != nil {
		return done, err
	}
	args := make([]any, 0, len(list)*putSuppressions.cols)
	for i := range list {
		if args, err = suppressionArgs(args, &list[i]); err != nil {
			return done, err
		}
	}
	err = s.platform.write(ctx, "merge suppressions", func(t *tx) error {
		if done, err = t.mergeSuppressions(args); err != nil {
			return err
		}
		return t.auditAll(audit)
	})
	if err != nil {
		return store.Merged{}, err
	}
	return done, nil
}

// mergeSuppressions adds entries given flat in args. Most are new, so that is tried first; the second statement finds of
// those that are not the ones that last longer, and changes nothing of what the first has added.
func (t *tx) mergeSuppressions(args []any) (done store.Merged, err error) {
	for n := multiRows; n > 0; n /= 2 {
		for size := n * addSuppressions.cols; len(args) >= size; args = args[size:] {
			added, err := t.exec(addSuppressions.text[n], args[:size]...)
			if err != nil {
				return done, err
			}
			done.Added += added
			if added == int64(n) {
				continue
			}
			replaced, err := t.exec(extendSuppressions.text[n], args[:size]...)
			if err != nil {
				return done, err
			}
			done.Replaced += replaced
		}
	}
	return done, nil
}

// SuppressionsOf implements store.Suppressions.
func (s *Store) SuppressionsOf(ctx context.Context, addresses ...string) ([]platform.Suppression, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	var list []platform.Suppression
	for _, address := range addresses {
		err := s.platform.query(ctx, "look up suppressions", "SELECT "+suppressionColumns+` FROM suppressions WHERE address = $1
			ORDER BY account, stream`, []any{address}, func(r rowScanner) error {
			x, err := scanSuppression(r)
			list = append(list, x)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// selectSuppressions is the condition of a query, with places $1 to $10 for its args.
func selectSuppressions(q store.SuppressionQuery) (where string, args []any, err error) {
	if q.Platform && q.Account != "" {
		return "", nil, fmt.Errorf("%w: suppressions of the platform have no account", store.ErrBadQuery)
	}
	if q.Platform || q.Account != "" {
		where = "account = $1 AND " // its index answers; all accounts otherwise
	}
	where += `($2 = '' OR stream = $2) AND ($3 = '' OR class = $3) AND ($4 = '' OR reason = $4) AND ($5 = '' OR address LIKE $5 ESCAPE '\')
		AND ($6 = '' OR address LIKE $6 ESCAPE '\') AND ($7 = '' OR receiver = $7) AND ($8 = '' OR actor = $8)
		AND since >= $9 AND ($10 = 0 OR since < $10) AND $1 IS NOT NULL`
	contains, domain := "", ""
	if q.Contains != "" {
		contains = "%" + escapeLike(q.Contains) + "%"
	}
	if q.Domain != "" {
		domain = "%@" + escapeLike(q.Domain)
	}
	return where, []any{
		q.Account, string(q.Stream), string(q.Class), q.Reason, contains, domain, q.Receiver, q.Actor, micros(q.Since), micros(q.Until),
	}, nil
}

func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
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
	where, args, err := selectSuppressions(q)
	if err != nil {
		return nil, "", err
	}
	max := store.PageSize(q.Max)
	var list []platform.Suppression
	err = s.platform.query(ctx, "list suppressions", "SELECT "+suppressionColumns+" FROM suppressions WHERE "+where+`
		AND (address, account, stream) > ($11, $12, $13) ORDER BY address, account, stream LIMIT $14`,
		append(args, after[0], after[1], after[2], max+1),
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

// CountSuppressions implements store.Suppressions.
func (s *Store) CountSuppressions(ctx context.Context, q store.SuppressionQuery) (n int64, err error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	where, args, err := selectSuppressions(q)
	if err != nil {
		return 0, err
	}
	err = s.platform.row(ctx, "count suppressions", "SELECT count(*) FROM suppressions WHERE "+where, args, &n)
	return n, err
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
		if _, err := t.exec("DELETE FROM failures WHERE account = $1 AND address = $2", account, address); err != nil {
			return err
		}
		return t.auditAll(audit)
	})
}

// DeleteSuppressions implements store.Suppressions.
func (s *Store) DeleteSuppressions(ctx context.Context, q store.SuppressionQuery, audit func(n int64) store.AuditEntry) (n int64, err error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	where, args, err := selectSuppressions(q)
	if err != nil {
		return 0, err
	}
	err = s.platform.write(ctx, "delete suppressions", func(t *tx) error {
		_, err := t.exec("DELETE FROM failures WHERE (account, address) IN (SELECT account, address FROM suppressions WHERE "+where+")", args...)
		if err != nil {
			return err
		}
		if n, err = t.exec("DELETE FROM suppressions WHERE "+where, args...); err != nil || audit == nil {
			return err
		}
		return t.auditAll([]store.AuditEntry{audit(n)})
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// SuppressionKeys implements store.Suppressions.
func (s *Store) SuppressionKeys(ctx context.Context, fn func(address, account string) error) error {
	if err := s.ready(); err != nil {
		return err
	}
	return s.platform.query(ctx, "read suppressed addresses", "SELECT DISTINCT address, account FROM suppressions ORDER BY address, account", nil,
		func(r rowScanner) error {
			var address, account string
			if err := r.Scan(&address, &account); err != nil {
				return err
			}
			return fn(address, account)
		})
}
