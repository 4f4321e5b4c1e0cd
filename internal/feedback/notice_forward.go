package feedback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime/quotedprintable"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/store"
)

// maxForwarded bounds an automatic reply that is passed on, in octets; of a larger one the text is told.
const maxForwarded = 1 << 20

// forwards reports whether automatic replies to a message are passed on to its sender.
func forwards(a *platform.Account, msg *mail.Message) bool {
	switch a.ForwardAutoreplies {
	case platform.ForwardOff:
		return false
	case platform.ForwardAll:
		return true
	case string(mail.Transactional), string(mail.Bulk):
		return string(msg.Stream) == a.ForwardAutoreplies
	}
	// Not set: to people, who would get the reply themselves if the return path were theirs; never for bulk mail.
	i := slices.IndexFunc(a.Credentials, func(c platform.Credential) bool { return c.Name == msg.Credential })
	return msg.Stream == mail.Transactional && i >= 0 && a.Credentials[i].Kind != platform.CredentialAPI
}

// forward passes an automatic reply that came to our return path on to the sender of the message it answers: as it is, in a
// mail around it from the null sender, once for each delivery. A reply to that goes nowhere: there is no loop (RFC 3834 §2).
func (n *Notifier) forward(ctx context.Context, account *platform.Account, msg *mail.Message, e *mail.Event) error {
	if !forwards(account, msg) || e.Report == nil {
		return nil
	}
	// Away-from-desk replies come once per correspondent; a mailbox that answers everything is told of once per delivery.
	timeline, err := n.o.Store.Timeline(ctx, e.Delivery)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("feedback: reply %s: %w", e.ID, err)
	}
	for _, x := range timeline {
		if x.Type == mail.EventAutoReplied && x.ID.Seq < e.ID.Seq {
			return nil
		}
	}
	reply, err := n.o.Store.Report(ctx, e.Report.ID)
	if errors.Is(err, store.ErrNotFound) {
		n.o.Logger.Warn("an automatic reply is not passed on", mail.LogEvent, "notice_no_reply", mail.LogMsg, msg.ID, mail.LogErr, errNoRaw)
		return nil
	}
	if err != nil {
		return fmt.Errorf("feedback: reply %s: %w", e.ID, err)
	}
	if !n.mayWrite(account.Name) {
		n.countOver(account.Name, msg.From, report.AutoReply, e, 1)
		n.stats.over.Add(1)
		return nil
	}
	return n.letter(ctx, account, msg, n.wrap(msg, e, reply), report.AutoReply, e)
}

// wrap puts a reply into a mail to the sender of the message.
func (n *Notifier) wrap(msg *mail.Message, e *mail.Event, reply *store.StoredReport) []byte {
	var text strings.Builder
	author := reply.Author
	if author == "" {
		author = e.Recipient
	}
	fmt.Fprintf(&text, "An automatic reply came to your message %q to %s.", subjectOf(msg), e.Recipient)
	whole := len(reply.Raw) <= maxForwarded && reply.Truncated == 0 && len(reply.Raw) > 0
	if whole {
		text.WriteString(" It is attached as it came.\n")
	} else {
		text.WriteString(" It is too large to be attached.\n")
	}
	if t := strings.TrimSpace(report.Parse(reply.Raw, report.Limits{}).Text); t != "" {
		if len(t) > maxQuoted {
			t = strings.ToValidUTF8(t[:maxQuoted], "") + " …"
		}
		fmt.Fprintf(&text, "\n%s wrote:\n\n  %s\n", author, strings.ReplaceAll(t, "\n", "\n  "))
	}
	subject := "Automatic reply from " + author
	if reply.Subject != "" {
		subject = "Automatic reply: " + reply.Subject
	}
	if !whole {
		return n.plain(msg.From, subject, text.String(), "reply-"+e.ID.String())
	}
	b := &bytes.Buffer{}
	boundary := "reply_" + e.ID.String()
	n.head(b, msg.From, subject, "reply-"+e.ID.String())
	fmt.Fprintf(b, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n--%s\r\n", boundary, boundary)
	writeText(b, text.String())
	fmt.Fprintf(b, "\r\n--%s\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"reply.eml\"\r\n", boundary)
	if !sevenBit(reply.Raw) {
		b.WriteString("Content-Transfer-Encoding: 8bit\r\n")
	}
	b.WriteString("\r\n")
	b.WriteString(lines(reply.Raw))
	fmt.Fprintf(b, "\r\n--%s--\r\n", boundary)
	return b.Bytes()
}

// lines mends what no mail may hold: bare CR and LF, and NUL.
func lines(raw []byte) string {
	s := strings.ReplaceAll(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\x00", "")
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r", "\n"), "\n", "\r\n")
}

// maxQuoted bounds the text of a reply that is quoted, in octets.
const maxQuoted = 2000

// plain writes a mail of text alone.
func (n *Notifier) plain(to mail.Address, subject, text, id string) []byte {
	b := &bytes.Buffer{}
	n.head(b, to, subject, id)
	writeText(b, text)
	return b.Bytes()
}

// head writes the header of a mail but for its content fields.
func (n *Notifier) head(b *bytes.Buffer, to mail.Address, subject, id string) {
	if len(subject) > mail.MaxSubject {
		subject = strings.ToValidUTF8(subject[:mail.MaxSubject], "")
	}
	subject = message.EncodeWords(strings.Join(strings.Fields(subject), " "), len("Subject: "))
	fmt.Fprintf(b, "From: Mail delivery <postmaster@%s>\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\n",
		n.o.Hostname, to, subject, n.o.Now().Format("Mon, 02 Jan 2006 15:04:05 -0700"), id, n.o.Hostname)
	fmt.Fprintf(b, "Auto-Submitted: auto-generated\r\n%s: notice\r\nMIME-Version: 1.0\r\n", report.NoticeField)
}

func writeText(b *bytes.Buffer, text string) {
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	q := quotedprintable.NewWriter(b)
	_, _ = q.Write([]byte(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n"))) // a Buffer takes everything
	_ = q.Close()
	b.WriteString("\r\n")
}

func sevenBit(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c >= utf8.RuneSelf })
}
