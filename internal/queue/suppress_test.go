package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// fakeList is a suppression list whose memory may err on the safe side.
type fakeList struct {
	since map[string]time.Time // by account and address
	maybe func() bool          // what memory says of whom it does not hold
	err   error
	asked int
}

func newFakeList() *fakeList {
	return &fakeList{since: map[string]time.Time{}, maybe: func() bool { return false }}
}

func (f *fakeList) options(o Options) Options {
	o.Listed = func(account string, a mail.Address) bool {
		_, on := f.since[account+" "+a.String()]
		return on || f.maybe()
	}
	o.Suppressed = func(_ context.Context, account string, _ mail.Stream, a mail.Address) (string, bool, error) {
		f.asked++
		if f.err != nil {
			return "", false, f.err
		}
		_, on := f.since[account+" "+a.String()]
		return "complaint: abuse", on, nil
	}
	return o
}

// TestSuppressedWhileWaiting: an address that comes on the list while mail waits, in a lane, for its retry, or held, gets
// none of it; and no attempt is made.
func TestSuppressedWhileWaiting(t *testing.T) {
	list := newFakeList()
	st := mxState()
	st.Routes[0].MaxConnections = 1
	s := newSim(t, st, list.options(Options{}))
	s.delay = func(what string) time.Duration {
		if what == "dialogue" {
			return 10 * time.Second
		}
		return 10 * time.Millisecond
	}
	first := true
	s.outcome = func(_ mail.Lane, _ *mail.Delivery, n int) mail.Outcome {
		if first {
			first = false
			return mail.Outcome{Result: mail.Deferred, Class: mail.ClassGreylisted, Scope: mail.ScopeRecipient, Tried: true, Attempt: mail.Attempt{Reply: "450 later"}}
		}
		return mail.Outcome{Result: mail.Delivered, Tried: true}
	}
	ds := s.send("acme", mail.Bulk, "d.test", "d.test", "d.test", "d.test") // r0 to r3
	s.run(s.now.Add(5 * time.Second))                                       // r0 is in hand, the others wait in the lane
	for _, r := range []string{"acme r0@d.test", "acme r1@d.test", "beta r2@d.test"} {
		list.since[r] = s.now
	}
	s.run(s.now.Add(time.Hour))
	s.quiet()
	for i, want := range [][]mail.EventType{
		{mail.EventDeferred, mail.EventSuppressed}, {mail.EventSuppressed}, {mail.EventDelivered}, {mail.EventDelivered},
	} {
		if got := s.typesOf(ds[i].ID); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("r%d: %v, want %v", i, got, want)
		}
	}
	if s.handed[ds[0].ID] != 1 || s.handed[ds[1].ID] != 0 {
		t.Errorf("handed out %d and %d times, want once before and never", s.handed[ds[0].ID], s.handed[ds[1].ID])
	}
	ev := s.eventsOf(ds[1].ID)[0]
	if ev.Reason != "complaint: abuse" || ev.Account != "acme" || ev.Stream != mail.Bulk || ev.Recipient != "r1@d.test" || ev.Attempt != nil {
		t.Errorf("event %+v", ev)
	}
	if s.c.stats.Suppressed != 2 || list.asked != 2 {
		t.Errorf("%d suppressed, asked %d times, want 2 and 2", s.c.stats.Suppressed, list.asked)
	}
}

// TestListMayErr: memory that says "perhaps" of everybody costs questions, and no mail.
func TestListMayErr(t *testing.T) {
	list := newFakeList()
	list.maybe = func() bool { return true }
	s := newSim(t, mxState(), list.options(Options{Askers: 2}))
	s.delay = func(string) time.Duration { return 50 * time.Millisecond }
	var all []*mail.Delivery
	for range 100 {
		all = append(all, s.send("acme", mail.Transactional, "d.test")...)
	}
	s.run(s.now.Add(time.Minute))
	s.quiet()
	for _, d := range all {
		if got := s.typesOf(d.ID); len(got) != 1 || got[0] != mail.EventDelivered {
			t.Fatalf("%v", got)
		}
	}
	if list.asked != len(all) {
		t.Errorf("asked %d times for %d deliveries", list.asked, len(all))
	}
}

// TestListUnreadable: while the list cannot be read mail flows, with an alert until it can.
func TestListUnreadable(t *testing.T) {
	list := newFakeList()
	list.err = errors.New("the disk is on fire")
	s := newSim(t, mxState(), list.options(Options{}))
	list.since["acme r0@d.test"] = s.now
	d := s.send("acme", mail.Bulk, "d.test")[0]
	s.run(s.now.Add(time.Minute))
	if got := s.typesOf(d.ID); len(got) != 1 || got[0] != mail.EventDelivered {
		t.Errorf("%v", got)
	}
	if len(s.alerts) != 1 || s.alerts[0].Kind != alertList || !s.alerts[0].Cleared.IsZero() {
		t.Fatalf("alerts %+v", s.alerts)
	}
	list.err = nil
	d = s.send("acme", mail.Bulk, "d.test")[0]
	s.run(s.now.Add(time.Minute))
	s.quiet()
	if got := s.typesOf(d.ID); len(got) != 1 || got[0] != mail.EventSuppressed {
		t.Errorf("%v", got)
	}
	if len(s.alerts) != 2 || s.alerts[1].Cleared.IsZero() {
		t.Errorf("alerts %+v", s.alerts)
	}
}

