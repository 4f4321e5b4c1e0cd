package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// Random mail, peers, delays, failures, holds, pauses, operations, restarts: whatever happens, the promises that
// sim checks at each hand-out and commit hold, and everything ends, once, by its deadline.
func TestProperty(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) { rapid.Check(t, checkPromises) })
	}
}

func checkPromises(rt *rapid.T) {
	world := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "world"), 7))
	base := mxState("s1", "s2")
	base.Routes = append(base.Routes, platform.Route{Name: "gw", Kind: mail.RouteRelay, Host: "gw.example.net", MaxRecipients: 3})
	base.Policies = []platform.Policy{{Name: "default", Rules: []platform.PolicyRule{
		{RecipientDomains: []string{"d3.test"}, Route: "gw"}, {Route: "direct"},
	}}}
	base.Accounts = accounts("a0", 1, "a1", 3, "a2", 1)
	base.Routes[0].MaxConnections = 1 + world.IntN(4)
	base.Routes[1].MaxConnections = 1 + world.IntN(4)
	base.Routes[0].MessagesPerConnection = 1 + world.IntN(30)
	state := base
	list := newFakeList()
	s := newSim(rt, state, list.options(Options{
		FreshWindow: 1 + world.IntN(12), PageWindow: 1 + world.IntN(12), Page: 1 + world.IntN(6),
		MaxLoaded: 8 + world.IntN(60), MaxSessions: 1 + world.IntN(8), Pagers: 1 + world.IntN(3), Locators: 1 + world.IntN(2), Askers: 1 + world.IntN(2),
	}))
	list.maybe = func() bool { return world.IntN(20) == 0 }
	doubtful := false // the list could not be read at some time
	s.observe = func(_ *session, g *grant) {
		for _, d := range g.job.Deliveries {
			// An answer is believed for clearedFor, and is under way for two delays.
			if at, on := list.since[d.Queue.Account+" "+d.Recipient.String()]; on && !doubtful && s.now.Sub(at) > clearedFor+6*time.Second {
				rt.Fatalf("%s was handed out %s after its address came on the list", d.ID, s.now.Sub(at))
			}
		}
	}
	s.rest = 1 + world.IntN(8)
	s.c.restWindow = s.rest
	s.delay = func(string) time.Duration { return time.Duration(world.IntN(3000)) * time.Millisecond }
	trouble, doubted := true, false
	bad := map[string]bool{}
	s.locate = func(route, domain string) (mail.Target, *mail.Outcome) {
		if route == "gw" {
			return mail.Target{Site: "gw.example.net:25"}, nil
		}
		switch n := world.IntN(10); {
		case trouble && n == 0:
			return mail.Target{}, &mail.Outcome{Result: mail.Deferred, Class: mail.ClassNetwork, Scope: mail.ScopeSite, Attempt: mail.Attempt{Stage: mail.StageDNS, Reply: "SERVFAIL"}}
		case domain == "d2.test":
			return mail.Target{Receiver: "google", Site: domain}, nil
		case domain == "d1.test":
			return mail.Target{Receiver: "google", Site: "g"}, nil
		case domain == "gone.test":
			return mail.Target{}, &mail.Outcome{Result: mail.Bounced, Class: mail.ClassInvalidDomain, Scope: mail.ScopeRecipient, Tried: true}
		}
		return mail.Target{Site: domain}, nil
	}
	scopes := []mail.Scope{
		mail.ScopeRecipient, mail.ScopeMessage, mail.ScopeSender, mail.ScopeSession, mail.ScopeHost, mail.ScopeSite,
		mail.ScopeReceiver, mail.ScopeSource, mail.ScopeRoute, mail.ScopeAccount,
	}
	s.outcome = func(l mail.Lane, d *mail.Delivery, n int) mail.Outcome {
		switch k := world.IntN(10); {
		case !trouble || k < 4 && !bad[l.Site]:
			return mail.Outcome{Result: mail.Delivered, Tried: true}
		case k == 4:
			return mail.Outcome{Result: mail.Bounced, Class: mail.ClassInvalidRecipient, Scope: mail.ScopeRecipient, Tried: true}
		case k == 5:
			return mail.Outcome{Result: mail.Deferred, Class: mail.ClassNetwork, Scope: mail.ScopeSession, Tried: true, Attempt: mail.Attempt{Uncertain: true}}
		}
		o := mail.Outcome{
			Result: mail.Deferred, Scope: scopes[world.IntN(len(scopes))], Class: mail.Classes[world.IntN(len(mail.Classes))],
			Tried: world.IntN(2) == 0, Attempt: mail.Attempt{Reply: "no"},
		}
		if world.IntN(4) == 0 {
			o.RetryAfter = time.Duration(world.IntN(7200)) * time.Second
		}
		return o
	}
	domains := []string{"d0.test", "d1.test", "d2.test", "d3.test", "d3.test", "gone.test"}
	var all []*mail.Delivery
	deadline := t0

	steps := rapid.IntRange(5, 60).Draw(rt, "steps")
	for range steps {
		switch op := rapid.IntRange(0, 15).Draw(rt, "op"); op {
		case 0, 1, 2, 3:
			stream := []mail.Stream{mail.Transactional, mail.Bulk}[world.IntN(2)]
			var to []string
			for range 1 + world.IntN(6) {
				to = append(to, domains[world.IntN(len(domains))])
			}
			m, ds := s.mail(fmt.Sprintf("a%d", world.IntN(3)), stream, time.Duration(1+world.IntN(72*60))*time.Minute, to...)
			if world.IntN(6) == 0 {
				for _, d := range ds {
					d.Due = d.Due.Add(time.Duration(world.Int64N(int64(d.ExpiresAt.Sub(d.Due)))))
				}
			}
			s.sp.accept(m, ds)
			all = append(all, ds...)
			deadline = later(deadline, m.ExpiresAt)
			if world.IntN(5) > 0 {
				s.step(&add{m: m, ds: ds, body: mail.BytesBody("x")})
			} else {
				for _, d := range ds {
					s.step(wakeQueue{queueID{0, d.Queue}, d.Due})
				}
			}
		case 4, 5:
			s.run(s.now.Add(time.Duration(world.IntN(600)) * time.Second))
		case 6:
			s.run(s.now.Add(time.Duration(world.IntN(24*3600)) * time.Second))
		case 7:
			s.crash()
		case 8: // holds come, change and go
			state.Holds = nil
			for i := range world.IntN(3) {
				h := platform.Hold{Name: fmt.Sprintf("h%d", i)}
				switch world.IntN(5) {
				case 0:
					h.Account = fmt.Sprintf("a%d", world.IntN(3))
				case 1:
					h.Domain = domains[world.IntN(len(domains))]
				case 2:
					h.Site = domains[world.IntN(len(domains))]
				case 3:
					h.Source, h.Stream = "s1", mail.Bulk
				case 4:
					h.Route = "gw"
				}
				if world.IntN(2) == 0 {
					h.Expires = s.now.Add(time.Duration(world.IntN(7200)) * time.Second)
				}
				state.Holds = append(state.Holds, h)
			}
			s.setState(state)
		case 9: // accounts pause, sources rest, policies change
			state.Accounts = slices.Clone(base.Accounts)
			state.Sources = slices.Clone(base.Sources)
			state.Policies = base.Policies
			switch world.IntN(5) {
			case 0:
				state.Accounts[world.IntN(3)].State = platform.AccountPaused
			case 1:
				state.Sources[world.IntN(2)].State = "resting"
			case 2:
				state.Sources[0].State, state.Sources[1].State = "resting", "resting"
			case 3:
				state.Policies = []platform.Policy{{Name: "default", Rules: []platform.PolicyRule{{Stream: mail.Bulk, Route: "direct"}}}}
			}
			s.setState(state)
		case 10:
			bad[domains[world.IntN(len(domains))]] = world.IntN(2) == 0
		case 11, 12:
			if len(all) > 0 {
				d := all[world.IntN(len(all))]
				s.step(&operate{verb: verb(op - 11), d: d, why: "because"})
			}
		case 14: // addresses come on the list, and go
			key := fmt.Sprintf("a%d r%d@%s", world.IntN(3), world.IntN(6), domains[world.IntN(len(domains))])
			if world.IntN(4) == 0 {
				delete(list.since, key)
			} else if _, on := list.since[key]; !on {
				list.since[key] = s.now
			}
		case 15:
			if list.err = nil; world.IntN(2) == 0 {
				list.err, doubtful = fmt.Errorf("not now"), true
			}
		case 13:
			doubted = true
			s.step(doubt{world.IntN(2) == 0, "test"})
		}
	}
	// Let the world become good, but for what is held or paused: deadlines must do.
	s.step(doubt{})
	trouble, list.err = false, nil
	if world.IntN(2) == 0 {
		s.setState(base)
	}
	s.run(later(s.now, deadline).Add(30 * time.Minute))
	s.quiet()
	for _, d := range all {
		end, ok := s.sp.ends[d.ID]
		if !ok {
			rt.Fatalf("%s never ended", d.ID)
		}
		evs := s.eventsOf(d.ID)
		last := evs[len(evs)-1]
		if last.Type != end || !last.Type.Result().Final() {
			rt.Fatalf("%s ended as %s, its last event is %s", d.ID, end, last.Type)
		}
		if end == mail.EventExpired && last.At.Before(d.ExpiresAt) {
			rt.Fatalf("%s expired before its deadline", d.ID)
		}
		if end == mail.EventExpired && !doubted && last.At.Sub(d.ExpiresAt) > scanEvery+time.Minute {
			rt.Fatalf("%s expired %s after its deadline", d.ID, last.At.Sub(d.ExpiresAt))
		}
	}
	for key := range s.sp.lanes {
		name, _ := strings.CutPrefix(key, holdRecord)
		_, held := s.c.heldSeen[name]
		if s.c.gates[restoredKey(key, s.sp.lanes[key].Lane)] == nil && !held {
			rt.Fatalf("record %s is of nothing", key)
		}
	}
}
