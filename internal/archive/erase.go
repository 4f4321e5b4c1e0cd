package archive

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/suppression"
)

// ErasedDomain is the domain of the markers that stand in the place of erased addresses. It can have no mail
// (RFC 6761 §6.4).
const ErasedDomain = "erased.invalid"

// Eraser is what an erasure needs besides the archive's own. All fields but Followed and Files are required for Erase.
type Eraser struct {
	Store store.Erasures
	// Key makes markers: the same for the same address, and nobody without it can tell whose one is.
	Key [32]byte
	// Seal and Open keep the address until the erasure is done, readable with the master key only.
	Seal func(context string, secret []byte) []byte
	Open func(context string, sealed []byte) ([]byte, error)
	// Suppressed turns what the suppression list has of the address into a hash. With always, a hash is entered where there
	// is nothing, for the account or, "", the platform.
	Suppressed func(ctx context.Context, actor, note, account string, address mail.Address, always bool) error
	// Cancel takes live deliveries to the address, and notices that name it, out of the queue and returns how many are left:
	// in flight.
	Cancel func(ctx context.Context, account string, address mail.Address, reason string) (left int, err error)
	// Followed waits a while until those who act on events, and write addresses in doing so, have come as far as the record
	// was when it is called, and reports whether they have. nil: there are none.
	Followed func(ctx context.Context) (bool, error)
	// Files takes the address out of the event files, in which everything is that was recorded when it is called, and returns
	// how many lines held it. nil: there are none.
	Files func(ctx context.Context, what store.Erasing) (lines int64, err error)
}

// HeldError is returned for an erasure that a legal hold forbids.
type HeldError struct{ Hold platform.LegalHold }

// Error implements error.
func (e *HeldError) Error() string {
	return fmt.Sprintf("archive: legal hold %s stands over it: %s (%s)", e.Hold.Name, e.Hold.Reason, e.Hold.Author)
}

// EraseRequest asks for an erasure.
type EraseRequest struct {
	Address mail.Address
	Account string // of this account's mail only; "": of everybody's
	Actor   string
	Note    string
	// Suppress keeps mail from the address from now on, also where it was not suppressed.
	Suppress bool
}

// errNoEraser is returned where the room was made without one.
var errNoEraser = errors.New("archive: erasing is not set up")

// Erase begins to take a person out of archive and record. When it returns without error the erasure is on disk, and Run
// finishes it, after a crash too. It returns a *HeldError.
func (a *Archive) Erase(ctx context.Context, r EraseRequest) (store.Erasure, error) {
	x := a.o.Eraser
	if x == nil {
		return store.Erasure{}, errNoEraser
	}
	address := r.Address.Folded().String()
	if hold, err := a.holdOver(ctx, r.Account, address); err != nil || hold != nil {
		if err == nil {
			err = &HeldError{*hold}
		}
		return store.Erasure{}, err
	}
	e := store.Erasure{
		ID: newErasureID(a.o.Now()), At: a.o.Now().UTC(), Actor: r.Actor, Note: r.Note, Account: r.Account,
		Hash: suppression.Hash(suppression.Form(r.Address)), Marker: x.marker(address), State: store.ErasureRunning,
	}
	e.Sealed = x.Seal("erasure/"+e.ID, []byte(r.Address.String()))
	// First, so that nothing new comes while the old is taken away.
	if err := x.Suppressed(ctx, r.Actor, r.Note, r.Account, r.Address, r.Suppress); err != nil {
		return store.Erasure{}, err
	}
	err := x.Store.PutErasure(ctx, e, store.AuditEntry{
		At: e.At, Actor: r.Actor, Action: "erase", Kind: "erasure", Name: e.ID, After: `{"hash":"` + e.Hash + `","marker":"` + e.Marker + `"}`,
		Note: strings.TrimSpace(accountNote(r.Account) + " " + r.Note),
	})
	if err != nil {
		return store.Erasure{}, fmt.Errorf("archive: begin an erasure: %w", err)
	}
	select {
	case a.erasures <- struct{}{}:
	default:
	}
	return e, nil
}

func accountNote(account string) string {
	if account == "" {
		return "all accounts"
	}
	return "account " + account
}

var erasureID = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// newErasureID returns an id that sorts by time of making to the millisecond.
func newErasureID(now time.Time) string {
	id := mail.NewMessageID(now)
	return "ers_" + strings.TrimPrefix(id.String(), mail.PrefixMessage)
}

