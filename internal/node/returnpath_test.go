package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/practice"
	"github.com/postroad/postroad/internal/store"
)

// The whole loop: mail goes out to the practice internet, which takes it and sends a report through MX and the listener;
// what follows stands in the timeline of exactly the delivery it is about.
func TestWhatComesBack(t *testing.T) {
	shop, shopRecord := newKey(t, true)
	own, ownRecord := newKey(t, true)
	internet, err := practice.Start(context.Background(), practice.Options{ReportDelay: 50 * time.Millisecond, Records: []string{
		fmt.Sprintf("s1._domainkey.shop.test. TXT %q", shopRecord), `mx1.mailbox.test. TXT "v=spf1 a ip4:127.0.0.1 -all"`, fmt.Sprintf("p1._domainkey.mail.shop.test. TXT %q", ownRecord),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { internet.Close() })
	key := func(selector, private string) string {
		return fmt.Sprintf("    [[accounts.senders.keys]]\n    selector = %q\n    algorithm = \"ed25519\"\n    active = true\n    private_key = '''\n%s'''\n", selector, private)
	}
	state := strings.Replace(testAccounts, "  name = \"shop.test\"\n  verified = true\n", "  name = \"shop.test\"\n  verified = true\n"+key("s1", shop), 1)
	state += "[[accounts]]\nname = \"postroad\"\n  [[accounts.senders]]\n  name = \"mail.shop.test\"\n  verified = true\n" + key("p1", own)
	n := start(t, testConfig(t, internet), state+testRoute)
	if err := internet.AddHome("mail.shop.test", n.Addrs("return-path")[0].(*net.TCPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	ids, letters := map[string]string{}, 0
	var samples []practice.Sample
	for _, s := range internet.Samples() {
		if s.Letters == 0 {
			continue
		}
		samples = append(samples, s)
		letters += s.Letters
		ids[s.Name] = n.send(s.Recipient)
	}
	if len(samples) < 12 {
		t.Fatalf("%d samples bring a report", len(samples))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := internet.Wait(ctx, func() bool { c := internet.Counters(); return c.Reports+c.ReportsLost == int64(letters) }); err != nil {
		t.Fatalf("%v; %d letters are to come, sent %+v", err, letters, internet.Reports())
	}
	for _, r := range internet.Reports() {
		if refused := r.Err != nil && strings.Contains(r.Err.Error(), "550"); refused != (r.Kind == practice.Forged) || r.Err != nil && !refused {
			t.Errorf("%s to %s: %v", r.Kind, r.To, r.Err)
		}
		if fbl := strings.HasPrefix(r.To, "fbl@mail.shop.test"); fbl != (r.Kind == practice.Complaint) {
			t.Errorf("%s went to %s", r.Kind, r.To)
		}
	}
	n.idle()
	for _, s := range samples {
		events := n.eventsOf(ids[s.Name])
		got := map[mail.EventType]int{}
		for _, e := range events {
			if e.Report == nil {
				continue
			}
			got[e.Type]++
			want := mail.EvidenceToken
			if s.Name == "complaint" {
				want = mail.EvidenceHeader // it came to fbl@
			}
			if e.Report.Evidence != want || e.Report.Door != "return-path" || e.Recipient != s.Recipient || e.Late != (e.Type == mail.EventBounced) {
				t.Errorf("%s: %s by %+v, for %s, late %v", s.Name, e.Type, e.Report, e.Recipient, e.Late)
			}
			if s.ThenClass != "" && e.Class != s.ThenClass {
				t.Errorf("%s: class %s, want %s", s.Name, e.Class, s.ThenClass)
			}
		}
		if s.Then == "" && len(got) > 0 || s.Then != "" && (got[s.Then] != 1 || len(got) != 1) {
			t.Errorf("%s: reports made %v, want %q once", s.Name, got, s.Then)
		}
	}
	// The bounce that came twice, and the one nobody's return path took.
	outcomes := map[store.ReportOutcome]int{}
	var reports []*store.StoredReport
	for q := (store.ReportQuery{Max: 100}); ; { // a page ends early on a slow machine
		page, err := n.store.ListReports(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, page.Reports...)
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	for _, r := range reports {
		if want := "pass mx1.mailbox.test"; r.From == "" && r.SPF != want {
			t.Errorf("%s: SPF %q, want %q", r.Kind, r.SPF, want)
		}
		outcomes[r.Outcome]++
	}
	if len(reports) != letters-1 || outcomes[store.ReportReplayed] != 1 {
		t.Errorf("%d reports are recorded, %d mails came to us; outcomes %v", len(reports), letters-1, outcomes)
	}
}

// idle waits until everything that came in is read and recorded.
func (r *running) idle() {
	r.t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for r.Unsettled() > 0 {
		if time.Now().After(deadline) {
			r.t.Fatalf("%d reports and events wait", r.Unsettled())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// eventsOf is the timeline of a message.
func (r *running) eventsOf(id string) []mail.Event {
	r.t.Helper()
	var list struct {
		Events []mail.Event `json:"events"`
	}
	status, b := r.request(testAdmin, "GET", "/v1/messages/"+id+"/events", "")
	if err := json.Unmarshal(b, &list); err != nil || status != 200 {
		r.t.Fatal(status, err, string(b))
	}
	return list.Events
}
