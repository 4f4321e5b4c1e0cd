package queue

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
)

func TestDeliver(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	d := s.send("acme", mail.Transactional, "example.com")[0]
	s.run(t0.Add(10 * time.Second))
	s.quiet()
	if got := s.typesOf(d.ID); !slices.Equal(got, []mail.EventType{mail.EventDelivered}) {
		t.Fatalf("events %v", got)
	}
}

func TestRetrySchedule(t *testing.T) {
	for _, tc := range []struct {
		stream mail.Stream
		life   time.Duration
		want   []time.Duration
	}{
		{mail.Transactional, 72 * time.Hour, TransactionalSchedule().Steps},
		{mail.Bulk, 96 * time.Hour, BulkSchedule().Steps},
	} {
		t.Run(string(tc.stream), func(t *testing.T) {
			s := newSim(t, mxState(), Options{})
			s.outcome = func(mail.Lane, *mail.Delivery, int) mail.Outcome {
				return mail.Outcome{Result: mail.Deferred, Class: mail.ClassMailboxFull, Scope: mail.ScopeRecipient, Tried: true, Attempt: mail.Attempt{Reply: "452 4.2.2 full"}}
			}
			var at []time.Time
			s.observe = func(*session, *grant) { at = append(at, s.now) }
			m, ds := s.mail("acme", tc.stream, tc.life, "example.com")
			s.sp.accept(m, ds)
			s.step(&add{m: m, ds: ds})
			s.run(t0.Add(tc.life + time.Hour))
			s.quiet()
			for i := 1; i < len(at); i++ {
				step := tc.want[min(i, len(tc.want))-1]
				if gap := at[i].Sub(at[i-1]); gap < step || gap > step+step/10 {
					t.Errorf("attempt %d came %s after the one before, want %s and at most a tenth more", i+1, gap, step)
				}
			}
			evs := s.eventsOf(ds[0].ID)
			last := evs[len(evs)-1]
			if last.Type != mail.EventExpired || last.Class != mail.ClassExpired || last.Attempt == nil || last.Attempt.Reply != "452 4.2.2 full" {
				t.Fatalf("it ended with %+v", last)
			}
			if late := last.At.Sub(ds[0].ExpiresAt); late < 0 || late > time.Second {
				t.Fatalf("it expired %s after its deadline", late)
			}
			for i, ev := range evs[:len(evs)-1] {
				if ev.Attempt.N != i+1 {
					t.Fatalf("event %d is of attempt %d", i, ev.Attempt.N)
				}
			}
		})
	}
}

func TestPeersRetryAfterIsHonoured(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	s.outcome = func(_ mail.Lane, _ *mail.Delivery, n int) mail.Outcome {
		if n == 1 {
			return mail.Outcome{Result: mail.Deferred, Class: mail.ClassGreylisted, Tried: true, RetryAfter: 7 * time.Minute}
		}
		return mail.Outcome{Result: mail.Delivered, Tried: true}
	}
	var at []time.Time
	s.observe = func(*session, *grant) { at = append(at, s.now) }
	s.send("acme", mail.Transactional, "example.com")
	s.run(t0.Add(time.Hour))
	s.quiet()
	if want := []time.Time{t0, t0.Add(7 * time.Minute)}; !cmp.Equal(at, want) {
		t.Fatal(cmp.Diff(want, at))
	}
}

func TestSendAtWaits(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	m, ds := s.mail("acme", mail.Transactional, 72*time.Hour, "example.com")
	ds[0].Due = t0.Add(90 * time.Minute)
	s.sp.accept(m, ds)
	s.step(&add{m: m, ds: ds})
	s.run(t0.Add(89 * time.Minute))
	if s.handed[ds[0].ID] != 0 || len(s.c.entries) != 0 {
		t.Fatal("it did not wait in the spool")
	}
	s.run(t0.Add(91 * time.Minute))
	s.quiet()
}

// A 1-message account waits at most one round behind an account with a million, on the same source and site.
func TestFairness(t *testing.T) {
	const backlog = 20_000
	s := newSim(t, relayState(), Options{FreshWindow: 100_000, MaxLoaded: 200_000})
	s.delay = func(what string) time.Duration {
		if what == "dialogue" {
			return 100 * time.Millisecond
		}
		return 0
	}
	for range backlog {
		s.send("big", mail.Transactional, "example.com")
	}
	s.run(t0.Add(5 * time.Second))
	before := len(s.order)
	s.send("small", mail.Transactional, "example.com")
	s.run(t0.Add(6 * time.Second))
	after := slices.Index(s.order[before:], "small")
	if after < 0 || after > 1 {
		t.Fatalf("the small account came after %d others", after)
	}
}

func TestWeights(t *testing.T) {
	st := relayState()
	st.Accounts = accounts("heavy", 3, "light", 1)
	st.Routes[0].MaxConnections = 1
	s := newSim(t, st, Options{})
	s.delay = slowDialogue
	for range 400 {
		s.send("heavy", mail.Bulk, "example.com")
		s.send("light", mail.Bulk, "example.com")
	}
	s.run(t0.Add(20 * time.Second))
	n := map[string]int{}
	for _, a := range s.order[8:108] {
		n[a]++
	}
	if n["heavy"] != 75 || n["light"] != 25 {
		t.Fatalf("100 jobs went %v, want 75 and 25", n)
	}
}

func TestTransactionalFirstBulkNotStarved(t *testing.T) {
	st := relayState()
	st.Routes[0].MaxConnections = 1
	s := newSim(t, st, Options{})
	s.delay = slowDialogue
	for range 300 {
		s.send("acme", mail.Bulk, "example.com")
	}
	for range 300 {
		s.send("acme", mail.Transactional, "example.com")
	}
	var streams []mail.Stream
	s.observe = func(_ *session, g *grant) { streams = append(streams, g.job.Message.Stream) }
	s.run(t0.Add(20 * time.Second))
	n := 0
	for _, x := range streams[5:105] {
		if x == mail.Bulk {
			n++
		}
	}
	if n != 100/bulkTurn {
		t.Fatalf("%d of 100 jobs were bulk, want %d", n, 100/bulkTurn)
	}
}
