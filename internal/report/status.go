package report

import (
	"strconv"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/smtp"
)

// maxDiagnostic bounds Recipient.Diagnostic and Context, in octets: more than a full reply of sixteen lines.
const maxDiagnostic = 4 << 10

// group is one block of fields of a delivery-status or feedback-report part. Names are in lower case.
type group map[string]string

func (g group) get(names ...string) string {
	for _, n := range names {
		if v := g[n]; v != "" {
			return v
		}
	}
	return ""
}

// readGroups splits the body of a machine-readable part. Blank lines separate groups (RFC 3464 §2.1); so does, as some
// writers leave the blank line out, a second Final-Recipient. A line that is neither field nor continuation continues
// the field before it: diagnostics are often not folded. What indents the first line is taken off all lines.
func readGroups(body string) (groups []group) {
	var g group
	last := ""
	body = strings.TrimLeft(body, "\r\n")
	indent := body[:len(body)-len(strings.TrimLeft(body, " \t"))]
	end := func() {
		if len(g) > 0 {
			groups = append(groups, g)
		}
		g, last = nil, ""
	}
	for line := range strings.Lines(body) {
		line = strings.TrimPrefix(strings.TrimRight(line, "\r\n \t"), indent)
		if line == "" {
			end()
			continue
		}
		name, value, isField := strings.Cut(line, ":")
		name = strings.ToLower(strings.TrimSpace(name))
		if line[0] == ' ' || line[0] == '\t' || !isField || !isFieldName(name) {
			if last != "" && len(g[last]) < 2*maxDiagnostic {
				g[last] += " " + strings.TrimSpace(line)
			}
			continue
		}
		if _, again := g[name]; again {
			if name == "final-recipient" {
				// An Original-Recipient right before it belongs to it.
				original := ""
				if before, _ := strings.CutSuffix(last, "#"); before == "original-recipient" && (g["action"] != "" || g["status"] != "") {
					original = g[last]
					delete(g, last)
				}
				end()
				if original != "" {
					g = group{"original-recipient": original}
				}
			} else {
				name += "#" // the first of a repeated field counts, its continuation lines must not join it
			}
		}
		if g == nil {
			g = make(group, 8)
		}
		g[name], last = strings.TrimSpace(value), name
	}
	end()
	return groups
}

// joinSplit puts a recipient and what became of it together where a blank line stands between them.
func joinSplit(groups []group) []group {
	for i := 0; i+1 < len(groups); i++ {
		g, next := groups[i], groups[i+1]
		if g.get("final-recipient", "original-recipient") == "" || g.get("action", "status", "diagnostic-code") != "" ||
			next.get("final-recipient", "original-recipient") != "" || next.get("action", "status") == "" {
			continue
		}
		for name, value := range next {
			if g[name] == "" {
				g[name] = value
			}
		}
		groups = append(groups[:i+1], groups[i+2:]...)
	}
	return groups
}

