package practice

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// letter is one mail of a report.
type letter struct {
	from, to string
	raw      []byte
}

// letters writes the mails of a report as the many servers of the world do.
func (n *Internet) letters(r report) []letter {
	w := newWriter(r, n.opts.Now())
	one := func(raw []byte) []letter { return []letter{{"", w.to, raw}} }
	failed := status{w.of.Recipient, "failed", "5.1.1", "smtp; 550 5.1.1 <" + w.of.Recipient + ">: mailbox does not exist"}
	switch r.kind {
	case LateBounce:
		return one(w.notification("Undelivered Mail Returned to Sender", failed))
	case Replay:
		raw := w.notification("Undelivered Mail Returned to Sender", failed)
		return []letter{{"", w.to, raw}, {"", w.to, raw}}
	case Forged:
		w.to = forge(w.to)
		return one(w.notification("Undelivered Mail Returned to Sender", failed))
	case ThreeFailed:
		return one(w.notification("Delivery report",
			status{"first@" + w.domain, "delivered", "2.1.5", ""}, status{"list@" + w.domain, "expanded", "2.1.5", ""}, failed))
	case ThreeRelayed:
		return one(w.notification("Delivery report",
			status{"first@" + w.domain, "failed", "5.1.1", "smtp; 550 5.1.1 no such user"},
			status{w.of.Recipient, "relayed", "2.1.9", ""},
			status{"last@" + w.domain, "failed", "5.2.2", "smtp; 552 5.2.2 mailbox full"}))
	case Delay:
		return []letter{
			{"", w.to, w.notification("Warning: message delayed", status{w.of.Recipient, "delayed", "4.4.1", "smtp; 451 4.4.1 the host behind does not answer"})},
			{"", w.to, w.notification("Successful Mail Delivery Report", status{w.of.Recipient, "delivered", "2.1.5", "smtp; 250 2.1.5 OK"})},
		}
	case QmailBounce:
		return one(w.qmail())
	case EximBounce:
		return one(w.exim())
	case Complaint:
		if asked, _, _ := strings.Cut(headerField(w.header, "cfbl-address"), ";"); asked != "" {
			w.to = strings.TrimSpace(asked)
		} else if a := n.opts.FeedbackAddress; !a.IsZero() {
			w.to = a.String()
		}
		return one(w.complaint(false))
	case RedactedComplaint:
		return one(w.complaint(true))
	case AutoReply:
		return one(w.reply())
	case OutOfOffice:
		return []letter{{w.of.Recipient, w.to, w.reply()}}
	}
	return nil
}

// forge changes the signature at the end of a return path.
func forge(to string) string {
	local, domain, _ := strings.Cut(to, "@")
	if local == "" {
		return to
	}
	last := byte('2')
	if local[len(local)-1] == last {
		last = '3'
	}
	return local[:len(local)-1] + string(last) + "@" + domain
}

// writer writes the mails about one message.
type writer struct {
	kind   ReportKind
	of     Received
	now    time.Time
	to     string
	domain string // of the recipient
	header []byte // of the message
	body   []byte

	b bytes.Buffer
	n int // mails written
}

func newWriter(r report, now time.Time) *writer {
	w := &writer{kind: r.kind, of: r.of, now: now, to: r.of.Sender}
	_, w.domain, _ = strings.Cut(r.of.Recipient, "@")
	w.header, w.body, _ = bytes.Cut(r.of.Content, []byte("\r\n\r\n"))
	return w
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.b, format+"\r\n", args...) }

// take returns what was written.
func (w *writer) take() []byte {
	raw := bytes.Clone(w.b.Bytes())
	w.b.Reset()
	return raw
}

// head writes the fields every mail has.
func (w *writer) head(from, subject string) {
	w.n++
	w.line("From: %s", from)
	w.line("To: <%s>", w.to)
	w.line("Subject: %s", subject)
	w.line("Date: %s", w.now.Format(time.RFC1123Z))
	w.line("Message-ID: <%s.%d.%d.%d@%s>", w.kind, w.of.N, w.n, w.now.UnixNano(), w.of.Host)
}

const boundary = "practice-report-part"

// report writes the beginning of a multipart/report, up to its text for people.
func (w *writer) report(from, subject, reportType string) {
	w.head(from, subject)
	w.line("Auto-Submitted: auto-replied")
	w.line("MIME-Version: 1.0")
	w.line("Content-Type: multipart/report; report-type=%s;\r\n\tboundary=\"%s\"", reportType, boundary)
	w.line("")
	w.part("text/plain; charset=us-ascii")
}

func (w *writer) part(contentType string) {
	w.line("--%s", boundary)
	w.line("Content-Type: %s", contentType)
	w.line("")
}

func (w *writer) system() string { return "Mail Delivery System <mailer-daemon@" + w.of.Host + ">" }

func (w *writer) subject() string { return strings.TrimSpace(headerField(w.header, "subject")) }

// status is what a notification says of one recipient.
type status struct{ rcpt, action, code, diagnostic string }

