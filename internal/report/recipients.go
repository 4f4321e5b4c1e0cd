package report

import (
	"slices"
	"strings"
)

// mention is one place where the explanation names an address.
type mention struct {
	addr     string
	line     int
	strength int // how surely the address is a recipient
	rest     string
}

// Strengths of a mention.
const (
	weak   = 1 // named somewhere
	medium = 2 // named in a line that speaks of a failure or of a recipient
	strong = 3 // a line of its own, or at its start
)

// textRecipients finds the recipients an explanation speaks of. Those of X-Failed-Recipients, if given, are all; where
// it surely names none, returnedTo stands in, and else an address it names alone.
func (m *letter) textRecipients(xfr []string, returnedTo string) (rs []Recipient) {
	mentions, lines := m.mentions()
	keep := map[string]int{} // best strength of an address
	var order []string
	for _, n := range mentions {
		key := strings.ToLower(n.addr)
		if _, known := keep[key]; !known {
			order = append(order, n.addr)
		}
		keep[key] = max(keep[key], n.strength)
	}
	var chosen []string
	switch {
	case len(xfr) > 0:
		chosen = xfr
	default:
		for _, a := range order {
			if keep[strings.ToLower(a)] >= medium {
				chosen = append(chosen, a)
			}
		}
		switch {
		case len(chosen) > 0:
		case returnedTo != "":
			chosen = []string{returnedTo}
		case len(order) == 1:
			chosen = order
		}
	}
	seen := map[string]bool{}
	for _, a := range chosen {
		key := strings.ToLower(a)
		if seen[key] || len(rs) > m.lim.Recipients {
			continue
		}
		seen[key] = true
		rc := Recipient{Address: a, Final: a}
		diagnostic, context := m.about(a, mentions, lines)
		if diagnostic == "" && len(chosen) == 1 {
			diagnostic = m.text
		}
		rc.setDiagnostic(diagnostic)
		rc.Context = context
		rs = append(rs, rc)
	}
	shareReason(rs, lines)
	return rs
}

// shareReason gives recipients of whom no code is told the one the explanation tells of all.
func shareReason(rs []Recipient, lines []string) {
	if slices.ContainsFunc(rs, func(rc Recipient) bool { return rc.Code >= 400 || !rc.Status.IsZero() }) {
		return
	}
	for i, line := range lines {
		if code, e := codesIn(line); code < 400 && e.IsZero() {
			continue
		}
		reason := snippet(mention{line: i, rest: strings.TrimSpace(line)}, lines, len(lines))
		for j := range rs {
			rs[j].setDiagnostic(reason + " " + rs[j].Diagnostic)
		}
		return
	}
}

// onlyReturnedTo returns the one address the returned message was to, where the explanation surely names none: we send
// one message to one recipient, so that address is the one. Mail that went by a list names the list there.
func (m *letter) onlyReturnedTo(r *Report) string {
	if len(r.Original.To) != 1 || redacted(r.Original.To[0]) || r.Original.Get("List-Id") != "" || m.hasField("List-Id") {
		return ""
	}
	for _, p := range []string{r.Original.Get("Precedence"), r.Original.Get("Mailing-List")} {
		if strings.Contains(strings.ToLower(p), "list") {
			return ""
		}
	}
	return r.Original.To[0]
}

// contexts returns, per address in lower case, what the explanation says beside it.
func (m *letter) contexts() map[string]string {
	mentions, lines := m.mentions()
	out := make(map[string]string)
	for _, n := range mentions {
		key := strings.ToLower(n.addr)
		if _, done := out[key]; !done && len(out) < m.lim.Recipients {
			diagnostic, _ := m.about(n.addr, mentions, lines)
			out[key] = clip(oneLine(diagnostic), maxDiagnostic)
		}
	}
	return out
}

