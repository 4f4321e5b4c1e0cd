package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/webhook"
)

// customer is a customer's server.
type customer struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	had    []http.Header
	bodies []string
}

func newCustomer(t *testing.T) *customer {
	c := &customer{status: 200}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.had, c.bodies = append(c.had, r.Header.Clone()), append(c.bodies, string(b))
		w.WriteHeader(c.status)
		fmt.Fprint(w, "thank you")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *customer) answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// await waits until it has had n requests.
func (c *customer) await(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		had := len(c.had)
		c.mu.Unlock()
		if had >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the customer had %d requests, want %d", had, n)
		}
	}
}

// call makes a request that must be answered with the status, and reads the answer.
func (g *rig) call(status int, key, method, path, body string, into any, header ...string) {
	g.t.Helper()
	a := g.do(key, method, path, body, header...)
	if a.status != status {
		g.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	if into != nil {
		reflect.ValueOf(into).Elem().SetZero()
		if err := json.Unmarshal(a.body, into); err != nil {
			g.t.Fatalf("%s %s: %v: %s", method, path, err, a.body)
		}
	}
}

// The life of a webhook over the API: made, tested, told of mail, read in the log, sent again, rotated, replayed, stopped,
// enabled, deleted.
func TestWebhookLife(t *testing.T) {
	g := newRig(t, nil)
	c := newCustomer(t)
	var made WebhookDetail
	g.call(201, shopKey, "POST", "/v1/webhooks", `{"name":"crm","url":"`+c.URL+`/events","types":["accepted","bounced"]}`, &made)
	if !strings.HasPrefix(made.Secret, "whsec_") || made.Account != "shop" || made.Name != "crm" || made.ID == "" {
		t.Fatalf("made %+v", made)
	}
	g.call(422, shopKey, "PUT", "/v1/webhooks/crm", `{"url":"`+c.URL+`/events","order":"anyhow"}`, nil)
	g.call(422, shopKey, "PUT", "/v1/webhooks/crm", `{"url":"`+c.URL+`/events","concurrency":8}`, nil)
	var changed WebhookDetail
	g.call(200, shopKey, "PUT", "/v1/webhooks/crm", `{"url":"`+c.URL+`/events","types":["accepted","bounced"],"order":"delivery","concurrency":8}`, &changed)
	if changed.Order != platform.OrderDelivery || changed.Concurrency != 8 || changed.ID != made.ID || changed.Secret != "" {
		t.Errorf("changed %+v", changed)
	}
	g.call(200, shopKey, "PUT", "/v1/webhooks/crm", `{"url":"`+c.URL+`/events","types":["accepted","bounced"]}`, nil)
	var tested store.WebhookAttempt
	g.call(200, shopKey, "POST", "/v1/webhooks/crm/test", `{}`, &tested)
	if !tested.Taken || tested.Status != 200 || tested.ResponseBody != "thank you" || tested.Type != "accepted" || c.had[0].Get("Postroad-Test") != "1" {
		t.Errorf("tested %+v", tested)
	}
	g.send(shopKey, goodBody)
	g.send(rivalKey, strings.ReplaceAll(goodBody, "shop", "rival"))
	g.send(shopKey, goodBody)
	c.await(t, 3)
	for i, body := range c.bodies {
		if !strings.Contains(body, `"account":"shop"`) || strings.Contains(body, `"content"`) || c.had[i].Get("Webhook-Id") == "" {
			t.Errorf("sent %s with %v", body, c.had[i])
		}
	}

	var log struct {
		Items []store.WebhookAttempt
		Next  string
	}
	for deadline := time.Now().Add(5 * time.Minute); len(log.Items) < 3 && time.Now().Before(deadline); {
		g.call(200, readKey, "GET", "/v1/webhooks/crm/deliveries?bodies=true", "", &log)
	}
	if len(log.Items) != 3 || log.Items[0].RequestBody != c.bodies[2] || log.Items[0].ResponseHeader.Get("Content-Type") == "" {
		t.Fatalf("log %+v", log)
	}
	newest := log.Items[0]
	g.call(200, readKey, "GET", "/v1/webhooks/crm/deliveries?max=1&failed=false", "", &log)
	if len(log.Items) != 1 || log.Next == "" || log.Items[0].RequestBody != "" {
		t.Errorf("page %+v", log)
	}
	g.call(200, readKey, "GET", "/v1/webhooks/crm/deliveries?cursor="+log.Next, "", &log)
	if len(log.Items) != 2 || log.Next != "" {
		t.Errorf("next page %+v", log)
	}
	var one store.WebhookAttempt
	g.call(200, readKey, "GET", fmt.Sprintf("/v1/webhooks/crm/deliveries/%d", newest.ID), "", &one)
	if one.RequestBody != newest.RequestBody {
		t.Errorf("read %+v", one)
	}
	g.call(200, shopKey, "POST", fmt.Sprintf("/v1/webhooks/crm/deliveries/%d/resend", newest.ID), "", &one)
	if one.Event != newest.Event || one.Kind != store.WebhookResend {
		t.Errorf("resent %+v", one)
	}

	var rotated struct{ Secret string }
	g.call(200, shopKey, "POST", "/v1/webhooks/crm/rotate", `{"grace_seconds":60}`, &rotated)
	if !strings.HasPrefix(rotated.Secret, "whsec_") || rotated.Secret == made.Secret {
		t.Errorf("rotated %+v", rotated)
	}
	g.call(200, shopKey, "POST", "/v1/webhooks/crm/test", `{"type":"bounced"}`, &tested)
	if sig := tested.RequestHeader.Get("Webhook-Signature"); strings.Count(sig, "v1,") != 2 {
		t.Errorf("signed with %q", sig)
	}

	var replay store.WebhookReplay
	g.call(202, shopKey, "POST", "/v1/webhooks/crm/replay", `{"from":"2020-01-01T00:00:00Z"}`, &replay)
	var detail WebhookDetail
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); {
		if g.call(200, readKey, "GET", "/v1/webhooks/crm", "", &detail); detail.Replays[0].State != store.ReplayRunning {
			break
		}
	}
	if detail.Replays[0].ID != replay.ID || detail.Replays[0].State != store.ReplayDone || detail.Replays[0].Sent != 2 || detail.Secret != "" {
		t.Errorf("replay %+v", detail)
	}
	g.call(202, shopKey, "POST", "/v1/webhooks/crm/replay", `{"events":["`+newest.Event+`"]}`, &replay)

	c.answer(410)
	g.send(shopKey, goodBody)
	for detail.Status.State != webhook.StateStopped {
		g.call(200, readKey, "GET", "/v1/webhooks/crm", "", &detail)
	}
	c.answer(200)
	g.call(200, shopKey, "POST", "/v1/webhooks/crm/enable", "", &detail)
	if detail.Status.State == webhook.StateStopped {
		t.Errorf("enabled: %+v", detail.Status)
	}
	c.mu.Lock()
	n := len(c.had)
	c.mu.Unlock()
	g.send(shopKey, goodBody)
	c.await(t, n+1)

	g.call(200, shopKey, "PUT", "/v1/webhooks/crm", `{"url":"`+c.URL+`/other","disabled":true}`, &detail)
	if detail.Status.State != webhook.StateDisabled || detail.URL != c.URL+"/other" || len(detail.Types) != 0 || detail.ID != made.ID || detail.Secret != "" {
		t.Errorf("changed %+v", detail)
	}
	g.call(200, shopKey, "POST", "/v1/webhooks/crm/enable", "", &detail)
	if detail.Disabled {
		t.Errorf("enabled %+v", detail)
	}
	g.call(204, shopKey, "DELETE", "/v1/webhooks/crm", "", nil)
	g.call(404, shopKey, "GET", "/v1/webhooks/crm", "", nil)

	audit := g.do(adminKey, "GET", "/v1/audit?max=50", "")
	for _, want := range []string{"webhook made", "webhook secret rotated", "webhook deleted", `"action":"enable"`, `"action":"replay"`, "credential/shop/web"} {
		if !strings.Contains(string(audit.body), want) {
			t.Errorf("the audit log does not say %q", want)
		}
	}
	if strings.Contains(string(audit.body), "whsec_") {
		t.Error("the audit log has a secret")
	}
	if state := g.do(adminKey, "GET", "/v1/state", ""); strings.Contains(string(state.body), "whsec_") {
		t.Error("the exported state has a secret")
	}
}