// isFieldName tells a field name from a sentence with a colon.
func isFieldName(s string) bool {
	if s == "" || len(s) > 50 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// maxGroups is how many groups of a delivery status are read for each recipient that is kept: several may tell of one.
const maxGroups = 4

// readStatus reads delivery-status parts (RFC 3464, RFC 6533). It reports whether the mail is a delivery report.
func (m *letter) readStatus(r *Report) bool {
	bodies := m.status
	if len(bodies) == 0 && m.autoReply() < certain && m.speaksAsSystem() {
		// The fields sometimes stand in the text: a report whose MIME structure was lost on the way, or that never had any.
		// People paste them too.
		if i := statusInText(m.text); i >= 0 {
			bodies = []string{m.text[i:]}
		}
	}
	groups := 0
	for _, body := range bodies {
		for _, g := range joinSplit(readGroups(body)) {
			if groups++; groups > maxGroups*m.lim.Recipients {
				r.Truncated = true
				break
			}
			m.statusGroup(g, r)
		}
	}
	if len(r.Recipients) == 0 {
		return false
	}
	r.Dialect, r.Reason = "rfc3464", "delivery-status"
	context := m.contexts()
	for i := range r.Recipients {
		rc := &r.Recipients[i]
		rc.Context = context[strings.ToLower(rc.Address)]
		if rc.Context == "" && rc.Original != "" {
			rc.Context = context[strings.ToLower(rc.Original)]
		}
	}
	r.Kind = kindOf(r.Recipients)
	return true
}

// speaksAsSystem reports whether the mail looks like a report from outside: by who sent it, or by its subject, if it is no
// answer and was not passed on.
func (m *letter) speaksAsSystem() bool {
	if m.fromDaemon() || m.nullReturnPath() {
		return true
	}
	subject := m.subject()
	return stripRe(subject) == subject && (failureWords.in(subject) || delayWords.in(subject) || reportSubjects.in(subject))
}

// statusInText finds the first of the fields of a delivery status in a text; -1 if there are none.
func statusInText(text string) int {
	final := indexLineFold(text, "final-recipient:")
	if final < 0 || indexLineFold(text, "action:") < 0 && indexLineFold(text, "status:") < 0 && indexLineFold(text, "diagnostic-code:") < 0 {
		return -1
	}
	start := final
	for _, name := range []string{"reporting-mta:", "original-recipient:", "original-envelope-id:", "action:"} {
		if i := indexLineFold(text, name); i >= 0 {
			start = min(start, i)
		}
	}
	return start
}

// beginsStatus reports a text that begins with a field of a delivery status.
func beginsStatus(text string) bool {
	name, _, _ := strings.Cut(strings.TrimSpace(text), ":")
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "reporting-mta", "original-envelope-id", "arrival-date", "final-recipient", "original-recipient":
		return true
	}
	return false
}

// indexLineFold finds a line that begins with an ASCII text, in any case.
func indexLineFold(text, lower string) int {
	for from := 0; ; {
		i := indexFold(text[from:], lower)
		if i < 0 {
			return -1
		}
		i += from
		at := i
		for at > 0 && (text[at-1] == ' ' || text[at-1] == '\t') {
			at--
		}
		if at == 0 || text[at-1] == '\n' {
			return i
		}
		from = i + len(lower)
	}
}

func (m *letter) statusGroup(g group, r *Report) {
	if v := g.get("reporting-mta", "x-reporting-mta"); v != "" && r.ReportingMTA == "" {
		_, r.ReportingMTA = typed(v)
	}
	if v := g["original-envelope-id"]; v != "" && r.EnvelopeID == "" {
		r.EnvelopeID = xtext(v)
	}
	if v := g["arrival-date"]; v != "" && r.Arrival.IsZero() {
		r.Arrival = parseDate(v)
	}
	final, original, actual := g["final-recipient"], g["original-recipient"], g["x-actual-recipient"]
	if _, left := g["final-recipient"]; !left && original == "" && actual == "" {
		return // a field that was left empty is filled from elsewhere
	}
	if final == "" && original == "" {
		final = actual
	}
	rc := Recipient{
		Final:          recipientAddress(final),
		Original:       recipientAddress(original),
		Action:         readAction(g["action"]),
		LastAttempt:    parseDate(g["last-attempt-date"]),
		WillRetryUntil: parseDate(g["will-retry-until"]),
	}
	_, rc.RemoteMTA = typed(g["remote-mta"])
	kind, diagnostic := typed(g.get("diagnostic-code", "x-diagnostic-code", "diagnostic", "x-supplementary-info", "reason"))
	if kind != "" && !strings.Contains(kind, "smtp") && diagnostic == "" {
		diagnostic = kind
	}
	rc.setDiagnostic(diagnostic)
	if e, _, ok := smtp.ParseEnhanced(firstWord(g["status"])); ok {
		rc.setStatus(e)
	}
	if extra := g["x-supplementary-info"]; extra != "" && !strings.Contains(rc.Diagnostic, extra) {
		rc.Diagnostic = clip(strings.TrimSpace(rc.Diagnostic+" "+oneLine(extra)), maxDiagnostic)
	}
	if rc.Action == "" {
		switch {
		case rc.Status[0] == 4:
			rc.Action = Delayed
		case rc.Status[0] == 2:
			rc.Action = ActionDelivered
		default:
			rc.Action = Failed
		}
	}
	rc.Address = m.choose(rc.Final, rc.Original, recipientAddress(actual))
	if !looksLikeAddress(rc.Address) {
		if a := m.onlyReturnedTo(r); a != "" {
			rc.Address = a
		}
	}
	if rc.Address == "" || strings.Contains(rc.Address, "@") && !looksLikeAddress(rc.Address) {
		return
	}
	r.add(rc, m.lim.Recipients)
	for _, a := range othersIn(final) {
		rc.Address, rc.Final, rc.Original = a, a, ""
		r.add(rc, m.lim.Recipients)
	}
}

