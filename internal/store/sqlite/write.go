package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
)

// WriteEvents implements store.Recorder. Each day touched is one transaction that also moves that file's own mark;
// when all are done the watermark follows. Stopped anywhere between, the same events come again and each file skips
// what it has.
func (s *Store) WriteEvents(ctx context.Context, spool mail.SpoolID, upTo uint64, events []*mail.Event) (err error) {
	if err := s.ready(); err != nil {
		return err
	}
	if err := checkEvents(spool, upTo, events); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.tail.failed(spool)
		}
	}()
	if grow := s.opts.MayGrow; grow != nil && len(events) > 0 {
		if err := grow(); err != nil {
			return fmt.Errorf("sqlite: write events: %w: %w", store.ErrUnavailable, err)
		}
	}
	names, byDay := groupByDay(events)
	for _, name := range names {
		if err := s.step("before day"); err != nil {
			return err
		}
		if err := s.days.use(ctx, name, true, func(d *day) error { return s.writeDay(ctx, d, spool, upTo, byDay[name]) }); err != nil {
			return err
		}
		if err := s.days.wroteTo(ctx, name); err != nil {
			return err
		}
	}
	if err := s.step("before watermark"); err != nil {
		return err
	}
	err = s.platform.write(ctx, "move watermark", func(t *tx) error {
		_, err := t.exec(`INSERT INTO watermarks (spool, seq) VALUES ($1, $2)
			ON CONFLICT (spool) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > watermarks.seq`, int64(spool), int64(upTo))
		if err != nil {
			return err
		}
		if err := t.putResends(events); err != nil {
			return err
		}
		return s.step("in watermark")
	})
	if err != nil {
		return err
	}
	before, _ := s.progress.get(spool)
	s.tail.wrote(spool, before, upTo, events)
	s.progress.publish(spool, upTo)
	return s.step("after watermark")
}

// checkEvents refuses what would break the order the record rests on; only a fault of the caller can bring it about.
func checkEvents(spool mail.SpoolID, upTo uint64, events []*mail.Event) error {
	if upTo > math.MaxInt64 {
		return fmt.Errorf("sqlite: write events: sequence %d is too large", upTo)
	}
	var last uint64
	for _, e := range events {
		if e.ID.Spool != spool || e.ID.Seq <= last || e.ID.Seq > upTo {
			return fmt.Errorf("sqlite: write events: event %d of spool %s is out of order (after %d, up to %d of spool %s)",
				e.ID.Seq, e.ID.Spool, last, upTo, spool)
		}
		last = e.ID.Seq
	}
	return nil
}

// groupByDay returns the events of each day in their order, and the days, oldest first.
func groupByDay(events []*mail.Event) (names []string, byDay map[string][]*mail.Event) {
	byDay = map[string][]*mail.Event{}
	var lastDay int64 = math.MinInt64
	var name string
	for _, e := range events {
		at := e.At
		if !e.Delivery.IsZero() {
			at = e.Delivery.Time()
		}
		if n := at.Unix() / (24 * 3600); n != lastDay {
			lastDay, name = n, dayName(at)
		}
		byDay[name] = append(byDay[name], e)
	}
	for name := range byDay {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, byDay
}

// writeDay applies the events of one day that its file does not have yet.
func (s *Store) writeDay(ctx context.Context, d *day, spool mail.SpoolID, upTo uint64, events []*mail.Event) error {
	var hours [2]rows.Hour
	var grew bool
	err := d.db.write(ctx, "write events", func(t *tx) error {
		var applied int64
		err := t.row("SELECT seq FROM applied WHERE spool = $1", []any{int64(spool)}, &applied)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		n, _ := slices.BinarySearchFunc(events, uint64(applied)+1, func(e *mail.Event, seq uint64) int {
			if e.ID.Seq < seq {
				return -1
			}
			return 1
		})
		if events = events[n:]; len(events) == 0 {
			return nil
		}
		before, err := deliveriesBefore(t, events)
		if err != nil {
			return err
		}
		batch := rows.Fold(events, before)
		grew, err = putRows(t, events, batch, before)
		if err != nil {
			return err
		}
		if err := s.step("in day"); err != nil {
			return err
		}
		if err := putRollups(t, d, batch); err != nil {
			return err
		}
		hours[0], hours[1] = batch.Accounts[0].Hour, batch.Accounts[len(batch.Accounts)-1].Hour
		_, err = t.exec(`INSERT INTO applied (spool, seq, first_seq, last_seq) VALUES ($1, $2, $3, $4)
			ON CONFLICT (spool) DO UPDATE SET seq = excluded.seq, last_seq = excluded.last_seq`,
			int64(spool), int64(upTo), int64(events[0].ID.Seq), int64(events[len(events)-1].ID.Seq))
		if err != nil {
			return err
		}
		return s.step("before day commit")
	})
	if err != nil {
		clear(d.sites) // it may name sites of rows that were rolled back
		clear(d.kept)
		d.names = 0
		return err
	}
	if len(events) > 0 {
		s.days.note(d, spool, span{events[0].ID.Seq, events[len(events)-1].ID.Seq}, hours[0], hours[1])
		if grew {
			s.days.forgetFilters(d)
		}
	}
	return nil
}

var (
	insertEvents = newMulti("events", "delivery, spool, seq, type, account, data", "")

	insertMessages = newMulti("messages", "message, bucket, mhash, data", "ON CONFLICT (message) DO NOTHING")

	insertDeliveries = newMulti("deliveries", deliveryColumns, `ON CONFLICT (delivery) DO UPDATE SET
		known = CASE WHEN excluded.known > 0 THEN 1 ELSE deliveries.known END,
		`+setWhere("excluded.known > 0", "stream", "sender", "header_from", "subject", "tags")+`,
		`+setWhere("excluded.rank >= deliveries.rank", "rank", "state", "class", "scope", "reason", "next_at", "updated_at")+`,
		`+setWhere("excluded.rank >= deliveries.rank AND (excluded.code > 0 OR excluded.reply <> '')", "code", "enhanced", "reply")+`,
		`+setWhere("excluded.rank >= deliveries.rank AND excluded.route <> ''", "route", "source", "mx")+`,
		`+setWhere("excluded.attempts > deliveries.attempts", "attempts")+`,
		marks = deliveries.marks | excluded.marks`)
)

// deliveryColumns in the order putRows writes and scanDelivery reads them.
const deliveryColumns = "delivery, message, account, bucket, rhash, recipient, domain, known, stream, sender, header_from, subject, tags, " +
	"rank, state, class, scope, code, enhanced, reply, reason, route, source, mx, next_at, updated_at, attempts, marks"

// setWhere returns assignments that take the new value where cond holds and keep the old one elsewhere.
func setWhere(cond string, columns ...string) string {
	var b strings.Builder
	for i, c := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s = CASE WHEN %s THEN excluded.%s ELSE deliveries.%s END", c, cond, c, c)
	}
	return b.String()
}

