package feedback

import (
	"maps"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
)

// waiter is an entry that waits for its delivery's attempt to end: a fast peer's report can overtake our own commit of
// its reply.
type waiter struct {
	until   time.Time // looked at again then
	pause   time.Duration
	words   []word
	counted bool // its forwarding is counted
	failed  bool // the record did not tell of its delivery
}

// word is what a report says of a delivery. Of those that wait only the first one to say it is waited for: a peer that cuts
// off its own dialogue holds the token by then, and could fill the inbox with what has to wait.
type word struct {
	delivery mail.DeliveryID
	kind     report.Kind
	action   report.Action
}

// Pauses of a waiter, doubled from the first up to the last.
const (
	waiterFirst = 250 * time.Millisecond
	waiterLast  = 30 * time.Second
)

// postpone leaves an entry in the inbox for a while.
func (r *Reader) postpone(x *reading) {
	w := r.later[x.entry.Seq]
	w.pause = min(max(2*w.pause, waiterFirst), waiterLast)
	w.until = r.o.Now().Add(w.pause)
	r.release(x.entry.Seq, w.words)
	w.words, w.failed = x.words, x.failed
	for _, said := range w.words {
		r.first[said] = x.entry.Seq
	}
	r.later[x.entry.Seq] = w
}

// said reports whether another entry waits already with the same word of a delivery, in the inbox or in the page in hand.
func (r *Reader) said(x *reading, said word) bool {
	if seq, ok := r.first[said]; ok {
		return seq != x.entry.Seq
	}
	for _, y := range r.hand {
		if y.entry.Seq < x.entry.Seq && y.wait && slices.Contains(y.words, said) {
			return true
		}
	}
	return false
}

// forgetWaiter ends an entry's wait, if it waited.
func (r *Reader) forgetWaiter(seq uint64) {
	r.release(seq, r.later[seq].words)
	delete(r.later, seq)
}

func (r *Reader) release(seq uint64, words []word) {
	for _, said := range words {
		if r.first[said] == seq {
			delete(r.first, said)
		}
	}
}

// due lists the entries whose wait is over, in the order they came in.
func (r *Reader) due() []uint64 {
	now := r.o.Now()
	list := slices.Sorted(maps.Keys(r.later))
	return slices.DeleteFunc(list, func(seq uint64) bool { return now.Before(r.later[seq].until) })
}
