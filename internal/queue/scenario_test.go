package queue

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/egress"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

func down(reply string) mail.Outcome {
	return mail.Outcome{Result: mail.Deferred, Class: mail.ClassNetwork, Scope: mail.ScopeSite, Attempt: mail.Attempt{Stage: mail.StageConnect, Reply: reply}}
}

func good(mail.Lane, *mail.Delivery, int) mail.Outcome {
	return mail.Outcome{Result: mail.Delivered, Tried: true}
}

// A site that is down delays its lane: one delivery tells of it at each probe, the others are untouched.
func TestLaneRests(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	s.outcome = func(mail.Lane, *mail.Delivery, int) mail.Outcome { return down("connection refused") }
	s.delay = slowDialogue
	var probes []time.Time
	s.observe = func(*session, *grant) { probes = append(probes, s.now) }
	var all []*mail.Delivery
	for range 30 {
		all = append(all, s.send("acme", mail.Transactional, "example.com")...)
	}
	s.run(t0.Add(50 * time.Second))
	opened := len(probes) // sessions that were under way when the first failed
	if opened > 1 {
		t.Fatalf("%d dialogues before the lane rested", opened)
	}
	s.run(t0.Add(30 * time.Minute))
	steps := []time.Duration{1, 2, 5, 10}
	for i, at := range probes[opened:] {
		from := probes[opened-1]
		if i > 0 {
			from = probes[opened+i-1]
		}
		if gap, want := at.Sub(from), steps[i]*time.Minute; gap < want || gap > want+want/10+time.Second {
			t.Errorf("probe %d came after %s, want about %s", i+1, gap, want)
		}
	}
	if n := len(probes) - opened; n != 4 {
		t.Fatalf("%d probes in half an hour, want 4", n)
	}
	untouched, attempts := 0, 0
	for _, d := range all {
		d = s.sp.live[d.ID]
		attempts += d.Attempts
		if d.Last == nil {
			untouched++
			if why := s.c.why(d); !strings.Contains(why, "rests until") || !strings.Contains(why, "connection refused") {
				t.Fatalf("why: %q", why)
			}
		}
	}
	if attempts != 0 || untouched < 30-opened-4 {
		t.Fatalf("%d attempts used up, %d deliveries untouched", attempts, untouched)
	}
	if len(s.sp.lanes) != 1 {
		t.Fatalf("%d lane records", len(s.sp.lanes))
	}

	// It holds across a restart; and the first success ends it, for all.
	rested := s.c.sortedGates()[0].until
	s.crash()
	s.outcome = good
	s.run(rested.Add(-time.Second))
	if len(probes) != opened+4 {
		t.Fatal("it was probed before its time after a restart")
	}
	s.run(rested.Add(5 * time.Minute))
	s.quiet()
	if len(s.sp.lanes) != 0 {
		t.Fatalf("lane records left: %v", s.sp.lanes)
	}
}

// Expiry while waiting behind a lane reports the lane's last reply; no attempt was used (mtas.md: mail stuck beyond
// its life in ready queues).
func TestExpiresBehindRestingLane(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	s.outcome = func(mail.Lane, *mail.Delivery, int) mail.Outcome { return down("no route to host") }
	s.send("acme", mail.Transactional, "example.com")
	s.run(t0.Add(time.Second))
	m, ds := s.mail("other", mail.Transactional, 40*time.Second, "example.com")
	s.sp.accept(m, ds)
	s.step(&add{m: m, ds: ds})
	s.run(t0.Add(2 * time.Minute))
	evs := s.eventsOf(ds[0].ID)
	if len(evs) != 1 || evs[0].Type != mail.EventExpired || evs[0].Attempt == nil || evs[0].Attempt.Reply != "no route to host" {
		t.Fatalf("events %+v", evs)
	}
	if s.handed[ds[0].ID] != 0 {
		t.Fatal("it was tried")
	}
}

// A long outage must not fill memory: what rests goes back to the spool, and comes back when the lane works.
func TestOutageCostsNoMemory(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	broken := true
	s.outcome = func(l mail.Lane, d *mail.Delivery, n int) mail.Outcome {
		if broken {
			return down("down")
		}
		return good(l, d, n)
	}
	for range 3000 {
		s.send("acme", mail.Bulk, "example.com")
	}
	s.run(t0.Add(40 * time.Second))
	if n := len(s.c.entries); n > restWindow {
		t.Fatalf("%d entries in memory in front of a resting lane", n)
	}
	s.run(t0.Add(20 * time.Minute))
	broken = false
	s.run(t0.Add(2 * time.Hour))
	s.quiet()
}

