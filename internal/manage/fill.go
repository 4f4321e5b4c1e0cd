package manage

import (
	"crypto"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/postroad/postroad/internal/dkim"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// normalise writes out what leaving a field empty means, so that the same declaration is always the same state.
func normalise(s *platform.State) {
	for i := range s.Accounts {
		a := &s.Accounts[i]
		if a.State == "" {
			a.State = platform.AccountActive
		}
		for j := range a.Credentials {
			c := &a.Credentials[j]
			if c.Stream == "" {
				c.Stream = mail.Transactional
			}
			if c.Newlines == "" {
				c.Newlines = platform.NewlinesReject
			}
			c.Networks, c.Scopes, c.Tags = orNil(c.Networks), orNil(c.Scopes), orNil(c.Tags)
		}
		for j := range a.Senders {
			a.Senders[j].Keys = orNil(a.Senders[j].Keys)
		}
		a.Senders, a.Credentials, a.Webhooks = orNil(a.Senders), orNil(a.Credentials), normaliseWebhooks(a.Webhooks)
		a.Archive.Streams = orNil(a.Archive.Streams)
		normaliseMailboxes(a)
	}
	for i := range s.Routes {
		r := &s.Routes[i]
		if r.TLS == "" {
			r.TLS = platform.TLSOpportunistic
			if r.Kind == mail.RouteRelay {
				r.TLS = platform.TLSVerify
			}
		}
		if r.ReturnPath == "" {
			r.ReturnPath = platform.ReturnPathVERP
			if r.Kind == mail.RouteRelay {
				r.ReturnPath = platform.ReturnPathSender
			}
		}
		if r.Port == 0 && r.Kind == mail.RouteRelay {
			r.Port = 25
			switch {
			case r.TLS == platform.TLSImplicit:
				r.Port = 465
			case r.Auth != "":
				r.Port = 587
			}
		}
	}
	for i := range s.Pools {
		s.Pools[i].Accounts = orNil(s.Pools[i].Accounts)
	}
	for i := range s.Sources {
		if s.Sources[i].State == "active" {
			s.Sources[i].State = ""
		}
	}
	for i := range s.Holds {
		h := &s.Holds[i]
		h.Since, h.Expires = h.Since.UTC(), h.Expires.UTC()
	}
	for i := range s.LegalHolds {
		normaliseLegalHold(&s.LegalHolds[i])
	}
}

func orNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

// keep carries over what a declaration cannot hold: hashes, sealed secrets, the public half of keys, and since when a
// hold stands.
func keep(want *platform.State, old platform.State) {
	for i := range want.Accounts {
		a := &want.Accounts[i]
		was := find(old.Accounts, func(x platform.Account) bool { return x.Name == a.Name })
		if was == nil {
			continue
		}
		keepMailboxes(a, was)
		for j := range a.Credentials {
			c := &a.Credentials[j]
			if o := find(was.Credentials, func(x platform.Credential) bool { return x.Name == c.Name && x.Kind == c.Kind }); o != nil && c.Hash == "" {
				c.Hash = o.Hash
			}
		}
		keepWebhooks(a, was)
		for j := range a.Senders {
			s := &a.Senders[j]
			o := find(was.Senders, func(x platform.Sender) bool { return x.Name == s.Name })
			if o == nil {
				continue
			}
			for n := range s.Keys {
				k := &s.Keys[n]
				if ok := find(o.Keys, func(x platform.DKIMKey) bool { return x.Selector == k.Selector && x.Algorithm == k.Algorithm }); ok != nil && len(k.Sealed) == 0 {
					k.Sealed, k.Public = ok.Sealed, ok.Public
				}
			}
		}
	}
	for i := range want.Routes {
		r := &want.Routes[i]
		if o := find(old.Routes, func(x platform.Route) bool { return x.Name == r.Name }); o != nil && len(r.Sealed) == 0 && r.Auth != "" && r.Username == o.Username {
			r.Sealed = o.Sealed
		}
	}
	for i := range want.Holds {
		h := &want.Holds[i]
		if o := find(old.Holds, func(x platform.Hold) bool { return x.Name == h.Name }); o != nil && h.Since.IsZero() {
			h.Since = o.Since
		}
	}
	for i := range want.LegalHolds {
		h := &want.LegalHolds[i]
		if o := find(old.LegalHolds, func(x platform.LegalHold) bool { return x.Name == h.Name }); o != nil && h.Since.IsZero() {
			h.Since = o.Since
		}
	}
}

func find[T any](list []T, is func(T) bool) *T {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return &list[i]
	}
	return nil
}

