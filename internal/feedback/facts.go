package feedback

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// facts are what is known of a delivery when a report on it is decided.
type facts struct {
	store.Delivery
	live *mail.Delivery // as the spool has it; nil: it is over
	// last is the last attempt of ours; nil: there was none, or its event is no longer kept.
	last *mail.Attempt
	// tried is when that was, or when the delivery ended.
	tried time.Time
	// letter names the part of the platform that wrote the message, as its credential does.
	letter string
	// reports are the events earlier reports have made.
	reports []*mail.Event
}

// facts brings together what spool, record and the reader's own last events say of a delivery. It returns
// store.ErrNotFound for one that nobody knows, or knows any more.
func (r *Reader) facts(ctx context.Context, id mail.DeliveryID) (*facts, error) {
	f := new(facts)
	live, err := r.o.Inbox.Delivery(ctx, id)
	if err != nil && !errors.Is(err, spool.ErrNotFound) {
		return nil, err
	}
	f.live = live
	d, err := r.o.Store.Delivery(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if live == nil && (err != nil || !d.State.Final()) {
		// What ended it, if anything did, is on its way to the record.
		if err := r.catchUp(ctx); err != nil {
			return nil, err
		}
		d, err = r.o.Store.Delivery(ctx, id)
	}
	switch {
	case err == nil:
		f.Delivery = *d
	case errors.Is(err, store.ErrNotFound) && live != nil:
		f.Delivery = store.Delivery{ID: id, Message: live.Message, Account: live.Queue.Account, Stream: live.Queue.Stream, Recipient: live.Recipient.String()}
	default:
		return nil, err
	}
	list, err := r.o.Store.Timeline(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	f.tried = f.Updated
	for _, e := range list {
		f.add(e)
	}
	for _, e := range r.recent.of(id) {
		// That the timeline has it does not mean that the state does: it was read a moment before.
		f.apply(e)
		if e.ID.Seq == 0 || !slices.ContainsFunc(f.reports, func(x *mail.Event) bool { return x.ID == e.ID }) {
			f.add(e)
		}
	}
	return f, nil
}

// add takes an event of the timeline in.
func (f *facts) add(e *mail.Event) {
	switch {
	case e.Report != nil:
		f.reports = append(f.reports, e)
	case e.Attempt != nil:
		f.last, f.tried = e.Attempt, e.At
	case e.Envelope != nil:
		f.letter = e.Envelope.Credential
		if f.Account == "" {
			f.Account, f.Stream = e.Envelope.Account, e.Envelope.Stream
		}
	}
}

// apply moves the state on by an event that the record may not have.
func (f *facts) apply(e *mail.Event) {
	switch e.Type {
	case mail.EventBounced:
		f.State, f.Late = store.State(mail.Bounced), true
	case mail.EventDelivered:
		if !f.Late {
			f.State = store.State(mail.Delivered)
		}
	case mail.EventComplained:
		f.Complained = true
	case mail.EventAutoReplied:
		f.AutoReplied = true
	}
}

// by names the report that made the event of a type, if one did.
func (f *facts) by(t mail.EventType) string {
	for _, e := range f.reports {
		if e.Type == t {
			return ", by report " + e.Report.ID.String()
		}
	}
	return ""
}

// taken reports whether somebody took the mail from us, or may have.
func (f *facts) taken() bool {
	return sentState(&f.Delivery) || f.uncertain()
}

func (f *facts) uncertain() bool { return f.Uncertain || f.live != nil && f.live.Uncertain }

// attempted reports whether the delivery was ever tried.
func (f *facts) attempted() bool {
	return f.last != nil || f.Attempts > 0 || f.live != nil && f.live.Attempts > 0
}

// errBehind says that the record has not caught up with the spool.
var errBehind = errors.New("feedback: the record is behind the spool")

// catchUp waits until the record holds everything the spool's answers may rest on.
func (r *Reader) catchUp(ctx context.Context) error {
	newest := r.o.Inbox.NewestEvent()
	for range catchUpWaits {
		if mark, err := r.o.Store.WaitFor(ctx, r.o.Inbox.ID(), newest); err != nil || mark >= newest {
			return err
		}
	}
	return errBehind
}

// catchUpWaits is how often the record is waited for, store.MaxWait each, before it is called behind.
const catchUpWaits = 20

// recent are the events the reader has made and the record may not have yet, by delivery: the projector is a moment
// behind, and the next report may be about the same delivery.
type recent struct {
	byID  map[mail.DeliveryID][]*mail.Event
	order []*mail.Event // committed, in order of sequence
}

func (q *recent) of(id mail.DeliveryID) []*mail.Event { return q.byID[id] }

func (q *recent) add(e *mail.Event) {
	if q.byID == nil {
		q.byID = map[mail.DeliveryID][]*mail.Event{}
	}
	q.byID[e.Delivery] = append(q.byID[e.Delivery], e)
}

// drop takes back events that were not committed.
func (q *recent) drop(list []*mail.Event) {
	for _, e := range list {
		rest := slices.DeleteFunc(q.byID[e.Delivery], func(x *mail.Event) bool { return x == e })
		if q.byID[e.Delivery] = rest; len(rest) == 0 {
			delete(q.byID, e.Delivery)
		}
	}
}

// committed notes that events have got their numbers.
func (q *recent) committed(list []*mail.Event) { q.order = append(q.order, list...) }

// forget drops what the record holds by now.
func (q *recent) forget(mark uint64) {
	n := 0
	for n < len(q.order) && q.order[n].ID.Seq <= mark {
		id := q.order[n].Delivery
		if rest := q.byID[id][1:]; len(rest) > 0 {
			q.byID[id] = rest
		} else {
			delete(q.byID, id)
		}
		n++
	}
	q.order = append(q.order[:0:0], q.order[n:]...)
}
