package sqlite

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
)

// Message implements store.Record.
func (s *Store) Message(ctx context.Context, id mail.MessageID) (*mail.Message, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	var m *mail.Message
	err := s.days.each(ctx, s.daysOfMessage(id), func(d *day) (err error) {
		if m, err = d.message(ctx, id); err == nil {
			return errStop
		}
		return err
	})
	if err == nil && m == nil {
		err = fmt.Errorf("sqlite: message %s: %w", id, store.ErrNotFound)
	}
	return m, err
}

// daysOfMessage returns the days its deliveries can be of: ids of a message and of its deliveries are made within one
// submission, which may cross midnight.
func (s *Store) daysOfMessage(id mail.MessageID) []*day {
	at := id.Time()
	return s.days.between(dayName(at.Add(-24*time.Hour)), dayName(at.Add(24*time.Hour)))
}

func (d *day) message(ctx context.Context, id mail.MessageID) (*mail.Message, error) {
	var data []byte
	if err := d.db.row(ctx, "read message", "SELECT data FROM messages WHERE message = $1", []any{id[:]}, &data); err != nil {
		return nil, err
	}
	return rows.DecodeMessage(data)
}

// Delivery implements store.Record.
func (s *Store) Delivery(ctx context.Context, id mail.DeliveryID) (*store.Delivery, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	var found *store.Delivery
	err := s.days.use(ctx, dayName(id.Time()), false, func(d *day) (err error) {
		found, err = d.delivery(ctx, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sqlite: delivery %s: %w", id, err)
	}
	return found, nil
}

func (d *day) delivery(ctx context.Context, id mail.DeliveryID) (found *store.Delivery, err error) {
	err = d.db.query(ctx, "read delivery", "SELECT "+deliveryColumns+" FROM deliveries WHERE delivery = $1", []any{id[:]},
		func(r rowScanner) (err error) {
			found, err = scanDelivery(r)
			return err
		})
	if err == nil && found == nil {
		err = store.ErrNotFound
	}
	return found, err
}

// Deliveries implements store.Record.
func (s *Store) Deliveries(ctx context.Context, id mail.MessageID, after mail.DeliveryID, max int) ([]*store.Delivery, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	max = store.PageSize(max)
	var list []*store.Delivery
	err := s.days.each(ctx, s.daysOfMessage(id), func(d *day) error {
		err := d.db.query(ctx, "read deliveries", "SELECT "+deliveryColumns+` FROM deliveries
			WHERE message = $1 AND delivery > $2 ORDER BY delivery LIMIT $3`, []any{id[:], after[:], max - len(list)},
			func(r rowScanner) error {
				x, err := scanDelivery(r)
				list = append(list, x)
				return err
			})
		if err == nil && len(list) >= max {
			return errStop
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// scanDelivery reads the columns of deliveryColumns.
func scanDelivery(r rowScanner) (*store.Delivery, error) {
	var (
		x                          = new(store.Delivery)
		id, msg                    []byte
		tags                       string
		bucket, rhash, known, rank int64
		next, updated, marks, code int64
	)
	err := r.Scan(&id, &msg, &x.Account, &bucket, &rhash, &x.Recipient, &x.Domain, &known, &x.Stream, &x.Sender, &x.HeaderFrom, &x.Subject, &tags,
		&rank, &x.State, &x.Class, &x.Scope, &code, &x.Enhanced, &x.Reply, &x.Reason, &x.Route, &x.Source, &x.Host,
		&next, &updated, &x.Attempts, &marks)
	if err != nil {
		return nil, err
	}
	copy(x.ID[:], id)
	copy(x.Message[:], msg)
	if tags != "" {
		x.Tags = strings.Split(tags, tagSeparator)
	}
	x.Code = int(code)
	x.Created, x.Updated, x.Next = x.ID.Time(), fromMicros(updated), fromMicros(next)
	x.Marks = rows.MarksOf(marks)
	return x, nil
}

// eventColumns in the order scanEvent reads them.
const eventColumns = "e.delivery, e.spool, e.seq, e.type, e.account, e.data"

// rawEvent is an event's row.
type rawEvent struct {
	delivery      []byte
	spool, seq    int64
	kind, account string
	data          []byte
}

func scanEvent(r rowScanner) (x rawEvent, err error) {
	err = r.Scan(&x.delivery, &x.spool, &x.seq, &x.kind, &x.account, &x.data)
	return x, err
}

// decode makes an event of a row. The envelope of an accepted event comes from the day's messages.
func (x *rawEvent) decode(ctx context.Context, d *day, seen map[mail.MessageID]*mail.Message) (*mail.Event, error) {
	e := &mail.Event{
		ID:      mail.EventID{Spool: mail.SpoolID(x.spool), Seq: uint64(x.seq)},
		Type:    mail.EventType(x.kind),
		Account: x.account,
	}
	copy(e.Delivery[:], x.delivery)
	if err := rows.DecodeEvent(x.data, e); err != nil {
		return nil, err
	}
	if e.Type != mail.EventAccepted {
		return e, nil
	}
	m, ok := seen[e.Message]
	if !ok {
		var err error
		if m, err = d.message(ctx, e.Message); err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		seen[e.Message] = m
	}
	e.Envelope = m
	return e, nil
}

// Timeline implements store.Record.
func (s *Store) Timeline(ctx context.Context, id mail.DeliveryID) ([]*mail.Event, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	var list []*mail.Event
	err := s.days.use(ctx, dayName(id.Time()), false, func(d *day) (err error) {
		list, err = d.events(ctx, "SELECT "+eventColumns+" FROM events e WHERE e.delivery = $1 ORDER BY e.spool, e.seq", id[:])
		return err
	})
	if err == nil && len(list) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("sqlite: timeline of %s: %w", id, err)
	}
	// A report may have come in over another spool: then only the clock tells the order.
	if list[0].ID.Spool != list[len(list)-1].ID.Spool {
		slices.SortStableFunc(list, func(a, b *mail.Event) int { return a.At.Compare(b.At) })
	}
	return list, nil
}

// events reads and decodes the events a query selects.
func (d *day) events(ctx context.Context, query string, args ...any) ([]*mail.Event, error) {
	var raw []rawEvent
	err := d.db.query(ctx, "read events", query, args, func(r rowScanner) error {
		x, err := scanEvent(r)
		raw = append(raw, x)
		return err
	})
	if err != nil {
		return nil, err
	}
	list := make([]*mail.Event, len(raw))
	seen := map[mail.MessageID]*mail.Message{}
	for i := range raw {
		if list[i], err = raw[i].decode(ctx, d, seen); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// MessageEvents implements store.Record.
func (s *Store) MessageEvents(ctx context.Context, id mail.MessageID, cursor string, max int) ([]*mail.Event, string, error) {
	if err := s.ready(); err != nil {
		return nil, "", err
	}
	after, err := parseMessageCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	max = store.PageSize(max)
	var list []*mail.Event
	err = s.days.each(ctx, s.daysOfMessage(id), func(d *day) error {
		more, err := d.events(ctx, "SELECT "+eventColumns+` FROM deliveries d JOIN events e ON e.delivery = d.delivery
			WHERE d.message = $1 AND d.delivery >= $2 AND (d.delivery > $2 OR e.spool > $3 OR (e.spool = $3 AND e.seq > $4))
			ORDER BY d.delivery, e.spool, e.seq LIMIT $5`,
			id[:], after.delivery[:], int64(after.spool), int64(after.seq), max+1-len(list))
		if list = append(list, more...); err == nil && len(list) > max {
			return errStop
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(list) > max {
		list = list[:max]
		last := list[max-1]
		return list, messageCursor{last.Delivery, last.ID.Spool, last.ID.Seq}.String(), nil
	}
	return list, "", nil
}

// messageCursor is a place in the events of a message.
type messageCursor struct {
	delivery mail.DeliveryID
	spool    mail.SpoolID
	seq      uint64
}

// messageCursorVersion begins the 29 octets of a messageCursor.
const messageCursorVersion = 3

func (c messageCursor) String() string {
	b := append([]byte{messageCursorVersion}, c.delivery[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(c.spool))
	return store.EncodeCursor(binary.BigEndian.AppendUint64(b, c.seq))
}

func parseMessageCursor(text string) (c messageCursor, err error) {
	if text == "" {
		return c, nil
	}
	b, err := store.DecodeCursor(text)
	if err != nil || len(b) != 29 || b[0] != messageCursorVersion {
		return c, fmt.Errorf("%w: %.60q", store.ErrBadCursor, text)
	}
	copy(c.delivery[:], b[1:17])
	c.spool, c.seq = mail.SpoolID(binary.BigEndian.Uint32(b[17:])), binary.BigEndian.Uint64(b[21:])
	if c.seq > math.MaxInt64 {
		return messageCursor{}, fmt.Errorf("%w: %.60q", store.ErrBadCursor, text)
	}
	return c, nil
}

// lowestID and highestID bound the ids made at or after, and before, a time.
func lowestID(t time.Time) (id mail.DeliveryID) {
	if ms := t.UnixMilli(); ms > 0 {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(ms))
		copy(id[:6], b[2:])
	}
	return id
}

// highestID is above every id.
var highestID = mail.DeliveryID(bytes.Repeat([]byte{0xff}, 16))
