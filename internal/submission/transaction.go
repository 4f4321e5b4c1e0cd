package submission

import (
	"context"
	"io"
	"net/netip"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/tenant"
)

// Client is where a message comes from, for the Received field (RFC 5321 §4.4) and for checks by address.
type Client struct {
	IP       netip.Addr
	Helo     string
	Protocol string // ESMTP, ESMTPS, ESMTPA, ESMTPSA (RFC 3848), HTTP, HTTPS
	TLS      string // "TLS1.3 TLS_AES_128_GCM_SHA256"; "": clear
}

// Envelope are the parameters of MAIL FROM.
type Envelope struct {
	Size       int64 // declared, 0: not (RFC 1870)
	EightBit   bool  // BODY=8BITMIME (RFC 6152)
	UTF8       bool  // SMTPUTF8 (RFC 6531)
	RequireTLS bool  // RFC 8689
	EnvID      string
	Ret        string
}

// RecipientOptions are the parameters of RCPT TO (RFC 3461 §4).
type RecipientOptions struct {
	Notify mail.Notify
	ORcpt  string
}

// MaxListed is how many recipients a Receipt lists. A receipt is kept with the idempotency key, and one of a million
// recipients would be larger than a frame.
const MaxListed = 1000

// Receipt says what was accepted.
type Receipt struct {
	Message    mail.MessageID    `json:"message"`
	Count      int               `json:"count"`      // of recipients, also of those not listed
	Recipients []RecipientResult `json:"recipients"` // the first MaxListed
	// Replayed: an earlier request with the same idempotency key made it; nothing was sent now.
	Replayed bool `json:"-"`
}

func (r *Receipt) list(x RecipientResult) {
	if len(r.Recipients) < MaxListed {
		r.Recipients = append(r.Recipients, x)
	}
}

// RecipientResult is what became of one recipient at acceptance.
type RecipientResult struct {
	Address  string          `json:"address"`
	Delivery mail.DeliveryID `json:"delivery"`
	Status   string          `json:"status"` // queued, suppressed
	Reason   string          `json:"reason,omitempty"`
}

// The statuses of RecipientResult.
const (
	StatusQueued     = "queued"
	StatusSuppressed = "suppressed"
)

type recipient struct {
	addr mail.Address
	RecipientOptions
	name string // display name of a private copy
}

// Transaction is one message on its way in, as SMTP brings it. It belongs to one goroutine.
type Transaction struct {
	s          *Service
	p          platform.Principal
	client     Client
	from       mail.Address
	env        Envelope
	recipients []recipient
	seen       map[mail.Address]bool // made when there are many
}

// fewRecipients is up to where a duplicate is looked for by going through the list.
const fewRecipients = 16

// Begin starts a message from an envelope sender. Its errors are those of MAIL FROM: Paused, Forbidden,
// SenderNotAllowed, TooLarge.
func (s *Service) Begin(ctx context.Context, p platform.Principal, c Client, from mail.Address, env Envelope) (t *Transaction, err error) {
	defer func() { s.logRefusal(ctx, p, c, err) }()
	snap := s.snapshot()
	// The session may be older than the last change of the account: look it up again.
	now, err := sending(snap, p, c.IP)
	if err != nil {
		return nil, err
	}
	p = now
	if env.Size > s.o.MaxSize {
		return nil, refuse(TooLarge, "SIZE", "the message has %d octets, the limit is %d", env.Size, s.o.MaxSize)
	}
	if err := tenant.EnvelopeSender(snap, p.Account, from); err != nil {
		return nil, refusal(err)
	}
	return &Transaction{s: s, p: p, client: c, from: from, env: env}, nil
}

// operator stands for the operator who sends for an account.
var operator = &platform.Credential{Name: "operator", Kind: platform.CredentialAPI, Newlines: platform.NewlinesNormalise}

// Operator is the principal of an operator who sends for an account.
func Operator(a *platform.Account) platform.Principal {
	return platform.Principal{Account: a, Credential: operator}
}

// current finds the principal in the newest snapshot.
func current(snap *platform.Snapshot, p platform.Principal) (platform.Principal, error) {
	a := snap.Account(p.Account.Name)
	if a == p.Account {
		return p, nil
	}
	if a != nil && p.Credential == operator {
		return Operator(a), nil
	}
	if a != nil {
		for i := range a.Credentials {
			// With another secret it is another credential: who knows the old one only is not it.
			if c := &a.Credentials[i]; c.Name == p.Credential.Name && c.Kind == p.Credential.Kind && c.Hash == p.Credential.Hash {
				return platform.Principal{Account: a, Credential: c}, nil
			}
		}
	}
	return platform.Principal{}, refuse(Forbidden, "credential", "credential %s of account %s is there no more", p.Credential.Name, p.Account.Name)
}

// sending is current for a principal who wants to send from ip.
func sending(snap *platform.Snapshot, p platform.Principal, ip netip.Addr) (platform.Principal, error) {
	p, err := current(snap, p)
	if err != nil {
		return platform.Principal{}, err
	}
	if err := tenant.MaySend(p, ip); err != nil {
		return platform.Principal{}, refusal(err)
	}
	return p, nil
}

// AddRecipient adds a recipient. One that is named twice gets the message once. Its errors are those of RCPT TO:
// BadAddress, TooManyRecipients.
func (t *Transaction) AddRecipient(_ context.Context, a mail.Address, o RecipientOptions) error {
	if a.IsZero() {
		return refuse(BadAddress, "recipient", "the null path cannot be a recipient")
	}
	if !a.IsASCII() && !t.env.UTF8 {
		return refuse(BadAddress, "recipient", "an address with a local part that is not ASCII needs SMTPUTF8 on MAIL FROM")
	}
	if t.has(a) {
		return nil
	}
	if len(t.recipients) >= t.s.o.MaxRecipients {
		return refuse(TooManyRecipients, "recipient", "at most %d recipients in a transaction; send the rest in another", t.s.o.MaxRecipients)
	}
	t.recipients = append(t.recipients, recipient{addr: a, RecipientOptions: o})
	if t.seen != nil {
		t.seen[a] = true
	}
	return nil
}

func (t *Transaction) has(a mail.Address) bool {
	if len(t.recipients) < fewRecipients {
		for i := range t.recipients {
			if t.recipients[i].addr == a {
				return true
			}
		}
		return false
	}
	if t.seen == nil {
		t.seen = make(map[mail.Address]bool, 2*len(t.recipients))
		for i := range t.recipients {
			t.seen[t.recipients[i].addr] = true
		}
	}
	return t.seen[a]
}

// Newlines is what the credential wants done with a bare CR or LF.
func (t *Transaction) Newlines() platform.Newlines { return t.p.Credential.Newlines }

// Accept reads the content to its end and accepts the message: when it returns without error, the message is on disk.
// content gives the octets after dot-unstuffing; an error of it ends the transaction and is returned as it is. Every
// other error is an *Error, and nothing of the message is kept.
func (t *Transaction) Accept(ctx context.Context, content io.Reader) (r *Receipt, err error) {
	defer func() { t.s.logRefusal(ctx, t.p, t.client, err) }()
	if len(t.recipients) == 0 {
		return nil, refuse(NoRecipients, "", "no recipient was accepted")
	}
	in, err := t.s.take(ctx, content)
	if err != nil {
		return nil, err
	}
	defer in.release()
	return t.s.accept(ctx, draft{
		p: t.p, client: t.client, from: t.from, env: t.env, recipients: t.recipients,
	}, in)
}
