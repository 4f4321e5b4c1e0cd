package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

const crmID = "whk_acme_crm"

func inDeliveryOrder(concurrency int) func(*platform.Webhook) {
	return func(w *platform.Webhook) { w.Order, w.Concurrency = platform.OrderDelivery, concurrency }
}

// traffic is events of several deliveries, mixed, and which delivery each belongs to.
type traffic struct {
	ids []string
	of  map[string]int // id of an event: number of its delivery
	per int
}

// rounds records events of n deliveries, one of each at a time.
func (r *rig) rounds(n, per int) *traffic {
	r.t.Helper()
	r.gen.Clock = time.Now().UTC().Truncate(time.Millisecond)
	x := &traffic{of: map[string]int{}, per: per}
	var messages []*mail.Message
	var deliveries []mail.DeliveryID
	for range n {
		messages, deliveries = append(messages, r.gen.Message("acme")), append(deliveries, r.gen.Delivery())
	}
	for round := range per {
		var list []*mail.Event
		for i, d := range deliveries {
			rcpt := fmt.Sprintf("user%d@bigmail.example", i)
			switch round {
			case 0:
				list = append(list, r.gen.Accepted(messages[i], d, rcpt))
			case per - 1:
				list = append(list, r.gen.Tried(mail.EventDelivered, messages[i], d, rcpt, round, 250, "250 ok"))
			default:
				list = append(list, r.gen.Tried(mail.EventDeferred, messages[i], d, rcpt, round, 451, "451 later"))
			}
			x.of[list[len(list)-1].ID.String()] = i
		}
		x.ids = append(x.ids, r.record(list...)...)
	}
	return x
}

// check looks at everything a receiver took: every event is there, those of one delivery in order. It returns how many came
// more than once; one that comes again must not come behind a later one of its delivery.
func (x *traffic) check(t *testing.T, had []got) (again int) {
	t.Helper()
	seen := map[string]bool{}
	last := map[int]uint64{}
	for _, g := range had {
		if g.status < 200 || g.status > 299 || g.replay != "" {
			continue
		}
		d, ok := x.of[g.id]
		if !ok {
			continue
		}
		if g.seq < last[d] {
			t.Errorf("delivery %d: event %d came after %d", d, g.seq, last[d])
		}
		last[d] = g.seq
		if seen[g.id] {
			again++
		}
		seen[g.id] = true
	}
	for _, id := range x.ids {
		if !seen[id] {
			t.Errorf("event %s of delivery %d never came", id, x.of[id])
		}
	}
	return again
}

// TestDeliveryOrder: several requests run, never more than allowed, and what belongs to one delivery stays in order although the
// receiver is slow and refuses now and then.
func TestDeliveryOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", inDeliveryOrder(8)))
		var mu sync.Mutex
		now, most := 0, 0
		crm := r.receiver("crm.example", func(n int, g got, _ http.ResponseWriter, _ *http.Request) int {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(50 * time.Millisecond)
			mu.Lock()
			now--
			mu.Unlock()
			if g.seq%11 == 3 && n%2 == 0 {
				return 500
			}
			return 200
		})
		r.run()
		begin := time.Now()
		x := r.rounds(100, 5)
		r.status(crmID, func(st Status) bool { return len(crm.taken()) == len(x.ids) })
		if d := time.Since(begin); d > 30*time.Second {
			t.Errorf("%d events took %v, one after the other they take %v", len(x.ids), d, time.Duration(len(x.ids))*50*time.Millisecond)
		}
		mu.Lock()
		if most != 8 {
			t.Errorf("%d requests ran at one time, want 8", most)
		}
		mu.Unlock()
		if again := x.check(t, crm.all()); again != 0 {
			t.Errorf("%d came again", again)
		}
		time.Sleep(2 * time.Minute) // the place is written
		positions, err := r.store.WebhookPositions(t.Context())
		if err != nil || len(positions[0].Open) != 0 || positions[0].At[spoolID] != r.gen.Seq {
			t.Errorf("it stands at %+v, %v; the last event is %d", positions, err, r.gen.Seq)
		}
	})
}

