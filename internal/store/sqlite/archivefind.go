package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// FindArchived implements store.Archive.
func (a *Archive) FindArchived(ctx context.Context, q store.ArchiveQuery) (page store.ArchivePage, err error) {
	if q.Account == "" {
		return page, fmt.Errorf("sqlite: search archive: %w: it is searched account by account", store.ErrBadQuery)
	}
	x := archiveSearch{q: q, limit: store.PageSize(q.Max), sender: mail.Fold(q.Sender), now: a.o.Now}
	x.deadline = x.now().Add(store.MaxScan)
	first := ""
	if q.Cursor != "" {
		b, err := store.DecodeCursor(q.Cursor)
		if err != nil || len(b) != len(x.after) {
			return page, store.ErrBadCursor
		}
		copy(x.after[:], b)
	}
	if from := mail.MessageID(lowestID(q.From)); !q.From.IsZero() && bytes.Compare(from[:], x.after[:]) > 0 {
		x.after = from
	}
	if x.after != (mail.MessageID{}) {
		first = dayName(x.after.Time())
	}
	last := "~"
	if !q.To.IsZero() {
		last = dayName(q.To)
	}
	for i, n := range a.files.names(q.Account, first, last) {
		if i > 0 && x.now().After(x.deadline) { // to open a file takes time too, whatever it holds
			day, err := time.Parse(dayLayout, n.Day)
			if err != nil {
				return store.ArchivePage{}, fmt.Errorf("sqlite: search archive: %w", err) // never: files are named by dayName
			}
			x.after = mail.MessageID(lowestID(day))
			x.page.Next = store.EncodeCursor(x.after[:])
			break
		}
		err := a.use(ctx, n, func(d *database, s *sealer) error { return x.file(ctx, d, s) })
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return store.ArchivePage{}, err
		}
		if x.stopped {
			x.page.Next = store.EncodeCursor(x.after[:])
			break
		}
	}
	return x.page, nil
}

// archiveSearch is one page being found.
type archiveSearch struct {
	q        store.ArchiveQuery
	limit    int
	after    mail.MessageID // everything up to it has been looked at
	sender   string
	deadline time.Time
	now      func() time.Time
	page     store.ArchivePage
	looked   int
	stopped  bool
}

func (x *archiveSearch) file(ctx context.Context, d *database, s *sealer) error {
	// With a lower bound that is not an id of a message, the id itself would be left out by "greater than"; ids have
	// random octets behind the time, so none is equal to it.
	query, args := "SELECT message, about FROM messages WHERE message > $1 ORDER BY message", []any{x.after[:]}
	if x.q.Recipient != "" {
		query = "SELECT message, about FROM messages WHERE message > $1 AND message IN (SELECT message FROM recipients WHERE rhash = $2) ORDER BY message"
		args = append(args, s.recipient(x.q.Recipient))
	}
	return d.query(ctx, "search archive", query, args, func(r rowScanner) error {
		if len(x.page.Messages) == x.limit || x.looked > 0 && x.now().After(x.deadline) {
			x.stopped = true
			return errStop
		}
		var id mail.MessageID
		var key, sealed []byte
		if err := r.Scan(&key, &sealed); err != nil {
			return err
		}
		copy(id[:], key)
		if !x.q.To.IsZero() && !id.Time().Before(x.q.To) {
			return errStop
		}
		x.after = id
		x.looked++
		m, err := s.about(id, sealed)
		if err != nil {
			return err
		}
		if x.sender != "" && !isSender(x.sender, m.Message.From.String()) && !isSender(x.sender, m.Message.HeaderFrom) {
			return nil
		}
		x.page.Messages = append(x.page.Messages, m)
		return nil
	})
}
