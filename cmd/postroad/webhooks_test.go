package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The whole way from the command line: a webhook is made, tested, told of a message, looked at, sent again, replayed, given
// up, enabled and removed.
func TestWebhookCommands(t *testing.T) {
	var status atomic.Int64
	var had atomic.Int64
	status.Store(200)
	customer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		had.Add(1)
		w.WriteHeader(int(status.Load()))
		fmt.Fprint(w, "thank you")
	}))
	defer customer.Close()
	data, _, _ := testPlatform(t)
	at := func(args string) []string { return append(strings.Fields(args), "--data", data) }
	shop := func(args string) said { t.Helper(); return postroad(t, "", append(at(args), "--account", "shop")...) }

	postroad(t, testAccounts, at("apply -f -")...).want(t, exitOK)
	send := func() said {
		return postroad(t, "", append(at("send --account shop --from info@shop.test --subject Hello --text Works --timeout 5m"), "--to", "alice@mailbox.test")...)
	}
	postroad(t, "", at("webhooks")...).want(t, exitOK, "no webhooks")
	shop("webhooks add crm ftp://example.com/").want(t, exitFailure, "https://example.com/events")
	shop("webhooks add crm "+customer.URL+" --type accepted,delivered").want(t, exitOK, "whsec_", "accepted, delivered")
	postroad(t, "", at("webhooks list")...).want(t, exitOK, "crm", "shop", customer.URL)
	shop("webhooks change crm").want(t, exitUsage, "--target")
	shop("webhooks change crm --order delivery --concurrency 500").want(t, exitFailure, "concurrency")
	shop("webhooks change crm --order delivery --concurrency 32").want(t, exitOK, "up to 32 requests", "accepted, delivered")
	shop("webhooks change crm --order strict --concurrency 0 --type all").want(t, exitOK, "types    all", customer.URL)
	shop("webhooks change crm --type accepted,delivered").want(t, exitOK, "accepted, delivered")
	shop("webhooks change none --order strict").want(t, exitFailure, "no such webhook")
	shop("webhooks test crm").want(t, exitOK, "accepted test_", "taken (200)", "thank you")
	status.Store(503)
	shop("webhooks test crm --type bounced").want(t, exitNotAsWanted, "answered 503")
	status.Store(200)
	shop("webhooks rotate crm --grace 1h").want(t, exitOK, "whsec_")

	send().want(t, exitOK)
	var list struct{ Items []webhookAttempt }
	for deadline := time.Now().Add(5 * time.Minute); len(list.Items) < 4 && time.Now().Before(deadline); {
		shop("webhooks deliveries crm --json").json(t, &list)
	}
	if len(list.Items) != 4 || list.Items[0].Kind != "live" {
		t.Fatalf("deliveries: %+v", list.Items)
	}
	event := list.Items[0]
	shop("webhooks deliveries crm --failed").want(t, exitOK, "answered 503")
	shop("webhooks deliveries crm --max 1 --bodies --event "+event.Event).want(t, exitOK, `"type":"delivered"`, "thank you")
	shop("webhooks deliveries crm --max 1").want(t, exitOK, "more: --cursor")
	shop("webhooks resend crm "+event.ID).want(t, exitOK, "taken (200)")
	shop("webhooks resend crm 999999").want(t, exitFailure, "Not found")
	shop("webhooks replay crm").want(t, exitUsage, "--from")
	shop("webhooks replay crm --from yesterday").want(t, exitUsage, "yesterday")
	shop("webhooks replay crm --from 1h").want(t, exitOK, "rpl_")
	for deadline := time.Now().Add(5 * time.Minute); !strings.Contains(shop("webhooks show crm").out, "done") && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	shop("webhooks show crm").want(t, exitOK, "done, 2 sent", "live")
	shop("webhooks replay crm --event "+event.Event+" --json").want(t, exitOK, event.Event)

	status.Store(410)
	send().want(t, exitOK)
	for deadline := time.Now().Add(5 * time.Minute); !strings.Contains(shop("webhooks show crm").out, "stopped") && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	shop("webhooks").want(t, exitOK, "stopped", "410")
	eventually(t, "webhook/shop/crm", at("alerts")...).want(t, exitOK)
	status.Store(200)
	before := had.Load()
	shop("webhooks enable crm").want(t, exitOK, "crm")
	for deadline := time.Now().Add(5 * time.Minute); had.Load() == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing came after it was enabled")
		}
	}
	shop("webhooks remove crm").want(t, exitOK, "deleted")
	shop("webhooks show crm").want(t, exitFailure, "no such webhook")
}