// A relay that refuses our password pauses its route with an alert; nothing bounces. A repaired route goes on at once.
func TestRouteRefused(t *testing.T) {
	st := relayState()
	s := newSim(t, st, Options{})
	s.outcome = func(mail.Lane, *mail.Delivery, int) mail.Outcome {
		return mail.Outcome{Result: mail.Deferred, Class: mail.ClassProtocol, Scope: mail.ScopeRoute, Attempt: mail.Attempt{Stage: mail.StageAuth, Code: 535, Reply: "535 5.7.8 no"}}
	}
	for range 10 {
		s.send("acme", mail.Transactional, "example.com")
	}
	s.run(t0.Add(5 * time.Minute))
	if len(s.order) > 1 {
		t.Fatalf("%d logins with a wrong password", len(s.order))
	}
	if len(s.alerts) != 1 || s.alerts[0].Kind != egress.AlertRouteRefused || s.alerts[0].Scope != "route/gw" {
		t.Fatalf("alerts %+v", s.alerts)
	}
	s.outcome = good
	st.Routes = slices.Clone(st.Routes)
	st.Routes[0].Username = "right"
	s.setState(st)
	s.run(t0.Add(25 * time.Minute))
	s.quiet()
	if last := s.alerts[len(s.alerts)-1]; last.Cleared.IsZero() {
		t.Fatalf("the alert still stands: %+v", s.alerts)
	}
}

func TestHoldAndRelease(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%t", crash), func(t *testing.T) {
			st := mxState()
			st.Holds = []platform.Hold{{Name: "look", Account: "acme", Reason: "checking"}}
			s := newSim(t, st, Options{})
			d := s.send("acme", mail.Transactional, "example.com")[0]
			s.send("other", mail.Transactional, "example.com")
			s.run(t0.Add(time.Hour))
			rec := s.sp.live[d.ID]
			if rec == nil || rec.Held != "look" || !rec.Due.Equal(rec.ExpiresAt) || len(s.sp.live) != 1 || len(s.c.entries) != 0 {
				t.Fatalf("held: %+v", rec)
			}
			if got := s.typesOf(d.ID); !slices.Equal(got, []mail.EventType{mail.EventHeld}) {
				t.Fatalf("events %v", got)
			}
			st.Holds = nil
			if crash { // the release itself is lost: the next start takes it up
				s.snap = platform.NewSnapshot(st, "")
				s.crash()
			} else {
				s.setState(st)
			}
			s.run(t0.Add(2 * time.Hour))
			s.quiet()
			if len(s.sp.lanes) != 0 {
				t.Fatalf("records left: %v", s.sp.lanes)
			}
		})
	}
}

// A hold whose conditions changed while we were down lets go of what it no longer matches.
func TestHoldChangedWhileDown(t *testing.T) {
	st := mxState()
	st.Holds = []platform.Hold{{Name: "look", Stream: mail.Transactional, Reason: "x"}}
	s := newSim(t, st, Options{})
	s.send("acme", mail.Transactional, "example.com")
	kept := s.send("other", mail.Transactional, "example.com")[0]
	s.run(t0.Add(time.Minute))
	st.Holds = []platform.Hold{{Name: "look", Account: "other", Reason: "x"}}
	s.snap = platform.NewSnapshot(st, "")
	s.crash()
	s.run(t0.Add(time.Hour))
	if len(s.sp.live) != 1 || s.sp.live[kept.ID] == nil || s.sp.live[kept.ID].Held != "look" {
		t.Fatalf("live: %+v", s.sp.live)
	}
}

func TestHoldExpiresByItself(t *testing.T) {
	st := mxState()
	st.Holds = []platform.Hold{{Name: "look", Domain: "example.com", Reason: "x", Expires: t0.Add(time.Hour)}}
	s := newSim(t, st, Options{})
	s.send("acme", mail.Transactional, "example.com")
	s.run(t0.Add(59 * time.Minute))
	if len(s.order) != 0 {
		t.Fatal("it was tried while held")
	}
	s.run(t0.Add(61 * time.Minute))
	s.quiet()
}

