package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/practice"
	"github.com/postroad/postroad/internal/webhook"
)

// hookReceiver is a customer's server that can be down.
type hookReceiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	taken  []string // ids of events, in order
	types  map[string]string
}

func newHookReceiver(t *testing.T) *hookReceiver {
	h := &hookReceiver{status: 200, types: map[string]string{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var p struct{ Type string }
		_ = json.Unmarshal(b, &p)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.status == 200 {
			h.taken = append(h.taken, r.Header.Get("webhook-id"))
			h.types[r.Header.Get("webhook-id")] = p.Type
		}
		w.WriteHeader(h.status)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hookReceiver) answer(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

// Mail goes out, the customer's system is told of every event in commit order: at once, over a restart while it is down, and
// after it was given up, of which the account's contact gets a mail.
func TestWebhooksOfTheWholePlatform(t *testing.T) {
	internet := testInternet(t)
	c := testConfig(t, internet)
	c.Webhook.AllowHTTP, c.Webhook.AllowPrivate = true, true
	h := newHookReceiver(t)
	accounts := strings.Replace(testAccounts, "name = \"shop\"\n", "name = \"shop\"\ncontact = \"ops@mailbox.test\"\n  [[accounts.webhooks]]\n  name = \"crm\"\n  url = \""+h.URL+"\"\n", 1)
	r := start(t, c, accounts+testRoute)
	events := func() (ids []string) {
		_, b := r.request(testKey, http.MethodGet, "/v1/events?max=1000", "")
		var page struct{ Events []struct{ ID string } }
		if err := json.Unmarshal(b, &page); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		return ids
	}
	sendAll := func(n int, name string) {
		for i := range n {
			id := r.send(fmt.Sprintf("%s%d@mailbox.test", name, i))
			r.await("/v1/messages/"+id, func(b []byte) bool { return strings.Contains(string(b), `"state":"delivered"`) })
		}
	}
	arrived := func() {
		t.Helper()
		var got, want []string
		for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			want = events() // again: a page is short where reading it took its time
			h.mu.Lock()
			got = slices.Clone(h.taken)
			h.mu.Unlock()
			if slices.Equal(got, want) {
				return
			}
		}
		t.Fatalf("told of %d events, %d there are:\n%v\n%v", len(got), len(want), got, want)
	}
	status := func(state webhook.State) {
		t.Helper()
		r.await("/v1/webhooks", func(b []byte) bool { return strings.Contains(string(b), `"state":"`+string(state)+`"`) })
	}
	sendAll(5, "first")
	arrived()

	h.answer(503)
	sendAll(5, "down")
	status(webhook.StateRetrying)
	r.stop()
	r = start(t, c, "")
	status(webhook.StateRetrying)
	h.answer(200)
	if code, b := r.request(testKey, http.MethodPost, "/v1/webhooks/crm/enable", ""); code != 200 { // not after the pause
		t.Errorf("%d %s", code, b)
	}
	arrived()

	h.answer(410)
	sendAll(1, "gone")
	status(webhook.StateStopped)
	r.await("/v1/alerts", func(b []byte) bool { return strings.Contains(string(b), "webhook_stopped") }) // stored a moment later
	wait, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := internet.Wait(wait, func() bool {
		return slices.ContainsFunc(internet.Received("ops@mailbox.test"), func(m practice.Received) bool {
			return strings.Contains(string(m.Content), "Webhook crm gets no more events") && strings.Contains(string(m.Content), "410 Gone")
		})
	}); err != nil {
		t.Errorf("the contact has no mail: %v", err)
	}
	h.answer(200)
	if code, b := r.request(testKey, http.MethodPost, "/v1/webhooks/crm/enable", ""); code != 200 {
		t.Errorf("%d %s", code, b)
	}
	arrived()
	r.await("/v1/alerts", func(b []byte) bool { return !strings.Contains(string(b), "webhook_stopped") })
	_, metrics := r.request("", http.MethodGet, "/metrics", "")
	// Refused was the last one, and before it as many as were tried while the receiver was down.
	for _, want := range []string{`postroad_webhook_endpoints\{state="live"\} 1\n`, `postroad_webhook_attempts_total\{result="refused"\} [1-9]`, "postroad_webhook_stops_total 1\n"} {
		if !regexp.MustCompile(want).Match(metrics) {
			t.Errorf("no %s", want)
		}
	}
}
