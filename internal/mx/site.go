package mx

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// maxSiteText is how long a site's text may be with all hosts written out, in octets. Longer ones are shortened.
const maxSiteText = 100

// siteHash is how many octets of SHA-256 stand for a long host list: with ten million sites two meet by chance with a
// probability of one in 300,000.
const siteHash = 8

// siteOf names a set of hosts: sorted and joined by commas, or, if that is long, their number, the labels they end
// with, and a hash: "5*.l.example.com~0f1e2d3c4b5a6978". The preference is no part of it. A policy that binds is
// appended.
func siteOf(hosts []Host, policy TLSPolicy) string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	slices.Sort(names)
	names = slices.Compact(names)
	text := strings.Join(names, ",")
	if len(text) > maxSiteText {
		sum := sha256.Sum256([]byte(text))
		text = strconv.Itoa(len(names)) + "*" + commonEnd(names) + "~" + hex.EncodeToString(sum[:siteHash])
	}
	if policy.Mode == PolicyEnforce {
		text += "!" + policy.Kind
		if len(policy.Hosts) > 0 {
			sum := sha256.Sum256([]byte(strings.Join(policy.Hosts, ",")))
			text += "~" + hex.EncodeToString(sum[:siteHash])
		}
	}
	return text
}

// commonEnd returns the labels all names end with, with a leading dot; if they share none, those of the first name
// after its first label. It keeps the text short: at most half of maxSiteText.
func commonEnd(names []string) string {
	end := names[0]
	if i := strings.IndexByte(end, '.'); i >= 0 {
		end = end[i:]
	}
	for rest := end; rest != ""; {
		if !slices.ContainsFunc(names, func(n string) bool { return !strings.HasSuffix(n, rest) }) {
			end = rest
			break
		}
		i := strings.IndexByte(rest[1:], '.')
		if i < 0 {
			break
		}
		rest = rest[1+i:]
	}
	for len(end) > maxSiteText/2 {
		i := strings.IndexByte(end[1:], '.')
		if i < 0 {
			return ""
		}
		end = end[1+i:]
	}
	return end
}
