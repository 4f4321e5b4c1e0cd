package report

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
)

// Kind is what a mail that came back is.
type Kind string

// The kinds. A mail of kind Other is ordinary mail, or nothing we know.
const (
	Bounce    Kind = "bounce"
	Delay     Kind = "delay"
	Delivered Kind = "delivered"
	Complaint Kind = "complaint"
	AutoReply Kind = "auto-reply"
	Challenge Kind = "challenge"
	Other     Kind = "other"
)

// Action is what became of one recipient (RFC 3464 §2.3.3).
type Action string

// The actions.
const (
	Failed          Action = "failed"
	Delayed         Action = "delayed"
	ActionDelivered Action = "delivered"
	Relayed         Action = "relayed"
	Expanded        Action = "expanded"
)

// Report is one mail, read.
type Report struct {
	Kind Kind
	// Reason names the evidence that settled the kind, for people: "delivery-status", "failure words" …
	Reason string
	// Dialect names the reader that understood the mail: "rfc3464", "arf", "text" …; "" for kind Other.
	Dialect      string
	ReportingMTA string    // host name; "" if not told
	EnvelopeID   string    // Original-Envelope-Id, xtext decoded
	Arrival      time.Time // when the reporting MTA took the message; zero if not told
	// Recipients are those the mail tells something about, each once, in the order of the mail.
	Recipients []Recipient
	// Original is what the mail carries of the message it is about.
	Original Original
	// Feedback is set for kind Complaint.
	Feedback *Feedback
	// Text is the human-readable explanation in UTF-8, without the returned message, at most Limits.Text octets.
	Text string
	// Truncated: a limit was met and some of the mail was not read.
	Truncated bool
}

// Recipient is what a mail tells about one address.
type Recipient struct {
	// Address is whom the report is about: Final, unless that means nothing outside of the reporting network; then
	// Original.
	Address  string
	Final    string // Final-Recipient, without its type
	Original string // Original-Recipient, without its type, xtext decoded; the address the message was sent to
	Action   Action
	Status   smtp.Enhanced // zero: none told
	Code     int           // SMTP reply code in the diagnostic; 0: none
	// Diagnostic is the peer's reply or the reporting system's words, one line of UTF-8.
	Diagnostic string
	// Context is what the explanation says beside this address; "" if nothing.
	Context string
	// Stage is the step of the dialogue at which the peer refused, where the mail tells it.
	Stage          mail.Stage
	RemoteMTA      string
	LastAttempt    time.Time
	WillRetryUntil time.Time
}

// Original is what a mail carries of the message it is about. Fields are "" when it carries none.
type Original struct {
	MessageID string // without angle brackets
	From      string // address
	To        []string
	Subject   string
	// Header holds every field of the embedded header, unfolded, names as written.
	Header []Field
}

// Field is one header field.
type Field struct{ Name, Value string }

