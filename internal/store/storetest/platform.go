package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// Secrets of the sample state; none may be seen where secrets are not asked for.
const (
	sampleHash     = "HASH-OF-A-PASSWORD"
	sampleSealed   = "SEALED-PRIVATE-KEY"
	samplePassword = "SEALED-RELAY-PASSWORD"
	sampleMailbox  = "SEALED-MAILBOX-PASSWORD"
	sampleWebhook  = "SEALED-WEBHOOK-SECRET"
)

func sampleState() platform.State {
	verified := true
	return platform.State{
		Accounts: []platform.Account{{
			Name: "acme", State: platform.AccountActive, Contact: "ops@acme.example", MaxConnections: 10, MessagesPerHour: 5000,
			Archive: platform.Archive{Days: 30, Streams: []mail.Stream{mail.Bulk}},
			Senders: []platform.Sender{{Name: "acme.example", Verified: true, Keys: []platform.DKIMKey{
				{Selector: "s1", Algorithm: "rsa-2048", Active: true, Public: "MIIB", Sealed: []byte(sampleSealed)},
			}}},
			Credentials: []platform.Credential{{
				Name: "app", Kind: platform.CredentialSMTP, Scopes: []platform.Scope{platform.ScopeSend}, Hash: sampleHash,
				Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Tags: []string{"web"},
			}},
			Mailboxes: []platform.Mailbox{{Name: "bounces", Host: "imap.acme.example", Username: "bounces", Sealed: []byte(sampleMailbox)}},
			Webhooks: []platform.Webhook{{
				Name: "crm", ID: "whk_1", URL: "https://crm.acme.example/events", Types: []mail.EventType{mail.EventBounced},
				Keys: []platform.WebhookKey{{Since: Day0.Add(time.Microsecond), Sealed: []byte(sampleWebhook)}, {Since: Day0, Expires: Day0.Add(day), Sealed: []byte(sampleWebhook + "-OLD")}},
			}},
		}, {Name: "beta", State: platform.AccountPaused}},
		Pools:      []platform.Pool{{Name: "shared", Sources: []string{"out1"}}},
		Sources:    []platform.Source{{Name: "out1", IP: netip.MustParseAddr("192.0.2.1"), EHLO: "out1.example.net"}},
		Routes:     []platform.Route{{Name: "gateway", Kind: mail.RouteRelay, Host: "relay.example.net", Auth: "plain", Username: "u", Sealed: []byte(samplePassword)}},
		Policies:   []platform.Policy{{Name: "default", Rules: []platform.PolicyRule{{Verified: &verified, Route: "gateway"}}}},
		Holds:      []platform.Hold{{Name: "h1", Domain: "bigmail.example", Reason: "incident", Since: Day0, Expires: Day0.Add(time.Hour)}},
		LegalHolds: []platform.LegalHold{{Name: "l1", Account: "acme", Recipient: "ann@example.net", Reason: "a claim", Author: "legal", Since: Day0}},
	}
}

// changes puts the whole state.
func changes(s platform.State) (list []store.Change) {
	for _, v := range s.Accounts {
		list = append(list, store.PutAccount(v))
	}
	for _, v := range s.Pools {
		list = append(list, store.PutPool(v))
	}
	for _, v := range s.Sources {
		list = append(list, store.PutSource(v))
	}
	for _, v := range s.Routes {
		list = append(list, store.PutRoute(v))
	}
	for _, v := range s.Policies {
		list = append(list, store.PutPolicy(v))
	}
	for _, v := range s.Holds {
		list = append(list, store.PutHold(v))
	}
	for _, v := range s.LegalHolds {
		list = append(list, store.PutLegalHold(v))
	}
	return list
}

var equalState = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()}