func TestHeldExpires(t *testing.T) {
	st := mxState()
	st.Holds = []platform.Hold{{Name: "look", Domain: "example.com", Reason: "x"}}
	s := newSim(t, st, Options{})
	d := s.send("acme", mail.Transactional, "example.com")[0]
	s.run(t0.Add(73 * time.Hour))
	s.quiet()
	if got := s.typesOf(d.ID); !slices.Equal(got, []mail.EventType{mail.EventHeld, mail.EventExpired}) {
		t.Fatalf("events %v", got)
	}
}

func TestSuspendedLane(t *testing.T) {
	st := mxState()
	s := newSim(t, st, Options{})
	st.Holds = []platform.Hold{{Name: "quiet", Site: "mx.example.com", Reason: "asked to"}}
	s.setState(st)
	var ds []*mail.Delivery
	for range 200 {
		ds = append(ds, s.send("acme", mail.Transactional, "example.com")...)
	}
	s.send("acme", mail.Transactional, "example.org")
	s.run(t0.Add(time.Hour))
	if len(s.sp.live) != 200 || len(s.sp.events) != 1 {
		t.Fatalf("%d live, %d events: a suspended lane writes nothing and holds up nobody else", len(s.sp.live), len(s.sp.events))
	}
	if why := s.c.why(ds[0]); !strings.Contains(why, "suspended by hold quiet") {
		t.Fatal(why)
	}
	st.Holds = nil
	s.setState(st)
	s.run(t0.Add(2 * time.Hour))
	s.quiet()
}

// A paused account costs no writes and no memory; its mail expires all the same; it goes on when it may.
func TestPausedAccount(t *testing.T) {
	st := mxState()
	st.Accounts = accounts("acme", 1)
	s := newSim(t, st, Options{})
	s.outcome = func(mail.Lane, *mail.Delivery, int) mail.Outcome {
		return mail.Outcome{Result: mail.Deferred, Tried: true, Class: mail.ClassMailboxFull}
	}
	s.send("acme", mail.Transactional, "example.com")
	s.run(t0.Add(time.Second))
	st.Accounts = accounts("acme", 1)
	st.Accounts[0].State = platform.AccountPaused
	s.setState(st)
	s.outcome = good
	for range 500 {
		s.send("acme", mail.Transactional, "example.com")
	}
	m, ds := s.mail("acme", mail.Transactional, time.Hour, "example.com")
	s.sp.accept(m, ds)
	s.step(&add{m: m, ds: ds})
	before := len(s.sp.events)
	s.run(t0.Add(55 * time.Minute))
	if len(s.sp.events) != before || len(s.c.entries) != 0 {
		t.Fatalf("a paused account made %d events and holds %d entries", len(s.sp.events)-before, len(s.c.entries))
	}
	s.run(t0.Add(time.Hour + scanEvery + time.Second))
	if got := s.typesOf(ds[0].ID); !slices.Equal(got, []mail.EventType{mail.EventExpired}) {
		t.Fatalf("events %v", got)
	}
	st.Accounts = accounts("acme", 1)
	s.setState(st)
	s.run(t0.Add(2 * time.Hour))
	s.quiet()
}

// Mail queued before its account was moved to another pool goes out by the new one.
func TestPoolMovedWhileQueued(t *testing.T) {
	st := mxState("old", "new")
	st.Pools = []platform.Pool{{Name: "p", Sources: []string{"old"}}, {Name: "q", Sources: []string{"new"}}}
	st.Routes[0].MaxConnections = 1
	s := newSim(t, st, Options{})
	s.delay = slowDialogue
	for range 50 {
		s.send("acme", mail.Transactional, "example.com")
	}
	var after []string
	moved := false
	s.observe = func(_ *session, g *grant) {
		if moved {
			after = append(after, g.job.Lane.Source)
		}
	}
	s.run(t0.Add(time.Second))
	st.Routes = slices.Clone(st.Routes)
	st.Routes[0].Pool = "q"
	moved = true
	s.setState(st)
	s.run(t0.Add(time.Minute))
	s.quiet()
	if len(after) < 30 || slices.Contains(after, "old") {
		t.Fatalf("after the move: %v", after)
	}
}

