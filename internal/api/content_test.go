package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/store"
)

const contentKey = "pr_content-content-content-content-con"

// archiving turns on the archive of account shop and gives it a key that may read content.
func (g *rig) archiving() {
	g.t.Helper()
	doc := strings.Replace(testState, "name = \"shop\"\n", "name = \"shop\"\narchive = {days = 30}\n", 1)
	doc = strings.Replace(doc, "  [[accounts.credentials]]\n  name = \"reader\"", "  [[accounts.credentials]]\n  name = \"support\"\n  kind = \"api\"\n  scopes = [\"read\", \"content\", \"send\"]\n  secret = \""+contentKey+"\"\n  [[accounts.credentials]]\n  name = \"reader\"", 1)
	state, kinds, err := manage.ParseState([]byte(doc))
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := g.api.o.Manager.Apply(g.t.Context(), manage.Request{Actor: "test", State: state, Kinds: kinds}); err != nil {
		g.t.Fatal(err)
	}
}

// over cancels a message and waits until its content is where it belongs.
func (g *rig) over(id string) {
	g.t.Helper()
	if r := g.do(adminKey, http.MethodPost, "/v1/queues/cancel", `{"filter": {"message": "`+id+`"}}`, "Content-Type", "application/json"); r.status != 200 {
		g.t.Fatalf("%d %s", r.status, r.body)
	}
	g.recorded()
	for range 150_000 { // five minutes
		if owed, err := g.spool.Owed(g.t.Context(), mail.MessageID{}, 1); err == nil && len(owed) == 0 {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	g.t.Fatal("the content was not archived")
}

// audited returns the entries of an action.
func (g *rig) audited(action string) (list []store.AuditEntry) {
	g.t.Helper()
	var page struct {
		Items []store.AuditEntry `json:"items"`
	}
	g.get(adminKey, "/v1/audit?max=1000", &page)
	for _, e := range page.Items {
		if e.Action == action {
			list = append(list, e)
		}
	}
	return list
}

const contentBody = `{"from": "news@shop.example", "to": ["ann@example.net"], "subject": "Grüße", "text": "the text", "html": "<p>the html</p>",
	"attachments": [{"filename": "bill.pdf", "content": "JVBERi0="}]}`

// TestContent: the content is shown to those who may see it, while the message is on its way and afterwards, and every
// look is in the audit log.
func TestContent(t *testing.T) {
	g := newRig(t, nil)
	g.archiving()
	id := g.send(shopKey, contentBody).ID.String()
	path := "/v1/messages/" + id + "/content"
	for _, from := range []string{"live", "archive"} {
		if from == "archive" {
			g.over(id)
		}
		var c MessageContent
		g.get(contentKey, path, &c)
		if c.Text != "the text\n" && strings.TrimSpace(c.Text) != "the text" || !strings.Contains(c.HTML, "the html") || len(c.Attachments) != 1 || c.Attachments[0].Filename != "bill.pdf" || c.Problem != "" {
			t.Errorf("%s: %+v", from, c)
		}
		found := false
		for _, h := range c.Headers {
			found = found || h.Name == "Subject" && h.Value == "Grüße"
		}
		if !found {
			t.Errorf("%s: headers %v", from, c.Headers)
		}
		raw := g.do(adminKey, http.MethodGet, path, "", "Accept", "message/rfc822")
		if raw.status != 200 || raw.header.Get("Content-Type") != "message/rfc822" || int64(len(raw.body)) != c.Size || !bytes.Contains(raw.body, []byte("To: ann@example.net\r\n")) {
			t.Errorf("%s: %d %v %s", from, raw.status, raw.header, raw.body)
		}
	}
	for key, status := range map[string]int{shopKey: 403, readKey: 403, sendKey: 403, rivalKey: 403, "": 401} {
		if r := g.do(key, http.MethodGet, path, ""); r.status != status {
			t.Errorf("key %.8s: %d %s", key, r.status, r.body)
		}
		if key == "" {
			continue
		}
		if r := g.do(key, http.MethodGet, "/v1/archive?account=shop", ""); r.status != status {
			t.Errorf("export, key %.8s: %d %s", key, r.status, r.body)
		}
	}
	looks := g.audited("content.read")
	if len(looks) != 4 || looks[0].Name != id || looks[0].Actor != "credential/operator/admin" || looks[1].Actor != "credential/shop/support" {
		t.Errorf("%+v", looks)
	}
	// What is not kept says why.
	gone := g.send(rivalKey, `{"from": "a@rival.example", "to": ["b@example.net"], "subject": "x", "text": "y"}`).ID.String()
	g.over(gone)
	if p := g.do(adminKey, http.MethodGet, "/v1/messages/"+gone+"/content", "").problem(t); p.Status != 404 || !strings.Contains(p.Detail, "rival keeps no archive") {
		t.Errorf("%+v", p)
	}
	if p := g.do(contentKey, http.MethodGet, "/v1/messages/"+gone+"/content", "").problem(t); p.Status != 404 || strings.Contains(p.Detail, "rival") {
		t.Errorf("another account's message: %+v", p)
	}
}

// TestResend: an archived message goes again as a new one that both timelines know of.
func TestResend(t *testing.T) {
	g := newRig(t, nil)
	g.archiving()
	id := g.send(shopKey, contentBody).ID
	g.over(id.String())
	resend := func(key, id, body string, header ...string) answer {
		return g.do(key, http.MethodPost, "/v1/messages/"+id+"/resend", body, append([]string{"Content-Type", "application/json"}, header...)...)
	}
	r := resend(shopKey, id.String(), `{}`, "Idempotency-Key", "k1")
	if r.status != http.StatusAccepted {
		t.Fatalf("%d %s", r.status, r.body)
	}
	g.recorded()
	again := r.into(t).ID
	if second := resend(shopKey, id.String(), `{}`, "Idempotency-Key", "k1"); second.status != 202 || second.into(t).ID != again || second.header.Get(ReplayedHeader) != "true" {
		t.Errorf("a second time: %d %s", second.status, second.body)
	}
	var first, next MessageStatus
	g.get(readKey, "/v1/messages/"+id.String(), &first)
	g.get(readKey, "/v1/messages/"+again.String(), &next)
	if len(first.ResentAs) != 1 || first.ResentAs[0] != again || next.ResentOf != id || next.RFC822ID != first.RFC822ID || len(next.Deliveries) != 1 || next.Deliveries[0].Recipient != "ann@example.net" {
		t.Errorf("links: %+v, %+v", first, next)
	}
	raw := string(g.do(adminKey, http.MethodGet, "/v1/messages/"+again.String()+"/content", "", "Accept", "message/rfc822").body)
	for _, want := range []string{"Resent-From: news@shop.example\r\n", "Resent-To: ann@example.net\r\n", "Resent-Message-ID: <msg_", "Resent-Date: ", "Message-ID: <" + first.RFC822ID + ">\r\n"} {
		if !strings.Contains(raw, want) {
			t.Errorf("%q is missing in\n%s", want, raw)
		}
	}
	if strings.Index(raw, "Resent-From") > strings.Index(raw, "From: ") && strings.Index(raw, "Resent-From") > strings.Index(raw, "\r\nFrom: ") {
		t.Errorf("the Resent fields do not stand before the header:\n%s", raw)
	}
	// To somebody else: that shows him the content.
	if p := resend(shopKey, id.String(), `{"to": ["bob@example.net"]}`).problem(t); p.Status != 403 {
		t.Errorf("%+v", p)
	}
	r = resend(contentKey, first.Deliveries[0].ID.String(), `{"to": ["bob@example.net"]}`)
	if r.status != 202 || r.into(t).Recipients[0].Address != "bob@example.net" {
		t.Errorf("%d %s", r.status, r.body)
	}
	for body, status := range map[string]int{`{"force": true}`: 403, `{"to": ["nobody"]}`: 400, `{"too": 1}`: 422} {
		if p := resend(contentKey, id.String(), body).problem(t); p.Status != status {
			t.Errorf("%s: %+v", body, p)
		}
	}
	if p := resend(readKey, id.String(), `{}`).problem(t); p.Status != 403 {
		t.Errorf("%+v", p)
	}
	if p := resend(rivalKey, id.String(), `{}`).problem(t); p.Status != 404 {
		t.Errorf("%+v", p)
	}
	if p := resend(pausedKey, id.String(), `{}`).problem(t); p.Status != 404 && p.Status != 403 {
		t.Errorf("%+v", p)
	}
	if list := g.audited("resend"); len(list) != 2 || list[0].Name != id.String() || strings.Contains(fmt.Sprint(list), "bob@") {
		t.Errorf("%+v", list)
	}
}

// into reads the answer of an acceptance.
func (a answer) into(t testing.TB) (s Sent) {
	t.Helper()
	if err := json.Unmarshal(a.body, &s); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return s
}

// TestArchiveExport: an account's archive is listed and exported, by its own keys and by the operator, who names it.
func TestArchiveExport(t *testing.T) {
	g := newRig(t, nil)
	g.archiving()
	var last string
	for i := range 3 {
		last = g.send(shopKey, fmt.Sprintf(`{"from": "news@shop.example", "to": ["user%d@example.net"], "subject": "s%d", "text": "From the start"}`, i, i)).ID.String()
	}
	g.over(last)
	var page struct {
		Messages []ArchivedMessage `json:"messages"`
		Next     string            `json:"next"`
	}
	g.get(contentKey, "/v1/archive/messages?max=2", &page)
	if len(page.Messages) != 2 || page.Next == "" || page.Messages[0].Subject != "s0" {
		t.Fatalf("%+v", page)
	}
	g.get(contentKey, "/v1/archive/messages?cursor="+page.Next, &page)
	if len(page.Messages) != 1 || page.Messages[0].Subject != "s2" {
		t.Fatalf("%+v", page)
	}
	r := g.do(adminKey, http.MethodGet, "/v1/archive?account=shop", "")
	if r.status != 200 || r.header.Get("Content-Type") != "application/mbox" || bytes.Count(r.body, []byte("From news@shop.example ")) != 3 || !bytes.Contains(r.body, []byte("\n>From the start")) {
		t.Errorf("%d %s", r.status, r.body)
	}
	r = g.do(contentKey, http.MethodGet, "/v1/archive?recipient=USER1@example.net", "")
	if bytes.Count(r.body, []byte("From news@shop.example ")) != 1 || !bytes.Contains(r.body, []byte("Subject: s1")) {
		t.Errorf("%d %s", r.status, r.body)
	}
	for query, key := range map[string]string{"": adminKey, "?from=yesterday": contentKey, "?format=pst": contentKey} {
		if p := g.do(key, http.MethodGet, "/v1/archive"+query, "").problem(t); p.Status != 400 {
			t.Errorf("%q: %+v", query, p)
		}
	}
	if p := g.do(contentKey, http.MethodGet, "/v1/archive?account=rival", "").problem(t); p.Status != 403 {
		t.Errorf("%+v", p)
	}
	if list := g.audited("archive.export"); len(list) != 2 || list[0].Name != "shop" {
		t.Errorf("%+v", list)
	}
	if list := g.audited("archive.exported"); len(list) != 2 || list[1].Note != "all of it; messages: 3" {
		t.Errorf("%+v", list)
	}
}

// TestLegalHolds: set, listed, released, each in the audit log; by operators.
func TestLegalHolds(t *testing.T) {
	g := newRig(t, nil)
	put := func(key, body string) answer {
		return g.do(key, http.MethodPut, "/v1/legal-holds/case-1", body, "Content-Type", "application/json")
	}
	if r := put(adminKey, `{"recipient": "Ann@Example.NET", "reason": "a claim"}`); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	holds := g.api.o.Manager.Snapshot().LegalHolds()
	if len(holds) != 1 || holds[0].Recipient != "ann@example.net" || holds[0].Author != "credential/operator/admin" || holds[0].Since.IsZero() {
		t.Errorf("%+v", holds)
	}
	if p := put(adminKey, `{"reason": "everything"}`).problem(t); p.Status != 422 {
		t.Errorf("%+v", p)
	}
	if p := put(contentKey+"x", `{}`).problem(t); p.Status != 401 {
		t.Errorf("%+v", p)
	}
	if p := put(shopKey, `{"account": "shop", "reason": "x"}`).problem(t); p.Status != 403 {
		t.Errorf("%+v", p)
	}
	if r := g.do(adminKey, http.MethodDelete, "/v1/legal-holds/case-1", ""); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if p := g.do(adminKey, http.MethodDelete, "/v1/legal-holds/case-1", "").problem(t); p.Status != 404 {
		t.Errorf("%+v", p)
	}
	var page struct {
		Items []store.AuditEntry `json:"items"`
	}
	g.get(adminKey, "/v1/audit?kind=legal_hold", &page)
	if len(page.Items) != 2 || page.Items[0].Action != "delete" || page.Items[1].Action != "create" {
		t.Errorf("%+v", page.Items)
	}
}

// TestErasure: asked for by an operator, finished by the platform, refused by a legal hold.
func TestErasure(t *testing.T) {
	g := newRig(t, nil)
	g.archiving()
	id := g.send(shopKey, contentBody).ID.String() // still waits: it is cancelled
	erase := func(key, body string) answer { return g.do(key, http.MethodPost, "/v1/erasures", body) }
	for _, key := range []string{shopKey, contentKey} {
		if p := erase(key, `{"recipient": "ann@example.net"}`).problem(t); p.Status != 403 {
			t.Errorf("%+v", p)
		}
	}
	for _, body := range []string{`{"recipient": "ann"}`, `{"recipient": "erased-1@erased.invalid"}`} {
		if p := erase(adminKey, body).problem(t); p.Status != 400 {
			t.Errorf("%s: %+v", body, p)
		}
	}
	if r := g.do(adminKey, http.MethodPut, "/v1/legal-holds/case-1", `{"account": "shop", "reason": "a claim", "author": "legal"}`); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	g.recorded()
	if p := erase(adminKey, `{"recipient": "Ann@example.net"}`).problem(t); p.Status != 409 || p.kind() != "legal-hold" || !strings.Contains(p.Detail, "a claim (legal)") {
		t.Errorf("%+v", p)
	}
	if r := g.do(adminKey, http.MethodDelete, "/v1/legal-holds/case-1", ""); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	r := erase(adminKey, `{"recipient": "ann@example.net", "note": "request 12"}`)
	if r.status != http.StatusAccepted {
		t.Fatalf("%d %s", r.status, r.body)
	}
	var e store.Erasure
	for range 150_000 { // five minutes
		g.get(adminKey, r.header.Get("Location"), &e)
		if e.State != store.ErasureRunning {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	if e.State != store.ErasureDone || e.Counts.Deliveries != 1 || bytes.Contains(r.body, []byte("nn@example")) {
		t.Fatalf("%+v, %s", e, r.body)
	}
	var m MessageStatus
	g.get(readKey, "/v1/messages/"+id, &m)
	if m.Subject != "" || m.Deliveries[0].Recipient != e.Marker || m.Deliveries[0].State != "cancelled" {
		t.Errorf("%+v", m)
	}
	if p := g.do(contentKey, http.MethodGet, "/v1/messages/"+id+"/content", "").problem(t); p.Status != 404 || !strings.Contains(p.Detail, "erased") {
		t.Errorf("%+v", p)
	}
	var list listOf[store.Erasure]
	g.get(adminKey, "/v1/erasures", &list.Body)
	if len(list.Body.Items) != 1 || list.Body.Items[0].ID != e.ID {
		t.Errorf("%+v", list.Body.Items)
	}
	if log := fmt.Sprint(g.audited("erase"), g.audited("erase.done"), g.audited("queue.cancel")); strings.Contains(strings.ToLower(log), "ann@example.net") || !strings.Contains(log, "request 12") {
		t.Errorf("the audit log: %s", log)
	}
}

// TestResendBehind: while the record is behind it may know some of a message's recipients only. Then it goes to nobody again
// rather than to a part of them.
func TestResendBehind(t *testing.T) {
	g := newRig(t, func(o *Options) { o.Store = behind{o.Store, 0} })
	s := g.send(shopKey, `{"from":"info@shop.example","recipients":["a@example.com","b@example.com"],"text":"x"}`)
	for _, id := range []string{s.ID.String(), s.Recipients[0].Delivery.String()} {
		if p := g.do(shopKey, http.MethodPost, "/v1/messages/"+id+"/resend", `{}`).problem(t); p.kind() != "not-recorded-yet" {
			t.Errorf("%s: %+v", id, p)
		}
	}
	if a := g.do(adminKey, http.MethodPost, "/v1/messages/"+s.ID.String()+"/resend", `{"to": ["c@example.com"]}`); a.status != http.StatusAccepted {
		t.Errorf("to somebody who is named: %d %s", a.status, a.body)
	}
}