// othersIn returns the addresses of a list after its first, as writers put it where there should be one address.
func othersIn(field string) (others []string) {
	end := -1
	for _, f := range addressesIn(field) {
		if end > f.start {
			return others // "a@b@c" is no list
		}
		if end >= 0 {
			if between := field[end:f.start]; strings.Trim(between, ",; \t") != "" || between == "" {
				return others
			}
			others = append(others, f.addr)
		}
		end = f.end
	}
	return others
}

// choose picks the address a block of fields is about: Final-Recipient (RFC 3464 §2.3.2), unless that is a name inside
// the network of the original recipient, or of nobody, and another field tells the one the world knows. A forward to
// another network failed there, and is about the address there.
func (m *letter) choose(final, original, actual string) string {
	if local, _, ok := cutLast(final, "@"); publicAddress(original) && (within(final, original) || ok && strings.EqualFold(local, strings.ReplaceAll(original, "@", "%"))) {
		return original // also where it stands inside the final one, to be sent on: user%example.com@relay
	}
	for _, a := range []string{final, original, actual} {
		if publicAddress(a) {
			return a
		}
	}
	for _, a := range []string{final, original, actual} {
		if looksLikeAddress(a) {
			return a
		}
	}
	if isBareName(final) {
		if a := m.mentionNamed(final); a != "" {
			return a
		}
		if a := m.whole(final); a != final {
			return a
		}
	}
	if a := m.addressNear(); a != "" {
		return a
	}
	if domain := m.ownDomain(); domain != "" && isBareName(final) {
		return final + "@" + domain
	}
	return m.whole(final)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// within reports whether an address is in the domain of another or below it.
func within(inner, outer string) bool {
	_, in, ok := strings.Cut(strings.ToLower(inner), "@")
	_, out, _ := strings.Cut(strings.ToLower(outer), "@")
	return ok && out != "" && (in == out || strings.HasSuffix(in, "."+out))
}

// whole gives a local part the domain it has in the returned message, where one recipient of that has it.
func (m *letter) whole(local string) string {
	if local == "" || strings.ContainsAny(local, "@ /:") {
		return local
	}
	found := ""
	for _, a := range m.original().To {
		if l, _, _ := strings.Cut(a, "@"); strings.EqualFold(l, local) {
			if found != "" && !strings.EqualFold(found, a) {
				return local
			}
			found = a
		}
	}
	if found != "" {
		return found
	}
	return local
}

// add keeps a recipient unless the report has told of it already.
func (r *Report) add(rc Recipient, max int) {
	if len(r.Recipients) > max {
		return
	}
	for i := range r.Recipients {
		if strings.EqualFold(r.Recipients[i].Address, rc.Address) {
			if r.Recipients[i].Diagnostic == "" {
				r.Recipients[i].setDiagnostic(rc.Diagnostic)
			}
			return
		}
	}
	r.Recipients = append(r.Recipients, rc)
}

// setDiagnostic keeps a diagnostic and the codes in it.
func (rc *Recipient) setDiagnostic(s string) {
	rc.Diagnostic = clip(oneLine(s), maxDiagnostic)
	code, enhanced := codesIn(rc.Diagnostic)
	if rc.Code == 0 {
		rc.Code = code
	}
	if !enhanced.IsZero() {
		rc.setStatus(enhanced)
	}
	if rc.Stage == "" {
		rc.Stage = stageIn(rc.Diagnostic)
	}
}

// stageMarks are the words by which Exim, Postfix, GMX, Sendmail transcripts and others name the command that was
// refused. Lower case.
var stageMarks = []struct {
	mark  string
	stage mail.Stage
}{
	{"after mail from", mail.StageMail},
	{"reply to mail from", mail.StageMail},
	{"response to mail from", mail.StageMail},
	{"after sender", mail.StageMail},
	{">>> mail from", mail.StageMail},
	{"to mail from command", mail.StageMail},
	{"[mail_from]", mail.StageMail},
	{"after rcpt to", mail.StageRcpt},
	{"reply to rcpt to", mail.StageRcpt},
	{"response to rcpt to", mail.StageRcpt},
	{"after rcpt", mail.StageRcpt},
	{">>> rcpt to", mail.StageRcpt},
	{"[rcpt_to]", mail.StageRcpt},
	{"our rcpt to", mail.StageRcpt},
	{"does not like recipient", mail.StageRcpt},
	{"after end of data", mail.StageDot},
	{"reply to end of data", mail.StageDot},
	{"after data", mail.StageData},
	{"reply to data", mail.StageData},
	{">>> data", mail.StageData},
	{"after i sent the message", mail.StageDot},
	{"after pipelined data", mail.StageData},
	{"after helo", mail.StageEhlo},
	{"after ehlo", mail.StageEhlo},
	{"reply to helo", mail.StageEhlo},
	{"reply to ehlo", mail.StageEhlo},
	{"after initial connection", mail.StageGreeting},
	{"while receiving the initial server greeting", mail.StageGreeting},
}

// stageIn finds the step at which the peer refused; "" if the text does not tell it.
func stageIn(s string) mail.Stage {
	s = strings.ToLower(s)
	for _, m := range stageMarks {
		if strings.Contains(s, m.mark) {
			return m.stage
		}
	}
	return ""
}

// setStatus keeps an enhanced code, unless a more telling one is there already.
func (rc *Recipient) setStatus(e smtp.Enhanced) {
	if rc.Status.IsZero() || rc.Status[1] == 0 && rc.Status[2] == 0 {
		rc.Status = e
	}
}

// codesIn finds the first reply code and the first enhanced code in a text.
func codesIn(s string) (code int, e smtp.Enhanced) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < '2' || c > '5' || i > 0 && (isAlnum(s[i-1]) || s[i-1] == '.' || s[i-1] == '-' || s[i-1] == '_' || s[i-1] == ':' && i > 1 && isAlnum(s[i-2]) && isDigit(s[i-2])) {
			continue
		}
		if e.IsZero() && i+4 < len(s) && s[i+1] == '.' {
			end := i
			for end < len(s) && (isDigit(s[end]) || s[end] == '.') {
				end++
			}
			if got, rest, ok := smtp.ParseEnhanced(strings.TrimRight(s[i:end], ".")); ok && rest == "" && c != '3' {
				e = got
			}
			i = end
			continue
		}
		if code == 0 && c >= '4' && i+2 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) && s[i+1] <= '9' &&
			(i+3 == len(s) || s[i+3] == ' ' || s[i+3] == '-' || s[i+3] == ':' || s[i+3] == ';' || s[i+3] == ',' || s[i+3] == '#' || s[i+3] == '"' || s[i+3] == ')' || s[i+3] == ']' || s[i+3] == '_' || s[i+3] == '\t') {
			code, _ = strconv.Atoi(s[i : i+3])
			if code > 599 || s[i+1] > '7' {
				code = 0
			}
		}
	}
	return code, e
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func readAction(s string) Action {
	switch word := strings.ToLower(firstWord(s)); {
	case strings.HasPrefix(word, "fail"), strings.HasPrefix(word, "bounce"), strings.HasPrefix(word, "reject"), strings.HasPrefix(word, "undeliver"):
		return Failed // words of writers who do not know the five
	case strings.HasPrefix(word, "delay"), strings.HasPrefix(word, "defer"):
		return Delayed
	case strings.HasPrefix(word, "deliver"):
		return ActionDelivered
	case strings.HasPrefix(word, "relay"):
		return Relayed
	case strings.HasPrefix(word, "expand"):
		return Expanded
	}
	return ""
}

