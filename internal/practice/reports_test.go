package practice

import (
	"errors"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
)

// Each kind of late report arrives at the return path, well-formed and about the right message.
func TestReports(t *testing.T) {
	home := start(t, Options{}) // the sender's own mail host
	n := start(t, Options{ReturnPath: home.addrOf("mx1.mailbox.test"), FeedbackAddress: mail.Address{Local: "fbl", Domain: "example.com"}})
	for _, tt := range []struct {
		local  string
		kind   ReportKind
		to     string // where it arrives
		sender string // its envelope sender
		auto   string // Auto-Submitted
		parts  []string
	}{
		{"late-bounce", LateBounce, "s@example.com", "", "auto-replied", []string{"text/plain", "message/delivery-status", "text/rfc822-headers"}},
		{"complaint", Complaint, "fbl@example.com", "", "auto-replied", []string{"text/plain", "message/feedback-report", "message/rfc822"}},
		{"auto-reply", AutoReply, "s@example.com", "", "auto-replied", nil},
		{"ooo", OutOfOffice, "s@example.com", "ooo@mailbox.test", "", nil},
	} {
		t.Run(tt.local, func(t *testing.T) {
			before := len(home.Received(tt.to))
			rcpt, id := tt.local+"@mailbox.test", "<"+tt.local+"@example.com>"
			d := dial(t, n, "mx1.mailbox.test")
			d.say("EHLO c.test\r\n", "250")
			d.deliver(rcpt, id, "250")
			if err := home.Wait(testContext(t), func() bool { return len(home.Received(tt.to)) > before }); err != nil {
				t.Fatal(err, n.Reports())
			}
			got := home.Received(tt.to)[before]
			if got.Sender != tt.sender {
				t.Errorf("envelope sender %q, want %q", got.Sender, tt.sender)
			}
			m, err := netmail.ReadMessage(strings.NewReader(string(got.Content)))
			if err != nil {
				t.Fatal(err)
			}
			if auto := m.Header.Get("Auto-Submitted"); auto != tt.auto {
				t.Errorf("Auto-Submitted %q, want %q", auto, tt.auto)
			}
			for _, field := range []string{"From", "To", "Date", "Message-Id", "Subject"} {
				if m.Header.Get(field) == "" {
					t.Errorf("no %s field", field)
				}
			}
			if !strings.Contains(string(got.Content), id) {
				t.Error("the report does not name the message")
			}
			if tt.parts == nil {
				return
			}
			kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
			if err != nil || kind != "multipart/report" {
				t.Fatalf("%s, %v", kind, err)
			}
			r := multipart.NewReader(m.Body, params["boundary"])
			for _, want := range tt.parts {
				p, err := r.NextPart()
				if err != nil {
					t.Fatal(err)
				}
				if got := p.Header.Get("Content-Type"); !strings.HasPrefix(got, want) {
					t.Errorf("part %q, want %q", got, want)
				}
			}
		})
	}
	if v := home.Violations(); len(v) > 0 {
		t.Errorf("violations %q", v)
	}
	if err := n.Wait(testContext(t), func() bool { return n.Counters().Reports == 4 }); err != nil {
		t.Errorf("%+v", n.Reports())
	}
}

func TestReportsThatCannotBeSent(t *testing.T) {
	home := start(t, Options{})
	n := start(t, Options{})
	for _, tt := range []struct {
		path   string
		sender string
		err    error
	}{
		{"", "s@example.com", errNoReturnPath},
		{home.addrOf("mx1.mailbox.test"), "", errNullSender},
		{home.addrOf("mx1.mailbox.test"), "unknown@example.com", nil},
	} {
		n.SetReturnPath(tt.path)
		before := n.Counters().ReportsLost
		n.Report(LateBounce, Received{Recipient: "r@mailbox.test", Sender: tt.sender, MessageID: "<1@x>"})
		if err := n.Wait(testContext(t), func() bool { return n.Counters().ReportsLost > before }); err != nil {
			t.Fatal(err)
		}
		reports := n.Reports()
		last := reports[len(reports)-1]
		if last.Err == nil || tt.err != nil && !errors.Is(last.Err, tt.err) || last.Recipient != "r@mailbox.test" {
			t.Errorf("%+v, want %v", last, tt.err)
		}
	}
}
