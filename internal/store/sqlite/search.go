package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
)

// searchChunk is how many summaries are gone through between two looks at the clock.
const searchChunk = 2000

// Search implements store.Record.
func (s *Store) Search(ctx context.Context, q store.SearchQuery) (store.SearchPage, error) {
	if err := s.ready(); err != nil {
		return store.SearchPage{}, err
	}
	below, err := parseSearchCursor(q.Cursor)
	if err != nil {
		return store.SearchPage{}, err
	}
	if !q.To.IsZero() {
		if to := lowestID(q.To); slices.Compare(to[:], below[:]) < 0 {
			below = to
		}
	}
	x := &search{
		q: q, limit: store.PageSize(q.Max), below: below, from: lowestID(q.From),
		deadline: s.opts.Now().Add(store.MaxScan), now: s.opts.Now, subject: strings.ToLower(q.Subject), sender: mail.Fold(q.Sender),
	}
	x.path, x.key, x.byRecipient = accessPath(q)
	first := dayName(x.from.Time())
	last := "~" // above every day
	if below != highestID {
		t := below.Time()
		if below == lowestID(t) {
			t = t.Add(-time.Millisecond) // nothing of that millisecond is below it, nor of that day if it is its first
		}
		last = dayName(t)
	}
	if !q.Message.IsZero() {
		around := q.Message.Time()
		first, last = max(first, dayName(around.Add(-24*time.Hour))), min(last, dayName(around.Add(24*time.Hour)))
	}
	days := s.days.newestFirst(first, last)
	if x.byRecipient {
		days = s.days.canHave(days, x.key.(int64))
	}
	err = s.days.each(ctx, days, func(d *day) error {
		if err := x.searchDay(ctx, d); err != nil || !x.stopped {
			return err
		}
		return errStop
	})
	if err != nil {
		return store.SearchPage{}, err
	}
	page := store.SearchPage{Deliveries: x.found}
	if x.stopped {
		page.Next, page.SearchedTo = searchCursor(x.below), x.below.Time()
	}
	return page, nil
}

// search is one page in the making.
type search struct {
	q               store.SearchQuery
	path            string // condition on $1 an index answers
	key             any    // $1
	byRecipient     bool   // the index is the recipients'; $2 and $3 are the first and the last bucket to look in
	first, last     int64
	subject, sender string // in lower case
	limit           int
	from            mail.DeliveryID // ids from here, included …
	below           mail.DeliveryID // … to here, excluded; moves down
	now             func() time.Time
	deadline        time.Time

	found   []*store.Delivery
	stopped bool // the page is full or its time over
}

// accessPath returns the narrowest condition there is an index for, and whether that is the recipients'.
func accessPath(q store.SearchQuery) (path string, key any, byRecipient bool) {
	switch {
	case !q.Message.IsZero():
		return "message = $1", q.Message[:], false
	case q.RFC822ID != "":
		return "message IN (SELECT m.message FROM " + ofMessageID + ")", rows.HashText(q.RFC822ID), false
	case q.Recipient != "":
		return "delivery IN (SELECT d.delivery FROM " + ofRecipient + ")", rows.HashText(q.Recipient), true
	case q.Account != "":
		return "account = $1", q.Account, false
	}
	return "$1 = ''", "", false
}

// ofRecipient are the deliveries to the recipient with the hash $1, as far as they lie in the buckets from $2 to $3.
const ofRecipient = "buckets b CROSS JOIN deliveries d WHERE b.bucket >= $2 AND b.bucket <= $3 AND d.bucket = b.bucket AND d.rhash = $1"

// ofMessageID are the messages with the Message-ID that has the hash $1.
const ofMessageID = "buckets b CROSS JOIN messages m WHERE m.bucket = b.bucket AND m.mhash = $1"

// enough notes whether the page is full or its time over.
func (x *search) enough() bool {
	x.stopped = len(x.found) >= x.limit || !x.now().Before(x.deadline)
	return x.stopped
}

