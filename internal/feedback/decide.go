package feedback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// Limits of what is acted on.
const (
	// maxAge is how long after a delivery's last attempt a report on it is acted on.
	maxAge = 30 * 24 * time.Hour
	// maxDelays is how many reports of a delay one delivery's timeline takes.
	maxDelays = 10
	// maxInFlight is how long a report waits for the attempt it is about to end: an attempt ends within 15 minutes of its
	// message's expiry, and its dialogue's longest wait is 10.
	maxInFlight = 15 * time.Minute
)

// result is what follows for one delivery.
type result struct {
	event   mail.EventType // "": none
	entry   int            // of the report's recipients, the one that decided; -1: none
	outcome store.ReportOutcome
	why     string
	wait    bool
}

// decide fills in the row and the events of one report. It changes nothing outside of x until it has succeeded, so that it
// can be called again after an error, which is one of a shelf.
func (r *Reader) decide(ctx context.Context, x *reading) (err error) {
	if x.aside {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("deciding a report failed", mail.LogEvent, "report_panic", "report", x.row.ID.String(), mail.LogErr, fmt.Sprint(p), "stack", string(debug.Stack()))
			x.events = nil
			x.setAside(fmt.Sprintf("deciding it failed: %v", p))
			err = nil
		}
	}()
	x.events, x.wait, x.words, x.failed, x.notice, x.row.Deliveries = nil, false, nil, false, false, nil
	row := x.row
	// What an account has brought itself is its own to see, whatever it turns out to be.
	row.Account = x.entry.Meta[spool.MetaAccount]
	row.Evidence, row.Outcome, row.Why, row.Mailbox = "", "", "", ""
	if x.rep.Kind == report.Other {
		r.keep(x)
		return nil
	}
	a, err := r.attribute(ctx, x)
	if err != nil {
		return err
	}
	if own := row.Account; own != "" && a.account != "" && a.account != own {
		a = attribution{outcome: store.ReportUnknown, why: notYours}
	}
	row.Evidence, row.Outcome, row.Why = a.evidence, a.outcome, a.why
	if row.Account == "" {
		row.Account = a.account
	}
	if len(a.targets) == 0 {
		row.Evidence = ""
		row.Mailbox = x.mailbox()
		return nil
	}
	for _, t := range a.targets {
		if err := r.decideOne(ctx, x, t, a.evidence); err != nil {
			return err
		}
	}
	if x.wait {
		x.events = nil
		return nil
	}
	x.summarise()
	if x.notice {
		row.Mailbox = mailboxPostmaster
	}
	for _, e := range x.events {
		r.recent.add(e)
	}
	return nil
}

// notYours is said of a report an account has brought about another's mail: no more, for the rest is the other's.
const notYours = "it is about no delivery of this account"

// mailboxPostmaster is the operator's mailbox for what the platform's own mail brings back.
const mailboxPostmaster = "postmaster"

// keep is what happens to mail that is no report.
func (r *Reader) keep(x *reading) {
	x.row.Outcome, x.row.Mailbox = store.ReportKept, x.mailbox()
	// Who writes to abuse@ about a mail often quotes its header: whose mail it was is the first the operator wants to know.
	switch m := &x.marks; {
	case len(m.deliveries) > 0:
		x.row.Why = "it quotes the header of delivery " + m.deliveries[0].String()
	case len(m.messages) > 0:
		x.row.Why = "it quotes the header of message " + m.messages[0].String()
	}
	if x.row.Mailbox == "" {
		x.row.Outcome, x.row.Why = store.ReportRecorded, "it is no report"
		if a, _ := x.pathDelivery(r); !a.IsZero() {
			x.row.Why = "it is no report; somebody has answered to the return path"
		}
	}
}

// pathDelivery is the delivery whose return path the mail came to.
func (x *reading) pathDelivery(r *Reader) (mail.DeliveryID, bool) {
	local, _, _ := strings.Cut(x.row.To, "@")
	return r.o.Key.Delivery(local)
}

// mailbox is the operator's mailbox that the mail came to: the name before the @ of any address of ours that is no return
// path. "": none.
func (x *reading) mailbox() string {
	local, _, ok := strings.Cut(x.row.To, "@")
	if x.entry.Kind != spool.InboxReturnPath || !ok || isToken(local) {
		return ""
	}
	return strings.ToLower(local)
}

