package sqlite

import "strings"

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

// exec writes rows given flat in args, in statements of 32, 16, 8, 4, 2 and 1 rows.
func (m *multi) exec(t *tx, args []any) error {
	for n := multiRows; n > 0; n /= 2 {
		for size := n * m.cols; len(args) >= size; args = args[size:] {
			if _, err := t.exec(m.text[n], args[:size]...); err != nil {
				return err
			}
		}
	}
	return nil
}
