package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/store"
)

// ledgerKept is how long a quota period's row is kept after its last use: longer than the longest period, a month.
const ledgerKept = 62 * 24 * time.Hour

// Maintain implements store.Store.
func (s *Store) Maintain(ctx context.Context, now time.Time) (done store.Maintained, err error) {
	if err := s.ready(); err != nil {
		return done, err
	}
	if s.opts.Retention > 0 {
		// A day ends 24 hours after it began; it goes when its end is Retention ago.
		last := dayName(now.Add(-s.opts.Retention - 24*time.Hour))
		for _, d := range s.days.between("", last) {
			if s.opts.Held != nil {
				held, err := s.opts.Held(ctx, d.name)
				if err != nil {
					return done, fmt.Errorf("sqlite: maintain: day %s: %w", d.name, err)
				}
				if held {
					continue
				}
			}
			switch err := s.days.remove(d.name); {
			case err == nil:
				done.Days = append(done.Days, d.name)
			case !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrNotFound): // in use: the next time
				return done, err
			}
		}
	}
	if len(done.Days) > 0 {
		s.tail.clear()
	}
	if done.Transcripts, err = s.dropTranscripts(ctx, now); err != nil {
		return done, err
	}
	if done.WebhookAttempts, err = s.maintainWebhooks(ctx, now.Add(-s.opts.WebhookLog)); err != nil {
		return done, err
	}
	err = s.platform.write(ctx, "maintain", func(t *tx) (err error) {
		if done.Suppressions, err = t.exec("DELETE FROM suppressions WHERE expires_at > 0 AND expires_at <= $1", micros(now)); err != nil {
			return err
		}
		if done.Failures, err = t.exec("DELETE FROM failures WHERE at < $1", micros(now.Add(-store.FailuresKept))); err != nil {
			return err
		}
		if s.opts.Retention > 0 {
			if _, err := t.exec("DELETE FROM resends WHERE at < $1", micros(now.Add(-s.opts.Retention-24*time.Hour))); err != nil {
				return err
			}
		}
		done.LedgerRows, err = t.exec("DELETE FROM ledger WHERE used_at < $1", micros(now.Add(-ledgerKept)))
		return err
	})
	if err != nil {
		return done, err
	}
	return done, s.makeFilters(ctx, now)
}

// Backup implements store.Store. Where webhooks stand is copied before everything else: an event they have not had must not
// lie behind them in the copy. The platform's file with the watermarks is copied next and the days after it, so
// every day in the copy is at or ahead of the watermark in it: a store restored from it is given the events behind
// that watermark again, and each file skips those it has.
func (s *Store) Backup(ctx context.Context, dir string) (damaged []store.Damage, err error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	target := filepath.Join(dir, recordDir)
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("sqlite: back up: %s is not empty", dir)
	}
	if err := os.MkdirAll(target, 0o700); err != nil {
		return nil, fmt.Errorf("sqlite: back up: %w", err)
	}
	if err := s.webhooks.copyTo(ctx, filepath.Join(dir, webhookFile)); err != nil {
		return nil, err
	}
	if err := s.platform.copyTo(ctx, filepath.Join(dir, platformFile)); err != nil {
		return nil, err
	}
	if err := s.step("in backup"); err != nil {
		return nil, err
	}
	damaged = slices.Clone(s.damaged)
	for _, d := range s.days.between("", "~") {
		path := filepath.Join(target, d.name+".db")
		err := s.days.use(ctx, d.name, false, func(d *day) error { return d.db.copyTo(ctx, path) })
		switch {
		case errors.Is(err, store.ErrNotFound): // it has expired meanwhile
		case isDamage(err):
			damaged = append(damaged, damageOf(d.name, err))
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // half a copy is no copy
				return nil, fmt.Errorf("sqlite: back up: %w", err)
			}
		case err != nil:
			return nil, err
		}
	}
	return damaged, errors.Join(syncDir(target), syncDir(dir))
}

// damageOf names a day that cannot be read.
func damageOf(day string, err error) store.Damage {
	return store.Damage{Name: recordDir + "/" + day + ".db", Err: err}
}

// copyTo writes a consistent, compact copy of the file, synced.
func (d *database) copyTo(ctx context.Context, path string) error {
	if _, err := d.db.ExecContext(ctx, "VACUUM INTO $1", path); err != nil {
		return d.fail("back up", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("sqlite: back up: %w", err)
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("sqlite: back up %s: %w", path, err)
	}
	return nil
}
