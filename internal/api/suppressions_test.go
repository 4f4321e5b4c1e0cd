package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/suppression"
)

type listAnswer struct {
	Suppressions []SuppressionEntry
	Next         string
}

func (g *rig) suppressions(key, query string) (list []SuppressionEntry) {
	g.t.Helper()
	for cursor := ""; ; {
		var page listAnswer
		g.get(key, "/v1/suppressions?"+query+"&cursor="+cursor, &page)
		list = append(list, page.Suppressions...)
		if cursor = page.Next; cursor == "" {
			return list
		}
	}
}

func (g *rig) check(key, address, query string) (c SuppressionCheck) {
	g.t.Helper()
	g.get(key, "/v1/suppressions/"+url.PathEscape(address)+query, &c)
	return c
}

// TestSuppressions: an account keeps its own list, the operator all of them and the platform's; what is on it is not
// mailed from the next request on.
func TestSuppressions(t *testing.T) {
	g := newRig(t, nil)
	a := g.do(shopKey, "POST", "/v1/suppressions", `{"suppressions":[{"address":"You@Example.com","reason":"asked by phone"},{"address":"bulk@example.com","stream":"bulk"}],"note":"ticket 7"}`)
	var made listAnswer
	if err := json.Unmarshal(a.body, &made); err != nil || a.status != http.StatusCreated || len(made.Suppressions) != 2 || made.Suppressions[0].Address != "you@example.com" || !made.Suppressions[0].InForce {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if x := made.Suppressions[0]; x.Account != "shop" || x.Class != "manual" || x.Actor != "credential/shop/web" {
		t.Errorf("entry %+v", x)
	}
	s := g.send(shopKey, goodBody)
	if len(s.Recipients) != 1 || s.Recipients[0].Status != "suppressed" || s.Recipients[0].Reason != "asked by phone" {
		t.Errorf("sent to a suppressed address: %+v", s)
	}
	s = g.send(rivalKey, strings.Replace(goodBody, "shop.example", "rival.example", 1))
	if s.Recipients[0].Status != "queued" {
		t.Errorf("another account's list holds for this one: %+v", s)
	}

	if c := g.check(shopKey, "YOU@example.com", ""); !c.Transactional || !c.Bulk || len(c.Entries) != 1 || c.Address != "you@example.com" {
		t.Errorf("check: %+v", c)
	}
	if c := g.check(shopKey, "bulk@example.com", ""); c.Transactional || !c.Bulk {
		t.Errorf("check: %+v", c)
	}
	if c := g.check(rivalKey, "you@example.com", ""); c.Transactional || len(c.Entries) != 0 {
		t.Errorf("another account sees the entry: %+v", c)
	}
	if c := g.check(adminKey, "you@example.com", ""); len(c.Entries) != 1 {
		t.Errorf("the operator sees %+v", c)
	}

	// The platform's list is the operator's.
	if a := g.do(adminKey, "POST", "/v1/suppressions", `{"platform":true,"suppressions":[{"address":"trap@example.com","reason":"spam trap"}]}`); a.status != http.StatusCreated {
		t.Errorf("%d %s", a.status, a.body)
	}
	if c := g.check(rivalKey, "trap@example.com", ""); !c.Transactional || !c.Bulk || len(c.Entries) != 1 || c.Entries[0].Actor != "operator" {
		t.Errorf("check: %+v", c)
	}
	for name, c := range map[string]struct {
		key, method, path, body string
		status                  int
	}{
		"platform by an account":        {shopKey, "POST", "/v1/suppressions", `{"platform":true,"suppressions":[{"address":"a@example.com"}]}`, 403},
		"another account":               {shopKey, "POST", "/v1/suppressions", `{"account":"rival","suppressions":[{"address":"a@example.com"}]}`, 403},
		"read only":                     {readKey, "POST", "/v1/suppressions", `{"suppressions":[{"address":"a@example.com"}]}`, 403},
		"send only may not list":        {sendKey, "GET", "/v1/suppressions", "", 403},
		"nobody's list":                 {adminKey, "POST", "/v1/suppressions", `{"suppressions":[{"address":"a@example.com"}]}`, 400},
		"unknown account":               {adminKey, "POST", "/v1/suppressions", `{"account":"nobody","suppressions":[{"address":"a@example.com"}]}`, 422},
		"no address":                    {shopKey, "POST", "/v1/suppressions", `{"suppressions":[{"address":"a b"}]}`, 422},
		"none at all":                   {shopKey, "POST", "/v1/suppressions", `{"suppressions":[]}`, 422},
		"unknown class":                 {shopKey, "POST", "/v1/suppressions", `{"suppressions":[{"address":"a@example.com","class":"whim"}]}`, 422},
		"check of nonsense":             {shopKey, "GET", "/v1/suppressions/nonsense", "", 400},
		"platform list by an account":   {shopKey, "GET", "/v1/suppressions?platform=true", "", 403},
		"platform entry by an account":  {shopKey, "DELETE", "/v1/suppressions/trap@example.com?platform=true", "", 403},
		"not on the list":               {shopKey, "DELETE", "/v1/suppressions/trap@example.com", "", 404},
		"another's entry":               {rivalKey, "DELETE", "/v1/suppressions/you@example.com", "", 404},
		"another stream":                {shopKey, "DELETE", "/v1/suppressions/bulk@example.com?stream=transactional", "", 404},
		"undo of everything":            {shopKey, "POST", "/v1/suppressions/undo", `{}`, 422},
		"undo of another's":             {shopKey, "POST", "/v1/suppressions/undo", `{"account":"rival","class":"manual"}`, 403},
		"cursor of another list":        {shopKey, "GET", "/v1/suppressions?cursor=x", "", 400},
		"platform and account":          {adminKey, "GET", "/v1/suppressions?platform=true&account=shop", "", 400},
		"export of the platform's list": {shopKey, "GET", "/v1/suppressions/export?platform=true", "", 403},
	} {
		if a := g.do(c.key, c.method, c.path, c.body); a.status != c.status {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.status)
		} else {
			a.problem(t)
		}
	}
	if list := g.suppressions(shopKey, ""); len(list) != 2 {
		t.Errorf("the shop's list: %+v", list)
	}
	if list := g.suppressions(adminKey, "max=1"); len(list) != 3 {
		t.Errorf("all lists: %+v", list)
	}
	if list := g.suppressions(adminKey, "platform=true"); len(list) != 1 {
		t.Errorf("the platform's list: %+v", list)
	}
	if a := g.do(shopKey, "DELETE", "/v1/suppressions/you%40example.com?note=wrong+person", ""); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	if s := g.send(shopKey, goodBody); s.Recipients[0].Status != "queued" {
		t.Errorf("removed and still suppressed: %+v", s)
	}
	var audit struct {
		Items []struct{ Action, Name, Actor, Note string }
	}
	g.get(adminKey, "/v1/audit?kind=suppression", &audit)
	if len(audit.Items) != 4 || audit.Items[0].Action != "delete" || audit.Items[0].Note != "wrong person" || audit.Items[0].Name != "you@example.com" || audit.Items[0].Actor != "credential/shop/web" {
		t.Errorf("audit %+v", audit.Items)
	}
}

