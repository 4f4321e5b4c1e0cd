package report

import (
	"slices"
	"strings"
)

// Systems that report on their own mailboxes name them by their local parts alone. The domain is that of the returned
// message's recipient of that name, else that of the reporting system.

// ownDomain returns the domain of a mail system that reports; "" if none does.
func (m *letter) ownDomain() string {
	from, _ := m.header.Get("From")
	sender := firstAddress(from)
	_, domain, _ := strings.Cut(sender, "@")
	if !daemonLocal(sender) {
		return ""
	}
	return domain
}

// atHome gives a local part its domain.
func (m *letter) atHome(name, domain string) string {
	if whole := m.whole(name); whole != name {
		return whole
	}
	return name + "@" + domain
}

// userLabels stand before the local part of somebody. Lower case.
var userLabels = []string{"user", "mailbox", "recipient", "account", "addressee", "receiver"}

// localUser reads the local part in a sentence of failure that names nobody else: "user 'joe' is not known here", "Unknown
// user: joe", "550 joe... User unknown".
func (m *letter) localUser(lines []string) []string {
	domain := m.ownDomain()
	if domain == "" {
		return nil
	}
	for _, line := range lines {
		for _, label := range userLabels {
			i := indexFold(line, label)
			if i < 0 {
				continue
			}
			rest := line[i+len(label):]
			quoted := strings.TrimLeft(rest, " :")
			if len(quoted) == 0 || strings.IndexByte("'\"<[(", quoted[0]) < 0 {
				continue
			}
			name := quoted[1:]
			if end := strings.IndexAny(name, "'\">])"); end >= 0 && isBareName(name[:end]) {
				return []string{m.atHome(name[:end], domain)}
			}
		}
		if name := labelledName(line); name != "" {
			return []string{m.atHome(name, domain)}
		}
	}
	return nil
}

// labelledName returns the local part in a line that is nothing but that and what it is; "" if there is none.
func labelledName(line string) string {
	t := strings.TrimSpace(line)
	if name, words, ok := strings.Cut(t, "... "); ok && len(name) < maxLabel && words != "" { // as Sendmail writes
		code, name, _ := strings.Cut(name, " ")
		if i := strings.LastIndexByte(name, ' '); i >= 0 && isCodeWord(code+name[:i]) {
			name = name[i+1:]
		}
		if isCodeWord(code) && isBareName(name) && failureWords.in(strings.ToLower(words)) {
			return name
		}
	}
	label, name, ok := cutLast(t, ":")
	label, name = strings.ToLower(strings.TrimSpace(label)), strings.TrimSpace(name)
	if !ok || len(label) > maxLabel || !isBareName(name) || slices.Contains(stateWords, strings.ToLower(name)) {
		return ""
	}
	for _, w := range userLabels {
		if before, after, ok := strings.Cut(label, w); ok && (before == "" || before[len(before)-1] == ' ') && (after == "" || strings.HasSuffix(after, " unknown") || strings.HasSuffix(after, " not found")) {
			return name
		}
	}
	return ""
}

// stateWords stand after a label and say how somebody is, not who. Lower case.
var stateWords = []string{"unknown", "invalid", "full", "disabled", "inactive", "closed", "none", "not", "no", "yes", "expired", "suspended", "blocked", "rejected", "refused", "failed", "local", "remote", "undeliverable", "unavailable", "anonymous"}

// maxBareName bounds a local part that stands alone on its line, in octets.
const maxBareName = 40

// columnNames stand above the columns of a table. Lower case.
var columnNames = newWordSet("recipient", "address", "user", "mailbox", "e-mail", "email", "reason", "status", "error", "name")

// bareNames reads a list of local parts: under a line of failure that announces them, one a line, indented unless that
// line is dressed as a rule. The first stands before the line max; whole addresses may stand among them.
func (m *letter) bareNames(lines []string, max int) (all []string) {
	domain := m.ownDomain()
	if domain == "" {
		return nil
	}
	bare := 0 // of those in the list
	listed, dressed, margin, before := false, false, 0, ""
	for i, line := range lines {
		if i >= max && bare == 0 {
			return nil
		}
		t := strings.TrimSpace(line)
		lower := strings.ToLower(t)
		indent := len(line) - len(strings.TrimLeft(line, " \t"))
		switch {
		case t == "":
			if len(all) > 0 {
				return all
			}
		case isRule(t):
			if len(all) > 0 {
				return all
			}
			if strings.Trim(t, "-=_*#~. \t") != "" {
				listed, dressed = failureWords.in(lower), true
			}
		case strings.HasSuffix(t, ":") && (failureWords.in(lower) || failureWords.in(before) && (strings.Contains(lower, "address") || strings.Contains(lower, "recipient"))):
			listed, dressed = true, false
		case len(all) > 0 && indent > margin: // the reason goes on
		case listed:
			name, rest := t, ""
			if i := strings.IndexAny(t, " \t"); i >= 0 {
				name, rest = t[:i], t[i+1:]
			}
			if len(all) == m.lim.Recipients {
				return all
			}
			if bare > 0 && rest == "" && indent == margin && looksLikeAddress(name) {
				all = append(all, name)
				break
			}
			if bare > 0 && slices.Contains(stateWords, strings.ToLower(name)) {
				break // the reason, in one word
			}
			apart := rest == "" || strings.IndexByte(" \t(", rest[0]) >= 0 || t[len(name)] != ' ' || strings.HasPrefix(rest, "- ")
			if margin = indent; indent == 0 && (!dressed || rest != "") || !isBareName(name) || columnNames.in(strings.ToLower(name)) || strings.IndexByte(rest, '@') >= 0 || !apart {
				return nil // addresses, or words
			}
			all = append(all, m.atHome(name, domain))
			bare++
		}
		before = lower
	}
	return all
}

func isBareName(s string) bool {
	if len(s) < 2 || len(s) > maxBareName {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && (i == 0 || i == len(s)-1 || strings.IndexByte("._-+", s[i]) < 0) {
			return false
		}
	}
	return true
}