func TestNoRouteWaitsWithAlert(t *testing.T) {
	st := mxState()
	st.Policies = []platform.Policy{{Name: "default", Rules: []platform.PolicyRule{{Stream: mail.Bulk, Route: "direct"}}}}
	s := newSim(t, st, Options{})
	s.send("acme", mail.Transactional, "example.com")
	s.run(t0.Add(time.Hour))
	if len(s.sp.live) != 1 || len(s.alerts) != 1 || s.alerts[0].Kind != "no-route" {
		t.Fatalf("%d live, alerts %+v", len(s.sp.live), s.alerts)
	}
	st.Policies = nil
	s.setState(st)
	s.run(t0.Add(time.Hour + time.Minute))
	s.quiet()
	if len(s.alerts) != 2 || s.alerts[1].Cleared.IsZero() {
		t.Fatalf("alerts %+v", s.alerts)
	}
}

func TestGreylistKeepsSource(t *testing.T) {
	s := newSim(t, mxState("s1", "s2", "s3"), Options{})
	s.outcome = func(_ mail.Lane, _ *mail.Delivery, n int) mail.Outcome {
		if n < 4 {
			return mail.Outcome{Result: mail.Deferred, Class: mail.ClassGreylisted, Tried: true}
		}
		return mail.Outcome{Result: mail.Delivered, Tried: true}
	}
	by := map[mail.DeliveryID][]string{}
	s.observe = func(_ *session, g *grant) {
		by[g.job.Deliveries[0].ID] = append(by[g.job.Deliveries[0].ID], g.job.Lane.Source)
	}
	for range 7 {
		s.send("acme", mail.Transactional, "example.com")
	}
	s.run(t0.Add(2 * time.Hour))
	s.quiet()
	for id, sources := range by {
		if len(sources) != 4 || len(slices.Compact(slices.Clone(sources))) != 1 {
			t.Fatalf("%s went from %v", id, sources)
		}
	}
}

// Reputation of the address: one other source, once; then the account rests at that receiver, with an alert.
func TestReputationRefusal(t *testing.T) {
	s := newSim(t, mxState("s1", "s2", "s3"), Options{})
	s.locate = func(_, domain string) (mail.Target, *mail.Outcome) {
		return mail.Target{Receiver: "google", Site: domain}, nil
	}
	s.outcome = func(mail.Lane, *mail.Delivery, int) mail.Outcome {
		return mail.Outcome{Result: mail.Deferred, Class: mail.ClassBlocklistedIP, Scope: mail.ScopeSource, Tried: true, Action: mail.ActionRetryOtherSource, Attempt: mail.Attempt{Reply: "421 listed"}}
	}
	var sources []string
	s.observe = func(_ *session, g *grant) { sources = append(sources, g.job.Lane.Source) }
	d := s.send("acme", mail.Transactional, "example.com")[0]
	s.run(t0.Add(3 * time.Minute))
	if len(sources) != 2 || sources[0] == sources[1] {
		t.Fatalf("sources %v", sources)
	}
	if len(s.alerts) != 1 || s.alerts[0].Kind != egress.AlertReputation || s.alerts[0].Scope != "account/acme" {
		t.Fatalf("alerts %+v", s.alerts)
	}
	if why := s.c.why(s.sp.live[d.ID]); !strings.Contains(why, "next attempt") {
		t.Fatal(why)
	}
	// Its other mail to the receiver waits; another account's does not, nor its mail elsewhere.
	s.outcome = good
	waits := s.send("acme", mail.Transactional, "example.org")[0]
	free := s.send("other", mail.Transactional, "example.org")[0]
	s.run(t0.Add(4 * time.Minute))
	if s.handed[waits.ID] != 0 || s.handed[free.ID] != 1 {
		t.Fatalf("acme's mail was tried %d times, the other account's %d", s.handed[waits.ID], s.handed[free.ID])
	}
	s.run(t0.Add(3 * time.Hour))
	s.quiet()
	if len(s.alerts) != 2 {
		t.Fatalf("the alert was not cleared: %+v", s.alerts)
	}
}

// A hold on the source alone rests it everywhere; new mail takes another source of the pool.
func TestSourceDownIsPassedOver(t *testing.T) {
	s := newSim(t, mxState("s1", "s2"), Options{})
	s.outcome = func(l mail.Lane, d *mail.Delivery, n int) mail.Outcome {
		if l.Source == "s1" {
			return mail.Outcome{Result: mail.Deferred, Class: mail.ClassNetwork, Scope: mail.ScopeSource, Attempt: mail.Attempt{Reply: "cannot assign requested address"}}
		}
		return good(l, d, n)
	}
	for i := range 20 {
		s.send("acme", mail.Transactional, fmt.Sprintf("d%d.test", i))
		s.run(s.now.Add(time.Second))
	}
	n := 0
	for _, ev := range s.sp.events {
		if ev.Type == mail.EventDeferred {
			n++
		}
	}
	// The first was not tried, so it goes on at once, by the other source.
	if n != 1 || len(s.sp.live) != 0 {
		t.Fatalf("%d deferred, %d live: only the first should have met the dead source, and gone by the other", n, len(s.sp.live))
	}
	if len(s.alerts) != 1 || s.alerts[0].Scope != "source/s1" {
		t.Fatalf("alerts %+v", s.alerts)
	}
}