// about collects what the explanation says of an address: first the words beside it that hold a code, then the others,
// and as context all that follows up to the next address.
func (m *letter) about(addr string, mentions []mention, lines []string) (diagnostic, context string) {
	var coded, plain []string
	for i, n := range mentions {
		if !strings.EqualFold(n.addr, addr) {
			continue
		}
		next := len(lines)
		for _, later := range mentions[i+1:] {
			if later.line > n.line && !strings.EqualFold(later.addr, addr) && later.strength == strong {
				next = later.line
				break
			}
		}
		s := snippet(n, lines, next)
		if repeats(coded, s) || repeats(plain, s) {
			continue
		}
		if code, e := codesIn(s); code >= 400 || !e.IsZero() {
			coded = append(coded, s)
		} else if s != "" {
			plain = append(plain, s)
		}
		if context == "" && n.strength >= medium {
			context = clip(oneLine(strings.Join(lines[n.line:next], " ")), maxDiagnostic)
		}
	}
	parts := append(coded, plain...)
	if len(parts) > 3 {
		parts = parts[:3]
	}
	return strings.Join(parts, " "), context
}

// repeats reports whether a text says nothing the others have not said.
func repeats(all []string, s string) bool {
	for _, t := range all {
		if strings.Contains(t, s) {
			return true
		}
	}
	return false
}

// maxSnippetLines bounds how many lines after an address are taken for its diagnostic.
const maxSnippetLines = 14

