package archive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// Limits of what is copied at one time.
const (
	// copyPage is how many messages are read from the list of what is owed at one time.
	copyPage = 256
	// copyOctets is about how much content goes into one transaction of the archive.
	copyOctets = 8 << 20
	// maxTold bounds the damaged messages that are remembered to have been logged.
	maxTold = 10_000
)

// alertKind names the alert raised while the archive cannot take what it is owed.
const alertKind = "archive"

// copyOwed copies all that is owed behind after, and returns how far it came.
func (a *Archive) copyOwed(ctx context.Context, after mail.MessageID) mail.MessageID {
	for ctx.Err() == nil {
		ids, err := a.o.Spool.Owed(ctx, after, copyPage)
		if err == nil && len(ids) == 0 {
			return after
		}
		if err == nil {
			err = a.recorded(ctx)
		}
		if err == nil {
			err = a.copyPage(ctx, ids)
		}
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, spool.ErrClosed) {
				a.trouble(err)
			}
			return after // tried again with the next look from the beginning
		}
		after = ids[len(ids)-1]
	}
	return after
}

// recorded waits until the record knows all recipients of what the spool shows by now. Meanwhile the content is safe where it
// is.
func (a *Archive) recorded(ctx context.Context) error {
	if err := store.CaughtUp(ctx, a.o.Record, a.o.Spool.ID(), a.o.Spool.NewestEvent()); err != nil {
		return fmt.Errorf("archive: wait for the record: %w", err)
	}
	return nil
}

// trouble raises the alert.
func (a *Archive) trouble(err error) {
	a.alerted = true
	a.o.Alert(platform.Alert{Kind: alertKind, Scope: "platform", Message: "content cannot be archived and stays in the spool: " + err.Error(), Last: a.o.Now().UTC()})
}

func (a *Archive) fine() {
	if a.alerted {
		a.alerted = false
		a.o.Alert(platform.Alert{Kind: alertKind, Scope: "platform", Cleared: a.o.Now().UTC()})
	}
}

// batch is what goes into the archive of one account in one call.
type batch struct {
	items  []store.ArchiveItem
	ids    []mail.MessageID
	octets int64
}

// copyPage archives a page of messages, account by account, and then releases them.
func (a *Archive) copyPage(ctx context.Context, ids []mail.MessageID) error {
	batches := map[string]*batch{}
	var done []mail.MessageID
	for _, id := range ids {
		m, err := a.o.Spool.Message(ctx, id)
		switch {
		case errors.Is(err, spool.ErrNotFound):
			done = append(done, id) // a program that knew nothing of the archive has let it go
			continue
		case err != nil:
			if err := a.damaged(id, err); err != nil {
				return err
			}
			continue
		case !a.wanted(m):
			done = append(done, id)
			continue
		}
		body, err := a.o.Spool.Body(ctx, id)
		if err != nil {
			if err := a.damaged(id, err); err != nil {
				return err
			}
			continue
		}
		b := batches[m.Account]
		if b == nil {
			b = &batch{}
			batches[m.Account] = b
		}
		b.items = append(b.items, a.item(m, body))
		b.ids = append(b.ids, id)
		if b.octets += m.Size; b.octets >= copyOctets {
			if err := a.put(ctx, m.Account, b); err != nil {
				return err
			}
			delete(batches, m.Account)
		}
	}
	for account, b := range batches {
		if err := a.put(ctx, account, b); err != nil {
			return err
		}
	}
	return a.release(ctx, done)
}

// wanted reports whether a message is still to be archived: the account may have ended its archive since.
func (a *Archive) wanted(m *mail.Message) bool {
	snap := a.o.Snapshot()
	if acc := snap.Account(m.Account); acc != nil && acc.Archive.Keeps(m.Stream) {
		return true
	}
	// Whom it went to is not looked up: what a hold may cover is kept.
	for _, h := range snap.LegalHolds() {
		if h.Recipient = ""; h.Covers(m.Account, "", m.ID) {
			return true
		}
	}
	return false
}

// keepDays is how long an account's archive is kept.
func (a *Archive) keepDays(account string) int {
	if acc := a.o.Snapshot().Account(account); acc != nil {
		return acc.Archive.Days
	}
	return 0
}

func (a *Archive) item(m *mail.Message, body mail.Body) store.ArchiveItem {
	return store.ArchiveItem{
		Message: m,
		Open:    func() (io.ReadCloser, error) { return body.Open() },
		Recipients: func(ctx context.Context, yield func(store.ArchivedRecipient) error) error {
			return a.recipients(ctx, m, yield)
		},
	}
}

// recipients are those the record has, and those the spool still has: a record that was restored from a backup may lack
// some.
func (a *Archive) recipients(ctx context.Context, m *mail.Message, yield func(store.ArchivedRecipient) error) error {
	var after mail.DeliveryID
	n := 0
	for {
		page, err := a.o.Record.Deliveries(ctx, m.ID, after, store.MaxPage)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		for _, d := range page {
			if err := yield(store.ArchivedRecipient{Address: d.Recipient, Delivery: d.ID}); err != nil {
				return err
			}
			after = d.ID
			n++
		}
		if len(page) < store.MaxPage {
			break
		}
	}
	if n >= m.Recipients {
		return nil
	}
	for after = (mail.DeliveryID{}); ; {
		page, err := a.o.Spool.Deliveries(ctx, m.ID, after, store.MaxPage)
		if err != nil {
			return err
		}
		for _, d := range page {
			// One that the record had is there already; the archive keeps the first of a delivery.
			if err := yield(store.ArchivedRecipient{Address: d.Recipient.String(), Delivery: d.ID}); err != nil {
				return err
			}
			after = d.ID
		}
		if len(page) < store.MaxPage {
			return nil
		}
	}
}

// put archives a batch and releases it.
func (a *Archive) put(ctx context.Context, account string, b *batch) error {
	err := a.o.Store.PutArchived(ctx, account, a.keepDays(account), b.items)
	var damage *spool.DamageError
	if errors.As(err, &damage) {
		// One of them cannot be read: the others go alone.
		for i := range b.items {
			err := a.o.Store.PutArchived(ctx, account, a.keepDays(account), b.items[i:i+1])
			switch {
			case errors.As(err, &damage):
				if err := a.damaged(b.ids[i], err); err != nil {
					return err
				}
			case err != nil:
				return err
			default:
				if err := a.release(ctx, b.ids[i:i+1]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	a.fine()
	return a.release(ctx, b.ids)
}

// release lets messages leave the spool.
func (a *Archive) release(ctx context.Context, ids []mail.MessageID) error {
	if len(ids) == 0 {
		return nil
	}
	return a.o.Spool.Commit(ctx, &spool.Batch{Archived: ids})
}

// damaged tells once of a message that cannot be read. It stays owed: `postroad spool check` names it, and what can be
// salvaged of it must not be thrown away here. Other errors are returned.
func (a *Archive) damaged(id mail.MessageID, err error) error {
	if errors.Is(err, spool.ErrClosed) || errors.Is(err, spool.ErrFailed) || errors.Is(err, context.Canceled) {
		return err
	}
	if !a.told[id] && len(a.told) < maxTold {
		a.told[id] = true
		a.o.Logger.Error("a message cannot be archived: it cannot be read", mail.LogEvent, "archive_damaged", mail.LogMsg, id, mail.LogErr, err)
		a.o.Alert(platform.Alert{Kind: alertKind, Scope: id.String(), Message: "the message cannot be archived: " + err.Error(), Last: a.o.Now().UTC()})
	}
	return nil
}