func TestUncertainCountsAndIsKept(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	s.outcome = func(_ mail.Lane, _ *mail.Delivery, n int) mail.Outcome {
		if n == 1 {
			return mail.Outcome{Result: mail.Deferred, Class: mail.ClassNetwork, Scope: mail.ScopeSession, Tried: true, Attempt: mail.Attempt{Uncertain: true, Stage: mail.StageDot}}
		}
		return mail.Outcome{Result: mail.Delivered, Tried: true}
	}
	d := s.send("acme", mail.Transactional, "example.com")[0]
	s.run(t0.Add(30 * time.Second))
	if r := s.sp.live[d.ID]; !r.Uncertain || r.Attempts != 1 || s.c.stats.Uncertain != 1 {
		t.Fatalf("%+v", r)
	}
	s.run(t0.Add(5 * time.Minute))
	s.quiet()
}

func TestCrashLoopIsSetAside(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	s.delay = func(what string) time.Duration {
		if what == "dialogue" {
			return time.Hour
		}
		return 0
	}
	d := s.send("acme", mail.Transactional, "example.com")[0]
	for i := range crashLimit {
		s.run(s.now.Add(30 * time.Minute))
		if s.sp.live[d.ID].Mark == nil {
			t.Fatalf("crash %d: it is not in flight: %+v", i+1, s.sp.live[d.ID])
		}
		s.crash()
		rec := s.sp.live[d.ID]
		if rec.Mark != nil || !rec.Uncertain || rec.Crashes != i+1 || rec.Due.Before(s.now.Add(time.Minute)) {
			t.Fatalf("crash %d: %+v", i+1, rec)
		}
	}
	if rec := s.sp.live[d.ID]; rec.Held != HeldCrashLoop || !rec.Due.Equal(rec.ExpiresAt) {
		t.Fatalf("not set aside: %+v", rec)
	}
	s.run(s.now.Add(6 * time.Hour))
	if s.handed[d.ID] != crashLimit {
		t.Fatalf("it was handed out %d times", s.handed[d.ID])
	}
	s.delay = slowDialogue
	op := &operate{verb: verbRetry, d: d}
	s.step(op)
	s.run(s.now.Add(time.Minute))
	s.quiet()
	if !op.hit || !s.done[op] {
		t.Fatal("the operation did not tell of its end")
	}
}

func TestCancel(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	s.delay = slowDialogue
	s.outcome = func(mail.Lane, *mail.Delivery, int) mail.Outcome {
		return mail.Outcome{Result: mail.Deferred, Class: mail.ClassMailboxFull, Tried: true}
	}
	inHand := s.send("acme", mail.Transactional, "example.com")[0]
	m, later := s.mail("acme", mail.Transactional, 72*time.Hour, "example.com")
	later[0].Due = t0.Add(time.Hour)
	s.sp.accept(m, later)
	s.step(&add{m: m, ds: later})
	s.run(t0.Add(50 * time.Millisecond))
	a, b := &operate{verb: verbCancel, d: inHand, why: "stop"}, &operate{verb: verbCancel, d: later[0], why: "stop"}
	s.step(a)
	s.step(b)
	if s.sp.live[inHand.ID].Mark == nil {
		t.Fatal("the delivery in hand was not let finish")
	}
	s.run(t0.Add(2 * time.Hour))
	s.quiet()
	if got := s.typesOf(inHand.ID); !slices.Equal(got, []mail.EventType{mail.EventDeferred, mail.EventCancelled}) {
		t.Fatalf("in hand: %v", got)
	}
	if got := s.typesOf(later[0].ID); !slices.Equal(got, []mail.EventType{mail.EventCancelled}) {
		t.Fatalf("in the spool: %v", got)
	}
	if !a.hit || !b.hit || !s.done[a] || !s.done[b] {
		t.Fatal("the operations did not end")
	}
}

