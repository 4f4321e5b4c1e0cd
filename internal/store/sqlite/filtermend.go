package sqlite

import (
	"database/sql"
	"errors"
)

// mendFilters makes the blocks of a hash again, after deliveries to it were erased, or were given it.
func (t *tx) mendFilters(rhash int64) error {
	var list []filter
	if err := t.query(selectFilters, nil, scanFilters(&list)); err != nil {
		return err
	}
	for _, f := range list {
		n := blockOf(rhash, f.pages)
		page := f.page + n/pageBlocks
		var bits []byte
		err := t.row("SELECT bits FROM filter_pages WHERE page = $1", []any{page}, &bits)
		if errors.Is(err, sql.ErrNoRows) || err == nil && len(bits) != pageOctets {
			// Somebody else has been at the file: better no filter.
			_, err = t.exec("DELETE FROM filters WHERE first_bucket = $1", f.first)
			return err
		}
		if err != nil {
			return err
		}
		block := bits[n%pageBlocks*blockOctets:][:blockOctets]
		clear(block)
		lo, hi := hashesOf(n, f.pages)
		err = t.query(`SELECT d.rhash FROM buckets b CROSS JOIN deliveries d
			WHERE b.bucket >= $1 AND b.bucket <= $2 AND d.bucket = b.bucket AND d.rhash >= $3 AND d.rhash <= $4`,
			[]any{f.first, f.last, lo, hi}, func(r rowScanner) error {
				var other int64
				err := r.Scan(&other)
				setBits(block, other)
				return err
			})
		if err != nil {
			return err
		}
		if _, err := t.exec("UPDATE filter_pages SET bits = $1 WHERE page = $2", bits, page); err != nil {
			return err
		}
	}
	return nil
}
