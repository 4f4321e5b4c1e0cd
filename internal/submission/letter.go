package submission

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// Letter is a mail the platform itself writes: a notice of failure, a digest, an alert, a message sent again. It needs no
// credential, counts against no quota, and its author need not be a sender of the account. The suppression list holds for
// it as for any mail, but for one recipient: the contact of an account is told what concerns the account, also when mail
// to it failed once or somebody there pressed "spam".
type Letter struct {
	// Account is in whose name it goes and in whose timeline it stands; "": the platform's own (platform.SystemAccount).
	Account string
	// Writer names the part of the platform that writes, in the place of a credential: "notice", "digest", "resend".
	Writer string
	Stream mail.Stream  // "": transactional
	From   mail.Address // envelope sender; the zero Address for what must not bounce
	To     []mail.Address
	// Content is a whole message, header and body.
	Content []byte
	Tags    []string
	// Key makes writing it twice write it once, for as long as idempotency records are kept; "": no such promise.
	Key       string
	ExpiresAt time.Time // zero: as the stream's schedule says
}

// letterBody stands in idempotency records for the content: a letter written again may differ in its date.
var letterBody = [32]byte{1}

// Letter accepts a mail of the platform's own. When it returns without error, the mail is on disk. Its errors are *Error.
func (s *Service) Letter(ctx context.Context, l Letter) (*Receipt, error) {
	account := s.snapshot().Account(l.Account)
	if l.Account == "" {
		l.Account = platform.SystemAccount
		account = s.snapshot().Account(l.Account)
	}
	if account == nil {
		if l.Account != platform.SystemAccount {
			return nil, refuse(Forbidden, "account", "there is no account %s", l.Account)
		}
		account = &platform.Account{Name: l.Account}
	}
	if len(l.To) == 0 {
		return nil, refuse(NoRecipients, "to", "the mail has no recipient")
	}
	d := draft{
		p:        platform.Principal{Account: account, Credential: &platform.Credential{Name: l.Writer, Kind: platform.CredentialAPI}},
		client:   Client{Protocol: "internal"},
		from:     l.From,
		settings: settings{stream: l.Stream, tags: l.Tags, expiresAt: l.ExpiresAt},
		letter:   true, recipients: recipientsOf(l.To),
	}
	if l.Key != "" {
		earlier, rec, unlock, err := s.idempotent(ctx, l.Account, "letter/"+l.Writer+"/"+l.Key, 0, letterBody)
		if err != nil {
			return nil, err
		}
		if earlier != nil {
			return replay(earlier)
		}
		defer unlock()
		d.idem = rec
	}
	content := l.Content
	if !bytes.Contains(content, []byte("\r\n")) {
		content = normalise(content)
	}
	in, err := s.take(ctx, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	defer in.release()
	return s.accept(ctx, d, in)
}

// IsContact reports whether an address is the contact of an account; of any account, where the account is the platform's
// own.
func IsContact(snap *platform.Snapshot, account string, a mail.Address) bool {
	is := func(contact string) bool {
		c, err := mail.ParseAddress(contact)
		return err == nil && c.Domain == a.Domain && strings.EqualFold(c.Local, a.Local)
	}
	if account == platform.SystemAccount {
		return slices.ContainsFunc(snap.State().Accounts, func(x platform.Account) bool { return is(x.Contact) })
	}
	acc := snap.Account(account)
	return acc != nil && is(acc.Contact)
}
