package sqlite

import (
	"context"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// RecordFailure implements store.Suppressions.
func (s *Store) RecordFailure(ctx context.Context, f platform.Failure, put *platform.Suppression, audit store.AuditEntry) (done store.Recorded, err error) {
	if err := s.ready(); err != nil {
		return done, err
	}
	err = s.platform.write(ctx, "record failure", func(t *tx) error {
		done = store.Recorded{}
		n, err := t.exec(`INSERT INTO failures (account, address, event, class, delivery, at, evidence, receiver)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account, address, event) DO NOTHING`,
			f.Account, f.Address, f.Event.String(), string(f.Class), f.Delivery.String(), micros(f.At), string(f.Evidence), f.Receiver)
		if err != nil || n == 0 {
			return err
		}
		done.Fresh = true
		if err := s.step("failure"); err != nil || put == nil {
			return err
		}
		args, err := suppressionArgs(nil, put)
		if err != nil {
			return err
		}
		m, err := t.mergeSuppressions(args)
		if err != nil || m.Added+m.Replaced == 0 {
			return err
		}
		done.Put = true
		if err := s.step("suppression"); err != nil {
			return err
		}
		return t.auditAll([]store.AuditEntry{audit})
	})
	if err != nil {
		return store.Recorded{}, err
	}
	return done, s.step("failure recorded")
}

// FailuresOf implements store.Suppressions.
func (s *Store) FailuresOf(ctx context.Context, account, address string) ([]platform.Failure, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	var list []platform.Failure
	err := s.platform.query(ctx, "read failures", `SELECT event, class, delivery, at, evidence, receiver FROM failures
		WHERE account = $1 AND address = $2 ORDER BY at, event`, []any{account, address}, func(r rowScanner) error {
		f := platform.Failure{Account: account, Address: address}
		var event, delivery []byte
		var at int64
		if err := r.Scan(&event, &f.Class, &delivery, &at, &f.Evidence, &f.Receiver); err != nil {
			return err
		}
		f.At = fromMicros(at)
		if err := f.Event.UnmarshalText(event); err != nil {
			return err
		}
		if err := f.Delivery.UnmarshalText(delivery); err != nil {
			return err
		}
		list = append(list, f)
		return nil
	})
	return list, err
}

// EraseSuppressed implements store.Suppressions.
func (s *Store) EraseSuppressed(ctx context.Context, address, hash string, audit ...store.AuditEntry) (n int64, err error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	err = s.platform.erase(ctx, "erase suppressed address", func(t *tx) error {
		failures, err := t.exec("DELETE FROM failures WHERE address = $1", address)
		if err != nil {
			return err
		}
		// An entry of the hash that is there already stays: it was made by an earlier erasure.
		if _, err := t.exec(`INSERT INTO suppressions (`+suppressionColumns+`) SELECT $1, account, stream, class, class, actor, origin,
			receiver, since, expires_at FROM suppressions WHERE address = $2 `+replaceSuppression+lastsLonger, hash, address); err != nil {
			return err
		}
		if n, err = t.exec("DELETE FROM suppressions WHERE address = $1", address); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE audit SET name = $1, before_doc = '', after_doc = '', note = '' WHERE kind = $2 AND name = $3`,
			hash, string(store.KindSuppression), address); err != nil {
			return err
		}
		if n == 0 && failures == 0 {
			return nil
		}
		return t.auditAll(audit)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
