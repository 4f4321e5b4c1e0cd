package figures

import (
	"cmp"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// How long the lists of a report are.
const (
	maxSenders = 50
	maxWorst   = 20
	// maxDomains is how many domains are named with a reply.
	maxDomains = 3
	// maxWordings bounds the wordings kept apart while a report is made; the rarest seen first fall away.
	maxWordings = 5000
)

// Outcomes of deliveries, as the record names them.
const (
	Held       = "held"
	LateBounce = "bounced_late"
)

// Beyond stands for the times above the largest bound of speeds.
const Beyond = 7 * day

// Builder takes counts in any order.
type Builder struct {
	r       Report
	step    time.Duration
	steps   map[time.Time]*Totals
	classes map[mail.Class]*Class
	within  map[time.Duration]int64
	delay   time.Duration
	senders map[string]*Sender
	domains map[string]*domain

	receivers map[string]*receiver
	failed    wordings
	waits     wordings
	unknown   wordings
}

type domain struct {
	Domain
	classes map[mail.Class]int64
}

type receiver struct {
	Receiver
	classes map[mail.Class]int64
}

// New begins a report. account may be "" for everyone's.
func New(account string, p Period, now time.Time) *Builder {
	return &Builder{
		r:         Report{Account: account, Period: p, Made: now.UTC()},
		step:      p.Step(),
		steps:     map[time.Time]*Totals{},
		classes:   map[mail.Class]*Class{},
		within:    map[time.Duration]int64{},
		senders:   map[string]*Sender{},
		domains:   map[string]*domain{},
		receivers: map[string]*receiver{},
		failed:    wordings{}, waits: wordings{}, unknown: wordings{},
	}
}

// add counts n deliveries with an outcome. An outcome without a name here waits.
func (t *Totals) add(outcome string, n int64) {
	t.Accepted += n
	switch outcome {
	case string(mail.Delivered):
		t.Delivered += n
	case string(mail.Relayed):
		t.Relayed += n
	case string(mail.Bounced):
		t.Bounced += n
	case LateBounce:
		t.LateBounced += n
	case string(mail.Expired):
		t.Expired += n
	case string(mail.Suppressed):
		t.Suppressed += n
	case string(mail.Cancelled):
		t.Cancelled += n
	case Held:
		t.Held += n
		t.Waiting += n
	default:
		t.Waiting += n
	}
}

func failure(outcome string) bool {
	return outcome == string(mail.Bounced) || outcome == LateBounce || outcome == string(mail.Expired)
}

// Outcome counts n deliveries accepted at a time, which stand at outcome for a reason of that class.
func (b *Builder) Outcome(at time.Time, outcome string, class mail.Class, n int64) {
	b.r.Totals.add(outcome, n)
	at = at.UTC().Truncate(b.step)
	s := b.steps[at]
	if s == nil {
		s = &Totals{}
		b.steps[at] = s
	}
	s.add(outcome, n)
	if outcome != string(mail.Bounced) && outcome != LateBounce {
		return
	}
	if class == mail.ClassNone {
		class = mail.ClassOther
	}
	c := b.classes[class]
	if c == nil {
		c = &Class{Class: class}
		b.classes[class] = c
	}
	if outcome == LateBounce {
		c.Late += n
	} else {
		c.Bounced += n
	}
}

// Mark counts n deliveries to which something happened at least once.
func (b *Builder) Mark(mark string, n int64) {
	t := &b.r.Totals
	switch mark {
	case "deferred":
		t.Deferred += n
	case "uncertain":
		t.Uncertain += n
	case "complained":
		t.Complained += n
	case "auto_replied":
		t.AutoReplied += n
	case "unsubscribed":
		t.Unsubscribed += n
	}
}

// Took counts n deliveries taken within max, and the sum of their times. max is one of a rising row of bounds; Beyond
// above the last.
func (b *Builder) Took(max time.Duration, n int64, sum time.Duration) {
	b.within[max] += n
	b.r.Speed.Count += n
	b.delay += sum
}

// Arrived counts n events of a type during the period.
func (b *Builder) Arrived(kind string, n int64) {
	a := &b.r.Arrived
	switch kind {
	case LateBounce:
		a.LateBounces += n
	case string(mail.EventComplained):
		a.Complaints += n
	case string(mail.EventAutoReplied):
		a.AutoReplies += n
	case string(mail.EventUnsubscribed):
		a.Unsubscribes += n
	case string(mail.EventDeferred):
		a.Deferrals += n
	}
}

// Sender counts n deliveries of a sender domain.
func (b *Builder) Sender(name, outcome string, n int64) {
	s := b.senders[name]
	if s == nil {
		s = &Sender{Domain: name}
		b.senders[name] = s
	}
	s.Totals.add(outcome, n)
}

// Domain counts n deliveries to a recipient domain that are over.
func (b *Builder) Domain(name, outcome string, class mail.Class, n int64) {
	d := b.domains[name]
	if d == nil {
		d = &domain{Domain: Domain{Domain: name}, classes: map[mail.Class]int64{}}
		b.domains[name] = d
	}
	d.Over += n
	if failure(outcome) {
		d.Failed += n
		d.classes[class] += n
	}
	if outcome == LateBounce {
		d.Late += n
	}
}

// Failure is one delivery that failed, or is put off at the moment.
type Failure struct {
	Domain      string
	Receiver    string // "" where none is recognised
	Host        string
	Waiting     bool // put off, not failed
	Class       mail.Class
	Code        int
	Enhanced    string
	Reply       string
	Fingerprint string
}

// Failure adds one. The newest come first: their words are the samples.
func (b *Builder) Failure(f *Failure) {
	b.r.Examined++
	if d := b.domains[f.Domain]; d != nil && d.Receiver == "" {
		d.Receiver = f.Receiver
	}
	if f.Receiver != "" {
		r := b.receivers[f.Receiver]
		if r == nil {
			r = &receiver{Receiver: Receiver{Receiver: f.Receiver}, classes: map[mail.Class]int64{}}
			b.receivers[f.Receiver] = r
		}
		r.classes[f.Class]++
		if f.Waiting {
			r.Waiting++
		} else {
			r.Failed++
		}
	}
	if f.Waiting {
		b.waits.add(f)
	} else {
		b.failed.add(f)
	}
	if f.Class == mail.ClassOther {
		b.unknown.add(f)
	}
}

// KeptFrom says that the record has nothing of the time before at, unless that is before the period.
func (b *Builder) KeptFrom(at time.Time) {
	if at.After(b.r.Period.From) {
		b.r.KeptFrom = at.UTC()
	}
}

// Partial says that there were more failures than were added.
func (b *Builder) Partial() { b.r.Partial = true }

// Report returns what was added up.
func (b *Builder) Report() *Report {
	r := b.r
	r.Classes, r.Steps, r.Senders = []Class{}, []Step{}, []Sender{}
	r.Domains, r.Receivers = []Domain{}, []Receiver{}
	for _, c := range b.classes {
		if c.Bounced+c.Late > 0 {
			r.Classes = append(r.Classes, *c)
		}
	}
	slices.SortFunc(r.Classes, func(x, y Class) int {
		return cmp.Or(cmp.Compare(y.Bounced+y.Late, x.Bounced+x.Late), cmp.Compare(x.Class, y.Class))
	})
	for at := r.Period.From; at.Before(r.Period.To) && !at.After(r.Made); at = at.Add(b.step) {
		s := Step{Time: at}
		if t := b.steps[at]; t != nil {
			s.Totals = *t
		}
		r.Steps = append(r.Steps, s)
	}
	for _, s := range b.senders {
		r.Senders = append(r.Senders, *s)
	}
	slices.SortFunc(r.Senders, func(x, y Sender) int {
		return cmp.Or(cmp.Compare(y.Totals.Accepted, x.Totals.Accepted), cmp.Compare(x.Domain, y.Domain))
	})
	r.Senders = r.Senders[:min(len(r.Senders), maxSenders)]
	for _, d := range b.domains {
		if d.Failed > 0 {
			d.Class = mostOften(d.classes)
			r.Domains = append(r.Domains, d.Domain)
		}
	}
	slices.SortFunc(r.Domains, func(x, y Domain) int {
		return cmp.Or(cmp.Compare(y.Failed, x.Failed), cmp.Compare(x.Over, y.Over), cmp.Compare(x.Domain, y.Domain))
	})
	r.Domains = r.Domains[:min(len(r.Domains), maxWorst)]
	for _, x := range b.receivers {
		x.Class = mostOften(x.classes)
		r.Receivers = append(r.Receivers, x.Receiver)
	}
	slices.SortFunc(r.Receivers, func(x, y Receiver) int {
		return cmp.Or(cmp.Compare(y.Failed, x.Failed), cmp.Compare(y.Waiting, x.Waiting), cmp.Compare(x.Receiver, y.Receiver))
	})
	r.Receivers = r.Receivers[:min(len(r.Receivers), maxWorst)]
	r.Replies, r.Waits, r.Unknown = b.failed.worst(), b.waits.worst(), b.unknown.worst()
	r.Speed = b.speed()
	return &r
}

func (b *Builder) speed() Speed {
	s := Speed{Count: b.r.Speed.Count, Within: []Within{}}
	if s.Count == 0 {
		return s
	}
	s.Mean = b.delay / time.Duration(s.Count)
	bounds := make([]time.Duration, 0, len(b.within))
	for max := range b.within {
		bounds = append(bounds, max)
	}
	slices.Sort(bounds)
	var n int64
	for _, max := range bounds {
		n += b.within[max]
		s.Within = append(s.Within, Within{max, b.within[max]})
		for _, q := range []struct {
			share int64 // in hundredths
			into  *time.Duration
		}{{50, &s.Median}, {90, &s.P90}, {99, &s.P99}} {
			if *q.into == 0 && 100*n >= q.share*s.Count {
				*q.into = max
			}
		}
	}
	return s
}

func mostOften[K cmp.Ordered](counts map[K]int64) (best K) {
	var most int64
	for k, n := range counts {
		if n > most || n == most && k < best {
			best, most = k, n
		}
	}
	return best
}

// wordings are replies by fingerprint.
type wordings map[string]*wording

type wording struct {
	Reply
	domains map[string]int64
	classes map[mail.Class]int64
}

func (w wordings) add(f *Failure) {
	key := f.Fingerprint
	if key == "" {
		key = string(f.Class) // no words: what it was taken for
	}
	x := w[key]
	if x == nil {
		if len(w) >= maxWordings {
			for k, v := range w {
				if v.Count == 1 {
					delete(w, k)
				}
			}
			if len(w) >= maxWordings {
				return
			}
		}
		x = &wording{
			Reply:   Reply{Fingerprint: key, Code: f.Code, Enhanced: f.Enhanced, Sample: f.Reply, Host: f.Host},
			domains: map[string]int64{}, classes: map[mail.Class]int64{},
		}
		w[key] = x
	}
	x.Count++
	x.domains[f.Domain]++
	x.classes[f.Class]++
}

func (w wordings) worst() []Reply {
	list := make([]*wording, 0, len(w))
	for _, x := range w {
		list = append(list, x)
	}
	slices.SortFunc(list, func(x, y *wording) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Fingerprint, y.Fingerprint))
	})
	out := []Reply{}
	for _, x := range list[:min(len(list), maxWorst)] {
		x.Class = mostOften(x.classes)
		domains := make([]string, 0, len(x.domains))
		for d := range x.domains {
			domains = append(domains, d)
		}
		slices.SortFunc(domains, func(a, b string) int {
			return cmp.Or(cmp.Compare(x.domains[b], x.domains[a]), cmp.Compare(a, b))
		})
		x.Domains = domains[:min(len(domains), maxDomains)]
		out = append(out, x.Reply)
	}
	return out
}