// TestFailingDeliveryHoldsNobodyUp: events the receiver cannot take hold up those of the same delivery only; the place on disk
// does not pass them, over a restart those that were taken do not come again, and a skip lets the delivery go on.
func TestFailingDeliveryHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", inDeliveryOrder(4)))
		poison := uint64(3)
		crm := r.receiver("crm.example", func(_ int, g got, _ http.ResponseWriter, _ *http.Request) int {
			if g.seq == poison {
				return 400
			}
			return 200
		})
		r.run()
		x := r.rounds(10, 4) // event 3 is the first of delivery 2
		r.status(crmID, func(Status) bool { return len(crm.taken()) == 36 })
		time.Sleep(3 * time.Hour)
		st := r.status(crmID, func(Status) bool { return true })
		if st.State != StateRetrying || st.Failing != 1 || st.Open != 4 || st.Attempts < 8 || st.Event != x.ids[2] {
			t.Errorf("%+v", st)
		}
		for _, id := range crm.taken() {
			if x.of[id] == 2 {
				t.Errorf("event %s came before the one that is refused", id)
			}
		}
		positions, err := r.store.WebhookPositions(t.Context())
		if err != nil || positions[0].At[spoolID] != poison-1 || len(positions[0].Open) != 4 || positions[0].Ahead[spoolID] != 40 {
			t.Errorf("the place is %+v, %v", positions, err)
		}
		r.restart()
		more := r.rounds(5, 2)
		r.status(crmID, func(Status) bool { return len(crm.taken()) == 46 })
		if st := r.status(crmID, func(Status) bool { return true }); st.Attempts < 8 || st.Failing != 1 {
			t.Errorf("after the restart %+v", st)
		}
		event, _ := mail.ParseEventID(x.ids[2])
		if behind, _ := mail.ParseEventID(x.ids[12]); !errors.Is(r.svc.Skip(t.Context(), crmID, behind), ErrNotWaiting) {
			t.Error("an event that was never tried was passed over")
		}
		if err := r.svc.Skip(t.Context(), crmID, event); err != nil {
			t.Fatal(err)
		}
		r.status(crmID, func(st Status) bool { return len(crm.taken()) == 49 && st.State == StateLive })
		if again := more.check(t, crm.all()); again != 0 {
			t.Errorf("%d came again", again)
		}
		x.ids = slices.Delete(x.ids, 2, 3)
		if again := x.check(t, crm.all()); again != 0 {
			t.Errorf("%d came again after the restart", again)
		}
	})
}

// TestTooManyFailingDeliveries: the window is bounded, and nothing is lost when it was full.
func TestTooManyFailingDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", inDeliveryOrder(16)))
		const open = 40
		r.tune = func(s *Service) { s.maxOpen = open }
		var mu sync.Mutex
		works := false
		crm := r.receiver("crm.example", func(_ int, g got, _ http.ResponseWriter, _ *http.Request) int {
			mu.Lock()
			defer mu.Unlock()
			if !works && g.seq%2 == 0 {
				return 422
			}
			return 200
		})
		r.run()
		x := r.rounds(3*open, 1)
		full := false
		for begin := time.Now(); !full && time.Since(begin) < 3*time.Hour; time.Sleep(time.Minute) {
			r.svc.mu.Lock()
			e := r.svc.endpoints[crmID]
			if len(e.open) > open || len(e.queue) > e.room() {
				t.Errorf("%d are open, %d queued", len(e.open), len(e.queue))
			}
			full = len(e.open) == open
			r.svc.mu.Unlock()
		}
		if !full {
			t.Error("the window never was full")
		}
		mu.Lock()
		works = true
		mu.Unlock()
		r.restart()
		time.Sleep(time.Hour)
		if again := x.check(t, crm.all()); again != 0 {
			t.Errorf("%d came again", again)
		}
		r.status(crmID, func(st Status) bool { return st.State == StateLive && st.Open == 0 })
	})
}

