package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// alertsKey is where the id of the last alert that was told is kept.
const alertsKey = "notify/alert"

// dkimMissing is the kind of alert that an account's own people can mend and hear of here. Of a webhook that was stopped they
// are told by its room, at once.
const dkimMissing = "dkim-not-published"

// alerts tells the operators of alerts that are new, and accounts of those that are theirs to mend.
func (s *Service) alerts(ctx context.Context) error {
	text, err := s.o.Store.GetMeta(ctx, alertsKey)
	first := errors.Is(err, store.ErrNotFound)
	if err != nil && !first {
		return fmt.Errorf("notify: %s: %w", alertsKey, err)
	}
	seen, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil && !first {
		return fmt.Errorf("notify: %s: %w", alertsKey, err)
	}
	list, err := s.o.Store.ListAlerts(ctx, store.AlertQuery{Cleared: !first, Max: store.MaxPage})
	if err != nil {
		return fmt.Errorf("notify: list alerts: %w", err)
	}
	slices.SortFunc(list, func(a, b platform.Alert) int { return cmp.Compare(a.ID, b.ID) })
	for i := range list {
		if list[i].ID <= seen {
			continue
		}
		if err := s.alert(ctx, &list[i]); err != nil {
			return err
		}
		if err := s.o.Store.PutMeta(ctx, alertsKey, strconv.AppendInt(nil, list[i].ID, 10)); err != nil {
			return fmt.Errorf("notify: %s: %w", alertsKey, err)
		}
	}
	if first && len(list) == 0 {
		return s.o.Store.PutMeta(ctx, alertsKey, []byte("0"))
	}
	return nil
}

func (s *Service) alert(ctx context.Context, a *platform.Alert) error {
	n := notice{
		kind: "alert-" + a.Kind, scope: a.Scope, unique: strconv.FormatInt(a.ID, 10), subject: "Alert: " + a.Kind + " " + a.Scope,
		lines: []string{a.Message, fmt.Sprintf("Since %s, scope %s. `postroad alerts` shows what is open.", a.Since.UTC().Format("2006-01-02 15:04 MST"), a.Scope)},
	}
	if route, ok := strings.CutPrefix(a.Scope, "route/"); ok {
		n.avoid = route
	}
	if !a.Cleared.IsZero() {
		n.lines = append(n.lines, "It was over at "+a.Cleared.UTC().Format("2006-01-02 15:04 MST")+".")
	}
	if err := s.tell(ctx, s.o.Operators, n); err != nil {
		return err
	}
	if a.Kind != dkimMissing {
		return nil
	}
	return s.dkim(ctx, a, n)
}

// dkim tells an account that DNS does not show a key of its own, and what is to be published.
func (s *Service) dkim(ctx context.Context, a *platform.Alert, n notice) error {
	scope := strings.Split(a.Scope, "/") // sender/DOMAIN/SELECTOR
	if len(scope) != 3 || scope[0] != "sender" {
		return nil
	}
	domain, selector := scope[1], scope[2]
	owner, ok := s.o.Snapshot().SenderOwner(mail.Address{Local: "postmaster", Domain: domain})
	if !ok {
		return nil // its sender is gone meanwhile
	}
	n.kind, n.subject = "account-alert-"+a.Kind, "DNS of "+domain+" does not show a DKIM key"
	n.lines = []string{fmt.Sprintf("Mail of %s is not signed with its key %s, because DNS does not show that key. Receivers trust such mail less.", domain, selector)}
	for _, k := range owner.Sender.Keys {
		if k.Selector == selector && k.Public != "" {
			n.lines = append(n.lines, "Publish this name, of type TXT:", selector+"._domainkey."+domain, "with this content:", k.Public,
				"It is signed with the key soon after DNS shows it.")
		}
	}
	return s.tell(ctx, s.toAccount(owner.Account.Name), n)
}
