package figures

import (
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Report is what became of the mail accepted in a period, as of Made.
type Report struct {
	Account string    `json:"account,omitempty"` // "": the whole platform
	Period  Period    `json:"period"`
	Made    time.Time `json:"made"`
	// KeptFrom is set where the record no longer has the begin of the period: mail accepted before it is not counted.
	KeptFrom time.Time `json:"kept_from,omitzero"`

	Totals Totals `json:"totals"`
	// Classes are the bounces by class, most frequent first; sync and late ones together are all bounces.
	Classes []Class `json:"classes"`
	// Steps are the totals by hour or day of acceptance, every step of the period that has begun.
	Steps []Step `json:"steps"`
	Speed Speed  `json:"speed"`
	// Arrived counts what was reported during the period about mail of any day.
	Arrived Arrived `json:"arrived"`
	// Senders are the account's sender domains, those that sent most first.
	Senders []Sender `json:"senders"`
	// Domains are the recipient domains where most mail failed, Receivers the mailbox providers.
	Domains   []Domain   `json:"worst_domains"`
	Receivers []Receiver `json:"worst_receivers"`
	// Replies are the wordings that ended most deliveries, Waits those that put deliveries off that wait now, Unknown
	// those no rule understood.
	Replies []Reply `json:"worst_replies"`
	Waits   []Reply `json:"waiting_replies"`
	Unknown []Reply `json:"unknown_replies"`
	// Examined is how many failed or deferred deliveries Receivers and Replies were made of; Partial: there were more,
	// older ones.
	Examined int64 `json:"examined"`
	Partial  bool  `json:"partial,omitempty"`
}

// Totals are counts of deliveries: one message to one recipient each. Accepted is the sum of Delivered, Relayed,
// Bounced, LateBounced, Expired, Suppressed, Cancelled and Waiting.
type Totals struct {
	Accepted    int64 `json:"accepted"`
	Delivered   int64 `json:"delivered"`    // accepted by the recipient's MX and not bounced since
	Relayed     int64 `json:"relayed"`      // taken by a gateway or provider, no failure reported
	Bounced     int64 `json:"bounced"`      // refused during the dialogue
	LateBounced int64 `json:"bounced_late"` // taken, and bounced by a report afterwards
	Expired     int64 `json:"expired"`
	Suppressed  int64 `json:"suppressed"`
	Cancelled   int64 `json:"cancelled"`
	Waiting     int64 `json:"waiting"` // no outcome yet: queued, deferred or held

	Held int64 `json:"held"` // of Waiting
	// The following happened to deliveries on the way or afterwards, whatever became of them.
	Deferred     int64 `json:"deferred"` // put off at least once
	Uncertain    int64 `json:"uncertain"`
	Complained   int64 `json:"complained"`
	AutoReplied  int64 `json:"auto_replied"`
	Unsubscribed int64 `json:"unsubscribed"`
}

// Failed is what came to no good end: bounced, late or not, and expired.
func (t *Totals) Failed() int64 { return t.Bounced + t.LateBounced + t.Expired }

// Taken is what receivers, gateways and providers took and have not given back.
func (t *Totals) Taken() int64 { return t.Delivered + t.Relayed }

// Share returns n as a part of all, between 0 and 1; 0 where there are none.
func Share(n, all int64) float64 {
	if all <= 0 {
		return 0
	}
	return float64(n) / float64(all)
}

// Class is how often a bounce class was met.
type Class struct {
	Class   mail.Class `json:"class"`
	Bounced int64      `json:"bounced"`
	Late    int64      `json:"bounced_late"`
}

// Step is one hour or day.
type Step struct {
	Time   time.Time `json:"time"`
	Totals Totals    `json:"totals"`
}

// Speed tells how long mail took from its acceptance until the peer had it, of those that were taken.
type Speed struct {
	Count int64 `json:"count"`
	// Median, P90 and P99 are bounds: half, 90 % and 99 % took at most so long. Zero where Count is.
	Median time.Duration `json:"median_ns"`
	P90    time.Duration `json:"p90_ns"`
	P99    time.Duration `json:"p99_ns"`
	Mean   time.Duration `json:"mean_ns"`
	Within []Within      `json:"within"`
}

// Within says how many took at most Max and longer than the bound before.
type Within struct {
	Max   time.Duration `json:"max_ns"`
	Count int64         `json:"count"`
}

// Arrived counts events of a period, about mail of any day.
type Arrived struct {
	LateBounces  int64 `json:"late_bounces"`
	Complaints   int64 `json:"complaints"`
	AutoReplies  int64 `json:"auto_replies"`
	Unsubscribes int64 `json:"unsubscribes"`
	Deferrals    int64 `json:"deferrals"` // attempts put off
}

// Sender is what became of the mail of one sender domain.
type Sender struct {
	Domain string `json:"domain"`
	Totals Totals `json:"totals"` // without the marks (deferred, complained …)
}

// Domain is what became of the mail to one recipient domain.
type Domain struct {
	Domain   string     `json:"domain"`
	Over     int64      `json:"over"` // deliveries that have an outcome
	Failed   int64      `json:"failed"`
	Late     int64      `json:"bounced_late"` // of Failed
	Class    mail.Class `json:"class,omitempty"`
	Receiver string     `json:"receiver,omitempty"`
}

// Receiver is how much failed at one mailbox provider.
type Receiver struct {
	Receiver string     `json:"receiver"`
	Failed   int64      `json:"failed"`
	Waiting  int64      `json:"waiting"` // deferred at the moment
	Class    mail.Class `json:"class,omitempty"`
}

// Reply is a wording of refusals.
type Reply struct {
	Fingerprint string     `json:"fingerprint"`
	Count       int64      `json:"count"`
	Class       mail.Class `json:"class,omitempty"`
	Code        int        `json:"code,omitempty"`
	Enhanced    string     `json:"enhanced,omitempty"`
	Sample      string     `json:"sample"`  // one of them, word for word
	Domains     []string   `json:"domains"` // some that it came from, the most frequent first
	Host        string     `json:"mx,omitempty"`
}
