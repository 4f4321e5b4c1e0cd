package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
)

// lateReport is a DSN that says of RCPT that it failed.
func lateReport(status, diagnosis string) string {
	return `From: MAILER-DAEMON@mx.mailbox.test
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

Your mail could not be delivered.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.mailbox.test

Final-Recipient: rfc822; RCPT
Action: failed
Status: ` + status + `
Diagnostic-Code: smtp; ` + diagnosis + `

--b--
`
}

var lateUnknown = lateReport("5.1.1", "550 5.1.1 <RCPT>: user unknown")

// outOfOffice is an automatic answer that quotes what a bounce would have.
const outOfOffice = `From: RCPT
To: info@shop.test
Subject: Out of office: your mail
Auto-Submitted: auto-replied
In-Reply-To: <x@shop.test>
Content-Type: text/plain

I am on holiday until Monday. My old address gave 550 5.1.1 user unknown, please use this one.
`

// delivered sends a message that is delivered and returns the delivery.
func (r *running) delivered(to string) mail.DeliveryID {
	r.t.Helper()
	path := "/v1/messages/" + r.send(to) + "/events"
	b := r.await(path, func(b []byte) bool { return strings.Contains(string(b), `"delivered"`) })
	var list struct {
		Events []mail.Event `json:"events"`
	}
	if err := json.Unmarshal(b, &list); err != nil || len(list.Events) == 0 {
		r.t.Fatal(err, string(b))
	}
	return list.Events[0].Delivery
}

