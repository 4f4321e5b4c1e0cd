package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/egress"
	"github.com/postroad/postroad/internal/mail"
)

// Only a delivery that was tried is written. Whatever a failure speaks of beyond its delivery sets the next time of that, in one
// record; the mail that waits behind it keeps the record it was accepted with. A restart knows as much as before of until when, since
// when and why.
func TestOnlyTriedIsWritten(t *testing.T) {
	for _, tt := range []struct {
		scope  mail.Scope
		class  mail.Class
		tried  bool
		extent egress.Extent
	}{
		{mail.ScopeHost, mail.ClassNetwork, false, egress.ExtentLane},
		{mail.ScopeSite, mail.ClassNetwork, false, egress.ExtentLane},
		{mail.ScopeReceiver, mail.ClassRateLimited, false, egress.ExtentReceiver},
		{mail.ScopeSource, mail.ClassRateLimited, false, egress.ExtentReceiver},
		{mail.ScopeSource, mail.ClassNetwork, false, egress.ExtentSource},
		{mail.ScopeRoute, mail.ClassNetwork, false, egress.ExtentRoute},
		{mail.ScopeAccount, mail.ClassPolicySpam, true, egress.ExtentAccount},
		{mail.ScopeSender, mail.ClassRateLimited, true, egress.ExtentAccount},
	} {
		t.Run(string(tt.scope)+" "+string(tt.class), func(t *testing.T) {
			s := newSim(t, mxState("s1"), Options{})
			s.delay = slowDialogue
			s.locate = func(_, domain string) (mail.Target, *mail.Outcome) {
				return mail.Target{Receiver: "google", Site: "mx." + domain}, nil
			}
			s.outcome = func(mail.Lane, *mail.Delivery, int) mail.Outcome {
				return mail.Outcome{Result: mail.Deferred, Scope: tt.scope, Class: tt.class, Tried: tt.tried, Attempt: mail.Attempt{Reply: "421 not now"}}
			}
			var all []*mail.Delivery
			for range 30 {
				all = append(all, s.send("acme", mail.Transactional, "example.com")...)
			}
			s.run(t0.Add(20 * time.Second))
			var waits *mail.Delivery
			untouched := func(when string) {
				t.Helper()
				n := 0
				for _, d := range all {
					if s.handed[d.ID] > 0 {
						continue
					}
					n, waits = n+1, d
					if s.sp.live[d.ID] != d {
						t.Fatalf("%s: %s was not tried, and is written as %+v", when, d.ID, s.sp.live[d.ID])
					}
				}
				if n < 20 || n == len(all) {
					t.Fatalf("%s: %d of %d were not tried", when, n, len(all))
				}
			}
			untouched("after the failure")
			gates := s.c.sortedGates()
			if len(gates) != 1 || gates[0].key.extent != tt.extent || len(s.sp.lanes) != 1 {
				t.Fatalf("%d gates, records %v; want one of extent %s", len(gates), s.sp.lanes, tt.extent)
			}
			until, tried := gates[0].until, len(s.order)
			why := s.c.why(waits)
			if !strings.Contains(why, "rests until") || !strings.Contains(why, "since") || !strings.Contains(why, "because: 421 not now") {
				t.Fatalf("why: %q", why)
			}

			s.crash()
			s.outcome = good
			s.run(until.Add(-time.Second))
			untouched("after a restart")
			if got := s.c.why(waits); got != why || len(s.order) != tried {
				t.Fatalf("after a restart: %d tried, %q; want %d, %q", len(s.order), got, tried, why)
			}
			s.run(until.Add(10 * time.Minute))
			s.quiet()
			if len(s.sp.lanes) != 0 {
				t.Fatalf("records left: %v", s.sp.lanes)
			}
		})
	}
}