func (x *Eraser) marker(address string) string {
	mac := hmac.New(sha256.New, x.Key[:])
	mac.Write([]byte(address))
	return "erased-" + erasureID.EncodeToString(mac.Sum(nil)[:10]) + "@" + ErasedDomain
}

// holdOver returns a legal hold that covers something of what was sent to an address, or nil.
func (a *Archive) holdOver(ctx context.Context, account, address string) (*platform.LegalHold, error) {
	for _, h := range a.o.Snapshot().LegalHolds() {
		if h.Recipient != "" && !mail.SameMailbox(h.Recipient, address) || h.Account != "" && account != "" && h.Account != account {
			continue
		}
		of := h.Account
		if of == "" {
			of = account
		}
		covers, err := a.sentTo(ctx, &h, of, address)
		if err != nil {
			return nil, err
		}
		if covers {
			return &h, nil
		}
	}
	return nil, nil
}

// sentTo reports whether archive or record hold anything sent to an address that the hold covers. account "": of anybody.
func (a *Archive) sentTo(ctx context.Context, h *platform.LegalHold, account, address string) (bool, error) {
	q := store.SearchQuery{Account: account, Recipient: address, Max: 1}
	if h.Message != "" {
		id, err := mail.ParseMessageID(h.Message)
		if err != nil {
			return false, nil // validation knows no such hold
		}
		q.Message = id
	}
	for {
		page, err := a.o.Record.Search(ctx, q)
		if err != nil {
			return false, fmt.Errorf("archive: look for what a legal hold covers: %w", err)
		}
		for _, d := range page.Deliveries {
			if mail.SameMailbox(d.Recipient, address) {
				return true, nil
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	files, err := a.o.Store.ArchiveFiles(ctx)
	if err != nil {
		return false, err
	}
	seen := map[string]bool{}
	for _, f := range files {
		if seen[f.Account] || account != "" && f.Account != account {
			continue
		}
		seen[f.Account] = true
		aq := store.ArchiveQuery{Account: f.Account, Recipient: address, Max: store.MaxPage}
		for {
			page, err := a.o.Store.FindArchived(ctx, aq)
			if err != nil {
				return false, err
			}
			for _, m := range page.Messages {
				if h.Message == "" || h.Message == m.Message.ID.String() {
					return true, nil
				}
			}
			if aq.Cursor = page.Next; aq.Cursor == "" {
				break
			}
		}
	}
	return false, nil
}

// eraseAll goes on with every unfinished erasure.
func (a *Archive) eraseAll(ctx context.Context) {
	x := a.o.Eraser
	if x == nil {
		return
	}
	list, err := x.Store.ListErasures(ctx, true, store.MaxPage)
	if err != nil {
		a.eraseFailed(ctx, "", err)
		return
	}
	for _, e := range list {
		err := a.erase(ctx, &e)
		if err == nil || ctx.Err() != nil {
			continue
		}
		a.eraseFailed(ctx, e.ID, err)
		// Whoever waits for it should know why.
		if e.Waiting = "it failed and is tried again: " + err.Error(); e.State == store.ErasureRunning {
			if err := x.Store.PutErasure(ctx, e); err != nil {
				a.eraseFailed(ctx, e.ID, err)
			}
		}
	}
}

func (a *Archive) eraseFailed(ctx context.Context, id string, err error) {
	if ctx.Err() == nil {
		a.o.Logger.Error("an erasure could not go on; tried again", mail.LogEvent, "erase_failed", "erasure", id, mail.LogErr, err)
	}
}

// erase does an erasure from its beginning: what was taken out before is not found again.
func (a *Archive) erase(ctx context.Context, e *store.Erasure) error {
	x := a.o.Eraser
	text, err := x.Open("erasure/"+e.ID, e.Sealed)
	if err != nil {
		return err
	}
	address, err := mail.ParseAddress(string(text))
	if err != nil {
		return fmt.Errorf("archive: erasure %s: %w", e.ID, err)
	}
	what := store.Erasing{Address: address.String(), Marker: e.Marker, Account: e.Account}
	hold, err := a.holdOver(ctx, e.Account, what.Address)
	if err != nil {
		return err
	}
	if hold != nil {
		return a.endErasure(ctx, e, store.ErasureRefused, (&HeldError{*hold}).Error())
	}
	// What is on its way into archive and record must be there before it can be taken out; so must what follows from it: an
	// entry on the suppression list, or the notice of a bounce. What follows from the end of that notice comes in a second turn.
	left, followed := 0, true
	for range 2 {
		if left, err = x.Cancel(ctx, e.Account, address, "the recipient is erased"); err != nil {
			return err
		}
		if err := a.recorded(ctx); err != nil {
			return err
		}
		if x.Followed == nil {
			continue
		}
		if followed, err = x.Followed(ctx); err != nil {
			return err
		}
		if !followed {
			break
		}
	}
	if err := x.Suppressed(ctx, e.Actor, e.Note, e.Account, address, false); err != nil {
		return err
	}
	a.copyOwed(ctx, mail.MessageID{})
	owed, err := a.o.Spool.Owed(ctx, mail.MessageID{}, 1)
	if err != nil {
		return err
	}
	if err := a.eraseEverywhere(ctx, e, what); err != nil {
		return err
	}
	switch {
	case left > 0:
		e.Waiting = fmt.Sprintf("%d deliveries to the address, or of notices that name it, are being tried this moment", left)
	case len(owed) > 0:
		e.Waiting = "content is still on its way into the archive"
	case !followed:
		e.Waiting = "what happened to mail for the address is still being acted on"
	default:
		return a.endErasure(ctx, e, store.ErasureDone, "")
	}
	return x.Store.PutErasure(ctx, *e) // done again with the next look
}

// eraseEverywhere takes the address out, day by day. The counts are kept with every day, so that a crash costs none.
func (a *Archive) eraseEverywhere(ctx context.Context, e *store.Erasure, what store.Erasing) error {
	x := a.o.Eraser
	files, err := a.o.Store.ArchiveFiles(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if e.Account != "" && f.Account != e.Account {
			continue
		}
		n, err := a.o.Store.EraseArchived(ctx, f, store.ArchiveErasure{Address: what.Address, Marker: what.Marker})
		if err != nil && !errors.Is(err, store.ErrNotFound) { // it may have expired meanwhile
			return err
		}
		if err := a.noteErased(ctx, e, store.Erased{Archived: n.Messages, Shared: n.Recipients}); err != nil {
			return err
		}
	}
	days, err := x.Store.RecordDays(ctx)
	if err != nil {
		return err
	}
	for _, day := range days {
		n, err := x.Store.EraseRecorded(ctx, day, what)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := a.noteErased(ctx, e, n); err != nil {
			return err
		}
	}
	n, err := x.Store.EraseState(ctx, what)
	if err != nil {
		return err
	}
	if err := a.noteErased(ctx, e, store.Erased{Entries: n}); err != nil || x.Files == nil {
		return err
	}
	n, err = x.Files(ctx, what)
	return errors.Join(err, a.noteErased(ctx, e, store.Erased{Lines: n}))
}

func (a *Archive) noteErased(ctx context.Context, e *store.Erasure, n store.Erased) error {
	if n == (store.Erased{}) {
		return nil
	}
	e.Counts.Add(n)
	return a.o.Eraser.Store.PutErasure(ctx, *e)
}

// endErasure forgets the address and writes the end into the audit log.
func (a *Archive) endErasure(ctx context.Context, e *store.Erasure, state store.ErasureState, why string) error {
	e.State, e.Waiting, e.Sealed, e.Ended = state, why, nil, a.o.Now().UTC()
	c := e.Counts
	return a.o.Eraser.Store.PutErasure(ctx, *e, store.AuditEntry{
		At: e.Ended, Actor: e.Actor, Action: "erase." + string(state), Kind: "erasure", Name: e.ID,
		After: fmt.Sprintf(`{"deliveries":%d,"events":%d,"messages":%d,"reports":%d,"archived":%d,"shared":%d,"entries":%d,"lines":%d}`,
			c.Deliveries, c.Events, c.Messages, c.Reports, c.Archived, c.Shared, c.Entries, c.Lines),
		Note: why,
	})
}

// Erasures returns those asked for, newest first.
func (a *Archive) Erasures(ctx context.Context, max int) ([]store.Erasure, error) {
	if a.o.Eraser == nil {
		return nil, errNoEraser
	}
	return a.o.Eraser.Store.ListErasures(ctx, false, max)
}

// Erasure returns one. It returns store.ErrNotFound.
func (a *Archive) Erasure(ctx context.Context, id string) (store.Erasure, error) {
	if a.o.Eraser == nil {
		return store.Erasure{}, errNoEraser
	}
	return a.o.Eraser.Store.FindErasure(ctx, id)
}
