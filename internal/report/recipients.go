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
	alias    bool // the address that led to the one named before it
	delayed  bool // it stands under a heading of those still being tried
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
	aliases, delayed := map[string]string{}, map[string]bool{}
	var order []string
	for i, n := range mentions {
		key := strings.ToLower(n.addr)
		if n.delayed && n.strength == strong {
			delayed[key] = true
		}
		if n.alias {
			aliases[strings.ToLower(mentions[i-1].addr)] = n.addr
			continue
		}
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
		// A list of names without a domain says more than an address that stands below it.
		if names := m.bareNames(lines, firstStrong(mentions, len(lines))); len(names) > 0 {
			chosen = names
		}
		switch {
		case len(chosen) > 0:
		case returnedTo != "":
			chosen = []string{returnedTo}
		case len(order) == 1 && !m.ownAddresses()[strings.ToLower(order[0])]:
			chosen = order
		case len(order) > 1:
			// Words we do not know: those to whom the returned message was are the ones.
			sent := make(map[string]bool)
			for _, a := range m.original().To {
				sent[strings.ToLower(a)] = true
			}
			chosen = slices.DeleteFunc(order, func(a string) bool { return !sent[strings.ToLower(a)] })
		case len(order) <= 1:
			if chosen = m.subjectAddress(); len(chosen) == 0 {
				chosen = m.localUser(lines)
			}
		}
	}
	seen := map[string]bool{}
	for _, a := range chosen {
		key := strings.ToLower(a)
		if seen[key] || len(rs) > m.lim.Recipients {
			continue
		}
		seen[key] = true
		rc := Recipient{Address: a, Final: a, Original: aliases[key]}
		if publicAddress(rc.Original) && (!publicAddress(a) || within(a, rc.Original) && !within(rc.Original, a)) {
			rc.Address = rc.Original // as choose does
		}
		if delayed[key] {
			rc.Action = Delayed
		}
		diagnostic, context := m.about(a, mentions, lines)
		if diagnostic == "" && len(chosen) == 1 {
			if diagnostic = m.text; diagnostic == "" {
				diagnostic = m.subject()
			}
		}
		rc.setDiagnostic(diagnostic)
		rc.Context = context
		rs = append(rs, rc)
	}
	shareReason(rs, lines)
	return rs
}

// subjectAddress returns the one address in the subject that is not the mail's own.
func (m *letter) subjectAddress() []string {
	own, only := m.ownAddresses(), ""
	for _, f := range addressesIn(m.subjectText()) {
		if own[strings.ToLower(f.addr)] || daemonLocal(f.addr) {
			continue
		}
		if only != "" && only != f.addr {
			return nil
		}
		only = f.addr
	}
	if only == "" {
		return nil
	}
	return []string{only}
}

// firstStrong returns the line of the first surely named address, else max.
func firstStrong(mentions []mention, max int) int {
	for _, n := range mentions {
		if n.strength == strong {
			return n.line
		}
	}
	return max
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
		reason := snippet(mention{line: i, rest: strings.TrimSpace(line)}, lines, len(lines), len(lines))
		for j := range rs {
			rs[j].setDiagnostic(reason + " " + rs[j].Diagnostic)
		}
		return
	}
}

// onlyReturnedTo returns the one address the returned message was to, where the explanation surely names none: we send
// one message to one recipient, so that address is the one. Mail that went by a list names the list there.
func (m *letter) onlyReturnedTo(r *Report) string {
	if r.Original.Get("List-Id") != "" || m.hasField("List-Id") {
		return ""
	}
	for _, p := range []string{r.Original.Get("Precedence"), r.Original.Get("Mailing-List")} {
		if strings.Contains(strings.ToLower(p), "list") {
			return ""
		}
	}
	if len(r.Original.To) == 1 && !withheld(r.Original.To[0]) {
		if to := r.Original.To[0]; !daemonLocal(r.Original.From) || !m.ownAddresses()[strings.ToLower(to)] {
			return to
		}
		return "" // a report that was sent to us, and is passed on
	}
	return r.Original.envelopeTo()
}

