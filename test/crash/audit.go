package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/practice"
)

// maxShown bounds the violations that are printed in full.
const maxShown = 20

// arrivals is what the practice internet tells of the mail it got.
type arrivals interface {
	Received(recipient string) []practice.Received
	All() []practice.Received
	Counters() practice.Counters
	Violations() []string
}

// audit holds the record against what the clients know and what arrived.
type audit struct {
	ledger *ledger
	net    arrivals

	next       map[mail.SpoolID]uint64 // sequence number expected next
	events     int
	messages   map[string]*found // by Message-ID
	deliveries map[mail.DeliveryID]*tracked
	duplicates int
	flagged    int
	late       int      // bounces after delivery
	order      []string // ids of all events, as a webhook names them
	told       int      // events the webhook was told of …
	toldAgain  int      // … and of them, those more than once
	delivered  int
	bounced    int
	inDoubt    int // messages without an answer that had been accepted
	slowest    *tracked
	bad        []string
	more       int
}

// found is a message of the record.
type found struct {
	id         mail.MessageID
	ids        map[mail.MessageID]bool
	deliveries []*tracked
}

// tracked is a delivery of the record.
type tracked struct {
	id        mail.DeliveryID
	begin     time.Time
	took      time.Duration // until its end
	recipient string
	end       mail.Result
	uncertain int
	attempts  int
	late      int // bounces after delivery
}

func newAudit(l *ledger, net arrivals) *audit {
	return &audit{
		ledger: l, net: net, next: make(map[mail.SpoolID]uint64),
		messages: make(map[string]*found), deliveries: make(map[mail.DeliveryID]*tracked),
	}
}

func (a *audit) violation(format string, args ...any) {
	if len(a.bad) == maxShown {
		a.more++
		return
	}
	a.bad = append(a.bad, fmt.Sprintf(format, args...))
}

// event takes the next event of the record.
func (a *audit) event(e *mail.Event) error {
	a.events++
	if want, known := a.next[e.ID.Spool]; known && e.ID.Seq != want {
		a.violation("event %s has number %d, expected was %d", e.ID, e.ID.Seq, want)
	} else if !known && e.ID.Seq != 1 {
		a.violation("the first event, %s, has number %d", e.ID, e.ID.Seq)
	}
	a.next[e.ID.Spool] = e.ID.Seq + 1
	a.order = append(a.order, e.ID.String())

	d := a.deliveries[e.Delivery]
	if e.Type == mail.EventAccepted {
		if d != nil {
			a.violation("delivery %s to %s was accepted twice", e.Delivery, e.Recipient)
			return nil
		}
		if e.Envelope == nil {
			a.violation("the accepted event of %s lacks its message", e.Delivery)
			return nil
		}
		d = &tracked{id: e.Delivery, begin: e.At, recipient: e.Recipient}
		a.deliveries[e.Delivery] = d
		m := a.messages[e.Envelope.RFC822ID]
		if m == nil {
			m = &found{id: e.Message, ids: map[mail.MessageID]bool{}}
			a.messages[e.Envelope.RFC822ID] = m
		}
		m.ids[e.Message] = true
		m.deliveries = append(m.deliveries, d)
		return nil
	}
	if d == nil {
		a.violation("event %s (%s) is of delivery %s, which was never accepted", e.ID, e.Type, e.Delivery)
		return nil
	}
	if e.Type == mail.EventBounced && e.Late && d.end == mail.Delivered {
		// What a report tells, hours after the end: the one thing that may follow it, and once.
		if d.late++; d.late > 1 {
			a.violation("delivery %s bounced late %d times", e.Delivery, d.late)
		}
		a.late++
		return nil
	}
	if d.end != "" {
		a.violation("event %s (%s) of delivery %s comes after its end (%s)", e.ID, e.Type, e.Delivery, d.end)
	}
	if e.Attempt != nil {
		d.attempts++
		if e.Attempt.Uncertain {
			d.uncertain++
		}
	}
	if r := e.Type.Result(); r.Final() {
		d.end, d.took = r, e.At.Sub(d.begin)
		if a.slowest == nil || d.took > a.slowest.took {
			a.slowest = d
		}
	}
	return nil
}

// finish compares all there is.
func (a *audit) finish(t *trial) {
	known := make(map[string]*sent)
	for _, s := range a.ledger.all() {
		known[s.rfc822] = s
		a.message(s)
	}
	for id, m := range a.messages {
		if known[id] == nil {
			a.violation("the record has a message nobody sent: %s (%s)", id, m.id)
		}
	}
	for _, r := range a.net.All() {
		s := known[strings.Trim(r.MessageID, "<>")]
		switch {
		case s == nil:
			a.violation("a message arrived for %s that nobody sent: %s", r.Recipient, r.MessageID)
		case s.answer == refused:
			a.violation("%s was refused (%s) and arrived all the same for %s", s.rfc822, s.reply, r.Recipient)
		}
	}
	if c := a.net.Counters(); c.Forgotten > 0 {
		a.violation("the practice internet forgot %d records: the audit cannot be complete", c.Forgotten)
	}
	for _, v := range a.net.Violations() {
		// A kill ends connections wherever they are.
		if !strings.Contains(v, "the connection ended within") || t.kills == 0 {
			a.violation("a receiver complains: %s", v)
		}
	}
	if a.duplicates > t.uncertain {
		a.violation("%d duplicates, but only %d attempts were open when the platform was killed", a.duplicates, t.uncertain)
	}
	if t.hook != nil {
		a.webhook(t.hook)
	}
	if t.kills == 0 && a.duplicates > 0 {
		a.violation("%d duplicates without a single kill", a.duplicates)
	}
}

