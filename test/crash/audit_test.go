package main

import (
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/practice"
)

// mailbox is a practice internet of plain data.
type mailbox struct {
	got    []practice.Received
	faults []string
}

func (m *mailbox) All() []practice.Received    { return m.got }
func (m *mailbox) Counters() practice.Counters { return practice.Counters{} }
func (m *mailbox) Violations() []string        { return m.faults }
func (m *mailbox) Received(r string) (out []practice.Received) {
	for _, x := range m.got {
		if x.Recipient == r {
			out = append(out, x)
		}
	}
	return out
}

// scene is a run of two messages in which all is well, to be spoilt.
type scene struct {
	ledger *ledger
	net    *mailbox
	events []*mail.Event
	trial  *trial
}

func newScene() *scene {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := &scene{ledger: newLedger(), net: &mailbox{}, trial: &trial{kills: 1, uncertain: 1}}
	for _, m := range []struct {
		rfc822, to string
		want       mail.Result
	}{{"one@crash.test", "a@c01.test", mail.Delivered}, {"two@crash.test", "unknown@c01.test", mail.Bounced}} {
		id, d := mail.NewMessageID(now), mail.NewDeliveryID(now)
		s.ledger.add(&sent{rfc822: m.rfc822, recipients: []recipient{{address: m.to, want: m.want}}, answer: accepted, id: id})
		s.add(&mail.Event{Type: mail.EventAccepted, Message: id, Delivery: d, Recipient: m.to, Envelope: &mail.Message{ID: id, RFC822ID: m.rfc822}})
		s.add(&mail.Event{Type: mail.EventType(m.want), Message: id, Delivery: d, Recipient: m.to, Attempt: &mail.Attempt{N: 1}})
		if m.want == mail.Delivered {
			s.net.got = append(s.net.got, practice.Received{Recipient: m.to, MessageID: "<" + m.rfc822 + ">"})
		}
	}
	return s
}

func (s *scene) add(e *mail.Event) {
	e.ID = mail.EventID{Spool: 1, Seq: uint64(len(s.events) + 1)}
	s.events = append(s.events, e)
}

// late makes the first message's recipient one that is reported late, with so many late bounces in the record.
func (s *scene) late(times int) {
	s.ledger.list[0].recipients[0].late = true
	for range times {
		e := *s.events[1]
		e.Type, e.Late = mail.EventBounced, true
		s.add(&e)
	}
}

// told has a webhook receiver that was told of these events, by their place.
func (s *scene) told(places ...int) {
	h := &hook{times: map[string]int{}}
	for _, n := range places {
		h.note(s.events[n].ID.String())
	}
	s.trial.hook = h
}

// TestAudit: every fault the crash test is there to find is found.
func TestAudit(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*scene)
		want  string // part of the violation; "": none
	}{
		{"all is well", func(*scene) {}, ""},
		{"not in the record", func(s *scene) {
			s.ledger.add(&sent{rfc822: "three@crash.test", answer: accepted, recipients: []recipient{{address: "b@c01.test", want: mail.Delivered}}})
		}, "LOST"},
		{"no answer, not in the record", func(s *scene) { s.ledger.add(&sent{rfc822: "three@crash.test", answer: doubtful}) }, ""},
		{"never came to an end", func(s *scene) { s.events = s.events[:3] }, "LOST"},
		{"delivered and never arrived", func(s *scene) { s.net.got = nil }, "LOST"},
		{"bounced and arrived", func(s *scene) {
			s.net.got = append(s.net.got, practice.Received{Recipient: "unknown@c01.test", MessageID: "<two@crash.test>"})
		}, "recorded as bounced and arrived"},
		{"a recipient is missing", func(s *scene) {
			s.ledger.list[0].recipients = append(s.ledger.list[0].recipients, recipient{address: "z@c01.test", want: mail.Delivered})
		}, "LOST"},
		{"refused and arrived", func(s *scene) { s.ledger.list[0].answer = refused }, "arrived all the same"},
		{"refused and recorded", func(s *scene) { s.ledger.list[1].answer = refused }, "is in the record"},
		{"nobody sent it", func(s *scene) { s.ledger.list = s.ledger.list[:1] }, "nobody sent"},
		{"another id", func(s *scene) { s.ledger.list[0].id = mail.NewMessageID(time.Now()) }, "the record calls it"},
		{"the wrong end", func(s *scene) { s.ledger.list[1].recipients[0].want = mail.Delivered }, "expected was delivered"},
		{"a copy too many", func(s *scene) { s.net.got = append(s.net.got, s.net.got[0]) }, "arrived 2 times"},
		{"a copy too many, flagged", func(s *scene) {
			s.net.got = append(s.net.got, s.net.got[0])
			s.events[1].Attempt.Uncertain = true
		}, ""},
		{"more duplicates than open attempts", func(s *scene) {
			s.net.got = append(s.net.got, s.net.got[0])
			s.events[1].Attempt.Uncertain = true
			s.trial.uncertain = 0
		}, "only 0 attempts were open"},
		{"reported late", func(s *scene) { s.late(1) }, ""},
		{"reported late, and twice in the record", func(s *scene) { s.late(2) }, "bounced late 2 times"},
		{"reported late, and not in the record", func(s *scene) { s.late(0) }, "LOST"},
		{"bounced late without a report", func(s *scene) {
			s.late(1)
			s.ledger.list[0].recipients[0].late = false
		}, "nobody reported it"},
		{"a late bounce that is not said to be late", func(s *scene) {
			s.late(1)
			s.events[4].Late = false
		}, "comes after its end"},
		{"told by webhook", func(s *scene) { s.told(0, 1, 2, 3) }, ""},
		{"told by webhook, some again", func(s *scene) { s.told(0, 1, 1, 2, 0, 3) }, ""},
		{"the webhook lacks the last event", func(s *scene) { s.told(0, 1, 2) }, "LOST"},
		{"the webhook lacks one in the middle", func(s *scene) { s.told(0, 2, 3) }, "in the place of"},
		{"the webhook was told out of order", func(s *scene) { s.told(0, 2, 1, 3) }, "in the place of"},
		{"a number is missing", func(s *scene) { s.events[2].ID.Seq, s.events[3].ID.Seq = 4, 5 }, "expected was 3"},
		{"a number twice", func(s *scene) { s.events[3].ID.Seq = 3 }, "expected was 4"},
		{"the first numbers are missing", func(s *scene) { s.events = s.events[2:] }, "the first event"},
		{"two ends", func(s *scene) {
			last := *s.events[3]
			s.add(&last)
		}, "comes after its end"},
		{"accepted twice", func(s *scene) {
			again := *s.events[0]
			s.add(&again)
		}, "accepted twice"},
		{"a request made two messages", func(s *scene) {
			again := *s.events[0]
			again.Message, again.Delivery = mail.NewMessageID(time.Now()), mail.NewDeliveryID(time.Now())
			s.add(&again)
		}, "became 2 messages"},
		{"a receiver complains", func(s *scene) { s.net.faults = []string{"a bare LF"} }, "a receiver complains"},
		{"a kill ends a connection", func(s *scene) { s.net.faults = []string{"mx: the connection ended within the content"} }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene()
			c.spoil(s)
			a := newAudit(s.ledger, s.net)
			for _, e := range s.events {
				if err := a.event(e); err != nil {
					t.Fatal(err)
				}
			}
			a.finish(s.trial)
			switch err := a.err(); {
			case c.want == "" && err != nil:
				t.Errorf("found where nothing is wrong: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("found %v, want %q", err, c.want)
			}
		})
	}
}
