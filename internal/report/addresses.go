package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// found is an address and where it stands in its line, angle brackets and quotes included.
type found struct {
	addr       string
	start, end int
}

// maxAddress bounds the length of an address that is believed, in octets (RFC 5321 §4.5.3.1.3).
const maxAddress = 254

// maxLiteral bounds an address literal, in octets: "[IPv6:" and the longest IPv6 address.
const maxLiteral = 52

// addressesIn finds the addresses in a line, in order. It reads what reports write: bare, in angle brackets, in
// quotes, "SMTP:user@host", with the host's final dot or a sentence's.
func addressesIn(line string) (all []found) {
	for from := 0; ; {
		at := strings.IndexByte(line[from:], '@')
		if at < 0 {
			return all
		}
		at += from
		end := domainEnd(line, at+1)
		if end == at+1 && end < len(line) && line[end] == '[' { // an address literal, RFC 5321 §4.1.3
			if n := strings.IndexByte(line[end:], ']'); n > 1 && n <= maxLiteral && strings.IndexByte(line[end:end+n], ' ') < 0 {
				end += n + 1
			}
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
		// A source route, "@relay:user@host", is to be ignored (RFC 5321 §4.1.1.3).
		if i := strings.LastIndexByte(local, ':'); i >= 0 && start > 0 && line[start-1] == '@' {
			local = local[i+1:]
		}
		local = strings.TrimLeft(local[wordsBefore(local, isASCII(line[at:end])):], ".'`")
		start = at - len(local)
		if local == "" || end == at+1 || end-start > maxAddress || strings.HasSuffix(local, "...") || strings.HasPrefix(line[end:], "...") && end < len(line)-3 && line[end+3] == ')' {
			from = end
			continue
		}
		// Emphasis: *user@host*, as plain text made of HTML has it.
		if mark := local[0]; len(local) > 1 && (mark == '*' || mark == '_') && end < len(line) && line[end] == mark {
			start++
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

// domainEnd returns where the domain ends that begins at i.
func domainEnd(s string, i int) int {
	label, labels := i, 0 // where the label begins, and how many stand before it
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case isAlnum(c) || c == '-':
		case c == '_' && i+1 < len(s) && isAlnum(s[i+1]): // no host may be called so, but some are
		case c == '.' && i+1 < len(s) && (isAlnum(s[i+1]) || s[i+1] >= 0x80):
			label, labels = i+1, labels+1
		case c < 0x80 || c == 0xc2 || c == 0xe2 || c == 0xe3 || c == 0xef: // punctuation, in UTF-8
			return i
		case c >= unspaced && labels > 0 && i > label && s[i-1] < 0x80:
			return i // "example.com" and a text that goes on without a space
		}
	}
	return i
}

// unspaced is the first octet in UTF-8 from which most scripts are written without spaces: Thai, kana, Han.
const unspaced = 0xe0

// wordsBefore returns how much of a local part is not: a label in the punctuation of other scripts, or words of one that is
// written without spaces, where the domain is none of it.
func wordsBefore(local string, asciiDomain bool) (cut int) {
	if isASCII(local) {
		return 0
	}
	for i, r := range local {
		next := i + utf8.RuneLen(r)
		switch {
		case r < utf8.RuneSelf || r == utf8.RuneError:
		case unicode.IsPunct(r), unicode.IsSpace(r), r <= 0xffff && unicode.IsSymbol(r):
			cut = next
		case asciiDomain && local[i] >= unspaced && next < len(local) && isAlnum(local[next]):
			cut = next
		}
	}
	return cut
}

// joinAddresses puts an address in angle brackets that was broken over two lines on one.
func joinAddresses(text string) string {
	var b strings.Builder
	for from := 0; ; {
		n := strings.IndexByte(text[from:], '\n')
		if n < 0 {
			if b.Len() == 0 {
				return text
			}
			b.WriteString(text)
			return b.String()
		}
		n += from
		open := strings.LastIndexByte(text[from:n], '<') + from
		rest := strings.TrimLeft(text[n+1:], " \t")
		end := strings.IndexAny(rest, " \t\n<>")
		if open < from || n-open > maxAddress || end <= 0 || end > maxAddress || rest[end] != '>' || strings.ContainsAny(text[open:n], " \t>") || !looksLikeAddress(text[open+1:n]+rest[:end]) {
			from = n + 1
			continue
		}
		b.WriteString(text[:n])
		text, from = rest, end
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
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	at := strings.LastIndexByte(s, '@')
	if at > 2 && s[0] == '"' && s[at-1] == '"' {
		return at < len(s)-1 && len(s) <= maxAddress && !strings.ContainsAny(s[at:], " <>")
	}
	// "david...@" is an address somebody elided.
	return at > 0 && at < len(s)-1 && !strings.HasSuffix(s[:at], "...") && len(s) <= maxAddress && !strings.ContainsAny(s, " <>")
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

// commandLocal reports whether the local part is one that takes the commands of a mailing list.
func commandLocal(addr string) bool {
	local, _, _ := strings.Cut(strings.ToLower(addr), "@")
	switch local {
	case "listserv", "majordomo", "listproc", "mailserv", "sympa", "mlmmj", "ecartis":
		return true
	}
	i := strings.LastIndexByte(local, '-')
	switch local[i+1:] {
	case "ctl", "request", "subscribe", "unsubscribe", "help", "owner":
		return i > 0
	}
	return false
}
