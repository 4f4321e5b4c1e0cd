package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
)

// RecordDays implements store.Erasures.
func (s *Store) RecordDays(context.Context) (names []string, err error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	for _, d := range s.days.between("", "~") {
		names = append(names, d.name)
	}
	return names, nil
}

// EraseRecorded implements store.Erasures.
func (s *Store) EraseRecorded(ctx context.Context, name string, e store.Erasing) (done store.Erased, err error) {
	if err := s.ready(); err != nil {
		return done, err
	}
	defer s.tail.clear() // what is in memory is as it was
	x := &erasing{Erasing: e, scrub: rows.NewScrubber(e.Address, e.Marker)}
	err = s.days.use(ctx, name, false, func(d *day) error {
		s.days.forgetFilters(d)
		defer s.days.forgetFilters(d) // also what was loaded meanwhile
		for _, step := range []func(*tx) (int, error){x.deliveries, x.stragglers, x.mentions, x.reports} {
			for {
				n := 0
				err := d.db.erase(ctx, "erase", func(t *tx) (err error) {
					x.now = store.Erased{}
					n, err = step(t)
					return err
				})
				if err != nil {
					return err
				}
				done.Add(x.now)
				if err := s.step("between erase batches"); err != nil {
					return err
				}
				if n < eraseBatch {
					break
				}
			}
			x.after = nil
		}
		if done == (store.Erased{}) {
			return nil
		}
		return d.db.forget(ctx)
	})
	return done, err
}

// erasing is an erasure in one day. now counts what the transaction in hand took out; after is how far a step that goes
// through rows by their key has come.
type erasing struct {
	store.Erasing
	scrub *rows.Scrubber
	now   store.Erased
	after []byte
}

// deliveries erases up to eraseBatch deliveries to the address and returns how many it found.
func (x *erasing) deliveries(t *tx) (int, error) {
	type row struct{ delivery, message []byte }
	var list []row
	err := t.query(`SELECT d.delivery, d.message FROM buckets b CROSS JOIN deliveries d WHERE d.bucket = b.bucket AND d.rhash = $1
		AND ($2 = '' OR d.account = $2) LIMIT $3`,
		[]any{rows.HashText(x.Address), x.Account, eraseBatch}, func(r rowScanner) error {
			var v row
			err := r.Scan(&v.delivery, &v.message)
			list = append(list, v)
			return err
		})
	if err != nil {
		return 0, err
	}
	for _, v := range list {
		if err := x.events(t, v.delivery); err != nil {
			return 0, err
		}
		if err := x.message(t, v.message); err != nil {
			return 0, err
		}
		if err := x.summary(t, v.delivery); err != nil {
			return 0, err
		}
		x.now.Deliveries++
	}
	if len(list) > 0 {
		for _, address := range []string{x.Address, x.Marker} {
			if err := t.mendFilters(rows.HashText(address)); err != nil {
				return 0, err
			}
		}
	}
	return len(list), nil
}

// stragglers takes the address out of events that came after their delivery was erased: of an attempt that was in flight. It
// goes through up to eraseBatch events that may hold it and returns how many there were.
func (x *erasing) stragglers(t *tx) (int, error) {
	var list [][]byte
	n := 0
	err := t.query(`SELECT d.delivery, e.data FROM buckets b CROSS JOIN deliveries d CROSS JOIN events e WHERE d.bucket = b.bucket AND d.rhash = $1
		AND d.delivery > $2 AND ($3 = '' OR d.account = $3) AND e.delivery = d.delivery AND instr(lower(e.data), $4) > 0 ORDER BY d.delivery`,
		[]any{rows.HashText(x.Marker), notNil(x.after), x.Account, x.scrub.Needle()}, func(r rowScanner) error {
			var delivery []byte
			var data string
			if err := r.Scan(&delivery, &data); err != nil {
				return err
			}
			if n >= eraseBatch && !bytes.Equal(delivery, x.after) { // never between two events of one delivery
				return errStop
			}
			n++
			x.after = delivery
			if x.scrub.Holds(data) && (len(list) == 0 || !bytes.Equal(list[len(list)-1], delivery)) {
				list = append(list, delivery)
			}
			return nil
		})
	if err != nil {
		return 0, err
	}
	for _, delivery := range list {
		if err := x.events(t, delivery); err != nil {
			return 0, err
		}
		if err := x.summary(t, delivery); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// summary puts the marker into a delivery's summary.
func (x *erasing) summary(t *tx, delivery []byte) error {
	var reply, reason string
	if err := t.row("SELECT reply, reason FROM deliveries WHERE delivery = $1", []any{delivery}, &reply, &reason); err != nil {
		return err
	}
	_, err := t.exec("UPDATE deliveries SET recipient = $1, rhash = $2, domain = $3, reply = $4, reason = $5 WHERE delivery = $6",
		x.Marker, rows.HashText(x.Marker), x.Marker[strings.LastIndexByte(x.Marker, '@')+1:], x.scrub.Reply(reply), x.scrub.Reply(reason), delivery)
	return err
}

func (x *erasing) events(t *tx, delivery []byte) error {
	type row struct {
		spool, seq int64
		data       []byte
	}
	var list []row
	err := t.query("SELECT spool, seq, data FROM events WHERE delivery = $1", []any{delivery}, func(r rowScanner) error {
		var v row
		err := r.Scan(&v.spool, &v.seq, &v.data)
		list = append(list, v)
		return err
	})
	if err != nil {
		return err
	}
	for _, v := range list {
		var e mail.Event
		if err := rows.DecodeEvent(v.data, &e); err != nil {
			return err
		}
		x.scrub.Event(&e)
		if _, err := t.exec("UPDATE events SET data = $1 WHERE delivery = $2 AND spool = $3 AND seq = $4", x.scrub.Document(string(rows.AppendEvent(nil, &e))), delivery, v.spool, v.seq); err != nil {
			return err
		}
		x.now.Events++
	}
	return nil
}

// message scrubs a message.
func (x *erasing) message(t *tx, id []byte) error {
	var data []byte
	err := t.row("SELECT data FROM messages WHERE message = $1", []any{id}, &data)
	if err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			return nil // its accepted event is not in the record
		}
		return err
	}
	m, err := rows.DecodeMessage(data)
	if err != nil {
		return err
	}
	subject := m.Subject
	x.scrub.Message(m)
	if m.Subject != subject {
		// The summaries of the other recipients have it too.
		if _, err := t.exec("UPDATE deliveries SET subject = $1 WHERE message = $2", m.Subject, id); err != nil {
			return err
		}
	}
	if _, err := t.exec("UPDATE messages SET data = $1 WHERE message = $2", string(rows.AppendMessage(nil, m)), id); err != nil {
		return err
	}
	if m.Recipients <= 1 {
		x.now.Messages++
	}
	return nil
}

