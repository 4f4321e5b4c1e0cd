package practice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	netsmtp "net/smtp"
	"strings"
	"time"
)

// ReportKind is a kind of mail a receiver sends after it took a message.
type ReportKind string

// The kinds of late report.
const (
	// LateBounce is a delivery status notification of a failure (RFC 3464).
	LateBounce ReportKind = "late-bounce"
	// Complaint is a feedback report: the recipient called the message spam (RFC 5965).
	Complaint ReportKind = "complaint"
	// AutoReply is an answer by a machine that says so (RFC 3834).
	AutoReply ReportKind = "auto-reply"
	// OutOfOffice is one that does not say so, as most do not: no Auto-Submitted field.
	OutOfOffice ReportKind = "out-of-office"
)

// Report is a late report that was sent or given up.
type Report struct {
	Kind      ReportKind
	Recipient string // of the message it is about
	MessageID string // of that message
	To        string // where it went
	At        time.Time
	Err       error // why it was given up; nil: the peer took it
}

// report is a late report that waits.
type report struct {
	kind ReportKind
	of   Received
	due  time.Time
}

var (
	errNoReturnPath = errors.New("practice: no return path is set")
	errTooMany      = errors.New("practice: too many late reports wait")
	errNullSender   = errors.New("practice: the message came from the null sender: nobody to report to")
)

// reportTimeout bounds the dialogue of one report.
const reportTimeout = 30 * time.Second

// Report sends a late report about a message that was received, after Options.ReportDelay.
func (n *Internet) Report(kind ReportKind, of Received) {
	select {
	case n.late <- report{kind: kind, of: of, due: time.Now().Add(n.opts.ReportDelay)}:
	default:
		n.noteReport(kind, of, "", errTooMany)
	}
}

func (n *Internet) noteReport(kind ReportKind, of Received, to string, err error) {
	n.book.reported(Report{Kind: kind, Recipient: of.Recipient, MessageID: of.MessageID, To: to, At: n.opts.Now(), Err: err})
}

// sendReports sends what waits, in order: all have the same delay.
func (n *Internet) sendReports() {
	for {
		select {
		case r := <-n.late:
			t := time.NewTimer(time.Until(r.due))
			select {
			case <-t.C:
			case <-n.ctx.Done():
				t.Stop()
				return
			}
			n.sendReport(r)
		case <-n.ctx.Done():
			return
		}
	}
}

func (n *Internet) sendReport(r report) {
	to := r.of.Sender
	if a := n.opts.FeedbackAddress; r.kind == Complaint && !a.IsZero() {
		to = a.String()
	}
	n.mu.Lock()
	addr := n.returnPath
	n.mu.Unlock()
	var err error
	switch {
	case to == "":
		err = errNullSender // RFC 5321 §4.5.5: never answer it
	case addr == "":
		err = errNoReturnPath
	default:
		from := ""
		if r.kind == OutOfOffice {
			from = r.of.Recipient
		}
		err = n.send(addr, from, to, composeReport(r, to, n.opts.Now()))
	}
	n.noteReport(r.kind, r.of, to, err)
}

// send hands one message to a listener, as a stranger's server would.
func (n *Internet) send(addr, from, to string, msg []byte) (err error) {
	ctx, cancel := context.WithTimeout(n.ctx, reportTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			err = fmt.Errorf("practice: report to %s: %w", addr, err)
		}
	}()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c, err := netsmtp.NewClient(conn, "mx1.mailbox.test")
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return c.Hello("mx1.mailbox.test") },
		func() error { return c.Mail(from) },
		func() error { return c.Rcpt(to) },
		func() error {
			w, err := c.Data()
			if err != nil {
				return err
			}
			if _, err := w.Write(msg); err != nil {
				return err
			}
			return w.Close()
		},
		c.Quit,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// composeReport writes the report as the many servers of the world do: RFC 3464, RFC 5965, RFC 3834.
