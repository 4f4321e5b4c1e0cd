package report

import (
	"slices"
	"strings"

	"github.com/postroad/postroad/internal/message"
)

// readText reads a mail without a machine-readable part by its words.
func (m *letter) readText(r *Report) {
	if m.readNotification(r) {
		return
	}
	words := m.lowered()
	auto := m.autoReply()
	daemon := m.fromDaemon()
	fails, delays := failureWords.count(words, manyWords), delayWords.count(words, manyWords)
	xfr := m.failedRecipients()
	if m.challenge(words) && len(xfr) == 0 && !(daemon && fails > 0 && m.hasCodes()) {
		r.Kind, r.Dialect, r.Reason = Challenge, "text", "challenge words"
		m.answerTo(r)
		return
	}
	if auto >= certain && (auto == beyond || !daemon || fails == 0) && len(xfr) == 0 {
		m.beAutoReply(r)
		return
	}
	if daemon && fails+delays == 0 && notDelivered(words) {
		fails = 1
	}
	recipients := m.textRecipients(xfr, m.onlyReturnedTo(r))
	evidence := m.failureEvidence(fails+delays, daemon, len(xfr) > 0, recipients)
	if evidence < failureThreshold {
		if auto >= likely {
			m.beAutoReply(r)
		}
		return
	}
	r.Kind, r.Dialect, r.Reason = Bounce, "text", "failure words"
	if len(recipients) > 0 && !slices.ContainsFunc(recipients, func(rc Recipient) bool { return rc.Action != Delayed }) {
		r.Kind, r.Reason = Delay, "heading of a delay"
	}
	action := Failed
	if delays > 0 && !finalWords.in(withoutConditions(words)) {
		r.Kind, r.Reason, action = Delay, "delay words", Delayed
	}
	for _, rc := range recipients {
		if rc.Action == "" || action == Delayed {
			rc.Action = action
		}
		r.add(rc, m.lim.Recipients)
	}
}

// nearNegation is how far before a word for delivering one for not may stand, in octets.
const nearNegation = 48

// notDelivered reports whether a text tells of no delivery, in any tongue.
func notDelivered(words string) bool {
	for _, stem := range deliveryStems {
		for from := 0; ; {
			i := strings.Index(words[from:], stem)
			if i < 0 {
				break
			}
			i += from
			from = i + len(stem)
			if negations.in(" " + words[max(0, i-nearNegation):i]) {
				return true
			}
		}
	}
	return false
}

// withoutConditions takes out what is said of the time to come: "you will hear again if delivery fails permanently".
func withoutConditions(words string) string {
	for from := 0; ; {
		i := strings.Index(words[from:], " if ")
		if i < 0 {
			return words
		}
		from += i + 1
		if end := strings.IndexAny(words[from:], ".!:"); end >= 0 {
			words = words[:from] + words[from+end:]
		}
	}
}

// manyWords is how many different words of a list are enough.
const manyWords = 5

// failureThreshold is the evidence at which a mail counts as a failure.
const failureThreshold = 3

// failureEvidence weighs what speaks for a report of failure: who sent it, the words of its subject and text, and
// whether it names an address with a code.
func (m *letter) failureEvidence(words int, daemon, xfr bool, rs []Recipient) int {
	n := 0
	if xfr {
		n += 3
	}
	if daemon {
		n += 2
	}
	if m.nullReturnPath() {
		n++
	}
	subject := m.subject()
	if failureWords.in(subject) || delayWords.in(subject) || reportSubjects.in(subject) {
		n += 2
	}
	if words > 0 {
		n++
	}
	if words > 2 {
		n++
	}
	if len(rs) == 0 {
		// Nobody is named: only a mail that says nothing else can be a failure.
		return n - 2
	}
	if from, _ := m.header.Get("From"); daemon && words == 0 && indexFold(from, "mailer-daemon") >= 0 {
		n++ // nobody else is called so: it names somebody in words we do not know
	}
	coded := slices.ContainsFunc(rs, func(rc Recipient) bool { return rc.Code >= 400 || !rc.Status.IsZero() })
	if coded {
		n++
	}
	if m.hasOrigin {
		n++
	}
	if !daemon && !xfr && !m.nullReturnPath() {
		// A person may write about a failure, or pass one on, and newsletters write about anything.
		named, sure := m.named(), strong
		if m.fromMachine() || reportSubjects.leads(subject) {
			sure = medium
		}
		switch {
		case coded || m.hasOrigin || named >= sure:
		case named >= medium && !m.hasField("List-Unsubscribe"):
			n--
		default:
			n -= 2
		}
		if stripRe(subject) != subject && (strings.Contains(m.text, "\n>") || !strings.HasPrefix(subject, "re:") || failureWords.leads(stripRe(subject))) {
			n -= 3
		}
	}
	return n
}

