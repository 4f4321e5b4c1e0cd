package manage

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/suppression"
)

// MaxSuppressionReason bounds the reason of an entry, in octets: a reply fits.
const MaxSuppressionReason = 300

// maxAudited is up to how many entries of one change have an audit entry each; more share one with their number.
const maxAudited = 100

// The actions the audit log has of the suppression list, besides create and delete of one entry.
const (
	ActionImport = "import"
	ActionUndo   = "undo"
	ActionErase  = "erase"
)

// prepare brings an entry somebody made into the form it is stored in. The error says what is wrong with it.
func (s *Suppressions) prepare(x *platform.Suppression, now time.Time) (problem string) {
	subject, err := suppression.Subject(x.Address)
	if err != nil {
		return strings.TrimPrefix(err.Error(), suppression.ErrBadSubject.Error()+": "+mail.ErrBadAddress.Error()+": ")
	}
	x.Address = subject
	if x.Class == platform.CauseNone {
		x.Class = platform.CauseManual
	}
	if x.Since.IsZero() {
		x.Since = now
	}
	x.Since, x.Expires = x.Since.UTC().Truncate(time.Microsecond), x.Expires.UTC().Truncate(time.Microsecond)
	switch {
	case x.Account != "" && !s.o.Known(x.Account):
		return fmt.Sprintf("there is no account %.63q", x.Account)
	case x.Stream != "" && !x.Stream.Valid():
		return "the stream is neither transactional nor bulk; leave it empty for both"
	case !x.Class.Valid():
		return fmt.Sprintf("the class is none of %v", platform.Causes)
	case !utf8.ValidString(x.Reason) || strings.ContainsFunc(x.Reason, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }):
		return "the reason is not text"
	case len(x.Reason) > MaxSuppressionReason:
		return fmt.Sprintf("the reason is longer than %d octets", MaxSuppressionReason)
	case x.Since.After(now.Add(time.Hour)):
		return "since lies in the future"
	case !x.Expires.IsZero() && !x.Expires.After(now):
		return "it has expired already"
	}
	return ""
}

// Add puts entries on the list, each in the place of one for the same account, stream and address. A complaint or an
// unsubscribe that names no stream is of bulk mail. It returns them as they are stored. *Invalid lists what is wrong with which; then nothing is changed.
func (s *Suppressions) Add(ctx context.Context, actor, note string, list []platform.Suppression) ([]platform.Suppression, error) {
	now := s.o.Now().UTC()
	out := make([]platform.Suppression, len(list))
	var bad []Problem
	for i, x := range list {
		x.Actor, x.Origin = actor, mail.EventID{}
		if x.Stream == "" && x.Class.Personal() {
			x.Stream = mail.Bulk // as where we made it ourselves
		}
		if problem := s.prepare(&x, now); problem != "" {
			bad = append(bad, Problem{fmt.Sprintf("suppressions[%d]", i), problem})
		}
		out[i] = x
	}
	if len(bad) > 0 {
		return nil, &Invalid{bad}
	}
	var audit []store.AuditEntry
	if len(out) > maxAudited {
		audit = append(audit, bulkAudit(store.ActionCreate, actor, note, now, map[string]any{"count": len(out)}))
	} else {
		for i := range out {
			audit = append(audit, entryAudit(store.ActionCreate, actor, note, now, nil, &out[i]))
		}
	}
	s.change.RLock()
	defer s.change.RUnlock()
	s.note(out...)
	if err := s.o.Store.PutSuppressions(ctx, out, audit...); err != nil {
		return nil, fmt.Errorf("manage: add suppressions: %w", err)
	}
	s.counts.Added.Add(uint64(len(out)))
	s.o.Logger.Info("suppressions added", mail.LogEvent, "suppressions_added", "actor", actor, "count", len(out))
	return out, nil
}

