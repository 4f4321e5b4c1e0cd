package tenant

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// Reason says why something was not allowed.
type Reason string

// The reasons.
const (
	AccountPaused      Reason = "account-paused"
	CredentialDisabled Reason = "credential-disabled"
	CredentialNetwork  Reason = "credential-network"
	CredentialScope    Reason = "credential-scope"
	SenderUnknown      Reason = "sender-unknown"
	SenderUnverified   Reason = "sender-unverified"
	SenderForeign      Reason = "sender-foreign"
)

// Refusal is the answer no. Its text is made for the account's own people. It follows the field's name, and repeats
// neither what they wrote nor who else uses the platform.
type Refusal struct {
	Reason Reason
	// Field is what was refused: "envelope sender", "From", "Sender", "credential", "account".
	Field string
	Text  string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Text }

// MaySend checks that the credential may hand in mail at all from the client's address. It returns nil or a *Refusal.
func MaySend(p platform.Principal, ip netip.Addr) error {
	switch {
	case p.Account.State == platform.AccountPaused:
		return &Refusal{AccountPaused, "account", fmt.Sprintf("account %s is paused; its operator can resume it", p.Account.Name)}
	case p.Credential.Disabled:
		return &Refusal{CredentialDisabled, "credential", fmt.Sprintf("credential %s is disabled", p.Credential.Name)}
	case !p.Credential.Allows(platform.ScopeSend):
		return &Refusal{CredentialScope, "credential", fmt.Sprintf("credential %s has no scope %q", p.Credential.Name, platform.ScopeSend)}
	case ip.IsValid() && !p.Credential.AllowsFrom(ip):
		return &Refusal{CredentialNetwork, "credential", fmt.Sprintf("credential %s may not be used from %s", p.Credential.Name, ip.Unmap())}
	}
	return nil
}

// Identity is what the sender of a message was found to be.
type Identity struct {
	// Verified: every author of the From field is a verified sender of the account.
	Verified bool
	// Sender is the sender of the first author, nil where the account may write from anything.
	Sender *platform.Sender
}

// Authors are the addresses a message claims to be from.
type Authors struct {
	Envelope mail.Address // zero: the null sender
	From     []mail.Address
	Sender   *mail.Address // of the Sender field; nil: there is none
}

// Identify checks every name a message uses: the envelope sender, each author of From, and Sender. Each must be a
// verified sender of the account; an account with the sender "*" may also use names nobody else on the platform owns.
// It returns a *Refusal where one may not be used. Checking only one of them would let a customer of the platform
// pose as another in the others.
func Identify(snap *platform.Snapshot, account *platform.Account, a Authors) (Identity, error) {
	id := Identity{Verified: true}
	if !a.Envelope.IsZero() {
		if _, err := owned(snap, account, "envelope sender", a.Envelope); err != nil {
			return Identity{}, err
		}
	}
	for i, from := range a.From {
		s, err := owned(snap, account, "From", from)
		if err != nil {
			return Identity{}, err
		}
		if i == 0 {
			id.Sender = s
		}
		id.Verified = id.Verified && s != nil
	}
	if a.Sender != nil {
		if _, err := owned(snap, account, "Sender", *a.Sender); err != nil {
			return Identity{}, err
		}
	}
	return id, nil
}

// EnvelopeSender checks the envelope sender alone, so that MAIL FROM can be answered before the content is there.
func EnvelopeSender(snap *platform.Snapshot, account *platform.Account, from mail.Address) error {
	if from.IsZero() {
		return nil
	}
	_, err := owned(snap, account, "envelope sender", from)
	return err
}

func owned(snap *platform.Snapshot, account *platform.Account, field string, a mail.Address) (*platform.Sender, error) {
	ref, found := snap.SenderOwner(a)
	switch {
	case found && ref.Account == account && ref.Sender.Verified:
		return ref.Sender, nil
	case found && ref.Account == account:
		return nil, &Refusal{SenderUnverified, field, fmt.Sprintf("the sender %s of account %s is not verified yet", ref.Sender.Name, account.Name)}
	case found:
		// Do not tell whose it is.
		return nil, &Refusal{SenderForeign, field, fmt.Sprintf("the address is not a sender of account %s", account.Name)}
	case account.AnySender():
		return nil, nil
	}
	return nil, &Refusal{SenderUnknown, field, fmt.Sprintf("the address is not a sender of account %s; add and verify its domain first", account.Name)}
}

// SigningDomain returns the domain of the sender whose keys sign for an author, walking up from the author's domain
// to the sender's, or "" where the account has no such sender.
func SigningDomain(account *platform.Account, from mail.Address) (string, *platform.Sender) {
	for d := from.Domain; d != ""; {
		i := slices.IndexFunc(account.Senders, func(s platform.Sender) bool { return s.Name == d && s.Verified })
		if i >= 0 {
			return d, &account.Senders[i]
		}
		_, rest, ok := strings.Cut(d, ".")
		if !ok {
			break
		}
		d = rest
	}
	return "", nil
}
