//go:build interop

package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/test/rig"
)

// Whole loops with programs that write their own reports. What other platforms are known to get wrong, and what shows here
// that we do not:
//
//   - late bounces that never reach the suppression list or the customer: late (Postfix's and Exim's own reports)
//   - a report about several recipients of which some are lost: lateTwo; report.TestDefectThreeRecipientsMiddleExpanded,
//     node.TestWhatComesBack (three-failed, three-relayed)
//   - out of office taken for a bounce, the more when it quotes our message: vacation; report.TestDefectAutoReplyQuotesOurMessage,
//     node.TestWhatComesBack (out-of-office)
//   - Auto-Submitted taken for an auto-reply: late (both programs write it on bounces); report.TestAutoSubmittedAloneDecidesNothing
//   - a delay taken for a failure: delayed
//   - relayed mail called delivered: success
//   - bounces that an ISP sends to the sender's own address: bounceMailbox; those it has cut our fields out of: match
//   - people who write by SMTP and never hear of a failure, or twice, or in a form their program cannot read: notices
//   - complaints without recipient and body that are not attributed: report.TestDefectComplaintWithoutRecipientAndBody,
//     node.TestWhatComesBack (redacted-complaint)
//   - an address that is suppressed because our source is on a blocklist: bounce.TestDefectBlocklistNeverSuppresses,
//     queue.TestReputationRefusal
//   - events lost while the customer's receiver is down: webhook.TestReceiverDownForADay

// hookReceiver is the shop's own web server.
type hookReceiver struct {
	url string

	mu     sync.Mutex
	bodies [][]byte
}

func newHookReceiver(t *testing.T) *hookReceiver {
	h := &hookReceiver{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("webhook-id") == "" || r.Header.Get("webhook-signature") == "" {
			http.Error(w, "no webhook", http.StatusBadRequest)
			return
		}
		h.mu.Lock()
		h.bodies = append(h.bodies, b)
		h.mu.Unlock()
	}))
	t.Cleanup(s.Close)
	h.url = s.URL + "/events"
	return h
}

// count returns how many calls told of an event of a delivery.
func (h *hookReceiver) count(e mail.EventType, id mail.DeliveryID) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.bodies {
		if bytes.Contains(b, []byte(`"`+string(e)+`"`)) && bytes.Contains(b, []byte(id.String())) {
			n++
		}
	}
	return n
}

// feedbackState is what the shop's account has besides: a webhook, and the mailbox its gateway's bounces go to.
func (w *world) feedbackState(t *testing.T) string {
	ca, err := os.ReadFile(w.ca.File)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(w.imap, ":")
	return fmt.Sprintf(`
  [[accounts.webhooks]]
  name = "events"
  url = %q

  [[accounts.mailboxes]]
  name = "orders"
  host = "localhost"
  port = %s
  tls = "verify"
  username = %q
  password = %q
  ca = '''
%s'''
`, w.hooks.url, port, sender, mailboxPass, ca)
}

func (w *world) feedback(t *testing.T) {
	for _, domain := range []string{"postfix.test", "exim.test"} {
		t.Run("late bounce of "+domain, func(t *testing.T) {
			t.Parallel()
			w.late(t, domain)
		})
	}
	t.Run("two at once", func(t *testing.T) {
		t.Parallel()
		w.lateTwo(t)
	})
	t.Run("delayed", func(t *testing.T) {
		t.Parallel()
		w.delayed(t)
	})
	t.Run("success", func(t *testing.T) {
		t.Parallel()
		w.success(t)
	})
	t.Run("vacation", func(t *testing.T) {
		t.Parallel()
		w.vacation(t)
	})
	t.Run("bounce mailbox", func(t *testing.T) {
		t.Parallel()
		w.bounceMailbox(t)
	})
	t.Run("match", func(t *testing.T) {
		t.Parallel()
		w.match(t)
	})
	t.Run("notices", func(t *testing.T) {
		t.Parallel()
		w.notices(t)
	})
}

// told waits until the timeline of a delivery has an event that a report brought.
func (w *world) told(t *testing.T, id mail.DeliveryID, what mail.EventType) *mail.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var found *mail.Event
	err := rig.Poll(ctx, 50*time.Millisecond, func() bool {
		events, err := w.Timeline(ctx, id)
		if err != nil {
			return false
		}
		for _, e := range events {
			if e.Type == what && e.Report != nil {
				found = e
			}
		}
		return found != nil
	})
	if err != nil {
		var list json.RawMessage
		_ = w.Client().Do(t.Context(), http.MethodGet, "/v1/feedback", nil, nil, &list)
		t.Fatalf("no report brought %s: %v\n%s\nreports: %s", what, err, w.story(t, id), list)
	}
	return found
}