// TestDownInDeliveryOrder: a receiver that is down is not flooded with what waits: it is asked now and then, and when it works
// again everything follows at once. After three days the webhook is stopped once, and goes on where it stopped.
func TestDownInDeliveryOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", inDeliveryOrder(16)))
		crm := r.receiver("crm.example", nil)
		r.run()
		crm.setDown(true)
		before := r.net.dials.Load()
		x := r.rounds(60, 2)
		time.Sleep(time.Hour)
		tried := r.net.dials.Load() - before
		if tried < 10 || tried > 16+30 {
			t.Errorf("it was asked %d times in an hour", tried)
		}
		r.restart()
		time.Sleep(time.Hour)
		crm.setDown(false)
		time.Sleep(time.Hour)
		if again := x.check(t, crm.all()); again != 0 {
			t.Errorf("%d came again", again)
		}
		r.status(crmID, func(st Status) bool { return st.State == StateLive && st.Open == 0 })

		crm.setDown(true)
		x = r.rounds(50, 3)
		time.Sleep(71 * time.Hour)
		if told := r.stops(); len(told) != 0 {
			t.Fatalf("given up early: %+v", told)
		}
		time.Sleep(5 * time.Hour)
		if st := r.status(crmID, func(Status) bool { return true }); st.State != StateStopped || len(r.stops()) != 1 {
			t.Errorf("%+v, told %+v", st, r.stops())
		}
		crm.setDown(false)
		r.restart()
		time.Sleep(time.Hour)
		if n := len(crm.taken()); n != 120 {
			t.Errorf("a stopped webhook had %d events", n-120)
		}
		if err := r.svc.Enable(t.Context(), crmID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if again := x.check(t, crm.all()); again != 0 {
			t.Errorf("%d came again", again)
		}
	})
}

// TestFewEventsAreNoDeadReceiver: when the only events in hand are such as the receiver cannot take, others are tried too.
func TestFewEventsAreNoDeadReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", inDeliveryOrder(4)))
		crm := r.receiver("crm.example", func(_ int, g got, _ http.ResponseWriter, _ *http.Request) int {
			if g.seq <= downAfter {
				return 500
			}
			return 200
		})
		r.run()
		r.rounds(downAfter, 1)
		time.Sleep(2 * time.Minute)
		x := r.rounds(100, 1)
		time.Sleep(20 * time.Minute)
		if again := x.check(t, crm.all()); again != 0 {
			t.Errorf("%d came again", again)
		}
	})
}

// TestPauseForAllRequests: Retry-After holds for the receiver, not for one event.
func TestPauseForAllRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", inDeliveryOrder(4)))
		crm := r.receiver("crm.example", func(n int, _ got, w http.ResponseWriter, _ *http.Request) int {
			if n <= 4 {
				w.Header().Set("Retry-After", "1800")
				return 429
			}
			return 200
		})
		r.run()
		x := r.rounds(50, 2)
		time.Sleep(29 * time.Minute)
		if n := len(crm.all()); n > 4 {
			t.Errorf("%d requests came in the half hour it wanted to be left alone", n-4)
		}
		time.Sleep(5 * time.Minute)
		if again := x.check(t, crm.all()); again != 0 {
			t.Errorf("%d came again", again)
		}
	})
}

// TestGoneInDeliveryOrder: 410 stops it, whatever else is under way, and says so once.
func TestGoneInDeliveryOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", inDeliveryOrder(8)))
		crm := r.receiver("crm.example", func(int, got, http.ResponseWriter, *http.Request) int {
			time.Sleep(time.Second)
			return 410
		})
		r.run()
		r.rounds(50, 1)
		time.Sleep(time.Hour)
		if st := r.status(crmID, func(Status) bool { return true }); st.State != StateStopped || len(crm.all()) != 8 || len(r.stops()) != 1 {
			t.Errorf("%+v after %d requests, told %d times", st, len(crm.all()), len(r.stops()))
		}
	})
}

// TestOrderChanges: from one order to the other and back while events are under way.
func TestOrderChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", nil))
		crm := r.receiver("crm.example", func(int, got, http.ResponseWriter, *http.Request) int {
			time.Sleep(50 * time.Millisecond)
			return 200
		})
		r.run()
		x := r.rounds(60, 3)
		for i := range 12 {
			time.Sleep(300 * time.Millisecond)
			r.set(hook("acme", "crm", func(w *platform.Webhook) {
				if i%2 == 0 {
					inDeliveryOrder(5)(w)
				}
				w.Disabled = i%5 == 4
			}))
		}
		time.Sleep(time.Minute)
		if again := x.check(t, crm.all()); again != 0 {
			t.Errorf("%d came again", again)
		}
	})
}