func firstWord(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.IndexAny(s, " \t(;,"); i >= 0 {
		s = s[:i]
	}
	return s
}

// typed splits "rfc822; user@example.com" into type and value.
func typed(s string) (kind, value string) {
	k, v, ok := strings.Cut(s, ";")
	k = strings.TrimSpace(k)
	if !ok || strings.ContainsAny(k, " @<:") {
		return "", strings.TrimSpace(s)
	}
	return strings.ToLower(k), strings.TrimSpace(v)
}

// recipientAddress reads a typed address. "" if there is none.
func recipientAddress(s string) string {
	kind, value := typed(s)
	value = strings.TrimSpace(value)
	if kind == "utf-8" {
		value = unitext(value)
	}
	if i := strings.LastIndexByte(value, '<'); i >= 0 {
		if inner, _, ok := strings.Cut(value[i+1:], ">"); ok && inner != "" {
			value = inner
		}
	}
	if strings.IndexByte(value, ' ') >= 0 && strings.IndexByte(value, '"') < 0 {
		value = strings.ReplaceAll(strings.ReplaceAll(value, "@ ", "@"), " @", "@") // folded beside the at sign
	}
	if a, ok := firstAddressIn(value); ok {
		return oneLine(message.DecodeWords(xtext(a)))
	}
	return oneLine(message.DecodeWords(xtext(strings.Trim(value, "<>\"' \t"))))
}

