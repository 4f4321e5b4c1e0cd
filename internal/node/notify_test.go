package node

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/notify"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// An alert reaches the operator's mailbox, and what an account sent is in its report; both on the whole platform.
func TestAlertMail(t *testing.T) {
	c := testConfig(t, testInternet(t))
	c.Alerts.MailTo = []string{"ops@mailbox.test"}
	n := start(t, c, testAccounts+testRoute)
	n.send("someone@mailbox.test")
	n.alerts.Tell(platform.Alert{Kind: "test-trouble", Scope: "route/other", Message: "something is wrong"})
	deadline := time.Now().Add(5 * time.Minute)
	for {
		if list, err := n.store.ListAlerts(t.Context(), store.AlertQuery{Kind: "test-trouble"}); err == nil && len(list) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the alert is not stored")
		}
		time.Sleep(10 * time.Millisecond)
	}
	// The service looks twice a minute; a mail handed in as it does must go out by itself.
	err := n.sendLetter(context.Background(), notify.Mail{
		Key: "k", To: []mail.Address{{Local: "ops", Domain: "mailbox.test"}}, AvoidRoute: "other",
		Content: []byte("From: Postroad <postmaster@" + n.hostname + ">\r\nTo: <ops@mailbox.test>\r\nSubject: Alert: test\r\nAuto-Submitted: auto-generated\r\n\r\nx\r\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	n.await("/v1/messages?recipient=ops@mailbox.test", func(b []byte) bool {
		return strings.Contains(string(b), `"state":"delivered"`) && strings.Contains(string(b), `"account":"postroad"`)
	})
	b := n.await("/v1/reports?period=7d&account=shop", func(b []byte) bool { return strings.Contains(string(b), `"delivered":1`) })
	var r struct {
		Totals struct{ Accepted, Delivered int64 }
	}
	if err := json.Unmarshal(b, &r); err != nil || r.Totals.Accepted != 1 || r.Totals.Delivered != 1 {
		t.Errorf("the shop's report: %s (%v)", b, err)
	}
}
