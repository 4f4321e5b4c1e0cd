package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	imap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/spool"
)

// maxTries is how many sessions one mail may end before it is left out: it must not keep the others waiting for ever.
const maxTries = 3

// saveEvery is how many mails that are no reports are passed before the position is kept.
const saveEvery = 50

// maxFound bounds the mails of one search; the next search finds the others.
const maxFound = 100_000

// maxFetch is how much of a mail is fetched: an inbox entry holds it beside what the door knows.
const maxFetch = spool.MaxReport

// maxAge is how old a report may be, by when the server got it, to be taken: what is told of a delivery later than 30 days
// after it changes nothing any more. overlap stands for the days of another time zone.
const maxAge = 30*24*time.Hour + overlap

// firstDate is the earliest day a server can mean, in Unix seconds (2000-01-01): mailboxes that were copied by bad tools have
// mails of 1970.
const firstDate = 946_684_800

// NoticeField is the header field that marks the platform's own notices: coming back into the mailbox of the sender they
// were written to they report nothing new.
const NoticeField = report.NoticeField

// look takes every report that has come since the last look. next is the UID that was next when the mailbox was selected.
func (r *reader) look(ctx context.Context, c *conn, next imap.UID) error {
	for {
		uids, err := c.search(ctx, r.pos.UID+1, r.pos.Since)
		if err != nil {
			return err
		}
		passed := 0
		for _, uid := range uids {
			isReport, err := r.take(ctx, c, uid)
			if err != nil {
				if r.skip(ctx, uid, err) {
					r.pos.UID = uid
					err = errors.Join(err, r.save(context.WithoutCancel(ctx)))
				}
				return err
			}
			r.pos.UID = uid
			if passed++; isReport || passed%saveEvery == 0 {
				if err := r.save(ctx); err != nil {
					return err
				}
			}
		}
		if len(uids) == maxFound {
			continue
		}
		now := r.o.Now().UTC().Truncate(lookedStep)
		dirty := passed > 0 || !now.Equal(r.pos.Looked)
		if !r.pos.Since.IsZero() { // what was searched by day is all done with
			r.pos.Since, r.pos.UID, dirty = time.Time{}, max(r.pos.UID, next-1), true
		}
		r.pos.Looked = now
		if !dirty {
			return nil
		}
		return r.save(ctx)
	}
}

// skip decides whether a mail that ended the session is left out.
func (r *reader) skip(ctx context.Context, uid imap.UID, err error) bool {
	var ours *ownError
	if ctx.Err() != nil || errors.As(err, &ours) {
		return false
	}
	if r.stuck != uid {
		r.stuck, r.tries = uid, 0
	}
	if r.tries++; r.tries < maxTries {
		return false
	}
	r.left = r.o.Now()
	r.raise(alertMail, fmt.Sprintf("bounce mailbox %s of account %s: the mail with UID %d cannot be fetched and is left out: %v", r.at.mailbox, r.at.account, uid, err))
	return true
}

// ownError is a failure of this platform, not of the mail or its server.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

// take stores one mail if it is a report, and then does with it what the mailbox says.
func (r *reader) take(ctx context.Context, c *conn, uid imap.UID) (isReport bool, err error) {
	m, err := c.fetch(ctx, uid)
	if err != nil || m == nil {
		return false, err
	}
	kind, err := r.kindOf(ctx, m.raw)
	if err != nil || kind == report.Other || r.ownNotice(m.raw) {
		return false, err
	}
	now := r.o.Now().UTC()
	at := m.date.UTC()
	if at.Unix() < firstDate || at.After(now) {
		at = now // the server does not know
	}
	if now.Sub(at) > maxAge {
		return false, nil
	}
	id := mail.ContentReportID(at, r.at.account, m.raw)
	known, err := r.isKnown(ctx, id)
	if err != nil {
		return false, &ownError{err}
	}
	if !known {
		e := spool.InboxEntry{Kind: spool.InboxIMAP, Received: now, Raw: m.raw, Meta: map[string]string{
			spool.MetaReport: id.String(), spool.MetaAccount: r.at.account,
			spool.MetaMailbox: fmt.Sprintf("%s;%d;%d", r.at.mailbox, r.pos.Validity, uid),
		}}
		if m.cut > 0 {
			e.Meta[spool.MetaTruncated] = strconv.FormatInt(m.cut, 10)
		}
		// Once begun it is seen through: whether it is stored must be known to whoever reads the mailbox next.
		if err := r.o.Put(context.WithoutCancel(ctx), e); err != nil {
			return false, &ownError{fmt.Errorf("keep a report: %w", err)}
		}
		r.recent.add(id)
		r.stats.reports.Add(1)
		r.log.Info("bounce mailbox: report taken", "event", "imap_report", "report", id, "kind", kind, "uid", uid)
	}
	// The report is ours. A server that will not let us mark or move the mail is told to the operator, and no reason to
	// take it again.
	if err := c.after(ctx, uid, r.box.After); err != nil {
		var no *imap.Error
		if !errors.As(err, &no) {
			return false, err
		}
		r.raise(alertAfter, fmt.Sprintf("bounce mailbox %s of account %s: reports are taken, but %s (%s) fails: %v", r.at.mailbox, r.at.account, r.box.After, r.box.Folder, err))
	} else {
		r.works(alertAfter)
	}
	return true, nil
}

