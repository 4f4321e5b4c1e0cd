package delivery

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/mx"
	"github.com/postroad/postroad/internal/platform"
)

// TestOutcomes is the table of what peers do and what becomes of the mail. Each case sends its jobs in one session.
func TestOutcomes(t *testing.T) {
	const b, c = "b@example.com", "c@example.com"
	tests := map[string]struct {
		lane  mail.Lane // zero: direct
		world func(w *world)
		jobs  []mail.Job // nil: one message to b
		want  []string
		did   []string // MAIL and RCPT commands at mx1 and then mx2; nil: not looked at
	}{
		"delivered":             {want: []string{"delivered mx1"}},
		"two over a connection": {jobs: []mail.Job{job(body, b), job(body, c)}, want: []string{"delivered mx1", "delivered mx1"}, did: []string{"1: MAIL FROM:<a@example.org>", "1: RCPT TO:<b@example.com>", "1: MAIL FROM:<a@example.org>", "1: RCPT TO:<c@example.com>"}},

		// Next host.
		"first host refuses connections": {world: func(w *world) { w.one().refuse = true }, want: []string{"delivered mx2"}},
		"first host has no address":      {world: func(w *world) { delete(w.addrs, "mx1.example.com") }, want: []string{"delivered mx2"}},
		"first host does not want us":    {world: func(w *world) { w.one().set("", "554 no SMTP service here") }, want: []string{"delivered mx2"}},
		"first host is busy":             {world: func(w *world) { w.one().set("", "421 too many connections") }, want: []string{"delivered mx2"}},
		"first host hangs up on EHLO":    {world: func(w *world) { w.one().set("EHLO", "CLOSE") }, want: []string{"delivered mx2"}},
		"first host refuses EHLO":        {world: func(w *world) { w.one().set("EHLO", "550 who are you?") }, want: []string{"delivered mx2"}},
		"first host says 421 at MAIL":    {world: func(w *world) { w.one().set("MAIL", "421 4.3.2 going down") }, want: []string{"delivered mx2"}},
		"first host says 421 at RCPT":    {world: func(w *world) { w.one().set("RCPT", "421 4.3.2 going down") }, want: []string{"delivered mx2"}},
		"first host hangs up on MAIL":    {world: func(w *world) { w.one().set("MAIL", "CLOSE") }, want: []string{"delivered mx2"}},
		"all hosts refuse connections":   {world: func(w *world) { w.one().refuse, w.two().refuse = true, true }, jobs: []mail.Job{job(body, b), job(body, c)}, want: []string{"deferred network/host at connect mx2 untried", "1 not taken"}},
		"all hosts refuse us: none lost": {world: func(w *world) { w.one().set("", "554 no"); w.two().set("", "554 no") }, want: []string{"deferred other/host at greeting 554 mx2 untried"}},
		"the words of a host are kept":   {world: func(w *world) { w.one().set("", "554 5.3.2 no mail here"); w.two().refuse = true }, want: []string{"deferred transient-system/host at greeting 554 mx1 untried"}},
		"no host has an address we may use": {world: func(w *world) {
			w.addrs["mx1.example.com"], w.addrs["mx2.example.com"] = []string{"127.0.0.1", "::1"}, []string{"10.1.2.3", "fe80::1"}
		}, want: []string{"deferred network/host at dns mx2 untried"}},

		// Recipients.
		"no such user": {world: func(w *world) { w.one().set("RCPT TO:<b", "550 5.1.1 User unknown") }, jobs: []mail.Job{job(body, b), job(body, c)}, want: []string{"bounced invalid-recipient/recipient at rcpt 550 mx1", "delivered mx1"}},
		"greylisted":   {world: func(w *world) { w.one().set("RCPT TO:<b", "450 4.2.0 Greylisted, please try again later") }, want: []string{"deferred greylisted/recipient at rcpt 450 mx1"}},
		"5xx not understood ends this delivery only": {world: func(w *world) { w.one().set("RCPT TO:<b", "555 hmm") }, want: []string{"bounced protocol/recipient at rcpt 555 mx1"}},
		"4xx at MAIL of all hosts uses up the attempt, and the lane goes on": {
			world: func(w *world) {
				w.one().set("MAIL", "451 4.3.0 hmm", "250 ok")
				w.two().set("MAIL", "451 4.3.0 hmm", "250 ok")
			}, jobs: []mail.Job{job(body, b)},
			want: []string{"deferred transient-system/session at mail 451 mx2"},
		},
		"421 at MAIL of all hosts rests the lane": {
			world: func(w *world) { w.one().set("MAIL", "421 4.3.2 closing"); w.two().set("MAIL", "421 4.3.2 closing") }, jobs: []mail.Job{job(body, b), job(body, b)},
			want: []string{"deferred transient-system/host at mail 421 mx2 untried", "1 not taken"},
		},
		"site is busy: the lane rests, no attempt is used up": {
			world: func(w *world) {
				w.one().set("RCPT", "450 4.7.1 rate limited, too many messages from your IP, slow down")
			}, jobs: []mail.Job{job(body, b), job(body, c)},
			want: []string{"deferred rate-limited/site at rcpt 450 mx1 untried", "1 not taken"},
		},

		// Sender.
		"MAIL refused is never the recipient's fault": {world: func(w *world) { w.one().set("MAIL", "550 5.1.1 user unknown") }, want: []string{"bounced protocol/sender at mail 550 mx1"}},
		"spam at the dot": {world: func(w *world) { w.one().set(".", "554 5.7.1 message rejected as spam") }, want: []string{"bounced policy-spam/sender at dot 554 mx1"}},

		// Content.
		"size limit of the peer": {world: func(w *world) { w.one().offers = [][]string{{"PIPELINING", "SIZE 20"}} }, want: []string{"bounced content-size/message at mail mx1"}, did: []string{}},
		"size limit of the second host": {
			world: func(w *world) { w.one().set("MAIL", "421 no"); w.two().offers = [][]string{{"SIZE 20"}} }, want: []string{"bounced content-size/message at mail mx2"},
		},
		"4xx at the dot":                  {world: func(w *world) { w.one().set(".", "451 4.3.0 try later") }, want: []string{"deferred transient-system/message at dot 451 mx1"}},
		"a peer that hangs up on content": {world: func(w *world) { w.one().set("DATA", "CLOSE") }, jobs: []mail.Job{job(body, b), job(body, c)}, want: []string{"deferred network/session at data mx1", "1 not taken"}},
		"BDAT":                            {world: func(w *world) { w.one().offers = [][]string{{"PIPELINING", "CHUNKING"}} }, want: []string{"delivered mx1"}},

		// Uncertain.
		"the final reply is lost": {world: func(w *world) { w.one().set(".", "LOST") }, want: []string{"deferred network/recipient at dot mx1 uncertain"}},

		// Reuse.
		"the peer is gone between two jobs": {
			world: func(w *world) { w.one().set("MAIL", "250 ok", "CLOSE", "250 ok") }, jobs: []mail.Job{job(body, b), job(body, c)},
			want: []string{"delivered mx1", "delivered mx1"}, did: []string{"1: MAIL FROM:<a@example.org>", "1: RCPT TO:<b@example.com>", "1: MAIL FROM:<a@example.org>", "2: MAIL FROM:<a@example.org>", "2: RCPT TO:<c@example.com>"},
		},
		"421 between two jobs": {
			world: func(w *world) { w.one().set("MAIL", "250 ok", "421 4.4.2 timeout", "250 ok") }, jobs: []mail.Job{job(body, b), job(body, c)},
			want: []string{"delivered mx1", "delivered mx1"},
		},
		"MAILMAX is kept to": {
			world: func(w *world) { w.one().offers = [][]string{{"PIPELINING", "LIMITS MAILMAX=1"}} }, jobs: []mail.Job{job(body, b), job(body, c)},
			want: []string{"delivered mx1", "1 not taken"},
		},
		"failed, then the next over the same connection": {
			world: func(w *world) { w.one().set("RCPT TO:<b", "550 5.1.1 no such user") }, jobs: []mail.Job{job(body, b), job(body, c), job(body, b)},
			want: []string{"bounced invalid-recipient/recipient at rcpt 550 mx1", "delivered mx1", "bounced invalid-recipient/recipient at rcpt 550 mx1"},
			did:  []string{"1: MAIL FROM:<a@example.org>", "1: RCPT TO:<b@example.com>", "1: MAIL FROM:<a@example.org>", "1: RCPT TO:<c@example.com>", "1: MAIL FROM:<a@example.org>", "1: RCPT TO:<b@example.com>"},
		},

		// Groups, on a relay.
		"a group is one transaction": {
			lane: gateway, jobs: []mail.Job{job(body, b, c)}, want: []string{"relayed relay.example.net", "relayed relay.example.net"},
			did: []string{"1: MAIL FROM:<a@example.org>", "1: RCPT TO:<b@example.com>", "1: RCPT TO:<c@example.com>"},
		},
		"one of a group refused": {
			lane: gateway, jobs: []mail.Job{job(body, b, c)}, world: func(w *world) { w.one().set("RCPT TO:<b", "550 5.1.1 no such user") },
			want: []string{"bounced invalid-recipient/recipient at rcpt 550 relay.example.net", "relayed relay.example.net"},
		},
		"too many recipients: a further transaction": {
			lane: gateway, jobs: []mail.Job{job(body, b, c, "d@example.com")}, world: func(w *world) {
				w.one().set("RCPT", "250 ok", "452 4.5.3 too many recipients", "452 4.5.3 too many", "250 ok")
			},
			want: []string{"relayed relay.example.net", "relayed relay.example.net", "relayed relay.example.net"},
			did: []string{
				"1: MAIL FROM:<a@example.org>", "1: RCPT TO:<b@example.com>", "1: RCPT TO:<c@example.com>", "1: RCPT TO:<d@example.com>",
				"1: MAIL FROM:<a@example.org>", "1: RCPT TO:<c@example.com>", "1: RCPT TO:<d@example.com>",
			},
		},
		"552 for too many counts as 452": {
			lane: gateway, jobs: []mail.Job{job(body, b, c)}, world: func(w *world) { w.one().set("RCPT", "250 ok", "552 too many recipients", "250 ok") },
			want: []string{"relayed relay.example.net", "relayed relay.example.net"},
		},
		"452 for the first recipient is its own": {
			lane: gateway, world: func(w *world) { w.one().set("RCPT", "452 4.2.2 mailbox full") }, want: []string{"deferred mailbox-full/recipient at rcpt 452 relay.example.net"},
		},
		"RCPTMAX is kept to": {
			lane: gateway, jobs: []mail.Job{job(body, b, c)}, world: func(w *world) { w.one().offers = [][]string{{"PIPELINING", "LIMITS RCPTMAX=1"}} },
			want: []string{"relayed relay.example.net", "relayed relay.example.net"},
			did:  []string{"1: MAIL FROM:<a@example.org>", "1: RCPT TO:<b@example.com>", "1: MAIL FROM:<a@example.org>", "1: RCPT TO:<c@example.com>"},
		},
		"RCPTDOMAINMAX is kept to": {
			lane: gateway, jobs: []mail.Job{job(body, b, "x@example.net", c)}, world: func(w *world) { w.one().offers = [][]string{{"PIPELINING", "LIMITS RCPTDOMAINMAX=1"}} },
			want: []string{"relayed relay.example.net", "relayed relay.example.net", "relayed relay.example.net"},
			did:  []string{"1: MAIL FROM:<a@example.org>", "1: RCPT TO:<b@example.com>", "1: RCPT TO:<c@example.com>", "1: MAIL FROM:<a@example.org>", "1: RCPT TO:<x@example.net>"},
		},
		"a lost group is uncertain for those accepted, and only for them": {
			lane: gateway, jobs: []mail.Job{job(body, b, c)}, world: func(w *world) { w.one().set("RCPT TO:<b", "550 5.1.1 no such user"); w.one().set(".", "LOST") },
			want: []string{"bounced invalid-recipient/recipient at rcpt 550 relay.example.net", "deferred network/recipient at dot relay.example.net uncertain"},
		},
		"a relay that denies relaying: the route's fault": {
			lane: gateway, world: func(w *world) { w.one().set("RCPT", "554 5.7.1 Relay access denied") }, jobs: []mail.Job{job(body, b), job(body, c)},
			want: []string{"deferred relay-denied/route at rcpt 554 relay.example.net untried", "1 not taken"},
		},

		// Configuration.
		"the route is gone":  {lane: mail.Lane{Route: "gone"}, want: []string{"deferred protocol/route at  untried"}},
		"the source is gone": {lane: mail.Lane{Route: "direct", Source: "gone"}, want: []string{"deferred transient-system/message at  untried"}},
		"the domain is gone": {world: func(w *world) { w.planErr["example.com"] = mx.ErrNoSuchDomain }, want: []string{"bounced invalid-domain/recipient at dns"}},
		"DNS is down":        {world: func(w *world) { w.planErr["example.com"] = errors.New("SERVFAIL") }, want: []string{"deferred network/recipient at dns untried"}},
		"the mark is not durable": {
			jobs: func() []mail.Job {
				j := job(body, b)
				j.Durable = func(context.Context) error { return errors.New("disk") }
				return []mail.Job{j}
			}(),
			want: []string{"deferred transient-system/ at body mx1 untried"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if test.world != nil {
				test.world(w)
			}
			if test.lane == (mail.Lane{}) {
				test.lane = direct
			}
			if test.jobs == nil {
				test.jobs = []mail.Job{job(body, b)}
			}
			words, outcomes := w.run(w.build(), test.lane, test.jobs...)
			if diff := cmp.Diff(test.want, words); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, o := range outcomes {
				if o.Result != mail.Delivered && o.Result != mail.Relayed && o.Attempt.Reply == "" {
					t.Error("no reason is given")
				}
			}
			if test.did != nil {
				did := append(w.one().did("MAIL", "RCPT"), w.two().did("MAIL", "RCPT")...)
				if diff := cmp.Diff(test.did, append([]string{}, did...)); diff != "" {
					t.Errorf("dialogue (-want +got):\n%s", diff)
				}
			}
			for _, p := range w.peers {
				for _, c := range p.contents {
					if c != body {
						t.Errorf("content arrived as %q", c)
					}
				}
			}
		})
	}
}