// taken waits until a message was taken by its first receiver, and returns the delivery.
func (w *world) taken(t *testing.T, id mail.MessageID, rcpt string) rig.Delivery {
	t.Helper()
	d, ok := w.fate(t, id)[rcpt]
	if !ok {
		t.Fatalf("message %s has no delivery to %s", id, rcpt)
	}
	return d
}

// late: a receiver takes the mail and finds out afterwards that it cannot be delivered. Its report makes the delivery
// bounced, puts the address on the suppression list and is told by webhook, once.
func (w *world) late(t *testing.T, domain string) {
	rcpt := "late@" + domain
	d := w.taken(t, w.submit(t, message{subject: "late at " + domain}, rcpt), rcpt)
	e := w.told(t, d.ID, mail.EventBounced)
	if !e.Late || e.Class != mail.ClassInvalidRecipient || e.Report.Door != spool.InboxReturnPath || e.Report.Evidence != mail.EvidenceToken || e.Recipient != rcpt {
		t.Errorf("event %+v of report %+v", e, e.Report)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := rig.Poll(ctx, 50*time.Millisecond, func() bool { return w.hooks.count(mail.EventBounced, d.ID) > 0 }); err != nil {
		t.Errorf("the webhook was not called: %v", err)
	}
	// The next message to it is not sent. The list is kept behind the events.
	for n := 0; ; n++ {
		next := w.fate(t, w.submit(t, message{subject: fmt.Sprintf("again %d to %s", n, domain)}, rcpt))[rcpt]
		if next.State == "suppressed" {
			break
		}
		if n == 120 {
			t.Fatalf("after a late bounce the next message was %s\n%s", next.State, w.story(t, next.ID))
		}
		time.Sleep(250 * time.Millisecond)
	}
	if n := w.hooks.count(mail.EventBounced, d.ID); n != 1 {
		t.Errorf("the webhook was told %d times", n)
	}
}

// lateTwo: one transaction, two recipients that fail behind the receiver, which may write one report about both.
func (w *world) lateTwo(t *testing.T) {
	rcpts := []string{"late-one@postfix.test", "fine@postfix.test", "late-two@postfix.test"}
	ds := w.fate(t, w.submit(t, message{subject: "two are late"}, rcpts...))
	for _, rcpt := range rcpts {
		if rcpt == "fine@postfix.test" {
			if ds[rcpt].State != "delivered" {
				t.Errorf("%s is %s", rcpt, ds[rcpt].State)
			}
			continue
		}
		if e := w.told(t, ds[rcpt].ID, mail.EventBounced); e.Recipient != rcpt || !e.Late {
			t.Errorf("event %+v", e)
		}
	}
}

// delayed: the receiver warns that it still tries. That is no failure, and the mail arrives.
func (w *world) delayed(t *testing.T) {
	rcpt := "slow@postfix.test"
	d := w.taken(t, w.submit(t, message{subject: "slow behind postfix"}, rcpt), rcpt)
	e := w.told(t, d.ID, mail.EventDeferred)
	if e.Report.Kind != string(report.Delay) {
		t.Errorf("report %+v", e.Report)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w.sink.Await(ctx, t, rcpt)
}

// success: a gateway is asked for success reports; by its report relayed becomes delivered.
func (w *world) success(t *testing.T) {
	rcpt := "user@success.via.test"
	id := w.submit(t, message{subject: "reported success"}, rcpt)
	d := w.taken(t, id, rcpt)
	if e := w.told(t, d.ID, mail.EventDelivered); e.Report.Kind != string(report.Delivered) || e.Report.Evidence != mail.EvidenceToken {
		t.Errorf("report %+v", e.Report)
	}
	if d := w.fate(t, id)[rcpt]; d.State != "delivered" {
		t.Errorf("the delivery is %s", d.State)
	}
}

// vacation: Pigeonhole answers the message. Nothing has failed, the address stays good, and whoever wrote by SMTP gets the
// answer.
func (w *world) vacation(t *testing.T) {
	rcpt := "away@dove.test"
	id := w.submit(t, message{subject: "are you there"}, rcpt)
	d := w.taken(t, id, rcpt)
	if e := w.told(t, d.ID, mail.EventAutoReplied); e.Report.Kind != string(report.AutoReply) || e.Class != "" {
		t.Errorf("event %+v, report %+v", e, e.Report)
	}
	if d := w.fate(t, id)[rcpt]; d.State != "delivered" {
		t.Errorf("the delivery is %s", d.State)
	}
	if d := w.taken(t, w.submit(t, message{subject: "still there"}, rcpt), rcpt); d.State != "delivered" {
		t.Errorf("the next message is %s", d.State)
	}
	w.submitSMTP(t, message{subject: "are you there by smtp"}, "away2@dove.test", "")
	got := w.inMailbox(t, sender, "Automatic reply:", "away2@dove.test")
	if !bytes.Contains(got, []byte("I am away until Monday")) || !bytes.Contains(got, []byte("message/rfc822")) {
		t.Errorf("the answer was passed on as\n%s", got)
	}
}

// bounceMailbox: a gateway that insists on the sender's own address returns the mail there; Dovecot has the mailbox, and it
// is read.
func (w *world) bounceMailbox(t *testing.T) {
	rcpt := "late@plain.via.test"
	id := w.submit(t, message{subject: "returned to the sender"}, rcpt)
	d := w.taken(t, id, rcpt)
	if d.State != "relayed" {
		t.Fatalf("it is %s\n%s", d.State, w.story(t, d.ID))
	}
	e := w.told(t, d.ID, mail.EventBounced)
	if !e.Late || e.Class != mail.ClassInvalidRecipient || e.Report.Door != spool.InboxIMAP || e.Report.Evidence != mail.EvidenceHeader && e.Report.Evidence != mail.EvidenceMatch {
		t.Errorf("event %+v of report %+v", e, e.Report)
	}
	// The mail is there still, and seen: Maildir says so in the file's name.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := rig.Poll(ctx, 100*time.Millisecond, func() bool {
		files, _ := filepath.Glob(filepath.Join(w.mailbox, sender, "Maildir", "cur", "*:2,*S*"))
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte("returned-to-the-sender@shop.test")) {
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Error("the report was not marked as seen")
	}
}

// ispBounce is what an ISP writes that takes everything out of what it returns but what its own programs need.
func ispBounce(to, returned string) string {
	return strings.ReplaceAll(`From: Mail Delivery System <MAILER-DAEMON@isp.test>
To: `+sender+`
Subject: Undelivered Mail Returned to Sender
Date: `+time.Now().Format(time.RFC1123Z)+`
Message-ID: <`+mail.NewReportID(time.Now()).String()+`@isp.test>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="isp"

--isp
Content-Type: text/plain

Your message could not be delivered.

--isp
Content-Type: message/delivery-status

Reporting-MTA: dns; smarthost.isp.test

Final-Recipient: rfc822; `+to+`
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 User unknown

--isp
Content-Type: text/rfc822-headers

`+returned+`
--isp--
`, "\n", "\r\n")
}

// intoMailbox delivers a mail into the mailbox of the sender, as the last host does.
func (w *world) intoMailbox(t *testing.T, raw string) {
	t.Helper()
	nc, err := net.Dial("tcp", w.lmtp)
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClientLMTP(nc)
	defer c.Close()
	if err := c.SendMail("", []string{sender}, strings.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
}

// match: bounces in the account's own mailbox that hold nothing of ours. By their Message-ID, or by recipient and subject, one
// delivery fits, and bounces. The first suppresses nobody; the second, of another message, does. One that fits two
// deliveries, and one about nobody this account has written to, change nothing.
func (w *world) match(t *testing.T) {
	const rcpt = "gone@plain.via.test"
	send := func(m message) rig.Delivery {
		t.Helper()
		d := w.taken(t, w.submit(t, m, rcpt), rcpt)
		if d.State != "relayed" {
			t.Fatalf("%q is %s\n%s", m.subject, d.State, w.story(t, d.ID))
		}
		return d
	}
	bounced := func(d rig.Delivery) {
		t.Helper()
		e := w.told(t, d.ID, mail.EventBounced)
		if !e.Late || e.Class != mail.ClassInvalidRecipient || e.Report.Door != spool.InboxIMAP || e.Report.Evidence != mail.EvidenceMatch {
			t.Errorf("event %+v of report %+v", e, e.Report)
		}
	}
	first, twice := message{subject: "matched by its id"}, message{subject: "sent twice"}
	d, a := send(first), send(twice)
	twice.headers = "X-Second: yes\n"
	b := send(twice)
	w.intoMailbox(t, ispBounce(rcpt, "Subject: "+twice.subject+"\n"))
	w.intoMailbox(t, ispBounce("stranger@elsewhere.test", "Subject: what others sent\n"))
	w.intoMailbox(t, ispBounce(rcpt, "Message-ID: <"+first.id()+">\nSubject: "+first.subject+"\n"))
	bounced(d)
	second := message{subject: "matched by its subject"}
	e := send(second) // not suppressed
	w.intoMailbox(t, ispBounce(rcpt, "Subject: "+second.subject+"\n"))
	bounced(e)
	for n := 0; ; n++ {
		next := w.fate(t, w.submit(t, message{subject: fmt.Sprintf("after two matches %d", n)}, rcpt))[rcpt]
		if next.State == "suppressed" {
			break
		}
		if n == 120 {
			t.Fatalf("after two reports that matched the next message was %s\n%s", next.State, w.story(t, next.ID))
		}
		time.Sleep(250 * time.Millisecond)
	}
	for _, d := range []rig.Delivery{a, b} {
		events, err := w.Timeline(t.Context(), d.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Report != nil {
				t.Errorf("a report that fits two deliveries was counted for one: %+v", e)
			}
		}
	}
	why := ""
	for q := (url.Values{"outcome": {"unknown"}, "door": {spool.InboxIMAP}}); ; { // a page ends early on a slow machine
		var page struct {
			Reports []struct{ Why string } `json:"reports"`
			Next    string                 `json:"next"`
		}
		if err := w.Client().Do(t.Context(), http.MethodGet, "/v1/feedback", q, nil, &page); err != nil {
			t.Fatal(err)
		}
		why += fmt.Sprint(page.Reports)
		if page.Next == "" {
			break
		}
		q.Set("cursor", page.Next)
	}
	if !strings.Contains(why, "2 deliveries to "+rcpt) || !strings.Contains(why, "no delivery of this account to stranger@elsewhere.test") {
		t.Errorf("unknown reports: %s", why)
	}
}

// submitSMTP hands a message in as a mail program does, and returns its one delivery.
func (w *world) submitSMTP(t *testing.T, m message, to string, notify smtp.DSNNotify) rig.Delivery {
	t.Helper()
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(w.ca.File)
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		t.Fatal(err)
	}
	c, err := smtp.DialStartTLS(w.SMTP, &tls.Config{RootCAs: roots, ServerName: hostname})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	options := &smtp.RcptOptions{}
	if notify != "" {
		options.Notify = []smtp.DSNNotify{notify}
		options.OriginalRecipientType, options.OriginalRecipient = smtp.DSNAddressTypeRFC822, "first+"+to
	}
	if err := c.Auth(sasl.NewPlainClient("", login, password)); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail(sender, &smtp.MailOptions{EnvelopeID: "ENV=" + strings.Fields(m.subject)[0]}); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt(to, options); err != nil {
		t.Fatal(err)
	}
	data, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	_, err = data.Write(m.text(to))
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var list []rig.Delivery
	if err := rig.Poll(ctx, 50*time.Millisecond, func() bool {
		list = w.search(t, url.Values{"message_id": {m.id()}})
		return len(list) > 0
	}); err != nil {
		t.Fatalf("the message is not in the record: %v", err)
	}
	return list[0]
}

// noticePatience is how long a notice may take: others, of several recipients, are waited for before it.
const noticePatience = 4 * time.Minute

// inMailbox waits for a mail with all of the words in the Maildir of an address.
func (w *world) inMailbox(t *testing.T, address string, words ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), noticePatience)
	defer cancel()
	var got []byte
	err := rig.Poll(ctx, 100*time.Millisecond, func() bool {
		files, _ := filepath.Glob(filepath.Join(w.mailbox, address, "Maildir", "*", "*"))
	next:
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				continue // it moves from new to cur
			}
			for _, word := range words {
				if !bytes.Contains(b, []byte(word)) {
					continue next
				}
			}
			got = b
			return true
		}
		return false
	})
	if err != nil {
		t.Fatalf("no mail to %s has %q: %v", address, words, err)
	}
	return got
}

