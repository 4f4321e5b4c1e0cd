package sqlite

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// maxReportMail bounds a stored mail when it is read back, in octets: far more than any door takes in.
const maxReportMail = 64 << 20

// PutReports implements store.Reports. Each day is one transaction.
func (s *Store) PutReports(ctx context.Context, list []*store.StoredReport) error {
	if err := s.ready(); err != nil {
		return err
	}
	if len(list) == 0 {
		return nil
	}
	if grow := s.opts.MayGrow; grow != nil {
		if err := grow(); err != nil {
			return fmt.Errorf("sqlite: write reports: %w: %w", store.ErrUnavailable, err)
		}
	}
	byDay := map[string][]reportRow{}
	for _, r := range list {
		row, err := makeReportRow(r)
		if err != nil {
			return err
		}
		name := dayName(r.ID.Time())
		byDay[name] = append(byDay[name], row)
	}
	for name, rows := range byDay {
		if err := s.step("before reports"); err != nil {
			return err
		}
		if err := s.days.use(ctx, name, true, func(d *day) error { return s.writeReports(ctx, d, rows) }); err != nil {
			return err
		}
	}
	return s.step("after reports")
}

// reportRow is a report as it is kept.
type reportRow struct {
	*store.StoredReport
	doc  string
	mail []byte // deflated
}

func makeReportRow(r *store.StoredReport) (reportRow, error) {
	if r.ID.IsZero() {
		return reportRow{}, errors.New("sqlite: write reports: a report without id")
	}
	doc, err := json.Marshal(r)
	if err != nil {
		return reportRow{}, fmt.Errorf("sqlite: encode report %s: %w", r.ID, err)
	}
	packed, err := deflate(r.Raw)
	if err != nil {
		return reportRow{}, fmt.Errorf("sqlite: pack report %s: %w", r.ID, err)
	}
	return reportRow{r, string(doc), packed}, nil
}

func (s *Store) writeReports(ctx context.Context, d *day, rows []reportRow) error {
	return d.db.write(ctx, "write reports", func(t *tx) error {
		for i := range rows {
			r := &rows[i]
			_, err := t.exec(`INSERT INTO reports (report, account, kind, door, outcome, mailbox, doc) VALUES ($1, $2, $3, $4, $5, $6, $7)
				ON CONFLICT (report) DO UPDATE SET account = excluded.account, kind = excluded.kind, door = excluded.door,
				outcome = excluded.outcome, mailbox = excluded.mailbox, doc = excluded.doc`,
				r.ID[:], r.Account, r.Kind, r.Door, string(r.Outcome), r.Mailbox, r.doc)
			if err != nil {
				return err
			}
			if _, err = t.exec(`INSERT INTO report_mails (report, raw) VALUES ($1, $2)
				ON CONFLICT (report) DO UPDATE SET raw = excluded.raw`, r.ID[:], r.mail); err != nil {
				return err
			}
			if err := s.step("in reports"); err != nil {
				return err
			}
		}
		return nil
	})
}

// Report implements store.Reports.
func (s *Store) Report(ctx context.Context, id mail.ReportID) (*store.StoredReport, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	r := new(store.StoredReport)
	err := s.days.use(ctx, dayName(id.Time()), false, func(d *day) error {
		var doc string
		var packed []byte
		err := d.db.row(ctx, "read report", `SELECT r.doc, m.raw FROM reports r JOIN report_mails m ON m.report = r.report
			WHERE r.report = $1`, []any{id[:]}, &doc, &packed)
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(doc), r); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		r.Raw, err = inflate(packed)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sqlite: report %s: %w", id, err)
	}
	return r, nil
}

// ListReports implements store.Reports.
func (s *Store) ListReports(ctx context.Context, q store.ReportQuery) (store.ReportPage, error) {
	if err := s.ready(); err != nil {
		return store.ReportPage{}, err
	}
	below, err := parseReportCursor(q.Cursor)
	if err != nil {
		return store.ReportPage{}, err
	}
	if !q.To.IsZero() {
		if to := mail.ReportID(lowestID(q.To)); bytes.Compare(to[:], below[:]) < 0 {
			below = to
		}
	}
	x := &reportList{
		q: q, below: below, from: mail.ReportID(lowestID(q.From)), limit: store.PageSize(q.Max), now: s.opts.Now,
		deadline: s.opts.Now().Add(store.MaxScan), text: strings.ToLower(q.Text),
	}
	last := "~" // above every day
	if below != mail.ReportID(highestID) {
		last = dayName(below.Time())
	}
	err = s.days.each(ctx, s.days.newestFirst(dayName(x.from.Time()), last), func(d *day) error {
		if err := x.day(ctx, d); err != nil || !x.stopped {
			return err
		}
		return errStop
	})
	if err != nil {
		return store.ReportPage{}, err
	}
	page := store.ReportPage{Reports: x.found}
	if x.stopped {
		page.Next = store.EncodeCursor(append([]byte{reportCursorVersion}, x.below[:]...))
	}
	return page, nil
}

