package node

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postroad/postroad/internal/delivery"
	"github.com/postroad/postroad/internal/dkim"
	"github.com/postroad/postroad/internal/dkim/openssl"
	"github.com/postroad/postroad/internal/dns"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/manage"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/tenant"
)

// signer signs what goes out with the keys of the author's domain and of the platform's own.
type signer struct {
	manager *manage.Manager
	dns     dns.Resolver
	alerts  *alerts
	loop    loop

	mu     sync.Mutex
	keys   map[string]crypto.Signer // opened keys, by domain, selector and sealed form
	hidden map[string]bool          // selectors DNS did not show when last asked
}

// maxOpenKeys bounds the keys kept open.
const maxOpenKeys = 10_000

func newSigner(m *manage.Manager, r dns.Resolver, a *alerts, l loop) *signer {
	return &signer{manager: m, dns: r, alerts: a, loop: l, keys: map[string]crypto.Signer{}, hidden: map[string]bool{}}
}

// Sign returns the DKIM-Signature fields for a message, one per active key of the author's domain and of the platform's
// domain whose public half DNS shows, and the fields of loopFields, which they cover. A signature no receiver can
// check does harm: it fails.
func (s *signer) Sign(ctx context.Context, in delivery.SignInput) ([]byte, error) {
	snap := s.manager.Snapshot()
	keys, domain, err := s.authorKeys(ctx, snap, in.Message)
	if err != nil {
		return nil, err
	}
	authorSigns := len(keys) > 0
	platformSigns := false
	if sender := s.platformSender(snap); sender != nil && sender.Name == domain {
		platformSigns = authorSigns
	} else if sender != nil {
		own, err := s.senderKeys(ctx, sender.Name, sender)
		if err != nil {
			return nil, err
		}
		keys, platformSigns = append(keys, own...), len(own) > 0
	}
	if len(keys) == 0 {
		return nil, nil
	}
	added, err := s.loopFields(in.Message, in.Delivery, in.Header, authorSigns, platformSigns)
	if err != nil {
		return nil, err
	}
	hash := in.BodyHash
	if hash == ([32]byte{}) {
		if hash, err = hashBody(in); err != nil {
			return nil, err
		}
	}
	header := append(added[:len(added):len(added)], in.Header...)
	fields, err := dkim.Sign(header, hash, keys, dkim.Options{Time: time.Now()})
	if err != nil {
		return nil, err
	}
	return append(fields, added...), nil
}

// authorKeys returns the keys that sign for the author of a message, and their domain.
func (s *signer) authorKeys(ctx context.Context, snap *platform.Snapshot, m *mail.Message) (keys []dkim.Key, domain string, err error) {
	account := snap.Account(m.Account)
	if account == nil || m.HeaderFrom == "" {
		return nil, "", nil
	}
	from, err := mail.ParseAddress(m.HeaderFrom)
	if err != nil {
		return nil, "", nil //nolint:nilerr // an author without a domain has no key
	}
	domain, sender := tenant.SigningDomain(account, from)
	if sender == nil {
		return nil, "", nil
	}
	keys, err = s.senderKeys(ctx, domain, sender)
	return keys, domain, err
}

// senderKeys returns the active keys of a sender that DNS shows.
func (s *signer) senderKeys(ctx context.Context, domain string, sender *platform.Sender) (keys []dkim.Key, err error) {
	for i := range sender.Keys {
		k := &sender.Keys[i]
		if !k.Active || !s.shown(ctx, domain, k) {
			continue
		}
		signer, err := s.open(domain, k)
		if err != nil {
			return nil, err
		}
		keys = append(keys, dkim.Key{Domain: domain, Selector: k.Selector, Signer: signer})
	}
	return keys, nil
}

// shown reports whether DNS shows the key. What DNS cannot say at the moment counts as shown: it was when the key was
// made active.
func (s *signer) shown(ctx context.Context, domain string, k *platform.DKIMKey) bool {
	name := k.Selector + "._domainkey." + domain
	answer, err := s.dns.TXT(ctx, name)
	if err != nil && !errors.Is(err, dns.ErrNotExist) && !errors.Is(err, dns.ErrNoData) {
		return true
	}
	there := err == nil && slices.ContainsFunc(answer.Records, func(txt string) bool { return samePublic(txt, k.Public) })
	s.mu.Lock()
	changed := s.hidden[name] == there
	if there {
		delete(s.hidden, name)
	} else {
		s.hidden[name] = true
	}
	s.mu.Unlock()
	if changed {
		alert := platform.Alert{
			Kind: "dkim-not-published", Scope: "sender/" + domain + "/" + k.Selector,
			Message: fmt.Sprintf("mail of %s is not signed with selector %s: DNS does not show its key at %s", domain, k.Selector, name),
		}
		if there {
			alert.Cleared = time.Now().UTC()
		}
		s.alerts.Tell(alert)
	}
	return there
}

// samePublic compares the p= of two key records.
func samePublic(a, b string) bool {
	p := publicPart(a)
	return p != "" && p == publicPart(b)
}

func publicPart(record string) string {
	for tag := range strings.SplitSeq(record, ";") {
		if name, value, ok := strings.Cut(tag, "="); ok && strings.TrimSpace(name) == "p" {
			return strings.Join(strings.Fields(value), "")
		}
	}
	return ""
}

func (s *signer) open(domain string, k *platform.DKIMKey) (crypto.Signer, error) {
	id := domain + "/" + k.Selector + "/" + string(k.Sealed)
	s.mu.Lock()
	defer s.mu.Unlock()
	if key := s.keys[id]; key != nil {
		return key, nil
	}
	key, err := s.manager.SigningKey(domain, k)
	if err != nil {
		return nil, err
	}
	// Without the build tag openssl this is the key itself.
	if key, err = openssl.Accelerate(key); err != nil {
		return nil, err
	}
	if len(s.keys) >= maxOpenKeys {
		clear(s.keys)
	}
	s.keys[id] = key
	return key, nil
}

// hashBody computes the body hash of content that was changed on its way out.
func hashBody(in delivery.SignInput) ([32]byte, error) {
	h := dkim.NewBodyHasher()
	if b := in.Content.Bytes(); b != nil {
		_, _ = h.Write(b[in.BodyOffset:])
		return h.Sum(), nil
	}
	r, err := in.Content.Open()
	if err != nil {
		return [32]byte{}, err
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, in.BodyOffset); err != nil {
		return [32]byte{}, err
	}
	if _, err := io.Copy(h, r); err != nil {
		return [32]byte{}, err
	}
	return h.Sum(), nil
}
