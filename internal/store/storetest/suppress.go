package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// listed returns everything a query selects, page by page.
func listed(t *testing.T, s store.Store, q store.SuppressionQuery) (all []platform.Suppression) {
	t.Helper()
	for {
		list, next, err := s.ListSuppressions(t.Context(), q)
		must(t, err)
		all = append(all, list...)
		if q.Cursor = next; next == "" {
			return all
		}
	}
}

func testSuppressionBulk(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	var all []platform.Suppression
	for i := range 12 {
		x := platform.Suppression{
			Account: []string{"acme", "beta"}[i%2], Address: fmt.Sprintf("user%02d@%s.example", i, []string{"bigmail", "other"}[i%3/2]),
			Class: platform.CauseInvalidRecipient, Reason: "550 5.1.1 no such user", Actor: platform.ActorAutomatic,
			Origin: mail.EventID{Spool: 7, Seq: uint64(i + 1)}, Receiver: "bigmail", Since: Day0.Add(time.Duration(i) * time.Hour),
		}
		if i >= 10 {
			x.Class, x.Receiver, x.Expires = platform.CauseInactive, "mx.other.example", x.Since.Add(day)
		}
		all = append(all, x)
	}
	done, err := s.MergeSuppressions(ctx, all, store.AuditEntry{At: Day0, Actor: "admin/ada", Action: "import", Kind: store.KindSuppression})
	must(t, err)
	if done != (store.Merged{Added: 12}) {
		t.Errorf("merged %+v, want 12 added", done)
	}

	// What lasts longer stays.
	again := []platform.Suppression{all[0], all[10], all[11]}
	again[0].Expires, again[0].Reason = Day0.Add(1000*day), "weaker"
	again[1].Expires, again[1].Reason = again[1].Expires.Add(time.Hour), "longer"
	again[2].Expires, again[2].Reason = time.Time{}, "for ever"
	done, err = s.MergeSuppressions(ctx, again)
	must(t, err)
	if done != (store.Merged{Replaced: 2}) {
		t.Errorf("merged again %+v, want 2 replaced", done)
	}
	all[10], all[11] = again[1], again[2]
	byAddress := map[string]platform.Suppression{}
	for _, x := range all {
		byAddress[x.Address] = x
	}
	got := listed(t, s, store.SuppressionQuery{Max: 5})
	for _, x := range got {
		if diff := cmp.Diff(byAddress[x.Address], x); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.Address, diff)
		}
	}

	for name, c := range map[string]struct {
		q    store.SuppressionQuery
		want int
	}{
		"class":           {store.SuppressionQuery{Class: platform.CauseInactive}, 2},
		"receiver":        {store.SuppressionQuery{Receiver: "bigmail"}, 10},
		"domain":          {store.SuppressionQuery{Domain: "other.example"}, 4},
		"part of domain":  {store.SuppressionQuery{Domain: "example"}, 0},
		"no joker":        {store.SuppressionQuery{Domain: "%.example"}, 0},
		"actor":           {store.SuppressionQuery{Actor: platform.ActorAutomatic}, 12},
		"since":           {store.SuppressionQuery{Since: Day0.Add(3 * time.Hour), Until: Day0.Add(6 * time.Hour)}, 3},
		"account as well": {store.SuppressionQuery{Account: "beta", Since: Day0.Add(3 * time.Hour), Until: Day0.Add(6 * time.Hour)}, 2},
	} {
		n, err := s.CountSuppressions(ctx, c.q)
		must(t, err)
		if n != int64(c.want) || len(listed(t, s, c.q)) != c.want {
			t.Errorf("%s: counts %d, lists %d, want %d", name, n, len(listed(t, s, c.q)), c.want)
		}
	}

	// A bulk undo forgets the failures of those it frees, and of nobody else.
	for _, x := range all {
		f := platform.Failure{Account: x.Account, Address: x.Address, Class: x.Class, Event: x.Origin, Delivery: mail.DeliveryID{1}, At: x.Since}
		_, err := s.RecordFailure(ctx, f, nil, store.AuditEntry{})
		must(t, err)
	}
	q := store.SuppressionQuery{Receiver: "bigmail", Until: Day0.Add(4 * time.Hour), Class: platform.CauseInvalidRecipient}
	n, err := s.DeleteSuppressions(ctx, q, func(n int64) store.AuditEntry {
		return store.AuditEntry{At: Day0, Actor: "admin/ada", Action: "undo", Kind: store.KindSuppression, After: fmt.Sprint(n)}
	})
	must(t, err)
	left, err := s.CountSuppressions(ctx, store.SuppressionQuery{})
	must(t, err)
	if n != 4 || left != 8 {
		t.Errorf("undone %d, left %d, want 4 and 8", n, left)
	}
	for i, x := range all {
		fs, err := s.FailuresOf(ctx, x.Account, x.Address)
		must(t, err)
		if want := min(i/4, 1); len(fs) != want {
			t.Errorf("%s has %d failures, want %d", x.Address, len(fs), want)
		}
	}
	audit, err := s.ListAudit(ctx, store.AuditQuery{Kind: store.KindSuppression})
	must(t, err)
	if len(audit) != 2 || audit[0].Action != "undo" || audit[0].After != "4" {
		t.Errorf("audit: %+v", audit)
	}
	_, err = s.DeleteSuppressions(ctx, store.SuppressionQuery{Platform: true, Account: "acme"}, nil)
	wantErr(t, err, store.ErrBadQuery)
}