func testState(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	s := open(t, dir, Options{})
	state, version, err := s.LoadState(ctx)
	must(t, err)
	if diff := cmp.Diff(platform.State{}, state, equalState); diff != "" || version != 0 {
		t.Fatalf("a new store is at version %d with %s", version, diff)
	}
	want := sampleState()
	version, err = s.ApplyState(ctx, store.Update{Changes: changes(want), Expect: 0, Actor: "admin/ada", At: Day0})
	must(t, err)
	if version != 1 {
		t.Errorf("first version is %d, want 1", version)
	}
	must(t, s.Close())

	s = open(t, dir, Options{})
	defer s.Close()
	state, version, err = s.LoadState(ctx)
	must(t, err)
	if diff := cmp.Diff(want, state, equalState); diff != "" || version != 1 {
		t.Fatalf("reopened, at version %d (-want +got):\n%s", version, diff)
	}

	want.Accounts[0].Contact = "postmaster@acme.example"
	want.Accounts[0].Credentials[0].Hash = "ANOTHER-HASH"
	version, err = s.ApplyState(ctx, store.Update{
		Changes: []store.Change{store.PutAccount(want.Accounts[0]), store.Delete(store.KindHold, "h1")},
		Expect:  store.AnyVersion, Actor: "admin/ada", At: Day0,
	})
	must(t, err)
	want.Holds = nil
	state, loaded, err := s.LoadState(ctx)
	must(t, err)
	if diff := cmp.Diff(want, state, equalState); diff != "" || version != 2 || loaded != 2 {
		t.Fatalf("after a change, at version %d and %d (-want +got):\n%s", version, loaded, diff)
	}
}

func testStateAtomic(t *testing.T, open Opener) {
	ctx := t.Context()
	var fail error
	s := fresh(t, open, Options{Step: func(name string) error {
		if name == "in state" {
			return fail
		}
		return nil
	}})
	_, err := s.ApplyState(ctx, store.Update{Changes: changes(sampleState()), Actor: "admin/ada", At: Day0})
	must(t, err)
	pool := store.PutPool(platform.Pool{Name: "new", Sources: []string{"out1"}})
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		update store.Update
		fail   error
		want   error
	}{
		"old version":     {store.Update{Changes: []store.Change{pool}, Expect: 0}, nil, store.ErrConflict},
		"missing entry":   {store.Update{Changes: []store.Change{pool, store.Delete(store.KindPool, "none")}, Expect: 1}, nil, store.ErrNotFound},
		"failing at last": {store.Update{Changes: []store.Change{pool}, Expect: 1}, boom, boom},
	} {
		fail = c.fail
		_, err := s.ApplyState(ctx, c.update)
		fail = nil
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
		state, version, err := s.LoadState(ctx)
		must(t, err)
		audit, err := s.ListAudit(ctx, store.AuditQuery{Kind: store.KindPool, Name: "new"})
		must(t, err)
		if len(state.Pools) != 1 || version != 1 || len(audit) != 0 {
			t.Errorf("%s: left %d pools at version %d and %d audit entries", name, len(state.Pools), version, len(audit))
		}
	}
	for name, c := range map[string]store.Change{
		"wrong name":   {Kind: store.KindPool, Name: "x", Value: platform.Pool{Name: "y"}},
		"wrong kind":   {Kind: store.KindPool, Name: "x", Value: platform.Source{Name: "x"}},
		"no name":      {Kind: store.KindPool},
		"unknown type": {Kind: store.KindPool, Name: "x", Value: 7},
	} {
		if _, err := s.ApplyState(ctx, store.Update{Changes: []store.Change{c}, Expect: store.AnyVersion}); err == nil {
			t.Errorf("%s: a change that contradicts itself was accepted", name)
		}
	}
}

