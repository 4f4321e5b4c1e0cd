package peer

import (
	"path/filepath"
	"strings"
	"testing"
)

// StartDovecot runs Dovecot's authentication service at addr for Postfix, with one user.
func StartDovecot(t testing.TB, dir, addr, user, password string) {
	t.Helper()
	dir = folder(t, dir, "dovecot")
	base := folder(t, dir, "base")
	host, port, _ := strings.Cut(addr, ":")
	users := write(t, filepath.Join(dir, "users"), 0o644, "%s:{PLAIN}%s\n", user, password)
	conf := write(t, filepath.Join(dir, "dovecot.conf"), 0o644, `base_dir = %s
state_dir = %s
log_path = /dev/stderr
protocols =
ssl = no
listen = 127.0.0.1
auth_mechanisms = plain login cram-md5
disable_plaintext_auth = no
# Delays after a wrong password are there against guessing; here they would only take time.
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = scheme=PLAIN %s
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}
service auth {
  inet_listener {
    address = %s
    port = %s
  }
}
service stats {
  chroot =
}
`, base, base, users, host, port)
	start(t, dir, "dovecot", []string{addr}, nil, "/usr/sbin/dovecot", "-F", "-c", conf)
}
