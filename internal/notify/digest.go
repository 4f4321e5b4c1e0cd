package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postroad/postroad/internal/figures"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/paper"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

const day = 24 * time.Hour

// maxCatchUp is how many digests an account gets at once after the platform was down or could not send; older ones are
// left out, with a log line.
const maxCatchUp = 31

// digestKey is where the first day after the last digest's period is kept, with the cadence: "weekly 2026-03-30".
func digestKey(account string) string { return "notify/digest/" + account }

// digests sends those that are due.
func (s *Service) digests(ctx context.Context) error {
	state := s.o.Snapshot().State()
	var errs []error
	for i := range state.Accounts {
		err := s.digest(ctx, &state.Accounts[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("notify: digest of %s: %w", state.Accounts[i].Name, err))
		}
		if errors.Is(err, errBehind) {
			break // it is so for all
		}
	}
	return errors.Join(errs...)
}

// errBehind says that the record has not come as far as the spool, as after a start: what happened in a period that is over may
// still be on its way into it.
var errBehind = errors.New("the record is behind")

func (s *Service) recorded(ctx context.Context) error {
	if s.o.Newest == nil {
		return nil
	}
	newest := s.o.Newest()
	mark, err := s.o.Store.WaitFor(ctx, s.o.Spool, newest)
	if err == nil && mark < newest {
		err = errBehind
	}
	return err
}

func (s *Service) digest(ctx context.Context, a *platform.Account) error {
	key := digestKey(a.Name)
	have, err := s.o.Store.GetMeta(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	to, ok := contact(a)
	if a.Digest == "" || a.Digest == platform.DigestOff || !ok {
		if len(have) == 0 {
			return nil
		}
		return s.o.Store.DeleteMeta(ctx, key) // one that is turned on again begins anew
	}
	end := lastEnd(a.Digest, s.o.Now().UTC().Add(-time.Duration(s.o.DigestHour)*time.Hour))
	from, ok := parseMark(string(have), a.Digest)
	if !ok {
		// The first one is of the period that runs now.
		return s.o.Store.PutMeta(ctx, key, []byte(mark(a.Digest, end)))
	}
	if n := count(a.Digest, from, end); n > maxCatchUp {
		s.o.Logger.Warn("old digests are left out", mail.LogEvent, "digests_skipped", "tenant", a.Name, "count", n-maxCatchUp)
		for ; n > maxCatchUp; n-- {
			from = next(a.Digest, from)
		}
	}
	if from.Before(end) {
		if err := s.recorded(ctx); err != nil {
			return err
		}
	}
	for from.Before(end) {
		to2 := next(a.Digest, from)
		if err := s.sendDigest(ctx, a, to, figures.Period{Name: string(a.Digest), From: from, To: to2}); err != nil {
			return err
		}
		if err := s.o.Store.PutMeta(ctx, key, []byte(mark(a.Digest, to2))); err != nil {
			return err
		}
		from = to2
	}
	return nil
}

func (s *Service) sendDigest(ctx context.Context, a *platform.Account, to mail.Address, p figures.Period) error {
	r, err := s.o.Report(ctx, a.Name, p)
	if err != nil {
		return err
	}
	letter, err := paper.Digest(r)
	if err != nil {
		return err
	}
	return s.send(ctx, to, "digest/"+a.Name+"/"+mark(a.Digest, p.To), letter, "")
}

// lastEnd is the end of the last period that is over at a time.
func lastEnd(d platform.Digest, at time.Time) time.Time {
	today := at.UTC().Truncate(day)
	switch d {
	case platform.DigestWeekly:
		return today.AddDate(0, 0, -int((today.Weekday()+6)%7)) // weeks begin on Monday (ISO 8601)
	case platform.DigestMonthly:
		return time.Date(today.Year(), today.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	return today
}

// next is the end of the period that begins at a time.
func next(d platform.Digest, from time.Time) time.Time {
	switch d {
	case platform.DigestWeekly:
		return from.AddDate(0, 0, 7)
	case platform.DigestMonthly:
		return from.AddDate(0, 1, 0)
	}
	return from.AddDate(0, 0, 1)
}

func count(d platform.Digest, from, end time.Time) (n int) {
	for ; from.Before(end); from = next(d, from) {
		n++
	}
	return n
}

const markLayout = "2006-01-02"

func mark(d platform.Digest, end time.Time) string { return string(d) + " " + end.Format(markLayout) }

// parseMark reads a mark of this cadence.
func parseMark(text string, d platform.Digest) (time.Time, bool) {
	prefix := string(d) + " "
	if len(text) != len(prefix)+len(markLayout) || text[:len(prefix)] != prefix {
		return time.Time{}, false
	}
	t, err := time.Parse(markLayout, text[len(prefix):])
	return t, err == nil && lastEnd(d, t).Equal(t)
}
