package feedback

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/smtp"
)

// classWords say in plain words what a failure means, and what the sender can do.
var classWords = map[mail.Class]string{
	mail.ClassInvalidRecipient: "There is no mailbox of that name. Check the address for typing mistakes, or ask the recipient for the right one.",
	mail.ClassInvalidDomain:    "The part after the @ does not exist or takes no mail. Check it for typing mistakes.",
	mail.ClassInactive:         "The mailbox is closed or disabled. Reach the recipient another way.",
	mail.ClassMailboxFull:      "The recipient's mailbox is full. Try again later, or reach the recipient another way.",
	mail.ClassContentSize:      "The message is too large, or has an attachment or a form the recipient's mail system does not take. Send it smaller, or send a link to the file.",
	mail.ClassPolicySpam:       "The recipient's mail system refused the message for its content or by its rules. Reword it, leave out links and attachments, or ask the recipient to allow your address.",
	mail.ClassBlocklistedIP:    "The recipient's mail system refuses mail from our servers at the moment. Our postmaster has to look into this; try again later.",
	mail.ClassAuthFailure:      "The recipient's mail system could not verify that the message comes from your domain. Your domain's mail settings (SPF, DKIM, DMARC) need a look.",
	mail.ClassRateLimited:      "The recipient's mail system took no more mail in the time there was. Try again later.",
	mail.ClassGreylisted:       "The recipient's mail system asked to come back later, until the time was over. Try again later.",
	mail.ClassRelayDenied:      "The recipient's mail system says that it is not responsible for this address. Check the address, or tell the recipient.",
	mail.ClassProtocol:         "The recipient's mail system refused the message for a technical reason, which stands below.",
	mail.ClassTransientSystem:  "The recipient's mail system had trouble and did not recover in time. Try again later.",
	mail.ClassNetwork:          "The recipient's mail system could not be reached. Check the part after the @ for typing mistakes, or try again later.",
	mail.ClassExpired:          "The message could not be delivered in the time there was. Try again later.",
}

// words say what happened to one recipient.
func (t *told) words(kind report.Kind) string {
	e := t.event
	switch {
	case kind == report.Delay:
		return "It could not be delivered yet. It is tried again; you need not send it again."
	case e.Type == mail.EventRelayed:
		return "It was handed on to a mail system that does not report further. If it fails there, you may or may not be told."
	case kind == report.Delivered && e.Report == nil:
		return "The recipient's mail system accepted it. Whether it was read, nobody knows."
	case kind == report.Delivered:
		return "The recipient's mail system reports that it was delivered."
	case e.Type == mail.EventSuppressed:
		return "It was not sent: earlier mail to this address failed, or the recipient wants none. Ask your mail administrator if the address is right."
	case e.Type == mail.EventExpired && (e.Class == mail.ClassExpired || e.Class == ""):
		return classWords[mail.ClassExpired]
	}
	if w := classWords[e.Class]; w != "" {
		return w
	}
	return "The recipient's mail system refused it for the reason below."
}