func (w *world) one() *peer { return w.peers["192.0.2.1"] }
func (w *world) two() *peer { return w.peers["192.0.2.2"] }

func (p *peer) set(command string, replies ...string) {
	if p.replies == nil {
		p.replies = map[string][]string{}
	}
	p.replies[command] = replies
}

// TestAttempt holds what an outcome tells of its attempt.
func TestAttempt(t *testing.T) {
	w := newWorld(t)
	w.opts.Transcripts = 4096
	w.one().set("RCPT", "550-5.1.1 The account does not exist,\n550 5.1.1 see our help")
	j := job(body, "b@example.com")
	j.Attempts[0] = 7
	j.Deliveries[0].Due = w.now.Add(-1500 * 1e6)
	_, outcomes := w.run(w.build(), direct, j)
	a := outcomes[0].Attempt
	if a.N != 7 || !a.At.Equal(w.now) || a.Route != "direct" || a.Kind != mail.RouteMX || a.Source != "one" || a.Lane != "direct@one>site" ||
		a.Host != "mx1.example.com" || a.IP != "192.0.2.1" || a.Code != 550 || a.Enhanced != "5.1.1" || a.Waiting != 1500*1e6 || a.Connect <= 0 || a.Sending <= 0 {
		t.Errorf("%+v", a)
	}
	if want := "550-5.1.1 The account does not exist,\n550 5.1.1 see our help"; a.Reply != want {
		t.Errorf("reply %q is not the peer's word for word", a.Reply)
	}
	if !strings.Contains(a.Transcript, "S: 550-5.1.1 The account") || strings.Contains(a.Transcript, "Hello.") {
		t.Errorf("transcript:\n%s", a.Transcript)
	}
	if outcomes[0].Rule == "" || outcomes[0].Action != mail.ActionSuppress {
		t.Errorf("rule %q, action %q", outcomes[0].Rule, outcomes[0].Action)
	}
	if got := w.one().did("EHLO"); got[0] != "1: EHLO out1.example.org" {
		t.Errorf("greeted with %s", got)
	}
	if w.dialled[0] != "198.51.100.1>192.0.2.1:25" {
		t.Errorf("dialled %s", w.dialled[0])
	}
}

