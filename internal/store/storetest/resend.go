package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// testResends: who was sent again is known from the original as well, also when its events come a second time, and is
// forgotten with the record.
func testResends(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{Retention: 10 * day})
	g := NewMail(7, Day0)
	first := g.Message("acme")
	must(t, s.WriteEvents(ctx, 7, 1, []*mail.Event{g.Accepted(first, g.Delivery(), "ann@example.net")}))
	var want []mail.MessageID
	var events []*mail.Event
	for range 2 {
		again := g.Message("acme")
		again.ResentOf = first.ID
		want = append(want, again.ID)
		events = append(events, g.Accepted(again, g.Delivery(), "ann@example.net"), g.Accepted(again, g.Delivery(), "bob@example.net"))
	}
	must(t, s.WriteEvents(ctx, 7, g.Seq, events))
	must(t, s.WriteEvents(ctx, 7, g.Seq, events))
	got, err := s.Resends(ctx, first.ID)
	must(t, err)
	if !slices.Equal(got, want) {
		t.Errorf("resent as %v, want %v", got, want)
	}
	if m, err := s.Message(ctx, want[0]); err != nil || m.ResentOf != first.ID {
		t.Errorf("the new message names %v: %v", m, err)
	}
	if got, err := s.Resends(ctx, want[0]); err != nil || len(got) > 0 {
		t.Errorf("a message nobody sent again: %v, %v", got, err)
	}
	_, err = s.Maintain(ctx, Day0.Add(12*day+time.Hour))
	must(t, err)
	if got, err := s.Resends(ctx, first.ID); err != nil || len(got) > 0 {
		t.Errorf("after the retention: %v, %v", got, err)
	}
}