// isKnown reports whether a report was taken before.
func (r *reader) isKnown(ctx context.Context, id mail.ReportID) (bool, error) {
	if r.recent.has(id) {
		return true, nil
	}
	known, err := r.o.Known(ctx, id)
	if err != nil {
		return false, fmt.Errorf("look a report up: %w", err)
	}
	return known, nil
}

// fetched is a mail as fetched.
type fetched struct {
	raw  []byte
	size int64     // of the whole mail, in octets, as the server says
	cut  int64     // octets missing in raw
	date time.Time // INTERNALDATE: when the server got it
}

// fetch gets one mail without marking it as seen; nil: it is no longer there. Of a mail over maxFetch it gets the beginning
// and the end.
func (c *conn) fetch(ctx context.Context, uid imap.UID) (*fetched, error) {
	m, err := c.fetchPart(ctx, uid, 0, maxFetch)
	if err != nil || m == nil || m.size <= maxFetch || len(m.raw) < maxFetch {
		return m, err
	}
	head, tail := report.Shares(maxFetch)
	end, err := c.fetchPart(ctx, uid, m.size-int64(tail), int64(tail))
	if err != nil || end == nil {
		return nil, err
	}
	m.raw, m.cut = report.Join(m.raw[:head], end.raw, m.size)
	return m, nil
}

// fetchPart gets size octets of a mail from an offset on.
func (c *conn) fetchPart(ctx context.Context, uid imap.UID, offset, size int64) (m *fetched, err error) {
	section := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Offset: offset, Size: size}}
	err = c.step(ctx, fmt.Sprintf("fetch mail %d", uid), answerTimeout, func() error {
		cmd := c.client.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, InternalDate: true, RFC822Size: true, BodySection: []*imap.FetchItemBodySection{section}})
		for {
			data := cmd.Next()
			if data == nil {
				return cmd.Close()
			}
			got, err := readItems(data, size)
			if err != nil {
				return errors.Join(err, cmd.Close())
			}
			if got.raw != nil {
				m = got
			}
		}
	})
	return m, err
}

func readItems(data *imapclient.FetchMessageData, most int64) (*fetched, error) {
	m := &fetched{}
	for {
		switch item := data.Next().(type) {
		case nil:
			return m, nil
		case imapclient.FetchItemDataInternalDate:
			m.date = item.Time
		case imapclient.FetchItemDataRFC822Size:
			m.size = item.Size
		case imapclient.FetchItemDataBodySection:
			if item.Literal == nil {
				continue // NIL: the mail is gone
			}
			raw, err := io.ReadAll(io.LimitReader(item.Literal, most)) // a server may send more than it was asked for
			if err != nil {
				return nil, err
			}
			m.raw = raw
		}
	}
}

// search returns the UIDs from first on, ascending, of mail that came on or after since where that is set; at most
// maxFound.
func (c *conn) search(ctx context.Context, first imap.UID, since time.Time) ([]imap.UID, error) {
	if first == 0 { // past the largest UID there can be
		return nil, nil
	}
	criteria := &imap.SearchCriteria{UID: []imap.UIDSet{{{Start: first}}}, Since: since} // Stop 0 stands for *
	var data *imap.SearchData
	err := c.step(ctx, "search", answerTimeout, func() (err error) {
		data, err = c.client.UIDSearch(criteria, nil).Wait()
		return err
	})
	if err != nil {
		return nil, err
	}
	set, _ := data.All.(imap.UIDSet)
	var found []imap.UID
	for _, rg := range set {
		// "n:*" names the last mail even if its number is below n.
		for uid := max(rg.Start, first); uid <= rg.Stop; uid++ {
			if found = append(found, uid); len(found) == maxFound {
				break
			}
			if uid == 1<<32-1 {
				break
			}
		}
		if len(found) == maxFound {
			break
		}
	}
	slices.Sort(found)
	return found, nil
}

// afterLast finds the next UID where the server does not tell it.
func (c *conn) afterLast(ctx context.Context, mails uint32) (next imap.UID, err error) {
	if mails == 0 {
		return 1, nil
	}
	err = c.step(ctx, "find the last mail", answerTimeout, func() error {
		list, err := c.client.Fetch(imap.SeqSetNum(mails), &imap.FetchOptions{UID: true}).Collect()
		for _, m := range list {
			next = max(next, m.UID+1)
		}
		return err
	})
	if err == nil && next == 0 {
		err = errors.New("find the last mail: the server does not tell its UID")
	}
	return next, err
}