func testFailures(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{})
	fail := func(seq uint64) platform.Failure {
		return platform.Failure{
			Account: "acme", Address: "ann@bigmail.example", Class: platform.CauseInactive, Event: mail.EventID{Spool: 7, Seq: seq},
			Delivery: mail.DeliveryID{byte(seq)}, At: Day0.Add(time.Duration(seq) * time.Hour), Evidence: mail.EvidenceMatch, Receiver: "bigmail",
		}
	}
	entry := func(seq uint64) *platform.Suppression {
		f := fail(seq)
		return &platform.Suppression{
			Account: f.Account, Address: f.Address, Class: f.Class, Reason: "550", Actor: platform.ActorAutomatic, Origin: f.Event,
			Since: f.At, Expires: f.At.Add(180 * day),
		}
	}
	audit := store.AuditEntry{At: Day0, Actor: platform.ActorAutomatic, Action: store.ActionCreate, Kind: store.KindSuppression, Name: "ann@bigmail.example"}
	for _, c := range []struct {
		seq  uint64
		put  *platform.Suppression
		want store.Recorded
	}{
		{2, nil, store.Recorded{Fresh: true}},
		{2, entry(2), store.Recorded{}}, // seen: nothing follows from it a second time
		{1, entry(1), store.Recorded{Fresh: true, Put: true}},
		{1, entry(1), store.Recorded{}},
		{3, entry(3), store.Recorded{Fresh: true, Put: true}}, // lasts longer
	} {
		got, err := s.RecordFailure(ctx, fail(c.seq), c.put, audit)
		must(t, err)
		if got != c.want {
			t.Errorf("failure %d: %+v, want %+v", c.seq, got, c.want)
		}
	}
	must(t, s.Close())
	s = open(t, dir, Options{})
	defer s.Close()
	got, err := s.FailuresOf(ctx, "acme", "ann@bigmail.example")
	must(t, err)
	if diff := cmp.Diff([]platform.Failure{fail(1), fail(2), fail(3)}, got); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if got, err := s.FailuresOf(ctx, "beta", "ann@bigmail.example"); err != nil || len(got) != 0 {
		t.Errorf("of another account: %v, %v", got, err)
	}
	list, err := s.SuppressionsOf(ctx, "ann@bigmail.example", "nobody@bigmail.example")
	must(t, err)
	if diff := cmp.Diff([]platform.Suppression{*entry(3)}, list); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	entries, err := s.ListAudit(ctx, store.AuditQuery{Kind: store.KindSuppression})
	must(t, err)
	if len(entries) != 2 {
		t.Errorf("%d audit entries, want one for each change: %+v", len(entries), entries)
	}
	must(t, s.DeleteSuppression(ctx, "acme", "", "ann@bigmail.example"))
	if got, err = s.FailuresOf(ctx, "acme", "ann@bigmail.example"); err != nil || len(got) != 0 {
		t.Errorf("somebody said the address is good, and its failures are still held against it: %v, %v", got, err)
	}
	_, err = s.RecordFailure(ctx, fail(4), nil, audit)
	must(t, err)
	done, err := s.Maintain(ctx, Day0.Add(store.FailuresKept+day))
	must(t, err)
	if got, err = s.FailuresOf(ctx, "acme", "ann@bigmail.example"); err != nil || len(got) != 0 || done.Failures != 1 {
		t.Errorf("after %s: %v, %v; %d removed", store.FailuresKept, got, err, done.Failures)
	}
}