// webhook checks that the customer was told of every event, in their order, but for what came again after a kill.
func (a *audit) webhook(h *hook) {
	told, again := h.told()
	a.told, a.toldAgain = len(told), again
	for i, id := range a.order {
		if i == len(told) {
			a.violation("LOST: the webhook was told of %d events of %d; the first that is missing is %s", len(told), len(a.order), id)
			return
		}
		if told[i] != id {
			a.violation("the webhook was told of %s in the place of %s (%d of %d)", told[i], id, i, len(a.order))
			return
		}
	}
	if len(told) > len(a.order) {
		a.violation("the webhook was told of %d events, the record has %d", len(told), len(a.order))
	}
}

// message checks one message a client sent.
func (a *audit) message(s *sent) {
	m := a.messages[s.rfc822]
	switch {
	case s.answer == accepted && m == nil:
		a.violation("LOST: %s was answered with %q and is not in the record", s.rfc822, s.reply)
		return
	case s.answer == refused && m != nil:
		a.violation("%s was refused (%s) and is in the record as %s", s.rfc822, s.reply, m.id)
	case m == nil:
		return
	case s.answer == doubtful:
		a.inDoubt++
	}
	if len(m.ids) > 1 {
		a.violation("%s became %d messages", s.rfc822, len(m.ids))
	}
	if s.answer == accepted && !m.ids[s.id] {
		a.violation("%s was answered with the id %s, the record calls it %s", s.rfc822, s.id, m.id)
	}
	if len(m.deliveries) != len(s.recipients) {
		a.violation("%s has %d recipients, the record has %d deliveries", s.rfc822, len(s.recipients), len(m.deliveries))
	}
	byAddress := make(map[string]*tracked)
	for _, d := range m.deliveries {
		byAddress[d.recipient] = d
	}
	for _, r := range s.recipients {
		d := byAddress[r.address]
		if d == nil {
			a.violation("LOST: %s has no delivery to %s", s.rfc822, r.address)
			continue
		}
		a.delivery(s, r, d)
	}
}

// delivery checks one recipient of an accepted message.
func (a *audit) delivery(s *sent, r recipient, d *tracked) {
	copies := 0
	for _, c := range a.net.Received(r.address) {
		if strings.Trim(c.MessageID, "<>") == s.rfc822 {
			copies++
		}
	}
	switch d.end {
	case mail.Delivered:
		a.delivered++
		if copies == 0 {
			a.violation("LOST: %s for %s is recorded as delivered and never arrived", s.rfc822, r.address)
		}
	case mail.Bounced:
		a.bounced++
		if copies > 0 {
			a.violation("%s for %s is recorded as bounced and arrived", s.rfc822, r.address)
		}
	case "":
		a.violation("LOST: %s for %s never came to an end (%d attempts, %d copies arrived)", s.rfc822, r.address, d.attempts, copies)
		return
	}
	if d.end != r.want {
		a.violation("%s for %s ended as %s, expected was %s", s.rfc822, r.address, d.end, r.want)
	}
	if d.uncertain > 0 {
		a.flagged++
	}
	if r.late && d.late == 0 {
		a.violation("LOST: the report about %s for %s was acknowledged, and the record knows nothing of it", s.rfc822, r.address)
	} else if !r.late && d.late > 0 {
		a.violation("%s for %s bounced late, and nobody reported it", s.rfc822, r.address)
	}
	if extra := copies - 1; extra > 0 {
		a.duplicates += extra
		if extra > d.uncertain {
			a.violation("%s for %s arrived %d times, but the record has only %d uncertain attempts", s.rfc822, r.address, copies, d.uncertain)
		}
	}
}

func (a *audit) summary(t *trial) string {
	c := a.ledger.count()
	return fmt.Sprintf("%d kills, %d stops; %d messages accepted (%d recipients), %d without an answer (%d of them accepted), %d refused; "+
		"%d delivered, %d bounced, %d bounced late, %d lost; %d events told by webhook (%d of them again); %d duplicates, %d attempts uncertain (at most %d connections to a host); %d events, %d violations",
		t.kills, t.stops, c.accepted, c.recipients, c.doubtful, a.inDoubt, c.refused,
		a.delivered, a.bounced, a.late, a.lost(), a.told, a.toldAgain, a.duplicates, t.uncertain, t.atRisk, a.events, len(a.bad)+a.more)
}

func (a *audit) lost() (n int) {
	for _, v := range a.bad {
		if strings.HasPrefix(v, "LOST") {
			n++
		}
	}
	return n
}

func (a *audit) err() error {
	if len(a.bad) == 0 {
		return nil
	}
	if a.more > 0 {
		a.bad = append(a.bad, fmt.Sprintf("and %d more", a.more))
	}
	return fmt.Errorf("%d violations\n  %s", len(a.bad)+a.more, strings.Join(a.bad, "\n  "))
}
