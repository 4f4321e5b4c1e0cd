package report

import "strings"

// found is an address and where it stands in its line, angle brackets and quotes included.
type found struct {
	addr       string
	start, end int
}

// maxAddress bounds the length of an address that is believed, in octets (RFC 5321 §4.5.3.1.3).
const maxAddress = 254

// addressesIn finds the addresses in a line, in order. It reads what reports write: bare, in angle brackets, in
// quotes, "SMTP:user@host", with the host's final dot or a sentence's.
func addressesIn(line string) (all []found) {
	for from := 0; ; {
		at := strings.IndexByte(line[from:], '@')
		if at < 0 {
			return all
		}
		at += from
		end := at + 1
		for end < len(line) && (isAlnum(line[end]) || line[end] == '-' || line[end] >= 0x80 && line[end] != 0xc2 && line[end] != 0xe2 && line[end] != 0xe3 || line[end] == '.' && end+1 < len(line) && (isAlnum(line[end+1]) || line[end+1] >= 0x80)) {
			end++
		}
		start := at
		if at > 0 && line[at-1] == '"' {
			if q := strings.LastIndexByte(line[:at-1], '"'); q >= 0 {
				start = q
			}
		}
		for start > 0 && isLocal(line[start-1]) && (start == at || line[start] != '"') {
			start--
		}
		local := line[start:at]
		// What other systems put before the address without a space.
		for _, prefix := range []string{"smtp:", "mailto:", "rfc822;", "smtp="} {
			if len(local) > len(prefix) && strings.EqualFold(local[:len(prefix)], prefix) {
				start += len(prefix)
				local = line[start:at]
			}
		}
		if i := strings.LastIndexByte(local, '='); i >= 0 && i < len(local)-1 && strings.HasSuffix(strings.ToLower(local[:i]), "smtp") {
			start += i + 1
			local = line[start:at]
		}
		local = strings.TrimLeft(local, ".'`")
		start = at - len(local)
		if local == "" || end == at+1 || end-start > maxAddress || strings.HasSuffix(local, "...") || strings.HasPrefix(line[end:], "...") && end < len(line)-3 && line[end+3] == ')' {
			from = end
			continue
		}
		f := found{addr: line[start:end], start: start, end: end}
		if f.start > 0 && f.end < len(line) && (line[f.start-1] == '<' && line[f.end] == '>' || line[f.start-1] == '"' && line[f.end] == '"' || line[f.start-1] == '[' && line[f.end] == ']' || line[f.start-1] == '(' && line[f.end] == ')') {
			f.start--
			f.end++
		}
		all = append(all, f)
		from = end
	}
}

func isLocal(c byte) bool {
	return isAlnum(c) || c >= 0x80 || strings.IndexByte(".!#$%&'*+-/=?^_{|}~:", c) >= 0
}

func firstAddressIn(s string) (string, bool) {
	for _, f := range addressesIn(s) {
		return f.addr, true
	}
	return "", false
}

func looksLikeAddress(s string) bool {
	at := strings.LastIndexByte(s, '@')
	// "david...@" is an address somebody elided.
	return at > 0 && at < len(s)-1 && !strings.HasSuffix(s[:at], "...") && len(s) <= maxAddress && !strings.ContainsAny(s, " \t<>")
}

// publicAddress reports whether an address may mean something outside of the network it was written in.
func publicAddress(s string) bool {
	if !looksLikeAddress(s) {
		return false
	}
	local, domain, _ := strings.Cut(strings.ToLower(s), "@")
	if i := strings.LastIndexByte(domain, '@'); i >= 0 {
		domain = domain[i+1:]
	}
	dot := strings.LastIndexByte(domain, '.')
	if dot < 0 || strings.IndexByte(local, ':') >= 0 {
		return false
	}
	switch domain[dot+1:] {
	case "local", "localdomain", "internal", "lan", "corp", "intranet", "home":
		return false
	}
	return true
}

// daemonLocal reports whether the local part is one machines use.
func daemonLocal(addr string) bool {
	local, _, _ := strings.Cut(strings.ToLower(addr), "@")
	local = strings.ReplaceAll(strings.ReplaceAll(local, "_", ""), "-", "")
	switch local {
	case "mailer", "mmdf", "mailsystem", "maildelivery", "uucp", "daemon", "mdaemon":
		return true
	}
	return strings.Contains(local, "mailerdaemon") || strings.Contains(local, "postmaster") || strings.Contains(local, "maildaemon") || strings.HasSuffix(local, "mailservice")
}
