package queue

import (
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// tb is what testing.T and rapid.T share.
type tb interface {
	Helper()
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

// sim runs a core over a fake spool in virtual time: it carries actions out after delays of its own choosing, keeps
// the order of commits, and checks every promise of the queue at each hand-out.
type sim struct {
	t    tb
	opt  Options
	c    *core
	sp   *fakeSpool
	now  time.Time
	snap *platform.Snapshot
	rng  *rand.Rand

	events  simEvents
	seq     int
	epoch   int      // events of an earlier epoch died with the process
	commits []func() // in order

	// The world: how long things take, and what peers say.
	delay   func(what string) time.Duration
	locate  func(route, domain string) (mail.Target, *mail.Outcome)
	outcome func(l mail.Lane, d *mail.Delivery, n int) mail.Outcome
	// observe sees each hand-out; nil: none.
	observe func(s *session, g *grant)

	handed  map[mail.DeliveryID]int // hand-outs
	flight  map[mail.DeliveryID]bool
	order   []string // of hand-outs, account by account
	alerts  []platform.Alert
	open    int // sessions
	mostly  int // most sessions at one time
	perLane map[string]int
	done    map[*operate]bool
	rest    int // core.restWindow; 0: as it is
}

type simEvent struct {
	at    time.Time
	seq   int
	epoch int
	fn    func()
}

type simEvents []simEvent

func (h simEvents) Len() int { return len(h) }
func (h simEvents) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h simEvents) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *simEvents) Push(x any)   { *h = append(*h, x.(simEvent)) }
func (h *simEvents) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func mxState(sources ...string) platform.State {
	st := platform.State{Routes: []platform.Route{{Name: "direct", Kind: mail.RouteMX}}}
	if len(sources) > 0 {
		st.Routes[0].Pool = "p"
		st.Pools = []platform.Pool{{Name: "p", Sources: sources}}
		for _, s := range sources {
			st.Sources = append(st.Sources, platform.Source{Name: s})
		}
	}
	return st
}

func relayState() platform.State {
	return platform.State{Routes: []platform.Route{{Name: "gw", Kind: mail.RouteRelay, Host: "gw.example.net"}}}
}

// newSim makes a simulation over a platform state. Unless changed, everything takes no time and is delivered.
func newSim(t tb, st platform.State, opt Options) *sim {
	t.Helper()
	s := &sim{
		t: t, sp: newFakeSpool(), now: t0, snap: platform.NewSnapshot(st, "mx.example.net"),
		rng: rand.New(rand.NewPCG(1, 2)), handed: map[mail.DeliveryID]int{}, flight: map[mail.DeliveryID]bool{},
		perLane: map[string]int{}, done: map[*operate]bool{},
		delay: func(string) time.Duration { return 0 },
		locate: func(route, domain string) (mail.Target, *mail.Outcome) {
			if route == "gw" {
				return mail.Target{Site: "gw.example.net:25"}, nil
			}
			return mail.Target{Site: "mx." + domain}, nil
		},
		outcome: func(mail.Lane, *mail.Delivery, int) mail.Outcome {
			return mail.Outcome{Result: mail.Delivered, Tried: true}
		},
	}
	opt.Spools = []Spool{s.sp}
	opt.Snapshot = func() *platform.Snapshot { return s.snap }
	opt.Locate = func(context.Context, string, string) (mail.Target, *mail.Outcome) { panic("the simulation locates") }
	opt.Session = func(context.Context, mail.Lane, func(context.Context) (mail.Job, bool), func(mail.Job, mail.Outcome)) {
		panic("the simulation runs sessions")
	}
	var err error
	if s.opt, err = opt.withDefaults(); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s
}

// start is what Run does first.
func (s *sim) start() {
	s.c = newCore(&s.opt, s.snap, 42)
	if s.rest > 0 {
		s.c.restWindow = s.rest
	}
	for _, d := range s.sp.atOpen {
		c := crashed(d, s.now)
		if err := s.sp.apply(&spool.Batch{Settle: []spool.Settlement{*c}}); err != nil {
			s.t.Fatalf("settle a crash: %v", err)
		}
	}
	in := &restored{}
	in.lanes, _ = s.sp.Lanes(context.Background())
	_ = s.sp.Queues(context.Background(), func(h spool.QueueHead) error {
		in.heads = append(in.heads, head{0, h})
		return nil
	})
	slicesSortHeads(in.heads)
	s.step(in)
}

func slicesSortHeads(hs []head) {
	for i := range hs {
		for j := i; j > 0 && (queueID{0, hs[j].Key}).compare(queueID{0, hs[j-1].Key}) < 0; j-- {
			hs[j], hs[j-1] = hs[j-1], hs[j]
		}
	}
}

// crash ends the process: what was not committed is lost, sessions vanish.
func (s *sim) crash() {
	s.epoch++
	s.commits = nil
	s.flight = map[mail.DeliveryID]bool{}
	s.open = 0
	s.sp.reopen()
	s.start()
}

func (s *sim) after(what string, fn func()) {
	s.seq++
	heap.Push(&s.events, simEvent{s.now.Add(s.delay(what)), s.seq, s.epoch, fn})
}

