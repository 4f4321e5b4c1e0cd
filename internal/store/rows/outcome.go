package rows

import (
	"cmp"
	"slices"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// Before is what the record says of a delivery before a batch.
type Before struct {
	State  store.State
	Class  mail.Class
	Rank   Rank
	Bits   int64
	Author string // domain of its author (AuthorDomain)
}

// AuthorDomain is the domain a message is counted under: that of its author, else of its envelope sender, in lower case.
func AuthorDomain(headerFrom, sender string) string {
	if headerFrom != "" {
		return DomainOf(headerFrom)
	}
	return DomainOf(sender)
}

// Count is a row of one of the questions an account asks of itself: in which hour, whose (a stream, a sender domain, a
// recipient domain), and what (an event type, an outcome, a mark, a speed).
type Count struct {
	CountKey
	Sum
}

// CountKey is the key of a Count. Class is empty for marks and speeds.
type CountKey struct {
	Hour    Hour
	Account string
	Of      string
	What    string
	Class   mail.Class
}

// Counts are the rows of a batch. Those of outcomes may be negative: a delivery leaves one outcome for another.
type Counts struct {
	Senders        []Count
	Outcomes       []Count
	SenderOutcomes []Count
	DomainOutcomes []Count
	Marks          []Count
	Speeds         []Count
}

type counter map[CountKey]Sum

// rows returns the counts in order of key, without those that came to nothing.
func (c counter) rows() []Count {
	list := make([]Count, 0, len(c))
	for k, v := range c {
		if v != (Sum{}) {
			list = append(list, Count{k, v})
		}
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Of, b.Of),
			cmp.Compare(a.What, b.What), cmp.Compare(a.Class, b.Class))
	})
	return list
}

// outcomeOf tells a late bounce apart from the other states.
func outcomeOf(s store.State, r Rank) store.Outcome {
	if r == RankLate {
		return store.OutcomeLateBounce
	}
	return store.Outcome(s)
}

// typeOf is the event type an event is counted under.
func typeOf(e *mail.Event) mail.EventType {
	if e.Type == mail.EventBounced && e.Late {
		return store.TypeLateBounce
	}
	return e.Type
}

// hoursPerDay is the width of a day's rows.
const hoursPerDay = 24

// Day returns the first hour of h's day.
func (h Hour) Day() Hour {
	d := h % hoursPerDay
	if d < 0 {
		d += hoursPerDay
	}
	return h - d
}

// outcomes counts what the batch changed about where deliveries stand.
func (f *folder) outcomes() Counts {
	senders, outcomes, bySender, byDomain := f.senders, counter{}, counter{}, counter{}
	marks, speeds := counter{}, counter{}
	for _, s := range f.batch.Summaries {
		was, known := f.before[s.ID]
		if !known {
			was.Rank = RankNone
		}
		hour := HourOf(s.Created)
		day, stream := hour.Day(), string(s.Stream)
		count := func(n int64, state store.State, rank Rank, class mail.Class, author string) {
			if rank == RankNone {
				return
			}
			o := outcomeOf(state, rank)
			tally(outcomes, CountKey{hour, s.Account, stream, string(o), class}, Sum{N: n})
			tally(bySender, CountKey{day, s.Account, author, string(o), class}, Sum{N: n})
			if !o.Waiting() {
				tally(byDomain, CountKey{day, s.Account, s.Domain, string(o), class}, Sum{N: n})
			}
		}
		count(-1, was.State, was.Rank, was.Class, was.Author)
		if s.Rank > RankNone && s.Rank >= was.Rank {
			count(1, s.State, s.Rank, s.Class, f.author(s))
		} else {
			count(1, was.State, was.Rank, was.Class, f.author(s))
		}
		for _, m := range markNames {
			if s.Bits&^was.Bits&m.bit != 0 {
				tally(marks, CountKey{day, s.Account, stream, string(m.name), ""}, Sum{N: 1})
			}
		}
		if s.taken && was.Rank < RankRelayed {
			tally(speeds, CountKey{day, s.Account, stream, store.SpeedOf(s.took), ""}, Sum{N: 1, Delay: s.took})
		}
	}
	return Counts{senders.rows(), outcomes.rows(), bySender.rows(), byDomain.rows(), marks.rows(), speeds.rows()}
}

var markNames = []struct {
	bit  int64
	name store.Mark
}{
	{markDeferred, store.MarkDeferred},
	{MarkUncertain, store.MarkUncertain},
	{MarkComplained, store.MarkComplained},
	{MarkUnsubscribed, store.MarkUnsubscribed},
	{MarkOpened, store.MarkOpened},
	{MarkClicked, store.MarkClicked},
	{MarkAutoReplied, store.MarkAutoReplied},
}

// author returns the domain a delivery is counted under, as far as it is known.
func (f *folder) author(s *Summary) string {
	if was, known := f.before[s.ID]; known && !s.Known {
		return was.Author
	}
	return AuthorDomain(s.HeaderFrom, s.Sender)
}

// take notes how long an event's delivery took until the peer had it. A report tells of the taking later than it was.
func (s *Summary) take(e *mail.Event) {
	if !s.taken && e.Report == nil && (e.Type == mail.EventDelivered || e.Type == mail.EventRelayed) {
		s.taken, s.took = true, max(0, e.At.Sub(e.Delivery.Time()))
	}
}

// countSender counts the events of deliveries under the domain of their author.
func (f *folder) countSender(e *mail.Event, s *Summary) {
	one := Sum{N: 1}
	if e.Type == mail.EventDelivered || e.Type == mail.EventRelayed {
		one.Delay = max(0, e.At.Sub(e.Delivery.Time()))
	}
	tally(f.senders, CountKey{HourOf(e.At), e.Account, f.author(s), string(typeOf(e)), e.Class}, one)
}
