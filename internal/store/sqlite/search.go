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
		deadline: s.opts.Now().Add(store.MaxScan), now: s.opts.Now, subject: strings.ToLower(q.Subject), sender: strings.ToLower(q.Sender),
	}
	x.path, x.key = accessPath(q)
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
	list := s.days.between(first, last)
	slices.Reverse(list)
	for _, d := range list {
		err := s.days.use(ctx, d.name, false, func(d *day) error { return x.searchDay(ctx, d) })
		if err != nil && !errors.Is(err, store.ErrNotFound) { // it may have expired meanwhile
			return store.SearchPage{}, err
		}
		if x.stopped {
			break
		}
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
	subject, sender string // in lower case
	limit           int
	from            mail.DeliveryID // ids from here, included …
	below           mail.DeliveryID // … to here, excluded; moves down
	now             func() time.Time
	deadline        time.Time

	found   []*store.Delivery
	stopped bool // the page is full or its time over
}

// accessPath returns the narrowest condition there is an index for.
func accessPath(q store.SearchQuery) (path string, key any) {
	switch {
	case !q.Message.IsZero():
		return "message = $1", q.Message[:]
	case q.RFC822ID != "":
		return "message IN (SELECT m.message FROM buckets b CROSS JOIN messages m WHERE m.bucket = b.bucket AND m.mhash = $1)", rows.HashText(q.RFC822ID)
	case q.Recipient != "":
		return "delivery IN (SELECT d.delivery FROM buckets b CROSS JOIN deliveries d WHERE d.bucket = b.bucket AND d.rhash = $1)", rows.HashText(q.Recipient)
	case q.Account != "":
		return "account = $1", q.Account
	}
	return "$1 = ''", ""
}

func (x *search) searchDay(ctx context.Context, d *day) error {
	for {
		if len(x.found) >= x.limit || !x.now().Before(x.deadline) {
			x.stopped = true
			return nil
		}
		// The chunk ends at the row so many places down; without one it goes to the end of the day.
		var floor []byte
		last := false
		err := d.db.row(ctx, "search", "SELECT delivery FROM deliveries WHERE "+x.path+
			" AND delivery < $2 AND delivery >= $3 ORDER BY delivery DESC LIMIT 1 OFFSET $4",
			[]any{x.key, x.below[:], x.from[:], searchChunk - 1}, &floor)
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
}

// chunk adds what matches among the ids below x.below down to floor.
func (x *search) chunk(ctx context.Context, d *day, floor []byte) error {
	q := &x.q
	var hits []mail.DeliveryID
	var id, recipient, sender, from, subject, tags sql.RawBytes
	err := d.db.query(ctx, "search", "SELECT delivery, recipient, sender, header_from, subject, tags FROM deliveries WHERE "+x.path+
		` AND delivery < $2 AND delivery >= $3 AND ($4 = '' OR account = $4) AND ($5 = '' OR stream = $5) AND ($6 = '' OR domain = $6)
		AND ($7 = '' OR state = $7) AND ($8 = '' OR class = $8) AND ($9 = '' OR route = $9) AND ($10 = '' OR source = $10)
		ORDER BY delivery DESC`,
		[]any{
			x.key, x.below[:], floor, q.Account, string(q.Stream), strings.ToLower(q.Domain), string(q.State), string(q.Class),
			q.Route, q.Source,
		},
		func(r rowScanner) error {
			if err := r.Scan(&id, &recipient, &sender, &from, &subject, &tags); err != nil {
				return err
			}
			if q.Recipient != "" && !strings.EqualFold(string(recipient), q.Recipient) ||
				x.subject != "" && !strings.Contains(strings.ToLower(string(subject)), x.subject) ||
				x.sender != "" && !isSender(x.sender, string(sender)) && !isSender(x.sender, string(from)) ||
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

// isSender reports whether the address is want, or of the domain want. want is in lower case.
func isSender(want, address string) bool {
	address = strings.ToLower(address)
	return address == want || address != "" && rows.DomainOf(address) == strings.TrimPrefix(want, "@")
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
