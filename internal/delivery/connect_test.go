package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/mx"
	"github.com/postroad/postroad/internal/platform"
)

var (
	withTLS = []string{"PIPELINING", "8BITMIME", "STARTTLS"}
	sts     = mx.TLSPolicy{Mode: mx.PolicyEnforce, Kind: "mta-sts", Hosts: []string{"mx1.example.com"}}
	dane    = mx.TLSPolicy{Mode: mx.PolicyEnforce, Kind: "dane"}
)

// TestTLS is the table of who asks for how much TLS, what the peer has, and what happens. The certificate is for
// mx1.example.com; only mx1 is a host of the domain.
func TestTLS(t *testing.T) {
	config, pool := certificate(t, "mx1.example.com")
	other, _ := certificate(t, "mx1.example.com") // from an authority nobody trusts
	required := func(j mail.Job) mail.Job { j.Message.RequireTLS = true; return j }
	const b = "b@example.com"
	tests := map[string]struct {
		mode   platform.TLSMode
		policy mx.TLSPolicy
		world  func(w *world)
		jobs   []mail.Job
		want   []string
		note   string // of the last outcome; "": none
	}{
		"opportunistic":                   {want: []string{"delivered mx1 TLS1.3"}},
		"opportunistic, bad certificate":  {world: func(w *world) { w.one().tls = other }, want: []string{"delivered mx1 TLS1.3"}},
		"opportunistic, none offered":     {world: noTLS, want: []string{"delivered mx1"}, note: "in clear: the peer does not offer STARTTLS"},
		"opportunistic, refused":          {world: func(w *world) { w.one().set("STARTTLS", "454 not now") }, want: []string{"delivered mx1"}, note: "in clear: STARTTLS was refused: 454 not now"},
		"opportunistic, handshake broken": {world: broken, want: []string{"delivered mx1"}, note: "in clear: no reply: TLS handshake:"},
		"opportunistic, old TLS": {
			world: func(w *world) {
				w.one().tls = w.one().tls.Clone()
				w.one().tls.MaxVersion = tls.VersionTLS11
				w.one().tls.MinVersion = tls.VersionTLS10
			},
			want: []string{"delivered mx1 TLS1.1"}, note: "weak:",
		},
		"none": {mode: platform.TLSNone, want: []string{"delivered mx1"}},

		"required":                            {mode: platform.TLSRequired, want: []string{"delivered mx1 TLS1.3"}},
		"required, bad certificate":           {mode: platform.TLSRequired, world: func(w *world) { w.one().tls = other }, want: []string{"delivered mx1 TLS1.3"}},
		"required, none offered: never clear": {mode: platform.TLSRequired, world: noTLS, want: []string{"deferred protocol/host at starttls mx1 untried"}},
		"required, refused: never clear":      {mode: platform.TLSRequired, world: func(w *world) { w.one().set("STARTTLS", "454 not now") }, want: []string{"deferred transient-system/host at starttls 454 mx1 untried"}},
		"required, broken: never clear":       {mode: platform.TLSRequired, world: broken, want: []string{"deferred protocol/host at starttls mx1 untried"}},

		"verify":                  {mode: platform.TLSVerify, want: []string{"delivered mx1 TLS1.3"}},
		"verify, bad certificate": {mode: platform.TLSVerify, world: func(w *world) { w.one().tls = other }, want: []string{"deferred protocol/host at starttls mx1 untried"}},
		"verify, none offered":    {mode: platform.TLSVerify, world: noTLS, want: []string{"deferred protocol/host at starttls mx1 untried"}},

		// A message that asks for itself: it waits, other mail of the lane goes.
		"message requires, offered":      {jobs: []mail.Job{required(job(body, b))}, want: []string{"delivered mx1 TLS1.3"}},
		"message requires, none offered": {world: noTLS, jobs: []mail.Job{required(job(body, b))}, want: []string{"deferred protocol/message at starttls mx1"}},
		"message requires, broken":       {world: broken, jobs: []mail.Job{required(job(body, b))}, want: []string{"deferred protocol/message at starttls mx1"}},
		"message requires, on a connection in clear": {
			world: noTLS, jobs: []mail.Job{job(body, b), required(job(body, b))}, want: []string{"delivered mx1", "deferred protocol/message at starttls mx1"},
		},
		"message requires, remembered as broken": {
			world: func(w *world) { w.one().set("STARTTLS", "GARBAGE", "220 go") }, jobs: []mail.Job{job(body, b), required(job(body, b))},
			want: []string{"delivered mx1", "delivered mx1 TLS1.3"},
		},
		"message requires, route has none": {mode: platform.TLSNone, jobs: []mail.Job{required(job(body, b))}, want: []string{"delivered mx1 TLS1.3"}},

		// Policies of the domain.
		"mta-sts":                          {policy: sts, want: []string{"delivered mx1 TLS1.3"}},
		"mta-sts, bad certificate":         {policy: sts, world: func(w *world) { w.one().tls = other }, want: []string{"deferred protocol/host at starttls mx1 untried"}},
		"mta-sts, none offered":            {policy: sts, world: noTLS, want: []string{"deferred protocol/host at starttls mx1 untried"}},
		"mta-sts, testing: binds nobody":   {policy: mx.TLSPolicy{Mode: mx.PolicyTesting, Kind: "mta-sts"}, world: noTLS, want: []string{"delivered mx1"}, note: "in clear:"},
		"mta-sts beats a route with none":  {mode: platform.TLSNone, policy: sts, world: noTLS, want: []string{"deferred protocol/host at starttls mx1 untried"}},
		"dane, nobody can check it: waits": {policy: dane, want: []string{"deferred protocol/host at starttls mx1 TLS1.3 untried"}},
		"dane, checked": {policy: dane, world: func(w *world) {
			w.opts.CheckTLS = func(p mx.TLSPolicy, host string, s tls.ConnectionState) error {
				if p.Kind != "dane" || host != "mx1.example.com" || len(s.PeerCertificates) == 0 {
					return errors.New("wrong arguments")
				}
				return nil
			}
		}, want: []string{"delivered mx1 TLS1.3"}},
		"dane, checked and bad": {policy: dane, world: func(w *world) {
			w.opts.CheckTLS = func(mx.TLSPolicy, string, tls.ConnectionState) error { return errors.New("no TLSA record fits") }
		}, want: []string{"deferred protocol/host at starttls mx1 TLS1.3 untried"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.opts.Roots = pool
			w.one().tls, w.one().offers = config, [][]string{withTLS}
			w.plans["example.com"] = mx.Plan{Domain: "example.com", Hosts: []mx.Host{{Name: "mx1.example.com"}}, Site: "site", Policy: test.policy}
			w.state.Routes[0].TLS = test.mode
			if test.world != nil {
				test.world(w)
			}
			if test.jobs == nil {
				test.jobs = []mail.Job{job(body, b)}
			}
			words, outcomes := w.run(w.build(), direct, test.jobs...)
			if diff := cmp.Diff(test.want, words); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			last := outcomes[len(outcomes)-1]
			if last.Result == mail.Delivered && (last.Attempt.TLSNote == "") != (test.note == "") || !strings.HasPrefix(last.Attempt.TLSNote, test.note) {
				t.Errorf("note %q, want %q", last.Attempt.TLSNote, test.note)
			}
			if last.Result == mail.Deferred {
				t.Log(last.Attempt.Reply)
			}
		})
	}
}

