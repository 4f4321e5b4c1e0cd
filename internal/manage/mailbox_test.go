package manage

import (
	"errors"
	"strings"
	"testing"

	"github.com/postroad/postroad/internal/platform"
)

const withMailbox = `
[[accounts]]
name = "shop"

  [[accounts.mailboxes]]
  name = "isp"
  host = "imap.isp.example"
  username = "bounces@shop.example"
  password = "mailbox secret"
  after = "move:Handled"
`

// TestMailbox: the defaults are written out, the password is sealed, stays where it is when the declaration comes back
// without it, and is asked for again where it would go to somebody else.
func TestMailbox(t *testing.T) {
	m := newManager(t, &memory{})
	apply(t, m, withMailbox)
	a := m.Snapshot().Account("shop")
	b := &a.Mailboxes[0]
	if b.Port != 993 || b.TLS != platform.TLSImplicit || b.Folder != "INBOX" || b.From != platform.MailboxNew || b.Poll() != platform.DefaultPoll {
		t.Errorf("defaults: %+v", b)
	}
	if p, err := m.MailboxPassword("shop", b); err != nil || p != "mailbox secret" || b.Password != "" {
		t.Errorf("password %q, %v; in clear %q", p, err, b.Password)
	}
	if _, err := m.MailboxPassword("other", b); !errors.Is(err, ErrSealed) {
		t.Errorf("in another account it opens: %v", err)
	}
	out, err := FormatState(m.Snapshot().State())
	if err != nil || strings.Contains(string(out), "mailbox secret") || strings.Contains(string(out), "password =") {
		t.Errorf("export shows the password (%v):\n%s", err, out)
	}
	if r := apply(t, m, string(out)); len(r.Changes) != 0 {
		t.Errorf("the export applied again changes %+v", r.Changes)
	}
	if r := apply(t, m, strings.Replace(withMailbox, "mailbox secret", "another", 1)); len(r.Changes) != 1 || strings.Join(r.Changes[0].Fields, ";") != "mailboxes[isp].password: secret changed" {
		t.Errorf("a new password: %+v", r.Changes)
	}
	noPassword := strings.Replace(withMailbox, `password = "mailbox secret"`, "", 1)
	for _, other := range []string{
		strings.Replace(noPassword, "imap.isp.example", "imap.evil.example", 1),
		strings.Replace(noPassword, "bounces@", "boss@", 1),
	} {
		s, kinds, err := ParseState([]byte(other))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Apply(t.Context(), Request{State: s, Kinds: kinds}); err == nil || !strings.Contains(err.Error(), "needs a password") {
			t.Errorf("the password went along to another server or user: %v", err)
		}
	}
}

func TestMailboxInvalid(t *testing.T) {
	for name, tt := range map[string]struct{ old, new, want string }{
		"no host":          {`host = "imap.isp.example"`, "", "needs the name of its IMAP server"},
		"bad host":         {"imap.isp.example", "imap isp", "neither a host name"},
		"bad port":         {`after = `, "port = 70000\nafter = ", "not a port"},
		"no user":          {`username = "bounces@shop.example"`, "", "needs a user name"},
		"no password":      {`password = "mailbox secret"`, "", "needs a password"},
		"line end":         {"mailbox secret", `a\r\nb`, "no control characters"},
		"clear over net":   {`after = `, "tls = \"none\"\nafter = ", "in clear"},
		"tls":              {`after = `, "tls = \"opportunistic\"\nafter = ", "none of implicit, verify, required, none"},
		"ca":               {`after = `, "ca = \"nonsense\"\nafter = ", "no certificate in PEM"},
		"ca not looked at": {`after = `, "tls = \"required\"\nca = \"x\"\nafter = ", "no certificate is checked"},
		"hammering":        {`after = `, "poll_seconds = 1\nafter = ", "not between 10 and 1200"},
		"negative":         {`after = `, "poll_seconds = -5\nafter = ", "not between 10 and 1200"},
		"from":             {`after = `, "from = \"old\"\nafter = ", "none of new, all"},
		"after":            {`move:Handled`, "archive", "none of keep-seen"},
		"move nowhere":     {`move:Handled`, "move:", "needs a folder"},
		"move to itself":   {`move:Handled`, "move:inbox", "in inbox already"},
		"name":             {`name = "isp"`, `name = "Our ISP"`, "lower-case letters"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := strings.Replace(withMailbox, tt.old, tt.new, 1)
			if doc == withMailbox {
				t.Fatal("the case changes nothing")
			}
			s, kinds, err := ParseState([]byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			var inv *Invalid
			if _, err := newManager(t, &memory{}).Apply(t.Context(), Request{State: s, Kinds: kinds}); !errors.As(err, &inv) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
		})
	}
	twice := withMailbox + strings.Replace(withMailbox[strings.Index(withMailbox, "  [[accounts.mail"):], `"isp"`, `"again"`, 1)
	s, kinds, err := ParseState([]byte(twice))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newManager(t, &memory{}).Apply(t.Context(), Request{State: s, Kinds: kinds}); err == nil || !strings.Contains(err.Error(), "same folder of the same user") {
		t.Errorf("two readers of one folder: %v", err)
	}
}
