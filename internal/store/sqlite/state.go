package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// LoadState implements store.Platform.
func (s *Store) LoadState(ctx context.Context) (state platform.State, version int64, err error) {
	if err := s.ready(); err != nil {
		return state, 0, err
	}
	// One statement, so that entries and version are of one moment.
	err = s.platform.query(ctx, "load state", `SELECT s.version, coalesce(e.kind, ''), coalesce(e.name, ''), coalesce(e.doc, ''),
		coalesce(e.secrets, '') FROM state s LEFT JOIN entries e ON TRUE ORDER BY e.kind, e.name`, nil, func(r rowScanner) error {
		var kind store.Kind
		var name string
		var doc, secrets []byte
		if err := r.Scan(&version, &kind, &name, &doc, &secrets); err != nil {
			return err
		}
		if kind == "" {
			return nil // no entries yet
		}
		if err := addEntry(&state, kind, doc, secrets); err != nil {
			return fmt.Errorf("sqlite: load %s %s: %w", kind, name, err)
		}
		return nil
	})
	return state, version, err
}

// ApplyState implements store.Platform.
func (s *Store) ApplyState(ctx context.Context, u store.Update) (version int64, err error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	entries := make([]entry, len(u.Changes))
	for i, c := range u.Changes {
		if entries[i], err = newEntry(c); err != nil {
			return 0, err
		}
	}
	err = s.platform.write(ctx, "apply state", func(t *tx) error {
		if err := t.row("SELECT version FROM state", nil, &version); err != nil {
			return err
		}
		if u.Expect != store.AnyVersion && u.Expect != version {
			return fmt.Errorf("sqlite: apply state: %w: it is at version %d, the change was made for %d", store.ErrConflict, version, u.Expect)
		}
		version++
		if _, err := t.exec("UPDATE state SET version = $1", version); err != nil {
			return err
		}
		for i := range entries {
			if err := t.applyEntry(&entries[i], u, version); err != nil {
				return err
			}
		}
		return s.step("in state")
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

func (t *tx) applyEntry(e *entry, u store.Update, version int64) error {
	audit := store.AuditEntry{At: u.At, Actor: u.Actor, Kind: e.kind, Name: e.name, Version: version, Note: u.Note}
	var oldDoc, oldSecrets string
	err := t.row("SELECT doc, secrets FROM entries WHERE kind = $1 AND name = $2", []any{string(e.kind), e.name}, &oldDoc, &oldSecrets)
	exists := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	old := map[string][]byte{}
	if exists {
		if err := json.Unmarshal([]byte(oldSecrets), &old); err != nil {
			return fmt.Errorf("sqlite: apply state: secrets of %s %s: %w", e.kind, e.name, err)
		}
	}
	audit.Before = oldDoc
	audit.Secrets = changedSecrets(old, e.secrets)
	switch {
	case e.doc == nil && !exists:
		return fmt.Errorf("sqlite: apply state: %w: %s %s", store.ErrNotFound, e.kind, e.name)
	case e.doc == nil:
		audit.Action = store.ActionDelete
		_, err = t.exec("DELETE FROM entries WHERE kind = $1 AND name = $2", string(e.kind), e.name)
	default:
		audit.Action, audit.After = store.ActionUpdate, string(e.doc)
		if !exists {
			audit.Action = store.ActionCreate
		}
		var secrets []byte
		if secrets, err = json.Marshal(e.secrets); err != nil {
			return fmt.Errorf("sqlite: apply state: secrets of %s %s: %w", e.kind, e.name, err)
		}
		_, err = t.exec(`INSERT INTO entries (kind, name, doc, secrets, version, changed_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (kind, name) DO UPDATE SET doc = excluded.doc, secrets = excluded.secrets, version = excluded.version,
			changed_at = excluded.changed_at`, string(e.kind), e.name, string(e.doc), string(secrets), version, micros(u.At))
	}
	if err != nil {
		return err
	}
	return t.audit(audit)
}

// entry is a row of entries. doc is nil where the entry goes.
type entry struct {
	kind    store.Kind
	name    string
	doc     []byte
	secrets map[string][]byte
}

// Keys of secrets, and their parts.
const (
	secretCredential = "credential/" // and its name: Credential.Hash
	secretKey        = "key/"        // and sender/selector: DKIMKey.Sealed
	secretPassword   = "password"    // Route.Sealed
	secretMailbox    = "mailbox/"    // and its name: Mailbox.Sealed
	secretWebhook    = "webhook/"    // and name/time of the key: WebhookKey.Sealed
)

// newEntry makes the row of a change: the document as JSON shows it, which has no secret in it, and the secrets apart.
func newEntry(c store.Change) (entry, error) {
	e := entry{kind: c.Kind, name: c.Name, secrets: map[string][]byte{}}
	var kind store.Kind
	var name string
	switch v := c.Value.(type) {
	case nil:
		kind, name = c.Kind, c.Name
	case platform.Account:
		kind, name = store.KindAccount, v.Name
		for _, x := range v.Credentials {
			if x.Hash != "" {
				e.secrets[secretCredential+x.Name] = []byte(x.Hash)
			}
		}
		for _, x := range v.Senders {
			for _, k := range x.Keys {
				if len(k.Sealed) > 0 {
					e.secrets[secretKey+x.Name+"/"+k.Selector] = k.Sealed
				}
			}
		}
		for _, x := range v.Mailboxes {
			if len(x.Sealed) > 0 {
				e.secrets[secretMailbox+x.Name] = x.Sealed
			}
		}
		for _, x := range v.Webhooks {
			for i := range x.Keys {
				e.secrets[webhookSecret(&x, &x.Keys[i])] = x.Keys[i].Sealed
			}
		}
	case platform.Pool:
		kind, name = store.KindPool, v.Name
	case platform.Source:
		kind, name = store.KindSource, v.Name
	case platform.Route:
		kind, name = store.KindRoute, v.Name
		if len(v.Sealed) > 0 {
			e.secrets[secretPassword] = v.Sealed
		}
	case platform.Policy:
		kind, name = store.KindPolicy, v.Name
	case platform.Hold:
		kind, name = store.KindHold, v.Name
	case platform.LegalHold:
		kind, name = store.KindLegalHold, v.Name
	default:
		return entry{}, fmt.Errorf("sqlite: apply state: a %s cannot be a %T", c.Kind, c.Value)
	}
	if kind != c.Kind || name != c.Name || name == "" {
		return entry{}, fmt.Errorf("sqlite: apply state: the change of %s %q holds %s %q", c.Kind, c.Name, kind, name)
	}
	if c.Value == nil {
		return e, nil
	}
	var err error
	if e.doc, err = json.Marshal(c.Value); err != nil {
		return entry{}, fmt.Errorf("sqlite: apply state: %s %s: %w", c.Kind, c.Name, err)
	}
	return e, nil
}

// addEntry puts a row back together.
func addEntry(state *platform.State, kind store.Kind, doc, secretsJSON []byte) error {
	secrets := map[string][]byte{}
	if err := json.Unmarshal(secretsJSON, &secrets); err != nil {
		return err
	}
	switch kind {
	case store.KindAccount:
		a, err := decode[platform.Account](doc)
		if err != nil {
			return err
		}
		for i := range a.Credentials {
			a.Credentials[i].Hash = string(secrets[secretCredential+a.Credentials[i].Name])
		}
		for i := range a.Senders {
			for j := range a.Senders[i].Keys {
				k := &a.Senders[i].Keys[j]
				k.Sealed = secrets[secretKey+a.Senders[i].Name+"/"+k.Selector]
			}
		}
		for i := range a.Mailboxes {
			a.Mailboxes[i].Sealed = secrets[secretMailbox+a.Mailboxes[i].Name]
		}
		for i := range a.Webhooks {
			w := &a.Webhooks[i]
			for j := range w.Keys {
				w.Keys[j].Sealed = secrets[webhookSecret(w, &w.Keys[j])]
			}
		}
		state.Accounts = append(state.Accounts, a)
	case store.KindRoute:
		r, err := decode[platform.Route](doc)
		if err != nil {
			return err
		}
		r.Sealed = secrets[secretPassword]
		state.Routes = append(state.Routes, r)
	case store.KindPool:
		return decodeInto(&state.Pools, doc)
	case store.KindSource:
		return decodeInto(&state.Sources, doc)
	case store.KindPolicy:
		return decodeInto(&state.Policies, doc)
	case store.KindHold:
		return decodeInto(&state.Holds, doc)
	case store.KindLegalHold:
		return decodeInto(&state.LegalHolds, doc)
	default:
		return errors.New("unknown kind, written by a newer version")
	}
	return nil
}

// webhookSecret is the key of a webhook's signing secret.
func webhookSecret(w *platform.Webhook, k *platform.WebhookKey) string {
	return secretWebhook + w.Name + "/" + k.Since.UTC().Format(time.RFC3339Nano)
}

func decode[T any](doc []byte) (v T, err error) {
	err = json.Unmarshal(doc, &v)
	return v, err
}

func decodeInto[T any](list *[]T, doc []byte) error {
	v, err := decode[T](doc)
	*list = append(*list, v)
	return err
}

// changedSecrets names the secrets that differ, in order.
func changedSecrets(before, after map[string][]byte) []string {
	names := map[string]bool{}
	for name, secret := range after {
		if have, ok := before[name]; !ok || !slices.Equal(have, secret) {
			names[name] = true
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
