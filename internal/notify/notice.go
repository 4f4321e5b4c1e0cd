package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/paper"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/suppression"
)

// quiet is how long after a mail no other one of the same kind and scope is sent. What happens meanwhile is counted, and
// told with the next.
const quiet = 24 * time.Hour

// notice is something to tell at once.
type notice struct {
	kind, scope string
	unique      string       // tells this occurrence from others of its kind and scope
	event       mail.EventID // the event it is of; zero: none
	subject     string
	lines       []string
	avoid       string // a route not to take
	state       string // what is so now: told each time it is not what was told last, for that is no longer true. "": no state
}

// told is what is remembered of a kind and scope.
type told struct {
	Sent time.Time               `json:"sent"`
	More int64                   `json:"more,omitempty"` // since
	Seen map[mail.SpoolID]uint64 `json:"seen,omitempty"` // by spool the last event counted
	// State is notice.state as it was told last.
	State string `json:"state,omitempty"`
}

// tell sends a notice, or counts it while the last one is fresh. Told again of an event, it does nothing.
func (s *Service) tell(ctx context.Context, to []mail.Address, n notice) error {
	if len(to) == 0 {
		return nil
	}
	key := "notify/told/" + n.kind + "/" + n.scope
	var t told
	text, err := s.o.Store.GetMeta(ctx, key)
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("notify: %s: %w", key, err)
	}
	if n.event.Seq > 0 {
		if n.event.Seq <= t.Seen[n.event.Spool] {
			return nil
		}
		if t.Seen == nil {
			t.Seen = map[mail.SpoolID]uint64{}
		}
		t.Seen[n.event.Spool] = n.event.Seq
	}
	if n.state != "" {
		if n.state == t.State {
			return nil
		}
		n.unique = t.Sent.Format(time.RFC3339Nano) + "/" + n.state
	}
	now := s.o.Now().UTC()
	if since := now.Sub(t.Sent); since >= 0 && since < quiet && n.state == "" {
		t.More++
	} else {
		if t.More > 0 {
			n.lines = append(n.lines, fmt.Sprintf("%d more of this kind came since the last mail about it.", t.More))
		}
		if n.state == "" {
			n.lines = append(n.lines, "For the next 24 hours there will be no other mail about this; what happens is counted.")
		}
		for _, addr := range to {
			if err := s.send(ctx, addr, n.kind+"/"+n.scope+"/"+n.unique, paper.Notice(n.subject, n.lines), n.avoid); err != nil {
				return err
			}
		}
		t.Sent, t.More, t.State = now, 0, n.state
	}
	text, err = json.Marshal(&t)
	if err != nil {
		return fmt.Errorf("notify: %s: %w", key, err)
	}
	return s.o.Store.PutMeta(ctx, key, text)
}

// send writes one mail.
func (s *Service) send(ctx context.Context, to mail.Address, key string, letter paper.Letter, avoid string) error {
	key += "/" + to.String()
	content := paper.Compose(letter, s.from.String(), to.String(), s.o.Hostname, key, s.o.Now())
	return s.o.Send(ctx, Mail{Key: key, To: []mail.Address{to}, Content: content, AvoidRoute: avoid})
}

func (s *Service) toAccount(name string) []mail.Address {
	if addr, ok := contact(s.o.Snapshot().Account(name)); ok {
		return []mail.Address{addr}
	}
	return nil
}

// complaints tells accounts that a recipient called their mail spam.
func (s *Service) complaints(ctx context.Context, events []*mail.Event) error {
	for _, e := range events {
		lines := []string{fmt.Sprintf("On %s %s reported a mail of account %s as spam (stream %s, delivery %s).", e.At.UTC().Format("2006-01-02 15:04 MST"), e.Recipient, e.Account, e.Stream, e.Delivery)}
		// One that only matches suppresses nobody by itself, and of some types none does.
		if e.Report != nil && e.Report.Evidence != mail.EvidenceMatch && suppression.CauseOf(e, func(string) bool { return false }) != platform.CauseNone {
			lines = append(lines, "Such a recipient gets no more bulk mail of the account: the address is on its suppression list.")
		}
		lines = append(lines, "Mailbox providers count such reports. Mail to people who did not ask for it is the usual reason; a clear way to unsubscribe is the usual cure.")
		err := s.tell(ctx, s.toAccount(e.Account), notice{
			kind: "complaint", scope: "account/" + e.Account, unique: e.ID.String(), event: e.ID,
			subject: "A recipient reported your mail as spam",
			lines:   lines,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) quota(ctx context.Context, r refusal) error {
	return s.tell(ctx, s.toAccount(r.account), notice{
		kind: "quota", scope: "account/" + r.account + "/" + r.quota, unique: s.o.Now().UTC().Format(time.RFC3339),
		subject: "Your quota of " + r.quota + " is used up",
		lines:   []string{fmt.Sprintf("Mail of account %s is refused, because its quota of %s is used up. It is refused temporarily: a client that tries again gets it in when the quota is free again.", r.account, r.quota)},
	})
}

// accountsKey is where the states of accounts are kept as they were last seen.
const accountsKey = "notify/accounts"

// accounts tells those whose account was paused, throttled, or set free again.
func (s *Service) accounts(ctx context.Context) error {
	seen := map[string]platform.AccountState{}
	text, err := s.o.Store.GetMeta(ctx, accountsKey)
	first := errors.Is(err, store.ErrNotFound)
	if err == nil {
		err = json.Unmarshal(text, &seen)
	}
	if err != nil && !first {
		return fmt.Errorf("notify: %s: %w", accountsKey, err)
	}
	now := map[string]platform.AccountState{}
	changed := first
	for _, a := range s.o.Snapshot().State().Accounts {
		state := a.State
		if state == "" {
			state = platform.AccountActive
		}
		now[a.Name] = state
		was, known := seen[a.Name]
		if was == state {
			continue
		}
		changed = true
		if !known {
			continue
		}
		words := map[platform.AccountState]string{
			platform.AccountPaused:    "is paused: its mail is refused, and what waits is kept",
			platform.AccountThrottled: "is throttled: it may send little until it is set free",
			platform.AccountActive:    "is active again",
		}[state]
		err := s.tell(ctx, s.toAccount(a.Name), notice{
			kind: "account-state", scope: "account/" + a.Name, state: string(state),
			subject: "Account " + a.Name + " " + strings.SplitN(words, ":", 2)[0],
			lines:   []string{"Account " + a.Name + " " + words + ". Ask " + s.from.String() + " if you do not know why."},
		})
		if err != nil {
			return err
		}
	}
	if !changed && len(now) == len(seen) {
		return nil
	}
	if text, err = json.Marshal(now); err != nil {
		return fmt.Errorf("notify: %s: %w", accountsKey, err)
	}
	return s.o.Store.PutMeta(ctx, accountsKey, text)
}