// reportList is one page in the making.
type reportList struct {
	q        store.ReportQuery
	text     string        // in lower case
	from     mail.ReportID // ids from here, included …
	below    mail.ReportID // … to here, excluded; moves down
	limit    int
	now      func() time.Time
	deadline time.Time

	found   []*store.StoredReport
	octets  int  // of their rows
	stopped bool // the page is full or its time over
}

// maxReportPage ends a page once its rows have so many octets: a report may name hundreds of recipients.
const maxReportPage = 4 << 20

// reportChunk is how many reports are gone through between two looks at the clock.
const reportChunk = 500

// day adds what matches of one day, until the page is full.
func (x *reportList) day(ctx context.Context, d *day) error {
	query := "SELECT report, doc FROM reports WHERE report < $1 AND report >= $2"
	args := []any{nil, x.from[:]}
	where := func(column, value string) {
		if value != "" {
			args = append(args, value)
			query += fmt.Sprintf(" AND %s = $%d", column, len(args))
		}
	}
	where("account", x.q.Account)
	where("kind", x.q.Kind)
	where("door", x.q.Door)
	where("outcome", string(x.q.Outcome))
	if x.q.Mailbox == store.AnyMailbox {
		query += " AND mailbox <> ''"
	} else {
		where("mailbox", x.q.Mailbox)
	}
	query += fmt.Sprintf(" ORDER BY report DESC LIMIT %d", reportChunk)
	for {
		if !x.now().Before(x.deadline) {
			x.stopped = true
			return nil
		}
		args[0] = x.below[:]
		seen := 0
		err := d.db.query(ctx, "list reports", query, args, func(r rowScanner) error {
			var id []byte
			var doc string
			if err := r.Scan(&id, &doc); err != nil {
				return err
			}
			seen++
			x.below = mail.ReportID(id)
			rep := new(store.StoredReport)
			if err := json.Unmarshal([]byte(doc), rep); err != nil {
				return fmt.Errorf("decode report %s: %w", x.below, err)
			}
			if !x.matches(rep) {
				return nil
			}
			x.octets += len(doc)
			if x.found = append(x.found, rep); len(x.found) == x.limit || x.octets >= maxReportPage {
				x.stopped = true
				return errStop
			}
			return nil
		})
		if err != nil || x.stopped || seen < reportChunk {
			return err
		}
	}
}

// matches looks at what no column tells.
func (x *reportList) matches(r *store.StoredReport) bool {
	if !x.q.Delivery.IsZero() && !slices.ContainsFunc(r.Deliveries, func(d store.ReportDelivery) bool { return d.Delivery == x.q.Delivery }) {
		return false
	}
	if x.text == "" {
		return true
	}
	for _, s := range []string{r.Author, r.Subject, r.From, r.To, r.Source} {
		if strings.Contains(strings.ToLower(s), x.text) {
			return true
		}
	}
	for _, rc := range r.Recipients {
		if strings.Contains(strings.ToLower(rc.Address), x.text) || strings.Contains(strings.ToLower(rc.Original), x.text) {
			return true
		}
	}
	return slices.ContainsFunc(r.Deliveries, func(d store.ReportDelivery) bool {
		return strings.Contains(strings.ToLower(d.Recipient), x.text)
	})
}

// reportCursorVersion begins the 17 octets of a cursor.
const reportCursorVersion = 4

func parseReportCursor(text string) (mail.ReportID, error) {
	if text == "" {
		return mail.ReportID(highestID), nil
	}
	b, err := store.DecodeCursor(text)
	if err != nil || len(b) != 17 || b[0] != reportCursorVersion {
		return mail.ReportID{}, fmt.Errorf("%w: %.60q", store.ErrBadCursor, text)
	}
	return mail.ReportID(b[1:]), nil
}

// packers are used again: each takes some hundreds of KiB to make.
var packers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // never: the level is valid
	}
	return w
}}

func deflate(b []byte) ([]byte, error) {
	var buf bytes.Buffer
	buf.Grow(cmp.Or(len(b)/2, 64))
	w := packers.Get().(*flate.Writer)
	defer packers.Put(w)
	w.Reset(&buf)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func inflate(packed []byte) ([]byte, error) {
	r := flate.NewReader(bytes.NewReader(packed))
	b, err := io.ReadAll(io.LimitReader(r, maxReportMail))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return b, r.Close()
}
