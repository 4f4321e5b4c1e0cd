package feedback

import (
	"context"
	"fmt"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// bounced is what happens to a notice that could not be delivered: neither the message arrived nor the word of it, so the
// operator is told, by an alert and in the postmaster mailbox. What a report says of a notice gets there as it came, by the
// Reader; that the address is suppressed since, of those that follow, is told by the alert alone. The entry's id is made of the
// notice's delivery: after a crash the same one is written again.
func (n *Notifier) bounced(ctx context.Context, notice *mail.Message, e *mail.Event) error {
	account := noticeFor(notice)
	suppressed := e.Type == mail.EventSuppressed
	n.o.Alert(platform.Alert{
		Kind: alertNoticeBounced, Scope: "account/" + account, Last: n.o.Now().UTC(),
		Message: notArrived("a notice", notice, e) + "; its sender does not know that a message failed",
	})
	if e.Report != nil || suppressed {
		return nil
	}
	why := e.Reason
	if e.Attempt != nil && e.Attempt.Reply != "" {
		why = strings.Join(strings.Fields(e.Attempt.Reply), " ")
		if e.Attempt.Host != "" {
			why = e.Attempt.Host + " said: " + why
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "A notice to a sender of account %s could not be delivered. The sender does not know what it was to tell.\n\n", account)
	fmt.Fprintf(&b, "  To: %s\n  Subject: %s\n  Written: %s\n  Failed: %s\n  %s\n", e.Recipient, subjectOf(notice), when(notice.AcceptedAt), when(e.At), why)
	fmt.Fprintf(&b, "\nThe notice is message %s, delivery %s.\n", notice.ID, e.Delivery)
	postmaster := mail.Address{Local: mailboxPostmaster, Domain: n.o.Hostname}
	subject := "Undelivered notice: " + subjectOf(notice)
	raw := n.plain(postmaster, subject, b.String(), "undelivered-"+e.Delivery.String())
	row := &store.StoredReport{
		ID: mail.ReportID(e.Delivery), Received: e.At, Door: spool.InboxReturnPath, Kind: string(report.Other), Outcome: store.ReportKept,
		Why: "a notice that could not be delivered", Mailbox: mailboxPostmaster, To: postmaster.String(), Author: postmaster.String(), Subject: subject,
		Size: int64(len(raw)), Raw: raw,
	}
	if err := n.o.Keep(ctx, row); err != nil {
		return fmt.Errorf("feedback: keep an undelivered notice: %w", err)
	}
	return nil
}

// letterBounced raises an alert where the platform's own word does not arrive: operators at other addresses are told of it, and
// `postroad alerts` shows it until somebody clears it.
func (n *Notifier) letterBounced(letter *mail.Message, e *mail.Event) {
	n.o.Alert(platform.Alert{
		Kind: alertLetterBounced, Scope: "account/" + letter.Account, Last: n.o.Now().UTC(),
		Message: notArrived(fmt.Sprintf("mail with the subject %q", subjectOf(letter)), letter, e),
	})
}

// notArrived says that the platform's own mail did not arrive, and what to do about an address that is not written to any more.
func notArrived(what string, m *mail.Message, e *mail.Event) string {
	if e.Type != mail.EventSuppressed {
		return fmt.Sprintf("%s to %s (%s) could not be delivered", what, e.Recipient, e.Delivery)
	}
	return fmt.Sprintf("%s to %s (%s) was not sent, for the address is on the suppression list of account %s (if mail reaches it again: postroad suppress remove --account %s %s)",
		what, e.Recipient, e.Delivery, m.Account, m.Account, e.Recipient)
}