// entryAudit is the audit entry of a change of one entry.
func entryAudit(action, actor, note string, at time.Time, before, after *platform.Suppression) store.AuditEntry {
	a := store.AuditEntry{At: at, Actor: actor, Action: action, Kind: store.KindSuppression, Note: note}
	text := func(x *platform.Suppression) string {
		if x == nil {
			return ""
		}
		a.Name = x.Address
		b, err := json.Marshal(x)
		if err != nil {
			return "" // it is plain data: it can always be written
		}
		return string(b)
	}
	a.Before, a.After = text(before), text(after)
	return a
}

// bulkAudit is the audit entry of a change of many.
func bulkAudit(action, actor, note string, at time.Time, what map[string]any) store.AuditEntry {
	a := store.AuditEntry{At: at, Actor: actor, Action: action, Kind: store.KindSuppression, Note: note}
	if b, err := json.Marshal(what); err == nil {
		a.After = string(b)
	}
	return a
}

// Remove takes one entry off the list, and forgets the failures it rested on. It returns store.ErrNotFound.
func (s *Suppressions) Remove(ctx context.Context, actor, note, account string, stream mail.Stream, address string) error {
	subject, err := suppression.Subject(address)
	if err != nil {
		return &Invalid{[]Problem{{"address", err.Error()}}}
	}
	s.change.RLock()
	defer s.change.RUnlock()
	list, err := s.entries(ctx, subject) // it may be kept as a hash
	if err != nil {
		return err
	}
	var before *platform.Suppression
	for i := range list {
		if list[i].Account == account && list[i].Stream == stream {
			before = &list[i]
		}
	}
	if before == nil {
		return fmt.Errorf("manage: remove suppression: %w", store.ErrNotFound)
	}
	audit := entryAudit(store.ActionDelete, actor, note, s.o.Now().UTC(), before, nil)
	if err := s.o.Store.DeleteSuppression(ctx, account, stream, before.Address, audit); err != nil {
		return fmt.Errorf("manage: remove suppression: %w", err)
	}
	s.counts.Removed.Add(1)
	s.o.Logger.Info("suppression removed", mail.LogEvent, "suppression_removed", "actor", actor, mail.LogTenant, account)
	return nil
}

// Undo removes all entries a query selects, and forgets the failures they rested on; dryRun only counts them. It refuses a
// query without any condition but the account.
func (s *Suppressions) Undo(ctx context.Context, actor, note string, q store.SuppressionQuery, dryRun bool) (n int64, err error) {
	q.Cursor, q.Max = "", 0
	if q.Stream == "" && q.Class == "" && q.Reason == "" && q.Contains == "" && q.Domain == "" && q.Receiver == "" && q.Actor == "" &&
		q.Since.IsZero() && q.Until.IsZero() {
		return 0, &Invalid{[]Problem{{"filter", "it has no condition; name a receiver, domain, class, reason, actor, stream or time"}}}
	}
	if !dryRun { // alone: nobody may complain between the look for complaints and the removal
		s.change.Lock()
		defer s.change.Unlock()
	}
	if err := s.spareWishes(ctx, q); err != nil {
		return 0, err
	}
	if dryRun {
		if n, err = s.o.Store.CountSuppressions(ctx, q); err != nil {
			return 0, fmt.Errorf("manage: count suppressions: %w", err)
		}
		return n, nil
	}
	n, err = s.o.Store.DeleteSuppressions(ctx, q, func(n int64) store.AuditEntry {
		return bulkAudit(ActionUndo, actor, note, s.o.Now().UTC(), map[string]any{"filter": undoFilter(q), "count": n})
	})
	if err != nil {
		return 0, fmt.Errorf("manage: undo suppressions: %w", err)
	}
	s.counts.Removed.Add(uint64(n))
	s.o.Logger.Info("suppressions undone", mail.LogEvent, "suppressions_undone", "actor", actor, "count", n)
	return n, nil
}

