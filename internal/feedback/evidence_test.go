package feedback

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// outOfOffice is an automatic answer; quoted is what it carries of our message.
func outOfOffice(quoted string) string {
	return "From: User <user@example.com>\nTo: news@shop.example\nSubject: Automatic reply: Your order\nAuto-Submitted: auto-replied\n" +
		"X-Auto-Response-Suppress: All\n\nI am out of office until Monday and will read your mail then.\n\n" + quoted
}

// arf is a complaint (RFC 5965) without recipient and without body: the header of our message is all there is.
func arf(kind, header string) string {
	return `From: fbl@bigmail.example
To: fbl@example.org
Subject: FW: complaint
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="f"

--f
Content-Type: text/plain

This is an abuse report.

--f
Content-Type: message/feedback-report

Feedback-Type: ` + kind + `
User-Agent: BigmailFBL/1
Version: 1

--f
Content-Type: text/rfc822-headers

` + header + `
--f--
`
}

// TestDefectThreeRecipients: a report that tells of three recipients is worked off for all three, also where the one in
// the middle was only passed on.
func TestDefectThreeRecipients(t *testing.T) {
	for name, token := range map[string]string{"own field": tokenField + ": ", "CFBL": "CFBL-Feedback-ID: 1:shop:"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.send(mail.EventRelayed, "one@example.com", "list@example.com", "three@example.com", "four@example.com")
			id := w.put("fbl@example.org", dsn("From: news@shop.example\n"+token+s.token()+"\nSubject: Your order\n",
				"one@example.com failed 5.1.1 "+unknownUser, "list@example.com expanded 2.0.0", "THREE@example.com failed 5.2.2 552 5.2.2 mailbox full"))
			w.read()
			row := w.want(id, store.ReportActed, "")
			if row.Evidence != mail.EvidenceHeader || row.Account != "shop" || len(row.Deliveries) != 3 {
				t.Fatalf("row %+v", row)
			}
			for i, want := range []store.State{"bounced", "relayed", "bounced", "relayed"} {
				if d := w.state(s, i); d.State != want {
					t.Errorf("%s is %s, want %s", d.Recipient, d.State, want)
				}
			}
			if d := w.state(s, 2); d.Class != mail.ClassMailboxFull {
				t.Errorf("the third is %s", d.Class)
			}
			if o := row.Deliveries[1]; o.Outcome != store.ReportRecorded || o.Recipient != "list@example.com" {
				t.Errorf("the second: %+v", o)
			}
		})
	}
}

// TestDefectAutoReplyQuotesUs: an out-of-office answer that quotes our whole header, token included, is an automatic
// answer: no bounce, nothing counted, the delivery stays delivered. A second one makes no second event.
func TestDefectAutoReplyQuotesUs(t *testing.T) {
	w := newWorld(t)
	s := w.send(mail.EventDelivered, "user@example.com")
	quoted := "----- Original message -----\nReturn-Path: <" + s.path(0) + ">\nMessage-ID: <" + s.msg.RFC822ID + ">\n" +
		tokenField + ": " + testKey.Token(s.deliveries[0].ID) + "\nFrom: news@shop.example\nTo: user@example.com\nSubject: Your order\n\nText, 550 5.1.1 User unknown.\n"
	first := w.put(s.path(0), outOfOffice(quoted))
	other := w.send(mail.EventDelivered, "other@example.com")
	byHeader := w.put("postmaster@example.org", outOfOffice(strings.ReplaceAll(quoted, testKey.Token(s.deliveries[0].ID), testKey.Token(other.deliveries[0].ID))))
	w.read()
	w.want(first, store.ReportActed, "")
	w.want(byHeader, store.ReportActed, "")
	for _, x := range []sent{s, other} {
		list := w.events(x, 0)
		if len(list) != 1 || list[0].Type != mail.EventAutoReplied || list[0].Class != "" || list[0].Action == mail.ActionSuppress {
			t.Errorf("events %+v", list)
		}
		if d := w.state(x, 0); d.State != "delivered" || !d.AutoReplied || d.Late || d.Class != "" {
			t.Errorf("delivery %+v", d)
		}
	}
	again := w.put(s.path(0), outOfOffice(""))
	w.read()
	w.want(again, store.ReportReplayed, "automatic answer")
}

