package report

import (
	"strings"
)

// readFeedback reads complaints: ARF (RFC 5965) and the forms that leave its machine-readable part out. It reports
// whether the mail is one.
func (m *letter) readFeedback(r *Report) bool {
	f := &Feedback{Type: "abuse"}
	recipient := ""
	switch {
	case len(m.feedback) > 0:
		r.Reason, r.Dialect = "feedback-report", "arf"
		for _, body := range m.feedback {
			for _, g := range readGroups(body) {
				f.read(g)
				if a := recipientAddress(g.get("original-rcpt-to", "removal-recipient", "redacted-address", "original-recipient")); recipient == "" && looksLikeAddress(a) {
					recipient = a
				}
				if v := g["original-envelope-id"]; v != "" {
					r.EnvelopeID = xtext(v)
				}
			}
		}
	case m.jmrp():
		r.Reason, r.Dialect = "complaint headers", "jmrp"
	default:
		return false
	}
	if recipient == "" {
		recipient = r.Original.complainer()
	}
	for _, name := range []string{"CFBL-Feedback-ID", "Feedback-ID"} {
		if f.FeedbackID == "" {
			f.FeedbackID = clip(oneLine(r.Original.Get(name)), maxFeedbackField)
		}
	}
	if f.SourceIP == "" {
		f.SourceIP = clip(oneLine(r.Original.Get("X-Originating-IP")), maxFeedbackField)
	}
	r.Kind, r.Feedback, r.Arrival, r.ReportingMTA = Complaint, f, f.Arrival, f.ReportingMTA
	if recipient != "" {
		r.Recipients = []Recipient{{Address: recipient, Final: recipient, Diagnostic: f.Type}}
	}
	return true
}

// maxFeedbackField bounds each text of a Feedback, in octets.
const maxFeedbackField = 500

// setType keeps the type as it is if a report does not name one.
func (f *Feedback) setType(s string) {
	if v := clip(oneLine(strings.ToLower(s)), maxFeedbackField); v != "" {
		f.Type = v
	}
}

func (f *Feedback) read(g group) {
	f.setType(firstWord(g["feedback-type"]))
	set := func(to *string, names ...string) {
		if *to == "" {
			*to = clip(oneLine(g.get(names...)), maxFeedbackField)
		}
	}
	set(&f.UserAgent, "user-agent")
	set(&f.SourceIP, "source-ip")
	if f.MailFrom == "" {
		f.MailFrom = recipientAddress(g["original-mail-from"])
	}
	if v := g["reporting-mta"]; v != "" && f.ReportingMTA == "" {
		_, f.ReportingMTA = typed(v)
	}
	if f.Arrival.IsZero() {
		f.Arrival = parseDate(g.get("arrival-date", "received-date"))
	}
	if v := g["reported-domain"]; v != "" {
		f.Domains = append(f.Domains, clip(oneLine(v), 255))
	}
}

// jmrp reports a complaint of Microsoft's programme for junk mail reporting, or in its form: the message itself,
// attached, with the recipient in a field of its own.
func (m *letter) jmrp() bool {
	if !m.hasOrigin {
		return false
	}
	if _, ok := m.returned.Get("X-HmXmrOriginalRecipient"); ok {
		return true
	}
	subject := m.subject()
	return strings.HasPrefix(subject, "complaint about message from") || strings.HasPrefix(subject, "email feedback report for ip")
}

// complainer finds who complained from the header of the returned message, as far as it was not taken out.
func (o *Original) complainer() string {
	for _, name := range []string{"X-HmXmrOriginalRecipient", "X-Original-To", "Delivered-To"} {
		if a := firstAddress(o.Get(name)); looksLikeAddress(a) && !redacted(a) {
			return a
		}
	}
	if len(o.To) == 1 && looksLikeAddress(o.To[0]) && !redacted(o.To[0]) {
		return o.To[0]
	}
	return ""
}

// redacted reports an address that is none, or that was made unreadable.
func redacted(a string) bool {
	local, _, _ := strings.Cut(strings.ToLower(a), "@")
	return withheld(a) || strings.Trim(local, "x*.-_") == ""
}

// withheld reports an address that says of itself that it is none.
func withheld(a string) bool {
	local, domain, _ := strings.Cut(strings.ToLower(a), "@")
	return strings.Contains(local, "redacted") || strings.Contains(local, "undisclosed") || strings.Contains(domain, "redacted") || strings.Trim(local, "*") == "" || !strings.Contains(domain, ".")
}