func testAudit(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	state := sampleState()
	_, err := s.ApplyState(ctx, store.Update{Changes: changes(state), Actor: "admin/ada", At: Day0, Note: "first setup"})
	must(t, err)
	account := state.Accounts[0]
	account.Credentials = []platform.Credential{{Name: "app", Kind: platform.CredentialSMTP, Hash: "ANOTHER-HASH"}}
	account.Senders, account.Mailboxes = nil, nil
	_, err = s.ApplyState(ctx, store.Update{Changes: []store.Change{store.PutAccount(account)}, Expect: 1, Actor: "admin/bob", At: Day0.Add(time.Minute)})
	must(t, err)
	_, err = s.ApplyState(ctx, store.Update{Changes: []store.Change{store.Delete(store.KindRoute, "gateway")}, Expect: 2, Actor: "admin/bob", At: Day0.Add(time.Hour)})
	must(t, err)
	must(t, s.RecordAudit(ctx, store.AuditEntry{At: Day0, Actor: "admin/bob", Action: "release", Kind: "queue", Name: "acme"}))

	all, err := s.ListAudit(ctx, store.AuditQuery{})
	must(t, err)
	if len(all) != 8+1+1+1 {
		t.Fatalf("%d audit entries, want 11", len(all))
	}
	for _, a := range all {
		text, err := json.Marshal(a)
		must(t, err)
		for _, secret := range []string{sampleHash, sampleSealed, samplePassword, sampleMailbox, sampleWebhook, "ANOTHER-HASH"} {
			if strings.Contains(string(text), secret) {
				t.Errorf("audit entry %d shows a secret: %s", a.ID, text)
			}
		}
	}
	got, err := s.ListAudit(ctx, store.AuditQuery{Kind: store.KindAccount, Name: "acme"})
	must(t, err)
	if len(got) != 2 || got[0].Action != store.ActionUpdate || got[1].Action != store.ActionCreate || got[0].Version != 2 ||
		got[0].Actor != "admin/bob" || !got[0].At.Equal(Day0.Add(time.Minute)) || got[1].Note != "first setup" {
		t.Fatalf("audit of acme: %+v", got)
	}
	if diff := cmp.Diff([]string{"credential/app", "key/acme.example/s1", "mailbox/bounces"}, got[0].Secrets); diff != "" {
		t.Errorf("changed secrets: %s", diff)
	}
	if got[0].Before != got[1].After || !strings.Contains(got[0].Before, "192.0.2.0/24") || strings.Contains(got[0].After, "192.0.2.0/24") {
		t.Errorf("before %s\nafter %s", got[0].Before, got[0].After)
	}
	page, err := s.ListAudit(ctx, store.AuditQuery{Before: all[1].ID, Max: 2, Actor: "admin/bob"})
	must(t, err)
	if len(page) != 1 || page[0].Action != store.ActionUpdate {
		t.Errorf("page behind the second entry: %+v", page)
	}
	for name, c := range map[string]struct {
		q    store.AuditQuery
		want int
	}{
		"since": {store.AuditQuery{Since: Day0.Add(time.Minute)}, 2},
		"until": {store.AuditQuery{Until: Day0.Add(time.Minute)}, 9},
		"both":  {store.AuditQuery{Since: Day0.Add(time.Minute), Until: Day0.Add(time.Hour)}, 1},
		"name":  {store.AuditQuery{Since: Day0, Until: Day0.Add(time.Hour), Kind: store.KindAccount, Name: "acme", Actor: "admin/ada"}, 1},
		"none":  {store.AuditQuery{Since: Day0.Add(2 * time.Hour)}, 0},
	} {
		if got, err := s.ListAudit(ctx, c.q); err != nil || len(got) != c.want {
			t.Errorf("audit by time, %s: %d entries, %v, want %d", name, len(got), err, c.want)
		}
	}
	if all[0].Version != 0 || all[1].Action != store.ActionDelete || all[1].After != "" || all[1].Before == "" {
		t.Errorf("the last two entries: %+v", all[:2])
	}
}

