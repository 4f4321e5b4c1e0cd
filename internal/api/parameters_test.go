package api

import (
	"net/http"
	"strings"
	"testing"
)

// A misspelt parameter is refused, and named: passed over, it would select more than was meant, or do what was to be tried only.
func TestUnknownParameters(t *testing.T) {
	g := newRig(t, nil)
	before := g.state()
	for _, tt := range []struct{ key, method, path, media, body, field string }{
		{shopKey, http.MethodGet, "/v1/messages?recepient=you@example.com", "", "", "recepient"},
		{shopKey, http.MethodHead, "/v1/messages?recepient=you@example.com", "", "", ""},
		{shopKey, http.MethodGet, "/v1/messages/msg_x/content?form=raw", "", "", "form"},
		{shopKey, http.MethodGet, "/v1/events?types=bounced", "", "", "types"},
		{shopKey, http.MethodGet, "/v1/messages?max=1&b=1&a=1", "", "", "a"},
		{shopKey, http.MethodGet, "/v1/messages?a;b", "", "", "query"},
		{shopKey, http.MethodPost, "/v1/messages?form=info@shop.example", "message/rfc822", "From: info@shop.example\r\nTo: you@example.com\r\n\r\nx\r\n", "form"},
		{shopKey, http.MethodPost, "/v1/messages?dry_run=true", ndjson, goodBody, "dry_run"},
		{shopKey, http.MethodPost, "/v1/suppressions/import?dryrun=true", "text/csv", "ann@example.com\n", "dryrun"},
		{shopKey, http.MethodGet, "/v1/suppressions/export?acount=shop", "", "", "acount"},
		{adminKey, http.MethodPut, "/v1/state?dry-run=true", "application/toml", "accounts = []", "dry-run"},
		{adminKey, http.MethodGet, "/v1/archive?acount=shop", "", "", "acount"},
		{shopKey, http.MethodGet, "/v1/messages?" + strings.Repeat("x", 1000) + "=1", "", "", strings.Repeat("x", maxFieldName) + "…"},
	} {
		a := g.do(tt.key, tt.method, tt.path, tt.body, "Content-Type", tt.media)
		if tt.field == "" {
			if a.status != http.StatusBadRequest {
				t.Errorf("%s %s: %d", tt.method, tt.path, a.status)
			}
			continue
		}
		if p := a.problem(t); p.Status != http.StatusBadRequest || p.kind() != "bad-request" || len(p.Errors) == 0 || p.Errors[0].Field != tt.field {
			t.Errorf("%s %s: %+v", tt.method, tt.path, p)
		}
	}
	if n := g.spool.Counts().Messages; n != 0 {
		t.Errorf("%d messages were taken", n)
	}
	if after := g.state(); after != before {
		t.Errorf("the state was changed:\n%s", after)
	}
	// Who is not let in learns nothing of what there is.
	if p := g.do("pr_wrong", http.MethodGet, "/v1/messages?recepient=x", "").problem(t); p.Status != http.StatusUnauthorized {
		t.Errorf("without a key: %+v", p)
	}
}

// state is the platform's state as it is exported.
func (g *rig) state() string {
	return string(g.do(adminKey, http.MethodGet, "/v1/state", "").body)
}

// An empty filter is refused of everybody: an account's key may mean all mail of its account, but must say so.
func TestEmptyFilterIsRefused(t *testing.T) {
	g := newRig(t, nil)
	for _, act := range []string{"retry", "cancel"} {
		for _, tt := range []struct{ key, account string }{{shopKey, ""}, {adminKey, ""}, {adminKey, "shop"}} {
			g.send(shopKey, goodBody)
			post := func(body string) answer {
				return g.do(tt.key, http.MethodPost, "/v1/queues/"+act, body, AccountHeader, tt.account, "Content-Type", "application/json")
			}
			for _, body := range []string{`{"filter":{}}`, `{"filter":{},"reason":"x"}`, `{"filter":{"everything":false}}`} {
				if p := post(body).problem(t); p.Status != http.StatusBadRequest || !strings.Contains(p.Detail, "everything") {
					t.Errorf("%s %s by %.8s for %q: %+v", act, body, tt.key, tt.account, p)
				}
			}
			for _, body := range []string{`{"filter":{"account":"shop"}}`, `{"filter":{"everything":true}}`} {
				if a := post(body); a.status != http.StatusOK {
					t.Errorf("%s %s by %.8s for %q: %d %s", act, body, tt.key, tt.account, a.status, a.body)
				}
			}
		}
	}
}

// Every condition that chooses what is cancelled also chooses what is listed.
func TestWaitingByEachCondition(t *testing.T) {
	g := newRig(t, nil)
	one := g.send(shopKey, goodBody)
	g.send(shopKey, strings.Replace(goodBody, "you@example.com", "other@example.net", 1))
	for _, query := range []string{
		"recipient=you@example.com", "delivery=" + one.Recipients[0].Delivery.String(), "message=" + one.ID.String(), "domain=example.com",
	} {
		var list listOutput
		if g.get(shopKey, "/v1/queues/deliveries?"+query, &list.Body); len(list.Body.Deliveries) != 1 || list.Body.Deliveries[0].Recipient.String() != "you@example.com" {
			t.Errorf("%s: %d deliveries", query, len(list.Body.Deliveries))
		}
	}
	var list listOutput
	if g.get(shopKey, "/v1/queues/deliveries?credential=nobody", &list.Body); len(list.Body.Deliveries) != 0 {
		t.Errorf("of another credential: %+v", list.Body)
	}
}

// What is wrong with a request is said so that it can be mended without looking at the contract.
func TestProblemsSayWhatIsWanted(t *testing.T) {
	g := newRig(t, nil)
	for _, tt := range []struct {
		method, path, media, body string
		status                    int
		detail                    string
	}{
		{http.MethodPost, "/v1/messages", "application/json", `{"from":`, 400, "body: it is no JSON, or breaks off"},
		{http.MethodPost, "/v1/messages", "application/json", `{"from"=1}`, 400, "body: it is no JSON, or breaks off"},
		{http.MethodPost, "/v1/messages", "application/json", `{"from":1,"to":"a@b.example","text":"x"}`, 422, "from: it has none of the forms it may have; see /openapi.json"},
		{http.MethodPost, "/v1/messages", "application/json", `{"from":"a@b.example","to":1,"text":2}`, 422, "; and 1 more in errors"},
		{http.MethodPost, "/v1/messages", "text/plain", "x", 415, "the Content-Type must be application/json or application/x-ndjson or message/rfc822"},
		{http.MethodPut, "/v1/holds/stop", "text/plain", "x", 415, "the Content-Type must be application/json"},
		{http.MethodGet, "/v1/messages?from=yesterday", "", "", 422, "from: want a time like 2026-01-31T12:00:00Z"},
		{http.MethodGet, "/v1/events?type=bounce", "", "", 422, `type[0]: expected value to be one of "accepted, `},
	} {
		p := g.do(adminKey, tt.method, tt.path, tt.body, "Content-Type", tt.media).problem(t)
		if p.Status != tt.status || !strings.Contains(p.Detail, tt.detail) {
			t.Errorf("%s %s %s: %+v", tt.method, tt.path, tt.body, p)
		}
	}
}
