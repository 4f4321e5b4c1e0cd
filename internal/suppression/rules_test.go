package suppression

import (
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at makes a failure of a delivery of its own.
func at(class platform.Cause, after time.Duration) platform.Failure {
	return platform.Failure{
		Account: "acme", Address: "ann@example.com", Class: class, Event: mail.EventID{Spool: 1, Seq: uint64(after/time.Minute) + 1},
		Delivery: mail.DeliveryID{byte(after / time.Hour), byte(after / time.Hour >> 8), byte(after / time.Minute)}, At: t0.Add(after),
	}
}

func matched(f platform.Failure) platform.Failure {
	f.Evidence = mail.EvidenceMatch
	return f
}

// decide lets failures come one after the other and returns what the last one brings.
func decide(facts Facts, fs ...platform.Failure) Decision {
	facts.History = fs[:len(fs)-1]
	return Default().Decide(fs[len(fs)-1], facts)
}

func TestDecide(t *testing.T) {
	const (
		inv, dom = platform.CauseInvalidRecipient, platform.CauseInvalidDomain
		off, ful = platform.CauseInactive, platform.CauseMailboxFull
		com, uns = platform.CauseComplaint, platform.CauseUnsubscribe
	)
	same := func(f, g platform.Failure) platform.Failure {
		g.Delivery = f.Delivery
		return g
	}
	proven := Facts{Accepted: t0.Add(-10 * day)}
	for name, c := range map[string]struct {
		d    Decision
		want bool
	}{
		"no such recipient":                   {decide(Facts{}, at(inv, 0)), true},
		"it took mail lately":                 {decide(proven, at(inv, 0)), false},
		"it took mail lately, twice in a day": {decide(proven, at(inv, 0), at(inv, 23*time.Hour)), false},
		"it took mail lately, a day apart":    {decide(proven, at(inv, 0), at(inv, 24*time.Hour)), true},
		"it took mail long ago":               {decide(Facts{Accepted: t0.Add(-91 * day)}, at(inv, 0)), true},
		"it took mail between":                {decide(Facts{Accepted: t0.Add(12 * time.Hour)}, at(inv, 0), at(inv, 24*time.Hour)), false},
		"it took mail since":                  {decide(Facts{Accepted: t0.Add(time.Hour)}, at(inv, 0)), false},
		"the receiver errs":                   {decide(Facts{Guarded: true}, at(inv, 0)), false},
		"the receiver errs for a day":         {decide(Facts{Guarded: true}, at(inv, 0), at(inv, 30*time.Hour)), true},
		"one delivery twice":                  {decide(proven, at(inv, 0), same(at(inv, 0), at(inv, 30*time.Hour))), false},
		"a failure that is forgotten":         {decide(Facts{Accepted: t0.Add(20 * day)}, at(inv, 0), at(inv, 100*day)), false},

		"no such domain":              {decide(Facts{}, at(dom, 0)), false},
		"no such domain, a day apart": {decide(Facts{}, at(dom, 0), at(dom, 25*time.Hour)), true},
		"no such domain, long ago":    {decide(Facts{}, at(dom, 0), at(dom, 91*day)), false},
		"no such domain, not so long": {decide(Facts{}, at(dom, 0), at(dom, 90*day)), true},
		"the domain came back":        {decide(Facts{Accepted: t0.Add(time.Hour)}, at(dom, 0), at(dom, 25*time.Hour)), false},

		"closed":                  {decide(Facts{}, at(off, 0)), false},
		"closed twice":            {decide(Facts{}, at(off, 0), at(off, 30*day)), true},
		"closed twice, far apart": {decide(Facts{}, at(off, 0), at(off, 31*day)), false},
		"another cause between":   {decide(Facts{}, at(ful, 0), at(off, day)), false},
		"open between":            {decide(Facts{Accepted: t0.Add(day)}, at(off, 0), at(off, 2*day)), false},

		"full on two days":                   {decide(Facts{}, at(ful, 0), at(ful, day)), false},
		"full on three days":                 {decide(Facts{}, at(ful, 0), at(ful, day), at(ful, 2*day)), true},
		"full three times on two days":       {decide(Facts{}, at(ful, 0), at(ful, time.Hour), at(ful, day)), false},
		"full on three days, the first gone": {decide(Facts{}, at(ful, 0), at(ful, 29*day), at(ful, 31*day)), false},

		"complaint":   {decide(Facts{}, at(com, 0)), true},
		"unsubscribe": {decide(Facts{}, at(uns, 0)), true},
		// What a recipient said is not undone by mail that arrived.
		"complaint, mail taken since": {decide(Facts{Accepted: t0.Add(day)}, at(com, 0)), true},

		"only a match":              {decide(Facts{}, matched(at(inv, 0))), false},
		"two matches":               {decide(Facts{}, matched(at(inv, 0)), matched(at(inv, time.Hour))), true},
		"two matches of one":        {decide(Facts{}, matched(at(inv, 0)), same(at(inv, 0), matched(at(inv, time.Hour)))), false},
		"a match, seconded":         {decide(Facts{}, at(off, 0), matched(at(inv, time.Hour))), true},
		"a match, and a complaint":  {decide(Facts{}, at(com, 0), matched(at(inv, time.Hour))), false},
		"a complaint by match":      {decide(Facts{}, matched(at(com, 0))), false},
		"two complaints by match":   {decide(Facts{}, matched(at(com, 0)), matched(at(com, time.Hour))), true},
		"something that never does": {decide(Facts{}, at("greylisted", 0)), false},
	} {
		if c.d.Suppress != c.want {
			t.Errorf("%s: %+v, want %v", name, c.d, c.want)
		}
		if c.d.Why == "" {
			t.Errorf("%s: it does not say why", name)
		}
	}
	for name, c := range map[string]struct {
		d       Decision
		stream  mail.Stream
		expires time.Time
	}{
		"invalid-recipient": {decide(Facts{}, at(inv, 0)), "", time.Time{}},
		"inactive":          {decide(Facts{}, at(off, 0), at(off, day)), "", t0.Add(181 * day)},
		"mailbox-full":      {decide(Facts{}, at(ful, 0), at(ful, day), at(ful, 2*day)), "", t0.Add(32 * day)},
		"complaint":         {decide(Facts{}, at(com, 0)), mail.Bulk, time.Time{}},
		"unsubscribe":       {decide(Facts{}, at(uns, 0)), mail.Bulk, time.Time{}},
	} {
		if c.d.Stream != c.stream || !c.d.Expires.Equal(c.expires) {
			t.Errorf("%s: stream %q until %s, want %q until %s", name, c.d.Stream, c.d.Expires, c.stream, c.expires)
		}
	}
}

// TestMoreDoubtSuppressesLess: what Decide promises to those who look facts up only where they matter.
func TestMoreDoubtSuppressesLess(t *testing.T) {
	for _, class := range platform.Causes {
		for n := range 64 {
			var fs []platform.Failure
			for i := range 3 {
				fs = append(fs, at(class, time.Duration(n>>(2*i)&3)*15*time.Hour+time.Duration(i)*time.Minute))
			}
			bare := decide(Facts{}, fs...).Suppress
			for _, facts := range []Facts{{Guarded: true}, {Accepted: t0.Add(-day)}, {Accepted: t0.Add(20 * time.Hour)}, {Accepted: t0.Add(90 * day), Guarded: true}} {
				if decide(facts, fs...).Suppress && !bare {
					t.Fatalf("%s, %d: suppressed with %+v, not without", class, n, facts)
				}
			}
		}
	}
}

func TestCauseOf(t *testing.T) {
	bounced := func(class mail.Class, scope mail.Scope, action mail.Action, rule string) *mail.Event {
		return &mail.Event{Type: mail.EventBounced, Class: class, Scope: scope, Action: action, Rule: rule}
	}
	complained := func(feedback string) *mail.Event {
		return &mail.Event{Type: mail.EventComplained, Report: &mail.Report{Feedback: feedback}}
	}
	vague := func(rule string) bool { return rule == "perhaps" }
	for name, c := range map[string]struct {
		e    *mail.Event
		want platform.Cause
	}{
		"no such user":             {bounced(mail.ClassInvalidRecipient, mail.ScopeRecipient, mail.ActionSuppress, "r"), platform.CauseInvalidRecipient},
		"no such user, perhaps":    {bounced(mail.ClassInvalidRecipient, mail.ScopeRecipient, mail.ActionGiveUp, "perhaps"), platform.CauseNone},
		"no such user, given up":   {bounced(mail.ClassInvalidRecipient, mail.ScopeRecipient, mail.ActionGiveUp, "r"), platform.CauseNone},
		"no such domain":           {bounced(mail.ClassInvalidDomain, mail.ScopeRecipient, mail.ActionGiveUp, ""), platform.CauseInvalidDomain},
		"closed":                   {bounced(mail.ClassInactive, mail.ScopeRecipient, mail.ActionGiveUp, "r"), platform.CauseInactive},
		"closed, perhaps":          {bounced(mail.ClassInactive, mail.ScopeRecipient, mail.ActionGiveUp, "perhaps"), platform.CauseNone},
		"full":                     {bounced(mail.ClassMailboxFull, mail.ScopeRecipient, mail.ActionGiveUp, "r"), platform.CauseMailboxFull},
		"the route refuses":        {bounced(mail.ClassInactive, mail.ScopeRoute, mail.ActionGiveUp, "r"), platform.CauseNone},
		"deferred":                 {&mail.Event{Type: mail.EventDeferred, Class: mail.ClassInvalidRecipient, Action: mail.ActionSuppress}, platform.CauseNone},
		"answered by a machine":    {&mail.Event{Type: mail.EventAutoReplied, Report: &mail.Report{Kind: "auto-reply"}}, platform.CauseNone},
		"complaint":                {complained("abuse"), platform.CauseComplaint},
		"complaint without a type": {complained(""), platform.CauseComplaint},
		"not spam":                 {complained("not-spam"), platform.CauseNone},
		"a forgery reported":       {complained("auth-failure"), platform.CauseNone},
		"unsubscribed":             {&mail.Event{Type: mail.EventUnsubscribed}, platform.CauseUnsubscribe},
		"opened":                   {&mail.Event{Type: mail.EventOpened}, platform.CauseNone},
	} {
		if got := CauseOf(c.e, vague); got != c.want {
			t.Errorf("%s counts as %q, want %q", name, got, c.want)
		}
	}
	for _, class := range mail.Classes {
		if class == mail.ClassInvalidRecipient || class == mail.ClassInvalidDomain || class == mail.ClassInactive || class == mail.ClassMailboxFull {
			continue
		}
		for _, action := range []mail.Action{mail.ActionSuppress, mail.ActionGiveUp} {
			if got := CauseOf(bounced(class, mail.ScopeRecipient, action, "r"), vague); got != platform.CauseNone {
				t.Errorf("class %s counts as %q, want nothing", class, got)
			}
		}
	}
	for class, want := range map[mail.Class]platform.Cause{
		mail.ClassMailboxFull: platform.CauseMailboxFull, mail.ClassInactive: platform.CauseInactive,
		mail.ClassInvalidRecipient: "", mail.ClassInvalidDomain: "", mail.ClassGreylisted: "", mail.ClassNetwork: "",
	} {
		last := &mail.Event{Type: mail.EventDeferred, Class: class, Scope: mail.ScopeRecipient, Action: mail.ActionRetry}
		if got := CauseOfExpired(last, vague); got != want {
			t.Errorf("expired while %s counts as %q, want %q", class, got, want)
		}
	}
}

func TestMatch(t *testing.T) {
	now := t0
	entry := func(account string, stream mail.Stream, expires time.Time, reason string) platform.Suppression {
		return platform.Suppression{Account: account, Stream: stream, Address: "ann@example.com", Reason: reason, Since: t0.Add(-day), Expires: expires}
	}
	list := []platform.Suppression{
		entry("acme", mail.Bulk, time.Time{}, "complaint"),
		entry("acme", "", now, "over"),
		entry("beta", "", now.Add(time.Second), "full"),
		entry("gamma", "", time.Time{}, "own"),
		entry("gamma", mail.Bulk, time.Time{}, "bulk"),
	}
	for _, c := range []struct {
		account string
		stream  mail.Stream
		want    string
	}{
		{"acme", mail.Bulk, "complaint"},
		{"acme", mail.Transactional, ""}, // a complaint about bulk mail keeps no receipt back; what has expired holds no more
		{"beta", mail.Transactional, "full"},
		{"gamma", mail.Bulk, "own"},
		{"delta", mail.Bulk, ""}, // another account's entries are not its own
	} {
		got, ok := Match(list, c.account, c.stream, now)
		if ok != (c.want != "") || got.Reason != c.want {
			t.Errorf("%s, %s: %q, %v; want %q", c.account, c.stream, got.Reason, ok, c.want)
		}
	}
	list = append(list, entry("", mail.Bulk, time.Time{}, "platform"))
	if got, ok := Match(list, "delta", mail.Bulk, now); !ok || got.Reason != "platform" {
		t.Errorf("the platform's entry: %+v, %v", got, ok)
	}
	// Of an account's and the platform's the platform's is told: taking the account's off would not help.
	if got, _ := Match(append(list, entry("", "", time.Time{}, "everybody")), "gamma", mail.Bulk, now); got.Reason != "everybody" {
		t.Errorf("the widest entry: %+v", got)
	}
	if _, ok := Match(list, "delta", mail.Transactional, now); ok {
		t.Error("the platform's entry for bulk mail holds for another stream")
	}
}
