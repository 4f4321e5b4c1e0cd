package peer

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// DovecotOptions configure a Dovecot.
type DovecotOptions struct {
	Auth           string // address of its authentication service, for Postfix
	User, Password string // of it
	IMAP, LMTP     string // addresses
	// Mailboxes are users with a password that can log in over IMAP; every address has a mailbox.
	Mailboxes map[string]string
	// Away are addresses that answer with a vacation message (Pigeonhole Sieve), through the SMTP server at Submission.
	Away       []string
	Submission string
	Cert       Pair
}

// StartDovecot runs a Dovecot: authentication, IMAP with STARTTLS, and LMTP into Maildirs below the folder it returns, one
// for each address.
func StartDovecot(t testing.TB, dir string, o DovecotOptions) (mailboxes string) {
	t.Helper()
	dir = folder(t, dir, "dovecot")
	base, mailboxes := folder(t, dir, "base"), folder(t, dir, "mail")
	users := o.User + ":{PLAIN}" + o.Password + "\n"
	for user, password := range o.Mailboxes {
		users += user + ":{PLAIN}" + password + "\n"
	}
	for _, a := range o.Away {
		write(t, filepath.Join(folder(t, mailboxes, a), ".dovecot.sieve"), 0o644, `require ["vacation"];
vacation :days 1 :subject "Out of office" "I am away until Monday and will read your message then.";
`)
	}
	if out, err := exec.Command("chown", "-R", "nobody:nogroup", mailboxes).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
	file := write(t, filepath.Join(dir, "users"), 0o644, "%s", users)
	listener := func(addr string) string {
		host, port, _ := strings.Cut(addr, ":")
		return "address = " + host + "\n    port = " + port
	}
	conf := write(t, filepath.Join(dir, "dovecot.conf"), 0o644, `base_dir = %s
state_dir = %s
log_path = /dev/stderr
protocols = imap lmtp
listen = 127.0.0.1
hostname = dove.test
ssl = yes
ssl_cert = <%s
ssl_key = <%s
auth_mechanisms = plain login cram-md5
disable_plaintext_auth = no
# Delays after a wrong password are there against guessing; here they would only take time.
auth_failure_delay = 0
first_valid_uid = 1
mail_location = maildir:~/Maildir
submission_host = %s
passdb {
  driver = passwd-file
  args = scheme=PLAIN %s
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=%s/%%u allow_all_users=yes
}
service auth {
  inet_listener {
    %s
  }
}
service imap-login {
  chroot =
  inet_listener imap {
    %s
  }
  inet_listener imaps {
    port = 0
  }
}
service lmtp {
  inet_listener lmtp {
    %s
  }
}
service stats {
  chroot =
}
service anvil {
  chroot =
}
protocol lmtp {
  mail_plugins = sieve
  postmaster_address = postmaster@dove.test
}
plugin {
  sieve = file:~/.dovecot.sieve
}
`, base, base, o.Cert.CertFile, o.Cert.KeyFile, o.Submission, file, mailboxes, listener(o.Auth), listener(o.IMAP), listener(o.LMTP))
	start(t, dir, "dovecot", []string{o.Auth, o.IMAP, o.LMTP}, nil, "/usr/sbin/dovecot", "-F", "-c", conf)
	return mailboxes
}
