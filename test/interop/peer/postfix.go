package peer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// PostfixListener is one smtpd of a Postfix, with the settings in which it differs from the others.
type PostfixListener struct {
	Addr     string
	Settings map[string]string
}

// PostfixOptions configure a Postfix.
type PostfixOptions struct {
	Hostname string
	Domains  []string // it takes mail for
	Sink     string   // address it hands the mail to
	// Transports are lines of a regexp table that lead some mail elsewhere: "/@example\\.com$/ lmtp:inet:127.0.0.1:24".
	Transports []string
	Cert       Pair
	Listeners  []PostfixListener
}

// StartPostfix runs a Postfix of the test's own; the system's is not touched. Mailboxes that begin with "unknown" do
// not exist.
func StartPostfix(t testing.TB, dir string, o PostfixOptions) {
	t.Helper()
	config := folder(t, dir, "postfix")
	queue, state := folder(t, dir, "postfix-queue"), folder(t, dir, "postfix-state")
	if out, err := exec.Command("chown", "postfix", state).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
	mbox := folder(t, dir, "postfix-mbox")
	if err := os.Chmod(mbox, 0o777); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(config, "postfix.log")
	transports := write(t, filepath.Join(config, "transports"), 0o644, "%s\n", strings.Join(o.Transports, "\n"))
	mailboxes := write(t, filepath.Join(config, "mailboxes"), 0o644, "!/^unknown/ mailbox\n")
	write(t, filepath.Join(config, "main.cf"), 0o644, `compatibility_level = 3.6
queue_directory = %s
data_directory = %s
maillog_file_prefixes = %s
maillog_file = %s
myhostname = %s
mydestination =
alias_maps =
alias_database =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.254/32
virtual_mailbox_domains = %s
virtual_mailbox_maps = regexp:%s
virtual_transport = smtp:[127.0.0.1]:%s
transport_maps = regexp:%s
virtual_mailbox_base = %s
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
delay_warning_time = 1s
queue_run_delay = 2s
minimal_backoff_time = 2s
maximal_backoff_time = 4s
default_transport = smtp:[127.0.0.1]:%s
smtp_tls_security_level = none
smtp_discard_ehlo_keywords = dsn
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_tls_security_level = may
smtpd_tls_cert_file = %s
smtpd_tls_key_file = %s
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions =
smtputf8_enable = yes
`, queue, state, dir, log, o.Hostname, strings.Join(o.Domains, ", "), mailboxes, port(o.Sink), transports, mbox, port(o.Sink), o.Cert.CertFile, o.Cert.KeyFile)
	master, err := os.ReadFile("/etc/postfix/master.cf")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(config, "master.cf"), 0o644, "%s", masterCF(string(master), o.Listeners))
	if b, err := os.ReadFile("/etc/postfix/dynamicmaps.cf"); err == nil {
		write(t, filepath.Join(config, "dynamicmaps.cf"), 0o644, "%s", b)
	}
	if out, err := exec.Command("postfix", "-c", config, "start").CombinedOutput(); err != nil {
		showFile(t, "postfix", log)
		t.Fatalf("start postfix: %v: %s", err, out)
	}
	t.Cleanup(func() {
		showLog(t, "postfix", log)
		if out, err := exec.Command("postfix", "-c", config, "stop").CombinedOutput(); err != nil {
			t.Errorf("stop postfix: %v: %s", err, out)
		}
	})
	for _, l := range o.Listeners {
		if err := awaitListener(l.Addr, nil); err != nil {
			showFile(t, "postfix", log)
			t.Fatalf("postfix: %v", err)
		}
	}
}

// masterCF is the packaged list of services without its listener and without chroot, and with ours.
func masterCF(packaged string, listeners []PostfixListener) string {
	var b strings.Builder
	for _, line := range strings.Split(packaged, "\n") {
		f := strings.Fields(line)
		if len(f) < 8 || strings.HasPrefix(line, "#") || strings.HasPrefix(line, " ") {
			// Further lines of a service stay; those of the listener are not set in the package.
			b.WriteString(line + "\n")
			continue
		}
		if f[0] == "smtp" && f[1] == "inet" {
			continue
		}
		f[4] = "n"
		b.WriteString(strings.Join(f, " ") + "\n")
	}
	for _, l := range listeners {
		fmt.Fprintf(&b, "%s inet n - n - - smtpd\n", l.Addr)
		for k, v := range l.Settings {
			// master(5): braces allow spaces around and within the value.
			fmt.Fprintf(&b, "  -o { %s = %s }\n", k, v)
		}
	}
	return b.String()
}

func showFile(t testing.TB, name, file string) {
	if b, err := os.ReadFile(file); err == nil {
		t.Logf("the log of %s:\n%s", name, b)
	}
}

func port(addr string) string {
	_, p, _ := strings.Cut(addr, ":")
	return p
}
