package report

import (
	"time"

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
	// Dialect names the reader that understood the mail: "rfc3464", "qmail", "exim" …; "" for kind Other.
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
	// Address is the address the message was sent to as far as the mail tells: Original if given, else Final.
	Address  string
	Final    string // Final-Recipient, without its type
	Original string // Original-Recipient, without its type, xtext decoded
	Action   Action
	Status   smtp.Enhanced // zero: none told
	Code     int           // SMTP reply code in the diagnostic; 0: none
	// Diagnostic is the peer's reply or the reporting system's words, one line of UTF-8.
	Diagnostic     string
	RemoteMTA      string
	LastAttempt    time.Time
	WillRetryUntil time.Time
}

// Original is what a mail carries of the message it is about. Fields are "" when it carries none.
type Original struct {
	MessageID  string // without angle brackets
	From       string // address
	To         []string
	Subject    string
	ReturnPath string
	Date       time.Time
	// Header holds every field of the embedded header, unfolded, names as written.
	Header []Field
}

// Field is one header field.
type Field struct{ Name, Value string }

// Get returns the first value of the embedded header's field, "" if there is none.
func (o *Original) Get(name string) string { return "" }

// Feedback is the machine-readable part of a complaint (RFC 5965).
type Feedback struct {
	Type         string // "abuse", "fraud", "not-spam" …; "abuse" where a dialect names none
	UserAgent    string
	SourceIP     string
	MailFrom     string
	Arrival      time.Time
	ReportingMTA string
	FeedbackID   string // CFBL-Feedback-ID or Feedback-ID of the embedded header
	Domains      []string
	Incidents    int // 0: not told, one
}

// Limits bound what Parse reads.
type Limits struct {
	Bytes      int // octets of the mail; 0: DefaultLimits
	Text       int
	Depth      int
	Parts      int
	Recipients int
}

// DefaultLimits are the limits of a zero Limits.
var DefaultLimits = Limits{Bytes: 8 << 20, Text: 64 << 10, Depth: 20, Parts: 200, Recipients: 1000}

// Parse reads a mail.
func Parse(raw []byte, lim Limits) *Report { return &Report{Kind: Other} }
