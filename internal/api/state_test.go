package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

func TestQueueOperations(t *testing.T) {
	g := newRig(t, nil)
	a, b := g.send(shopKey, goodBody), g.send(shopKey, strings.Replace(goodBody, "example.com", "example.net", 1))
	var list struct {
		Deliveries []struct{ ID, Why, Recipient string }
		Next       string
	}
	g.get(shopKey, "/v1/queues/deliveries?max=1", &list)
	if len(list.Deliveries) != 1 || list.Next == "" || list.Deliveries[0].Why == "" {
		t.Errorf("%+v", list)
	}
	var queues struct {
		Queues []struct {
			Queue   mail.QueueKey
			Waiting int
		}
		Lanes []any
	}
	g.get(adminKey, "/v1/queues", &queues)
	if len(queues.Queues) != 2 || queues.Queues[0].Queue.Account != "shop" {
		t.Errorf("%+v", queues)
	}
	act := func(what, filter string) int {
		t.Helper()
		r := g.do(shopKey, http.MethodPost, "/v1/queues/"+what, `{"filter":`+filter+`,"reason":"not needed"}`)
		var done struct{ Count int }
		if err := json.Unmarshal(r.body, &done); err != nil || r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		return done.Count
	}
	if n := act("retry", `{"message":"`+a.ID.String()+`"}`); n > 1 {
		t.Errorf("retried %d", n)
	}
	if n := act("cancel", `{"domain":"example.com"}`); n != 1 {
		t.Errorf("cancelled %d, want 1", n)
	}
	g.recorded()
	var d struct{ State, Reason string }
	g.get(shopKey, "/v1/deliveries/"+a.Recipients[0].Delivery.String(), &d)
	if d.State != "cancelled" || d.Reason != "not needed" {
		t.Errorf("%+v", d)
	}
	var timeline struct{ Events []mail.Event }
	g.get(shopKey, "/v1/deliveries/"+a.Recipients[0].Delivery.String()+"/events", &timeline)
	if n := len(timeline.Events); n != 2 || timeline.Events[1].Type != mail.EventCancelled {
		t.Errorf("%+v", timeline)
	}
	var audit struct{ Items []store.AuditEntry }
	g.get(adminKey, "/v1/audit?kind=queue", &audit)
	if len(audit.Items) != 2 || audit.Items[0].Action != "queue.cancel" || audit.Items[0].Actor != "credential/shop/web" || audit.Items[0].Note != "not needed" {
		t.Errorf("%+v", audit.Items)
	}
	if n := act("cancel", `{"delivery":"`+b.Recipients[0].Delivery.String()+`"}`); n != 1 || g.spool.Counts().Deliveries != 0 {
		t.Errorf("cancelled %d, %d left", n, g.spool.Counts().Deliveries)
	}
}