// compose writes a notice.
func (n *Notifier) compose(ctx context.Context, msg *mail.Message, list []told, kind report.Kind, id string) ([]byte, error) {
	more := 0
	if len(list) > maxNoticeRecipients {
		more, list = len(list)-maxNoticeRecipients, list[:maxNoticeRecipients]
	}
	d := &report.Notice{
		Kind: kind, From: "Mail delivery <postmaster@" + n.o.Hostname + ">", To: msg.From, Date: n.o.Now(), MessageID: id + "@" + n.o.Hostname,
		ReportingMTA: n.o.Hostname, EnvelopeID: msg.EnvID, Arrival: msg.AcceptedAt, InReplyTo: msg.RFC822ID,
	}
	late := true
	for i := range list {
		e := list[i].event
		late = late && e.Late
		r, err := noticeRecipient(&list[i], kind, msg.ExpiresAt)
		if err != nil {
			return nil, fmt.Errorf("feedback: notice of %s: %w", e.ID, err)
		}
		d.Recipients = append(d.Recipients, r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "This is the mail system at %s.\n\n", n.o.Hostname)
	whom := "1 recipient"
	if len(list)+more > 1 {
		whom = fmt.Sprintf("%d recipients", len(list)+more)
	}
	switch {
	case kind == report.Delay:
		d.Subject = "Delayed: " + subjectOf(msg)
		fmt.Fprintf(&b, "Your message to %s is delayed. It will be tried until %s.\n", whom, when(msg.ExpiresAt))
	case kind == report.Delivered:
		d.Subject = "Delivered: " + subjectOf(msg)
		fmt.Fprintf(&b, "You asked to be told: your message to %s went on.\n", whom)
	case late:
		d.Subject = "Not delivered: " + subjectOf(msg)
		fmt.Fprintf(&b, "Your message to %s was accepted at first, and came back later: it was not delivered.\nIt is not tried again.\n", whom)
	default:
		d.Subject = "Not delivered: " + subjectOf(msg)
		fmt.Fprintf(&b, "Your message could not be delivered to %s. It is not tried again.\n", whom)
	}
	for i := range list {
		e, r := list[i].event, &d.Recipients[i]
		fmt.Fprintf(&b, "\n<%s>\n  %s\n", e.Recipient, list[i].words(kind))
		if r.Diagnostic != "" {
			said := "The answer was"
			if r.RemoteMTA != "" {
				said = r.RemoteMTA + " said"
			}
			fmt.Fprintf(&b, "  %s: %s\n", said, strings.Join(strings.Fields(r.Diagnostic), " "))
		}
	}
	if more > 0 {
		fmt.Fprintf(&b, "\nand %d more recipients, too many to be listed.\n", more)
	}
	fmt.Fprintf(&b, "\nThe message:\n  Subject: %s\n  From: %s\n  Sent: %s\n", subjectOf(msg), msg.HeaderFrom, when(msg.AcceptedAt))
	if msg.RFC822ID != "" {
		fmt.Fprintf(&b, "  Message-ID: <%s>\n", msg.RFC822ID)
	}
	d.Text = b.String()
	var err error
	d.Original, d.Whole, err = n.original(ctx, msg)
	if err != nil {
		return nil, err
	}
	return report.Build(d), nil
}

func noticeRecipient(t *told, kind report.Kind, until time.Time) (report.NoticeRecipient, error) {
	e := t.event
	to, err := mail.ParseAddress(e.Recipient)
	if err != nil {
		return report.NoticeRecipient{}, err
	}
	r := report.NoticeRecipient{Final: to, Original: t.orcpt, Action: report.Failed}
	switch {
	case kind == report.Delay:
		r.Action, r.WillRetryUntil = report.Delayed, until
	case kind == report.Delivered && e.Report != nil:
		r.Action = report.ActionDelivered
	case kind == report.Delivered: // into a system that makes no reports of its own (RFC 3461 §5.2.2)
		r.Action = report.Relayed
	}
	if a := e.Attempt; a != nil {
		r.RemoteMTA, r.LastAttempt = a.Host, a.At
		if a.Code != 0 || a.Host != "" {
			r.Diagnostic = a.Reply // else they are our own words
		}
		if s, _, ok := smtp.ParseEnhanced(a.Enhanced); ok {
			r.Status = s
		}
	}
	switch {
	case e.Type == mail.EventSuppressed:
		r.Status = smtp.Enhanced{5, 7, 1}
	case e.Type == mail.EventExpired && r.Status.IsZero():
		r.Status = smtp.Enhanced{4, 4, 7}
	}
	return r, nil
}

// original is what a notice returns of the message: all of it where the sender asked for that (RET=FULL) and it is still
// there, with a live delivery or in the archive, else its header, else what the record knows of its header.
func (n *Notifier) original(ctx context.Context, msg *mail.Message) (b []byte, whole bool, err error) {
	if msg.Size <= maxWholeNotice {
		content, err := n.o.Content(ctx, msg.ID)
		if err != nil {
			return nil, false, fmt.Errorf("feedback: content of %s: %w", msg.ID, err)
		}
		if len(content) > 0 {
			if strings.EqualFold(msg.Ret, "FULL") {
				return content, true, nil
			}
			if end := message.HeaderEnd(content); end > 0 {
				return content[:end], false, nil
			}
		}
	}
	var h strings.Builder
	for _, f := range []struct{ name, value string }{
		{"From", msg.HeaderFrom}, {"Subject", msg.Subject}, {"Date", msg.AcceptedAt.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700")},
	} {
		if f.value != "" {
			fmt.Fprintf(&h, "%s: %s\n", f.name, strings.Join(strings.Fields(f.value), " "))
		}
	}
	if msg.RFC822ID != "" {
		fmt.Fprintf(&h, "Message-ID: <%s>\n", msg.RFC822ID)
	}
	return []byte(h.String()), false, nil
}

func subjectOf(msg *mail.Message) string {
	if msg.Subject == "" {
		return "(no subject)"
	}
	return strings.Join(strings.Fields(msg.Subject), " ")
}

func when(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }

// summary writes what one sender was not told one by one in an hour.
func (n *Notifier) summary(hour *noticeHour, o *noticeOverflow) []byte {
	from := hour.Start
	var b strings.Builder
	fmt.Fprintf(&b, "This is the mail system at %s.\n\n", n.o.Hostname)
	fmt.Fprintf(&b, "Between %s and %s more than %d notices were due to your account, too many to write one by one.\nBesides those you got:\n\n", when(from), when(from.Add(time.Hour)), NoticesPerHour)
	if o.Failed > 0 {
		fmt.Fprintf(&b, "  %d recipients did not get your mail.\n", o.Failed)
	}
	if o.Other > 0 {
		fmt.Fprintf(&b, "  %d other notices (delays, deliveries, automatic replies) were left out.\n", o.Other)
	}
	if len(o.Samples) > 0 {
		fmt.Fprintf(&b, "\nMail did not reach, among others:\n\n")
		for _, s := range o.Samples {
			fmt.Fprintf(&b, "  %s\n", s)
		}
	}
	b.WriteString("\nThe full list is in the record: ask your mail administrator.\n")
	return n.plain(o.To, fmt.Sprintf("%d more recipients did not get your mail", o.Failed), b.String(), fmt.Sprintf("summary-%s-%s", from.Format("2006010215"), o.To.Domain))
}

// errNoRaw is returned for a report that is not in the record any more.
var errNoRaw = errors.New("the reply is no longer in the record")