// decideOne decides for one delivery.
func (r *Reader) decideOne(ctx context.Context, x *reading, t target, evidence mail.Evidence) error {
	f, err := r.facts(ctx, t.id)
	said := store.ReportDelivery{Delivery: t.id}
	if errors.Is(err, store.ErrNotFound) {
		said.Outcome, said.Why = store.ReportExpired, "the delivery is not in the record, or not any more"
		x.row.Deliveries = append(x.row.Deliveries, said)
		return nil
	}
	if err != nil {
		return err
	}
	if own := x.entry.Meta[spool.MetaAccount]; own != "" && own != f.Account {
		x.row.Deliveries = append(x.row.Deliveries, store.ReportDelivery{Outcome: store.ReportUnknown, Why: notYours})
		return nil
	}
	said.Message, said.Recipient, x.row.Account = f.Message, f.Recipient, f.Account
	res, err := r.judge(ctx, x, t, f)
	if err != nil {
		return err
	}
	x.wait = x.wait || res.wait
	said.Outcome, said.Why, said.Event = res.outcome, res.why, res.event
	x.row.Deliveries = append(x.row.Deliveries, said)
	if res.event != "" {
		x.events = append(x.events, makeEvent(x, f, res, evidence))
		x.notice = x.notice || res.event == mail.EventBounced && (f.letter == NoticeWriter || f.letter == LetterWriter)
	}
	return nil
}

// judge is the table from what a report says and what is known of the delivery to what follows.
func (r *Reader) judge(ctx context.Context, x *reading, t target, f *facts) (result, error) {
	none := func(outcome store.ReportOutcome, why string) (result, error) {
		return result{entry: -1, outcome: outcome, why: why}, nil
	}
	received := x.entry.Received
	entry := pick(x, t, f.Recipient)
	action := report.Failed
	if entry >= 0 {
		action = x.rep.Recipients[entry].Action
	}
	later := func(why string) (result, error) {
		said := word{t.id, x.rep.Kind, action}
		if r.said(x, said) {
			return none(store.ReportReplayed, "a report that says the same came before and waits: "+why)
		}
		x.words = append(x.words, said)
		return result{entry: -1, wait: true, outcome: store.ReportRecorded, why: why}, nil
	}
	switch {
	case f.live != nil && f.live.Mark != nil && received.Add(maxInFlight).After(r.o.Now()):
		return later("its attempt is still going on")
	case !f.attempted():
		return none(store.ReportForged, "the delivery was never tried")
	case received.Sub(f.tried) > maxAge && !r.o.ClockDoubted():
		return none(store.ReportExpired, fmt.Sprintf("it came more than %d days after the last attempt", maxAge/(24*time.Hour)))
	case !f.taken() && f.live != nil:
		return none(store.ReportContradicts, "the delivery still waits here: nobody has taken it")
	case !f.taken() && f.State == store.State(mail.Bounced) && x.rep.Kind == report.Bounce:
		return none(store.ReportReplayed, "the delivery was refused in its own dialogue already")
	case !f.taken():
		return none(store.ReportContradicts, fmt.Sprintf("the delivery is %s: nobody has taken it", f.State))
	}
	res := result{entry: entry, outcome: store.ReportActed}
	switch x.rep.Kind {
	case report.Complaint:
		return r.complaint(x, f, res), nil
	case report.AutoReply, report.Challenge:
		if f.AutoReplied {
			return none(store.ReportReplayed, "an automatic answer is recorded already"+f.by(mail.EventAutoReplied))
		}
		res.event = mail.EventAutoReplied
		return res, nil
	}
	switch action {
	case report.Failed:
		switch {
		case f.State == store.State(mail.Bounced):
			return none(store.ReportReplayed, "the delivery is bounced already"+f.by(mail.EventBounced))
		case f.live != nil:
			// Whether it was taken is uncertain, and it will be tried again. If that attempt ends it otherwise, the report
			// was of nothing; if it is taken, the report holds for it too, for the host may not write a second one.
			return later("it is uncertain whether the delivery was taken, and it will be tried again")
		case f.State != store.State(mail.Delivered) && f.State != store.State(mail.Relayed):
			return none(store.ReportRecorded, fmt.Sprintf("the delivery is %s and stays so", f.State))
		}
		res.event = mail.EventBounced
	case report.Delayed:
		return r.delay(ctx, x, f, res)
	case report.ActionDelivered:
		if f.State != store.State(mail.Relayed) {
			return none(store.ReportRecorded, fmt.Sprintf("the delivery is %s already", f.State))
		}
		res.event = mail.EventDelivered
	default:
		return none(store.ReportRecorded, fmt.Sprintf("it was %s: no final word", action))
	}
	return res, nil
}

