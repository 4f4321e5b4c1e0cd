package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
)

// Stats implements store.Record. An hour's counts lie in the file of each day whose deliveries had events in it; they
// are summed here.
func (s *Store) Stats(ctx context.Context, q store.StatsQuery) ([]store.StatsRow, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	query, args, err := statsQuery(q)
	if err != nil {
		return nil, err
	}
	lo, hi := rows.HourOf(q.From), rows.HourOf(q.To.Add(time.Hour-1))
	if wholeDays(q.Of) {
		lo, hi = lo.Day(), (hi-1).Day()+rows.Hour(24)
	}
	args[0], args[1] = int64(lo), int64(hi)
	days := s.days.withHours(lo, hi)
	if q.Of.Cohort() { // what was accepted on a day lies in the day's own file
		days = s.days.between(dayName(lo.Time()), dayName((hi - 1).Time()))
	}
	type sum struct {
		n, delay int64
	}
	sums := map[store.StatsRow]sum{}
	err = s.days.each(ctx, days, func(d *day) error {
		return d.db.query(ctx, "read statistics", query, args, func(r rowScanner) error {
			var key store.StatsRow
			var hour rows.Hour
			var v sum
			dest := []any{&hour}
			for _, dim := range q.By {
				dest = append(dest, field(&key, dim))
			}
			if err := r.Scan(append(dest, &v.n, &v.delay)...); err != nil {
				return err
			}
			switch q.Step {
			case store.StepHour:
				key.Time = hour.Time()
			case store.StepDay:
				key.Time = hour.Time().Truncate(24 * time.Hour)
			}
			if v.n == 0 {
				return nil // a sum over nothing
			}
			have := sums[key]
			sums[key] = sum{have.n + v.n, have.delay + v.delay}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	list := make([]store.StatsRow, 0, len(sums))
	for row, v := range sums {
		row.Count, row.Delay = v.n, time.Duration(v.delay)*time.Microsecond
		list = append(list, row)
	}
	slices.SortFunc(list, func(a, b store.StatsRow) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Stream, b.Stream),
			cmp.Compare(a.Receiver, b.Receiver), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Route, b.Route),
			cmp.Compare(a.Source, b.Source), cmp.Compare(a.Sender, b.Sender), cmp.Compare(a.Domain, b.Domain),
			cmp.Compare(a.Type, b.Type), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Class, b.Class),
			cmp.Compare(a.Mark, b.Mark), cmp.Compare(a.Within, b.Within))
	})
	return list, nil
}

// wholeDays reports whether the question's rows are of whole days, under the day's first hour.
func wholeDays(q store.Question) bool { return q.Cohort() && q != store.PerOutcome }

// statsQuery returns the SQL; its first two arguments are the hours. Names of columns are those of the dimensions, and
// only the question's own are let through.
func statsQuery(q store.StatsQuery) (query string, args []any, err error) {
	known := q.Of.Dimensions()
	if known == nil {
		return "", nil, fmt.Errorf("%w: no question %.20q", store.ErrBadQuery, q.Of)
	}
	switch q.Step {
	case store.StepTotal, store.StepHour, store.StepDay:
	default:
		return "", nil, fmt.Errorf("%w: no step %.20q", store.ErrBadQuery, q.Step)
	}
	var group []string
	for _, dim := range q.By {
		if !slices.Contains(known, dim) {
			return "", nil, fmt.Errorf("%w: %s cannot be asked by %.20q", store.ErrBadQuery, q.Of, dim)
		}
		group = append(group, string(dim))
	}
	for dim := range q.Where {
		if !slices.Contains(known, dim) {
			return "", nil, fmt.Errorf("%w: %s knows no %.20q", store.ErrBadQuery, q.Of, dim)
		}
	}
	hour := "0"
	if q.Step != store.StepTotal {
		hour = "hour"
		group = append([]string{hour}, group...)
	}
	var b strings.Builder
	b.WriteString("SELECT " + hour)
	for _, dim := range q.By {
		b.WriteString(", " + string(dim))
	}
	fmt.Fprintf(&b, ", coalesce(sum(n), 0), coalesce(sum(delay), 0) FROM rollup_%s WHERE hour >= $1 AND hour < $2", q.Of)
	args = make([]any, 2)
	for _, dim := range known { // in a fixed order, for few different texts
		if v, ok := q.Where[dim]; ok {
			args = append(args, v)
			fmt.Fprintf(&b, " AND %s = $%d", dim, len(args))
		}
	}
	if len(group) > 0 {
		b.WriteString(" GROUP BY " + strings.Join(group, ", "))
	}
	return b.String(), args, nil
}

// field returns where a dimension's value goes.
func field(r *store.StatsRow, dim store.Dimension) any {
	switch dim {
	case store.ByAccount:
		return &r.Account
	case store.ByStream:
		return (*string)(&r.Stream)
	case store.ByType:
		return (*string)(&r.Type)
	case store.ByClass:
		return (*string)(&r.Class)
	case store.ByReceiver:
		return &r.Receiver
	case store.BySite:
		return &r.Site
	case store.ByRoute:
		return &r.Route
	case store.BySender:
		return &r.Sender
	case store.ByDomain:
		return &r.Domain
	case store.ByOutcome:
		return (*string)(&r.Outcome)
	case store.ByMark:
		return (*string)(&r.Mark)
	case store.BySpeed:
		return &r.Within
	}
	return &r.Source
}
