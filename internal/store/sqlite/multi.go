package sqlite

import (
	"database/sql/driver"
	"strings"
)

// multi writes many rows with few statements: a statement costs as much as several rows. Its places are ? and not $1,
// because SQLite looks the name of each numbered place up in a list: half the time of a batch.
type multi struct {
	head string // INSERT INTO t (a, b)
	tail string // ON CONFLICT …
	cols int
	text map[int]string // by number of rows
}

// multiRows is the most rows of one statement. Beyond it the gain is small and preparing gets slow.
const multiRows = 32

func newMulti(table, columns, tail string) *multi {
	m := &multi{head: "INSERT OR ROLLBACK INTO " + table + " (" + columns + ") VALUES ", tail: " " + tail, text: map[int]string{}}
	m.cols = strings.Count(columns, ",") + 1
	for n := multiRows; n > 0; n /= 2 {
		m.text[n] = m.statement(n)
	}
	return m
}

func (m *multi) statement(rows int) string {
	row := "(" + strings.Repeat("?, ", m.cols-1) + "?)"
	return m.head + strings.Repeat(row+", ", rows-1) + row + m.tail
}

// exec writes rows given flat in args, in statements of 32, 16, 8, 4, 2 and 1 rows. Each arg is an int64, a string or a
// []byte: they go to the driver as they are, for database/sql looks at and copies every one of them.
func (m *multi) exec(t *tx, args []any) error {
	if len(args) == 0 {
		return nil
	}
	return t.d.writer.Raw(func(conn any) error {
		for n := multiRows; n > 0; n /= 2 {
			for size := n * m.cols; len(args) >= size; args = args[size:] {
				if err := m.execOne(t, conn.(driver.ConnPrepareContext), n, args[:size]); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (m *multi) execOne(t *tx, conn driver.ConnPrepareContext, n int, args []any) error {
	d := t.d
	s := d.multis[m.text[n]]
	if s == nil {
		made, err := conn.PrepareContext(t.ctx, m.text[n])
		if err != nil {
			return err
		}
		s = made.(driver.StmtExecContext)
		d.multis[m.text[n]] = s
	}
	for len(d.bound) < len(args) {
		d.bound = append(d.bound, driver.NamedValue{Ordinal: len(d.bound) + 1})
	}
	bound := d.bound[:len(args)]
	for i := range args {
		bound[i].Value = args[i]
	}
	_, err := s.ExecContext(t.ctx, bound)
	return err
}
