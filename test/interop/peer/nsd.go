package peer

import (
	"path/filepath"
	"strings"
	"testing"
)

// StartNSD serves the records (lines of a zone file with whole names, all below "test.") with NSD and returns its
// address.
func StartNSD(t testing.TB, dir, addr string, records []string) {
	t.Helper()
	dir = folder(t, dir, "nsd")
	host, port, _ := strings.Cut(addr, ":")
	zone := write(t, filepath.Join(dir, "test.zone"), 0o644,
		"$TTL 5\ntest. SOA ns.test. hostmaster.test. 1 60 60 60 5\ntest. NS ns.test.\nns.test. A 127.0.0.1\n%s\n", strings.Join(records, "\n"))
	conf := write(t, filepath.Join(dir, "nsd.conf"), 0o644, `server:
  ip-address: %s
  port: %s
  username: ""
  zonesdir: "%s"
  database: ""
  pidfile: "%s/nsd.pid"
  xfrdfile: "%s/xfrd.state"
  xfrdir: "%s"
  zonelistfile: "%s/zone.list"
  server-count: 1
  hide-version: yes
remote-control:
  control-enable: no
zone:
  name: test
  zonefile: "%s"
`, host, port, dir, dir, dir, dir, dir, zone)
	start(t, dir, "nsd", []string{addr}, nil, "/usr/sbin/nsd", "-d", "-c", conf)
}
