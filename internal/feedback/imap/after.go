package imap

import (
	"context"
	"strings"
	"time"

	imap "github.com/emersion/go-imap/v2"

	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/platform"
)

// after does with a mail that was taken what its mailbox says. Without the server's means to remove one mail alone
// (UIDPLUS, RFC 4315) the mail stays behind, marked \Deleted: EXPUNGE would remove what others have marked.
func (c *conn) after(ctx context.Context, uid imap.UID, what string) error {
	set := imap.UIDSetNum(uid)
	folder, moves := strings.CutPrefix(what, platform.MailboxMove)
	if !moves {
		if what == platform.MailboxDelete {
			return c.remove(ctx, set)
		}
		return c.mark(ctx, set, imap.FlagSeen)
	}
	caps := c.client.Caps()
	return c.step(ctx, "move to "+folder, answerTimeout, func() error {
		if caps.Has(imap.CapMove) {
			_, err := c.client.Move(set, folder).Wait()
			return err
		}
		if _, err := c.client.Copy(set, folder).Wait(); err != nil {
			return err
		}
		return c.remove(ctx, set)
	})
}

func (c *conn) mark(ctx context.Context, set imap.UIDSet, flag imap.Flag) error {
	return c.step(ctx, "mark "+string(flag), answerTimeout, func() error {
		return c.client.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{flag}}, nil).Close()
	})
}

func (c *conn) remove(ctx context.Context, set imap.UIDSet) error {
	if err := c.mark(ctx, set, imap.FlagDeleted); err != nil || !c.client.Caps().Has(imap.CapUIDPlus) {
		return err
	}
	return c.step(ctx, "remove", answerTimeout, func() error { return c.client.UIDExpunge(set).Close() })
}

// idle waits until the server tells of new mail, but not longer than most.
func (c *conn) idle(ctx context.Context, most time.Duration) error {
	var told func() error
	err := c.step(ctx, "idle", answerTimeout, func() error {
		cmd, err := c.client.Idle()
		if err == nil {
			told = func() error {
				if err := cmd.Close(); err != nil {
					return err
				}
				return cmd.Wait()
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-c.grown:
	case <-t.C:
	case <-c.client.Closed():
	case <-ctx.Done():
	}
	return c.step(ctx, "end idle", answerTimeout, told)
}

// maxNoticeHeader is where the search for NoticeField ends, in octets.
const maxNoticeHeader = 64 << 10

// ownNotice reports whether a mail is a notice this platform wrote itself: our field and a Message-ID of ours. Somebody who
// writes both hides a report of his own.
func (r *reader) ownNotice(raw []byte) bool {
	head, _ := message.ReadHeaderLenient(raw, maxNoticeHeader)
	id, _ := head.Get("Message-ID")
	return r.o.Hostname != "" && head.Count(NoticeField) > 0 && strings.HasSuffix(strings.TrimSpace(strings.ToLower(id)), "@"+strings.ToLower(r.o.Hostname)+">")
}