// pythonReport prints what Python's mail package reads of a delivery status notification.
const pythonReport = `
import email, email.policy, json, sys
m = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
defects = [repr(d) for p in m.walk() for d in p.defects]
parts = list(m.iter_parts())
status = [{k.lower(): str(v) for k, v in block.items()} for block in parts[1].get_payload()]
print(json.dumps({"type": m.get_content_type(), "param": m.get_param("report-type"), "auto": m["Auto-Submitted"], "subject": m["Subject"],
  "from": m["From"], "to": m["To"], "path": m["Return-Path"], "reply": m["In-Reply-To"], "defects": defects, "parts": [p.get_content_type() for p in parts],
  "text": parts[0].get_content(), "status": status, "original": parts[2].get_content()}))
`

// notices: somebody who sends by SMTP is told of a failure at once and later, of a success where asked, and of nothing where
// nothing is wanted; Postfix and Dovecot carry the notice, and Python reads it.
func (w *world) notices(t *testing.T) {
	never := w.submitSMTP(t, message{subject: "never tell"}, "unknown-untold@exim.test", smtp.DSNNotifyNever)
	w.submitSMTP(t, message{subject: "tell success"}, "notify@exim.test", smtp.DSNNotifySuccess)
	w.submitSMTP(t, message{subject: "tell late failure"}, "late-notice@postfix.test", "")
	d := w.submitSMTP(t, message{subject: "tell failure Grüße"}, "unknown-told@postfix.test", smtp.DSNNotifyFailure)
	raw := w.inMailbox(t, sender, report.NoticeField+": bounce", "tell-failure-Gr")

	cmd := exec.Command("python3", "-c", pythonReport)
	cmd.Stdin = bytes.NewReader(raw)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, raw)
	}
	var r struct {
		Type, Param, Auto, Subject, From, To, Path, Reply, Text, Original string
		Defects, Parts                                                    []string
		Status                                                            []map[string]string
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(r.Defects) > 0 || r.Type != "multipart/report" || r.Param != "delivery-status" || r.Auto != "auto-replied" || r.To != sender || r.Path != "<>" ||
		strings.Join(r.Parts, " ") != "text/plain message/delivery-status text/rfc822-headers" {
		t.Errorf("read as %s\n%s", out, raw)
	}
	if !strings.Contains(r.Subject, "tell failure Grüße") || !strings.Contains(r.Text, "unknown-told@postfix.test") || !strings.Contains(r.Text, "no mailbox of that name") {
		t.Errorf("subject %q, text\n%s", r.Subject, r.Text)
	}
	if len(r.Status) != 2 {
		t.Fatalf("status %v", r.Status)
	}
	for name, want := range map[string]string{"reporting-mta": "dns; " + hostname, "original-envelope-id": "ENV=tell"} {
		if got := r.Status[0][name]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"final-recipient": "rfc822; unknown-told@postfix.test", "original-recipient": "rfc822; first+unknown-told@postfix.test", "action": "failed",
		"remote-mta": "dns; mx.postfix.test",
	} {
		if got := r.Status[1][name]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !strings.HasPrefix(r.Status[1]["status"], "5.") || !strings.HasPrefix(r.Status[1]["diagnostic-code"], "smtp; 550") {
		t.Errorf("status %v", r.Status[1])
	}
	if d := w.fate(t, d.Message)["unknown-told@postfix.test"]; d.State != "bounced" {
		t.Errorf("the delivery is %s", d.State)
	}

	late := w.inMailbox(t, sender, report.NoticeField+": bounce", "tell-late-failure@shop.test")
	if !bytes.Contains(late, []byte("came back later")) || !bytes.Contains(late, []byte("late-notice@postfix.test")) {
		t.Errorf("late notice:\n%s", late)
	}
	w.inMailbox(t, sender, report.NoticeField+": delivered", "tell-success@shop.test")
	// The order of events is the order of notices: had there been one it would be there.
	if d := w.fate(t, never.Message)["unknown-untold@exim.test"]; d.State != "bounced" {
		t.Errorf("the delivery is %s", d.State)
	}
	files, err := filepath.Glob(filepath.Join(w.mailbox, sender, "Maildir", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]int{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(b, []byte(report.NoticeField+":")) {
			continue
		}
		for _, id := range []string{"never-tell", "tell-late-failure", "tell-success"} {
			if bytes.Contains(b, []byte(id+"@shop.test")) {
				told[id]++
			}
		}
	}
	if told["never-tell"] != 0 || told["tell-late-failure"] != 1 || told["tell-success"] != 1 {
		t.Errorf("told %v", told)
	}
}