// TestDefectComplaintWithoutRecipient: a complaint that names nobody and brings no body is the delivery's whose token
// stands in the header it brings.
func TestDefectComplaintWithoutRecipient(t *testing.T) {
	for name, header := range map[string]func(s sent) string{
		"delivery token": func(s sent) string { return tokenField + ": " + testKey.Token(s.deliveries[0].ID) + "\n" },
		"message token":  func(s sent) string { return tokenField + ": " + s.token() + "\n" },
		"CFBL":           func(s sent) string { return "CFBL-Feedback-ID: " + testKey.Token(s.deliveries[0].ID) + "\n" },
		"return path":    func(s sent) string { return "Return-Path: <" + s.path(0) + ">\n" },
		"upper case": func(s sent) string {
			return tokenField + ": " + strings.ToUpper(testKey.Token(s.deliveries[0].ID)) + "\n"
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.send(mail.EventDelivered, "user@example.com")
			id := w.put("fbl@example.org", arf("abuse", "From: news@shop.example\nSubject: Your order\n"+header(s)))
			w.read()
			w.want(id, store.ReportActed, "")
			list := w.events(s, 0)
			if len(list) != 1 || list[0].Type != mail.EventComplained || list[0].Report.Feedback != "abuse" || list[0].Report.MTA != "BigmailFBL/1" || list[0].Action != mail.ActionSuppress {
				t.Fatalf("events %+v", list)
			}
			if d := w.state(s, 0); d.State != "delivered" || !d.Complained {
				t.Errorf("delivery %+v", d)
			}
			again := w.put("fbl@example.org", arf("abuse", header(s)))
			w.read()
			w.want(again, store.ReportReplayed, "complaint")
		})
	}
}

// TestComplaintsThatAreNone: kinds of feedback that nobody complained with are recorded and change nothing.
func TestComplaintsThatAreNone(t *testing.T) {
	w := newWorld(t)
	s := w.send(mail.EventDelivered, "user@example.com")
	header := tokenField + ": " + testKey.Token(s.deliveries[0].ID) + "\n"
	notSpam, auth := w.put("fbl@example.org", arf("not-spam", header)), w.put("fbl@example.org", arf("auth-failure", header))
	w.read()
	w.want(notSpam, store.ReportRecorded, "takes a complaint back")
	w.want(auth, store.ReportRecorded, "RFC 6591")
	if list := w.events(s, 0); len(list) > 0 {
		t.Errorf("events %+v", list)
	}
}

// TestTokenAnywhere: dialects that quote the header of the returned message in their text, or encode it, are attributed
// too; tokens of two messages leave it open.
func TestTokenAnywhere(t *testing.T) {
	w := newWorld(t)
	s, other := w.send(mail.EventDelivered, "user@example.com"), w.send(mail.EventDelivered, "other@example.com")
	head := "From: MAILER-DAEMON@mx.example.net\nSubject: failure notice\n"
	text := "Hi. This is the program at mx.example.net.\nI could not deliver your message to these addresses.\n\n<user@example.com>:\n550 5.1.1 User unknown\n\n"
	quote := "> Token " + testKey.Token(s.deliveries[0].ID) + " of the message\n"
	plain := w.put("fbl@example.org", head+"\n"+text+quote)
	w.read()
	if w.want(plain, store.ReportActed, ""); w.state(s, 0).State != "bounced" {
		t.Error("a token in the text was not found")
	}
	b64 := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(text+"Token "+testKey.Token(other.deliveries[0].ID), "user@", "other@")))
	coded := w.put("fbl@example.org", head+"MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"+b64[:60]+"\n"+b64[60:]+"\n")
	w.read()
	if w.want(coded, store.ReportActed, ""); w.state(other, 0).State != "bounced" {
		t.Error("a token in an encoded part was not found")
	}
	both := w.put("fbl@example.org", head+"\n"+text+quote+"\nToken "+testKey.Token(other.deliveries[0].ID)+"\n")
	w.read()
	w.want(both, store.ReportUnknown, "2 messages")
}

// TestTokenOutranksText: the return path says whose report it is, whatever recipients and tokens stand in the text; one
// that names only another address than ours asks for no suppression.
func TestTokenOutranksText(t *testing.T) {
	w := newWorld(t)
	s, other := w.send(mail.EventDelivered, "user@example.com"), w.send(mail.EventDelivered, "other@example.com")
	id := w.put(s.path(0), dsn(tokenField+": "+testKey.Token(other.deliveries[0].ID)+"\n", "someone@inside.example failed 5.1.1 "+unknownUser, "third@inside.example delivered 2.0.0"))
	w.read()
	row := w.want(id, store.ReportActed, "")
	if len(row.Deliveries) != 1 || row.Deliveries[0].Recipient != "user@example.com" || row.Evidence != mail.EvidenceToken {
		t.Errorf("row %+v", row)
	}
	list := w.events(s, 0)
	if len(list) != 1 || list[0].Class != mail.ClassInvalidRecipient || list[0].Action != mail.ActionGiveUp || !strings.Contains(list[0].Reason, "someone@inside.example") {
		t.Errorf("events %+v", list)
	}
	if w.state(other, 0).State != "delivered" {
		t.Error("the text decided")
	}
	// The same local part in a domain of the receiver's own is our recipient.
	inside := w.put(other.path(0), dsn("", "other@store.inside.example failed 5.1.1 "+unknownUser))
	w.read()
	w.want(inside, store.ReportActed, "")
	if list := w.events(other, 0); list[0].Action != mail.ActionSuppress {
		t.Errorf("action %s", list[0].Action)
	}
}

