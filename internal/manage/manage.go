package manage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// Options are what a Manager needs. Store, HashSecret and MatchSecret are required.
type Options struct {
	Store     store.Platform
	MasterKey MasterKey
	Hostname  string
	// HashSecret makes the stored form of a credential's secret, MatchSecret compares with one.
	HashSecret  func(kind platform.CredentialKind, secret string) string
	MatchSecret func(kind platform.CredentialKind, hash, secret string) bool
	// NewSecret makes a password or key for a credential declared without one.
	NewSecret func() string
	// Webhooks say where webhooks may lead.
	Webhooks WebhookRules
	// BeginWebhook is told the id of a new webhook before it is stored: whatever is recorded from then on belongs to it. A
	// change that fails afterwards leaves an id nobody has. May be nil.
	BeginWebhook func(ctx context.Context, id string) error
	// Changed is told each new snapshot, after it is stored. It must not block.
	Changed func(*platform.Snapshot)
	Now     func() time.Time
	Logger  *slog.Logger
}

// Manager holds the platform's state and changes it.
type Manager struct {
	o    Options
	snap atomic.Pointer[platform.Snapshot]

	mu      sync.Mutex // one change at a time
	version int64
}

// New loads the state from the store.
func New(ctx context.Context, o Options) (*Manager, error) {
	if o.Store == nil || o.HashSecret == nil || o.MatchSecret == nil || o.NewSecret == nil {
		return nil, errors.New("manage: Store, HashSecret, MatchSecret and NewSecret are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Changed == nil {
		o.Changed = func(*platform.Snapshot) {}
	}
	if o.BeginWebhook == nil {
		o.BeginWebhook = func(context.Context, string) error { return nil }
	}
	m := &Manager{o: o}
	state, version, err := o.Store.LoadState(ctx)
	if err != nil {
		return nil, fmt.Errorf("manage: load state: %w", err)
	}
	m.version = version
	m.snap.Store(platform.NewSnapshot(state, o.Hostname))
	return m, nil
}

// Snapshot is the state as it is now.
func (m *Manager) Snapshot() *platform.Snapshot { return m.snap.Load() }

// Version counts the changes ever made.
func (m *Manager) Version() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

// Op is what happened to an entry.
type Op string

// The operations.
const (
	OpCreate Op = "create"
	OpUpdate Op = "update"
	OpDelete Op = "delete"
)

// Change is one difference between the state there was and the state asked for.
type Change struct {
	Op   Op         `json:"op"`
	Kind store.Kind `json:"kind"`
	Name string     `json:"name"`
	// Fields lists what differs in an update, such as `state: "active" -> "paused"`. Secrets are named, not shown.
	Fields []string `json:"fields,omitempty"`
}

// Secret is a secret made by a change. It is told once, here, and cannot be read back.
type Secret struct {
	Where string `json:"where"` // such as accounts[shop].credentials[web]
	Login string `json:"login,omitempty"`
	Value string `json:"value"`
}

// StateReport is what a change did.
type StateReport struct {
	Version int64    `json:"version"`
	Changes []Change `json:"changes"`
	Secrets []Secret `json:"secrets,omitempty"`
	DryRun  bool     `json:"dry_run,omitempty"`
}

// Request is a change of state.
type Request struct {
	Actor string // who asks, for the audit
	Note  string // why
	// State is the state asked for. Kinds are the lists in it that count: the platform is made to match them, entries
	// that are not in them are deleted. Other lists are left alone.
	State  platform.State
	Kinds  []store.Kind
	DryRun bool
}

// Apply makes the platform's state match what is declared, in one transaction, and reports the differences; a second
// time there are none. It returns *Invalid for a state that cannot be.
func (m *Manager) Apply(ctx context.Context, r Request) (StateReport, error) {
	return m.change(ctx, r.Actor, r.Note, r.DryRun, func(s *platform.State) error {
		for _, k := range r.Kinds {
			switch k {
			case store.KindAccount:
				was := s.Accounts
				s.Accounts = r.State.Accounts
				keepUnmentioned(s.Accounts, was)
			case store.KindPool:
				s.Pools = r.State.Pools
			case store.KindSource:
				s.Sources = r.State.Sources
			case store.KindRoute:
				s.Routes = r.State.Routes
			case store.KindPolicy:
				s.Policies = r.State.Policies
			case store.KindHold:
				s.Holds = r.State.Holds
			case store.KindLegalHold:
				s.LegalHolds = r.State.LegalHolds
			}
		}
		return nil
	})
}

// Edit changes single entries: edit is given a copy of the state and changes it.
func (m *Manager) Edit(ctx context.Context, actor, note string, edit func(*platform.State) error) (StateReport, error) {
	return m.change(ctx, actor, note, false, edit)
}

func (m *Manager) change(ctx context.Context, actor, note string, dryRun bool, edit func(*platform.State) error) (StateReport, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.snap.Load().State()
	want := clone(old)
	if err := edit(&want); err != nil {
		return StateReport{}, err
	}
	normalise(&want)
	keep(&want, old)
	if err := Validate(want); err != nil {
		return StateReport{}, err
	}
	report := StateReport{Version: m.version, DryRun: dryRun, Changes: []Change{}}
	if err := m.webhookTargets(want, old); err != nil {
		return StateReport{}, err
	}
	secrets, webhooks, err := m.fill(&want)
	if err != nil {
		return StateReport{}, err
	}
	stored := difference(old, want, &report)
	if dryRun || len(stored) == 0 {
		return report, nil
	}
	for _, id := range webhooks {
		if err := m.o.BeginWebhook(ctx, id); err != nil {
			return StateReport{}, fmt.Errorf("manage: begin webhook: %w", err)
		}
	}
	version, err := m.o.Store.ApplyState(ctx, store.Update{Changes: stored, Expect: m.version, Actor: actor, At: m.o.Now().UTC(), Note: note})
	if err != nil {
		return StateReport{}, fmt.Errorf("manage: store changes: %w", err)
	}
	m.version = version
	report.Version = version
	report.Secrets = secrets
	snap := platform.NewSnapshot(want, m.o.Hostname)
	m.snap.Store(snap)
	m.o.Logger.Info("platform state changed", "event", "state_changed", "version", version, "actor", actor, "changes", len(report.Changes))
	m.o.Changed(snap)
	return report, nil
}
