package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/feedback"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

const someReport = "From: MAILER-DAEMON@mx.example.net\r\nSubject: Undelivered mail\r\nAuto-Submitted: auto-replied\r\n\r\n" +
	"Your message could not be delivered.\r\n\r\n<user@example.com>: 550 5.1.1 User unknown\r\n"

// readReports reads what is in the inbox, once.
func readReports(t *testing.T, g *rig) {
	t.Helper()
	r, err := feedback.New(feedback.Options{Inbox: g.spool, Store: g.store})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for begun := time.Now(); g.spool.Counts().Inbox > 0 && time.Since(begun) < 5*time.Minute; {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestFeedback: a report that is handed in is on disk with the 202, and can be read by whom it concerns once it has been
// looked at.
func TestFeedback(t *testing.T) {
	told := 0
	g := newRig(t, func(o *Options) { o.Received = func() { told++ } })
	a := g.do(shopKey, http.MethodPost, "/v1/feedback?recipient=bounces@shop.example", someReport, "Content-Type", "message/rfc822")
	var made struct{ ID string }
	if err := json.Unmarshal(a.body, &made); err != nil || a.status != http.StatusAccepted || a.header.Get("Location") != "/v1/feedback/"+made.ID {
		t.Fatalf("%d %s, Location %q", a.status, a.body, a.header.Get("Location"))
	}
	if n := g.spool.Counts().Inbox; n != 1 || told != 1 {
		t.Fatalf("%d in the inbox, told %d times", n, told)
	}
	if a := g.do(shopKey, http.MethodGet, "/v1/feedback/"+made.ID, ""); a.status != http.StatusNotFound || !strings.Contains(a.problem(t).Detail, "not read yet") {
		t.Errorf("before it is read: %d %s", a.status, a.body)
	}
	list, err := g.spool.ReadInbox(t.Context(), 0, 10)
	if err != nil || list[0].Kind != spool.InboxAPI || list[0].Meta[spool.MetaAccount] != "shop" || list[0].Meta[spool.MetaRecipient] != "bounces@shop.example" || list[0].Meta[spool.MetaClient] == "" {
		t.Fatalf("entry %+v, %v", list, err)
	}
	readReports(t, g)
	for key, want := range map[string]int{shopKey: 200, readKey: 200, adminKey: 200, rivalKey: 404, sendKey: 403} {
		if a := g.do(key, http.MethodGet, "/v1/feedback/"+made.ID, ""); a.status != want {
			t.Errorf("%s: %d %s, want %d", key, a.status, a.body, want)
		}
	}
	var r store.StoredReport
	a = g.do(readKey, http.MethodGet, "/v1/feedback/"+made.ID, "")
	if err := json.Unmarshal(a.body, &r); err != nil || r.Kind != "bounce" || r.Outcome != store.ReportUnknown || r.Why == "" || r.Recipients[0].Class != mail.ClassInvalidRecipient {
		t.Errorf("%v: %s", err, a.body)
	}
	a = g.do(adminKey, http.MethodGet, "/v1/feedback/"+made.ID+"/raw", "")
	if a.status != http.StatusOK || string(a.body) != someReport || a.header.Get("Content-Type") != "message/rfc822" {
		t.Errorf("raw: %d %q, %s", a.status, a.body, a.header.Get("Content-Type"))
	}
	if a := g.do(readKey, http.MethodGet, "/v1/feedback/"+made.ID+"/raw", ""); a.status != http.StatusForbidden {
		t.Errorf("raw without the scope: %d", a.status)
	}
	for path, want := range map[string]int{
		"?kind=bounce": 1, "?kind=complaint": 0, "?outcome=unknown&door=api": 1, "?text=user@EXAMPLE": 1, "?text=nobody": 0,
		"?delivery=" + mail.NewDeliveryID(time.Now()).String(): 0, "?from=2030-01-01T00:00:00Z": 0,
	} {
		a := g.do(readKey, http.MethodGet, "/v1/feedback"+path, "")
		var page struct{ Reports []store.StoredReport }
		if err := json.Unmarshal(a.body, &page); err != nil || a.status != http.StatusOK || len(page.Reports) != want {
			t.Errorf("%s: %d %s, want %d reports", path, a.status, a.body, want)
		}
	}
	if a := g.do(rivalKey, http.MethodGet, "/v1/feedback", ""); string(a.body) != `{"reports":[]}`+"\n" {
		t.Errorf("another account sees %s", a.body)
	}
}

func TestFeedbackRefused(t *testing.T) {
	g := newRig(t, nil)
	mailType := []string{"Content-Type", "message/rfc822"}
	for name, test := range map[string]struct {
		key, path, body string
		header          []string
		status          int
	}{
		"no key":        {"", "", someReport, mailType, http.StatusUnauthorized},
		"read key":      {readKey, "", someReport, mailType, http.StatusForbidden},
		"empty":         {shopKey, "", "", mailType, http.StatusBadRequest},
		"no mail":       {shopKey, "", "\x00\x01 hello\n", mailType, http.StatusBadRequest},
		"bad recipient": {shopKey, "?recipient=nobody", someReport, mailType, http.StatusBadRequest},
		"no account":    {adminKey, "", someReport, append([]string{AccountHeader, "nobody"}, mailType...), http.StatusNotFound},
	} {
		a := g.do(test.key, http.MethodPost, "/v1/feedback"+test.path, test.body, test.header...)
		if a.status != test.status {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, test.status)
			continue
		}
		a.problem(t)
	}
	if n := g.spool.Counts().Inbox; n != 0 {
		t.Errorf("%d in the inbox", n)
	}
	// One that is too long to keep is taken, and loses its middle.
	long := someReport + strings.Repeat(strings.Repeat("x", 78)+"\r\n", spool.MaxReport/79) + "The end.\r\n"
	if a := g.do(shopKey, http.MethodPost, "/v1/feedback", long, mailType...); a.status != http.StatusAccepted {
		t.Errorf("a long one: %d %s", a.status, a.body)
	}
	list, err := g.spool.ReadInbox(t.Context(), 0, 2)
	if err != nil || len(list) != 1 {
		t.Fatal(len(list), err)
	}
	e := list[0]
	cut, err := strconv.Atoi(e.Meta[spool.MetaTruncated])
	if err != nil || len(e.Raw) > spool.MaxReport || cut < len(long)-spool.MaxReport || !strings.HasPrefix(string(e.Raw), someReport) || !strings.HasSuffix(string(e.Raw), "The end.\r\n") {
		t.Errorf("of %d octets %d are kept, %d cut: %v", len(long), len(e.Raw), cut, err)
	}
	for path, want := range map[string]int{
		"/v1/feedback/rpt_x": 400, "/v1/feedback?cursor=x": 400, "/v1/feedback?delivery=x": 400, "/v1/feedback?account=rival": 403, "/v1/mailbox": 403,
	} {
		if a := g.do(shopKey, http.MethodGet, path, ""); a.status != want {
			t.Errorf("%s: %d %s, want %d", path, a.status, a.body, want)
		}
	}
}

// TestMailbox: mail to the operator is his alone.
func TestMailbox(t *testing.T) {
	g := newRig(t, nil)
	for _, rcpt := range []string{"postmaster@mail.example", "abuse@mail.example"} {
		now := time.Now()
		id := mail.NewReportID(now)
		_, err := g.spool.PutInbox(t.Context(), spool.InboxEntry{
			Kind: spool.InboxReturnPath, Received: now, Raw: []byte("From: Asker <asker@example.net>\r\nSubject: A question\r\n\r\nWho are you?\r\n"),
			Meta: map[string]string{spool.MetaReport: id.String(), spool.MetaRecipient: rcpt},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	readReports(t, g)
	for path, want := range map[string]int{"": 2, "?mailbox=Abuse": 1, "?text=question": 2, "?text=nothing": 0, "?mailbox=fbl": 0} {
		a := g.do(adminKey, http.MethodGet, "/v1/mailbox"+path, "")
		var page struct{ Reports []store.StoredReport }
		if err := json.Unmarshal(a.body, &page); err != nil || a.status != http.StatusOK || len(page.Reports) != want {
			t.Errorf("%s: %d %s, want %d", path, a.status, a.body, want)
			continue
		}
		for _, r := range page.Reports {
			if a := g.do(shopKey, http.MethodGet, "/v1/feedback/"+r.ID.String(), ""); a.status != http.StatusNotFound {
				t.Errorf("an account reads the operator's mail: %d", a.status)
			}
		}
	}
}
