package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
)

// countTable is a table of rows.Count: of and what are its columns for Count.Of and Count.What.
type countTable struct {
	table, of, what string
	class           bool
	add             *multi
	// max is how many values of the of column an account has apart in an hour, the rest being other; 0: any number.
	max   int
	other string
}

func newCountTable(c countTable) *countTable {
	key := "hour, account, " + c.of + ", " + c.what
	if c.class {
		key += ", class"
	}
	c.add = newMulti(c.table, key+", n, delay", "ON CONFLICT ("+key+") DO UPDATE SET n = "+c.table+".n + excluded.n, delay = "+
		c.table+".delay + excluded.delay")
	return &c
}

var (
	countSenders = newCountTable(countTable{
		table: "rollup_sender", of: "sender", what: "type", class: true, max: store.MaxSenders, other: store.OtherSenders,
	})
	countOutcomes       = newCountTable(countTable{table: "rollup_outcome", of: "stream", what: "outcome", class: true})
	countSenderOutcomes = newCountTable(countTable{
		table: "rollup_sender_outcome", of: "sender", what: "outcome", class: true, max: store.MaxSenders, other: store.OtherSenders,
	})
	countDomainOutcomes = newCountTable(countTable{
		table: "rollup_domain_outcome", of: "domain", what: "outcome", class: true, max: store.MaxDomains, other: store.OtherDomains,
	})
	countMarks  = newCountTable(countTable{table: "rollup_mark", of: "stream", what: "mark"})
	countSpeeds = newCountTable(countTable{table: "rollup_speed", of: "stream", what: "within"})
)

// putCounts adds the batch's counts of senders and outcomes.
func putCounts(t *tx, d *day, c *rows.Counts) error {
	for _, x := range []struct {
		table *countTable
		list  []rows.Count
	}{
		{countSenders, c.Senders},
		{countOutcomes, c.Outcomes},
		{countSenderOutcomes, c.SenderOutcomes},
		{countDomainOutcomes, c.DomainOutcomes},
		{countMarks, c.Marks},
		{countSpeeds, c.Speeds},
	} {
		if err := x.table.put(t, d, x.list); err != nil {
			return err
		}
	}
	return nil
}

func (c *countTable) put(t *tx, d *day, list []rows.Count) (err error) {
	if c.max > 0 {
		if list, err = c.cap(t, d, list); err != nil {
			return err
		}
	}
	args := make([]any, 0, len(list)*c.add.cols)
	for _, r := range list {
		args = append(args, int64(r.Hour), r.Account, r.Of, r.What)
		if c.class {
			args = append(args, string(r.Class))
		}
		args = append(args, r.N, r.Delay.Microseconds())
	}
	return c.add.exec(t, args)
}

// keptKey is what a cap holds for.
type keptKey struct {
	table   string
	hour    rows.Hour
	account string
}

// namesRemembered is how many domains counted apart a day keeps in memory from one batch to the next, for all accounts: some
// megabytes. Reading them again costs more than counting does, so it should hold those of an hour.
const namesRemembered = 1 << 16

// cap counts domains beyond the table's limit as one. Within a batch the busiest come first. A domain once counted apart
// stays so, and one counted with the others stays with them, for the set is full then: what a delivery is taken away
// from is what it was added to.
func (c *countTable) cap(t *tx, d *day, list []rows.Count) ([]rows.Count, error) {
	if d.names > namesRemembered {
		clear(d.kept)
		d.names = 0
	}
	type place struct {
		keptKey
		of string
	}
	load := map[place]int64{} // of those not counted apart yet
	for _, r := range list {
		k := keptKey{c.table, r.Hour, r.Account}
		known, err := c.known(t, d, k)
		if err != nil {
			return nil, err
		}
		if !known[r.Of] {
			load[place{k, r.Of}] += max(r.N, -r.N)
		}
	}
	order := make([]place, 0, len(load))
	for k := range load {
		order = append(order, k)
	}
	slices.SortFunc(order, func(a, b place) int {
		return cmp.Or(cmp.Compare(load[b], load[a]), cmp.Compare(a.hour, b.hour), cmp.Compare(a.account, b.account), cmp.Compare(a.of, b.of))
	})
	full := false
	for _, k := range order {
		known := d.kept[k.keptKey]
		if len(known) < c.max {
			known[k.of] = true
			d.names++
		}
		full = full || !known[k.of]
	}
	if !full {
		return list, nil
	}
	kept := list[:0:0]
	other := map[rows.CountKey]rows.Sum{}
	for _, r := range list {
		if d.kept[keptKey{c.table, r.Hour, r.Account}][r.Of] {
			kept = append(kept, r)
			continue
		}
		r.Of = c.other
		sum := other[r.CountKey]
		sum.N += r.N
		sum.Delay += r.Delay
		other[r.CountKey] = sum
	}
	for key, sum := range other {
		kept = append(kept, rows.Count{CountKey: key, Sum: sum})
	}
	return kept, nil
}