// TestMatch: in an account's own bounce mailbox one sent delivery that fits is evidence; none, or two, are not.
func TestMatch(t *testing.T) {
	own := func(w *world, account, raw string) mail.ReportID {
		return w.putBy(spool.InboxIMAP, time.Now(), map[string]string{spool.MetaAccount: account, spool.MetaMailbox: "bounces;1;2"}, raw)
	}
	user := "user@example.com failed 5.1.1 " + unknownUser
	t.Run("Message-ID", func(t *testing.T) {
		w := newWorld(t)
		s, other := w.send(mail.EventRelayed, "user@example.com", "second@example.com"), w.send(mail.EventRelayed, "user@example.com")
		id := own(w, "shop", dsn("Message-ID: <"+s.msg.RFC822ID+">\n", user))
		stranger := own(w, "rival", dsn("Message-ID: <"+s.msg.RFC822ID+">\n", user))
		w.read()
		if row := w.want(id, store.ReportActed, ""); row.Evidence != mail.EvidenceMatch || row.Account != "shop" || row.Source != "bounces;1;2" {
			t.Errorf("row %+v", row)
		}
		if row := w.want(stranger, store.ReportUnknown, "no delivery of this account"); row.Account != "rival" || len(row.Deliveries) > 0 {
			t.Errorf("row %+v", row)
		}
		if a, b, c := w.state(s, 0), w.state(s, 1), w.state(other, 0); a.State != "bounced" || b.State != "relayed" || c.State != "relayed" {
			t.Errorf("states %s %s %s", a.State, b.State, c.State)
		}
	})
	t.Run("recipient and subject", func(t *testing.T) {
		w := newWorld(t)
		s := w.send(mail.EventRelayed, "user@example.com")
		w.send(mail.EventBounced, "user@example.com")    // was never taken
		w.accept(time.Now(), "web", "user@example.com")  // was never tried
		w.send(mail.EventRelayed, "another@example.com") // another's
		wrong := own(w, "shop", dsn("Subject: Something else\n", user))
		id := own(w, "shop", dsn("Subject: Your order\n", user))
		w.read()
		w.want(wrong, store.ReportUnknown, "fits")
		w.want(id, store.ReportActed, "")
		if w.state(s, 0).State != "bounced" {
			t.Error("not found")
		}
	})
	t.Run("two fit", func(t *testing.T) {
		w := newWorld(t)
		w.send(mail.EventRelayed, "user@example.com")
		w.send(mail.EventRelayed, "user@example.com")
		id := own(w, "shop", dsn("Subject: Your order\n", user))
		w.read()
		w.want(id, store.ReportUnknown, "2 deliveries")
	})
	t.Run("answer", func(t *testing.T) {
		w := newWorld(t)
		s := w.send(mail.EventRelayed, "user@example.com")
		id := own(w, "shop", "In-Reply-To: <"+s.msg.RFC822ID+">\n"+outOfOffice(""))
		w.read()
		w.want(id, store.ReportActed, "")
		if !w.state(s, 0).AutoReplied {
			t.Error("not recorded")
		}
	})
	t.Run("not at the return path", func(t *testing.T) {
		w := newWorld(t)
		s := w.send(mail.EventRelayed, "user@example.com")
		id := w.put("fbl@example.org", dsn("Message-ID: <"+s.msg.RFC822ID+">\nSubject: Your order\n", user))
		w.read()
		w.want(id, store.ReportUnknown, "")
	})
}

