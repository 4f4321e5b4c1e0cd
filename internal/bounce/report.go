package bounce

import (
	"slices"
	"strconv"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/smtp"
)

// surePriority is the priority from which a rule rests on what a text says, not on a code or a vague word.
const surePriority = 530

// tellingPriority is that of the rules that tell a cause; those below it tell of trouble of the peer's, which reporting
// systems also write where they do not know better.
const tellingPriority = 740

// codePriority is the priority from which a rule has more to go on than the class of a code.
const codePriority = 300

// wordPriority is the priority from which a rule rests on words, be it single ones.
const wordPriority = 250

// Report decides what a parsed report means for each of its recipients, in their order. A complaint suppresses its
// recipient; a delayed or delivered recipient asks for nothing, and neither does one of an auto-reply or challenge.
func (r *Ruleset) Report(rep *report.Report) []Verdict {
	vs := make([]Verdict, len(rep.Recipients))
	for i := range rep.Recipients {
		rc := &rep.Recipients[i]
		switch {
		case rep.Kind == report.Complaint:
			// The one class-less suppression: the recipient asked for it (bulk stream; the suppression room).
			vs[i] = Verdict{Action: mail.ActionSuppress, Scope: mail.ScopeRecipient}
		case rep.Kind != report.Bounce && rep.Kind != report.Delay:
			vs[i] = Verdict{Action: mail.ActionNone}
		case rc.Action == report.Failed:
			vs[i] = r.failure(rep, rc, mail.Bounced)
		case rc.Action == report.Delayed:
			vs[i] = r.failure(rep, rc, mail.Deferred)
			vs[i].Action = mail.ActionNone // the reporting system goes on trying
		default:
			vs[i] = Verdict{Action: mail.ActionNone}
		}
	}
	return vs
}

// failure classifies what a report says of one recipient: by the diagnostic; if that is vague, by the words beside the
// address; if those are too, by the whole explanation, where it speaks of this recipient alone or of all at once.
func (r *Ruleset) failure(rep *report.Report, rc *report.Recipient, result mail.Result) Verdict {
	in := Input{Stage: mail.StageReport, Code: rc.Code, Enhanced: rc.Status, Text: peerReply(rc.Diagnostic, rc.Code)}
	if peers, ok := r.transcript(in, rc); ok {
		return conclude(peers, rc, result)
	}
	best := r.decide(&in)
	if best.guessed() && rc.Code == 0 {
		// These are the words of the reporting system, not a reply.
		bare := in
		bare.Text = ""
		best = r.decide(&bare)
	}
	if best.rule.priority() >= tellingPriority {
		return conclude(best, rc, result)
	}
	texts := []string{withoutTail(rc.Diagnostic), rc.Context}
	if len(rep.Recipients) == 1 || !slices.ContainsFunc(rep.Recipients, func(rc report.Recipient) bool { return rc.Diagnostic != "" }) {
		texts = append(texts, rep.Text)
	}
	// Where the peer's reply was found, what stands around it are the reporting system's words, and hold names of hosts.
	cut := in.Text != texts[0]
	for i, text := range texts {
		if have := best.rule.priority(); (i > 0 || cut) && (have >= surePriority || have >= codePriority && (rc.Code != 0 || !rc.Status.IsZero())) {
			break
		}
		if text == "" || text == in.Text {
			continue
		}
		in.Text = text
		wider := r.decide(&in)
		if wider.guessed() {
			continue
		}
		// What an explanation says is said to people, and the words around a reply are not the peer's: on them alone
		// nobody is suppressed.
		wider.doubt = wider.doubt || i > 1 || rc.Code != 0
		if betterRule(wider.rule.priority(), best.rule.priority()) {
			best = wider
		}
	}
	return conclude(best, rc, result)
}

// transcript decides by the peer's reply in a transcript of Sendmail's form, if words of it tell anything: the enhanced code
// and the words that Sendmail adds follow from the reply code alone.
func (r *Ruleset) transcript(in Input, rc *report.Recipient) (d decision, ok bool) {
	if rc.Code == 0 || transcribed(rc.Diagnostic, strconv.Itoa(rc.Code)) == "" {
		return d, false
	}
	in.Enhanced, _, _ = smtp.ParseEnhanced(strings.TrimSpace(in.Text))
	d = r.decide(&in)
	return d, d.rule.priority() >= wordPriority
}

// guessed reports whether a decision rests on single words, which in a long text are bound to stand somewhere.
func (d *decision) guessed() bool {
	return d.rule != nil && d.rule.Priority < codePriority && (len(d.rule.any) > 0 || d.rule.mentions != "")
}

