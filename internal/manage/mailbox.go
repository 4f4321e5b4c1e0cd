package manage

import (
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
)

// maxMailboxText bounds user names, passwords and folder names of mailboxes, in octets.
const maxMailboxText = 255

func (v *validator) mailboxes(where string, a *platform.Account) {
	if len(a.Mailboxes) > platform.MaxMailboxes {
		v.bad(where+".mailboxes", "%d mailboxes are more than the %d an account may have", len(a.Mailboxes), platform.MaxMailboxes)
	}
	names, places := map[string]bool{}, map[string]string{}
	for i := range a.Mailboxes {
		b := &a.Mailboxes[i]
		mw := where + ".mailboxes[" + b.Name + "]"
		v.name(mw, b.Name)
		if names[b.Name] {
			v.bad(mw, "the name is there twice")
		}
		names[b.Name] = true
		place := strings.Join([]string{strings.ToLower(b.Host), b.Username, b.Folder}, "\x00")
		if other, taken := places[place]; taken {
			v.bad(mw, "mailbox %s reads the same folder of the same user", other)
		}
		places[place] = b.Name
		v.mailbox(mw, b)
	}
}

func (v *validator) mailbox(where string, b *platform.Mailbox) {
	if b.Host == "" {
		v.bad(where+".host", "a mailbox needs the name of its IMAP server")
	} else if _, err := mail.ParseDomain(b.Host); err != nil && !isIP(b.Host) {
		v.bad(where+".host", "%q is neither a host name nor an address", b.Host)
	}
	if b.Port < 0 || b.Port > 65535 {
		v.bad(where+".port", "%d is not a port", b.Port)
	}
	switch b.TLS {
	case "", platform.TLSImplicit, platform.TLSVerify, platform.TLSRequired:
	case platform.TLSNone:
		if !isNear(b.Host) {
			v.bad(where+".tls", "the password would go out in clear; none is for localhost, loopback and private addresses, written as an address")
		}
	default:
		v.bad(where+".tls", "%q is none of implicit, verify, required, none", b.TLS)
	}
	if b.CA != "" {
		switch {
		case b.TLS == platform.TLSRequired || b.TLS == platform.TLSNone:
			v.bad(where+".ca", "with tls = %q no certificate is checked", b.TLS)
		case !x509.NewCertPool().AppendCertsFromPEM([]byte(b.CA)):
			v.bad(where+".ca", "there is no certificate in PEM in it")
		}
	}
	if b.Username == "" {
		v.bad(where+".username", "a mailbox needs a user name")
	}
	if b.Password == "" && len(b.Sealed) == 0 {
		v.bad(where+".password", "a mailbox needs a password; it is asked for again when host or user name change")
	}
	for _, f := range []struct{ field, text string }{
		{"username", b.Username},
		{"password", b.Password},
		{"folder", b.Folder},
		{"after", b.After},
	} {
		if len(f.text) > maxMailboxText || strings.ContainsFunc(f.text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			v.bad(where+"."+f.field, "it has at most %d octets and no control characters", maxMailboxText)
		}
	}
	if p := b.Poll(); b.PollSeconds != 0 && (p < platform.MinPoll || p > platform.MaxPoll) || b.PollSeconds < 0 {
		v.bad(where+".poll_seconds", "%d is not between %d and %d", b.PollSeconds, int(platform.MinPoll.Seconds()), int(platform.MaxPoll.Seconds()))
	}
	if !slices.Contains([]string{"", platform.MailboxNew, platform.MailboxAll}, b.From) {
		v.bad(where+".from", "%q is none of new, all", b.From)
	}
	folder, moves := strings.CutPrefix(b.After, platform.MailboxMove)
	switch {
	case moves && folder == "":
		v.bad(where+".after", "move: needs a folder, such as move:Handled")
	case moves && strings.EqualFold(folder, folderOf(b)):
		v.bad(where+".after", "the mail is in %s already", folder)
	case !moves && !slices.Contains([]string{"", platform.MailboxKeepSeen, platform.MailboxDelete}, b.After):
		v.bad(where+".after", "%q is none of keep-seen, move:FOLDER, delete", b.After)
	}
}

// isNear reports whether host can only be this machine or its own network.
func isNear(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || ip.IsPrivate())
}

func folderOf(b *platform.Mailbox) string {
	if b.Folder == "" {
		return "INBOX"
	}
	return b.Folder
}

func normaliseMailboxes(a *platform.Account) {
	for i := range a.Mailboxes {
		b := &a.Mailboxes[i]
		if b.TLS == "" {
			b.TLS = platform.TLSImplicit
		}
		if b.Port == 0 {
			b.Port = 143
			if b.TLS == platform.TLSImplicit {
				b.Port = 993
			}
		}
		b.Folder = folderOf(b)
		if b.PollSeconds == 0 {
			b.PollSeconds = int(platform.DefaultPoll.Seconds())
		}
		if b.From == "" {
			b.From = platform.MailboxNew
		}
		if b.After == "" {
			b.After = platform.MailboxKeepSeen
		}
	}
	a.Mailboxes = orNil(a.Mailboxes)
}

// keepMailboxes carries passwords over. Another host or user is somebody else: a password is never sent to a server it
// was not given for.
func keepMailboxes(a, was *platform.Account) {
	for i := range a.Mailboxes {
		b := &a.Mailboxes[i]
		o := find(was.Mailboxes, func(x platform.Mailbox) bool { return x.Name == b.Name })
		if o != nil && len(b.Sealed) == 0 && strings.EqualFold(b.Host, o.Host) && b.Username == o.Username {
			b.Sealed = o.Sealed
		}
	}
}

func (m *Manager) fillMailboxes(a *platform.Account) {
	for i := range a.Mailboxes {
		b := &a.Mailboxes[i]
		if b.Password == "" {
			continue
		}
		if was, err := m.MailboxPassword(a.Name, b); err != nil || was != b.Password {
			b.Sealed = m.o.MasterKey.Seal(mailboxContext(a.Name, b.Name), []byte(b.Password))
		}
		b.Password = ""
	}
}

func mailboxContext(account, name string) string {
	return "mailbox/" + account + "/" + name + "/password"
}

// MailboxPassword opens a bounce mailbox's password. It returns ErrSealed, wrapped, where the master key is another one.
func (m *Manager) MailboxPassword(account string, b *platform.Mailbox) (string, error) {
	p, err := m.o.MasterKey.Open(mailboxContext(account, b.Name), b.Sealed)
	return string(p), err
}