// TestDelays: each report of a delay is an event that leaves the state alone; the same mail counts once, and the number
// is bounded.
func TestDelays(t *testing.T) {
	w := newWorld(t)
	s := w.send(mail.EventRelayed, "user@example.com")
	raw := func(i int) string {
		return strings.Replace(dsn("", "user@example.com delayed 4.4.1 connection timed out"), "Date: Thu, 1", "Date: Thu, "+string(rune('a'+i)), 1)
	}
	first := w.put(s.path(0), raw(0))
	same := w.put(s.path(0), raw(0))
	w.read()
	w.want(first, store.ReportActed, "")
	w.want(same, store.ReportReplayed, first.String())
	for i := range maxDelays + 1 {
		w.put(s.path(0), raw(i+1))
	}
	w.read()
	list := w.events(s, 0)
	if len(list) != maxDelays {
		t.Errorf("%d events", len(list))
	}
	if e := list[0]; e.Type != mail.EventDeferred || e.Late || e.Report.Kind != "delay" {
		t.Errorf("event %+v", e)
	}
	if d := w.state(s, 0); d.State != "relayed" {
		t.Errorf("state %s", d.State)
	}
	// A word of success settles a relayed delivery, a failure after it is late.
	ok := w.put(s.path(0), dsn("", "user@example.com delivered 2.0.0 250 2.0.0 stored"))
	w.read()
	w.want(ok, store.ReportActed, "")
	if d := w.state(s, 0); d.State != "delivered" {
		t.Errorf("state %s", d.State)
	}
	failed := w.put(s.path(0), dsn("", "user@example.com failed 5.1.1 "+unknownUser))
	w.read()
	w.want(failed, store.ReportActed, "")
	if d := w.state(s, 0); d.State != "bounced" || !d.Late {
		t.Errorf("state %+v", d)
	}
}

// TestChallenge: a challenge is an automatic answer with its reason.
func TestChallenge(t *testing.T) {
	w := newWorld(t)
	s := w.send(mail.EventDelivered, "user@example.com")
	w.put(s.path(0), "From: user@example.com\nSubject: Please confirm your message (challenge)\nAuto-Submitted: auto-replied\n\n"+
		"Your message is being held. To have your email delivered, please confirm that you are a human sender by clicking the link below: https://challenge.example/confirm?id=1\n")
	w.read()
	list := w.events(s, 0)
	if len(list) != 1 || list[0].Type != mail.EventAutoReplied || list[0].Reason != "challenge" {
		t.Errorf("events %+v", list)
	}
}

// TestFailureThatNamesNobody: by the return path a failure is the delivery's also where the report names no address.
func TestFailureThatNamesNobody(t *testing.T) {
	w := newWorld(t)
	s := w.send(mail.EventDelivered, "user@example.com")
	id := w.put(s.path(0), "From: MAILER-DAEMON@mx.example.net\nSubject: Undelivered Mail Returned to Sender\nAuto-Submitted: auto-replied\n\n"+
		"This is the mail system. Your message could not be delivered: the mailbox is full.\n")
	w.read()
	w.want(id, store.ReportActed, "")
	if list := w.events(s, 0); len(list) != 1 || list[0].Class != mail.ClassMailboxFull || !strings.Contains(list[0].Attempt.Reply, "mail system") {
		t.Errorf("events %+v", list)
	}
}

// TestOperatorMail: what people write to the operator is kept in his mailbox and belongs to no account; a report that came
// there is read as one.
func TestOperatorMail(t *testing.T) {
	w := newWorld(t)
	s := w.send(mail.EventDelivered, "user@example.com")
	asks := w.put("Abuse@example.org", "From: Asker <asker@example.net>\nSubject: Spam from you?\n\nPlease look at "+testKey.Token(s.deliveries[0].ID)+"\n")
	bounce := w.put("postmaster@example.org", dsn(tokenField+": "+testKey.Token(s.deliveries[0].ID)+"\n", "user@example.com failed 5.1.1 "+unknownUser))
	loose := w.put("postmaster@example.org", dsn("", "nobody@example.com failed 5.1.1 "+unknownUser))
	w.read()
	if row := w.want(asks, store.ReportKept, "it quotes the header of delivery "+s.deliveries[0].ID.String()); row.Mailbox != "abuse" || row.Account != "" || row.Author != "asker@example.net" || row.Subject != "Spam from you?" {
		t.Errorf("row %+v", row)
	}
	if row := w.want(bounce, store.ReportActed, ""); row.Mailbox != "" || row.Account != "shop" {
		t.Errorf("row %+v", row)
	}
	if row := w.want(loose, store.ReportUnknown, "no token"); row.Mailbox != "postmaster" {
		t.Errorf("row %+v", row)
	}
}

// TestNotice: the report of a notice of the platform's own that bounces is in the postmaster's mailbox. The alert is the
// Notifier's.
func TestNotice(t *testing.T) {
	w := newWorld(t)
	s := w.sendAt(time.Now(), NoticeWriter, mail.EventDelivered, "customer@example.com")
	id := w.put(s.path(0), dsn("", "customer@example.com failed 5.1.1 "+unknownUser))
	w.read()
	if row := w.want(id, store.ReportActed, ""); row.Mailbox != mailboxPostmaster {
		t.Errorf("row %+v", row)
	}
}
