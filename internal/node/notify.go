package node

import (
	"context"

	"github.com/postroad/postroad/internal/feedback"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/notify"
	"github.com/postroad/postroad/internal/route"
	"github.com/postroad/postroad/internal/submission"
)

// openNotify joins what mails people.
func (n *Node) openNotify() (err error) {
	var operators []mail.Address
	for _, a := range n.cfg.Alerts.MailTo {
		addr, err := mail.ParseAddress(a)
		if err != nil {
			return err // config has checked it
		}
		operators = append(operators, addr)
	}
	n.notify, err = notify.New(notify.Options{
		Store: n.store, Spool: n.spool.ID(), Snapshot: n.manager.Snapshot, Report: n.reporting.Report, Newest: n.spool.NewestEvent, Send: n.sendLetter,
		Hostname: n.hostname, Operators: operators, DigestHour: n.cfg.Digest.Hour, Progress: n.follower(), Logger: n.log.With("component", "notify"),
	})
	return err
}

// sendLetter takes a mail to people in, in the platform's own name. From the null sender: nobody answers it.
func (n *Node) sendLetter(ctx context.Context, m notify.Mail) error {
	l := submission.Letter{Writer: feedback.LetterWriter, To: m.To, Content: m.Content, Key: m.Key, Tags: []string{"notify"}}
	if m.AvoidRoute != "" {
		l.Tags = append(l.Tags, route.AvoidTag+m.AvoidRoute)
	}
	_, err := n.intake.Letter(ctx, l)
	return err
}

// overQuota is told when an account's mail is refused for a quota.
func (n *Node) overQuota(account, quota string) {
	if n.notify != nil {
		n.notify.Quota(account, quota)
	}
}
