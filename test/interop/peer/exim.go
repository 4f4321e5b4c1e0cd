package peer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// EximOptions configure an Exim.
type EximOptions struct {
	Hostname string
	Addr     string // it listens at
	Domain   string // it takes mail for
	Sink     string // address it hands the mail to
	Greylist string // address of a Greylist
	// Returns is the domain of return paths, and ReturnAddr where its mail goes: there Exim sends its own notifications.
	Returns, ReturnAddr string
	MaxSize             int
	Cert                Pair
}

// StartExim runs an Exim from the cache. Mailboxes that begin with "unknown" do not exist; "greylist" mailboxes are
// greylisted.
func StartExim(t testing.TB, dir string, o EximOptions) {
	t.Helper()
	dir = folder(t, dir, "exim")
	spool := folder(t, dir, "spool")
	// Exim delivers as the user of its package, never as root, and reads its key as that user.
	key, err := os.ReadFile(o.Cert.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	program, env := cached(t, "usr/sbin/exim4")
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	// It runs itself again as that user, who cannot enter root's cache.
	program = write(t, filepath.Join(dir, "exim4"), 0o755, "%s", binary)
	keyFile := write(t, filepath.Join(dir, "key.pem"), 0o600, "%s", key)
	if out, err := exec.Command("chown", "-R", "Debian-exim:Debian-exim", dir).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
	host, listen, _ := strings.Cut(o.Addr, ":")
	greyHost, greyPort, _ := strings.Cut(o.Greylist, ":")
	conf := write(t, filepath.Join(dir, "exim.conf"), 0o644, `primary_hostname = %s
exim_path = %s
spool_directory = %s
log_file_path = %s/%%slog
pid_file_path = %s/exim.pid
keep_environment =
local_interfaces = %s
daemon_smtp_ports = %s
domainlist ours = %s
message_size_limit = %d
tls_advertise_hosts = *
tls_certificate = %s
tls_privatekey = %s
dsn_advertise_hosts = *
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max_per_host = 100
smtp_enforce_sync = true
acl_smtp_rcpt = check_rcpt
acl_smtp_data = accept

begin acl
check_rcpt:
  deny !domains = +ours
       message = relay not permitted
  deny local_parts = ^unknown
       message = Unknown user
  defer local_parts = ^greylist
        condition = ${if eq{${readsocket{inet:%s:%s}{exim $sender_host_address $sender_address $local_part\n}{5s}{ }}}{new }}
        message = 4.7.1 Greylisted, please try again later
  accept

begin routers
returns:
  driver = manualroute
  domains = %s
  route_list = * 127.0.0.1::%s
  transport = sink
  self = send

sink:
  driver = manualroute
  route_list = * 127.0.0.1::%s
  transport = sink
  self = send

begin transports
sink:
  driver = smtp
  allow_localhost
  hosts_avoid_tls = *

begin retry
* * F,1h,1s
`, o.Hostname, program, spool, dir, dir, host, listen, o.Domain, o.MaxSize, o.Cert.CertFile, keyFile, greyHost, greyPort, o.Returns, port(o.ReturnAddr), port(o.Sink))
	start(t, dir, "exim", []string{o.Addr}, env, program, "-bdf", "-q5s", "-C", conf, "-oX", listen)
	t.Cleanup(func() { showLog(t, "exim's main log", filepath.Join(dir, "mainlog")) })
}
