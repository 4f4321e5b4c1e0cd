package reporting

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

// Replies of class other are collected by wording, once each, also by a second run that begins anew.
func TestCollect(t *testing.T) {
	r := newRig(t)
	g := r.g
	refuse := func(rcpt, reply string, class mail.Class) *mail.Event {
		m, d := g.Message("shop"), g.Delivery()
		accepted := g.Accepted(m, d, rcpt)
		e := g.Tried(mail.EventBounced, m, d, rcpt, 1, 550, reply)
		e.Class, e.Attempt.Enhanced, e.Attempt.Stage, e.Attempt.Host = class, "5.0.0", mail.StageRcpt, "mx1.bigmail.example"
		r.put(accepted, e)
		return e
	}
	refuse("a@one.example", "550 5.0.0 <a@one.example> the moon is purple", mail.ClassOther)
	refuse("b@one.example", "550 5.0.0 <b@one.example> the moon is purple", mail.ClassOther)
	refuse("c@one.example", "550 5.1.1 no such user", mail.ClassInvalidRecipient)
	refuse("d@one.example", "", mail.ClassOther)
	late := refuse("e@one.example", "550 5.0.0 the moon was yellow", mail.ClassMailboxFull)
	again := *late
	again.ID.Seq++
	again.Class, again.Late, again.Report = mail.ClassOther, true, &mail.Report{Kind: "bounce", MTA: "mta.one.example"}
	attempt := *late.Attempt
	attempt.Host, again.Attempt = "", &attempt
	r.put(&again)

	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		r.s.o.Replies, r.s.o.Spool = r.store, 7
		done := make(chan error)
		go func() { done <- r.s.Run(ctx) }()
		deadline := time.Now().Add(5 * time.Minute)
		for {
			cursor, err := r.store.GetMeta(ctx, store.FollowKey(follower))
			if tail, terr := r.store.Tail(ctx); err == nil && terr == nil && string(cursor) == tail.String() {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the events are not gone through")
			}
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		list, err := r.store.UnknownReplies(t.Context(), store.RepliesQuery{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range list {
			if strings.Contains(x.Sample, "one.example>") {
				t.Errorf("the sample names somebody: %s", x.Sample)
			}
			got = append(got, fmt.Sprint(x.Count), x.Fingerprint, x.Hosts[0], x.Stages[0], x.Codes[0])
		}
		if diff := cmp.Diff([]string{
			"2", "550 5.0.0 <address> the moon is purple", "bigmail", "rcpt", "550 5.0.0",
			"1", "550 5.0.0 the moon was yellow", "mta.one.example", "report", "550 5.0.0",
		}, got); diff != "" {
			t.Errorf("collected (-want +got):\n%s", diff)
		}
		// As after a restored backup of the cursor alone.
		if err := r.store.DeleteMeta(t.Context(), store.FollowKey(follower)); err != nil {
			t.Fatal(err)
		}
	}
}
