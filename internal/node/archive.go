package node

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/postroad/postroad/internal/archive"
	"github.com/postroad/postroad/internal/feedback"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/queue"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/store/rows"
	"github.com/postroad/postroad/internal/store/sqlite"
	"github.com/postroad/postroad/internal/suppression"
)

// ArchiveDir is where the archive of sent content lies in the data folder.
const ArchiveDir = "archive"

// openArchive opens the archive and the room that fills it. Each account's content is sealed under a key of its own.
func (n *Node) openArchive(key manage.MasterKey) (err error) {
	n.kept, err = sqlite.OpenArchive(sqlite.ArchiveOptions{
		Dir: filepath.Join(n.cfg.Data, ArchiveDir), MayGrow: n.mayGrow,
		Key: archiveKey(key),
	})
	if err != nil {
		return err
	}
	n.archive, err = archive.New(archive.Options{
		Spool: n.spool, Record: n.store, Store: n.kept, Snapshot: n.manager.Snapshot, Alert: n.alerts.Tell,
		Eraser: n.eraser(key), Logger: n.log.With("component", "archive"),
	})
	return err
}

// archiveKey gives each account's key.
func archiveKey(key manage.MasterKey) func(account string) [32]byte {
	return func(account string) [32]byte { return key.Derive("archive 1 " + account) }
}

// eraser joins what an erasure has to do with the suppression list and the queue.
func (n *Node) eraser(key manage.MasterKey) *archive.Eraser {
	return &archive.Eraser{
		Store: n.store, Key: key.Derive("erasure 1"), Seal: key.Seal, Open: key.Open,
		Suppressed: n.suppressErased, Cancel: n.cancelTo, Followed: n.followed, Files: n.eraseFiles,
	}
}

// followWait is how long an erasure waits for followers before it says so and looks again later.
const followWait = 5 * time.Second

// follower returns a place for the progress of one who acts on events and may write addresses in doing so.
func (n *Node) follower() *store.Progress {
	p := new(store.Progress)
	n.followers = append(n.followers, p)
	return p
}

// followed waits until all followers have come to the end of the record, and reports whether they have.
func (n *Node) followed(ctx context.Context) (bool, error) {
	mark, err := n.store.Watermark(ctx, n.spool.ID())
	if err != nil {
		return false, err
	}
	wait, cancel := context.WithTimeout(ctx, followWait)
	defer cancel()
	for _, p := range n.followers {
		if p.Wait(wait, n.spool.ID(), mark) != nil {
			return false, ctx.Err() // nil: their time is over
		}
	}
	return true, nil
}

// eraseFiles takes an address out of the event files, and has the spool let go of what it told.
func (n *Node) eraseFiles(ctx context.Context, what store.Erasing) (lines int64, err error) {
	n.projector.Forget()
	scrub := rows.NewScrubber(what.Address, what.Marker)
	return n.projector.EraseFiles(ctx, func(line []byte) []byte { return scrub.Line(line, what.Account) })
}

func (n *Node) suppressErased(ctx context.Context, actor, note, account string, address mail.Address, always bool) error {
	if _, err := n.suppress.Erase(ctx, actor, note, address); err != nil || !always {
		return err
	}
	hash := suppression.Hash(suppression.Form(address))
	have, err := n.suppress.Of(ctx, account, hash)
	if err != nil || len(have) > 0 {
		return err
	}
	_, err = n.suppress.Add(ctx, actor, note, []platform.Suppression{{Account: account, Address: hash, Reason: "erased"}})
	return err
}

// cancelTo cancels what waits for an address, in whatever case it is written, and notices that tell of mail to it.
func (n *Node) cancelTo(ctx context.Context, account string, address mail.Address, reason string) (left int, err error) {
	left, err = n.cancelEach(ctx, queue.Filter{Account: account, Domain: address.Domain}, reason, func(d *mail.Delivery) (bool, error) {
		return d.Recipient.Folded() == address.Folded(), nil
	})
	if err != nil {
		return left, err
	}
	scrub := rows.NewScrubber(address.String(), "")
	notices := queue.Filter{Account: platform.SystemAccount, Credential: feedback.NoticeWriter}
	if account != "" {
		notices.Tag = feedback.NoticeTag + account
	}
	more, err := n.cancelEach(ctx, notices, reason, func(d *mail.Delivery) (bool, error) {
		m, err := n.spool.Message(ctx, d.Message)
		if errors.Is(err, spool.ErrNotFound) {
			return false, nil // it is over
		}
		return err == nil && scrub.Holds(m.Subject), err
	})
	return left + more, err
}

// cancelEach cancels those of the deliveries that match, and returns how many could not be: they are in flight.
func (n *Node) cancelEach(ctx context.Context, f queue.Filter, reason string, match func(*mail.Delivery) (bool, error)) (left int, err error) {
	cursor := ""
	for {
		list, next, err := n.queue.List(ctx, f, cursor, queueListPage)
		if err != nil {
			return left, err
		}
		for _, d := range list {
			if ok, err := match(d.Delivery); err != nil || !ok {
				if err != nil {
					return left, err
				}
				continue
			}
			done, err := n.queue.Cancel(ctx, queue.Filter{Delivery: d.Delivery.ID}, reason)
			if err != nil && !errors.Is(err, queue.ErrEverything) {
				return left, err
			}
			if done == 0 {
				left++
			}
		}
		if cursor = next; cursor == "" {
			return left, nil
		}
	}
}

// queueListPage is how many deliveries are looked at at one time.
const queueListPage = 1000
