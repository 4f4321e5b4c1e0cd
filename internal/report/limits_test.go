package report

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestLimits(t *testing.T) {
	many := new(bytes.Buffer)
	many.WriteString("From: MAILER-DAEMON@x\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n")
	for i := range 3000 {
		fmt.Fprintf(many, "Final-Recipient: rfc822; u%d@example.com\nAction: failed\nStatus: 5.1.1\n\n", i)
	}
	r := Parse(many.Bytes(), Limits{Recipients: 50})
	if len(r.Recipients) != 50 || !r.Truncated {
		t.Errorf("%d recipients, truncated %v", len(r.Recipients), r.Truncated)
	}

	// Also where they all tell of one.
	one := regexp.MustCompile(`u\d+@`).ReplaceAll(many.Bytes(), []byte("u@"))
	if r := Parse(one, Limits{Recipients: 50}); len(r.Recipients) != 1 || !r.Truncated {
		t.Errorf("of one: %d recipients, truncated %v", len(r.Recipients), r.Truncated)
	}

	deep := strings.Repeat("Content-Type: multipart/mixed; boundary=b\n\n--b\n", 500)
	if r := Parse([]byte(deep), Limits{}); !r.Truncated {
		t.Error("500 parts within parts are not truncated")
	}

	long := append([]byte("From: MAILER-DAEMON@x\nSubject: failure notice\n\n"), bytes.Repeat([]byte("text "), 1<<20)...)
	if r := Parse(long, Limits{Bytes: 1000, Text: 100}); !r.Truncated || len(r.Text) > 100 {
		t.Errorf("truncated %v, text of %d octets", r.Truncated, len(r.Text))
	}
}

// TestTime: hostile mails of the greatest size are read in time that grows no faster than the size.
func TestTime(t *testing.T) {
	const size = 1 << 20
	for name, unit := range map[string]string{
		"addresses":  "<a@b.c>: 550 5.1.1 x\n",
		"from lines": "\nFrom a@b Tue Mar  3 10:00:00 2026\nTo: x\n",
		"fields":     "Final-Recipient: rfc822; a@b.example\n",
		"headers":    "Received: x\n",
		"tags":       "<a",
		"at signs":   "@",
		"blank":      "\n\n \n",
		"marks":      "--- Original message follows\n",
		"words":      "[\"",
	} {
		for _, ctype := range []string{"text/plain", "text/html", "multipart/report; boundary=b", "message/rfc822"} {
			read := func(size int) time.Duration {
				raw := []byte("From: MAILER-DAEMON@x\nContent-Type: " + ctype + "\n\n" + strings.Repeat(unit, size/len(unit)))
				start := time.Now()
				Parse(raw, Limits{})
				return time.Since(start)
			}
			took := read(size)
			if took < 5*time.Second {
				continue // far above what it takes, far below what a square of the size would
			}
			// A slow machine, or one that stood still? The square would take sixteen times as long for four times the size.
			took = min(took, read(size))
			if part := min(read(size/4), read(size/4)); took > 8*part {
				t.Errorf("%s as %s: %s, a quarter of it %s", name, ctype, took, part)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range []string{"bounces.txt", "dialects.txt", "autoreplies.txt", "challenges.txt", "complaints.txt"} {
		for _, s := range samples(f, file) {
			f.Add(s.raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := Parse(raw, Limits{})
		for _, rc := range r.Recipients {
			if rc.Address == "" {
				t.Error("a recipient without an address")
			}
			if len(rc.Diagnostic) > maxDiagnostic || strings.ContainsAny(rc.Diagnostic+rc.Address, "\r\n\x00") {
				t.Errorf("diagnostic or address not one line: %q %q", rc.Address, rc.Diagnostic)
			}
		}
		if r.Kind == AutoReply && len(r.Recipients) > 0 {
			t.Error("an auto-reply with failing recipients")
		}
		if (r.Kind == Complaint) != (r.Feedback != nil) {
			t.Error("complaint and feedback do not agree")
		}
		if len(r.Text) > DefaultLimits.Text {
			t.Error("text too long")
		}
	})
}

// TestLongerInLowerCase: letters whose lower case has more octets do not shift what is read after them.
func TestLongerInLowerCase(t *testing.T) {
	r := Parse([]byte("From: postmaster@example.com\nSubject: failure notice\nContent-Type: text/plain; charset=utf-8\n\nuser unknown\n\nȺȺȺȺȺȺȺȺ the user 'joe' ȺȺȺȺȺȺȺȺ\n"), Limits{})
	if len(r.Recipients) != 1 || r.Recipients[0].Address != "joe@example.com" {
		t.Errorf("%+v", r.Recipients)
	}
}

// TestControlsInFields: what a report is told of comes from strangers, and none of it may steer what shows it.
func TestControlsInFields(t *testing.T) {
	for name, raw := range map[string]string{
		"feedback": "Content-Type: message/feedback-report\n\nFeedback-Type: abuse\x1b[2J\x00\nOriginal-Rcpt-To: joe@example.com\n",
		"notification": "From: no-reply@notify.example.com\n\n" + `{"notificationType":"Complaint","mail":{"source":"a@example.com\u0000"},` +
			`"complaint":{"complaintFeedbackType":"abuse\u001b[2J","complainedRecipients":[{"emailAddress":"joe\n@example.com"},{"emailAddress":"joe@example.com"}]}}`,
	} {
		r := Parse([]byte(raw), Limits{})
		if r.Kind != Complaint || len(r.Recipients) != 1 || r.Recipients[0].Address != "joe@example.com" {
			t.Errorf("%s: %s %+v", name, r.Kind, r.Recipients)
			continue
		}
		for _, s := range []string{r.Feedback.Type, r.Feedback.MailFrom, r.Recipients[0].Diagnostic} {
			if strings.ContainsFunc(s, unicode.IsControl) {
				t.Errorf("%s: %q", name, s)
			}
		}
	}
}
