package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/figures"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
)

func TestReports(t *testing.T) {
	g := newRig(t, nil)
	send := func(key, from string, to ...string) {
		t.Helper()
		for _, rcpt := range to {
			a := g.do(key, http.MethodPost, "/v1/messages", `{"from":"`+from+`","to":"`+rcpt+`","subject":"Hi","text":"Hello"}`)
			if a.status != http.StatusAccepted {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
	}
	send(shopKey, "info@shop.example", "a@one.example", "b@two.example")
	send(rivalKey, "info@rival.example", "c@three.example")
	g.recorded()

	get := func(key, query string) *figures.Report {
		t.Helper()
		a := g.do(key, http.MethodGet, "/v1/reports?"+query, "")
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %d %s %s", query, a.status, a.header, a.body)
		}
		r := new(figures.Report)
		if err := json.Unmarshal(a.body, r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := get(shopKey, "period=7d"); r.Account != "shop" || r.Totals.Accepted != 2 || r.Totals.Waiting != 2 || len(r.Senders) != 1 || r.Senders[0].Domain != "shop.example" {
		t.Errorf("the shop's own report is of %q: %+v, senders %+v", r.Account, r.Totals, r.Senders)
	}
	if r := get(adminKey, "period=7d"); r.Account != "" || r.Totals.Accepted != 3 {
		t.Errorf("the platform's report is of %q: %+v", r.Account, r.Totals)
	}
	if r := get(adminKey, "period=7d&account=rival"); r.Account != "rival" || r.Totals.Accepted != 1 {
		t.Errorf("the rival's report, for the operator, is of %q: %+v", r.Account, r.Totals)
	}
	for _, c := range []struct {
		key, query string
		status     int
	}{
		{"", "", http.StatusUnauthorized},
		{shopKey, "account=rival", http.StatusForbidden},
		{sendKey, "", http.StatusForbidden},
		{adminKey, "account=nobody", http.StatusNotFound},
		{shopKey, "period=fortnight", http.StatusBadRequest},
		{shopKey, "period=2026-03-02..2026-03-01", http.StatusBadRequest},
		{shopKey, "format=pdf", http.StatusUnprocessableEntity},
	} {
		a := g.do(c.key, http.MethodGet, "/v1/reports?"+c.query, "")
		if p := a.problem(t); p.Status != c.status {
			t.Errorf("%q is answered %d %s, want %d", c.query, a.status, a.body, c.status)
		}
	}
	a := g.do(readKey, http.MethodGet, "/v1/reports?period=7d&format=html", "")
	if a.header.Get("Content-Type") != "text/html; charset=utf-8" || a.header.Get("Content-Security-Policy") == "" ||
		!strings.HasPrefix(string(a.body), "<!DOCTYPE html>") || strings.Contains(string(a.body), "rival") {
		t.Errorf("the page: %v %.200s", a.header, a.body)
	}
	a = g.do(readKey, http.MethodGet, "/v1/reports?period=7d&format=csv", "")
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/csv") || !strings.Contains(string(a.body), "total,,accepted,2\r\n") {
		t.Errorf("the table: %v %.300s", a.header, a.body)
	}
}

func TestUnfinished(t *testing.T) {
	g := newRig(t, nil)
	for _, c := range []struct{ key, from, to string }{
		{shopKey, "info@shop.example", "a@one.example"}, {shopKey, "info@shop.example", "b@one.example"}, {rivalKey, "info@rival.example", "c@two.example"},
	} {
		a := g.do(c.key, http.MethodPost, "/v1/messages", `{"from":"`+c.from+`","to":"`+c.to+`","subject":"Hi","text":"Hello"}`)
		if a.status != http.StatusAccepted {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	g.recorded()
	type page struct {
		Counts []struct {
			State string
			Count int64
		}
		Deliveries []struct{ Account, Recipient, State, Why string }
		Next       string
	}
	get := func(key, query string) (p page) {
		t.Helper()
		a := g.do(key, http.MethodGet, "/v1/unfinished?"+query, "")
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", query, a.status, a.body)
		}
		if err := json.Unmarshal(a.body, &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := get(shopKey, ""); len(p.Deliveries) != 2 || p.Deliveries[0].Account != "shop" || p.Deliveries[0].Why == "" || p.Counts[0].Count != 2 {
		t.Errorf("the shop's: %+v", p)
	}
	if p := get(adminKey, "max=2"); len(p.Deliveries) != 2 || p.Next == "" {
		t.Errorf("everyone's first page: %+v", p)
	} else if p := get(adminKey, "max=2&cursor="+p.Next); len(p.Deliveries) != 1 || p.Next != "" || p.Counts != nil {
		t.Errorf("everyone's second page: %+v", p)
	}
	for _, older := range []string{"1h", "2d", "1w12h"} {
		if p := get(shopKey, "older="+older); len(p.Deliveries) != 0 || len(p.Counts) != 0 {
			t.Errorf("what is older than %s: %+v", older, p)
		}
	}
	for query, status := range map[string]int{"older=soon": http.StatusBadRequest, "older=-1h": http.StatusBadRequest, "older=1.5d": http.StatusBadRequest, "cursor=x.y": http.StatusBadRequest, "cursor=q.%ff": http.StatusBadRequest, "account=rival": http.StatusForbidden} {
		if a := g.do(shopKey, http.MethodGet, "/v1/unfinished?"+query, ""); a.problem(t).Status != status {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestUnknownReplies(t *testing.T) {
	g := newRig(t, nil)
	err := g.store.NoteReplies(t.Context(), []store.ReplyNote{{Event: mail.EventID{Spool: 1, Seq: 1}, Fingerprint: "550 purple", Reply: "550 purple", Host: "mx.example"}})
	if err != nil {
		t.Fatal(err)
	}
	list := func(query string) int {
		t.Helper()
		a := g.do(adminKey, http.MethodGet, "/v1/replies/unknown"+query, "")
		var out struct{ Replies []store.UnknownReply }
		if err := json.Unmarshal(a.body, &out); err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return len(out.Replies)
	}
	mark := func(key, body string) answer {
		return g.do(key, http.MethodPost, "/v1/replies/unknown", body)
	}
	if n := list(""); n != 1 {
		t.Errorf("%d are listed", n)
	}
	for _, key := range []string{shopKey, readKey} {
		if a := g.do(key, http.MethodGet, "/v1/replies/unknown", ""); a.problem(t).Status != http.StatusForbidden {
			t.Errorf("an account sees them: %s", a.body)
		}
		if a := mark(key, `{"fingerprint":"550 purple","done":true}`); a.problem(t).Status != http.StatusForbidden {
			t.Errorf("an account marks them: %s", a.body)
		}
	}
	if a := mark(adminKey, `{"fingerprint":"550 blue","done":true}`); a.problem(t).Status != http.StatusNotFound {
		t.Errorf("one that is not there: %d %s", a.status, a.body)
	}
	if a := mark(adminKey, `{"fingerprint":"550 purple","done":true}`); a.status != http.StatusNoContent || list("") != 0 || list("?done=true") != 1 {
		t.Errorf("dealt with: %d %s, %d open, %d in all", a.status, a.body, list(""), list("?done=true"))
	}
	if a := mark(adminKey, `{"fingerprint":"550 purple","done":false}`); a.status != http.StatusNoContent || list("") != 1 {
		t.Errorf("open again: %d %s", a.status, a.body)
	}
	audit, err := g.store.ListAudit(t.Context(), store.AuditQuery{Kind: "reply"})
	if err != nil || len(audit) != 2 {
		t.Errorf("audit: %+v (%v)", audit, err)
	}
}