func (x *search) searchDay(ctx context.Context, d *day) error {
	if x.byRecipient && !x.enough() {
		in, err := d.bucketsOf(ctx, x.key.(int64))
		if err != nil {
			return err
		}
		if in.none() {
			x.below = d.lowest()
			return nil
		}
		x.first, x.last = in.first, in.last
	}
	if x.q.Message.IsZero() && x.q.RFC822ID != "" && !x.enough() {
		// Asking all buckets is what takes time, and nearly every day has no such message: it is asked once here, not twice below.
		err := d.db.row(ctx, "search", "SELECT m.mhash FROM "+ofMessageID+" LIMIT 1", []any{x.key}, new(int64))
		switch {
		case errors.Is(err, store.ErrNotFound):
			x.below = d.lowest()
			return nil
		case err != nil:
			return err
		}
	}
	for !x.enough() {
		// The chunk ends at the row so many places down; without one it goes to the end of the day.
		var floor []byte
		last := false
		err := d.db.row(ctx, "search", "SELECT delivery FROM deliveries WHERE "+x.path+
			" AND delivery < $4 AND delivery >= $5 ORDER BY delivery DESC LIMIT 1 OFFSET $6",
			[]any{x.key, x.first, x.last, x.below[:], x.from[:], searchChunk - 1}, &floor)
		switch {
		case errors.Is(err, store.ErrNotFound):
			last, floor = true, x.from[:]
		case err != nil:
			return err
		}
		if err := x.chunk(ctx, d, floor); err != nil || x.stopped {
			return err
		}
		if last {
			x.below = d.lowest() // the next day begins below it
			return nil
		}
		x.below = mail.DeliveryID(floor)
	}
	return nil
}

// chunk adds what matches among the ids below x.below down to floor.
func (x *search) chunk(ctx context.Context, d *day, floor []byte) error {
	q := &x.q
	var hits []mail.DeliveryID
	var id, recipient, sender, from, subject, tags, host sql.RawBytes
	err := d.db.query(ctx, "search", "SELECT delivery, recipient, sender, header_from, subject, tags, mx FROM deliveries WHERE "+x.path+
		` AND delivery < $4 AND delivery >= $5 AND ($6 = '' OR account = $6) AND ($7 = '' OR stream = $7) AND ($8 = '' OR domain = $8)
		AND ($9 = '' OR state = $9) AND ($10 = '' OR class = $10) AND ($11 = '' OR route = $11) AND ($12 = '' OR source = $12)
		ORDER BY delivery DESC`,
		[]any{
			x.key, x.first, x.last, x.below[:], floor, q.Account, string(q.Stream), strings.ToLower(q.Domain), string(q.State), string(q.Class),
			q.Route, q.Source,
		},
		func(r rowScanner) error {
			if err := r.Scan(&id, &recipient, &sender, &from, &subject, &tags, &host); err != nil {
				return err
			}
			if q.Recipient != "" && !mail.SameMailbox(string(recipient), q.Recipient) ||
				x.subject != "" && !strings.Contains(strings.ToLower(string(subject)), x.subject) ||
				x.sender != "" && !isSender(x.sender, string(sender)) && !isSender(x.sender, string(from)) ||
				len(q.Hosts) > 0 && !isHost(q.Hosts, string(host)) ||
				q.Tag != "" && !slices.Contains(strings.Split(string(tags), tagSeparator), q.Tag) {
				return nil
			}
			hits = append(hits, mail.DeliveryID(id))
			if len(x.found)+len(hits) == x.limit {
				return errStop
			}
			return nil
		})
	if err != nil {
		return err
	}
	for _, id := range hits {
		found, err := d.delivery(ctx, id)
		if err != nil {
			return err
		}
		x.found = append(x.found, found)
		x.below = id
	}
	x.stopped = len(x.found) >= x.limit
	return nil
}

// isSender reports whether the address is want, or of the domain want. want is folded (mail.Fold).
func isSender(want, address string) bool {
	address = mail.Fold(address)
	return address == want || address != "" && rows.DomainOf(address) == strings.TrimPrefix(want, "@")
}

// isHost reports whether the host is one of the wanted, or below one that begins with a dot.
func isHost(wanted []string, host string) bool {
	for _, w := range wanted {
		if strings.EqualFold(host, w) || strings.HasPrefix(w, ".") && len(host) > len(w) && strings.EqualFold(host[len(host)-len(w):], w) {
			return true
		}
	}
	return false
}

// searchCursorVersion begins the 17 octets of a search cursor.
const searchCursorVersion = 2

func searchCursor(below mail.DeliveryID) string {
	return store.EncodeCursor(append([]byte{searchCursorVersion}, below[:]...))
}

func parseSearchCursor(text string) (mail.DeliveryID, error) {
	if text == "" {
		return highestID, nil
	}
	b, err := store.DecodeCursor(text)
	if err != nil || len(b) != 17 || b[0] != searchCursorVersion {
		return mail.DeliveryID{}, fmt.Errorf("%w: %.60q", store.ErrBadCursor, text)
	}
	return mail.DeliveryID(b[1:]), nil
}
