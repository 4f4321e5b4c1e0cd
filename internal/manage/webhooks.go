package manage

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/dns"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// Limits of webhooks.
const (
	// MaxWebhooks is how many an account may have: each costs a connection and a place in the event stream.
	MaxWebhooks = 20
	// maxWebhookURL is the longest address, in octets.
	maxWebhookURL = 2048
	// maxWebhookKeys is how many secrets sign at one time: each is one more signature in a header.
	maxWebhookKeys = 5
	// webhookSecretLen is the length of a secret made here; minWebhookSecret and maxWebhookSecret bound one brought along
	// (Standard Webhooks: between 24 and 64 octets).
	webhookSecretLen = 32
	minWebhookSecret = 24
	maxWebhookSecret = 64
	webhookSecret    = "whsec_"
	// WebhookGrace is how long an old secret goes on signing beside the new one unless something else is asked for, and
	// MaxWebhookGrace the longest that can be.
	WebhookGrace    = 24 * time.Hour
	MaxWebhookGrace = 30 * 24 * time.Hour
)

// WebhookRules say where webhooks may lead. The zero value is for the public Internet: https, and no private address.
type WebhookRules struct {
	AllowHTTP    bool
	AllowPrivate bool // loopback, private and own addresses
}

// parseWebhookSecret reads a signing secret as Standard Webhooks writes it: whsec_ and base64.
func parseWebhookSecret(text string) ([]byte, error) {
	rest, ok := strings.CutPrefix(text, webhookSecret)
	raw, err := base64.StdEncoding.Strict().DecodeString(rest)
	if !ok || err != nil || strings.ContainsAny(rest, "\r\n") || len(raw) < minWebhookSecret || len(raw) > maxWebhookSecret {
		return nil, fmt.Errorf("a webhook secret is %s and the base64 of %d to %d octets; leave it out and a good one is made", webhookSecret, minWebhookSecret, maxWebhookSecret)
	}
	return raw, nil
}

func formatWebhookSecret(raw []byte) string {
	return webhookSecret + base64.StdEncoding.EncodeToString(raw)
}

// webhooks checks those of one account.
func (v *validator) webhooks(where string, list []platform.Webhook) {
	if len(list) > MaxWebhooks {
		v.bad(where+".webhooks", "%d are too many; an account may have %d", len(list), MaxWebhooks)
	}
	names := map[string]bool{}
	for i := range list {
		w := &list[i]
		ww := where + ".webhooks[" + w.Name + "]"
		v.name(ww, w.Name)
		if names[w.Name] {
			v.bad(ww, "the name is there twice")
		}
		names[w.Name] = true
		if _, problem := parseWebhookURL(w.URL); problem != "" {
			v.bad(ww+".url", "%s", problem)
		}
		for _, t := range w.Types {
			if !t.Valid() {
				v.bad(ww+".types", "%q is no type of event; there are %s", t, joinTypes())
			}
		}
		for _, s := range w.Streams {
			if !s.Valid() {
				v.bad(ww+".streams", "%q is none of transactional, bulk", s)
			}
		}
		switch w.Order {
		case "", platform.OrderStrict:
			if w.Concurrency > 1 {
				v.bad(ww+".concurrency", "in strict order one request runs at a time; order = \"delivery\" keeps the events of each delivery in order and lets several run")
			}
		case platform.OrderDelivery:
		default:
			v.bad(ww+".order", "%q is none of strict, delivery", w.Order)
		}
		if w.Concurrency < 0 || w.Concurrency > platform.MaxWebhookConcurrency {
			v.bad(ww+".concurrency", "want 1 to %d, or none for %d", platform.MaxWebhookConcurrency, platform.DefaultWebhookConcurrency)
		}
		if w.Secret != "" {
			if _, err := parseWebhookSecret(w.Secret); err != nil {
				v.bad(ww+".secret", "%v", err)
			}
		}
		if len(w.Keys) > maxWebhookKeys {
			v.bad(ww+".secret", "%d secrets would sign at one time, at most %d may; wait until an old one expires, or rotate with a shorter grace", len(w.Keys), maxWebhookKeys)
		}
	}
}