func testAlerts(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	raise := func(scope string, after time.Duration, want int64) {
		t.Helper()
		a, fresh, err := s.RaiseAlert(ctx, "route-failing", scope, fmt.Sprint("since ", after), Day0.Add(after))
		must(t, err)
		if a.Count != want || fresh != (want == 1) || !a.Last.Equal(Day0.Add(after)) || a.Message != fmt.Sprint("since ", after) {
			t.Errorf("raised %+v, fresh %v, want count %d", a, fresh, want)
		}
	}
	raise("route/a", 0, 1)
	raise("route/b", time.Minute, 1)
	raise("route/a", time.Hour, 2)
	cleared, err := s.ClearAlert(ctx, "route-failing", "route/a", Day0.Add(2*time.Hour))
	must(t, err)
	again, err := s.ClearAlert(ctx, "route-failing", "route/a", Day0.Add(3*time.Hour))
	must(t, err)
	if !cleared || again {
		t.Errorf("cleared %v, and once more %v", cleared, again)
	}
	raise("route/a", 4*time.Hour, 1) // a new one

	list, err := s.ListAlerts(ctx, store.AlertQuery{})
	must(t, err)
	if len(list) != 2 || list[0].Scope != "route/a" || list[1].Scope != "route/b" {
		t.Errorf("open alerts: %+v", list)
	}
	list, err = s.ListAlerts(ctx, store.AlertQuery{Cleared: true, Kind: "route-failing"})
	must(t, err)
	if len(list) != 3 || !list[2].Cleared.Equal(Day0.Add(2*time.Hour)) || !list[2].Since.Equal(Day0) || list[2].Count != 2 {
		t.Errorf("all alerts: %+v", list)
	}
	if list, err = s.ListAlerts(ctx, store.AlertQuery{Kind: "none"}); err != nil || len(list) != 0 {
		t.Errorf("alerts of no kind: %+v, %v", list, err)
	}
}