func TestRetryNow(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	s.outcome = func(mail.Lane, *mail.Delivery, int) mail.Outcome { return down("down") }
	tried := s.send("acme", mail.Transactional, "example.com")[0]
	s.run(t0.Add(time.Second))
	behind := s.send("acme", mail.Transactional, "example.com")[0]
	s.run(t0.Add(2 * time.Second))
	s.outcome = good
	s.step(&operate{verb: verbRetry, d: behind})
	s.step(&operate{verb: verbRetry, d: tried})
	s.run(t0.Add(5 * time.Second))
	s.quiet()
}

// Hosted mail: every customer has a site of its own, but they share one receiver's limits, account by account.
func TestReceiverSharesConnections(t *testing.T) {
	st := mxState("s1")
	s := newSim(t, st, Options{})
	s.delay = func(what string) time.Duration {
		if what == "dialogue" {
			return 200 * time.Millisecond
		}
		return 10 * time.Millisecond
	}
	s.locate = func(_, domain string) (mail.Target, *mail.Outcome) {
		return mail.Target{Receiver: "google", Site: "mx." + domain}, nil
	}
	for i := range 300 {
		for range 30 {
			s.send("big", mail.Transactional, fmt.Sprintf("d%d.test", i))
		}
	}
	s.run(t0.Add(10 * time.Second))
	limit := egress.Limits(&st.Routes[0], "google").Connections
	if s.mostly != limit {
		t.Fatalf("%d connections at one time, want %d", s.mostly, limit)
	}
	before := len(s.order)
	s.send("small", mail.Transactional, "other.test")
	s.run(t0.Add(40 * time.Second))
	wait := slices.Index(s.order[before:], "small")
	if most := limit * (yieldAfter + 2); wait < 0 || wait > most {
		t.Fatalf("the small account came after %d others, want at most %d", wait, most)
	}
	s.run(t0.Add(30 * time.Minute))
	s.quiet()
}

func TestMessagesPerConnectionAndBacklogOfOne(t *testing.T) {
	st := relayState()
	st.Routes[0].MessagesPerConnection = 10
	s := newSim(t, st, Options{})
	perSession := map[uint64]int{}
	s.observe = func(se *session, _ *grant) { perSession[se.id]++ }
	s.send("acme", mail.Transactional, "example.com")
	s.run(t0.Add(time.Second))
	if len(perSession) != 1 {
		t.Fatalf("%d sessions for one message", len(perSession))
	}
	s.delay = slowDialogue
	for range 100 {
		s.send("acme", mail.Transactional, "example.com")
	}
	s.run(t0.Add(time.Minute))
	s.quiet()
	for id, n := range perSession {
		if n > 10 {
			t.Fatalf("session %d did %d jobs", id, n)
		}
	}
	if s.mostly < 10 || s.mostly > egress.DefaultRelay.Connections {
		t.Fatalf("%d sessions for a hundred messages", s.mostly)
	}
}

// Where the route keeps the envelope sender, deliveries of one message share a transaction.
func TestRecipientsShareTransaction(t *testing.T) {
	st := relayState()
	st.Routes[0].MaxRecipients = 3
	s := newSim(t, st, Options{})
	var sizes []int
	s.observe = func(_ *session, g *grant) {
		sizes = append(sizes, len(g.job.Deliveries))
		for _, d := range g.job.Deliveries {
			if d.Message != g.job.Message.ID {
				t.Fatal("a job of two messages")
			}
		}
	}
	s.outcome = func(_ mail.Lane, d *mail.Delivery, n int) mail.Outcome {
		if d.Recipient.Local == "r1" && n == 1 {
			return mail.Outcome{Result: mail.Deferred, Class: mail.ClassMailboxFull, Tried: true}
		}
		return mail.Outcome{Result: mail.Relayed, Tried: true}
	}
	s.send("acme", mail.Transactional, "a.test", "b.test", "c.test", "d.test", "e.test", "f.test", "g.test")
	s.run(t0.Add(time.Hour))
	s.quiet()
	slices.Sort(sizes)
	if !slices.Equal(sizes, []int{1, 1, 3, 3}) {
		t.Fatalf("jobs of %v deliveries", sizes)
	}
}