// putRows writes events, messages and summaries. grew reports that deliveries were added to a bucket.
func putRows(t *tx, events []*mail.Event, batch *rows.Batch, before map[mail.DeliveryID]rows.Before) (grew bool, err error) {
	args := make([]any, 0, max(len(events)*insertEvents.cols, len(batch.Messages)*insertMessages.cols, len(batch.Summaries)*insertDeliveries.cols))
	buf := make([]byte, 0, 1024)
	for _, e := range events {
		buf = rows.AppendEvent(buf[:0], e)
		args = append(args, e.Delivery[:], int64(e.ID.Spool), int64(e.ID.Seq), string(e.Type), e.Account, string(buf))
	}
	if err := insertEvents.exec(t, args); err != nil {
		return false, err
	}
	added := 0
	for _, x := range batch.Summaries {
		if _, ok := before[x.ID]; !ok {
			added++
		}
	}
	var bucket int64 // rows that are there keep theirs
	if added > 0 || len(batch.Messages) > 0 {
		if bucket, err = nextBucket(t, added); err != nil {
			return false, err
		}
	}
	args = args[:0]
	for _, m := range batch.Messages {
		buf = rows.AppendMessage(buf[:0], m)
		args = append(args, m.ID[:], bucket, rows.HashText(m.RFC822ID), string(buf))
	}
	if err := insertMessages.exec(t, args); err != nil {
		return false, err
	}
	args = args[:0]
	for _, x := range batch.Summaries {
		known := int64(0)
		if x.Known {
			known = 1
		}
		args = append(args, x.ID[:], x.Message[:], x.Account, bucket, rows.HashText(x.Recipient), x.Recipient, x.Domain,
			known, string(x.Stream), x.Sender, x.HeaderFrom, x.Subject, strings.Join(x.Tags, tagSeparator),
			int64(x.Rank), string(x.State), string(x.Class), string(x.Scope), int64(x.Code), x.Enhanced, x.Reply, x.Reason,
			x.Route, x.Source, x.Host, micros(x.Next), micros(x.Updated), int64(x.Attempts), x.Bits)
	}
	return added > 0, insertDeliveries.exec(t, args)
}

// tagSeparator stands between tags in their column; it cannot be part of one.
const tagSeparator = "\n"

// bucketSize is how many deliveries share a bucket, but for the last batch: few enough that a batch puts many entries
// on each page of the bucket's part of an index, and not so few that ten million deliveries make slow look-ups.
const bucketSize = 8192

// nextBucket returns the bucket n new deliveries go to.
func nextBucket(t *tx, n int) (bucket int64, err error) {
	var filled int64
	err = t.row("SELECT bucket, filled FROM buckets ORDER BY bucket DESC LIMIT 1", nil, &bucket, &filled)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return 0, err
	case filled >= bucketSize:
		bucket++
	}
	_, err = t.exec(`INSERT INTO buckets (bucket, filled) VALUES ($1, $2)
		ON CONFLICT (bucket) DO UPDATE SET filled = buckets.filled + excluded.filled`, bucket, int64(n))
	return bucket, err
}
