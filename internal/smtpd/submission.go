package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/smtpserver"
	"github.com/postroad/postroad/internal/submission"
)

// Intake is what the sessions need of submission; Serve makes one of *submission.Service.
type Intake interface {
	// Login checks name and password of a client at ip.
	Login(ctx context.Context, username, password string, ip netip.Addr) (platform.Principal, error)
	// Network finds the credential that lets ip send without a log-in.
	Network(ip netip.Addr) (platform.Principal, bool)
	// Begin begins a message. The transaction is used by one goroutine.
	Begin(ctx context.Context, p platform.Principal, c submission.Client, from mail.Address, e submission.Envelope) (Transaction, error)
}

// Transaction is one message on its way in. One that is dropped before Accept leaves nothing behind.
type Transaction interface {
	AddRecipient(ctx context.Context, a mail.Address, o submission.RecipientOptions) error
	// Accept takes the content. When it returns without error the message is durable.
	Accept(ctx context.Context, content io.Reader) (*submission.Receipt, error)
	Newlines() platform.Newlines
}

// Serve makes an Intake of the service.
func Serve(s *submission.Service) Intake { return service{s} }

type service struct{ *submission.Service }

func (s service) Begin(ctx context.Context, p platform.Principal, c submission.Client, from mail.Address, e submission.Envelope) (Transaction, error) {
	t, err := s.Service.Begin(ctx, p, c, from, e)
	if err != nil {
		return nil, err // not t: a nil *submission.Transaction is no nil Transaction
	}
	return t, nil
}

// Submission makes the sessions of clients that hand in mail. One is shared by all listeners, so that the caps on an
// account's connections hold over all of them.
type Submission struct {
	intake Intake
	log    *slog.Logger

	mu       sync.Mutex
	accounts map[string]int // open connections
}

// NewSubmission returns the maker of submission sessions.
func NewSubmission(in Intake, log *slog.Logger) (*Submission, error) {
	if in == nil {
		return nil, errors.New("smtpd: submission sessions need an Intake")
	}
	if log == nil {
		log = slog.Default()
	}
	return &Submission{intake: in, log: log, accounts: map[string]int{}}, nil
}

// Session is a smtpserver.Handler.
func (s *Submission) Session(_ context.Context, info *smtpserver.ConnInfo) (smtpserver.Session, error) {
	return &session{s: s, info: info, ip: info.Remote.Addr().Unmap()}, nil
}

// enter counts a connection for the account; leave must follow. It reports false when the account has too many.
func (s *Submission) enter(a *platform.Account) bool {
	limit := a.MaxConnections
	if limit == 0 {
		limit = platform.DefaultAccountConnections
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accounts[a.Name] >= limit {
		return false
	}
	s.accounts[a.Name]++
	return true
}

func (s *Submission) leave(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accounts[account]--; s.accounts[account] <= 0 {
		delete(s.accounts, account)
	}
}

// session is one client handing in mail.
type session struct {
	s    *Submission
	info *smtpserver.ConnInfo
	ip   netip.Addr

	principal platform.Principal // who it is; zero: nobody yet
	tx        Transaction        // nil: none
}

// Auth implements smtpserver.AuthSession.
func (c *session) Auth(ctx context.Context, cred smtpserver.Credentials) error {
	p, err := c.s.intake.Login(ctx, cred.Username, cred.Password, c.ip)
	if err != nil {
		if submission.KindOf(err) == submission.BadCredentials {
			c.s.log.Warn("log-in refused", mail.LogClient, c.ip, mail.LogErr, fmt.Errorf("log-in as %.64q: %w", cred.Username, err))
		}
		return authRefusal(err)
	}
	return c.become(p)
}

// become makes the client the principal, within the account's connections. A client that was known by its network
// before, and then logged in, is counted for the account it logged in to.
func (c *session) become(p platform.Principal) error {
	c.leave()
	if !c.s.enter(p.Account) {
		return accountFull
	}
	c.principal = p
	return nil
}

func (c *session) leave() {
	if c.principal.Account != nil {
		c.s.leave(c.principal.Account.Name)
		c.principal = platform.Principal{}
	}
}

// Mail implements smtpserver.Session.
func (c *session) Mail(ctx context.Context, from mail.Address, o smtpserver.MailOptions) error {
	if c.principal.Account == nil {
		p, ok := c.s.intake.Network(c.ip)
		if !ok {
			return authRequired
		}
		if err := c.become(p); err != nil {
			return err
		}
	}
	tx, err := c.s.intake.Begin(ctx, c.principal, submission.Client{
		IP: c.ip, Helo: c.info.Helo, Protocol: c.info.Protocol(), TLS: c.info.TLSName(),
	}, from, submission.Envelope{
		Size: o.Size, EightBit: o.EightBit, UTF8: o.UTF8, RequireTLS: o.RequireTLS, EnvID: o.EnvID, Ret: o.Ret,
	})
	if err != nil {
		return refusal(err)
	}
	c.tx = tx
	return nil
}

// Rcpt implements smtpserver.Session.
func (c *session) Rcpt(ctx context.Context, to mail.Address, o smtpserver.RcptOptions) error {
	return refusal(c.tx.AddRecipient(ctx, to, submission.RecipientOptions{Notify: o.Notify, ORcpt: o.ORcpt}))
}

// Newlines implements smtpserver.NewlinesSession.
func (c *session) Newlines() smtp.Newlines {
	if c.tx.Newlines() == platform.NewlinesNormalise {
		return smtp.NewlinesNormalise
	}
	return smtp.NewlinesReject
}

// Data implements smtpserver.Session.
func (c *session) Data(ctx context.Context, r io.Reader) (smtp.Reply, error) {
	receipt, err := c.tx.Accept(ctx, r)
	if err != nil {
		return smtp.Reply{}, refusal(err)
	}
	return smtp.Reply{Code: 250, Enhanced: smtp.Enhanced{2, 6, 0}, Lines: []string{receipt.Message.String() + " accepted"}}, nil
}

// Reset implements smtpserver.Session.
func (c *session) Reset() { c.tx = nil }

// Close implements smtpserver.Session.
func (c *session) Close() { c.leave() }
