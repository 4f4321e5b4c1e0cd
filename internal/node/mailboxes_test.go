package node

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

type imapLiteral struct{ *strings.Reader }

func (l imapLiteral) Size() int64 { return l.Reader.Size() }

// TestBounceMailbox: a mailbox that is declared is read with its sealed password, and what waits in the inbox when the
// platform starts again is known there.
func TestBounceMailbox(t *testing.T) {
	user := imapmemserver.NewUser("bounces", "mailbox password")
	if err := user.Create("INBOX", nil); err != nil {
		t.Fatal(err)
	}
	server := imapserver.New(&imapserver.Options{
		InsecureAuth: true, Logger: log.New(io.Discard, "", 0),
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			s := imapmemserver.New()
			s.AddUser(user)
			return s.NewSession(), nil, nil
		},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	raw := "From: MAILER-DAEMON@isp.example\r\nSubject: failure notice\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n" +
		"--b\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; isp.example\r\n\r\nFinal-Recipient: rfc822; x@dest.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n"
	if _, err := user.Append("INBOX", imapLiteral{strings.NewReader(raw)}, &imap.AppendOptions{Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	c := testConfig(t, nil)
	declared := testAccounts + fmt.Sprintf(`
[[accounts.mailboxes]]
name = "isp"
host = "127.0.0.1"
port = %d
tls = "none"
username = "bounces"
password = "mailbox password"
from = "all"
`, l.Addr().(*net.TCPAddr).Port)
	r := start(t, c, declared)
	seen := func() bool {
		s, err := user.Status("INBOX", &imap.StatusOptions{NumUnseen: true})
		return err == nil && *s.NumUnseen == 0
	}
	for deadline := time.Now().Add(5 * time.Minute); !seen(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the mailbox is not read")
		}
	}
	var page store.ReportPage
	for deadline := time.Now().Add(5 * time.Minute); len(page.Reports) == 0; time.Sleep(5 * time.Millisecond) {
		if page, err = r.store.ListReports(t.Context(), store.ReportQuery{}); err != nil || time.Now().After(deadline) {
			t.Fatalf("the report is not read (%v)", err)
		}
	}
	if got := page.Reports[0]; got.Door != spool.InboxIMAP || !strings.HasPrefix(got.Source, "isp;1;1") {
		t.Errorf("report %+v", got)
	}
	r.stop()
}

// TestTakenReports: what an earlier process left in the inbox is known, of whatever size the inbox is.
func TestTakenReports(t *testing.T) {
	s, err := spool.Open(t.Context(), spool.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var ids []mail.ReportID
	for i := range 3 * inboxPage {
		id := mail.NewReportID(time.Now())
		kind := spool.InboxIMAP
		if i%2 == 1 {
			kind = spool.InboxReturnPath
		}
		if _, err := s.PutInbox(t.Context(), spool.InboxEntry{Kind: kind, Meta: map[string]string{spool.MetaReport: id.String()}, Raw: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	recorded := mail.NewReportID(time.Now())
	taken := &takenReports{inbox: s.ReadInbox, report: func(_ context.Context, id mail.ReportID) (*store.StoredReport, error) {
		if id == recorded {
			return &store.StoredReport{ID: id}, nil
		}
		return nil, store.ErrNotFound
	}}
	if known, err := taken.known(t.Context(), recorded); err != nil || !known {
		t.Errorf("a report that was read: %v, %v", known, err)
	}
	for i, id := range ids {
		if known, err := taken.known(t.Context(), id); err != nil || known != (i%2 == 0) {
			t.Errorf("report %d: %v, %v", i, known, err)
		}
	}
}
