package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// NoteReplies implements store.Replies.
func (s *Store) NoteReplies(ctx context.Context, list []store.ReplyNote) error {
	if err := s.ready(); err != nil {
		return err
	}
	if len(list) == 0 {
		return nil
	}
	return s.platform.write(ctx, "note replies", func(t *tx) error {
		marks := map[mail.SpoolID]uint64{}
		for i := range list {
			x := &list[i]
			mark, known := marks[x.Event.Spool]
			if !known {
				var seq int64
				err := t.row("SELECT seq FROM unknown_replies_mark WHERE spool = $1", []any{int64(x.Event.Spool)}, &seq)
				if err != nil && !errors.Is(err, sql.ErrNoRows) {
					return err
				}
				mark = uint64(seq)
				marks[x.Event.Spool] = mark
			}
			if x.Event.Seq <= mark {
				continue
			}
			if err := noteReply(t, x); err != nil {
				return err
			}
			marks[x.Event.Spool] = x.Event.Seq
		}
		for spool, seq := range marks {
			_, err := t.exec(`INSERT INTO unknown_replies_mark (spool, seq) VALUES ($1, $2)
				ON CONFLICT (spool) DO UPDATE SET seq = excluded.seq`, int64(spool), int64(seq))
			if err != nil {
				return err
			}
		}
		// The one seen last is kept before others as rare as it: a new wording must have the chance to become frequent.
		_, err := t.exec(`DELETE FROM unknown_replies WHERE fingerprint IN (
			SELECT fingerprint FROM unknown_replies ORDER BY n DESC, last_at DESC, fingerprint LIMIT -1 OFFSET $1)`, store.MaxUnknownReplies)
		return err
	})
}

func noteReply(t *tx, x *store.ReplyNote) error {
	at := micros(x.At)
	var hosts, stages, codes string
	err := t.row("SELECT hosts, stages, codes FROM unknown_replies WHERE fingerprint = $1", []any{x.Fingerprint}, &hosts, &stages, &codes)
	if errors.Is(err, sql.ErrNoRows) {
		sample := strings.ToValidUTF8(x.Reply[:min(len(x.Reply), store.MaxReplySample)], "\uFFFD")
		_, err := t.exec(`INSERT INTO unknown_replies (fingerprint, n, first_at, last_at, hosts, stages, codes, sample, done_at, done_by)
			VALUES ($1, 1, $2, $2, $3, $4, $5, $6, 0, '')`,
			x.Fingerprint, at, withLine("", x.Host), withLine("", string(x.Stage)), withLine("", x.Code), sample)
		return err
	}
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE unknown_replies SET n = n + 1, first_at = min(first_at, $2), last_at = max(last_at, $2), hosts = $3, stages = $4, codes = $5
		WHERE fingerprint = $1`, x.Fingerprint, at, withLine(hosts, x.Host), withLine(stages, string(x.Stage)), withLine(codes, x.Code))
	return err
}

// withLine adds a value to a list that does not have it, as long as there is room.
func withLine(list, value string) string {
	value = strings.ReplaceAll(value, "\n", " ")
	have := lines(list)
	if value == "" || slices.Contains(have, value) || len(have) >= store.MaxReplyHosts {
		return list
	}
	return strings.Join(append(have, value), "\n")
}

func lines(list string) []string {
	if list == "" {
		return []string{}
	}
	return strings.Split(list, "\n")
}

// UnknownReplies implements store.Replies.
func (s *Store) UnknownReplies(ctx context.Context, q store.RepliesQuery) ([]store.UnknownReply, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	open := "WHERE done_at = 0 OR last_at > done_at "
	if q.Done {
		open = ""
	}
	list := []store.UnknownReply{}
	err := s.platform.query(ctx, "read unknown replies", `SELECT fingerprint, n, first_at, last_at, hosts, stages, codes, sample, done_at, done_by
		FROM unknown_replies `+open+"ORDER BY n DESC, last_at DESC, fingerprint LIMIT $1", []any{store.PageSize(q.Max)}, func(r rowScanner) error {
		var x store.UnknownReply
		var first, last, done int64
		var hosts, stages, codes string
		if err := r.Scan(&x.Fingerprint, &x.Count, &first, &last, &hosts, &stages, &codes, &x.Sample, &done, &x.DoneBy); err != nil {
			return err
		}
		x.First, x.Last, x.Done = fromMicros(first), fromMicros(last), fromMicros(done)
		x.Hosts, x.Stages, x.Codes = lines(hosts), lines(stages), lines(codes)
		list = append(list, x)
		return nil
	})
	return list, err
}

// MarkReply implements store.Replies.
func (s *Store) MarkReply(ctx context.Context, fingerprint, by string, at time.Time, audit ...store.AuditEntry) error {
	if err := s.ready(); err != nil {
		return err
	}
	if at.IsZero() {
		by = ""
	}
	return s.platform.write(ctx, "mark reply", func(t *tx) error {
		n, err := t.exec("UPDATE unknown_replies SET done_at = $2, done_by = $3 WHERE fingerprint = $1", fingerprint, micros(at), by)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("sqlite: mark reply: %w", store.ErrNotFound)
		}
		return t.auditAll(audit)
	})
}