func TestHolds(t *testing.T) {
	g := newRig(t, nil)
	put := func(name, body string) answer { return g.do(adminKey, http.MethodPut, "/v1/holds/"+name, body) }
	if a := put("check", `{"account":"shop","reason":"under review"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	var holds struct{ Items []platform.Hold }
	g.get(adminKey, "/v1/holds", &holds)
	if len(holds.Items) != 1 || holds.Items[0].Name != "check" || holds.Items[0].Since.IsZero() {
		t.Fatalf("%+v", holds)
	}
	since := holds.Items[0].Since
	if a := put("check", `{"account":"shop","reason":"still under review"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if g.get(adminKey, "/v1/holds", &holds); len(holds.Items) != 1 || !holds.Items[0].Since.Equal(since) || holds.Items[0].Reason != "still under review" {
		t.Errorf("a change makes it another hold: %+v", holds.Items)
	}
	s := g.send(shopKey, goodBody)
	var d struct{ State, Why string }
	for d.State != "held" { // the queue writes it down a moment later
		g.get(shopKey, "/v1/deliveries/"+s.Recipients[0].Delivery.String(), &d)
		if t.Context().Err() != nil {
			t.Fatalf("%+v", d)
		}
	}
	for _, bad := range []string{`{"reason":"no condition"}`, `{"account":"shop"}`, `{"account":"` + marker + `","reason":"x","strem":"y"}`, `{`} {
		if p := put("other", bad).problem(t); p.Status != 422 && p.Status != 400 || len(p.Errors) == 0 {
			t.Errorf("%s: %+v", bad, p)
		}
	}
	if a := g.do(adminKey, http.MethodDelete, "/v1/holds/check", ""); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := g.do(adminKey, http.MethodDelete, "/v1/holds/check", ""); a.status != 404 {
		t.Errorf("a second time: %d %s", a.status, a.body)
	}
}

func TestStateRoundTrip(t *testing.T) {
	g := newRig(t, nil)
	first := g.do(adminKey, http.MethodGet, "/v1/state", "")
	if first.status != 200 || first.header.Get("Content-Type") != "application/toml" || first.header.Get("ETag") == "" {
		t.Fatalf("%d %v", first.status, first.header)
	}
	for _, secret := range []string{shopKey, "sha256:", "argon2"} {
		if strings.Contains(string(first.body), secret) {
			t.Errorf("the export has %s", secret)
		}
	}
	apply := func(doc, query string) (manage.StateReport, answer) {
		t.Helper()
		a := g.do(adminKey, http.MethodPut, "/v1/state"+query, doc, "Content-Type", "application/toml")
		var r manage.StateReport
		if a.status == 200 {
			if err := json.Unmarshal(a.body, &r); err != nil {
				t.Fatal(err)
			}
		}
		return r, a
	}
	if r, a := apply(string(first.body), ""); a.status != 200 || len(r.Changes) != 0 {
		t.Errorf("an export applied again changes something: %d %s", a.status, a.body)
	}
	if a := g.do(shopKey, http.MethodPost, "/v1/messages", goodBody); a.status != 202 {
		t.Errorf("the key no longer works: %d %s", a.status, a.body)
	}
	more := strings.Replace(string(first.body), "routes = []\n", "", 1) + "\n[[routes]]\nname = \"out\"\nkind = \"mx\"\n"
	if r, a := apply(more, "?dry_run=true"); a.status != 200 || len(r.Changes) != 1 || !r.DryRun {
		t.Errorf("%d %s", a.status, a.body)
	}
	var routes struct{ Items []platform.Route }
	if g.get(adminKey, "/v1/routes", &routes); len(routes.Items) != 0 {
		t.Errorf("a dry run made %+v", routes.Items)
	}
	if r, a := apply(more, "?note=a+way+out"); a.status != 200 || len(r.Changes) != 1 || r.Changes[0].Op != manage.OpCreate {
		t.Errorf("%d %s", a.status, a.body)
	}
	if g.get(adminKey, "/v1/routes", &routes); len(routes.Items) != 1 {
		t.Errorf("%+v", routes.Items)
	}
	for _, tt := range []struct{ name, doc, query string }{
		{"no TOML", "[[" + marker, ""},
		{"unknown list", "[[acounts]]\nname = \"x\"", ""},
		{"wrong type", "accounts = \"" + marker + "\"", ""},
		{"wrong secret", "[[accounts]]\nname = \"x\"\n[[accounts.credentials]]\nname = \"c\"\nkind = \"api\"\nsecret = [\"" + marker + "\"]", ""},
		{"unknown field", "[[accounts]]\nname = \"x\"\npasword = \"" + marker + "\"", ""},
		{"no such route", "[[policies]]\nname = \"default\"\n[[policies.rules]]\nroute = \"nowhere\"", ""},
		{"no truth", "", "?dry_run=" + marker},
	} {
		_, a := apply(tt.doc, tt.query)
		if p := a.problem(t); a.status != 422 && a.status != 400 || len(p.Errors) == 0 || strings.Contains(string(a.body), marker) {
			t.Errorf("%s: %d %s", tt.name, a.status, a.body)
		}
	}
	var audit struct{ Items []store.AuditEntry }
	if g.get(adminKey, "/v1/audit?max=1", &audit); len(audit.Items) != 1 || audit.Items[0].Note != "a way out" || audit.Items[0].Actor != "credential/operator/admin" {
		t.Errorf("%+v", audit.Items)
	}
}

func TestAlerts(t *testing.T) {
	g := newRig(t, nil)
	if _, _, err := g.store.RaiseAlert(t.Context(), "disk", "spool", "it is full", g.api.o.Now()); err != nil {
		t.Fatal(err)
	}
	var alerts struct{ Items []platform.Alert }
	if g.get(adminKey, "/v1/alerts", &alerts); len(alerts.Items) != 1 || alerts.Items[0].Message != "it is full" {
		t.Errorf("%+v", alerts)
	}
	if _, err := g.store.ClearAlert(t.Context(), "disk", "spool", g.api.o.Now()); err != nil {
		t.Fatal(err)
	}
	if g.get(adminKey, "/v1/alerts", &alerts); len(alerts.Items) != 0 {
		t.Errorf("%+v", alerts)
	}
	if g.get(adminKey, "/v1/alerts?all=true", &alerts); len(alerts.Items) != 1 || alerts.Items[0].Cleared.IsZero() {
		t.Errorf("%+v", alerts)
	}
}

// A client over its quota is told when it may go on.
func TestQuotaSaysWhen(t *testing.T) {
	g := newRig(t, nil)
	a := g.do(adminKey, http.MethodGet, "/v1/state", "")
	limited := strings.Replace(string(a.body), "name = 'shop'\n", "name = 'shop'\nmessages_per_hour = 1\n", 1)
	if a = g.do(adminKey, http.MethodPut, "/v1/state", limited); a.status != 200 || !strings.Contains(string(a.body), "messages_per_hour") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for range 2 { // the hour may end between the first two
		a = g.do(shopKey, http.MethodPost, "/v1/messages", goodBody)
	}
	if a.status == 202 {
		a = g.do(shopKey, http.MethodPost, "/v1/messages", goodBody)
	}
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	if p := a.problem(t); p.Status != 429 || p.kind() != "quota" || err != nil || after < 1 || after > 3600 {
		t.Errorf("%d %s, Retry-After %d, %v", a.status, a.body, after, err)
	}
}