func testEraseSuppressed(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	const address, hash = "ann@bigmail.example", "sha256:0123"
	list := []platform.Suppression{
		{Account: "acme", Address: address, Class: platform.CauseInvalidRecipient, Reason: "550 <ann@bigmail.example> unknown", Since: Day0},
		{Account: "acme", Stream: mail.Bulk, Address: address, Class: platform.CauseComplaint, Reason: "abuse", Since: Day0, Expires: Day0.Add(day)},
		{Account: "beta", Address: address, Class: platform.CauseManual, Reason: "asked", Since: Day0},
		{Account: "acme", Address: "bob@bigmail.example", Class: platform.CauseManual, Since: Day0},
	}
	must(t, s.PutSuppressions(ctx, list, store.AuditEntry{At: Day0, Action: "create", Kind: store.KindSuppression, Name: address, After: "<ann@bigmail.example>"}))
	_, err := s.RecordFailure(ctx, platform.Failure{Account: "acme", Address: address, Event: mail.EventID{Spool: 7, Seq: 1}, Delivery: mail.DeliveryID{1}, At: Day0}, nil, store.AuditEntry{})
	must(t, err)
	n, err := s.EraseSuppressed(ctx, address, hash, store.AuditEntry{At: Day0, Action: "erase", Kind: store.KindSuppression, Name: hash})
	must(t, err)
	if n != 3 {
		t.Errorf("erased %d entries, want 3", n)
	}
	var want []platform.Suppression
	for _, x := range list[:3] {
		x.Address, x.Reason = hash, string(x.Class)
		want = append(want, x)
	}
	got, err := s.SuppressionsOf(ctx, address, hash)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if fs, err := s.FailuresOf(ctx, "acme", address); err != nil || len(fs) != 0 {
		t.Errorf("failures: %v, %v", fs, err)
	}
	audit, err := s.ListAudit(ctx, store.AuditQuery{Kind: store.KindSuppression})
	must(t, err)
	if len(audit) != 2 || audit[1].Name != hash || audit[1].After != "" {
		t.Errorf("audit: %+v", audit)
	}
	// Once more, with a new entry: the one that lasts longer stays.
	list[1].Expires = time.Time{}
	must(t, s.PutSuppressions(ctx, list[1:2]))
	if n, err = s.EraseSuppressed(ctx, address, hash); err != nil || n != 1 {
		t.Fatalf("erased %d, %v", n, err)
	}
	want[1].Expires = time.Time{}
	got, err = s.SuppressionsOf(ctx, address, hash)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after the second time (-want +got):\n%s", diff)
	}
}

func testLastAccepted(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	g := NewMail(spool, Day0)
	sent := func(rcpt string, result mail.EventType) time.Time {
		m := g.Message("acme")
		d := g.Delivery()
		at := g.Clock
		put(t, s, g.Accepted(m, d, rcpt), g.Tried(result, m, d, rcpt, 1, 250, "250 ok"))
		if result == mail.EventDelivered && rcpt == "late@bigmail.example" {
			e := g.Event(mail.EventBounced, m, d, rcpt)
			e.Late = true
			put(t, s, e)
		}
		g.Clock = g.Clock.Add(day)
		return at
	}
	first := sent("Ann@bigmail.example", mail.EventDelivered)
	second := sent("ann@bigmail.example", mail.EventDelivered)
	relayed := sent("bob@bigmail.example", mail.EventRelayed)
	sent("late@bigmail.example", mail.EventDelivered)
	sent("gone@bigmail.example", mail.EventBounced)
	ask := func(rcpt string, since, delivered, relayed time.Time) time.Time {
		t.Helper()
		at, err := s.LastAccepted(ctx, store.AcceptedQuery{Recipient: rcpt, Since: since, Delivered: delivered, Relayed: relayed})
		must(t, err)
		return at
	}
	far := Day0.Add(100 * day)
	for name, c := range map[string]struct{ got, want time.Time }{
		"newest":              {ask("ANN@bigmail.example", Day0, far, far), second},
		"up to a time":        {ask("ann@bigmail.example", Day0, second, far), first},
		"since a time":        {ask("ann@bigmail.example", second.Add(time.Hour), far, far), time.Time{}},
		"relayed":             {ask("bob@bigmail.example", Day0, Day0, far), relayed},
		"relayed too late":    {ask("bob@bigmail.example", Day0, far, relayed), time.Time{}},
		"bounced late":        {ask("late@bigmail.example", Day0, far, far), time.Time{}},
		"bounced":             {ask("gone@bigmail.example", Day0, far, far), time.Time{}},
		"never heard of":      {ask("new@bigmail.example", Day0, far, far), time.Time{}},
		"before any was sent": {ask("ann@bigmail.example", Day0.Add(-90*day), Day0, Day0), time.Time{}},
	} {
		if !c.got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", name, c.got, c.want)
		}
	}
}