func composeReport(r report, to string, now time.Time) []byte {
	var b bytes.Buffer
	w := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	_, domain, _ := strings.Cut(r.of.Recipient, "@")
	header, body, _ := bytes.Cut(r.of.Content, []byte("\r\n\r\n"))
	subject := strings.TrimSpace(headerField(header, "subject"))
	const boundary = "practice-report-part"
	date := now.Format(time.RFC1123Z)
	id := fmt.Sprintf("<%s.%d.%d@%s>", r.kind, r.of.N, now.UnixNano(), r.of.Host)
	part := func(contentType string) {
		w("--%s", boundary)
		w("Content-Type: %s", contentType)
		w("")
	}
	multipart := func(from, subject, reportType string) {
		w("From: %s", from)
		w("To: <%s>", to)
		w("Subject: %s", subject)
		w("Date: %s", date)
		w("Message-ID: %s", id)
		w("Auto-Submitted: auto-replied")
		w("MIME-Version: 1.0")
		w("Content-Type: multipart/report; report-type=%s;\r\n\tboundary=\"%s\"", reportType, boundary)
		w("")
		part("text/plain; charset=us-ascii")
	}
	switch r.kind {
	case LateBounce:
		multipart("Mail Delivery System <mailer-daemon@"+r.of.Host+">", "Undelivered Mail Returned to Sender", "delivery-status")
		w("The message below was taken, but could not be delivered to")
		w("<%s>: the mailbox does not exist.", r.of.Recipient)
		w("")
		part("message/delivery-status")
		w("Reporting-MTA: dns; %s", r.of.Host)
		if r.of.EnvID != "" {
			w("Original-Envelope-Id: %s", r.of.EnvID)
		}
		w("Arrival-Date: %s", r.of.At.Format(time.RFC1123Z))
		w("")
		w("Final-Recipient: rfc822; %s", r.of.Recipient)
		w("Action: failed")
		w("Status: 5.1.1")
		w("Diagnostic-Code: smtp; 550 5.1.1 <%s>: mailbox does not exist", r.of.Recipient)
		w("")
		part("text/rfc822-headers")
		w("%s", header)
		w("--%s--", boundary)
	case Complaint:
		multipart("Feedback loop <fbl@"+domain+">", "complaint about: "+subject, "feedback-report")
		w("A recipient has marked the message below as spam.")
		w("")
		part("message/feedback-report")
		w("Feedback-Type: abuse")
		w("User-Agent: practice-internet/1")
		w("Version: 1")
		w("Original-Mail-From: <%s>", r.of.Sender)
		w("Original-Rcpt-To: <%s>", r.of.Recipient)
		w("Arrival-Date: %s", r.of.At.Format(time.RFC1123Z))
		w("Source-IP: %s", r.of.Source)
		w("Reporting-MTA: dns; %s", r.of.Host)
		w("")
		part("message/rfc822")
		w("%s\r\n\r\n%s", header, bytes.TrimSuffix(body, []byte("\r\n")))
		w("--%s--", boundary)
	case AutoReply, OutOfOffice:
		w("From: <%s>", r.of.Recipient)
		w("To: <%s>", to)
		if r.kind == AutoReply {
			w("Subject: Auto: Re: %s", subject)
			w("Auto-Submitted: auto-replied")
		} else {
			w("Subject: Out of office: %s", subject)
		}
		w("Date: %s", date)
		w("Message-ID: %s", id)
		if !strings.HasPrefix(r.of.MessageID, "sha256:") {
			w("In-Reply-To: %s", r.of.MessageID)
			w("References: %s", r.of.MessageID)
		}
		w("MIME-Version: 1.0")
		w("Content-Type: text/plain; charset=us-ascii")
		w("")
		if r.kind == AutoReply {
			w("This mailbox is not read by a person. Your message was filed.")
		} else {
			w("I am out of the office until Monday and will read your message then.")
		}
	}
	return b.Bytes()
}