// named returns how surely the explanation names anybody, or a subject that tells of a failure; 0: not at all.
func (m *letter) named() (best int) {
	if s := m.subject(); failureWords.in(s) && len(m.subjectAddress()) > 0 {
		best = medium
	}
	mentions, _ := m.mentions()
	for _, n := range mentions {
		best = max(best, n.strength)
	}
	return best
}

// lowered returns subject and explanation as the word lists are written.
func (m *letter) lowered() string {
	if m.words == "" {
		m.words = strings.ToLower(oneLine(m.subject() + " \n" + strings.ReplaceAll(clip(m.text, maxWordsText), "\u2019", "'")))
	}
	return m.words
}

// maxWordsText bounds the text the word lists are searched in, in octets: reports say at their start what they are.
const maxWordsText = 8 << 10

func (m *letter) subject() string { return strings.ToLower(m.subjectText()) }

func (m *letter) subjectText() string {
	v, _ := m.header.Get("Subject")
	return oneLine(strings.ReplaceAll(message.DecodeWords(v), "\u2019", "'"))
}

func (m *letter) nullReturnPath() bool {
	v, ok := m.header.Get("Return-Path")
	return ok && strings.TrimSpace(v) == "<>"
}

// fromDaemon reports whether the mail says it comes from a mail system.
func (m *letter) fromDaemon() bool {
	for _, name := range []string{"From", "Sender"} {
		v, ok := m.header.Get(name)
		if !ok {
			continue
		}
		lower := strings.ToLower(message.DecodeWords(v))
		if strings.TrimSpace(lower) == "<>" || strings.Contains(lower, "mailer-daemon") || strings.Contains(lower, "mail delivery") || strings.Contains(lower, "delivery subsystem") || strings.Contains(lower, "postmaster") || strings.Contains(lower, "mail deliver system") || strings.Contains(lower, "system administrator") || strings.Contains(lower, "mail administrator") || strings.Contains(lower, "mail service") || strings.Contains(lower, "mail system") {
			return true
		}
		if a := firstAddress(v); a != "" && daemonLocal(a) {
			return true
		}
	}
	return false
}

// machineNames stand in the names of programs that write, and seldom in those of people; machineLocals in the local parts of
// their addresses. Lower case.
var (
	machineNames  = newWordSet("notification", "no-reply", "noreply", "gateway", "listserv", "majordomo", "mailman", "server", "robot", "delivery")
	machineLocals = newWordSet("notif", "no-reply", "noreply", "no_reply", "donotreply", "do-not-reply", "gateway", "admin", "system", "server", "filter", "scan", "virus", "security", "robot", "listserv", "majordomo", "mailman", "sympa", "owner-", "-owner", "-request", "bounce", "post_office", "postoffice", "delivery")
)

// fromMachine reports whether the sender is named as a program, which need not be one that delivers.
func (m *letter) fromMachine() bool {
	v, _ := m.header.Get("From")
	local, _, _ := strings.Cut(firstAddress(v), "@")
	name, _, _ := strings.Cut(message.DecodeWords(v), "<")
	return machineLocals.in(strings.ToLower(local)) || machineNames.in(strings.ToLower(name))
}

func (m *letter) hasCodes() bool {
	code, e := codesIn(clip(m.text, maxDiagnostic))
	return code != 0 || !e.IsZero()
}

// failedRecipients reads X-Failed-Recipients, which Exim and Google write.
func (m *letter) failedRecipients() (all []string) {
	for _, v := range m.header.Values("X-Failed-Recipients") {
		for _, f := range addressesIn(v) {
			all = append(all, f.addr)
		}
	}
	return all
}