// mentions takes the address out of messages to others that name it, such as the notice that a mail to it failed, whose subject
// is that of the mail. It goes through up to eraseBatch messages that may name it and returns how many there were.
func (x *erasing) mentions(t *tx) (int, error) {
	type row struct {
		message []byte
		data    string
	}
	var list []row
	n := 0
	err := t.query("SELECT message, data FROM messages WHERE message > $1 AND instr(lower(data), $2) > 0 ORDER BY message LIMIT $3",
		[]any{notNil(x.after), x.scrub.Needle(), eraseBatch}, func(r rowScanner) error {
			var v row
			if err := r.Scan(&v.message, &v.data); err != nil {
				return err
			}
			n++
			x.after = v.message
			if x.scrub.Holds(v.data) {
				list = append(list, v)
			}
			return nil
		})
	if err != nil {
		return 0, err
	}
	for _, v := range list {
		m, err := rows.DecodeMessage([]byte(x.scrub.Document(v.data)))
		if err != nil {
			return 0, err
		}
		if x.Account != "" && m.Account != x.Account {
			continue
		}
		if _, err := t.exec("UPDATE messages SET data = $1 WHERE message = $2", string(rows.AppendMessage(nil, m)), v.message); err != nil {
			return 0, err
		}
		if _, err := t.exec("UPDATE deliveries SET subject = $1 WHERE message = $2", m.Subject, v.message); err != nil {
			return 0, err
		}
		x.now.Messages++
	}
	return n, nil
}

// reports takes the address out of reports that name it; their mails go. It goes through up to eraseBatch reports that may
// name it and returns how many there were.
func (x *erasing) reports(t *tx) (int, error) {
	type row struct {
		report []byte
		doc    string
	}
	var list []row
	n := 0
	err := t.query("SELECT report, doc FROM reports WHERE report > $1 AND instr(lower(doc), $2) > 0 AND ($3 = '' OR account = $3) ORDER BY report LIMIT $4",
		[]any{notNil(x.after), x.scrub.Needle(), x.Account, eraseBatch}, func(r rowScanner) error {
			var v row
			if err := r.Scan(&v.report, &v.doc); err != nil {
				return err
			}
			n++
			x.after = v.report
			if x.scrub.Holds(v.doc) {
				list = append(list, v)
			}
			return nil
		})
	if err != nil {
		return 0, err
	}
	for _, v := range list {
		if _, err := t.exec("UPDATE reports SET doc = $1 WHERE report = $2", x.scrub.ReplyDocument(v.doc), v.report); err != nil {
			return 0, err
		}
		if _, err := t.exec("UPDATE report_mails SET raw = $1 WHERE report = $2", emptyDeflate, v.report); err != nil {
			return 0, err
		}
		x.now.Reports++
	}
	return n, nil
}

// notNil is a key as SQL compares keys: nothing is above NULL.
func notNil(key []byte) []byte {
	if key == nil {
		return []byte{}
	}
	return key
}

// emptyDeflate is nothing, deflated (RFC 1951): an empty last block of fixed codes.
var emptyDeflate = []byte{0x03, 0x00}
