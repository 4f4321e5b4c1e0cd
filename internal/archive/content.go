package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// ErrNotArchived is returned for a message whose content is not kept, or not any more.
var ErrNotArchived = errors.New("archive: the content of the message is not kept")

// Where a content comes from.
const (
	FromSpool   = "spool"   // the message is still on its way, or not archived yet
	FromArchive = "archive" // it was archived
)

// Content is what was sent, as it was stored at acceptance: the header with what the platform added to it, without
// signatures, which are made when it goes out.
type Content struct {
	Message  *mail.Message
	From     string    // FromSpool or FromArchive
	Archived time.Time // zero while it is in the spool only
	// Open returns the octets; reading fails when they are damaged.
	Open func() (io.ReadCloser, error)
	// Recipients returns up to max recipients with a delivery id greater than after.
	Recipients func(ctx context.Context, after mail.DeliveryID, max int) ([]store.ArchivedRecipient, error)
}

// Content finds the content of a message: in the archive, else in the spool. account "" looks through all accounts. ctx
// bounds the reading of the content too. It returns ErrNotArchived.
func (a *Archive) Content(ctx context.Context, account string, id mail.MessageID) (*Content, error) {
	// The spool first: what leaves it between the two looks has been archived before.
	live, lerr := a.fromSpool(ctx, account, id)
	x, err := a.o.Store.Archived(ctx, account, id)
	switch {
	case err == nil:
		return &Content{
			Message: x.Message, From: FromArchive, Archived: x.At,
			Open: func() (io.ReadCloser, error) { return a.o.Store.OpenArchived(ctx, x.Message.Account, id) },
			Recipients: func(ctx context.Context, after mail.DeliveryID, max int) ([]store.ArchivedRecipient, error) {
				return a.o.Store.ArchivedRecipients(ctx, x.Message.Account, id, after, max)
			},
		}, nil
	case lerr == nil:
		return live, nil
	case !errors.Is(err, store.ErrNotFound):
		return nil, err
	case !errors.Is(lerr, spool.ErrNotFound):
		return nil, lerr
	}
	return nil, fmt.Errorf("%w: %s", ErrNotArchived, id)
}

func (a *Archive) fromSpool(ctx context.Context, account string, id mail.MessageID) (*Content, error) {
	m, err := a.o.Spool.Message(ctx, id)
	if err != nil {
		return nil, err
	}
	if account != "" && m.Account != account {
		return nil, spool.ErrNotFound
	}
	body, err := a.o.Spool.Body(ctx, id)
	if err != nil {
		return nil, err
	}
	return &Content{
		Message: m, From: FromSpool, Open: body.Open,
		Recipients: func(ctx context.Context, after mail.DeliveryID, max int) (list []store.ArchivedRecipient, err error) {
			page, err := a.o.Record.Deliveries(ctx, id, after, max)
			for _, d := range page {
				list = append(list, store.ArchivedRecipient{Address: d.Recipient, Delivery: d.ID})
			}
			return list, err
		},
	}, nil
}
