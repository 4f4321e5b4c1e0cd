package dns

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseResolvConf(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		servers    string
		trusted    bool
		timeout    time.Duration
		attempts   int
	}{
		{"empty", "", "127.0.0.1:53", false, 0, 0},
		{"comments and unknown lines", "# nameserver 192.0.2.9\n; x\nsearch example.com\nnameserver 192.0.2.1\nfoo bar\n", "192.0.2.1:53", false, 0, 0},
		{"at most three", "nameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver fe80::1%eth0\nnameserver 192.0.2.4\n", "192.0.2.1:53 [2001:db8::1]:53 [fe80::1%eth0]:53", false, 0, 0},
		{"not an address", "nameserver dns.example.com\n", "127.0.0.1:53", false, 0, 0},
		{"options", "nameserver 192.0.2.1\noptions edns0 trust-ad timeout:1 attempts:4 ndots:2\n", "192.0.2.1:53", true, time.Second, 4},
		{"options beyond reason", "options timeout:9000 attempts:900\n", "127.0.0.1:53", false, 30 * time.Second, 5},
		{"options that make no sense", "options timeout:x attempts:0 timeout:-1\n", "127.0.0.1:53", false, 0, 0},
	} {
		rc, err := parseResolvConf(strings.NewReader(tt.text))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var servers []string
		for _, s := range rc.servers {
			servers = append(servers, s.Addr.String())
			if s.Trusted != tt.trusted {
				t.Errorf("%s: server %s trusted %v", tt.name, s.Addr, s.Trusted)
			}
		}
		if got := strings.Join(servers, " "); got != tt.servers || rc.timeout != tt.timeout || rc.attempts != tt.attempts {
			t.Errorf("%s: %s, timeout %v, attempts %d", tt.name, got, rc.timeout, rc.attempts)
		}
	}
}

func TestMissingResolvConf(t *testing.T) {
	c, err := New(Options{ResolvConf: filepath.Join(t.TempDir(), "none")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.servers[0].addr; got != "127.0.0.1:53" {
		t.Errorf("asks %s", got)
	}
	if _, err := New(Options{ResolvConf: t.TempDir()}); err == nil {
		t.Error("a folder was read as resolv.conf")
	}
}
