package platform

import (
	"slices"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// Webhook is an address of a customer's that is told of events: each an HTTP POST, signed, in commit order.
type Webhook struct {
	Name string `toml:"name" json:"name"`
	// ID is the webhook's own for as long as it exists; it is made, never declared.
	ID  string `toml:"-" json:"id,omitempty"`
	URL string `toml:"url" json:"url"`
	// Types and Streams are what it is told of; empty: everything.
	Types   []mail.EventType `toml:"types,omitempty" json:"types,omitempty"`
	Streams []mail.Stream    `toml:"streams,omitempty" json:"streams,omitempty"`
	// AllAccounts tells it of every account's events: for operators' own systems. An account's key cannot set it.
	AllAccounts bool `toml:"all_accounts,omitempty" json:"all_accounts,omitempty"`
	// Order says what stays in order: everything (the zero value), or the events of each delivery.
	Order WebhookOrder `toml:"order,omitempty" json:"order,omitempty"`
	// Concurrency is how many requests may be under way in the order of deliveries; 0: DefaultWebhookConcurrency.
	Concurrency int `toml:"concurrency,omitempty" json:"concurrency,omitempty"`
	// Disabled stops it until it is enabled again; then it goes on from where it stopped.
	Disabled bool `toml:"disabled,omitempty" json:"disabled,omitempty"`
	// Secret is set in an apply file to bring a signing secret along (whsec_ and base64). Empty in a new webhook: one is
	// made and shown once. One that differs from the newest takes its place; the old one goes on signing for a day.
	Secret string `toml:"secret,omitempty" json:"-"`
	// Keys are the secrets that sign, the newest first.
	Keys []WebhookKey `toml:"-" json:"keys,omitempty"`
}

// WebhookOrder says which events of a webhook wait for each other.
type WebhookOrder string

const (
	// OrderStrict: every event waits for the one before it. It is written as the empty text.
	OrderStrict WebhookOrder = "strict"
	// OrderDelivery: an event waits for those before it of the same delivery; of different deliveries several are sent at once.
	OrderDelivery WebhookOrder = "delivery"
)

// Bounds of Webhook.Concurrency.
const (
	// DefaultWebhookConcurrency brings 300 events a second to a receiver that answers in 50 ms.
	DefaultWebhookConcurrency = 16
	// MaxWebhookConcurrency is what one receiver may be asked to take at one time.
	MaxWebhookConcurrency = 100
)

// Parallel returns how many requests may be under way at one time.
func (w *Webhook) Parallel() int {
	switch {
	case w.Order != OrderDelivery:
		return 1
	case w.Concurrency == 0:
		return DefaultWebhookConcurrency
	}
	return w.Concurrency
}

// WebhookKey is one signing secret of a webhook.
type WebhookKey struct {
	// Since is when it was made; it tells the keys of a webhook apart.
	Since   time.Time `json:"since"`
	Expires time.Time `json:"expires,omitzero"` // zero: until another takes its place
	// Sealed is the secret, encrypted under the master key.
	Sealed []byte `json:"-"`
}

// Wants reports whether the webhook is told of the event. Whose event it is has been looked at already.
func (w *Webhook) Wants(e *mail.Event) bool {
	return (len(w.Types) == 0 || slices.Contains(w.Types, e.Type)) && (len(w.Streams) == 0 || slices.Contains(w.Streams, e.Stream))
}

// Webhook returns the account's webhook of that name, or nil.
func (a *Account) Webhook(name string) *Webhook {
	for i := range a.Webhooks {
		if a.Webhooks[i].Name == name {
			return &a.Webhooks[i]
		}
	}
	return nil
}