// comesBack puts a report on a delivery into the inbox and returns its id.
func (r *running) comesBack(d mail.DeliveryID, text, rcpt string) mail.ReportID {
	r.t.Helper()
	now := time.Now()
	id := mail.NewReportID(now)
	_, err := r.spool.PutInbox(context.Background(), spool.InboxEntry{
		Kind: spool.InboxReturnPath, Received: now, Raw: []byte(strings.NewReplacer("\n", "\r\n", "RCPT", rcpt).Replace(text)),
		Meta: map[string]string{spool.MetaReport: id.String(), spool.MetaRecipient: r.returnKey.ReturnPath(d, "mail.shop.test").String()},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.Received()
	return id
}

func (r *running) suppressed(address string) bool {
	r.t.Helper()
	status, b := r.request(testAdmin, http.MethodGet, "/v1/suppressions/"+address, "")
	var c struct{ Transactional bool }
	if err := json.Unmarshal(b, &c); err != nil || status != http.StatusOK {
		r.t.Fatalf("%d %s", status, b)
	}
	return c.Transactional
}

func (r *running) awaitSuppressed(address string) {
	r.t.Helper()
	r.await("/v1/suppressions/"+address, func(b []byte) bool { return strings.Contains(string(b), `"transactional":true`) })
}

// TestSuppressionLoop: from a refusal, and from a report hours later, to the list, to the next mail; over a restart; an
// automatic answer touches nothing.
func TestSuppressionLoop(t *testing.T) {
	cfg := testConfig(t, testInternet(t))
	n := start(t, cfg, testAccounts+testRoute)
	n.send("Unknown@mailbox.test")
	n.awaitSuppressed("unknown@mailbox.test")
	n.comesBack(n.delivered("late@mailbox.test"), lateUnknown, "late@mailbox.test")
	n.awaitSuppressed("late@mailbox.test")
	away := n.delivered("away@mailbox.test")
	for range 3 {
		n.comesBack(away, outOfOffice, "away@mailbox.test")
	}
	n.await("/v1/events?type=auto_replied", func(b []byte) bool { return strings.Count(string(b), `"auto_replied"`) >= 1 })
	// What comes behind the answers has been acted on: so have they.
	n.comesBack(n.delivered("last@mailbox.test"), lateUnknown, "last@mailbox.test")
	n.awaitSuppressed("last@mailbox.test")
	if n.suppressed("away@mailbox.test") {
		t.Error("an automatic answer suppresses")
	}
	if fs, err := n.store.FailuresOf(context.Background(), "shop", "away@mailbox.test"); err != nil || len(fs) != 0 {
		t.Errorf("an automatic answer is counted: %v, %v", fs, err)
	}
	again := func() {
		t.Helper()
		for _, to := range []string{"unknown@mailbox.test", "LATE@mailbox.test"} {
			path := "/v1/messages/" + n.send(to) + "/events"
			b := n.await(path, func(b []byte) bool { return strings.Contains(string(b), `"suppressed"`) })
			if !strings.Contains(string(b), "invalid-recipient: 550 5.1.1") || strings.Contains(string(b), `"attempt"`) {
				t.Errorf("%s: %s", to, b)
			}
		}
	}
	again()
	n.stop()
	n = start(t, cfg, "")
	again()
	if n.suppressed("away@mailbox.test") {
		t.Error("suppressed after a restart")
	}
	var audit struct {
		Items []struct{ Action, Actor, Name string } `json:"items"`
	}
	_, b := n.request(testAdmin, http.MethodGet, "/v1/audit?kind=suppression", "")
	if err := json.Unmarshal(b, &audit); err != nil || len(audit.Items) != 3 || audit.Items[0].Actor != "automatic" {
		t.Errorf("audit: %s", b)
	}
}

// TestSuppressedAtPickup: mail that waits when its address comes on the list is not sent; mail of the other stream is.
func TestSuppressedAtPickup(t *testing.T) {
	n := start(t, testConfig(t, testInternet(t)), testAccounts+testRoute)
	if status, b := n.request(testAdmin, http.MethodPut, "/v1/holds/wait", `{"domain":"mailbox.test","reason":"test"}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, b)
	}
	waits := n.send("waits@mailbox.test")
	bulk := n.send("bulk@mailbox.test")
	n.await("/v1/messages/"+bulk, func(b []byte) bool { return strings.Contains(string(b), `"held"`) })
	body := `{"account":"shop","suppressions":[{"address":"waits@mailbox.test","reason":"asked by phone"},{"address":"bulk@mailbox.test","stream":"bulk"}]}`
	if status, b := n.request(testAdmin, http.MethodPost, "/v1/suppressions", body); status != http.StatusCreated {
		t.Fatalf("%d %s", status, b)
	}
	if status, b := n.request(testAdmin, http.MethodDelete, "/v1/holds/wait", ""); status >= 300 {
		t.Fatalf("%d %s", status, b)
	}
	b := n.await("/v1/messages/"+waits+"/events", func(b []byte) bool { return strings.Contains(string(b), `"suppressed"`) })
	if !strings.Contains(string(b), "asked by phone") || strings.Contains(string(b), `"attempt"`) {
		t.Errorf("%s", b)
	}
	n.await("/v1/messages/"+bulk+"/events", func(b []byte) bool { return strings.Contains(string(b), `"delivered"`) })
}

// TestMassFalseBounces: a receiver calls everybody unknown, one after the other. Few come on the list before it is doubted, none
// after, and the command of the alert takes those off again; who complained meanwhile stays.
func TestMassFalseBounces(t *testing.T) {
	n := start(t, testConfig(t, testInternet(t)), testAccounts+testRoute)
	if status, b := n.request(testAdmin, http.MethodPost, "/v1/suppressions", `{"account":"shop","suppressions":[{"address":"cross@mailbox.test","class":"complaint"}]}`); status != http.StatusCreated {
		t.Fatalf("%d %s", status, b)
	}
	to := func(i int) string { return fmt.Sprintf("unknown+%d@mailbox.test", i) }
	last := ""
	for i := range 300 {
		last = n.send(to(i))
	}
	n.await("/v1/messages/"+last, func(b []byte) bool { return strings.Contains(string(b), `"bounced"`) })
	for deadline, bounced := time.Now().Add(5*time.Minute), 0; bounced < 300; {
		if time.Now().After(deadline) {
			t.Fatalf("%d have bounced", bounced)
		}
		bounced = 0
		for cursor := ""; ; { // pages are short where searching takes its time
			var page struct {
				Deliveries []struct{ State string }
				Next       string
			}
			b := n.await("/v1/messages?state=bounced&max=1000&cursor="+cursor, func([]byte) bool { return true })
			if err := json.Unmarshal(b, &page); err != nil {
				t.Fatal(err)
			}
			bounced += len(page.Deliveries)
			if cursor = page.Next; cursor == "" {
				break
			}
		}
	}
	var alerts struct {
		Items []struct{ Kind, Scope, Message string } `json:"items"`
	}
	b := n.await("/v1/alerts", func(b []byte) bool { return strings.Contains(string(b), "suppress undo") })
	if err := json.Unmarshal(b, &alerts); err != nil || len(alerts.Items) != 1 {
		t.Fatalf("%v: %s", err, b)
	}
	counted := func(want uint64) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Minute); n.actor.Stats().Counted < want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%+v, want %d", n.actor.Stats(), want)
			}
		}
	}
	counted(300)
	st := n.actor.Stats()
	if st.Suppressed > 100 || st.Guarded != 1 {
		t.Errorf("%+v of 300 who were called unknown by mistake", st)
	}
	// postroad suppress undo --receiver R --class invalid-recipient --since T
	_, command, _ := strings.Cut(alerts.Items[0].Message, "postroad suppress undo ")
	words := strings.Fields(command)
	if len(words) != 6 || words[0] != "--receiver" || words[2] != "--class" || words[4] != "--since" {
		t.Fatalf("the alert says %q", command)
	}
	undo := fmt.Sprintf(`{"receiver":%q,"class":%q,"since":%q}`, words[1], words[3], words[5])
	var out struct{ Count uint64 }
	if status, b := n.request(testAdmin, http.MethodPost, "/v1/suppressions/undo", undo); status != http.StatusOK || json.Unmarshal(b, &out) != nil || out.Count != st.Suppressed {
		t.Fatalf("%d %s, want %d", status, b, st.Suppressed)
	}
	if _, b := n.request(testAdmin, http.MethodGet, "/v1/suppressions?account=shop", ""); strings.Count(string(b), `"address"`) != 1 || !strings.Contains(string(b), "cross@mailbox.test") {
		t.Errorf("on the list are %s", b)
	}
	again := n.send(to(0))
	n.await("/v1/messages/"+again, func(b []byte) bool { return strings.Contains(string(b), `"bounced"`) }) // tried, not suppressed
	counted(301)
	if n.suppressed(strings.Replace(to(0), "+", "%2B", 1)) {
		t.Error("suppressed again while the receiver is doubted")
	}
}