// fill makes and seals secrets: hashes of passwords and keys, relay passwords, DKIM keys. What it made itself it
// returns, to be shown once, and the ids of new webhooks.
func (m *Manager) fill(s *platform.State) (made []Secret, webhooks []string, err error) {
	for i := range s.Accounts {
		a := &s.Accounts[i]
		m.fillMailboxes(a)
		for j := range a.Credentials {
			c := &a.Credentials[j]
			if c.Kind == platform.CredentialNetwork {
				c.Secret, c.Hash = "", ""
				continue
			}
			where := "accounts[" + a.Name + "].credentials[" + c.Name + "]"
			if c.Secret == "" && c.Hash == "" {
				c.Secret = m.o.NewSecret()
				secret := Secret{Where: where, Value: c.Secret}
				if c.Kind == platform.CredentialSMTP {
					secret.Login = c.Login(a)
				}
				made = append(made, secret)
			}
			if c.Secret != "" && (c.Hash == "" || !m.o.MatchSecret(c.Kind, c.Hash, c.Secret)) {
				c.Hash = m.o.HashSecret(c.Kind, c.Secret)
			}
			c.Secret = ""
		}
		for j := range a.Senders {
			sender := &a.Senders[j]
			for n := range sender.Keys {
				if err := m.fillKey(sender.Name, &sender.Keys[n]); err != nil {
					return nil, nil, err
				}
			}
		}
		secrets, begun, err := m.fillWebhooks(a)
		if err != nil {
			return nil, nil, err
		}
		made, webhooks = append(made, secrets...), append(webhooks, begun...)
	}
	for i := range s.Routes {
		r := &s.Routes[i]
		if r.Password != "" {
			if was, err := m.RoutePassword(r); err != nil || was != r.Password {
				r.Sealed = m.o.MasterKey.Seal(routeContext(r.Name), []byte(r.Password))
			}
			r.Password = ""
		}
		if r.Auth == "" {
			r.Sealed = nil
		}
	}
	for i := range s.Holds {
		if s.Holds[i].Since.IsZero() {
			s.Holds[i].Since = m.o.Now().UTC()
		}
	}
	for i := range s.LegalHolds {
		if s.LegalHolds[i].Since.IsZero() {
			s.LegalHolds[i].Since = m.o.Now().UTC()
		}
	}
	return made, webhooks, nil
}

func (m *Manager) fillKey(domain string, k *platform.DKIMKey) error {
	where := "senders[" + domain + "].keys[" + k.Selector + "].private_key"
	var signer crypto.Signer
	var err error
	switch {
	case k.Private != "":
		signer, err = dkim.ParsePrivate([]byte(k.Private))
		if err != nil {
			return &Invalid{[]Problem{{where, "it is no RSA or Ed25519 private key in PEM (PKCS #8 or PKCS #1) that may sign"}}}
		}
		if _, isEd := signer.Public().(ed25519.PublicKey); isEd != (k.Algorithm == "ed25519") {
			return &Invalid{[]Problem{{where, "the key is of another kind than algorithm says"}}}
		}
		k.Private = ""
		if len(k.Sealed) > 0 && k.Public == dkim.PublicRecord(signer.Public()) {
			return nil // the same key again: keep what is stored, so that nothing changes
		}
	case len(k.Sealed) > 0:
		return nil
	case k.Algorithm == "ed25519":
		signer, err = dkim.GenerateEd25519()
	default:
		signer, err = dkim.GenerateRSA()
	}
	if err != nil {
		return fmt.Errorf("manage: make key %s of %s: %w", k.Selector, domain, err)
	}
	der, err := dkim.MarshalPrivate(signer)
	if err != nil {
		return fmt.Errorf("manage: make key %s of %s: %w", k.Selector, domain, err)
	}
	k.Public = dkim.PublicRecord(signer.Public())
	k.Sealed = m.o.MasterKey.Seal(keyContext(domain, k.Selector), der)
	return nil
}

func keyContext(domain, selector string) string { return "dkim/" + domain + "/" + selector }

func routeContext(name string) string { return "route/" + name + "/password" }

// SigningKey opens a sender's DKIM key. It returns ErrSealed, wrapped, where the master key is another one.
func (m *Manager) SigningKey(domain string, k *platform.DKIMKey) (crypto.Signer, error) {
	der, err := m.o.MasterKey.Open(keyContext(domain, k.Selector), k.Sealed)
	if err != nil {
		return nil, err
	}
	signer, err := dkim.ParsePrivate(der)
	if err != nil {
		return nil, fmt.Errorf("manage: key %s of %s: %w", k.Selector, domain, err)
	}
	return signer, nil
}

// RoutePassword opens a relay's password. It returns ErrSealed, wrapped, where the master key is another one.
func (m *Manager) RoutePassword(r *platform.Route) (string, error) {
	b, err := m.o.MasterKey.Open(routeContext(r.Name), r.Sealed)
	return string(b), err
}
