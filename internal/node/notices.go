package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/postroad/postroad/internal/archive"
	"github.com/postroad/postroad/internal/feedback"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/submission"
)

// openNotices joins those who tell submitters with the record they read and the way their mail goes out.
func (n *Node) openNotices() (err error) {
	n.notices, err = feedback.NewNotifier(feedback.NoticeOptions{
		Store: n.store, Spool: n.spool.ID(), Snapshot: n.manager.Snapshot, Letter: n.noticeLetter, Hostname: n.hostname,
		CaughtUp: n.caughtUp, Content: n.keptContent, Keep: n.keepForOperator, Alert: n.alerts.Tell, Window: scaled(feedback.NoticeWindow, n.o.Pace),
		Progress: n.follower(), Logger: n.log.With("component", "notices"),
	})
	return err
}

// noticeLetter sends a notice as the platform's own mail: in the account's name it would count among what the customer
// sent, and a notice that bounces would keep the customer from its own address.
func (n *Node) noticeLetter(ctx context.Context, l feedback.NoticeLetter) error {
	_, err := n.intake.Letter(ctx, submission.Letter{
		Writer: l.Writer, To: []mail.Address{l.To}, Content: l.Content, Key: l.Key, Tags: []string{feedback.NoticeTag + l.Account},
	})
	var refused *submission.Error
	if errors.As(err, &refused) && !refused.Kind.Temporary() {
		return fmt.Errorf("%w: %w", feedback.ErrLetterRefused, err)
	}
	return err
}

// keepForOperator puts a mail of the platform's own into the operator's mailbox.
func (n *Node) keepForOperator(ctx context.Context, row *store.StoredReport) error {
	return n.store.PutReports(ctx, []*store.StoredReport{row})
}

// caughtUp waits until the record holds what the spool shows by now.
func (n *Node) caughtUp(ctx context.Context) error {
	return store.CaughtUp(ctx, n.store, n.spool.ID(), n.spool.NewestEvent())
}

// keptContent returns the content of a message while deliveries of it are live, or while it is archived. What cannot be read is
// not there: a notice without the message is better than none.
func (n *Node) keptContent(ctx context.Context, id mail.MessageID) ([]byte, error) {
	c, err := n.archive.Content(ctx, "", id)
	var content []byte
	if err == nil {
		var r io.ReadCloser
		if r, err = c.Open(); err == nil {
			content, err = io.ReadAll(r)
			err = errors.Join(err, r.Close())
		}
	}
	switch {
	case err == nil:
		return content, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !errors.Is(err, archive.ErrNotArchived):
		n.log.Warn("a notice goes without the message it is about", mail.LogEvent, "notice_no_content", mail.LogMsg, id, mail.LogErr, err)
	}
	return nil, nil
}

// scaled is a time at the pace of a practice platform.
func scaled(d time.Duration, pace float64) time.Duration {
	if pace <= 0 {
		return d
	}
	return time.Duration(float64(d) * pace)
}