func noTLS(w *world)  { w.one().offers = nil }
func broken(w *world) { w.one().set("STARTTLS", "GARBAGE") }

// TestBrokenTLSIsRemembered holds that a host whose handshake failed is spoken to in clear for an hour, with a note,
// and then tried again.
func TestBrokenTLSIsRemembered(t *testing.T) {
	config, _ := certificate(t, "mx1.example.com")
	w := newWorld(t)
	w.one().tls, w.one().offers = config, [][]string{withTLS}
	w.one().set("STARTTLS", "GARBAGE", "220 go")
	d := w.build()
	for _, step := range []struct {
		wait  time.Duration
		tls   string
		note  string
		dials int
	}{
		{0, "", "in clear: no reply: TLS handshake", 2},
		{59 * time.Minute, "", "in clear: its TLS failed before; tried again after ", 1},
		{time.Minute, "TLS1.3", "", 1},
	} {
		w.now, w.dialled = w.now.Add(step.wait), nil
		_, outcomes := w.run(d, direct, job(body, "b@example.com"))
		a := outcomes[0].Attempt
		if outcomes[0].Result != mail.Delivered || a.TLS != step.tls || !strings.HasPrefix(a.TLSNote, step.note) || (step.note == "") != (a.TLSNote == "") || len(w.dialled) != step.dials {
			t.Errorf("after %v: %s, TLS %q, note %q, %d dials", step.wait, outcomes[0].Result, a.TLS, a.TLSNote, len(w.dialled))
		}
	}
}

