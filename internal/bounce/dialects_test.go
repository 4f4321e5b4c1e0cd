package bounce

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
)

// TestDialects: the reports of report's testdata come to the class that stands with them.
func TestDialects(t *testing.T) {
	data, err := os.ReadFile("../report/testdata/dialects.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, block := range strings.Split(string(data), "\n=== ")[1:] {
		head, raw, ok := strings.Cut(block, "\n---\n")
		if !ok {
			t.Fatalf("no --- in %.40q", block)
		}
		name, rest, _ := strings.Cut(head, "\n")
		class := ""
		for line := range strings.Lines(rest) {
			if c, ok := strings.CutPrefix(strings.TrimSpace(line), "class: "); ok {
				class = c
			}
		}
		if class == "" {
			continue
		}
		seen++
		rep := report.Parse([]byte(raw), report.Limits{})
		for i, v := range Default().Report(rep) {
			if v.Class != mail.Class(class) {
				t.Errorf("%s: %s is %s by %q, not %s (%q)", name, rep.Recipients[i].Address, v.Class, v.Rule, class, rep.Recipients[i].Diagnostic)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d reports with a class", seen)
	}
}

// TestInnocentReports: a report with such a reply suppresses nobody either, however the reporting system words it.
func TestInnocentReports(t *testing.T) {
	for _, w := range readWordings(t, "testdata/innocent.tsv") {
		if strings.HasPrefix(w.sample, "[stage=") {
			continue
		}
		for name, mail := range map[string]string{
			"delivery status": "From: MAILER-DAEMON@mx.example.net\nSubject: failure notice\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n" +
				"--b\nContent-Type: text/plain\n\nYour message could not be delivered.\n\n<joe@example.com>: host mx.example.com[192.0.2.1] said:\n    " + w.sample + "\n    (in reply to RCPT TO command)\n\n" +
				"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; joe@example.com\nAction: failed\nDiagnostic-Code: smtp; " + w.sample + "\n--b--\n",
			"exim": "From: Mail Delivery System <Mailer-Daemon@mx.example.net>\nSubject: Mail delivery failed: returning message to sender\n\n" +
				"A message that you sent could not be delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n" +
				"  joe@example.com\n    host mx.example.com [192.0.2.1]\n    SMTP error from remote mail server after RCPT TO:<joe@example.com>:\n    " + w.sample + "\n",
			"qmail": "From: MAILER-DAEMON@mx.example.net\nSubject: failure notice\n\nHi. This is the qmail-send program at mx.example.net.\nI'm afraid I wasn't able to deliver your message to the following addresses.\n\n" +
				"<joe@example.com>:\n192.0.2.1 does not like recipient.\nRemote host said: " + w.sample + "\nGiving up on 192.0.2.1.\n",
		} {
			rep := report.Parse([]byte(mail), report.Limits{})
			if rep.Kind != report.Bounce && !strings.Contains(w.sample, "450") {
				t.Errorf("innocent.tsv:%d: as %s: %s", w.line, name, rep.Kind)
			}
			for _, v := range Default().Report(rep) {
				if v.Action == "suppress" {
					t.Errorf("innocent.tsv:%d: %s, as %s: suppresses, by %q", w.line, w.sample, name, v.Rule)
				}
			}
		}
	}
}

// TestRepliesInReports: a reply means the same in a report, in the shape of any system, and addresses in it are not taken for
// recipients.
func TestRepliesInReports(t *testing.T) {
	const head = "Subject: failure notice\nContent-Type: text/plain; charset=utf-8\n\n"
	shapes := []struct{ name, before, after string }{
		{"postfix", "From: MAILER-DAEMON@mx.example.net\n" + head + "I'm sorry to have to inform you that your message could not\nbe delivered to one or more recipients.\n\n<joe@example.com>: host mx.example.com[192.0.2.1] said:\n    ", "\n    (in reply to RCPT TO command)\n"},
		{"exim", "From: Mail Delivery System <Mailer-Daemon@mx.example.net>\n" + head + "A message that you sent could not be delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  joe@example.com\n    host mx.example.com [192.0.2.1]\n    SMTP error from remote mail server after RCPT TO:<joe@example.com>:\n    ", "\n"},
		{"qmail", "From: MAILER-DAEMON@mx.example.net\n" + head + "Hi. This is the qmail-send program at mx.example.net.\nI'm afraid I wasn't able to deliver your message to the following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n<joe@example.com>:\n192.0.2.1 does not like recipient.\nRemote host said: ", "\nGiving up on 192.0.2.1.\n"},
		{"sendmail", "From: Mail Delivery Subsystem <MAILER-DAEMON@mx.example.net>\n" + head + "   ----- The following addresses had permanent fatal errors -----\n<joe@example.com>\n\n   ----- Transcript of session follows -----\n... while talking to mx.example.com.:\n>>> RCPT To:<joe@example.com>\n<<< ", "\n550 5.1.1 <joe@example.com>... User unknown\n"},
		{"courier", "From: \"Courier mail server at mx.example.net\" <@>\n" + head + "Your message to the following recipients cannot be delivered:\n\n<joe@example.com>:\n    mx.example.com [192.0.2.1]:\n>>> RCPT TO:<joe@example.com>\n<<< ", "\n"},
		{"exchange", "From: postmaster@mx.example.net\n" + head + "Your message to joe@example.com couldn't be delivered.\n\nDiagnostic information for administrators:\n\njoe@example.com\nRemote Server returned '", "'\n"},
	}
	tried, misread := 0, 0
	for _, w := range readWordings(t, "testdata/wordings.tsv") {
		in, err := ParseSample(w.sample)
		if err != nil {
			t.Fatal(err)
		}
		if in.Code < 500 || strings.HasPrefix(w.sample, "[") {
			continue // where it was given up after a 4xx, systems tell of both
		}
		s := shapes[w.line%len(shapes)]
		rep := report.Parse([]byte(s.before+w.sample+s.after), report.Limits{})
		vs := Default().Report(rep)
		if rep.Kind != report.Bounce || len(vs) != 1 || rep.Recipients[0].Address != "joe@example.com" {
			t.Errorf("wordings.tsv:%d: %s, as %s: %s about %+v", w.line, w.sample, s.name, rep.Kind, rep.Recipients)
			continue
		}
		tried++
		if !slices.Contains(w.classes, vs[0].Class) {
			misread++
			t.Logf("wordings.tsv:%d: %s, as %s: %s by %q", w.line, w.sample, s.name, vs[0].Class, vs[0].Rule)
		}
		if vs[0].Action == mail.ActionSuppress && !slices.ContainsFunc(w.classes, func(c mail.Class) bool { return slices.Contains(badAddress, c) }) {
			t.Errorf("wordings.tsv:%d: %s, as %s: suppresses, by %q", w.line, w.sample, s.name, vs[0].Rule)
		}
	}
	// A few say nothing without the words of the system around them.
	if tried < 700 || misread*50 > tried {
		t.Errorf("%d of %d replies mean something else in a report", misread, tried)
	}
}