func testSuppressions(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	var all []platform.Suppression
	for i := range 25 {
		all = append(all, platform.Suppression{
			Account: "acme", Address: fmt.Sprintf("user%02d@bigmail.example", i), Reason: "bounced",
			Origin: mail.EventID{Spool: 7, Seq: uint64(i + 1)}, Since: Day0,
		})
	}
	whole := platform.Suppression{Address: "user03@bigmail.example", Reason: "spam-trap", Since: Day0}
	bulk := platform.Suppression{Account: "acme", Stream: mail.Bulk, Address: "user03@bigmail.example", Reason: "unsubscribed", Since: Day0, Expires: Day0.Add(time.Hour)}
	all = append(all, whole, bulk)
	must(t, s.PutSuppressions(ctx, all, store.AuditEntry{At: Day0, Actor: "admin/ada", Action: "import", Kind: "suppression", Name: "acme"}))

	got, err := s.SuppressionsOf(ctx, "user03@bigmail.example")
	must(t, err)
	if diff := cmp.Diff([]platform.Suppression{whole, all[3], bulk}, got); diff != "" {
		t.Errorf("of one address (-want +got):\n%s", diff)
	}
	if got, err = s.SuppressionsOf(ctx, "USER03@bigmail.example"); err != nil || len(got) != 0 {
		t.Errorf("another address: %v, %v", got, err)
	}

	var paged []platform.Suppression
	for cursor := ""; ; {
		list, next, err := s.ListSuppressions(ctx, store.SuppressionQuery{Cursor: cursor, Max: 4})
		must(t, err)
		paged = append(paged, list...)
		if cursor = next; next == "" {
			break
		}
	}
	if len(paged) != len(all) {
		t.Errorf("pages hold %d entries, want %d", len(paged), len(all))
	}
	for name, c := range map[string]struct {
		q    store.SuppressionQuery
		want int
	}{
		"account":  {store.SuppressionQuery{Account: "acme"}, 26},
		"platform": {store.SuppressionQuery{Platform: true}, 1},
		"stream":   {store.SuppressionQuery{Stream: mail.Bulk}, 1},
		"reason":   {store.SuppressionQuery{Reason: "bounced"}, 25},
		"contains": {store.SuppressionQuery{Contains: "R03@big"}, 3},
		"no joker": {store.SuppressionQuery{Contains: "user%"}, 0},
		"nobody":   {store.SuppressionQuery{Account: "beta"}, 0},
	} {
		list, _, err := s.ListSuppressions(ctx, c.q)
		must(t, err)
		if len(list) != c.want {
			t.Errorf("%s: %d entries, want %d", name, len(list), c.want)
		}
	}
	_, _, err = s.ListSuppressions(ctx, store.SuppressionQuery{Cursor: "no cursor"})
	wantErr(t, err, store.ErrBadCursor)

	var keys []string
	must(t, s.SuppressionKeys(ctx, func(address, account string) error { keys = append(keys, address+" "+account); return nil }))
	if len(keys) != 26 { // two streams of one account are one key
		t.Errorf("%d keys, want 26", len(keys))
	}
	stop := errors.New("enough")
	if err := s.SuppressionKeys(ctx, func(string, string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped with %v", err)
	}

	all[3].Reason = "complained"
	must(t, s.PutSuppressions(ctx, all[3:4]))
	must(t, s.DeleteSuppression(ctx, "", "", "user03@bigmail.example", store.AuditEntry{At: Day0, Actor: "admin/ada", Action: "delete", Kind: "suppression"}))
	wantErr(t, s.DeleteSuppression(ctx, "", "", "user03@bigmail.example", store.AuditEntry{Action: "never"}), store.ErrNotFound)
	done, err := s.Maintain(ctx, Day0.Add(2*time.Hour))
	must(t, err)
	got, err = s.SuppressionsOf(ctx, "user03@bigmail.example")
	must(t, err)
	if diff := cmp.Diff(all[3:4], got); diff != "" || done.Suppressions != 1 {
		t.Errorf("after replacing, deleting and expiry of %d (-want +got):\n%s", done.Suppressions, diff)
	}
	audit, err := s.ListAudit(ctx, store.AuditQuery{Kind: "suppression"})
	must(t, err)
	if len(audit) != 2 || audit[0].Action != "delete" || audit[1].Action != "import" {
		t.Errorf("audit: %+v", audit)
	}
}

func testLedger(t *testing.T, open Opener) {
	ctx, dir := t.Context(), t.TempDir()
	now := Day0
	s := open(t, dir, Options{Now: func() time.Time { return now }})
	const limit = 1000
	var mu sync.Mutex
	var total int64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 40 {
				n, err := s.Take(ctx, "acme/hour", "10", 7, limit)
				if err != nil || n < 0 || n > 7 {
					t.Errorf("took %d: %v", n, err)
				}
				mu.Lock()
				total += n
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if total != limit {
		t.Errorf("%d units were granted, want exactly the limit of %d", total, limit)
	}
	must(t, s.Close())

	s = open(t, dir, Options{Now: func() time.Time { return now }})
	defer s.Close()
	take := func(key, period string, want, limit, granted int64) {
		t.Helper()
		n, err := s.Take(ctx, key, period, want, limit)
		must(t, err)
		if n != granted {
			t.Errorf("take %d of %d: granted %d, want %d", want, limit, n, granted)
		}
	}
	take("acme/hour", "10", 1, limit, 0)      // durable
	take("acme/hour", "10", 5, limit-500, 0)  // the limit was lowered
	take("acme/hour", "10", 50, limit+20, 20) // and raised
	take("acme/hour", "11", 50, limit, 50)    // another period
	take("beta/hour", "10", 50, 20, 20)       // another key, its first block cut
	take("gamma/hour", "10", 50, 0, 0)        // nothing at all
	take("gamma/hour", "10", 50, -1, 0)       // nor less
	if _, err := s.Take(ctx, "acme/hour", "11", -1, limit); err == nil {
		t.Error("a negative take was accepted")
	}
	now = now.Add(100 * day)
	done, err := s.Maintain(ctx, now)
	must(t, err)
	if done.LedgerRows == 0 {
		t.Error("no old period was removed")
	}
	take("acme/hour", "11", limit, limit, limit) // the old period is forgotten
}

func testMeta(t *testing.T, open Opener) {
	ctx := t.Context()
	s := fresh(t, open, Options{})
	_, err := s.GetMeta(ctx, "k")
	wantErr(t, err, store.ErrNotFound)
	for _, want := range []string{"one", "", "two\x00\xff"} {
		must(t, s.PutMeta(ctx, "k", []byte(want)))
		got, err := s.GetMeta(ctx, "k")
		must(t, err)
		if string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	must(t, s.PutMeta(ctx, "nil", nil))
	must(t, s.DeleteMeta(ctx, "k"))
	must(t, s.DeleteMeta(ctx, "k"))
	_, err = s.GetMeta(ctx, "k")
	wantErr(t, err, store.ErrNotFound)
}
