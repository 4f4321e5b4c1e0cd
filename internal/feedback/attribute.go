package feedback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/store"
)

// target is a delivery a report is about, and what of the report speaks of it.
type target struct {
	id      mail.DeliveryID
	entries []int // indices of the report's recipients; empty: it names none
}

// finding of attribution: what a report is about, or why that is not known.
type attribution struct {
	evidence mail.Evidence
	targets  []target
	account  string // known from the message where no delivery was found
	outcome  store.ReportOutcome
	why      string
}

// add says that the i-th recipient the report is about, if it names one, is that of a delivery.
func (a *attribution) add(x *reading, id mail.DeliveryID, i int) {
	at := slices.IndexFunc(a.targets, func(t target) bool { return t.id == id })
	if at < 0 {
		at = len(a.targets)
		a.targets = append(a.targets, target{id: id})
	}
	if i < len(x.rep.Recipients) {
		a.targets[at].entries = append(a.targets[at].entries, i)
	}
}

// maxTargets bounds the deliveries one report may be about, and the recipients of it that are looked for.
const maxTargets = 200

// attribute finds the deliveries a report is about, by the strongest evidence there is.
func (r *Reader) attribute(ctx context.Context, x *reading) (a attribution, err error) {
	local, _, _ := strings.Cut(x.row.To, "@")
	if isToken(local) {
		id, ok := r.o.Key.Delivery(local)
		if !ok {
			return attribution{outcome: store.ReportForged, why: "it came to a return path that is not one of ours: the signature does not fit"}, nil
		}
		// One token is one delivery, whoever else the report names.
		return attribution{evidence: mail.EvidenceToken, targets: []target{{id: id, entries: x.all()}}}, nil
	}
	m := &x.marks
	switch {
	case len(m.deliveries) == 1 && len(m.messages) == 0:
		return attribution{evidence: mail.EvidenceHeader, targets: []target{{id: m.deliveries[0], entries: x.all()}}}, nil
	case len(m.deliveries) == 0 && len(m.messages) == 1:
		return r.ofMessage(ctx, x, m.messages[0])
	case m.any():
		return r.ofSeveral(ctx, x)
	case m.bad:
		return attribution{outcome: store.ReportForged, why: "its " + tokenField + " is not one of ours: the signature does not fit"}, nil
	}
	if own := x.ownMailbox(); own != "" {
		return r.match(ctx, x, own)
	}
	return attribution{outcome: store.ReportUnknown, why: "nothing in it ties it to a delivery: no token of ours"}, nil
}

func isToken(local string) bool {
	return len(local) > 3 && (strings.EqualFold(local[:3], "b1-") || strings.EqualFold(local[:3], "m1-"))
}

// all are the indices of every recipient the report names.
func (x *reading) all() []int {
	list := make([]int, len(x.rep.Recipients))
	for i := range list {
		list[i] = i
	}
	return list
}

// ofMessage finds which deliveries of a message the report is about: for each recipient it names the one that was sent
// there, or the only one there is. What the record does not know is looked for again once it has caught up.
func (r *Reader) ofMessage(ctx context.Context, x *reading, id mail.MessageID) (attribution, error) {
	a, missing, err := r.inMessage(ctx, x, id)
	if err != nil || !missing {
		return a, err
	}
	if err := r.catchUp(ctx); err != nil {
		return a, err
	}
	a, _, err = r.inMessage(ctx, x, id)
	return a, err
}

func (r *Reader) inMessage(ctx context.Context, x *reading, id mail.MessageID) (a attribution, incomplete bool, err error) {
	a.evidence = mail.EvidenceHeader
	msg, err := r.o.Store.Message(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return attribution{outcome: store.ReportExpired, why: fmt.Sprintf("message %s is not in the record, or not any more", id)}, true, nil
	}
	if err != nil {
		return a, false, err
	}
	a.account = msg.Account
	if msg.Recipients == 1 {
		list, err := r.o.Store.Deliveries(ctx, id, mail.DeliveryID{}, 2)
		if err != nil {
			return a, false, err
		}
		if len(list) == 1 {
			a.targets = []target{{id: list[0].ID, entries: x.all()}}
			return a, false, nil
		}
	}
	var missing []string
	all, err := r.fewDeliveries(ctx, msg)
	if err != nil {
		return a, false, err
	}
	for i, names := range x.names() {
		d := among(all, names)
		if d == nil { // the index knows addresses by their form, not by how they are written
			d, err = r.ofRecipient(ctx, msg, names)
		}
		if err != nil {
			return a, false, err
		}
		if d == nil {
			missing = append(missing, names...)
			continue
		}
		a.add(x, d.ID, i)
	}
	if len(a.targets) == 0 {
		a.outcome = store.ReportUnknown
		if len(missing) == 0 {
			a.why = fmt.Sprintf("it is about message %s, and names none of its %d recipients", id, msg.Recipients)
		} else {
			a.why = clip(fmt.Sprintf("it is about message %s, which was not sent to %s", id, strings.Join(missing, ", ")), maxWhy)
		}
	}
	return a, len(missing) > 0, nil
}

