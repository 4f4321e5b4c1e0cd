package dns

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// resolvConf is what we take from resolv.conf(5). Search lists are left out on purpose: mail domains are complete.
type resolvConf struct {
	servers  []Server
	timeout  time.Duration
	attempts int
}

// maxServers is how many name servers are used, as in the C library.
const maxServers = 3

func readResolvConf(path string) (resolvConf, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return parseResolvConf(strings.NewReader(""))
	}
	if err != nil {
		return resolvConf{}, err
	}
	defer f.Close()
	return parseResolvConf(f)
}

// parseResolvConf reads the file. Lines it does not know, and servers that are no addresses, are passed over as the C
// library does; the result has at least one server.
func parseResolvConf(r io.Reader) (rc resolvConf, err error) {
	trusted := false
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		fields := strings.Fields(sc.Text())
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if ip, err := netip.ParseAddr(fields[1]); err == nil && len(rc.servers) < maxServers {
				rc.servers = append(rc.servers, Server{Addr: netip.AddrPortFrom(ip, 53)})
			}
		case "options":
			for _, o := range fields[1:] {
				name, value, _ := strings.Cut(o, ":")
				n, convErr := strconv.Atoi(value)
				switch {
				case name == "trust-ad":
					trusted = true
				case convErr != nil || n < 1:
				case name == "timeout":
					rc.timeout = time.Duration(min(n, 30)) * time.Second
				case name == "attempts":
					rc.attempts = min(n, 5)
				}
			}
		}
	}
	if err := sc.Err(); err != nil {
		return resolvConf{}, err
	}
	if len(rc.servers) == 0 {
		rc.servers = []Server{{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}}
	}
	for i := range rc.servers {
		rc.servers[i].Trusted = trusted
	}
	return rc, nil
}