// spareWishes refuses to undo what people asked for together with what receivers said: whoever complained or unsubscribed must
// not be mailed again because a filter was wide.
func (s *Suppressions) spareWishes(ctx context.Context, q store.SuppressionQuery) error {
	if q.Class != "" {
		return nil
	}
	wishes := int64(0)
	for _, class := range []platform.Cause{platform.CauseComplaint, platform.CauseUnsubscribe} {
		q.Class = class
		n, err := s.o.Store.CountSuppressions(ctx, q)
		if err != nil {
			return fmt.Errorf("manage: count suppressions: %w", err)
		}
		wishes += n
	}
	if wishes == 0 {
		return nil
	}
	return &Invalid{[]Problem{{"class", fmt.Sprintf("among them are %d of people who complained or unsubscribed; name a class, and theirs only if it is them you mean", wishes)}}}
}

// undoFilter is a query as the audit log shows it.
func undoFilter(q store.SuppressionQuery) map[string]any {
	f := map[string]any{}
	for name, v := range map[string]string{
		"account": q.Account, "stream": string(q.Stream), "class": string(q.Class), "reason": q.Reason, "contains": q.Contains,
		"domain": q.Domain, "receiver": q.Receiver, "actor": q.Actor,
	} {
		if v != "" {
			f[name] = v
		}
	}
	if q.Platform {
		f["platform"] = true
	}
	if !q.Since.IsZero() {
		f["since"] = q.Since.UTC()
	}
	if !q.Until.IsZero() {
		f["until"] = q.Until.UTC()
	}
	return f
}

// Act remembers a failure and puts the entry that follows from it, if any, in one step; it holds for new mail when Act
// returns. An event that was acted on already changes nothing.
func (s *Suppressions) Act(ctx context.Context, f platform.Failure, put *platform.Suppression) (store.Recorded, error) {
	var audit store.AuditEntry
	s.change.RLock()
	defer s.change.RUnlock()
	if put != nil {
		audit = entryAudit(store.ActionCreate, put.Actor, "", s.o.Now().UTC(), nil, put)
		s.note(*put)
	}
	done, err := s.o.Store.RecordFailure(ctx, f, put, audit)
	if err != nil {
		return done, fmt.Errorf("manage: record a failure: %w", err)
	}
	if done.Put {
		s.counts.Added.Add(1)
	}
	return done, nil
}

// Erase forgets an address: its entries stay as a hash, which goes on keeping mail from it. It returns how many there
// are.
func (s *Suppressions) Erase(ctx context.Context, actor, note string, a mail.Address) (int64, error) {
	form := suppression.Form(a)
	hash := suppression.Hash(form)
	s.change.RLock()
	defer s.change.RUnlock()
	audit := store.AuditEntry{At: s.o.Now().UTC(), Actor: actor, Action: ActionErase, Kind: store.KindSuppression, Name: hash, Note: note}
	n, err := s.o.Store.EraseSuppressed(ctx, form, hash, audit) // its key in memory is the same
	if err != nil {
		return 0, fmt.Errorf("manage: erase a suppressed address: %w", err)
	}
	return n, nil
}

// Of returns what the list holds for an address or hash and an account: its own entries and the platform's; of every
// account where account is "". Expired entries are among them.
func (s *Suppressions) Of(ctx context.Context, account, address string) ([]platform.Suppression, error) {
	subject, err := suppression.Subject(address)
	if err != nil {
		return nil, &Invalid{[]Problem{{"address", err.Error()}}}
	}
	list, err := s.entries(ctx, subject)
	if err != nil {
		return nil, err
	}
	out := list[:0]
	for _, x := range list {
		if account == "" || x.Account == "" || x.Account == account {
			out = append(out, x)
		}
	}
	return out, nil
}

// List returns a page of the list.
func (s *Suppressions) List(ctx context.Context, q store.SuppressionQuery) ([]platform.Suppression, string, error) {
	return s.o.Store.ListSuppressions(ctx, q)
}