// names are the addresses by which each recipient of the report may be known to us, the surest first. An automatic answer
// comes from whom it is about.
func (x *reading) names() [][]string {
	var list [][]string
	for i := range x.rep.Recipients {
		rc := &x.rep.Recipients[i]
		var names []string
		for _, a := range []string{rc.Original, rc.Address, rc.Final} {
			if strings.IndexByte(a, '@') > 0 {
				names = append(names, a)
			}
		}
		if list = append(list, names); len(list) == maxTargets {
			break
		}
	}
	if len(list) == 0 && (x.rep.Kind == report.AutoReply || x.rep.Kind == report.Challenge) && x.row.Author != "" {
		list = append(list, []string{x.row.Author})
	}
	return list
}

// Bounds of a search for deliveries.
const (
	// maxLookups bounds its pages, each of which takes at most store.MaxScan.
	maxLookups = 40
	// around is how far ids of deliveries can be made from that of their message.
	around = 24 * time.Hour
)

// fewDeliveries are all deliveries of a message that has few; nil: it has many, or the record does not know them all.
func (r *Reader) fewDeliveries(ctx context.Context, msg *mail.Message) ([]*store.Delivery, error) {
	if msg.Recipients > maxTargets {
		return nil, nil
	}
	list, err := r.o.Store.Deliveries(ctx, msg.ID, mail.DeliveryID{}, maxTargets)
	if err != nil || len(list) < msg.Recipients {
		return nil, err
	}
	return list, nil
}

// among finds the delivery to the first of the addresses that one was sent to; nil: to none.
func among(list []*store.Delivery, names []string) *store.Delivery {
	for _, name := range names {
		for _, d := range list {
			if sameAddress(name, d.Recipient) {
				return d
			}
		}
	}
	return nil
}

// ofRecipient finds the delivery of a message to the first of the addresses that it was sent to; nil: to none. It asks the
// index of recipients: a message may have a million of them.
func (r *Reader) ofRecipient(ctx context.Context, msg *mail.Message, names []string) (*store.Delivery, error) {
	at := msg.ID.Time()
	for _, name := range names {
		q := store.SearchQuery{Account: msg.Account, Recipient: name, From: at.Add(-around), To: at.Add(around), Max: maxMatches}
		for range maxLookups {
			page, err := r.o.Store.Search(ctx, q)
			if err != nil {
				return nil, err
			}
			for _, d := range page.Deliveries {
				if d.Message == msg.ID {
					return d, nil
				}
			}
			if q.Cursor = page.Next; page.Next == "" {
				break
			}
		}
	}
	return nil, nil
}

// ofSeveral decides between tokens that stand anywhere in a mail: they must be of one message.
func (r *Reader) ofSeveral(ctx context.Context, x *reading) (attribution, error) {
	messages := map[mail.MessageID]bool{}
	for _, id := range x.marks.messages {
		messages[id] = true
	}
	var targets []target
	for _, id := range x.marks.deliveries {
		f, err := r.facts(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return attribution{}, err
		}
		messages[f.Message] = true
		targets = append(targets, target{id: id, entries: x.all()})
	}
	switch {
	case len(messages) > 1:
		return attribution{outcome: store.ReportUnknown, why: fmt.Sprintf("it carries tokens of %d messages, and does not say which it is about", len(messages))}, nil
	case len(targets) == 1:
		return attribution{evidence: mail.EvidenceHeader, targets: targets}, nil
	}
	for id := range messages {
		return r.ofMessage(ctx, x, id)
	}
	return attribution{outcome: store.ReportExpired, why: "its delivery is not in the record, or not any more"}, nil
}
