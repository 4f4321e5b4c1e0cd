package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/submission"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// desk is an Intake that writes down what it is asked.
type desk struct {
	networks map[string]platform.Principal // by address
	newlines platform.Newlines

	mu       sync.Mutex
	messages []taken
	clients  []submission.Client
}

// taken is one accepted message.
type taken struct {
	account    string
	client     submission.Client
	from       mail.Address
	envelope   submission.Envelope
	recipients []string
	content    string
}

func principal(account string, maxConnections int) platform.Principal {
	return platform.Principal{
		Account:    &platform.Account{Name: account, MaxConnections: maxConnections},
		Credential: &platform.Credential{Name: "main", Kind: platform.CredentialSMTP},
	}
}

var messageID = mail.NewMessageID(time.Unix(1700000000, 0))

func (d *desk) Login(_ context.Context, username, password string, _ netip.Addr) (platform.Principal, error) {
	switch {
	case username == "down":
		return platform.Principal{}, &submission.Error{Kind: submission.Unavailable, Detail: "the log-in could not be checked", Err: errors.New("secret inner words")}
	case username == "odd":
		return platform.Principal{}, errors.New("secret inner words")
	case username == "often":
		return platform.Principal{}, &submission.Error{Kind: submission.Throttled, Detail: "too many failed log-ins"}
	case password != "secret":
		return platform.Principal{}, &submission.Error{Kind: submission.BadCredentials, Detail: "wrong"}
	}
	return principal(username, 2), nil
}

func (d *desk) Network(ip netip.Addr) (platform.Principal, bool) {
	p, ok := d.networks[ip.String()]
	return p, ok
}

func (d *desk) Begin(_ context.Context, p platform.Principal, c submission.Client, from mail.Address, e submission.Envelope) (Transaction, error) {
	if from.Local == "foreign" {
		return nil, &submission.Error{Kind: submission.SenderNotAllowed, Field: "MAIL FROM", Detail: "account " + p.Account.Name + " may not send as this"}
	}
	d.mu.Lock()
	d.clients = append(d.clients, c)
	d.mu.Unlock()
	return &slip{d: d, m: taken{account: p.Account.Name, client: c, from: from, envelope: e}}, nil
}

type slip struct {
	d *desk
	m taken
}

func (s *slip) Newlines() platform.Newlines { return s.d.newlines }

func (s *slip) AddRecipient(_ context.Context, a mail.Address, o submission.RecipientOptions) error {
	if a.Local == "bad" {
		return &submission.Error{Kind: submission.BadAddress, Detail: "no\r\nsuch"}
	}
	s.m.recipients = append(s.m.recipients, fmt.Sprintf("%s %d %s", a, o.Notify, o.ORcpt))
	return nil
}

func (s *slip) Accept(_ context.Context, r io.Reader) (*submission.Receipt, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if s.m.from.Local == "full" {
		return nil, &submission.Error{Kind: submission.NoSpace, Detail: "no room", Err: errors.New("secret inner words")}
	}
	s.m.content = string(b)
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.messages = append(s.d.messages, s.m)
	return &submission.Receipt{Message: messageID}, nil
}
