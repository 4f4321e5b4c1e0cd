package report

import (
	"encoding/json"
	"strings"

	"github.com/postroad/postroad/internal/smtp"
)

// notification is what Amazon SES writes where its notifications are mailed; the fields used.
type notification struct {
	Type   string `json:"notificationType"`
	Bounce struct {
		Type       string `json:"bounceType"`
		Recipients []struct {
			Address    string `json:"emailAddress"`
			Action     string `json:"action"`
			Status     string `json:"status"`
			Diagnostic string `json:"diagnosticCode"`
		} `json:"bouncedRecipients"`
		MTA string `json:"reportingMTA"`
	} `json:"bounce"`
	Complaint struct {
		Recipients []struct {
			Address string `json:"emailAddress"`
		} `json:"complainedRecipients"`
		Type string `json:"complaintFeedbackType"`
	} `json:"complaint"`
	Delivery struct {
		Recipients []string `json:"recipients"`
		Response   string   `json:"smtpResponse"`
	} `json:"delivery"`
	Mail struct {
		MessageID string `json:"messageId"`
		Source    string `json:"source"`
	} `json:"mail"`
}

// readNotification reads a JSON notification in the text of a mail.
func (m *letter) readNotification(r *Report) bool {
	i := strings.IndexByte(m.text, '{')
	if i < 0 || !strings.Contains(m.text[i:], `"notificationType"`) {
		return false
	}
	// Long lines were folded on the way, also inside of strings.
	var n notification
	if json.NewDecoder(strings.NewReader(strings.ReplaceAll(m.text[i:], "\n", ""))).Decode(&n) != nil {
		return false
	}
	r.Dialect, r.Reason = "ses-json", "notification"
	switch strings.ToLower(n.Type) {
	case "bounce":
		_, r.ReportingMTA = typed(n.Bounce.MTA)
		for _, b := range n.Bounce.Recipients {
			rc := Recipient{Address: b.Address, Final: b.Address, Action: readAction(b.Action)}
			if rc.Action == "" {
				rc.Action = Failed
			}
			_, d := typed(b.Diagnostic)
			rc.setDiagnostic(d)
			if e, _, ok := smtp.ParseEnhanced(b.Status); ok {
				rc.setStatus(e)
			}
			if looksLikeAddress(rc.Address) {
				r.add(rc, m.lim.Recipients)
			}
		}
		r.Kind = kindOf(r.Recipients)
		if len(r.Recipients) == 0 {
			r.Kind = Bounce
		}
	case "complaint":
		r.Kind, r.Feedback = Complaint, &Feedback{Type: "abuse", MailFrom: clip(oneLine(n.Mail.Source), maxFeedbackField)}
		r.Feedback.setType(n.Complaint.Type)
		for _, c := range n.Complaint.Recipients {
			if looksLikeAddress(c.Address) {
				r.add(Recipient{Address: c.Address, Final: c.Address, Diagnostic: r.Feedback.Type}, m.lim.Recipients)
			}
		}
	case "delivery":
		r.Kind = Delivered
		for _, a := range n.Delivery.Recipients {
			if looksLikeAddress(a) {
				r.add(Recipient{Address: a, Final: a, Action: ActionDelivered, Diagnostic: clip(oneLine(n.Delivery.Response), maxDiagnostic)}, m.lim.Recipients)
			}
		}
	default:
		return false
	}
	return true
}
