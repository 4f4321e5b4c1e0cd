package bounce

import (
	"strconv"
	"strings"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/report"
)

// surePriority is the priority from which a rule rests on what a text says, not on a code or a vague word.
const surePriority = 530

// tellingPriority is that of the rules that tell a cause; those below it tell of trouble of the peer's, which reporting
// systems also write where they do not know better.
const tellingPriority = 740

// codePriority is the priority from which a rule has more to go on than the class of a code.
const codePriority = 300

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
// address; if those are too, by the whole explanation, where it speaks of this recipient alone.
func (r *Ruleset) failure(rep *report.Report, rc *report.Recipient, result mail.Result) Verdict {
	in := Input{Stage: mail.StageReport, Code: rc.Code, Enhanced: rc.Status, Text: peerReply(rc.Diagnostic, rc.Code)}
	best, rule := r.decide(in)
	if rule.priority() >= tellingPriority {
		return conclude(best, rule, rc, result)
	}
	texts := []string{rc.Diagnostic, rc.Context}
	if len(rep.Recipients) == 1 {
		texts = append(texts, rep.Text)
	}
	for i, text := range texts {
		if rule.priority() >= surePriority && i > 0 || rule.priority() >= codePriority && i > 0 && (rc.Code != 0 || !rc.Status.IsZero()) {
			break
		}
		if text == "" || text == in.Text {
			continue
		}
		in.Text = text
		if v, other := r.decide(in); betterRule(other.priority(), rule.priority()) {
			best, rule = v, other
		}
	}
	return conclude(best, rule, rc, result)
}

// conclude turns the verdict on the words into one on a report: what the reporting system did is done.
func conclude(v Verdict, rule *Rule, rc *report.Recipient, result mail.Result) Verdict {
	if beforeRcpt(rc.Stage) && aboutRecipient(v.Class) {
		v.Class, v.Scope = mail.ClassProtocol, mail.ScopeSender // as rowNoRecipientYet
	}
	v.Result, v.RetryAfter = result, 0
	v.Action = actionOf(v.Class, v.Scope, result, rule)
	return v
}

// peerReply returns the part of a diagnostic that is the peer's reply: from its last reply code on. What stands before
// is the reporting system's, and often names host, command and address in words that mean something else.
func peerReply(s string, code int) string {
	s, _, _ = strings.Cut(s, "(in reply to")
	if code == 0 {
		return s
	}
	digits := strconv.Itoa(code)
	for end := len(s); ; {
		i := strings.LastIndex(s[:end], digits)
		if i < 0 {
			return s
		}
		if letters(s[i:]) >= minReplyLetters && (i == 0 || s[i-1] == ' ' || s[i-1] == ':' || s[i-1] == '"' || s[i-1] == '<') {
			return s[i+len(digits):]
		}
		end = i
	}
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

// decide is Reply, and the rule that won, nil if none did.
func (r *Ruleset) decide(in Input) (Verdict, *Rule) {
	sc := r.search(&in)
	defer r.pool.Put(sc)
	e, class := effective(&in, sc)
	var rule *Rule
	r.candidates(sc, func(c *Rule) bool {
		if c.matches(&in, e, class, sc) {
			rule = c
			return false
		}
		return true
	})
	v, _ := settle(&in, e, class, rule)
	return v, rule
}