// TestSuppressionLists: import with a report, export, and bulk undo.
func TestSuppressionLists(t *testing.T) {
	g := newRig(t, nil)
	var list strings.Builder
	list.WriteString("\xef\xbb\xbfEmailAddress;SuppressionReason\r\n")
	for i := range 1500 {
		fmt.Fprintf(&list, "user%d@example.com;HardBounce\r\n", i)
	}
	list.WriteString("nonsense;HardBounce\r\n" + suppression.Hash("gone@example.com") + ";SpamComplaint\r\n")
	put := func(key, query, body, media string) (rep manage.ImportReport, a answer) {
		t.Helper()
		a = g.do(key, "POST", "/v1/suppressions/import?"+query, body, "Content-Type", media)
		if a.status == http.StatusOK {
			if err := json.Unmarshal(a.body, &rep); err != nil {
				t.Fatal(err)
			}
		}
		return rep, a
	}
	rep, _ := put(shopKey, "dry_run=true", list.String(), "text/csv; charset=utf-8")
	if rep.Added != 1501 || rep.Refused != 1 || !rep.DryRun || len(g.suppressions(shopKey, "")) != 0 {
		t.Errorf("dry run %+v", rep)
	}
	rep, _ = put(shopKey, "", list.String(), "text/csv")
	if rep.Lines != 1502 || rep.Added != 1501 || rep.Refused != 1 || len(rep.Problems) != 1 || rep.Problems[0].Line != 1502 || strings.Join(rep.Columns, ",") != "address,class" {
		t.Errorf("import %+v", rep)
	}
	for name, c := range map[string]struct {
		key, query, media string
		status            int
	}{
		"JSON":                     {shopKey, "", "application/json", 415},
		"another account":          {shopKey, "account=rival", "text/csv", 403},
		"platform by an account":   {shopKey, "platform=true", "text/csv", 403},
		"reader":                   {readKey, "", "text/csv", 403},
		"neither yes nor no":       {shopKey, "dry_run=perhaps", "text/csv", 400},
		"unknown stream":           {shopKey, "stream=news", "text/csv", 400},
		"unknown class":            {shopKey, "class=whim", "text/csv", 400},
		"an account there is none": {adminKey, "account=nobody", "text/csv", 422},
	} {
		if _, a := put(c.key, c.query, "ann@example.com\n", c.media); a.status != c.status {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.status)
		}
	}
	// Each line of an operator's list says whose it is.
	rep, _ = put(adminKey, "", "email,account\nann@example.com,rival\neve@example.com,\n", "text/csv")
	if rep.Added != 1 || rep.Refused != 1 {
		t.Errorf("import %+v", rep)
	}

	a := g.do(shopKey, "GET", "/v1/suppressions/export", "")
	if rows := strings.Split(strings.TrimSpace(string(a.body)), "\n"); a.status != 200 || len(rows) != 1502 || !strings.HasPrefix(rows[0], "address,class,reason,stream,account") ||
		!strings.HasPrefix(a.header.Get("Content-Type"), "text/csv") || strings.Contains(string(a.body), "rival") {
		t.Errorf("export: %d, %d lines, %.200s", a.status, len(rows), a.body)
	}
	for query, want := range map[string]int{"contains=user1499": 1, "since=2999-01-01T00:00:00Z": 0, "until=2000-01-01T00:00:00Z": 0, "actor=automatic": 0} {
		if a := g.do(shopKey, "GET", "/v1/suppressions/export?"+query, ""); a.status != 200 || strings.Count(string(a.body), "\n") != 1+want {
			t.Errorf("export %s: %d %.300s", query, a.status, a.body)
		}
	}
	if a := g.do(shopKey, "GET", "/v1/suppressions/export?since=whenever", ""); a.status != 400 {
		t.Errorf("export since whenever: %d %s", a.status, a.body)
	}
	if c := g.check(shopKey, "Gone@example.com", ""); !c.Bulk || c.Transactional || c.Entries[0].Address != suppression.Hash("gone@example.com") {
		t.Errorf("an entry kept as a hash: %+v", c)
	}

	undo := func(key, body string, want int64) {
		t.Helper()
		a := g.do(key, "POST", "/v1/suppressions/undo", body)
		var out struct{ Count int64 }
		if err := json.Unmarshal(a.body, &out); err != nil || out.Count != want {
			t.Errorf("undo %s: %d %s, want %d", body, a.status, a.body, want)
		}
	}
	undo(rivalKey, `{"class":"invalid-recipient"}`, 0)
	undo(shopKey, `{"class":"invalid-recipient","dry_run":true}`, 1500)
	undo(shopKey, `{"class":"invalid-recipient","domain":"other.example"}`, 0)
	undo(shopKey, `{"class":"invalid-recipient","domain":"example.com","since":"2020-01-01T00:00:00Z","note":"they erred"}`, 1500)
	if list := g.suppressions(shopKey, ""); len(list) != 1 {
		t.Errorf("left: %+v", list)
	}
}