// commit queues a change; commits happen in order, each after its delay.
func (s *sim) commit(fn func()) {
	s.commits = append(s.commits, fn)
	s.after("commit", func() {
		if len(s.commits) > 0 {
			first := s.commits[0]
			s.commits = s.commits[1:]
			first()
		}
	})
}

func (s *sim) step(in input) {
	for _, a := range s.c.step(s.now, in) {
		s.carry(a)
	}
}

func (s *sim) carry(a action) {
	ctx := context.Background()
	switch a := a.(type) {
	case *write:
		s.commit(func() {
			err := s.sp.apply(batchOf([]*write{a}))
			if err != nil {
				s.t.Fatalf("at %s the spool refused a change: %v", s.now.Sub(t0), err)
			}
			if a.entry != nil {
				s.step(&wrote{entries: []*entry{a.entry}})
			}
		})
	case openSession:
		s.open++
		s.mostly = max(s.mostly, s.open)
		s.after("connect", func() { s.step(want{a.sess}) })
	case give:
		s.give(a)
	case cutSession:
	case *readPage:
		s.after("page", func() { // read now, told later: what happens in between must not confuse the core
			in := &pageRead{readPage: a}
			in.ds, in.next, in.full, _ = s.sp.Page(ctx, a.q.id.key, a.from, a.until, a.max)
			if in.more = in.full; !in.full {
				in.next, in.more, _ = s.sp.Head(ctx, a.q.id.key, in.next)
			}
			for _, d := range in.ds {
				m, _ := s.sp.Message(ctx, d.Message)
				in.messages = append(in.messages, m)
			}
			s.after("page", func() { s.step(in) })
		})
	case locate:
		s.after("locate", func() {
			target, o := s.locate(a.place.key.route, a.place.domain)
			s.step(located{a.place, target, o})
		})
	case ask:
		s.after("ask", func() {
			in := answered{ask: a}
			in.why, in.is, in.err = s.opt.Suppressed(ctx, a.account, a.stream, a.to)
			s.after("ask", func() { s.step(in) })
		})
	case fetch:
		s.after("fetch", func() {
			in := &fetched{e: a.e}
			if in.d, in.err = s.sp.Delivery(ctx, a.e.d.ID); in.err == nil {
				in.m, _ = s.sp.Message(ctx, in.d.Message)
			}
			s.after("fetch", func() { s.step(in) })
		})
	case releaseHold:
		s.commit(func() { // behind what is being held now
			f := Filter{Held: a.name}
			var ops []*operate
			_ = s.sp.All(ctx, func(d *mail.Delivery) error {
				if f.matchesDelivery(d) {
					ops = append(ops, &operate{verb: verbUnhold, d: d, why: a.name})
				}
				return nil
			})
			for _, op := range ops {
				s.step(op)
			}
			s.commit(func() { s.step(holdsReleased(a)) })
		})
	case operated:
		s.done[a.op] = true
	case tell:
		s.alerts = append(s.alerts, a.alert)
	case complain:
		s.t.Fatalf("at %s the core complains: %s: %s: %v", s.now.Sub(t0), a.id, a.text, a.err)
	}
}

func (s *sim) give(a give) {
	if a.grant == nil {
		s.after("quit", func() {
			s.open--
			s.step(ended{a.sess})
		})
		return
	}
	g := a.grant
	if s.observe != nil {
		s.observe(a.sess, g)
	}
	for i, m := range g.marks {
		d := m.Delivery
		switch {
		case s.flight[d.ID]:
			s.t.Fatalf("%s was handed out twice at one time", d.ID)
		case s.now.Before(d.Due):
			s.t.Fatalf("%s was handed out %s early", d.ID, d.Due.Sub(s.now))
		case !s.now.Before(d.ExpiresAt):
			s.t.Fatalf("%s was handed out %s after its deadline", d.ID, s.now.Sub(d.ExpiresAt))
		case d.Held != "":
			s.t.Fatalf("%s was handed out while held by %s", d.ID, d.Held)
		case s.c.account(d.Queue.Account).paused:
			s.t.Fatalf("%s was handed out while its account is paused", d.ID)
		case g.job.Attempts[i] != d.Attempts+1:
			s.t.Fatalf("%s: attempt %d after %d", d.ID, g.job.Attempts[i], d.Attempts)
		}
		for i := range s.c.holds {
			h := &s.c.holds[i]
			if s.c.inForce(h) && h.matchesLane(g.job.Lane) && h.matchesMail(d.Queue, g.job.Message) {
				s.t.Fatalf("%s was handed out against hold %s", d.ID, h.Name)
			}
		}
		s.flight[d.ID] = true
		s.handed[d.ID]++
		s.order = append(s.order, d.Queue.Account)
	}
	s.commit(func() {
		if err := s.sp.apply(&spool.Batch{Mark: g.marks}); err != nil {
			s.t.Fatalf("the spool refused a mark: %v", err)
		}
	})
	s.after("dialogue", func() {
		for i, d := range g.job.Deliveries {
			o := s.outcome(g.job.Lane, d, g.job.Attempts[i])
			o.Delivery = d.ID
			delete(s.flight, d.ID)
			s.step(settled{a.sess, &o})
		}
		s.step(want{a.sess})
	})
}

