package feedback

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// How far back a match without a Message-ID looks from the arrival of the report.
const (
	// matchSubject is with recipient and subject known: as long as slow queues give up late.
	matchSubject = 14 * 24 * time.Hour
	// matchRecipient is with the recipient alone: as long as most queues keep a mail (RFC 5321 §4.5.4.1).
	matchRecipient = 5 * 24 * time.Hour
	// matchSlack is how far the clock may have gone back between the mail and the report.
	matchSlack = time.Minute
	// maxMatches bounds the deliveries that are looked at for one recipient; more than one that fits is none.
	maxMatches = 200
)

// ownMailbox is the account whose own bounce mailbox, or key, the report came by: only there a match is evidence. "": no
// account's.
func (x *reading) ownMailbox() string {
	switch x.entry.Kind {
	case spool.InboxIMAP, spool.InboxAPI:
		return x.entry.Meta[spool.MetaAccount]
	}
	return ""
}

// match looks for the one delivery of the account that was sent and fits what the report says, for each recipient it
// names: by the Message-ID of the returned message, else by recipient, subject and time.
func (r *Reader) match(ctx context.Context, x *reading, account string) (a attribution, err error) {
	if err := r.catchUp(ctx); err != nil {
		return a, err
	}
	a.evidence = mail.EvidenceMatch
	id := x.row.RFC822ID
	list := x.names()
	if len(list) == 0 && id != "" {
		list = [][]string{nil} // the Message-ID alone
	}
	for i, names := range list {
		d, why, err := r.fitting(ctx, x, account, id, names)
		if err != nil {
			return a, err
		}
		if d == nil {
			a.why = why
			continue
		}
		a.add(x, d.ID, i)
	}
	if len(a.targets) > 0 {
		a.why = ""
		return a, nil
	}
	if a.why == "" {
		a.why = "it names neither a message nor a recipient of this account"
	}
	return attribution{outcome: store.ReportUnknown, why: a.why}, nil
}

// fitting finds the one delivery that fits, or says why there is none.
func (r *Reader) fitting(ctx context.Context, x *reading, account, id string, names []string) (*store.Delivery, string, error) {
	received := x.entry.Received
	arrived := received
	if at := x.row.ID.Time(); at.Before(received) {
		arrived = at // in the mailbox; it may have been read much later
	}
	if id != "" {
		list, all, err := r.candidates(ctx, store.SearchQuery{Account: account, RFC822ID: id}, names, "", time.Time{})
		switch {
		case err != nil || len(list) == 1 && all:
			return one(list), "", err
		case !all && len(list) < 2:
			return nil, tooMany, nil
		}
		if len(list) > 1 {
			return nil, fmt.Sprintf("%d deliveries of message %s fit", len(list), clip(id, maxAddress)), nil
		}
	}
	if len(names) == 0 {
		return nil, "no message of this account has the Message-ID it names", nil
	}
	subject := strings.TrimSpace(x.rep.Original.Subject)
	back := matchRecipient
	if subject != "" {
		back = matchSubject
	}
	for _, name := range names {
		list, all, err := r.candidates(ctx, store.SearchQuery{Account: account, Recipient: name, From: arrived.Add(-back)}, nil, subject, received.Add(matchSlack))
		switch {
		case err != nil || len(list) == 1 && all:
			return one(list), "", err
		case !all && len(list) < 2:
			return nil, tooMany, nil
		}
		if len(list) > 1 {
			return nil, clip(fmt.Sprintf("%d deliveries to %s fit", len(list), name), maxWhy), nil
		}
	}
	return nil, clip("no delivery of this account to "+strings.Join(names, " or ")+" fits", maxWhy), nil
}

func one(list []*store.Delivery) *store.Delivery {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// tooMany is said where the search had to end before it had seen everything: whether exactly one fits is not known then.
const tooMany = "there are too many deliveries to look through for the one that fits"

// candidates are the deliveries of a search that were sent, before a time, to one of the names, with the subject; an empty
// condition holds for all. It stops at the second. all: the search went to its end.
//
// The time is that of the sending, not of the ids: after the clock was set back ids go on from where they were.
func (r *Reader) candidates(ctx context.Context, q store.SearchQuery, names []string, subject string, before time.Time) (list []*store.Delivery, all bool, err error) {
	q.Max = maxMatches
	for range maxLookups {
		page, err := r.o.Store.Search(ctx, q)
		if err != nil {
			return nil, false, err
		}
		for _, d := range page.Deliveries {
			if sentState(d) && (len(names) == 0 || oneOf(names, d.Recipient)) && (subject == "" || strings.EqualFold(subject, strings.TrimSpace(d.Subject))) &&
				(before.IsZero() || d.Late || d.Updated.Before(before)) {
				list = append(list, d)
			}
		}
		if q.Cursor = page.Next; page.Next == "" {
			return list, true, nil
		}
		if len(list) > 1 {
			break
		}
	}
	return list, false, nil
}

func sentState(d *store.Delivery) bool {
	return d.State == store.State(mail.Delivered) || d.State == store.State(mail.Relayed) || d.Late || d.Uncertain
}

func oneOf(names []string, address string) bool {
	for _, n := range names {
		if sameAddress(n, address) {
			return true
		}
	}
	return false
}
