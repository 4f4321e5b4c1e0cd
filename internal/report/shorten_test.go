package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestShorten: a report too long to keep is read as one, with its recipients, whether it tells of them before or after the
// message it returns, and however that is encoded.
func TestShorten(t *testing.T) {
	status := "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n" +
		"Final-Recipient: rfc822; one@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 User unknown\r\n\r\n" +
		"Final-Recipient: rfc822; two@example.com\r\nAction: failed\r\nStatus: 5.2.2\r\nDiagnostic-Code: smtp; 552 5.2.2 Mailbox full\r\n\r\n"
	head := "From: MAILER-DAEMON@mx.example.net\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nIt failed.\r\n\r\n"
	const large = 1 << 20
	for name, returned := range map[string]string{
		"text":     "Subject: order\r\n\r\n" + strings.Repeat("a line of what was sent\r\n", large/25),
		"one line": "Subject: order\r\n\r\n" + strings.Repeat("x", large) + "\r\n",
		"nested": "Subject: order\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n--inner\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
			strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", large/78) + "--inner--\r\n",
	} {
		returned = "--b\r\nContent-Type: message/rfc822\r\n\r\n" + returned + "\r\n"
		for order, body := range map[string]string{"status first": status + returned, "status last": returned + status} {
			raw := []byte(head + body + "--b--\r\n")
			const room = 64 << 10
			kept, cut := Shorten(raw, room)
			if len(kept) > room || cut < int64(len(raw)-room) || !bytes.Contains(kept, fmt.Appendf(nil, "\r\n[%d octets left out]\r\n", cut)) {
				t.Errorf("%s, %s: %d octets of %d kept, %d cut", name, order, len(kept), len(raw), cut)
			}
			r := Parse(kept, Limits{})
			if r.Kind != Bounce || len(r.Recipients) != 2 || r.Recipients[0].Address != "one@example.com" || r.Recipients[1].Address != "two@example.com" {
				t.Errorf("%s, %s: kind %s, recipients %+v", name, order, r.Kind, r.Recipients)
			}
		}
	}
	if kept, cut := Shorten([]byte("abc"), 3); string(kept) != "abc" || cut != 0 {
		t.Errorf("what fits became %q, %d cut", kept, cut)
	}
}

func FuzzShorten(f *testing.F) {
	f.Add([]byte(strings.Repeat("line\r\n", 100)), 200)
	f.Add([]byte(strings.Repeat("x", 1000)), 70)
	f.Fuzz(func(t *testing.T, raw []byte, room int) {
		room = max(0, room)
		kept, cut := Shorten(raw, room)
		if len(kept) > max(room, gapRoom) {
			t.Fatalf("%d octets kept, room for %d", len(kept), room)
		}
		if cut == 0 && !bytes.Equal(kept, raw) || cut < 0 || cut > int64(len(raw)) {
			t.Fatalf("%d octets cut of %d", cut, len(raw))
		}
	})
}