func joinTypes() string {
	all := make([]string, 0, len(mail.EventTypes()))
	for _, t := range mail.EventTypes() {
		all = append(all, string(t))
	}
	return strings.Join(all, ", ")
}

// parseWebhookURL reads the address of a webhook, or says what is wrong with it.
func parseWebhookURL(text string) (u *url.URL, problem string) {
	if len(text) > maxWebhookURL {
		return nil, fmt.Sprintf("an address has at most %d octets", maxWebhookURL)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, "an address has no spaces or control characters"
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, "want an address such as https://example.com/events"
	case u.User != nil:
		return nil, "an address with a user name or password would show it in lists and logs; the signature says who sends"
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, "the part after # never reaches a server; leave it out"
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, "a port is a number from 1 to 65535"
		}
	}
	return u, ""
}

// webhookTargets checks where new and changed webhooks lead. Those that stand are left alone, so that a stricter
// configuration does not stop every other change; the sender refuses them by itself.
func (m *Manager) webhookTargets(want, old platform.State) error {
	v := &validator{}
	for i := range want.Accounts {
		a := &want.Accounts[i]
		was := find(old.Accounts, func(x platform.Account) bool { return x.Name == a.Name })
		for j := range a.Webhooks {
			w := &a.Webhooks[j]
			if was != nil {
				if o := was.Webhook(w.Name); o != nil && o.URL == w.URL {
					continue
				}
			}
			if problem := m.o.Webhooks.refuses(w.URL); problem != "" {
				v.bad("accounts["+a.Name+"].webhooks["+w.Name+"].url", "%s", problem)
			}
		}
	}
	if len(v.problems) > 0 {
		return &Invalid{v.problems}
	}
	return nil
}

// refuses says why the rules refuse an address, or "". A name that leads to a private address is found out when it is
// resolved, at every connection.
func (r WebhookRules) refuses(text string) string {
	u, problem := parseWebhookURL(text)
	if problem != "" {
		return problem
	}
	if u.Scheme != "https" && !r.AllowHTTP {
		return "events are sent over https only (webhook.allow_http in postroad.toml allows http)"
	}
	if r.AllowPrivate {
		return ""
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 §6.3
		return "it is this machine itself (webhook.allow_private in postroad.toml allows private addresses)"
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if why := dns.NotPublic(ip); why != "" {
			return "it is " + why + " (webhook.allow_private in postroad.toml allows private addresses)"
		}
	}
	return ""
}

// keepUnmentioned leaves accounts their webhooks where a declaration says nothing of webhooks: customers make them by
// themselves, and whoever declares accounts need not know of them. An empty list declares that there are none.
func keepUnmentioned(want, old []platform.Account) {
	for i := range want {
		a := &want[i]
		if a.Webhooks != nil {
			continue
		}
		if was := find(old, func(x platform.Account) bool { return x.Name == a.Name }); was != nil {
			a.Webhooks = was.Webhooks
		}
	}
}

// keepWebhooks carries over what a declaration cannot hold.
func keepWebhooks(want, old *platform.Account) {
	for i := range want.Webhooks {
		w := &want.Webhooks[i]
		o := old.Webhook(w.Name)
		if o == nil {
			continue
		}
		if w.ID == "" {
			w.ID = o.ID
		}
		if w.ID == o.ID && len(w.Keys) == 0 {
			w.Keys = o.Keys
		}
	}
}

// fillWebhooks gives new webhooks an id and a secret, and seals secrets. begun lists the ids it made.
func (m *Manager) fillWebhooks(a *platform.Account) (made []Secret, begun []string, err error) {
	for i := range a.Webhooks {
		w := &a.Webhooks[i]
		if w.ID == "" {
			w.ID = mail.NewWebhookID(m.o.Now())
			w.Keys = nil
			begun = append(begun, w.ID)
		}
		if w.Secret == "" && len(w.Keys) == 0 {
			w.Secret = newWebhookSecret()
			made = append(made, Secret{Where: "accounts[" + a.Name + "].webhooks[" + w.Name + "]", Value: w.Secret})
		}
		if w.Secret == "" {
			continue
		}
		if err := m.addWebhookKey(w, w.Secret, WebhookGrace); err != nil {
			return nil, nil, err
		}
		w.Secret = ""
	}
	return made, begun, nil
}