// known returns what is counted apart, from memory or from the file.
func (c *countTable) known(t *tx, d *day, k keptKey) (map[string]bool, error) {
	if known := d.kept[k]; known != nil {
		return known, nil
	}
	known := map[string]bool{}
	err := t.query("SELECT DISTINCT "+c.of+" FROM "+c.table+" WHERE hour = $1 AND account = $2 AND "+c.of+" <> $3",
		[]any{int64(k.hour), k.account, c.other}, into(known))
	if err != nil {
		return nil, err
	}
	d.kept[k] = known
	d.names += len(known) + 1
	return known, nil
}

// beforeRows is the most deliveries asked for in one statement.
const beforeRows = 32

// deliveriesBefore reads what the file says of the deliveries of a batch. Ids rise with time: those above every one of
// the file are new, and need not be looked for.
func deliveriesBefore(t *tx, events []*mail.Event) (map[mail.DeliveryID]rows.Before, error) {
	var highest []byte
	if err := t.row("SELECT delivery FROM deliveries ORDER BY delivery DESC LIMIT 1", nil, &highest); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		return nil, err
	}
	seen := make(map[mail.DeliveryID]bool, len(events))
	var ids []mail.DeliveryID
	for _, e := range events {
		if !e.Delivery.IsZero() && !seen[e.Delivery] && slices.Compare(e.Delivery[:], highest) <= 0 {
			seen[e.Delivery] = true
			ids = append(ids, e.Delivery)
		}
	}
	before := make(map[mail.DeliveryID]rows.Before, len(ids))
	for n := beforeRows; n > 0; n /= 2 {
		for ; len(ids) >= n; ids = ids[n:] {
			if err := readBefore(t, ids[:n], before); err != nil {
				return nil, err
			}
		}
	}
	return before, nil
}

func readBefore(t *tx, ids []mail.DeliveryID, into map[mail.DeliveryID]rows.Before) error {
	args := make([]any, len(ids))
	for i := range ids {
		args[i] = ids[i][:]
	}
	var id, state, class, from, sender sql.RawBytes
	var rank, marks int64
	return t.query("SELECT delivery, state, class, rank, marks, header_from, sender FROM deliveries WHERE delivery IN (?"+
		strings.Repeat(", ?", len(ids)-1)+")", args, func(r rowScanner) error {
		if err := r.Scan(&id, &state, &class, &rank, &marks, &from, &sender); err != nil {
			return err
		}
		into[mail.DeliveryID(id)] = rows.Before{
			State: store.State(state), Class: mail.Class(class), Rank: rows.Rank(rank), Bits: marks,
			Author: rows.AuthorDomain(string(from), string(sender)),
		}
		return nil
	})
}

// Failures implements store.Record. An index holds what failed and nothing else.
func (s *Store) Failures(ctx context.Context, q store.FailureQuery, fn func(*store.Failure) error) (more bool, err error) {
	if err := s.ready(); err != nil {
		return false, err
	}
	left := q.Max
	if left <= 0 || left > store.MaxFailures {
		left = store.MaxFailures
	}
	from, to := lowestID(q.From), highestID
	last := "~" // above every day
	if !q.To.IsZero() {
		to, last = lowestID(q.To), dayName(q.To.Add(-1))
	}
	whose, args := "", []any{from[:], to[:], 0}
	if q.Account != "" {
		whose, args = " AND account = $4", append(args, q.Account)
	}
	// The text of the index's condition must stand here as it does there.
	query := `SELECT delivery, account, domain, state, class, marks, code, enhanced, reply, mx FROM deliveries INDEXED BY deliveries_failed
		WHERE state IN ('bounced', 'expired', 'deferred') AND delivery >= $1 AND delivery < $2` + whose + ` ORDER BY delivery DESC LIMIT $3`
	err = s.days.each(ctx, s.days.newestFirst(dayName(from.Time()), last), func(d *day) error {
		var id sql.RawBytes
		var marks int64
		args[2] = left + 1
		err := d.db.query(ctx, "read failures", query, args, func(r rowScanner) error {
			if left == 0 {
				more = true
				return errStop
			}
			left--
			var x store.Failure
			if err := r.Scan(&id, &x.Account, &x.Domain, &x.State, &x.Class, &marks, &x.Code, &x.Enhanced, &x.Reply, &x.Host); err != nil {
				return err
			}
			x.Delivery, x.Late = mail.DeliveryID(id), marks&rows.MarkLate != 0
			return fn(&x)
		})
		if err == nil && more {
			return errStop
		}
		return err
	})
	return more, err
}
