package sqlite

import (
	"context"
	"database/sql"
	"math"
	"slices"
)

// filterRoom is how many octets of filters are kept in memory: 90 days of 370,000 deliveries. Those of other days are read by
// the page, which takes some 50 us a day.
const filterRoom = 64 << 20

// filter is one in a file: the buckets it covers, and where its pages are.
type filter struct{ first, last, page, pages int64 }

const selectFilters = "SELECT first_bucket, last_bucket, first_page, pages FROM filters ORDER BY first_bucket"

func scanFilters(list *[]filter) func(rowScanner) error {
	return func(r rowScanner) error {
		var f filter
		err := r.Scan(&f.first, &f.last, &f.page, &f.pages)
		*list = append(*list, f)
		return err
	}
}

// filterQuery reads, at one moment of the file, what is to be known of one hash: of each filter the block it belongs to,
// and the file's last bucket. $1 is the hash's place. (blockOf: 63 blocks of 64 octets a page.)
const filterQuery = `SELECT f.first_bucket, f.last_bucket, substr(p.bits, 1 + ($1 * f.pages * 63 >> 32) % 63 * 64, 64)
	FROM filters f LEFT JOIN filter_pages p ON p.page = f.first_page + ($1 * f.pages >> 32)
	UNION ALL SELECT max(bucket), -1, NULL FROM buckets`

// reach is in which buckets there can be deliveries to a recipient, as filters tell one after the other, in order.
// Buckets without a filter can always have some.
type reach struct {
	first, last int64 // last < first: in none
	next        int64 // the first bucket no filter was asked of yet
}

func (x *reach) none() bool { return x.last < x.first }

func newReach() reach { return reach{first: math.MaxInt64, last: -1} }

func (x *reach) can(first, last int64) {
	if first <= last {
		x.first, x.last = min(x.first, first), max(x.last, last)
	}
}

// filter notes what a filter of these buckets says.
func (x *reach) filter(first, last int64, has bool) {
	x.can(x.next, first-1)
	if has {
		x.can(first, last)
	}
	x.next = max(x.next, last+1)
}

// end notes which is the last bucket of all.
func (x *reach) end(last int64) { x.can(x.next, last) }

// bucketsOf returns in which buckets there can be deliveries to the recipient with this hash.
func (d *day) bucketsOf(ctx context.Context, rhash int64) (reach, error) {
	x, end := newReach(), int64(-1)
	err := d.db.query(ctx, "ask filters", filterQuery, []any{hashPlace(rhash)}, func(r rowScanner) error {
		var first sql.NullInt64
		var last int64
		var block sql.RawBytes
		if err := r.Scan(&first, &last, &block); err != nil {
			return err
		}
		if last < 0 {
			if first.Valid {
				end = first.Int64
			}
			return nil
		}
		x.filter(first.Int64, last, len(block) != blockOctets || hasBits(block, rhash))
		return nil
	})
	x.end(end)
	return x, err
}

// filters returns the filters of a day, and its last bucket, -1: it has none.
func (d *day) filters(ctx context.Context) (list []filter, last int64, err error) {
	if err := d.db.query(ctx, "read filters", selectFilters, nil, scanFilters(&list)); err != nil {
		return nil, 0, err
	}
	err = d.db.row(ctx, "read buckets", "SELECT coalesce(max(bucket), -1) FROM buckets", nil, &last)
	return list, last, err
}

// loadFilters reads all filters of a day; nil: they are too large, or not whole.
func (d *day) loadFilters(ctx context.Context) (*filterMemory, error) {
	list, last, err := d.filters(ctx)
	m := &filterMemory{filters: list, last: last}
	pages := int64(0)
	for _, f := range list {
		pages += f.pages
	}
	if err != nil || pages*pageOctets > filterRoom {
		return nil, err
	}
	for _, f := range list {
		b := &bloom{pages: f.pages, bits: make([]byte, 0, f.pages*pageOctets)}
		err := d.db.query(ctx, "load filter", "SELECT bits FROM filter_pages WHERE page >= $1 AND page < $2 ORDER BY page", []any{f.page, f.page + f.pages}, func(r rowScanner) error {
			var page sql.RawBytes
			err := r.Scan(&page)
			b.bits = append(b.bits, page...)
			return err
		})
		if err != nil || int64(len(b.bits)) != f.pages*pageOctets {
			return nil, err
		}
		m.blooms = append(m.blooms, b)
	}
	return m, nil
}

// filterMemory are the filters of a day in memory, and its last bucket.
type filterMemory struct {
	filters []filter
	blooms  []*bloom
	last    int64
}

func (m *filterMemory) bucketsOf(rhash int64) reach {
	x := newReach()
	for i, f := range m.filters {
		x.filter(f.first, f.last, m.blooms[i].has(rhash))
	}
	x.end(m.last)
	return x
}

func (m *filterMemory) octets() (n int) {
	for _, b := range m.blooms {
		n += len(b.bits)
	}
	return n
}

// canHave returns the days whose filters, as far as they are in memory, do not rule out the recipient with this hash.
func (c *days) canHave(list []*day, rhash int64) []*day {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(list, func(d *day) bool {
		if d.memory == nil {
			return false
		}
		in := d.memory.bucketsOf(rhash)
		return in.none()
	})
}

// forgetFilters notes that a day's filters, or what they are of, are not any more as they were.
func (c *days) forgetFilters(d *day) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.filtered, d.memory = false, nil
}

// beginFilters notes that a day gets its filters: before it is looked at, so that what changes meanwhile is seen by remember.
func (c *days) beginFilters(d *day) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.filtered = true
}

// remember keeps filters in memory, if they are still those of the file; the oldest days make room.
func (c *days) remember(d *day, m *filterMemory) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !d.filtered {
		return
	}
	d.memory = m
	for {
		n := 0
		var oldest *day
		for _, x := range c.byName {
			if x.memory != nil {
				if n += x.memory.octets(); oldest == nil || x.name < oldest.name {
					oldest = x
				}
			}
		}
		if n <= filterRoom {
			return
		}
		oldest.memory = nil
	}
}