func (r *Reader) complaint(x *reading, f *facts, res result) result {
	switch {
	case x.rep.Feedback != nil && x.rep.Feedback.Type == "not-spam":
		return result{entry: -1, outcome: store.ReportRecorded, why: "it takes a complaint back, or never was one"}
	case x.rep.Feedback != nil && strings.HasPrefix(x.rep.Feedback.Type, "auth-failure"):
		return result{entry: -1, outcome: store.ReportRecorded, why: "it tells of a failed authentication (RFC 6591): nobody complained"}
	case f.Complained:
		return result{entry: -1, outcome: store.ReportReplayed, why: "a complaint is recorded already" + f.by(mail.EventComplained)}
	}
	res.event = mail.EventComplained
	return res
}

// delay decides about a report of a delay: each says something, up to a number, but the same mail only once.
func (r *Reader) delay(ctx context.Context, x *reading, f *facts, res result) (result, error) {
	switch {
	case f.State != store.State(mail.Relayed) && f.State != store.State(mail.Delivered):
		return result{entry: -1, outcome: store.ReportRecorded, why: fmt.Sprintf("the delivery is %s", f.State)}, nil
	}
	n := 0
	for _, e := range f.reports {
		if e.Type != mail.EventDeferred {
			continue
		}
		if n++; n == maxDelays {
			return result{entry: -1, outcome: store.ReportRecorded, why: fmt.Sprintf("%d delays are recorded already", maxDelays)}, nil
		}
		same, err := r.sameMail(ctx, x, e.Report.ID)
		if err != nil {
			return result{}, err
		}
		if same {
			return result{entry: -1, outcome: store.ReportReplayed, why: "the same mail came before, as " + e.Report.ID.String()}, nil
		}
	}
	res.event = mail.EventDeferred
	return res, nil
}

// sameMail reports whether an earlier report is the same mail.
func (r *Reader) sameMail(ctx context.Context, x *reading, id mail.ReportID) (bool, error) {
	if y := r.hand[id]; y != nil { // of the same page: not stored yet
		return bytes.Equal(y.entry.Raw, x.entry.Raw), nil
	}
	earlier, err := r.o.Store.Report(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil // its day has expired
	}
	return err == nil && bytes.Equal(earlier.Raw, x.entry.Raw), err
}

// summarise says in the row's own outcome what is said for its deliveries.
func (x *reading) summarise() {
	row := x.row
	first := &row.Deliveries[0]
	row.Outcome, row.Why = first.Outcome, first.Why
	for i := range row.Deliveries {
		if row.Deliveries[i].Outcome == store.ReportActed {
			row.Outcome, row.Why = store.ReportActed, ""
		}
	}
}

// pick chooses which entry of a report speaks for a delivery: of those that name its recipient, or of all where none
// does, the worst.
func pick(x *reading, t target, recipient string) int {
	best, rank := -1, -1
	for _, i := range t.entries {
		rc := &x.rep.Recipients[i]
		n := badness(rc.Action)
		if names(rc, recipient) {
			n += 100
		}
		if n > rank {
			best, rank = i, n
		}
	}
	return best
}

// badness orders actions from what says least against a delivery to what says most.
func badness(a report.Action) int {
	switch a {
	case report.Failed:
		return 5
	case report.Delayed:
		return 4
	case report.Relayed:
		return 3
	case report.Expanded:
		return 2
	case report.ActionDelivered:
		return 1
	}
	return 0
}

// names reports whether a report's recipient is the one the delivery was sent to. Hosts behind the receiver write the
// domain they know the mailbox by: the same local part in another domain is the same recipient.
func names(rc *report.Recipient, recipient string) bool {
	local, _, _ := strings.Cut(recipient, "@")
	for _, a := range []string{rc.Original, rc.Address, rc.Final} {
		if sameAddress(a, recipient) {
			return true
		}
		if l, _, ok := strings.Cut(a, "@"); ok && strings.EqualFold(l, local) {
			return true
		}
	}
	return false
}

// sameAddress reports whether two texts are the same address, in whatever case, or form of an internationalised domain, it
// is written.
func sameAddress(a, b string) bool {
	return strings.EqualFold(a, b) || mail.FoldedText(a) == mail.FoldedText(b)
}