// TestCrashAtEachWrite: whichever write of places is the last that reaches the disk, nothing is lost; what comes again was in
// hand, and comes before later events of its delivery.
func TestCrashAtEachWrite(t *testing.T) {
	const deliveries, per, parallel = 6, 3, 4
	const writes = 24
	for last := range writes {
		if testing.Short() && last%4 != 1 {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, nil)
			var mu sync.Mutex
			writes, dead := 0, false
			r.step = func(name string) error {
				mu.Lock()
				defer mu.Unlock()
				if name != "in webhooks" || !dead && writes < last {
					writes++
					return nil
				}
				dead = true
				return errors.New("no power")
			}
			r.step = sometimes(r.step)
			r.set(hook("acme", "crm", inDeliveryOrder(parallel)))
			crm := r.receiver("crm.example", func(n int, g got, _ http.ResponseWriter, _ *http.Request) int {
				time.Sleep(time.Duration(g.seq*37%90) * time.Millisecond)
				if g.seq%5 == 2 && n < 12 {
					return 503
				}
				return 200
			})
			r.run()
			x := r.rounds(deliveries, per)
			time.Sleep(20 * time.Second)
			r.stop()
			mu.Lock()
			writes, dead = -1<<30, false
			mu.Unlock()
			if err := r.store.Close(); err != nil {
				t.Fatal(err)
			}
			r.openStore()
			r.run()
			time.Sleep(time.Minute)
			if again := x.check(t, crm.all()); again > parallel {
				t.Errorf("after %d writes %d came again, at most %d may", last, again, parallel)
			}
			r.status(crmID, func(st Status) bool { return st.State == StateLive && st.Open == 0 })
		})
	}
}

// sometimes lets the write pass that keeps where a webhook begins: without it there is none.
func sometimes(step func(string) error) func(string) error {
	var begun atomic.Bool
	return func(name string) error {
		if name == "in webhooks" && begun.CompareAndSwap(false, true) {
			return nil
		}
		return step(name)
	}
}

// TestSharedRequests: when the platform runs as many requests as it may, every webhook still has one.
func TestSharedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		const extra, hooks = 20, 5
		r.tune = func(s *Service) { s.maxExtra = extra }
		var names []string
		for i := range hooks {
			names = append(names, fmt.Sprintf("h%d", i))
			r.set(hook("acme", names[i], func(w *platform.Webhook) {
				inDeliveryOrder(10)(w)
				w.URL = "http://crm.example/" + names[i]
			}))
		}
		var mu sync.Mutex
		now, most, by := 0, 0, map[string]int{}
		r.receiver("crm.example", func(_ int, _ got, _ http.ResponseWriter, q *http.Request) int {
			mu.Lock()
			now++
			most = max(most, now)
			by[strings.TrimPrefix(q.URL.Path, "/")]++
			mu.Unlock()
			time.Sleep(5 * time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return 200
		})
		r.run()
		r.rounds(30, 1)
		time.Sleep(4 * time.Second)
		mu.Lock()
		if most != extra+hooks || len(by) != hooks {
			t.Errorf("%d requests at one time, of %d webhooks", most, len(by))
		}
		mu.Unlock()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for _, n := range names {
			if by[n] != 30 {
				t.Errorf("%s had %d events", n, by[n])
			}
		}
	})
}

// TestOpenEventGone: an event that is no longer in the record after a start is passed over.
func TestOpenEventGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.set(hook("acme", "crm", inDeliveryOrder(4)))
		x := r.rounds(4, 1)
		far := mail.EventID{Spool: 99, Seq: 5}
		if err := r.store.WriteWebhooks(t.Context(), []store.WebhookPosition{{
			Webhook: crmID, Ahead: store.Cursor{spoolID: 2, 99: 7}, Lagging: true, Open: []store.WebhookOpen{{Event: far, Attempts: 2}},
		}}, nil, nil); err != nil {
			t.Fatal(err)
		}
		crm := r.receiver("crm.example", nil)
		r.run()
		time.Sleep(time.Minute)
		if got := slices.Sorted(slices.Values(crm.taken())); !slices.Equal(got, x.ids[2:]) {
			t.Errorf("had %v, want %v", got, x.ids[2:])
		}
		r.status(crmID, func(st Status) bool { return st.State == StateLive && st.Open == 0 })
	})
}
