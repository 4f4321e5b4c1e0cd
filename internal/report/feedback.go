package report

import (
	"strconv"
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
	f.FeedbackID = r.Original.Get("CFBL-Feedback-ID")
	if f.FeedbackID == "" {
		f.FeedbackID = r.Original.Get("Feedback-ID")
	}
	if f.SourceIP == "" {
		f.SourceIP = r.Original.Get("X-Originating-IP")
	}
	r.Kind, r.Feedback, r.Arrival, r.ReportingMTA = Complaint, f, f.Arrival, f.ReportingMTA
	if recipient != "" {
		r.Recipients = []Recipient{{Address: recipient, Final: recipient, Diagnostic: f.Type}}
	}
	return true
}

func (f *Feedback) read(g group) {
	if v := strings.ToLower(firstWord(g["feedback-type"])); v != "" {
		f.Type = v
	}
	set := func(to *string, names ...string) {
		if *to == "" {
			*to = clip(oneLine(g.get(names...)), 500)
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
	if n, err := strconv.Atoi(firstWord(g["incidents"])); err == nil && n > 0 {
		f.Incidents = n
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

func redacted(a string) bool {
	local, domain, _ := strings.Cut(strings.ToLower(a), "@")
	return strings.Contains(local, "redacted") || strings.Contains(local, "undisclosed") || strings.Contains(domain, "redacted") || strings.Trim(local, "x*.-_") == "" || !strings.Contains(domain, ".")
}
