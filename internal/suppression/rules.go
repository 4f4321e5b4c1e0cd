package suppression

import (
	"fmt"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

const day = 24 * time.Hour

// Rules are the settings of the table of causes.
type Rules struct {
	// Proof: an address that took mail within it is not given up for one "no such user".
	Proof time.Duration
	// Apart is how far apart two failures must be to confirm each other.
	Apart time.Duration
	// InactiveFailures in InactiveWithin suppress for InactiveFor.
	InactiveFailures            int
	InactiveWithin, InactiveFor time.Duration
	// FullDays distinct days (UTC) in FullWithin suppress for FullFor.
	FullDays            int
	FullWithin, FullFor time.Duration
	// History is how long failures are remembered.
	History time.Duration
}

// Default are the rules where nothing else is set.
func Default() Rules {
	return Rules{
		Proof: 90 * day, Apart: day,
		InactiveFailures: 2, InactiveWithin: 30 * day, InactiveFor: 180 * day,
		FullDays: 3, FullWithin: 30 * day, FullFor: 30 * day,
		History: 90 * day,
	}
}

// Facts are what a decision rests on besides the failure itself.
type Facts struct {
	// History are earlier failures of the same account and address, in any order.
	History []platform.Failure
	// Accepted is when mail to the address was last taken, anybody's; zero: not known to have been.
	Accepted time.Time
	// Guarded: the receiver says "no such user" far more often than it used to. It may be wrong.
	Guarded bool
}

// Decision is what follows from a failure.
type Decision struct {
	Suppress bool
	Stream   mail.Stream // "": both
	Expires  time.Time   // zero: never
	// Why says in words what was met, or what is still missing.
	Why string
}

// Decide says whether a failure puts its address on the account's list. More acceptance and more doubt only make it
// less likely: when it says no with neither, they need not be looked up.
func (r Rules) Decide(f platform.Failure, facts Facts) Decision {
	if !f.At.After(facts.Accepted) && !f.Class.Personal() {
		return Decision{Why: "mail was accepted since"}
	}
	counted := r.count(f, facts)
	if f.Evidence == mail.EvidenceMatch && len(counted) < 2 && !r.seconded(f, facts) {
		return Decision{Why: "a report that only matches needs a second one"}
	}
	switch f.Class {
	case platform.CauseInvalidRecipient:
		switch {
		case facts.Guarded:
			return r.confirmed(counted, "its receiver answers so unusually often")
		case !facts.Accepted.IsZero() && f.At.Sub(facts.Accepted) <= r.Proof:
			return r.confirmed(counted, "it took mail on "+facts.Accepted.UTC().Format(time.DateOnly))
		}
		return Decision{Suppress: true, Why: "no such recipient"}
	case platform.CauseInvalidDomain:
		return r.confirmed(counted, "a domain may be gone for an hour")
	case platform.CauseInactive:
		n := len(within(counted, f.At, r.InactiveWithin))
		return Decision{
			Suppress: n >= r.InactiveFailures, Expires: f.At.Add(r.InactiveFor),
			Why: fmt.Sprintf("%d of %d failures within %d days", n, r.InactiveFailures, r.InactiveWithin/day),
		}
	case platform.CauseMailboxFull:
		n := days(within(counted, f.At, r.FullWithin))
		return Decision{
			Suppress: n >= r.FullDays, Expires: f.At.Add(r.FullFor),
			Why: fmt.Sprintf("full on %d of %d days within %d", n, r.FullDays, r.FullWithin/day),
		}
	case platform.CauseComplaint:
		return Decision{Suppress: true, Stream: mail.Bulk, Why: "the recipient complained"}
	case platform.CauseUnsubscribe:
		return Decision{Suppress: true, Stream: mail.Bulk, Why: "the recipient unsubscribed"}
	}
	return Decision{Why: "this never suppresses"}
}

// confirmed suppresses if two of the failures are far enough apart.
func (r Rules) confirmed(counted []platform.Failure, because string) Decision {
	first, last := counted[0].At, counted[len(counted)-1].At
	if last.Sub(first) >= r.Apart {
		return Decision{Suppress: true, Why: fmt.Sprintf("failed on %s and again on %s", first.UTC().Format(time.DateTime), last.UTC().Format(time.DateTime))}
	}
	return Decision{Why: fmt.Sprintf("a second failure, %s after the first, is needed: %s", r.Apart, because)}
}

// count returns the failures of f's cause that count, f among them, in order of time: of each delivery the first, none
// that is forgotten, none before mail was accepted.
func (r Rules) count(f platform.Failure, facts Facts) []platform.Failure {
	all := append(slices.Clone(facts.History), f)
	slices.SortStableFunc(all, func(a, b platform.Failure) int { return a.At.Compare(b.At) })
	seen := map[mail.DeliveryID]bool{}
	return slices.DeleteFunc(all, func(x platform.Failure) bool {
		if x.Class != f.Class || seen[x.Delivery] || r.void(x, f, facts) {
			return true
		}
		seen[x.Delivery] = true
		return false
	})
}

// seconded reports whether another delivery's failure, for any cause, speaks against the address too.
func (r Rules) seconded(f platform.Failure, facts Facts) bool {
	return slices.ContainsFunc(facts.History, func(x platform.Failure) bool {
		return x.Delivery != f.Delivery && x.Class.Personal() == f.Class.Personal() && !r.void(x, f, facts)
	})
}

func (r Rules) void(x, f platform.Failure, facts Facts) bool {
	return f.At.Sub(x.At) > r.History || !x.Class.Personal() && !x.At.After(facts.Accepted)
}

func within(fs []platform.Failure, at time.Time, d time.Duration) []platform.Failure {
	return slices.DeleteFunc(fs, func(x platform.Failure) bool { return at.Sub(x.At) > d })
}

func days(fs []platform.Failure) int {
	seen := map[string]bool{}
	for _, x := range fs {
		seen[x.At.UTC().Format(time.DateOnly)] = true
	}
	return len(seen)
}