// Get returns the first value of the embedded header's field, "" if there is none.
func (o *Original) Get(name string) string {
	for _, f := range o.Header {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Feedback is the machine-readable part of a complaint (RFC 5965).
type Feedback struct {
	Type         string // "abuse", "fraud", "not-spam" …; "abuse" where a dialect names none
	UserAgent    string
	SourceIP     string
	MailFrom     string
	Arrival      time.Time
	ReportingMTA string
	FeedbackID   string // CFBL-Feedback-ID or Feedback-ID of the embedded header (RFC 9477)
	Domains      []string
}

// Limits bound what Parse reads. A zero field stands for that of DefaultLimits.
type Limits struct {
	Bytes      int // octets of the mail
	Text       int // octets of the explanation
	Depth      int // of parts within parts
	Parts      int
	Recipients int
}

// DefaultLimits are generous for a report: a returned message of 8 MiB, a list of 1000 recipients.
var DefaultLimits = Limits{Bytes: 8 << 20, Text: 64 << 10, Depth: 20, Parts: 200, Recipients: 1000}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct{ got, def *int }{
		{&l.Bytes, &DefaultLimits.Bytes},
		{&l.Text, &DefaultLimits.Text},
		{&l.Depth, &DefaultLimits.Depth},
		{&l.Parts, &DefaultLimits.Parts},
		{&l.Recipients, &DefaultLimits.Recipients},
	} {
		if *f.got <= 0 {
			*f.got = *f.def
		}
	}
	return l
}

// Parse reads a mail as it came, header and body. A file of several mails (mbox) is read as one report if they tell
// of one.
func Parse(raw []byte, lim Limits) *Report {
	lim = lim.withDefaults()
	raw = mendLines(raw)
	if len(raw) > lim.Bytes {
		r := parseOne(raw[:lim.Bytes], lim)
		r.Truncated = true
		return r
	}
	mbox := bytes.HasPrefix(raw, fromLine)
	first, rest := splitMbox(raw)
	r := parseOne(first, lim)
	for n := 1; rest != nil && n < lim.Parts && (r.Kind == Bounce || r.Kind == Delay) && (mbox || r.Dialect == "text"); n++ {
		var next []byte
		next, rest = splitMbox(rest)
		more := parseOne(next, lim)
		if more.Kind != Bounce && more.Kind != Delay {
			continue
		}
		if r.Dialect == "text" && more.Dialect != "text" && !r.tells() {
			r = more // what came before was a letter around the report itself
			continue
		}
		for _, rc := range more.Recipients {
			r.add(rc, lim.Recipients)
		}
		if len(r.Original.Header) == 0 {
			r.Original = more.Original
		}
	}
	return r
}

// tells reports whether a report read by its words is one by itself: it gives a code, or returns a message.
func (r *Report) tells() bool {
	return len(r.Original.Header) > 0 || slices.ContainsFunc(r.Recipients, func(rc Recipient) bool { return rc.Code >= 400 || !rc.Status.IsZero() })
}

var fromLine = []byte("From ")

// splitMbox cuts a second mail off, where a line "From address date" is followed by a header field; nil: there is none.
func splitMbox(raw []byte) (first, rest []byte) {
	for at := 0; ; {
		i := bytes.Index(raw[at:], []byte("\nFrom "))
		if i < 0 {
			return raw, nil
		}
		at += i + 1
		line, after, _ := bytes.Cut(raw[at:], []byte("\n"))
		field, _, _ := bytes.Cut(after, []byte("\n"))
		line = bytes.TrimSpace(line)
		if len(line) > 20 && len(line) < 200 && isDigit(line[len(line)-1]) && bytes.Count(line, []byte(":")) >= 2 && isField(string(field)) {
			return raw[:at], raw[at:]
		}
	}
}

// attachedDepth is how deep an attached report is read: its parts and the header it returns. It also ends the reading of
// a report within a report within a report, of which nobody knows whose it is.
const attachedDepth = 2

// readAttached takes the recipients from a report that is attached, where a mail system passes it on and says itself of
// nobody what became of him. Where it is one in words, nobody may be named beside it.
func (m *letter) readAttached(r *Report) {
	if r.Kind != Bounce && r.Kind != Delay || len(m.attached) == 0 || !m.fromDaemon() || m.lim.Depth <= attachedDepth ||
		slices.ContainsFunc(r.Recipients, func(rc Recipient) bool { return rc.Code >= 400 || !rc.Status.IsZero() }) {
		return
	}
	inner := m.lim
	inner.Depth = attachedDepth
	a := parseOne(m.attached, inner)
	if a.Kind != Bounce && a.Kind != Delay || a.Dialect != "rfc3464" && (len(a.Recipients) == 0 || m.named() >= medium) {
		return
	}
	a.Text, a.Truncated = r.Text, a.Truncated || r.Truncated
	*r = *a
}

// isField reports a line that begins with a field name and a colon.
func isField(line string) bool {
	name, _, ok := strings.Cut(line, ":")
	return ok && isFieldName(name) && !isDigit(name[0])
}

func parseOne(raw []byte, lim Limits) *Report {
	m := collect(raw, lim)
	r := &Report{Kind: Other, Text: m.text, Truncated: m.truncated, Original: m.original()}
	switch {
	case m.readFeedback(r):
	case m.readStatus(r):
	default:
		m.readText(r)
		m.readAttached(r)
	}
	if len(r.Recipients) > lim.Recipients {
		r.Recipients, r.Truncated = r.Recipients[:lim.Recipients], true
	}
	return r
}
