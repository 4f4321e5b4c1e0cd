package peer

import (
	"path/filepath"
	"strings"
	"testing"
)

// OpenSMTPDOptions configure an OpenSMTPD.
type OpenSMTPDOptions struct {
	Hostname  string
	Addr      string
	Domain    string
	Sink      string
	Mailboxes []string // those that exist
	MaxSize   int
	Cert      Pair
}

// StartOpenSMTPD runs an OpenSMTPD from the cache. Its queue and its socket are where its package would put them:
// they cannot be moved.
func StartOpenSMTPD(t testing.TB, dir string, o OpenSMTPDOptions) {
	t.Helper()
	dir = folder(t, dir, "opensmtpd")
	host, port, _ := strings.Cut(o.Addr, ":")
	var rcpts strings.Builder
	for _, m := range o.Mailboxes {
		rcpts.WriteString(m + "\n")
	}
	table := write(t, filepath.Join(dir, "mailboxes"), 0o644, "%s", rcpts.String())
	conf := write(t, filepath.Join(dir, "smtpd.conf"), 0o644, `pki ours cert "%s"
pki ours key "%s"
table mailboxes file:%s
smtp max-message-size "%d"
listen on %s port %s tls pki ours hostname %s
action sink relay host smtp+notls://%s
match from any for domain "%s" rcpt-to <mailboxes> action sink
`, o.Cert.CertFile, o.Cert.KeyFile, table, o.MaxSize, host, port, o.Hostname, o.Sink, o.Domain)
	program, env := cached(t, "usr/sbin/smtpd")
	start(t, dir, "opensmtpd", []string{o.Addr}, env, program, "-d", "-f", conf)
}
