package sqlite

import (
	"context"
	"strings"

	"github.com/postroad/postroad/internal/store"
)

// secretSeparator stands between the names of secrets in their column.
const secretSeparator = "\n"

// audit writes one entry in the transaction of the change it tells of.
func (t *tx) audit(a store.AuditEntry) error {
	_, err := t.exec(`INSERT INTO audit (at, actor, action, kind, name, version, before_doc, after_doc, secrets, note)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, micros(a.At), a.Actor, a.Action, string(a.Kind), a.Name, a.Version,
		a.Before, a.After, strings.Join(a.Secrets, secretSeparator), a.Note)
	return err
}

// auditAll writes entries of acts that leave the declared state as it is.
func (t *tx) auditAll(entries []store.AuditEntry) error {
	for _, a := range entries {
		a.Version = 0
		if err := t.audit(a); err != nil {
			return err
		}
	}
	return nil
}

// RecordAudit implements store.Platform.
func (s *Store) RecordAudit(ctx context.Context, entries ...store.AuditEntry) error {
	if err := s.ready(); err != nil {
		return err
	}
	return s.platform.write(ctx, "record audit", func(t *tx) error { return t.auditAll(entries) })
}

// ListAudit implements store.Platform.
func (s *Store) ListAudit(ctx context.Context, q store.AuditQuery) ([]store.AuditEntry, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	var list []store.AuditEntry
	err := s.platform.query(ctx, "list audit", `SELECT id, at, actor, action, kind, name, version, before_doc, after_doc, secrets, note
		FROM audit WHERE ($1 = '' OR kind = $1) AND ($2 = '' OR name = $2) AND ($3 = '' OR actor = $3) AND ($4 = 0 OR id < $4)
		ORDER BY id DESC LIMIT $5`, []any{string(q.Kind), q.Name, q.Actor, q.Before, store.PageSize(q.Max)},
		func(r rowScanner) error {
			var a store.AuditEntry
			var at int64
			var secrets string
			err := r.Scan(&a.ID, &at, &a.Actor, &a.Action, &a.Kind, &a.Name, &a.Version, &a.Before, &a.After, &secrets, &a.Note)
			a.At = fromMicros(at)
			if secrets != "" {
				a.Secrets = strings.Split(secrets, secretSeparator)
			}
			list = append(list, a)
			return err
		})
	return list, err
}