// notification is a delivery status notification (RFC 3464) with the header of the message.
func (w *writer) notification(subject string, list ...status) []byte {
	w.report(w.system(), subject, "delivery-status")
	w.line("This is about the message below, which was taken by %s.", w.of.Host)
	for _, s := range list {
		w.line("<%s>: %s", s.rcpt, s.action)
	}
	w.line("")
	w.part("message/delivery-status")
	w.line("Reporting-MTA: dns; %s", w.of.Host)
	if w.of.EnvID != "" {
		w.line("Original-Envelope-Id: %s", w.of.EnvID)
	}
	w.line("Arrival-Date: %s", w.of.At.Format(time.RFC1123Z))
	for _, s := range list {
		w.line("")
		w.line("Final-Recipient: rfc822; %s", s.rcpt)
		w.line("Action: %s", s.action)
		w.line("Status: %s", s.code)
		if s.diagnostic != "" {
			w.line("Diagnostic-Code: %s", s.diagnostic)
		}
	}
	w.line("")
	w.part("text/rfc822-headers")
	w.line("%s", w.header)
	w.line("--%s--", boundary)
	return w.take()
}

// qmail is the bounce of qmail: paragraphs, one for each address, and the message below a line of its own.
func (w *writer) qmail() []byte {
	w.head("MAILER-DAEMON@"+w.of.Host, "failure notice")
	w.line("")
	w.line("Hi. This is the qmail-send program at %s.", w.of.Host)
	w.line("Your message came to an end here for these addresses; it is not tried again.")
	w.line("")
	w.line("<%s>:", w.of.Recipient)
	w.line("There is no mailbox of that name. (#5.1.1)")
	w.line("")
	w.line("--- Below this line is a copy of the message.")
	w.line("")
	w.line("%s", w.header)
	w.line("")
	w.b.Write(w.body)
	return w.take()
}

// exim is the bounce of an Exim that sends no delivery status: the addresses in a field of its own and in the text.
func (w *writer) exim() []byte {
	w.line("X-Failed-Recipients: %s", w.of.Recipient)
	w.line("Auto-Submitted: auto-replied")
	w.head("Mail Delivery System <Mailer-Daemon@"+w.of.Host+">", "Mail delivery failed: returning message to sender")
	w.line("")
	w.line("This message was created automatically by mail delivery software.")
	w.line("")
	w.line("Your message was given up for the address(es) below. The following address(es) failed:")
	w.line("")
	w.line("  %s", w.of.Recipient)
	w.line("    550 5.1.1 no such mailbox")
	w.line("")
	w.line("------ This is a copy of the message, including all the headers. ------")
	w.line("")
	w.line("%s", w.header)
	w.line("")
	w.b.Write(w.body)
	return w.take()
}

// complaint is a feedback report (RFC 5965). A redacted one returns the header alone, without the recipient.
func (w *writer) complaint(redacted bool) []byte {
	w.report("Feedback loop <fbl@"+w.domain+">", "complaint about: "+w.subject(), "feedback-report")
	w.line("A recipient has marked the message below as spam.")
	w.line("")
	w.part("message/feedback-report")
	w.line("Feedback-Type: abuse")
	w.line("User-Agent: practice-internet/1")
	w.line("Version: 1")
	if !redacted {
		w.line("Original-Mail-From: <%s>", w.of.Sender)
		w.line("Original-Rcpt-To: <%s>", w.of.Recipient)
	}
	w.line("Arrival-Date: %s", w.of.At.Format(time.RFC1123Z))
	w.line("Source-IP: %s", w.of.Source)
	w.line("Reporting-MTA: dns; %s", w.of.Host)
	w.line("")
	if redacted {
		w.part("text/rfc822-headers")
		w.line("%s", bytes.ReplaceAll(w.header, []byte(w.of.Recipient), []byte("redacted@"+w.domain)))
	} else {
		w.part("message/rfc822")
		w.line("%s\r\n\r\n%s", w.header, bytes.TrimSuffix(w.body, []byte("\r\n")))
	}
	w.line("--%s--", boundary)
	return w.take()
}

// reply is an automatic reply: one that says so, or an absence notice that does not and quotes the header.
func (w *writer) reply() []byte {
	if w.kind == AutoReply {
		w.head("<"+w.of.Recipient+">", "Auto: Re: "+w.subject())
		w.line("Auto-Submitted: auto-replied")
	} else {
		w.head("<"+w.of.Recipient+">", "Out of office: "+w.subject())
	}
	if !strings.HasPrefix(w.of.MessageID, "sha256:") {
		w.line("In-Reply-To: %s", w.of.MessageID)
		w.line("References: %s", w.of.MessageID)
	}
	w.line("MIME-Version: 1.0")
	w.line("Content-Type: text/plain; charset=us-ascii")
	w.line("")
	if w.kind == AutoReply {
		w.line("This mailbox is not read by a person. Your message was filed.")
		return w.take()
	}
	w.line("I am out of the office until Monday and will read your message then.")
	w.line("")
	w.line("-----Original Message-----")
	w.line("%s", w.header)
	return w.take()
}