// TestPolicyAndReuse holds that a connection is used for a job only if it satisfies the policy of the job's domain.
func TestPolicyAndReuse(t *testing.T) {
	config, pool := certificate(t, "mx1.example.com")
	w := newWorld(t)
	w.opts.Roots = pool
	w.one().tls, w.one().offers = config, [][]string{withTLS}
	hosts := []mx.Host{{Name: "mx1.example.com"}}
	w.plans["lax.example"] = mx.Plan{Domain: "lax.example", Hosts: hosts, Site: "site"}
	w.plans["strict.example"] = mx.Plan{Domain: "strict.example", Hosts: hosts, Site: "site", Policy: sts}
	w.plans["elsewhere.example"] = mx.Plan{Domain: "elsewhere.example", Hosts: []mx.Host{{Name: "mx2.example.com"}}, Site: "site"}
	words, _ := w.run(w.build(), direct,
		job(body, "a@lax.example"), job(body, "b@lax.example"), job(body, "c@strict.example"), job(body, "d@lax.example"), job(body, "e@elsewhere.example"))
	if diff := cmp.Diff([]string{"delivered mx1 TLS1.3", "delivered mx1 TLS1.3", "delivered mx1 TLS1.3", "delivered mx1 TLS1.3", "delivered mx2"}, words); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The third needs a checked certificate: a new connection, which is good for the fourth as well. The last goes to
	// another host.
	want := []string{"1+: RCPT TO:<a@lax.example>", "1+: RCPT TO:<b@lax.example>", "2+: RCPT TO:<c@strict.example>", "2+: RCPT TO:<d@lax.example>"}
	if diff := cmp.Diff(want, w.one().did("RCPT")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestInjectedPlaintext holds that what comes in clear behind the reply to STARTTLS has no effect, and is noted.
func TestInjectedPlaintext(t *testing.T) {
	config, _ := certificate(t, "mx1.example.com")
	w := newWorld(t)
	w.one().tls, w.one().offers = config, [][]string{withTLS}
	w.one().set("STARTTLS", "220 go\n250-mx\n250 SIZE 1")
	words, outcomes := w.run(w.build(), direct, job(body, "b@example.com"))
	if words[0] != "delivered mx1 TLS1.3" || !strings.HasPrefix(outcomes[0].Attempt.TLSNote, "dropped ") {
		t.Errorf("%s, note %q", words[0], outcomes[0].Attempt.TLSNote)
	}
}

// relay makes a world whose gateway wants TLS and a login.
func relay(t *testing.T, change func(*platform.Route)) *world {
	config, pool := certificate(t, "relay.example.net")
	w := newWorld(t)
	w.opts.Roots = pool
	w.opts.Password = func(*platform.Route) (string, error) { return "secret", nil }
	w.one().tls, w.one().offers = config, [][]string{{"PIPELINING", "STARTTLS", "AUTH PLAIN LOGIN"}}
	r := &w.state.Routes[1]
	r.TLS, r.Auth, r.Username = "", "plain", "user"
	if change != nil {
		change(r)
	}
	return w
}

// TestRelayThatStopsOffering is the regression test of relays that stop offering AUTH or STARTTLS: the mail waits, the
// route is paused, and neither mail nor password goes out.
func TestRelayThatStopsOffering(t *testing.T) {
	plainMode := func(m platform.TLSMode) func(*platform.Route) { return func(r *platform.Route) { r.TLS = m } }
	tests := map[string]struct {
		change func(*platform.Route)
		offers []string
		want   string
	}{
		"STARTTLS, verified":      {nil, []string{"PIPELINING", "AUTH PLAIN LOGIN"}, "deferred protocol/route at starttls relay.example.net untried"},
		"STARTTLS, required":      {plainMode(platform.TLSRequired), []string{"PIPELINING", "AUTH PLAIN LOGIN"}, "deferred protocol/route at starttls relay.example.net untried"},
		"STARTTLS, opportunistic": {plainMode(platform.TLSOpportunistic), []string{"PIPELINING", "AUTH PLAIN LOGIN"}, "deferred protocol/route at starttls relay.example.net untried"},
		"STARTTLS, cram-md5":      {func(r *platform.Route) { r.TLS, r.Auth = platform.TLSOpportunistic, "cram-md5" }, []string{"AUTH CRAM-MD5"}, "deferred protocol/route at starttls relay.example.net untried"},
		"AUTH":                    {nil, []string{"PIPELINING", "STARTTLS"}, "deferred protocol/route at auth relay.example.net TLS1.3 untried"},
		"the mechanism":           {nil, []string{"PIPELINING", "STARTTLS", "AUTH XOAUTH2"}, "deferred protocol/route at auth relay.example.net TLS1.3 untried"},
		"both":                    {nil, []string{"PIPELINING"}, "deferred protocol/route at starttls relay.example.net untried"},
		"EHLO altogether":         {nil, nil, "deferred protocol/route at starttls relay.example.net untried"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := relay(t, test.change)
			good := w.one().offers[0]
			if test.change != nil {
				good = []string{"PIPELINING", "STARTTLS", "AUTH PLAIN CRAM-MD5"}
				w.one().set("AUTH", "334 PDE4OTZAbT4=", "235 in")
				if w.state.Routes[1].Auth == "plain" {
					w.one().set("AUTH", "235 in")
				}
			}
			w.one().offers = [][]string{good, test.offers}
			d := w.build()
			if words, o := w.run(d, gateway, job(body, "b@example.com")); !strings.HasPrefix(words[0], "relayed") && w.state.Routes[1].Auth == "plain" {
				t.Fatalf("while it offered all: %s %s", words[0], o[0].Attempt.Reply)
			}
			if test.offers == nil {
				w.one().offers[1] = []string{}
				w.one().set("EHLO", "502 what?")
			}
			before := len(w.one().did("MAIL", "AUTH", "RCPT"))
			words, outcomes := w.run(d, gateway, job(body, "b@example.com"), job(body, "c@example.com"))
			if diff := cmp.Diff([]string{test.want, "1 not taken"}, words); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			s := &session{d: d, route: &w.state.Routes[1]}
			e := s.effect(&failure{scope: outcomes[0].Scope, class: outcomes[0].Class})
			if !e.PauseRoute || e.Alert == "" {
				t.Errorf("the route is not paused, or nobody is told: %+v", e)
			}
			if sent := w.one().did("MAIL", "AUTH", "RCPT")[before:]; len(sent) > 0 {
				t.Errorf("sent %v", sent)
			}
		})
	}
}

// TestLoginIsNeverInClear holds that a relay with a login is not spoken to in clear even by an opportunistic route that
// has never seen its TLS: whoever takes STARTTLS out of the first connection gets nothing either.
func TestLoginIsNeverInClear(t *testing.T) {
	for _, auth := range []string{"", "plain", "login", "cram-md5"} {
		for _, offer := range [][]string{{"PIPELINING", "AUTH PLAIN LOGIN CRAM-MD5"}, {"AUTH PLAIN LOGIN CRAM-MD5", "STARTTLS"}} {
			w := relay(t, func(r *platform.Route) { r.TLS, r.Auth = platform.TLSOpportunistic, auth })
			w.one().offers = [][]string{offer}
			w.one().set("STARTTLS", "GARBAGE")
			words, _ := w.run(w.build(), gateway, job(body, "b@example.com"))
			if !strings.HasPrefix(words[0], "deferred ") || !strings.Contains(words[0], "/route at starttls") || len(w.one().did("AUTH", "MAIL")) > 0 {
				t.Errorf("auth %q, offered %v: %s, sent %v", auth, offer, words[0], w.one().did("AUTH", "MAIL"))
			}
		}
	}
}

// TestRelayOnceSeenWithTLS holds that a relay without login, of opportunistic mode, is not spoken to in clear after it
// has been spoken to with TLS.
func TestRelayOnceSeenWithTLS(t *testing.T) {
	w := relay(t, func(r *platform.Route) { r.TLS, r.Auth, r.Username = platform.TLSOpportunistic, "", "" })
	w.one().offers = [][]string{{"PIPELINING"}, {"STARTTLS"}, {"PIPELINING"}}
	d := w.build()
	var got []string
	for range 3 {
		words, _ := w.run(d, gateway, job(body, "b@example.com"))
		got = append(got, words...)
	}
	want := []string{"relayed relay.example.net", "relayed relay.example.net TLS1.3", "deferred protocol/route at starttls relay.example.net untried"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRelayAuth holds what the answers to a login do. A wrong password bounces nothing.
func TestRelayAuth(t *testing.T) {
	tests := map[string]struct {
		change  func(*platform.Route)
		replies []string
		want    string
		did     string
	}{
		"plain":             {nil, []string{"235 in"}, "relayed relay.example.net TLS1.3", "1+: AUTH PLAIN AHVzZXIAc2VjcmV0"},
		"the best offered":  {func(r *platform.Route) { r.Auth = "" }, []string{"235 in"}, "relayed relay.example.net TLS1.3", "1+: AUTH PLAIN AHVzZXIAc2VjcmV0"},
		"wrong password":    {nil, []string{"535 5.7.8 authentication failed"}, "deferred protocol/route at auth 535 relay.example.net TLS1.3 untried", ""},
		"too weak":          {nil, []string{"534 5.7.9 mechanism too weak"}, "deferred protocol/route at auth 534 relay.example.net TLS1.3 untried", ""},
		"550 instead":       {nil, []string{"550 5.1.1 user unknown"}, "deferred protocol/route at auth 550 relay.example.net TLS1.3 untried", ""},
		"later":             {nil, []string{"454 4.7.0 temporary failure"}, "deferred transient-system/route at auth 454 relay.example.net TLS1.3 untried", ""},
		"hangs up":          {nil, []string{"CLOSE"}, "deferred network/route at auth relay.example.net TLS1.3 untried", ""},
		"clear on loopback": {func(r *platform.Route) { r.TLS = platform.TLSNone }, []string{"235 in"}, "relayed relay.example.net", "1: AUTH PLAIN AHVzZXIAc2VjcmV0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := relay(t, test.change)
			w.one().set("AUTH", test.replies...)
			words, outcomes := w.run(w.build(), gateway, job(body, "b@example.com"))
			if words[0] != test.want {
				t.Errorf("got %s (rule %s), want %s", words[0], outcomes[0].Rule, test.want)
			}
			if test.did != "" && w.one().did("AUTH")[0] != test.did {
				t.Errorf("sent %v", w.one().did("AUTH"))
			}
		})
	}
}

func TestRelayPasswordCannotBeRead(t *testing.T) {
	w := relay(t, nil)
	w.opts.Password = func(*platform.Route) (string, error) { return "", errors.New("no master key") }
	words, _ := w.run(w.build(), gateway, job(body, "b@example.com"))
	if words[0] != "deferred transient-system/route at auth relay.example.net TLS1.3 untried" || len(w.one().did("AUTH", "MAIL")) > 0 {
		t.Errorf("%s, sent %v", words[0], w.one().did("AUTH", "MAIL"))
	}
}

// TestRelayWithAnotherCertificate holds that the certificate is checked against the relay's name.
func TestRelayWithAnotherCertificate(t *testing.T) {
	w := relay(t, nil)
	w.one().tls, w.opts.Roots = certificate(t, "elsewhere.example.net")
	words, _ := w.run(w.build(), gateway, job(body, "b@example.com"))
	if words[0] != "deferred protocol/route at starttls relay.example.net untried" || len(w.one().did("AUTH", "MAIL")) > 0 {
		t.Errorf("%s", words[0])
	}
}

// TestImplicitTLS delivers by a relay on port 465.
func TestImplicitTLS(t *testing.T) {
	w := relay(t, func(r *platform.Route) { r.TLS = platform.TLSImplicit })
	w.one().implicit = true
	words, _ := w.run(w.build(), mail.Lane{Route: "gateway", Site: "relay.example.net:465"}, job(body, "b@example.com"))
	if words[0] != "relayed relay.example.net TLS1.3" || !strings.HasSuffix(w.dialled[0], ":465") {
		t.Errorf("%s, dialled %v", words[0], w.dialled)
	}
}

// TestStop holds what a stop does: nothing that has begun its content's end is cancelled, everything else is untried.
func TestStop(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.one().before = func(command string) {
		if command == "." {
			cancel()
		}
	}
	d := w.build()
	jobs := []mail.Job{job(body, "b@example.com"), job(body, "c@example.com")}
	var got []string
	n := 0
	d.Session(ctx, direct, func(context.Context) (mail.Job, bool) { n++; return jobs[(n-1)%2], n <= 2 }, func(_ mail.Job, o mail.Outcome) { got = append(got, inWords(&o)) })
	if diff := cmp.Diff([]string{"delivered mx1", "deferred network/ at mail mx1 untried"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTranscriptOfAFailedOpening holds that the dialogue of a connection that was given up before any mail is kept,
// without the password, and that of mail that was taken is not where only failures are wanted.
func TestTranscriptOfAFailedOpening(t *testing.T) {
	w := relay(t, nil)
	w.opts.Transcripts, w.opts.FailuresOnly = 4096, true
	w.one().set("AUTH", "535 5.7.8 wrong", "235 in")
	d := w.build()
	_, failed := w.run(d, gateway, job(body, "b@example.com"))
	_, good := w.run(d, gateway, job(body, "b@example.com"))
	got := failed[0].Attempt.Transcript
	if !strings.Contains(got, "C: AUTH PLAIN ***\nS: 535 5.7.8 wrong") || strings.Contains(got, "AHVzZXI") || good[0].Result != mail.Relayed || good[0].Attempt.Transcript != "" {
		t.Errorf("kept\n%s\nand of the good one\n%s", got, good[0].Attempt.Transcript)
	}
}

func TestLocate(t *testing.T) {
	w := newWorld(t)
	w.planErr["null.example"] = mx.ErrNullMX
	w.planErr["down.example"] = errors.New("SERVFAIL")
	w.planErr["loop.example"] = mx.ErrLoop
	w.state.Routes = append(w.state.Routes, platform.Route{Name: "esp", Kind: mail.RouteProvider}, platform.Route{Name: "secure", Kind: mail.RouteRelay, Host: "relay.example.net", TLS: platform.TLSImplicit})
	d := w.build()
	for _, test := range []struct{ route, domain, site, want string }{
		{"direct", "example.com", "site", ""},
		{"gateway", "anything.example", "relay.example.net:25", ""},
		{"secure", "anything.example", "relay.example.net:465", ""},
		{"direct", "missing.example", "", "bounced invalid-domain/recipient at dns"},
		{"direct", "null.example", "", "bounced invalid-domain/recipient at dns"},
		{"direct", "down.example", "", "deferred network/site at dns untried"},
		{"direct", "loop.example", "", "deferred network/site at dns untried"},
		{"gone", "example.com", "", "deferred protocol/route at  untried"},
		{"esp", "example.com", "", "deferred protocol/route at  untried"},
	} {
		target, o := d.Locate(t.Context(), test.route, test.domain)
		got := ""
		if o != nil {
			got = inWords(o)
			if o.Attempt.Reply == "" || o.Attempt.At.IsZero() || o.Attempt.Route != test.route {
				t.Errorf("%s by %s: %+v", test.domain, test.route, o.Attempt)
			}
		}
		if got != test.want || target.Site != test.site {
			t.Errorf("%s by %s: %q at %q, want %q", test.domain, test.route, got, target.Site, test.want)
		}
	}
}
