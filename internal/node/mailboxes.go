package node

import (
	"context"
	"errors"
	"sync"

	"github.com/postroad/postroad/internal/feedback/imap"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// openMailboxes joins the bounce mailboxes with what keeps their reports.
func (n *Node) openMailboxes() (err error) {
	taken := &takenReports{inbox: n.spool.ReadInbox, report: n.store.Report}
	n.mailboxes, err = imap.New(imap.Options{
		Snapshot: n.manager.Snapshot, Password: n.manager.MailboxPassword, Meta: n.store, Hostname: n.hostname,
		Put: func(ctx context.Context, e spool.InboxEntry) error {
			if _, err := n.inbox().PutInbox(ctx, e); err != nil {
				return err
			}
			n.feedback.Wake()
			return nil
		},
		Known: taken.known, Alert: n.alerts.Tell, Pace: n.o.Pace, Logger: n.log.With("component", "imap"),
	})
	return err
}

// takenReports tells which reports are stored: those in the inbox when it is first asked, which an earlier process put
// there, and those in the record.
type takenReports struct {
	inbox  func(ctx context.Context, after uint64, max int) ([]spool.InboxEntry, error)
	report func(context.Context, mail.ReportID) (*store.StoredReport, error)

	mu      sync.Mutex
	read    bool
	waiting map[string]bool
}

// inboxPage is how many inbox entries are read at one time.
const inboxPage = 16

func (t *takenReports) known(ctx context.Context, id mail.ReportID) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.read {
		waiting := map[string]bool{}
		for after := uint64(0); ; {
			list, err := t.inbox(ctx, after, inboxPage)
			if err != nil {
				return false, err
			}
			if len(list) == 0 {
				break
			}
			for i := range list {
				if list[i].Kind == spool.InboxIMAP {
					waiting[list[i].Meta[spool.MetaReport]] = true
				}
			}
			after = list[len(list)-1].Seq
		}
		t.waiting, t.read = waiting, true
	}
	if t.waiting[id.String()] {
		return true, nil
	}
	// The reader stores a report before it leaves the inbox.
	_, err := t.report(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
