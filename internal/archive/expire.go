package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

const dayLayout = "2006-01-02"

// Expire unlinks the files whose time is over. What a legal hold covers stays: of a file of which a hold covers a part, the
// rest goes.
func (a *Archive) Expire(ctx context.Context, now time.Time) error {
	files, err := a.o.Store.ArchiveFiles(ctx)
	if err != nil {
		return fmt.Errorf("archive: expire: %w", err)
	}
	var errs []error
	for _, f := range files {
		begin, err := time.Parse(dayLayout, f.Day)
		if err != nil {
			errs = append(errs, fmt.Errorf("archive: expire: file of %s named %s: %w", f.Account, f.Day, err))
			continue
		}
		days := a.keepDays(f.Account)
		if days == 0 { // the account is gone, or keeps nothing new: what was promised holds
			file, err := a.o.Store.ArchiveFile(ctx, f)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				errs = append(errs, fmt.Errorf("archive: expire: %w", err))
				continue
			}
			days = file.KeepDays
		}
		if now.Before(begin.AddDate(0, 0, days+1)) {
			continue
		}
		if err := a.drop(ctx, f, begin); err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrUnavailable) {
			errs = append(errs, fmt.Errorf("archive: expire %s of %s: %w", f.Day, f.Account, err))
		}
	}
	return errors.Join(errs...)
}

func (a *Archive) drop(ctx context.Context, f store.ArchiveName, begin time.Time) error {
	var keep []mail.MessageID
	for _, h := range a.o.Snapshot().LegalHolds() {
		if h.Account != "" && h.Account != f.Account {
			continue
		}
		if h.Recipient == "" && h.Message == "" {
			return nil // all of it is covered
		}
		ids, err := a.coveredOn(ctx, &h, f.Account, begin)
		if err != nil {
			return err
		}
		keep = append(keep, ids...)
	}
	if len(keep) > 0 {
		if file, err := a.o.Store.ArchiveFile(ctx, f); err != nil || int64(len(keep)) >= file.Messages {
			return err
		}
	}
	if err := a.o.Store.DropArchiveFile(ctx, f, keep); err != nil {
		return err
	}
	a.o.Logger.Info("archived content has expired", mail.LogEvent, "archive_expired", mail.LogTenant, f.Account, "day", f.Day, "kept", len(keep))
	return nil
}

// coveredOn returns the messages of an account's day that a hold of a recipient or message covers.
func (a *Archive) coveredOn(ctx context.Context, h *platform.LegalHold, account string, begin time.Time) (ids []mail.MessageID, err error) {
	if h.Recipient == "" {
		id, err := mail.ParseMessageID(h.Message)
		if err != nil || id.Time().Format(dayLayout) != begin.Format(dayLayout) {
			return nil, nil
		}
		if _, err := a.o.Store.Archived(ctx, account, id); err != nil {
			if errors.Is(err, store.ErrNotFound) {
				return nil, nil
			}
			return nil, err
		}
		return []mail.MessageID{id}, nil
	}
	q := store.ArchiveQuery{Account: account, Recipient: h.Recipient, From: begin, To: begin.AddDate(0, 0, 1), Max: store.MaxPage}
	for {
		page, err := a.o.Store.FindArchived(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, m := range page.Messages {
			if h.Message == "" || h.Message == m.Message.ID.String() {
				ids = append(ids, m.Message.ID)
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return ids, nil
		}
	}
}

// HeldDay reports whether a legal hold covers a delivery that was made on a day of the record.
func (a *Archive) HeldDay(ctx context.Context, day string) (bool, error) {
	begin, err := time.Parse(dayLayout, day)
	if err != nil {
		return false, fmt.Errorf("archive: day %q of the record: %w", day, err)
	}
	for _, h := range a.o.Snapshot().LegalHolds() {
		q := store.SearchQuery{Account: h.Account, Recipient: h.Recipient, From: begin, To: begin.AddDate(0, 0, 1), Max: 1}
		if h.Message != "" {
			if q.Message, err = mail.ParseMessageID(h.Message); err != nil {
				continue // validation knows no such hold
			}
		}
		for {
			page, err := a.o.Record.Search(ctx, q)
			if err != nil {
				return false, fmt.Errorf("archive: look for what a legal hold covers: %w", err)
			}
			if len(page.Deliveries) > 0 {
				return true, nil
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
	}
	return false, nil
}