// envelopeTo returns the one address the returned header's trace names as its recipient; "" if there is none, or several.
func (o *Original) envelopeTo() (only string) {
	for _, f := range o.Header {
		value := f.Value
		switch strings.ToLower(f.Name) {
		case "delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "apparently-to", "x-rcpt-to":
		case "received":
			_, after, ok := strings.Cut(oneLine(value), " for <")
			if !ok {
				continue
			}
			value, _, _ = strings.Cut(after, ">")
		default:
			continue
		}
		a, ok := firstAddressIn(value)
		switch {
		case !ok || strings.EqualFold(a, only):
		case only != "":
			return ""
		default:
			only = a
		}
	}
	return only
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
		next, other := len(lines), len(lines)
		for _, later := range mentions[i+1:] {
			if later.line <= n.line || strings.EqualFold(later.addr, addr) || later.strength < medium || later.alias {
				continue
			}
			other = min(other, later.line)
			if later.strength >= n.strength {
				next = later.line
				break
			}
		}
		s := snippet(n, lines, next, other)
		if strings.Trim(s, "-=_*#~.|+:;<>()[] \t") == "" {
			s = "" // what frames the address
		}
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
// the next paragraph too if there is nothing before it, or what there is only announces it. It ends before the line next, and
// before a paragraph that goes on to the line other, which names somebody else.
func snippet(n mention, lines []string, next, other int) string {
	var b strings.Builder
	b.WriteString(n.rest)
	blank := false
	for i := n.line + 1; i < next && i <= n.line+maxSnippetLines; i++ {
		t := strings.TrimSpace(lines[i])
		if t == "" {
			blank = true
			continue
		}
		if strings.HasPrefix(t, "... while talking to ") {
			break // Sendmail's transcript goes on with another host
		}
		if blank {
			so := strings.TrimSpace(b.String())
			if so != "" && (!strings.HasSuffix(so, ":") || isRule(t)) || other < next && paragraphEnd(lines, i) > other {
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

// paragraphEnd returns the first blank line from i on, or where no snippet reaches.
func paragraphEnd(lines []string, i int) int {
	for end := min(len(lines), i+maxSnippetLines); i < end && strings.TrimSpace(lines[i]) != ""; {
		i++
	}
	return i
}

// isRule reports a line that only separates.
func isRule(t string) bool {
	return strings.Trim(t, "-=_*#~. \t") == "" || strings.HasPrefix(t, "-----")
}

// recipientLabels stand before the address of a recipient, notLabels before one that is none. Lower case.
var (
	recipientLabels = []string{
		"recipient", "rcpt", "error-for", "failed", "undeliverable", "not delivered", "addressed to", "delivering your mail to", "deliver message to", "deliver to", "delivery to", "message to", "mail to", "sent to", "user", "mailbox", "account", "address", "destinat", "empfänger", "získa", "宛先", "收件人", "odbiorca", "получател", "адрес",
		"ontvanger", "mottagare", "modtager", "mottaker", "vastaanottaj", "příjemc", "adresát", "címzett", "alıcı", "одержувач", "отримувач", "primatelj", "prejemnik", "παραλήπτη", "παραληπτη", "נמען", "المستلم", "người nhận", "ผู้รับ", "penerima", "あて先", "送信先", "受信者", "收件者", "수신", "받는",
	}
	notLabels = []string{"from:", "from <", "mail from", "sender", "reply-to", "message-id", "in-reply-to", "return-path", "received:", "envelope-from", "helo", "ehlo", "references", "contact", "postmaster", "originator", "absender", "expéditeur", "remitente", "mittente", "remetente", "отправител", "差出人", "发件人", "afzender", "avsändare", "afsender", "avsender", "lähettäj", "nadawc", "odesílatel", "odosielate", "feladó", "gönderen", "відправник", "pošiljatelj", "αποστολέα", "שולח", "المرسل", "người gửi", "ผู้ส่ง", "pengirim", "送信者", "寄件者", "发送者", "발신", "보낸", "report to", "questions", "help", "support", "assistance", "abuse", "forward to", "e-mail us", "hello ", "dear ", "hallo ", "bonjour ", "write to", "x-", "id:", "please email", "send mail to", "send an", "send email", "unsubscribe"}
)

// maxLabel is how far before an address its label is looked for, in octets.
const maxLabel = 48

// maxLead is how much of a line before an address is looked at, in octets.
const maxLead = 1 << 10

// mentions returns every address the explanation names, and how, and its lines.
func (m *letter) mentions() (all []mention, lines []string) {
	if m.lines == nil {
		m.mentioned, m.lines = m.findMentions()
	}
	return m.mentioned, m.lines
}

func (m *letter) findMentions() (all []mention, lines []string) {
	lines = strings.Split(m.text, "\n")
	own := m.ownAddresses()
	before, above := "", ""       // the last line with words in it, the last that is not blank
	under, told := section(0), -1 // told: the line of the last recipient on a line of his own
	for i, line := range lines {
		if strings.IndexByte(line, '@') < 0 {
			if t := strings.ToLower(strings.TrimSpace(line)); t != "" {
				if under, above = sectionOf(t, under), t; !isRule(t) {
					before = t
				}
			}
			continue
		}
		at := place{text: line, before: before, above: above}
		last, end := 0, 0 // of the address before it on the line: strength, and where it ends
		var small *bool   // whether the line is small print; nil: not known yet
		for _, f := range addressesIn(line) {
			between := line[min(end, f.start):f.start]
			at.found, at.lead, end = f, at.lead+strings.ToLower(between), f.end
			at.lead = at.lead[max(0, len(at.lead)-maxLead):]
			if under == aside && strings.Trim(line[:f.start], " \t<>\"'([*-") == "" {
				continue
			}
			n := mention{addr: f.addr, line: i, strength: m.strength(&at, own), delayed: under == waiting}
			if n.strength > 0 && isListSeparator(between) {
				n.strength = max(n.strength, last)
			}
			if n.strength > 0 && !strings.HasPrefix(strings.TrimSpace(line[f.end:]), ":") {
				if small == nil {
					is := smallPrint(lines, i)
					small = &is
				}
				if *small {
					n.strength = 0
				}
			}
			if last = n.strength; n.strength == 0 {
				continue
			}
			bare := n.strength == strong && !isCodeWord(strings.Trim(line[:f.start], " \t<"))
			switch reply := strings.HasPrefix(strings.TrimSpace(line), "<<< ") || told >= 0 && paragraphEnd(lines, told) > i; {
			case bare:
				told = i
			case told >= 0 && reply && n.strength > weak && !isAliasLead(line[:f.start]):
				n.strength = weak // the reply of his host names somebody
			}
			n.alias = isAliasLead(line[:f.start]) && len(all) > 0 && isAliasOf(all[len(all)-1], i, lines)
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
		above = before
	}
	return all, lines
}

// maxAliasLines is how many lines below a recipient the address may stand that led to it.
const maxAliasLines = 2

// isAliasLead reports the words before an address that was replaced by others, as Postfix, Sendmail and Exim write it.
func isAliasLead(lead string) bool {
	lead = strings.ToLower(lead)
	return strings.Contains(lead, "expanded from") || strings.Contains(lead, "generated from") || strings.Contains(lead, "generated by") || strings.Contains(lead, "original address")
}

// isAliasOf reports whether an alias at line i leads to the address mentioned last, or to a program or file between them.
func isAliasOf(last mention, i int, lines []string) bool {
	if last.strength < medium || i-last.line > maxAliasLines {
		return false
	}
	for _, line := range lines[last.line+1 : max(i, last.line+1)] {
		if t := strings.TrimLeft(line, " \t\"<"); strings.HasPrefix(t, "|") || strings.HasPrefix(t, "/") || strings.HasPrefix(t, "pipe to ") || strings.HasPrefix(t, "save to ") {
			return false
		}
	}
	return true
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

// smallPrintWords stand in what companies put below their mail, also below a report. Lower case.
var smallPrintWords = newWordSet("confidential", "privileged", "disclaimer", "intended solely", "intended only", "solely intended", "received this", "received it in error", "vertraulich", "confidentiel", "confidencial", "riservat", "vertrouwelijk", "poufn", "конфиденциальн", "機密", "机密", "gizli")

// smallPrint reports whether a line stands in a paragraph that tells what may be done with the mail, and of no failure.
func smallPrint(lines []string, i int) (is bool) {
	start := i
	for start > 0 && i-start < maxSnippetLines && strings.TrimSpace(lines[start-1]) != "" {
		start--
	}
	for _, line := range lines[start:max(i+1, paragraphEnd(lines, i))] {
		lower := strings.ToLower(line)
		if code, e := codesIn(line); code >= 400 || !e.IsZero() || failureWords.in(lower) {
			return false
		}
		is = is || smallPrintWords.in(lower)
	}
	return is
}

// isListSeparator reports what stands between two addresses of one list.
func isListSeparator(s string) bool {
	switch strings.ToLower(strings.Trim(s, " \t<>\"'*|•")) {
	case "", ",", ";", "&", "and", ", and", "und", "et", "y", "e", "i", "и":
		return true
	}
	return false
}

// place is where an address stands: what is said around it.
type place struct {
	found
	text   string // its line
	lead   string // what stands before it there, in lower case, without the other addresses: "support@" is no word
	before string // the last line before it with words in it, in lower case
	above  string // the last line before it that is not blank, in lower case
	tells  int8   // whether its line tells of a failure, or the line before: 0 not known yet, 1 yes, -1 no
}

// tellsOfFailure reports whether the line tells of a failure, by a code or by words, or the line before.
func (p *place) tellsOfFailure() bool {
	if p.tells == 0 {
		p.tells = -1
		if code, e := codesIn(p.text); code >= 400 || !e.IsZero() || failureWords.in(strings.ToLower(p.text)) || failureWords.in(p.before) {
			p.tells = 1
		}
	}
	return p.tells > 0
}

// isEntry reports an address in brackets behind a name, as an entry of a list of recipients: "Doe, Joe (joe@example.com) on
// Tue, 3 Mar", "Joe Doe (joe@example.com)<mailto:joe@example.com>".
func (p *place) isEntry(tail string) bool {
	if p.text[p.start] != '(' && p.text[p.start] != '<' || strings.Contains(p.lead, ":") {
		return false
	}
	tail = strings.TrimLeft(tail, "'\" ")
	return strings.HasPrefix(tail, "on ") && hasDigits(tail[:min(len(tail), maxLabel)]) || strings.EqualFold(tail, "<mailto:"+p.addr+">")
}

// passedOn stands in a line of Sendmail's transcript about somebody who got the mail. Lower case.
var passedOn = newWordSet("relayed", "successfully", "delivered to mailbox")

// strength judges one address by the words around it; 0: surely no recipient.
func (m *letter) strength(p *place, own map[string]bool) int {
	lead, tail := p.lead, strings.TrimSpace(p.text[p.end:])
	bare := strings.Trim(strings.ToLower(p.text[:min(p.start, 2*maxLabel)]), " \t<>\"'([*-•|=:#+")
	if daemonLocal(p.addr) && !strings.Contains(lead, "recipient") && !strings.Contains(lead, "rcpt") {
		// Whom to ask: unless it stands as recipients do, with what became of it.
		listed := strings.HasPrefix(tail, ":") || isAliasLead(tail) || tail == "" && failureWords.in(p.above) && (strings.HasSuffix(p.above, ":") || isRule(p.above))
		if bare != "" || !listed || own[strings.ToLower(p.addr)] {
			return 0
		}
	}
	if strings.HasPrefix(p.addr, "*") {
		return 0
	}
	if isAliasLead(lead) {
		return medium
	}
	for _, w := range notLabels {
		// What stands nearest counts: "from <sender> to <recipient>".
		near := lead[max(0, len(lead)-maxLabel):]
		at := strings.LastIndex(near, w)
		if at < 0 || at > 0 && isAlnum(near[at-1]) {
			continue
		}
		if near = near[at+len(w):]; !strings.Contains(near, "rcpt") && !strings.Contains(near, "recipient") && !strings.Contains(near, " to ") && !strings.Contains(near, "to:") {
			return 0
		}
	}
	if near := strings.TrimRight(lead, " \t<\"'"); strings.HasSuffix(near, " from") || strings.HasSuffix(near, " von") {
		return 0
	}
	if strings.HasPrefix(tail, "...") && passedOn.in(strings.ToLower(tail[:min(len(tail), maxLabel)])) {
		return 0
	}
	isOwn := own[strings.ToLower(p.addr)] || commandLocal(p.addr)
	switch {
	case bare == "" || strings.HasSuffix(bare, "smtp") && len(bare) < 40 || strings.HasPrefix(bare, "c=") || isCodeWord(bare):
		if isOwn && !strings.HasPrefix(tail, ":") && tail != "" {
			return weak
		}
		if isOwn {
			return medium
		}
		return strong
	case isOwn:
		return 0
	case p.isEntry(tail):
		return strong
	}
	for _, w := range recipientLabels {
		if strings.Contains(lead, w) {
			return medium
		}
	}
	if p.tellsOfFailure() || tail == ">" && strings.HasSuffix(lead, "<mailto:") && strings.Count(lead, ":") == 1 {
		return medium // or a name that is a link, alone on its line
	}
	return weak
}

// section is what a heading says of the addresses under it.
type section int

const (
	failing section = iota // nothing else
	aside                  // whom to ask, whom to write to instead, who got it
	waiting                // it is still being tried
)

// asideWords stand in a line that announces addresses which are no failing ones. Lower case.
var asideWords = newWordSet("help", "support", "contact", "question", "assistance", "more information", "further information", "hilfe", "fragen", "aide", "ayuda", "postmaster",
	"try one of", "try instead", "did you mean", "similar", "closest", "suggest", "possible match", "alternative", "instead", "perhaps", "success")

// sectionOf returns the section that goes on below a line without an address, in lower case.
func sectionOf(line string, under section) section {
	rule := strings.HasPrefix(line, "-----")
	switch {
	case strings.HasSuffix(line, " by") || strings.HasSuffix(line, " from"):
		return aside // who sent it
	case !rule && !strings.HasSuffix(line, ":"):
		if under == waiting {
			return under // words between a heading and its list
		}
		return failing
	case strings.Contains(line, "transient non-fatal"):
		return waiting
	case len(line) <= 2*maxLabel && !failureWords.in(line) && asideWords.in(line):
		return aside
	case strings.Trim(line, "- ") == "":
		return under
	}
	return failing
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

// mentionNamed returns the one address of a local part that the explanation names as a recipient; "" if there is none.
func (m *letter) mentionNamed(local string) (only string) {
	mentions, _ := m.mentions()
	for _, n := range mentions {
		if l, _, _ := strings.Cut(n.addr, "@"); n.strength < medium || !strings.EqualFold(l, local) || strings.EqualFold(n.addr, only) {
			continue
		}
		if only != "" {
			return ""
		}
		only = n.addr
	}
	return only
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
