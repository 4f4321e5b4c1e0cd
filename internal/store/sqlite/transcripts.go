package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
)

const (
	// transcriptBatch is how many dialogues one transaction drops.
	transcriptBatch = 500
	// attemptsFor is how long after a day's end attempts of its deliveries may still be recorded, with room to spare: the
	// longest expiry is four days.
	attemptsFor = 10 * 24 * time.Hour
	// stripEvery is how often a day that may still get attempts is looked through.
	stripEvery = 24 * time.Hour
)

// dropTranscripts drops the dialogues of attempts that are older than Options.Transcripts. A day is looked through once a
// day while attempts may still come, then once more, and again after a restart.
func (s *Store) dropTranscripts(ctx context.Context, now time.Time) (n int64, err error) {
	if s.opts.Transcripts <= 0 {
		return 0, nil
	}
	cutoff := now.Add(-s.opts.Transcripts)
	s.stripping.Lock()
	defer s.stripping.Unlock()
	for _, d := range s.days.between("", dayName(cutoff)) {
		begin, err := time.Parse(dayLayout, d.name)
		if err != nil {
			return n, err
		}
		last := begin.Add(24*time.Hour + attemptsFor + s.opts.Transcripts) // after it nothing is left to drop
		if at, ok := s.stripped[d.name]; ok && (now.Sub(at) < stripEvery || at.After(last)) {
			continue
		}
		m, err := s.stripDay(ctx, d.name, cutoff)
		if n += m; errors.Is(err, store.ErrNotFound) {
			delete(s.stripped, d.name) // it has expired meanwhile
			continue
		}
		if err != nil {
			return n, err
		}
		s.stripped[d.name] = now
	}
	return n, nil
}

func (s *Store) stripDay(ctx context.Context, name string, cutoff time.Time) (n int64, err error) {
	type row struct {
		delivery   []byte
		spool, seq int64
		data       []byte
	}
	err = s.days.use(ctx, name, false, func(d *day) error {
		at := row{delivery: []byte{}}
		for {
			var list []row
			err := d.db.query(ctx, "drop dialogues", `SELECT delivery, spool, seq, data FROM events
				WHERE (delivery, spool, seq) > ($1, $2, $3) AND instr(data, '"transcript":"') > 0 ORDER BY delivery, spool, seq LIMIT $4`,
				[]any{at.delivery, at.spool, at.seq, transcriptBatch}, func(r rowScanner) error {
					var v row
					err := r.Scan(&v.delivery, &v.spool, &v.seq, &v.data)
					list = append(list, v)
					return err
				})
			if err != nil || len(list) == 0 {
				return err
			}
			err = d.db.write(ctx, "drop dialogues", func(t *tx) error {
				for _, v := range list {
					var e mail.Event
					if err := rows.DecodeEvent(v.data, &e); err != nil {
						return err
					}
					if e.Attempt == nil || !e.At.Before(cutoff) {
						continue
					}
					e.Attempt.Transcript = ""
					if _, err := t.exec("UPDATE events SET data = $1 WHERE delivery = $2 AND spool = $3 AND seq = $4", string(rows.AppendEvent(nil, &e)), v.delivery, v.spool, v.seq); err != nil {
						return err
					}
					n++
				}
				return nil
			})
			if err != nil {
				return err
			}
			at = list[len(list)-1]
		}
	})
	return n, err
}