// Who may do what, and what is refused.
func TestWebhookRefusals(t *testing.T) {
	g := newRig(t, nil)
	c := newCustomer(t)
	g.call(201, shopKey, "POST", "/v1/webhooks", `{"name":"crm","url":"`+c.URL+`"}`, nil)
	g.call(201, adminKey, "POST", "/v1/webhooks", `{"name":"everyone","url":"`+c.URL+`","all_accounts":true}`, nil, AccountHeader, "operator")
	g.call(201, adminKey, "POST", "/v1/webhooks", `{"name":"everyone","url":"`+c.URL+`","all_accounts":true}`, nil, AccountHeader, "shop")
	for _, tt := range []struct {
		key, method, path, body string
		status                  int
		say                     string
	}{
		{shopKey, "POST", "", `{"name":"crm","url":"https://example.com/"}`, 409, "exists"},
		{shopKey, "POST", "", `{"name":"Bad Name","url":"https://example.com/"}`, 422, "lower-case"},
		{shopKey, "POST", "", `{"name":"x","url":"ftp://example.com/"}`, 422, "https://example.com/events"},
		{shopKey, "POST", "", `{"name":"x","url":"https://user:pw@example.com/"}`, 422, "user name"},
		{shopKey, "POST", "", `{"name":"x","url":"https://example.com/#part"}`, 422, "after #"},
		{shopKey, "POST", "", `{"name":"x","url":"https://example.com/","types":["exploded"]}`, 422, "exploded"},
		{shopKey, "POST", "", `{"name":"x","url":"https://example.com/","secret":"whsec_c2hvcnQ="}`, 422, "24 to 64"},
		{shopKey, "POST", "", `{"name":"x","url":"https://example.com/","all_accounts":true}`, 403, "operator"},
		{readKey, "POST", "", `{"name":"x","url":"https://example.com/"}`, 403, "send"},
		{sendKey, "POST", "", `{"name":"x","url":"https://example.com/"}`, 403, "read"},
		{sendKey, "GET", "/crm", "", 403, "read"},
		{readKey, "POST", "/crm/test", "{}", 403, "send"},
		{rivalKey, "GET", "/crm", "", 404, "no such webhook"},
		{rivalKey, "DELETE", "/crm", "", 404, "no such webhook"},
		{rivalKey, "GET", "/crm/deliveries", "", 404, "no such webhook"},
		{shopKey, "GET", "/everyone", "", 403, "operator"},
		{shopKey, "PUT", "/everyone", `{"url":"https://example.com/"}`, 403, "operator"},
		{shopKey, "DELETE", "/everyone", "", 403, "operator"},
		{shopKey, "GET", "/everyone/deliveries", "", 403, "operator"},
		{shopKey, "POST", "/everyone/rotate", "{}", 403, "operator"},
		{adminKey, "GET", "/crm", "", 400, "name the account"},
		{shopKey, "POST", "/crm/test", `{"type":"exploded"}`, 400, "type"},
		{shopKey, "POST", "/crm/rotate", `{"secret":"short"}`, 422, "whsec_"},
		{shopKey, "POST", "/crm/rotate", `{"grace_seconds":-1}`, 422, "grace"},
		{shopKey, "POST", "/crm/replay", `{}`, 400, "from"},
		{shopKey, "POST", "/crm/replay", `{"from":"2026-01-02T00:00:00Z","to":"2026-01-01T00:00:00Z"}`, 400, "behind"},
		{shopKey, "POST", "/crm/replay", `{"events":["evt_1"]}`, 400, "evt_"},
		{shopKey, "POST", "/crm/replay", `{"from":"2026-01-02T00:00:00Z","events":["evt_0000000000000000000g"]}`, 400, "not both"},
		{shopKey, "POST", "/crm/replay", `{"events":["evt_0000000000000000000g"]}`, 404, ""},
		{shopKey, "DELETE", "/crm/replay", "", 404, ""},
		{shopKey, "POST", "/crm/skip", `{"event":"x"}`, 400, "evt_"},
		{shopKey, "POST", "/crm/skip", `{"event":"evt_0000000000000000000g"}`, 409, "does not wait"},
		{shopKey, "GET", "/crm/deliveries/x", "", 400, "number"},
		{shopKey, "GET", "/crm/deliveries/7", "", 404, ""},
		{shopKey, "GET", "/crm/deliveries?cursor=x", "", 400, "cursor"},
		{shopKey, "POST", "/crm/deliveries/7/resend", "", 404, ""},
	} {
		a := g.do(tt.key, tt.method, "/v1/webhooks"+tt.path, tt.body)
		if p := a.problem(t); a.status != tt.status || !strings.Contains(string(a.body), tt.say) || strings.Contains(string(a.body), "user:pw") {
			t.Errorf("%s %s %s: %d %s (%s)", tt.method, tt.path, tt.body, a.status, a.body, p.Title)
		}
	}
	var list struct{ Items []WebhookView }
	g.call(200, shopKey, "GET", "/v1/webhooks", "", &list)
	if len(list.Items) != 2 {
		t.Errorf("the account's own: %+v", list.Items)
	}
	g.call(200, adminKey, "GET", "/v1/webhooks", "", &list)
	if len(list.Items) != 3 {
		t.Errorf("all: %+v", list.Items)
	}
}
