package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/compose"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/submission"
)

// forwarder returns what sends mail for postmaster@ and abuse@ on to the operator's own address; nil: none is set.
func (n *Node) forwarder() func(context.Context, *store.StoredReport) error {
	to, err := mail.ParseAddress(n.cfg.ReturnPath.ForwardTo)
	if err != nil {
		return nil // empty; config has checked all else
	}
	return func(ctx context.Context, row *store.StoredReport) error { return n.forward(ctx, row, to) }
}

// forward sends one mail on, as an attachment: sent as it came it would fail the checks of its author's domain.
func (n *Node) forward(ctx context.Context, row *store.StoredReport, to mail.Address) error {
	if row.Mailbox != "postmaster" && row.Mailbox != "abuse" {
		return nil
	}
	// What is sent on comes from postmaster@, too, so answers of machines to it come back here: sent on again they would go
	// round for ever.
	switch report.Kind(row.Kind) {
	case report.AutoReply, report.Challenge:
		return nil
	case report.Bounce, report.Delay, report.Delivered:
		if tells(row, to) {
			n.notForwarded(row, to, fmt.Errorf("it says that mail to %s is not delivered", to))
			return nil
		}
	}
	author := row.Author
	if author == "" {
		author = "<>"
	}
	about := ""
	if row.Why != "" {
		about = "About it: " + plain(row.Why) + ".\n"
	}
	raw, err := compose.Build(compose.Message{
		From: compose.Mailbox{Name: "Postroad", Address: mail.Address{Local: "postmaster", Domain: n.hostname}},
		To:   []compose.Mailbox{{Address: to}}, Subject: plain(row.Mailbox + ": " + cmp.Or(row.Subject, "(no subject)")), Date: row.Received,
		MessageID: row.ID.String() + "@" + n.hostname, Seed: []byte(row.ID.String()),
		Text: fmt.Sprintf("Mail for %s came from %s (%s) at %s.\n%sIt is attached as it came, and kept as %s.\n",
			plain(row.To), plain(author), row.Client, row.Received.Format(time.RFC3339), about, row.ID),
		Attachments: []compose.Attachment{{Filename: row.ID.String() + ".eml", ContentType: attachedAs(row.Raw), Content: row.Raw}},
		Headers:     []compose.HeaderField{{Name: "Auto-Submitted", Value: "auto-generated"}}, // RFC 3834 §5
	})
	if err == nil {
		_, err = n.intake.Letter(ctx, submission.Letter{Writer: "forward", To: []mail.Address{to}, Content: raw, Key: row.ID.String()})
	}
	var refused *submission.Error
	if errors.As(err, &refused) && refused.Kind.Temporary() {
		return err
	}
	if err != nil {
		n.notForwarded(row, to, err)
	}
	return nil
}

func (n *Node) notForwarded(row *store.StoredReport, to mail.Address, why error) {
	n.alerts.Tell(platform.Alert{
		Kind: "operator-mail-not-forwarded", Scope: "mailbox/" + row.Mailbox,
		Message: fmt.Sprintf("mail %s for %s@ cannot be sent on to %s, and is kept only: %v", row.ID, row.Mailbox, to, why),
	})
}

// tells reports whether a report speaks of an address.
func tells(row *store.StoredReport, a mail.Address) bool {
	return slices.ContainsFunc(row.Recipients, func(rc store.ReportRecipient) bool {
		return mail.SameMailbox(rc.Address, a.String()) || mail.SameMailbox(rc.Original, a.String())
	})
}

// attachedAs is the type a mail is attached as: itself, where nothing in it needs an encoding, for a mail within a mail
// may have none (RFC 2046 §5.2.1).
func attachedAs(raw []byte) string {
	for line := range bytes.Lines(raw) {
		if len(line) > compose.MaxHeaderLine || bytes.ContainsFunc(line, func(r rune) bool { return r >= 0x80 }) {
			return "application/octet-stream"
		}
	}
	return "message/rfc822"
}

// plain makes text from outside fit for a field: what could not stand there becomes a question mark.
func plain(text string) string {
	const longest = 200 // octets
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, text)
	for len(text) > longest {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