// unitext decodes \x{41} of RFC 6533 §3.
func unitext(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, `\x{`)
		if i < 0 {
			break
		}
		end := strings.IndexByte(s[i:], '}')
		n, err := strconv.ParseUint(s[i+3:max(i+3, i+end)], 16, 32)
		if end < 0 || err != nil || n > 0x10ffff {
			b.WriteString(s[:i+3])
			s = s[i+3:]
			continue
		}
		b.WriteString(s[:i])
		b.WriteRune(rune(n))
		s = s[i+end+1:]
	}
	return b.String() + s
}

// xtext decodes +41 of RFC 3461 §4; a plus that is followed by no two upper-case hex digits stays, since most writers
// put addresses here as they are.
func xtext(s string) string {
	if strings.IndexByte(s, '+') < 0 {
		return s
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) {
			hi, lo := strings.IndexByte(hex, s[i+1]), strings.IndexByte(hex, s[i+2])
			// What needs no encoding was not encoded: "user+22@" is a tag.
			if c := byte(hi<<4 | lo); hi >= 0 && lo >= 0 && (c == '+' || c == '=' || c <= ' ' || c >= 0x7f) && c != 0 {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}

// kindOf is the table of kinds for a mail with actions: a failure outweighs a delay, a delay a success. A report of
// several recipients keeps each one's own action.
func kindOf(rs []Recipient) Kind {
	kind := Delivered
	for _, rc := range rs {
		switch rc.Action {
		case Failed:
			return Bounce
		case Delayed:
			kind = Delay
		}
	}
	return kind
}

// oneLine makes a text one line of valid UTF-8 with single spaces.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	var b strings.Builder
	for i := 0; i < len(s); {
		if n := spaceAt(s, i); n > 0 {
			i += n
			continue
		}
		start := i
		for i < len(s) && spaceAt(s, i) == 0 {
			i++
		}
		switch {
		case i-start == len(s):
			return s
		case b.Len() == 0:
			b.Grow(len(s) - start)
		default:
			b.WriteByte(' ')
		}
		b.WriteString(s[start:i])
	}
	return b.String()
}

// spaceAt returns how many octets of space or control stand at s[i] as one character; 0: none.
func spaceAt(s string, i int) int {
	switch c := s[i]; {
	case c <= ' ' || c == 0x7f:
		return 1
	case c == 0xc2 && i+1 < len(s) && s[i+1] == 0xa0: // a space that does not break, U+00A0
		return 2
	}
	return 0
}

// clip cuts s to at most n octets without splitting a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
