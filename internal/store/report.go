package store

import (
	"context"
	"time"

	"github.com/postroad/postroad/internal/mail"
)

// ReportOutcome says what followed from a report.
type ReportOutcome string

// The outcomes.
const (
	// ReportActed: at least one event was made of it.
	ReportActed ReportOutcome = "acted"
	// ReportRecorded: it is genuine, and nothing was to be changed by it. Why says so in words.
	ReportRecorded ReportOutcome = "recorded"
	// ReportReplayed: what it tells is known already.
	ReportReplayed ReportOutcome = "replayed"
	// ReportForged: it bears a token of ours that does not verify, or tells of a delivery that was never tried.
	ReportForged ReportOutcome = "forged"
	// ReportContradicts: it tells of what cannot have been: the delivery still waits with us, or was never taken.
	ReportContradicts ReportOutcome = "contradicts"
	// ReportUnknown: nothing ties it to a delivery.
	ReportUnknown ReportOutcome = "unknown"
	// ReportExpired: its delivery is no longer in the record, or it came too late to be acted on.
	ReportExpired ReportOutcome = "expired"
	// ReportKept: mail to the operator, no report.
	ReportKept ReportOutcome = "kept"
	// ReportSetAside: reading it failed; the mail is kept for somebody to look at.
	ReportSetAside ReportOutcome = "set-aside"
)

// StoredReport is a mail that came back, or came to the operator, and what followed from it.
type StoredReport struct {
	ID       mail.ReportID `json:"id"`
	Received time.Time     `json:"received_at"`
	Door     string        `json:"door"` // spool.InboxReturnPath …
	Kind     string        `json:"kind"` // bounce, delay, delivered, complaint, auto-reply, challenge, other
	// Account whose delivery it is about; "": none was found.
	Account string        `json:"account,omitempty"`
	Outcome ReportOutcome `json:"outcome"`
	Why     string        `json:"why,omitempty"` // in words, where the outcome alone does not say it
	// Mailbox of the operator it is kept in: "postmaster", "abuse"; "": none.
	Mailbox string `json:"mailbox,omitempty"`

	From      string `json:"from"`         // envelope sender; "" for the null sender
	To        string `json:"to,omitempty"` // envelope recipient
	Client    string `json:"client,omitempty"`
	Helo      string `json:"helo,omitempty"`
	TLS       string `json:"tls,omitempty"`
	Source    string `json:"source,omitempty"` // the bounce mailbox, or the account whose key brought it
	Truncated int64  `json:"truncated,omitempty" doc:"Octets that were cut out of it."`
	Size      int64  `json:"size"` // octets kept

	Author  string `json:"author,omitempty"`  // first address of its From field
	Subject string `json:"subject,omitempty"` // decoded
	// DKIM is what became of the reporter's signatures; "none" without one, "" where they were not checked.
	DKIM string `json:"dkim,omitempty"`
	// Verified is the domain of Author where a signature of that domain, or of one above it, has passed; "": nobody knows
	// whether Author wrote it.
	Verified string `json:"verified,omitempty" doc:"The domain of its author, where a DKIM signature says that it is from there."`
	// SPF is whether the client may send for the envelope sender's domain, or for the name it gave itself where there is no
	// sender: result and domain; "" where it was not checked.
	SPF string `json:"spf,omitempty"`

	Evidence mail.Evidence `json:"evidence,omitempty"` // what ties it to Account
	Reason   string        `json:"reason,omitempty"`   // the evidence for its kind
	Dialect  string        `json:"dialect,omitempty"`
	MTA      string        `json:"mta,omitempty"`      // the reporting MTA or agent
	Feedback string        `json:"feedback,omitempty"` // type of a complaint
	// RFC822ID is the Message-ID of the message it is about, without angle brackets.
	RFC822ID   string            `json:"message_id,omitempty"`
	Recipients []ReportRecipient `json:"recipients,omitempty"`
	// Omitted is how many more recipients it named.
	Omitted int `json:"omitted,omitempty" doc:"How many more recipients it named; they are not kept, and nothing follows for them."`
	// Partial: a limit of the reader was met, and some of the mail was not looked at.
	Partial bool `json:"partial,omitempty" doc:"Some of the mail was not read, for its length or its nesting."`
	// Deliveries are those it was found to be about, with what followed for each.
	Deliveries []ReportDelivery `json:"deliveries,omitempty"`

	// Raw is the mail. Lists leave it out.
	Raw []byte `json:"-"`
}

// ReportRecipient is what a report says of one address.
type ReportRecipient struct {
	Address    string     `json:"address"`
	Original   string     `json:"original,omitempty"`
	Action     string     `json:"action,omitempty"`
	Status     string     `json:"status,omitempty"`
	Class      mail.Class `json:"class,omitempty"`
	Rule       string     `json:"rule,omitempty"`
	Diagnostic string     `json:"diagnostic,omitempty"`
}

// ReportDelivery is a delivery a report is about.
type ReportDelivery struct {
	Delivery  mail.DeliveryID `json:"delivery"`
	Message   mail.MessageID  `json:"message"`
	Recipient string          `json:"recipient"`
	Event     mail.EventType  `json:"event,omitempty"` // the event made; "": none
	Outcome   ReportOutcome   `json:"outcome"`
	Why       string          `json:"why,omitempty"`
}

// Reports keeps what came in: reports and the operator's mail, by day of arrival, for as long as the record.
type Reports interface {
	// PutReports adds reports, or replaces those that are there, by id. When it returns nil they are on disk.
	// ErrUnavailable: later; some may have been written.
	PutReports(ctx context.Context, list []*StoredReport) error
	// Report returns one report with its mail. It returns ErrNotFound.
	Report(ctx context.Context, id mail.ReportID) (*StoredReport, error)
	// ListReports returns reports newest first, without their mails.
	ListReports(ctx context.Context, q ReportQuery) (ReportPage, error)
}

// ReportQuery selects reports. Filters that are empty match everything.
type ReportQuery struct {
	Account  string
	Kind     string
	Door     string
	Outcome  ReportOutcome
	Delivery mail.DeliveryID // one it was found to be about
	// Mailbox selects mail of the operator's: a name, or AnyMailbox. "": reports and mail alike.
	Mailbox  string
	Text     string // part of author, subject, envelope addresses or an address it names; any case
	From, To time.Time
	Cursor   string // ReportPage.Next of the page before
	Max      int    // 0: DefaultPage
}

// AnyMailbox is every mailbox of the operator's.
const AnyMailbox = "*"

// ReportPage is one page of reports.
type ReportPage struct {
	Reports []*StoredReport
	// Next continues the list; "" at the end. A page may be short, or empty, and still have a Next: then MaxScan was over.
	Next string
}
