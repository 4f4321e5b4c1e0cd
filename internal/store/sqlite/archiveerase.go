package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// eraseBatch is how many rows one transaction of an erasure or a trimming touches.
const eraseBatch = 200

// EraseArchived implements store.Archive.
func (a *Archive) EraseArchived(ctx context.Context, n store.ArchiveName, e store.ArchiveErasure) (done store.ArchiveErased, err error) {
	err = a.use(ctx, n, func(d *database, s *sealer) error {
		for {
			n := 0
			err := d.erase(ctx, "erase archive", func(t *tx) (err error) {
				n, err = s.eraseBatch(t, e, &done)
				return err
			})
			if err != nil {
				return err
			}
			if n < eraseBatch {
				break
			}
			if err := a.step("between batches"); err != nil {
				return err
			}
		}
		if done == (store.ArchiveErased{}) {
			return nil
		}
		return d.forget(ctx)
	})
	return done, err
}

// eraseBatch erases up to eraseBatch recipients and returns how many it looked at.
func (s *sealer) eraseBatch(t *tx, e store.ArchiveErasure, done *store.ArchiveErased) (int, error) {
	type row struct{ message, delivery []byte }
	var list []row
	err := t.query("SELECT message, delivery FROM recipients WHERE rhash = $1 LIMIT $2", []any{s.recipient(e.Address), eraseBatch}, func(r rowScanner) error {
		var x row
		err := r.Scan(&x.message, &x.delivery)
		list = append(list, x)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, x := range list {
		var others int
		if err := t.row("SELECT count(*) FROM (SELECT 1 FROM recipients WHERE message = $1 AND rhash <> $2 LIMIT 1)", []any{x.message, s.recipient(e.Address)}, &others); err != nil {
			return 0, err
		}
		if others == 0 {
			if err := t.dropArchived(x.message); err != nil {
				return 0, err
			}
			done.Messages++
			continue
		}
		_, err := t.exec("UPDATE recipients SET rhash = $1, address = $2 WHERE message = $3 AND delivery = $4",
			s.recipient(e.Marker), s.seal(sealContext(sealRecipient, x.message, x.delivery), []byte(e.Marker)), x.message, x.delivery)
		if err != nil {
			return 0, err
		}
		done.Recipients++
	}
	return len(list), nil
}

func (t *tx) dropArchived(message []byte) error {
	for _, table := range []string{"chunks", "recipients", "messages"} {
		if _, err := t.exec("DELETE FROM "+table+" WHERE message = $1", message); err != nil {
			return err
		}
	}
	return nil
}

// DropArchiveFile implements store.Archive.
func (a *Archive) DropArchiveFile(ctx context.Context, n store.ArchiveName, except []mail.MessageID) error {
	if len(except) == 0 {
		return a.files.remove(archivePath(n))
	}
	keep := make(map[mail.MessageID]bool, len(except))
	for _, id := range except {
		keep[id] = true
	}
	return a.files.use(ctx, n, false, func(d *database) error {
		after := mail.MessageID{}
		for {
			var gone [][]byte
			count := 0
			err := d.query(ctx, "trim archive", "SELECT message FROM messages WHERE message > $1 ORDER BY message LIMIT $2", []any{after[:], eraseBatch}, func(r rowScanner) error {
				var key []byte
				if err := r.Scan(&key); err != nil {
					return err
				}
				count++
				copy(after[:], key)
				if !keep[after] {
					gone = append(gone, slices.Clone(key))
				}
				return nil
			})
			if err != nil {
				return err
			}
			err = d.erase(ctx, "trim archive", func(t *tx) error {
				for _, key := range gone {
					if err := t.dropArchived(key); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			if count < eraseBatch {
				return d.checkpoint(ctx)
			}
		}
	})
}

// erase is write for what must not stay in the file: SQLite overwrites what it deletes.
func (d *database) erase(ctx context.Context, verb string, fn func(*tx) error) error {
	return d.write(ctx, verb, func(t *tx) error {
		if _, err := d.writer.ExecContext(t.ctx, "PRAGMA secure_delete = ON"); err != nil {
			return err
		}
		err := fn(t)
		d.erasures++
		_, off := d.writer.ExecContext(t.ctx, "PRAGMA secure_delete = OFF")
		return errors.Join(err, off)
	})
}

// maxVacuum is the largest file that is written anew after an erasure, in octets: it takes as much room again, and nobody
// can write to the file meanwhile.
const maxVacuum = 1 << 30

// forget makes an erasure final: the file is written anew, because space that SQLite has freed by moving rows about may
// still hold what was in them, and the journal is emptied. In a file too large for that such remnants stay until the space
// is used again or the day expires.
func (d *database) forget(ctx context.Context) error {
	info, err := os.Stat(d.path)
	if err != nil {
		return fmt.Errorf("sqlite: erase: %w", err)
	}
	if info.Size() <= maxVacuum {
		d.mu.Lock()
		_, err := d.db.ExecContext(ctx, "VACUUM")
		d.mu.Unlock()
		if err != nil {
			return d.fail("write anew", err)
		}
	}
	return d.checkpoint(ctx)
}

// checkpoint copies the journal into the file and empties it: what was erased must not stay there. Readers may be in the
// way; the journal is then emptied the next time.
func (d *database) checkpoint(ctx context.Context) error {
	var busy, log, moved int
	if err := d.db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &log, &moved); err != nil {
		return d.fail("checkpoint", err)
	}
	return nil
}

// query reads rows within the transaction; errStop of scan ends the reading early without being an error.
func (t *tx) query(query string, args []any, scan func(rowScanner) error) error {
	s, err := t.stmt(query)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(t.ctx, args...)
	if err != nil {
		return err
	}
	for err == nil && rows.Next() {
		err = scan(rows)
	}
	if e := rows.Close(); err == nil {
		err = e
	}
	if errors.Is(err, errStop) {
		return nil
	}
	if err == nil {
		err = rows.Err()
	}
	return err
}