// snippet returns the words that belong to a mention: the rest of its line and the lines after it, up to a blank line;
// the next paragraph too if there is nothing before it, or what there is only announces it.
func snippet(n mention, lines []string, next int) string {
	var b strings.Builder
	b.WriteString(n.rest)
	blank := false
	for i := n.line + 1; i < next && i <= n.line+maxSnippetLines; i++ {
		t := strings.TrimSpace(lines[i])
		if t == "" {
			blank = true
			continue
		}
		if blank {
			so := strings.TrimSpace(b.String())
			if so != "" && !strings.HasSuffix(so, ":") || isRule(t) && so != "" {
				break
			}
			blank = false
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(t)
	}
	return strings.TrimSpace(b.String())
}

// isRule reports a line that only separates.
func isRule(t string) bool {
	return strings.Trim(t, "-=_*#~. \t") == "" || strings.HasPrefix(t, "-----")
}

// recipientLabels stand before the address of a recipient, notLabels before one that is none. Lower case.
var (
	recipientLabels = []string{"recipient", "rcpt", "error-for", "failed", "undeliverable", "not delivered", "addressed to", "delivering your mail to", "deliver message to", "deliver to", "delivery to", "message to", "mail to", "sent to", "user", "mailbox", "account", "address", "destinat", "empfänger", "získa", "宛先", "收件人", "odbiorca", "получател", "адрес"}
	notLabels       = []string{"from:", "from <", "mail from", "sender", "reply-to", "message-id", "in-reply-to", "return-path", "received:", "envelope-from", "helo", "ehlo", "references", "contact", "postmaster", "originator", "absender", "expéditeur", "remitente", "mittente", "remetente", "отправител", "差出人", "发件人", "report to", "questions", "help", "support", "assistance", "abuse", "forward to", "e-mail us", "hello ", "dear ", "hallo ", "bonjour ", "write to", "x-", "id:", "please email", "send mail to", "send an", "send email", "unsubscribe"}
)

// maxLabel is how far before an address its label is looked for, in octets.
const maxLabel = 48

// mentions finds every address the explanation names, and how.
func (m *letter) mentions() (all []mention, lines []string) {
	lines = strings.Split(m.text, "\n")
	own := m.ownAddresses()
	before := "" // the last line with words in it
	for i, line := range lines {
		if strings.IndexByte(line, '@') < 0 {
			if t := strings.TrimSpace(line); t != "" && !isRule(t) {
				before = strings.ToLower(t)
			}
			continue
		}
		for _, f := range addressesIn(line) {
			n := mention{addr: f.addr, line: i, strength: m.strength(line, f, before, own)}
			if n.strength == 0 {
				continue
			}
			if n.strength == strong {
				n.rest = strings.TrimLeft(line[f.end:], ">:;,]\"') \t")
				if lead := strings.TrimSpace(line[:f.start]); hasDigits(lead) {
					n.rest = strings.TrimSpace(line)
				} else if strings.EqualFold(strings.Trim(n.rest, "<> \t"), f.addr) {
					n.rest = "" // the address once more
				}
			} else {
				n.rest = strings.TrimSpace(line)
			}
			all = append(all, n)
			if len(all) > 4*m.lim.Recipients {
				return all, lines
			}
		}
		before = strings.ToLower(strings.TrimSpace(line))
	}
	return all, lines
}

func hasDigits(s string) bool { return strings.ContainsAny(s, "0123456789") }

// ownAddresses are those of the mail itself: who reports, and to whom.
func (m *letter) ownAddresses() map[string]bool {
	own := make(map[string]bool)
	for _, name := range []string{"From", "To", "Sender", "Reply-To", "Return-Path", "Delivered-To"} {
		v, ok := m.header.Get(name)
		if !ok {
			continue
		}
		for _, f := range addressesIn(v) {
			own[strings.ToLower(f.addr)] = true
		}
	}
	return own
}

// strength judges one address by the words around it; 0: surely no recipient.
func (m *letter) strength(line string, f found, before string, own map[string]bool) int {
	lead := strings.ToLower(line[:f.start])
	bare := strings.Trim(lead, " \t<>\"'([*-•|=:#+")
	if daemonLocal(f.addr) && !strings.Contains(lead, "recipient") && !strings.Contains(lead, "rcpt") {
		return 0
	}
	if strings.HasPrefix(f.addr, "*") {
		return 0
	}
	for _, w := range notLabels {
		// What stands nearest counts: "from <sender> to <recipient>".
		near := lead[max(0, len(lead)-maxLabel):]
		at := strings.LastIndex(near, w)
		if at < 0 || at > 0 && isAlnum(near[at-1]) {
			continue
		}
		if near = near[at:]; !strings.Contains(near, "rcpt") && !strings.Contains(near, "recipient") && !strings.Contains(near, " to ") && !strings.Contains(near, "to:") {
			return 0
		}
	}
	isOwn := own[strings.ToLower(f.addr)]
	tail := strings.ToLower(strings.TrimSpace(line[f.end:]))
	switch {
	case bare == "" || strings.HasSuffix(bare, "smtp") && len(bare) < 40 || strings.HasPrefix(bare, "c=") || isCodeWord(bare):
		if isOwn && !strings.HasPrefix(tail, ":") && tail != "" {
			return weak
		}
		if isOwn {
			return medium
		}
		return strong
	case strings.Contains(lead, "expanded from") || strings.Contains(lead, "generated from") || strings.Contains(lead, "original address"):
		return medium
	case isOwn:
		return 0
	}
	for _, w := range recipientLabels {
		if strings.Contains(lead, w) {
			return medium
		}
	}
	if code, e := codesIn(line); code >= 400 || !e.IsZero() {
		return medium
	}
	lower := strings.ToLower(line)
	if failureWords.in(lower) || failureWords.in(before) {
		return medium
	}
	return weak
}

// isCodeWord reports a reply code with its punctuation and nothing else: "550", "<<< 550 5.1.1".
func isCodeWord(s string) bool {
	digits := 0
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c):
			digits++
		case strings.IndexByte(" .-<>:(#", c) < 0:
			return false
		}
	}
	return digits >= 3
}

// addressNear finds the address a delivery status left out or crippled: the one the explanation surely names.
func (m *letter) addressNear() string {
	if xfr := m.failedRecipients(); len(xfr) == 1 {
		return xfr[0]
	}
	mentions, _ := m.mentions()
	for _, level := range []int{strong, medium} {
		only := ""
		for _, n := range mentions {
			if n.strength < level || strings.EqualFold(n.addr, only) {
				continue
			}
			if only != "" {
				return ""
			}
			only = n.addr
		}
		if only != "" {
			return only
		}
	}
	return ""
}