// run lets time pass until then, event by event.
func (s *sim) run(until time.Time) {
	for range 5_000_000 {
		at, ok := s.c.timers.next()
		if len(s.events) > 0 && (!ok || !s.events[0].at.After(at)) {
			if s.events[0].at.After(until) {
				break
			}
			e := heap.Pop(&s.events).(simEvent)
			if e.epoch != s.epoch {
				continue
			}
			s.now = later(s.now, e.at)
			e.fn()
			continue
		}
		if !ok || at.After(until) {
			s.now = later(s.now, until)
			return
		}
		s.now = later(s.now, at)
		s.step(nil)
	}
	if s.now.Before(until) && len(s.events) > 0 && !s.events[0].at.After(until) {
		s.t.Fatal("the simulation does not come to an end")
	}
	s.now = later(s.now, until)
}

func (s *sim) setState(st platform.State) {
	s.snap = platform.NewSnapshot(st, "mx.example.net")
	s.step(snapshotChanged{s.snap})
}

var simIDs uint64

func simID() (id [16]byte) {
	simIDs++
	for i := range 8 {
		id[15-i] = byte(simIDs >> (8 * i))
	}
	return id
}

// mail makes a message with a delivery to each recipient domain, not yet accepted.
func (s *sim) mail(account string, stream mail.Stream, life time.Duration, domains ...string) (*mail.Message, []*mail.Delivery) {
	m := &mail.Message{
		ID: mail.MessageID(simID()), Account: account, Stream: stream, From: mail.Address{Local: "a", Domain: account + ".example"},
		AcceptedAt: s.now, ExpiresAt: s.now.Add(life), Recipients: len(domains),
	}
	var ds []*mail.Delivery
	for i, dom := range domains {
		ds = append(ds, &mail.Delivery{
			ID: mail.DeliveryID(simID()), Message: m.ID, Queue: mail.QueueKey{Account: account, Stream: stream, Domain: dom},
			Recipient: mail.Address{Local: fmt.Sprintf("r%d", i), Domain: dom}, CreatedAt: s.now, Due: s.now, ExpiresAt: m.ExpiresAt,
		})
	}
	return m, ds
}

// send accepts a message and adds it.
func (s *sim) send(account string, stream mail.Stream, domains ...string) []*mail.Delivery {
	m, ds := s.mail(account, stream, 72*time.Hour, domains...)
	s.sp.accept(m, ds)
	s.step(&add{m: m, ds: ds})
	return ds
}

// quiet checks that nothing is left anywhere.
func (s *sim) quiet() {
	s.t.Helper()
	if n := len(s.sp.live); n > 0 {
		for _, d := range s.sp.live {
			s.t.Errorf("still live: %s due %s, held %q: %s", d.ID, d.Due.Sub(t0), d.Held, s.c.why(d))
			if q := s.c.queues[queueID{0, d.Queue}]; q != nil {
				s.t.Errorf("its queue: cursor %v known %t loaded %d blocked %t scanning %t paging %t waiting for a page %t timer %t; account loaded %d starved %t, ring %d, page ring %d, starved %d, freed %d, entries %d, pages %d",
					q.cursor.Due.Sub(t0), q.known, q.loaded, q.blocked, q.scanning, q.paging, q.waits.in != nil, q.timer.pos > 0, q.acct.loaded, q.acct.starved, q.acct.pages.n, s.c.pageRing.n, len(s.c.pageStarved), s.c.freed, len(s.c.entries), s.c.pages)
			}
			if n--; n < len(s.sp.live)-5 {
				break
			}
		}
		s.t.Fatalf("%d deliveries are still live", len(s.sp.live))
	}
	if len(s.c.entries) != 0 || len(s.c.messages) != 0 || s.c.bodies != 0 || len(s.c.sessions) != 0 || len(s.c.lanes) != 0 || len(s.c.queues) != 0 {
		s.t.Fatalf("left in memory: %d entries, %d messages, %d octets, %d sessions, %d lanes, %d queues",
			len(s.c.entries), len(s.c.messages), s.c.bodies, len(s.c.sessions), len(s.c.lanes), len(s.c.queues))
	}
	for name, a := range s.c.accounts {
		if a.loaded != 0 || a.sessions != 0 {
			s.t.Fatalf("account %s counts %d loaded, %d sessions", name, a.loaded, a.sessions)
		}
	}
}

func (s *sim) typesOf(id mail.DeliveryID) (ts []mail.EventType) {
	for _, ev := range s.sp.events {
		if ev.Delivery == id {
			ts = append(ts, ev.Type)
		}
	}
	return ts
}

func (s *sim) eventsOf(id mail.DeliveryID) (evs []*mail.Event) {
	for _, ev := range s.sp.events {
		if ev.Delivery == id {
			evs = append(evs, ev)
		}
	}
	return evs
}
