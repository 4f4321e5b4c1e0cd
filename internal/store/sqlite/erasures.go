package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
)

// storedErasure is an erasure as its row keeps it: with the sealed address.
type storedErasure struct {
	store.Erasure
	Sealed []byte `json:"sealed,omitempty"`
}

// PutErasure implements store.Erasures.
func (s *Store) PutErasure(ctx context.Context, e store.Erasure, audit ...store.AuditEntry) error {
	if err := s.ready(); err != nil {
		return err
	}
	doc, err := json.Marshal(storedErasure{e, e.Sealed})
	if err != nil {
		return fmt.Errorf("sqlite: put erasure: %w", err)
	}
	err = s.platform.erase(ctx, "put erasure", func(t *tx) error {
		if _, err := t.exec("INSERT INTO erasures (id, finished, doc) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET finished = excluded.finished, doc = excluded.doc",
			e.ID, micros(e.Ended), string(doc)); err != nil {
			return err
		}
		return t.auditAll(audit)
	})
	if err != nil || e.Sealed != nil {
		return err
	}
	return s.platform.checkpoint(ctx) // the sealed address must not stay in the journal
}

// ListErasures implements store.Erasures.
func (s *Store) ListErasures(ctx context.Context, unfinished bool, max int) ([]store.Erasure, error) {
	query := "SELECT doc FROM erasures ORDER BY id DESC LIMIT $1"
	if unfinished {
		query = "SELECT doc FROM erasures WHERE finished = 0 ORDER BY id LIMIT $1"
	}
	return s.erasures(ctx, query, store.PageSize(max))
}

// FindErasure implements store.Erasures.
func (s *Store) FindErasure(ctx context.Context, id string) (store.Erasure, error) {
	list, err := s.erasures(ctx, "SELECT doc FROM erasures WHERE id = $1", id)
	if err != nil {
		return store.Erasure{}, err
	}
	if len(list) == 0 {
		return store.Erasure{}, fmt.Errorf("sqlite: erasure %.40q: %w", id, store.ErrNotFound)
	}
	return list[0], nil
}

func (s *Store) erasures(ctx context.Context, query string, args ...any) (list []store.Erasure, err error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	err = s.platform.query(ctx, "read erasures", query, args, func(r rowScanner) error {
		var doc []byte
		if err := r.Scan(&doc); err != nil {
			return err
		}
		var x storedErasure
		if err := json.Unmarshal(doc, &x); err != nil {
			return err
		}
		x.Erasure.Sealed = x.Sealed
		list = append(list, x.Erasure)
		return nil
	})
	return list, err
}

// EraseState implements store.Erasures.
func (s *Store) EraseState(ctx context.Context, e store.Erasing) (n int64, err error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	scrub := rows.NewScrubber(e.Address, e.Marker)
	var written []*database
	for _, x := range []struct {
		d       *database
		table   string
		columns []string
	}{
		{s.platform, "audit", []string{"name", "before_doc", "after_doc", "note"}},
		{s.platform, "alerts", []string{"message"}},
		{s.webhooks, "attempts", []string{"request_body", "response_body", "response_header", "error"}},
	} {
		m, err := scrubTable(ctx, x.d, x.table, x.columns, scrub)
		if n += m; err != nil {
			return n, err
		}
		// Of the platform's file the suppression list had the address too.
		if m > 0 || x.table == "audit" {
			written = append(written, x.d)
		}
	}
	for _, d := range slices.Compact(written) {
		if err := d.forget(ctx); err != nil {
			return n, err
		}
	}
	return n, nil
}

// scrubTable rewrites the texts of a table that hold the address, in batches, by rising id, and returns how many rows it
// rewrote.
func scrubTable(ctx context.Context, d *database, table string, columns []string, scrub *rows.Scrubber) (n int64, err error) {
	where := make([]string, len(columns))
	set := make([]string, len(columns))
	for i, c := range columns {
		where[i] = "instr(lower(" + c + "), $1) > 0"
		set[i] = fmt.Sprintf("%s = $%d", c, i+1)
	}
	find := "SELECT id, " + strings.Join(columns, ", ") + " FROM " + table + " WHERE id > $2 AND (" + strings.Join(where, " OR ") + ") ORDER BY id LIMIT $3"
	put := "UPDATE " + table + " SET " + strings.Join(set, ", ") + fmt.Sprintf(" WHERE id = $%d", len(columns)+1)
	last := int64(0)
	for {
		found := 0
		err := d.erase(ctx, "erase", func(t *tx) error {
			var list [][]any
			err := t.query(find, []any{scrub.Needle(), last, eraseBatch}, func(r rowScanner) error {
				texts := make([]string, len(columns))
				into := []any{&last}
				for i := range texts {
					into = append(into, &texts[i])
				}
				if err := r.Scan(into...); err != nil {
					return err
				}
				found++
				var values []any
				changed := false
				for _, text := range texts {
					now := scrub.Document(text)
					changed = changed || now != text
					values = append(values, now)
				}
				if changed {
					list = append(list, append(values, last))
				}
				return nil
			})
			if err != nil {
				return err
			}
			for _, values := range list {
				if _, err := t.exec(put, values...); err != nil {
					return err
				}
			}
			n += int64(len(list))
			return nil
		})
		if err != nil || found < eraseBatch {
			return n, err
		}
	}
}