// TestFamilies holds the order of addresses: IPv6 first where the source has one, only families it has, unreachable
// ones last for a while.
func TestFamilies(t *testing.T) {
	const both = "192.0.2.1 2001:db8::1"
	for name, test := range map[string]struct {
		ip, ip6 string
		want    []string
	}{
		"both":             {"198.51.100.1", "2001:db8:f::1", []string{"2001:db8:f::1>[2001:db8::1]:25", "198.51.100.1>192.0.2.1:25"}},
		"IPv4 only":        {"198.51.100.1", "", []string{"198.51.100.1>192.0.2.1:25"}},
		"IPv6 only":        {"", "2001:db8:f::1", []string{"2001:db8:f::1>[2001:db8::1]:25"}},
		"the system's own": {"", "", []string{"invalid IP>192.0.2.1:25", "invalid IP>[2001:db8::1]:25"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			src := &w.state.Sources[0]
			src.IP, src.IPv6 = parse(test.ip), parse(test.ip6)
			w.plans["example.com"] = mx.Plan{Domain: "example.com", Hosts: []mx.Host{{Name: "mx1.example.com"}}, Site: "site"}
			w.addrs["mx1.example.com"] = strings.Fields(both)
			w.one().refuse = true
			d := w.build()
			w.run(d, direct, job(body, "b@example.com"))
			if diff := cmp.Diff(test.want, w.dialled); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestBadHostIsRemembered holds that a host that could not be reached is tried last for a while, and first again after.
func TestBadHostIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.one().refuse = true
	d := w.build()
	for i, want := range []string{"delivered mx2", "delivered mx2"} {
		w.dialled = nil
		if words, _ := w.run(d, direct, job(body, "b@example.com")); words[0] != want {
			t.Errorf("%s, want %s", words[0], want)
		}
		if n := len(w.dialled); n != 2-i {
			t.Errorf("run %d dialled %v", i, w.dialled)
		}
	}
	w.now = w.now.Add(badHostFor)
	w.one().refuse = false
	if words, _ := w.run(d, direct, job(body, "b@example.com")); words[0] != "delivered mx1" {
		t.Errorf("after %v: %s", badHostFor, words[0])
	}
}

// TestReturnPath holds what envelope sender goes out, and that the null sender stays the null sender.
func TestReturnPath(t *testing.T) {
	for name, test := range map[string]struct {
		route  platform.Route
		null   bool
		want   string
		groups int
	}{
		"mx: signed":                 {platform.Route{Kind: mail.RouteMX}, false, "<v-b@bounces.example.net> <v-c@bounces.example.net>", 2},
		"mx: kept":                   {platform.Route{Kind: mail.RouteMX, ReturnPath: platform.ReturnPathSender, MaxRecipients: 10}, false, "<a@example.org>", 1},
		"mx: null":                   {platform.Route{Kind: mail.RouteMX}, true, "<> <>", 2},
		"relay: kept":                {platform.Route{Kind: mail.RouteRelay, Host: "mx1.example.com", TLS: platform.TLSNone}, false, "<a@example.org>", 1},
		"relay: signed":              {platform.Route{Kind: mail.RouteRelay, Host: "mx1.example.com", TLS: platform.TLSNone, ReturnPath: platform.ReturnPathVERP}, false, "<v-b@bounces.example.net> <v-c@bounces.example.net>", 2},
		"relay: fixed":               {platform.Route{Kind: mail.RouteRelay, Host: "mx1.example.com", TLS: platform.TLSNone, ReturnPath: platform.ReturnPathFixed, ReturnAddress: "ret@example.net"}, false, "<ret@example.net> <ret@example.net>", 2},
		"relay: two per transaction": {platform.Route{Kind: mail.RouteRelay, Host: "mx1.example.com", TLS: platform.TLSNone, MaxRecipients: 1}, false, "<a@example.org> <a@example.org>", 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.route.Name = "direct"
			w.state.Routes[0] = test.route
			w.opts.ReturnPath = func(d *mail.Delivery) mail.Address {
				return mail.Address{Local: "v-" + d.Recipient.Local, Domain: "bounces.example.net"}
			}
			j := job(body, "b@example.com", "c@example.com")
			if test.null {
				j.Message.From = mail.Address{}
			}
			w.run(w.build(), direct, j)
			var got []string
			for _, c := range w.one().did("MAIL") {
				got = append(got, strings.TrimPrefix(c, "1: MAIL FROM:"))
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("sent %v, want %s", got, test.want)
			}
		})
	}
}

// TestNotify holds what goes to a peer with DSN.
func TestNotify(t *testing.T) {
	w := newWorld(t)
	w.one().offers = [][]string{{"PIPELINING", "DSN"}}
	w.state.Routes[1].NotifySuccess = true
	j := job(body, "b@example.com", "c@example.com", "d@example.com")
	j.Message.EnvID, j.Message.Ret = "id=1", "HDRS"
	j.Deliveries[1].Notify = mail.NotifyNever
	j.Deliveries[2].Notify, j.Deliveries[2].ORcpt = mail.NotifyDelay, "rfc822;orig@example.com"
	_, outcomes := w.run(w.build(), gateway, j)
	for _, o := range outcomes { // whose submitter asked is told by the peer from here on
		if want := o.Delivery != j.Deliveries[0].ID; o.Attempt.DSN != want {
			t.Errorf("%s: DSN %v", o.Delivery, o.Attempt.DSN)
		}
	}
	want := []string{
		"1: MAIL FROM:<a@example.org> RET=HDRS ENVID=id+3D1",
		"1: RCPT TO:<b@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@example.com",
		"1: RCPT TO:<c@example.com> NOTIFY=NEVER ORCPT=rfc822;c@example.com",
		"1: RCPT TO:<d@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;orig@example.com",
	}
	if diff := cmp.Diff(want, w.one().did("MAIL", "RCPT")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSnapshotChange holds that a change of the route between two jobs ends the connection made under the old one.
func TestSnapshotChange(t *testing.T) {
	w := newWorld(t)
	snap := platform.NewSnapshot(w.state, "")
	w.opts.Snapshot = func() *platform.Snapshot { return snap }
	d := w.build()
	jobs := []mail.Job{job(body, "b@example.com"), job(body, "b@example.com"), job(body, "b@example.com")}
	n := 0
	d.Session(t.Context(), direct, func(context.Context) (mail.Job, bool) {
		if n++; n > 3 {
			return mail.Job{}, false
		}
		switch n {
		case 2: // another route changes: nothing to us
			w.state.Routes = append([]platform.Route{}, w.state.Routes...)
			w.state.Routes[1].Port = 26
			snap = platform.NewSnapshot(w.state, "")
		case 3: // ours changes
			w.state.Sources = append([]platform.Source{}, w.state.Sources...)
			w.state.Sources[0].EHLO = "new.example.org"
			snap = platform.NewSnapshot(w.state, "")
		}
		return jobs[n-1], true
	}, func(mail.Job, mail.Outcome) {})
	want := []string{"1: EHLO out1.example.org", "1: MAIL FROM:<a@example.org>", "1: MAIL FROM:<a@example.org>", "2: EHLO new.example.org", "2: MAIL FROM:<a@example.org>"}
	if diff := cmp.Diff(want, w.one().did("EHLO", "MAIL")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