// TestAskedAndOvertaken: what happens to a delivery while the list is asked about it happens, and the answer that comes
// late changes nothing.
func TestAskedAndOvertaken(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(s *sim, d *mail.Delivery)
		want mail.EventType
	}{
		"cancelled":    {func(s *sim, d *mail.Delivery) { s.step(&operate{verb: verbCancel, d: d, why: "test"}) }, mail.EventCancelled},
		"expired":      {func(s *sim, d *mail.Delivery) { s.run(d.ExpiresAt.Add(time.Hour)) }, mail.EventExpired},
		"crashed":      {func(s *sim, _ *mail.Delivery) { s.crash() }, mail.EventSuppressed},
		"redispatched": {func(s *sim, _ *mail.Delivery) { s.setState(mxState("s1")) }, mail.EventSuppressed},
		"retried":      {func(s *sim, d *mail.Delivery) { s.step(&operate{verb: verbRetry, d: d}) }, mail.EventSuppressed},
		"nothing":      {func(*sim, *mail.Delivery) {}, mail.EventSuppressed},
	} {
		t.Run(name, func(t *testing.T) {
			list := newFakeList()
			s := newSim(t, mxState(), list.options(Options{}))
			slow := time.Duration(0)
			s.delay = func(what string) time.Duration {
				if what == "ask" {
					return slow
				}
				return time.Millisecond
			}
			if name == "expired" {
				slow = 100 * time.Hour
			} else {
				slow = time.Minute
			}
			list.since["acme r0@d.test"] = s.now
			d := s.send("acme", mail.Bulk, "d.test")[0]
			s.run(s.now.Add(10 * time.Second))
			if e := s.c.entries[d.ID]; e == nil || e.state != stAsking || s.c.why(d) == "its outcome is being written" {
				t.Fatalf("it is not being asked for: %+v", e)
			}
			c.do(s, d)
			s.run(s.now.Add(400 * time.Hour))
			s.quiet()
			if got := s.sp.ends[d.ID]; got != c.want || s.handed[d.ID] > 0 {
				t.Errorf("it ended as %s after %d attempts, want %s", got, s.handed[d.ID], c.want)
			}
		})
	}
}

// TestListOptions: half a list is a mistake.
func TestListOptions(t *testing.T) {
	o := relayOptions(newFakeSpool(), deliverAll(nil))
	o.Listed = func(string, mail.Address) bool { return false }
	if _, err := New(o); !errors.Is(err, ErrSuppressed) {
		t.Errorf("got %v", err)
	}
}

// TestAskedForReal runs the shell: a list that is slow for one recipient keeps nobody else waiting.
func TestAskedForReal(t *testing.T) {
	done, asked := make(chan struct{}, 100), make(chan struct{}, 100)
	release := make(chan struct{})
	f := newFakeSpool()
	o := relayOptions(f, deliverAll(done))
	o.Listed = func(_ string, a mail.Address) bool { return a.Local == "r0" }
	o.Suppressed = func(ctx context.Context, _ string, _ mail.Stream, _ mail.Address) (string, bool, error) {
		asked <- struct{}{}
		select {
		case <-release:
			return "manual", true, nil
		case <-ctx.Done():
			return "", false, ctx.Err()
		}
	}
	q, stop := running(t, o)
	s := &sim{now: time.Now().UTC(), rng: rand.New(rand.NewPCG(1, 2))}
	m, ds := s.mail("acme", mail.Bulk, time.Hour, "d.test", "d.test", "d.test")
	f.accept(m, ds)
	q.Add(m, ds, mail.BytesBody("x"))
	for range 2 {
		select {
		case <-done:
		case <-time.After(5 * time.Minute):
			t.Fatal("mail waits for somebody else's answer")
		}
	}
	close(release)
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Millisecond) {
		f.mu.Lock()
		end := f.ends[ds[0].ID]
		f.mu.Unlock()
		if end == mail.EventSuppressed {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it ended as %q", end)
		}
	}
	stop()
	<-asked

	// And one that is never answered holds up no stop, nor is it taken for an answer.
	release = make(chan struct{})
	q, stop = running(t, o)
	m, ds = s.mail("acme", mail.Bulk, time.Hour, "d.test")
	f.accept(m, ds)
	q.Add(m, ds, mail.BytesBody("x"))
	<-asked
	stop()
	if _, over := f.ends[ds[0].ID]; over {
		t.Error("it ended without an answer")
	}
}