// A peer that serves us but refuses one connection more gets fewer, not none.
func TestTooManyConnections(t *testing.T) {
	s := newSim(t, relayState(), Options{})
	s.delay = slowDialogue
	for range 20 {
		s.send("acme", mail.Transactional, "example.com")
	}
	s.run(t0.Add(time.Second))
	s.outcome = func(l mail.Lane, d *mail.Delivery, n int) mail.Outcome {
		o := good(l, d, n)
		for _, se := range s.c.sortedSessions() {
			if slices.ContainsFunc(se.hand, func(e *entry) bool { return e.d.ID == d.ID }) && se.jobs == 1 && s.c.groups[groupKeyOf(se.lane)].sessions > 4 {
				o = down("421 too many connections")
				o.Class, o.Scope = mail.ClassRateLimited, mail.ScopeSite
			}
		}
		return o
	}
	for range 500 {
		s.send("acme", mail.Transactional, "example.com")
	}
	s.run(t0.Add(4 * time.Minute))
	s.quiet()
	if s.c.stats.LaneRests != 0 {
		t.Fatalf("the lane rested %d times", s.c.stats.LaneRests)
	}
}

func TestRateIsKept(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	s.locate = func(_, domain string) (mail.Target, *mail.Outcome) {
		return mail.Target{Receiver: "yahoo-jp", Site: "mx"}, nil
	}
	var at []time.Time
	s.observe = func(*session, *grant) { at = append(at, s.now) }
	for range 60 {
		s.send("acme", mail.Transactional, "example.com")
	}
	s.run(t0.Add(time.Minute))
	s.quiet()
	for i := 1; i < len(at); i++ {
		if at[i].Sub(at[i-1]) < 100*time.Millisecond {
			t.Fatalf("two messages within %s", at[i].Sub(at[i-1]))
		}
	}
}

func TestClockInDoubt(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	m, ds := s.mail("acme", mail.Transactional, time.Hour, "example.com")
	ds[0].Due = t0.Add(50 * time.Minute)
	s.sp.accept(m, ds)
	s.step(&add{m: m, ds: ds})
	s.step(doubt{true, "jumped"})
	s.now = t0.Add(100 * time.Hour)
	s.run(s.now.Add(time.Hour))
	if len(s.sp.live) != 1 || s.handed[ds[0].ID] != 0 {
		t.Fatal("it expired, or was tried after its deadline, by a clock in doubt")
	}
	s.step(doubt{})
	s.run(s.now.Add(time.Minute))
	s.quiet()
}

func TestInvalidDomainBouncesAtOnce(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	asked := 0
	s.locate = func(string, string) (mail.Target, *mail.Outcome) {
		asked++
		return mail.Target{}, &mail.Outcome{Result: mail.Bounced, Class: mail.ClassInvalidDomain, Scope: mail.ScopeRecipient, Tried: true, Attempt: mail.Attempt{Reply: "no such domain"}}
	}
	for range 10 {
		s.send("acme", mail.Transactional, "gone.test")
	}
	s.run(t0.Add(time.Second))
	s.quiet()
	if asked != 1 {
		t.Fatalf("asked %d times", asked)
	}
	for _, ev := range s.sp.events {
		if ev.Type != mail.EventBounced || ev.Attempt == nil || ev.Attempt.Reply != "no such domain" || ev.Attempt.N != 1 {
			t.Fatalf("%+v", ev)
		}
	}
}

func TestDNSTroubleDelaysTheDomain(t *testing.T) {
	s := newSim(t, mxState(), Options{})
	asked, broken := 0, true
	s.locate = func(_, domain string) (mail.Target, *mail.Outcome) {
		if asked++; broken {
			return mail.Target{}, &mail.Outcome{Result: mail.Deferred, Class: mail.ClassNetwork, Scope: mail.ScopeSite, Attempt: mail.Attempt{Stage: mail.StageDNS, Reply: "SERVFAIL"}}
		}
		return mail.Target{Site: domain}, nil
	}
	var ds []*mail.Delivery
	for range 200 {
		ds = append(ds, s.send("acme", mail.Transactional, "example.com")...)
	}
	s.run(t0.Add(30 * time.Second))
	if asked != 1 || len(s.sp.events) != 1 || len(s.c.entries) > restWindow {
		t.Fatalf("asked %d times, %d events, %d in memory", asked, len(s.sp.events), len(s.c.entries))
	}
	if why := s.c.why(ds[10]); !strings.Contains(why, "SERVFAIL") {
		t.Fatal(why)
	}
	broken = false
	s.run(t0.Add(10 * time.Minute))
	s.quiet()
}
