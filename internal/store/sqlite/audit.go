package sqlite

import (
	"context"
	"strconv"
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
	query, args := auditQuery(q)
	err := s.platform.query(ctx, "list audit", query, args,
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

// auditQuery names only the conditions that are set: SQLite takes no index for one that may be empty.
func auditQuery(q store.AuditQuery) (query string, args []any) {
	where := "TRUE"
	and := func(cond string, set bool, v any) {
		if set {
			args = append(args, v)
			where += " AND " + cond + " $" + strconv.Itoa(len(args))
		}
	}
	and("kind =", q.Kind != "", string(q.Kind))
	and("name =", q.Name != "", q.Name)
	and("actor =", q.Actor != "", q.Actor)
	and("at >=", !q.Since.IsZero(), micros(q.Since))
	and("at <", !q.Until.IsZero(), micros(q.Until))
	if !q.Since.IsZero() && q.Until.IsZero() {
		// Going back from the newest, it need not look beyond this one: without it a page that is not full goes on to the first entry.
		and("id >= (SELECT min(id) FROM audit WHERE at >=", true, micros(q.Since))
		where += ")"
	}
	and("id <", q.Before > 0, q.Before)
	args = append(args, store.PageSize(q.Max))
	return "SELECT id, at, actor, action, kind, name, version, before_doc, after_doc, secrets, note FROM audit WHERE " + where +
		" ORDER BY id DESC LIMIT $" + strconv.Itoa(len(args)), args
}