func newWebhookSecret() string {
	var raw [webhookSecretLen]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	return formatWebhookSecret(raw[:])
}

// addWebhookKey makes secret the newest key, and lets the others go on for grace. The newest once more changes nothing.
func (m *Manager) addWebhookKey(w *platform.Webhook, secret string, grace time.Duration) error {
	raw, err := parseWebhookSecret(secret)
	if err != nil {
		return fmt.Errorf("manage: webhook %s: %w", w.Name, err)
	}
	now := m.o.Now().UTC().Truncate(time.Microsecond)
	if len(w.Keys) > 0 {
		have, err := m.WebhookSecret(w, &w.Keys[0])
		if err == nil && subtle.ConstantTimeCompare(have, raw) == 1 {
			return nil
		}
		if !now.After(w.Keys[0].Since) { // two within a microsecond, or a clock that went back
			now = w.Keys[0].Since.Add(time.Microsecond)
		}
	}
	keys := []platform.WebhookKey{{Since: now, Sealed: m.o.MasterKey.Seal(webhookContext(w.ID), raw)}}
	until := now.Add(grace)
	for _, k := range w.Keys {
		if k.Expires.IsZero() || k.Expires.After(until) {
			k.Expires = until
		}
		if k.Expires.After(now) {
			keys = append(keys, k)
		}
	}
	if len(keys) > maxWebhookKeys {
		return &Invalid{[]Problem{{"webhooks[" + w.Name + "].secret", fmt.Sprintf("%d secrets would sign at one time, at most %d may; wait until an old one expires, or rotate with a shorter grace", len(keys), maxWebhookKeys)}}}
	}
	w.Keys = keys
	return nil
}

func webhookContext(id string) string { return "webhook/" + id }

// WebhookSecret opens a signing secret. It returns ErrSealed, wrapped, where the master key is another one.
func (m *Manager) WebhookSecret(w *platform.Webhook, k *platform.WebhookKey) ([]byte, error) {
	return m.o.MasterKey.Open(webhookContext(w.ID), k.Sealed)
}

// ErrNoWebhook is returned for an account or a webhook that is not there.
var ErrNoWebhook = errors.New("manage: there is no such webhook")

// RotateWebhook gives a webhook a new signing secret: the one given, or for "" one made here. The old ones go on signing
// for grace. It returns the new secret, which is told only here. Errors are *Invalid, ErrNoWebhook and the store's.
func (m *Manager) RotateWebhook(ctx context.Context, actor, account, name, secret string, grace time.Duration) (string, error) {
	if grace < 0 || grace > MaxWebhookGrace {
		return "", &Invalid{[]Problem{{"grace", fmt.Sprintf("want 0 to %s", MaxWebhookGrace)}}}
	}
	if secret == "" {
		secret = newWebhookSecret()
	} else if _, err := parseWebhookSecret(secret); err != nil {
		return "", &Invalid{[]Problem{{"secret", err.Error()}}}
	}
	_, err := m.Edit(ctx, actor, "webhook secret rotated", func(s *platform.State) error {
		a := find(s.Accounts, func(x platform.Account) bool { return x.Name == account })
		if a == nil || a.Webhook(name) == nil {
			return ErrNoWebhook
		}
		return m.addWebhookKey(a.Webhook(name), secret, grace)
	})
	return secret, err
}

// normaliseWebhooks writes the lists of webhooks in one order and without repeats.
func normaliseWebhooks(list []platform.Webhook) []platform.Webhook {
	for i := range list {
		w := &list[i]
		slices.Sort(w.Types)
		slices.Sort(w.Streams)
		if w.Order == platform.OrderStrict {
			w.Order, w.Concurrency = "", 0
		}
		w.Types, w.Streams = orNil(slices.Compact(w.Types)), orNil(slices.Compact(w.Streams))
	}
	return orNil(list)
}