// conclude turns the verdict on the words into one on a report: what the reporting system did is done.
func conclude(d decision, rc *report.Recipient, result mail.Result) Verdict {
	v := d.Verdict
	if beforeRcpt(rc.Stage) && aboutRecipient(v.Class) {
		v.Class, v.Scope = mail.ClassProtocol, mail.ScopeSender // as rowNoRecipientYet
	}
	v.Result, v.RetryAfter = result, 0
	// A peer that said "not now" until the reporting system gave up never said "no".
	passing := rc.Code/100 == 4 || rc.Code == 0 && rc.Status[0] == 4
	v.Action = actionOf(v.Class, v.Scope, result, d.doubt || passing)
	return v
}

// peerReply returns the part of a diagnostic that is the peer's reply: what a transcript marks as such, else from its last
// reply code on, of several lines from the first. What stands before is the reporting system's, and often names host,
// command and address in words that mean something else; what some systems add after it is cut off too.
func peerReply(s string, code int) string {
	s = withoutTail(s)
	if code == 0 {
		return s
	}
	digits := strconv.Itoa(code)
	if t := transcribed(s, digits); t != "" {
		return t
	}
	for end := len(s); ; {
		i := strings.LastIndex(s[:end], digits)
		if i < 0 {
			return s
		}
		if letters(s[i:]) >= minReplyLetters && beginsReply(s, i) {
			if first := strings.Index(s, digits+"-"); first >= 0 && first < i && beginsReply(s, first) {
				return strings.ReplaceAll(s[first:], digits+"-", "")
			}
			return unquoted(s[i+len(digits):], s[max(0, i-1)])
		}
		end = i
	}
}

// unquoted cuts a reply off at the quote that closes it, where one stands before it.
func unquoted(reply string, before byte) string {
	if before != '\'' && before != '"' {
		return reply
	}
	for i := range len(reply) {
		if reply[i] == before && (i+1 == len(reply) || strings.IndexByte(" .,;)", reply[i+1]) >= 0) {
			return reply[:i]
		}
	}
	return reply
}

// withoutTail cuts off what Postfix and qmail add to a reply.
func withoutTail(s string) string {
	for _, tail := range []string{"(in reply to", "Giving up on "} {
		s, _, _ = strings.Cut(s, tail)
	}
	return s
}

// transcribed returns the reply of a code that a transcript of Sendmail's form holds: "(reason: 550 text)", or of several
// lines "<<< 550-text <<< 550 text". Sendmail's own line after it says "user unknown" of any 550. "" if there is none.
func transcribed(s, digits string) string {
	if _, reason, ok := strings.Cut(s, "(reason: "+digits+" "); ok {
		open := 1
		for i := range len(reason) {
			switch reason[i] {
			case '(':
				open++
			case ')':
				open--
			}
			if open == 0 {
				reason = reason[:i]
				break
			}
		}
		return enough(reason)
	}
	var b strings.Builder
	for _, line := range strings.Split(s, "<<< ")[1:] {
		if text, ok := strings.CutPrefix(line, digits); ok {
			text, _, _ = strings.Cut(text, ">>> ")
			b.WriteByte(' ')
			b.WriteString(strings.TrimLeft(text[:ownLine(text)], "- "))
		}
	}
	return enough(b.String())
}

// enough returns a reply if it has words in it, else "".
func enough(s string) string {
	if letters(s) < minReplyLetters {
		return ""
	}
	return s
}

// ownLine returns where in the text of a reply the line begins that the reporting system added: another reply code with
// its enhanced code. The length of the text if there is none.
func ownLine(s string) int {
	for i := 1; i+6 < len(s); i++ {
		if s[i-1] == ' ' && (s[i] == '4' || s[i] == '5') && isDigit(s[i+1]) && isDigit(s[i+2]) && s[i+3] == ' ' && s[i+4] == s[i] && s[i+5] == '.' && isDigit(s[i+6]) && letters(s[:i]) > 0 {
			return i
		}
	}
	return len(s)
}

// beginsReply reports whether a reply may begin at s[i].
func beginsReply(s string, i int) bool {
	return i == 0 || strings.IndexByte(" :\"'<[(", s[i-1]) >= 0
}

// minReplyLetters is how many letters a reply must have to be looked at by itself.
const minReplyLetters = 6

func letters(s string) (n int) {
	for i := range len(s) {
		if isLetter(s[i]) || s[i] >= 0x80 {
			n++
		}
	}
	return n
}

// betterRule reports whether what a wider text says outweighs what the narrower one said.
func betterRule(wider, narrower int) bool {
	return wider > narrower && (wider >= tellingPriority || wider >= surePriority && narrower < surePriority || narrower == 0)
}
