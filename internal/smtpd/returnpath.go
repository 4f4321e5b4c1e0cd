package smtpd

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/smtp"
	"github.com/postroad/postroad/internal/smtpserver"
	"github.com/postroad/postroad/internal/spool"
)

// Inbox is where reports are kept until they are read; *spool.Spool is one.
type Inbox interface {
	// PutInbox returns nil when the entry is durable.
	PutInbox(ctx context.Context, e spool.InboxEntry) (seq uint64, err error)
	Counts() spool.Counts
	Space() spool.Space
	Err() error
}

// ReturnPathOptions say what comes back, and where it goes. Inbox, Token and Domains are required.
type ReturnPathOptions struct {
	Inbox Inbox
	// Token reports whether a local part is a return path that we signed.
	Token func(local string) bool
	// Domains are the domains whose mail is ours, in lower-case A-labels.
	Domains []string
	// ReportAddresses are local parts that take reports from everybody: feedback loops and report senders write to
	// fixed addresses.
	ReportAddresses []string
	// Hostname stands in the Received fields.
	Hostname string
	// Down says why the record has taken nothing for long, or nil: then the reporters keep what they have. nil: it is never asked.
	Down func() error
	// Stored is called after each entry has been stored; it is a hint. May be nil.
	Stored func()
	// MaxBacklog is the number of unread entries from which nothing more is taken; 0: DefaultMaxBacklog.
	MaxBacklog int64

	Registerer prometheus.Registerer // nil: not counted
	Logger     *slog.Logger
	Now        func() time.Time
}

// Bounds of the return path that are not settings.
const (
	// DefaultMaxBacklog bounds the reports that wait to be read, in entries: reading costs under a millisecond each, so
	// more than this means that the reader is stuck or that somebody floods us. Senders keep theirs and come again.
	DefaultMaxBacklog = 200_000
	// maxReportBuffers bounds the contents of all sessions held in memory at one time, in octets.
	maxReportBuffers = 128 << 20
	// maxStrangers is how many unknown recipients a connection may name before it is ended: more is a search for
	// addresses. Peers see it as 421.
	maxStrangers = 50
	// minReportShare is the least that is kept of a mail to many return paths, in octets; its beginning is what a
	// report has to say.
	minReportShare = 64 << 10
	// maxTrace is room for the trace fields in an entry, in octets: names and addresses in them are bounded.
	maxTrace = 4 << 10
	// maxWhole is the longest mail that fits an entry, in octets. Peers see it as 552 where they write to the operator.
	maxWhole = spool.MaxReport - maxTrace
)

// What is written to: how much of it must be whole, and the label kind in metrics.
type addressee string

const (
	toToken    addressee = "token"    // a return path
	toReports  addressee = "report"   // an address for reports
	toOperator addressee = "operator" // postmaster@, abuse@: people write there, and read it
)

// ReturnPath makes the sessions of mail that comes back: bounces, complaints, automatic replies, and mail to the
// operator. It takes what anybody may send it, so it promises little: an accepted mail is in the inbox, on disk.
type ReturnPath struct {
	o        ReturnPathOptions
	domains  map[string]bool
	reports  map[string]bool
	buffered atomic.Int64 // octets of contents in memory
	flood    flood
	taken    *prometheus.CounterVec
	refused  *prometheus.CounterVec
}

// NewReturnPath returns the maker of return-path sessions.
func NewReturnPath(o ReturnPathOptions) (*ReturnPath, error) {
	if o.Inbox == nil || o.Token == nil || len(o.Domains) == 0 {
		return nil, errors.New("smtpd: return-path sessions need Inbox, Token and Domains")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Down == nil {
		o.Down = func() error { return nil }
	}
	if o.Stored == nil {
		o.Stored = func() {}
	}
	if o.MaxBacklog == 0 {
		o.MaxBacklog = DefaultMaxBacklog
	}
	p := &ReturnPath{o: o, domains: map[string]bool{}, reports: map[string]bool{}}
	for _, d := range o.Domains {
		p.domains[strings.ToLower(d)] = true
	}
	for _, local := range o.ReportAddresses {
		p.reports[strings.ToLower(local)] = true
	}
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "postroad", Subsystem: "return_path", Name: name, Help: help}, []string{label})
	}
	p.taken = counter("taken_total", "Mail that came back and is in the inbox, per recipient.", "kind")
	p.refused = counter("refused_total", "Recipients and contents refused.", "reason")
	for _, kind := range []addressee{toToken, toReports, toOperator} {
		p.taken.WithLabelValues(string(kind))
	}
	for _, reason := range []string{"unknown", "strangers", "space", "spool", "record", "backlog", "memory", "size", "loop", "flood"} {
		p.refused.WithLabelValues(reason)
	}
	if o.Registerer != nil {
		for _, c := range []prometheus.Collector{p.taken, p.refused} {
			if err := o.Registerer.Register(c); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// Session is a smtpserver.Handler.
func (p *ReturnPath) Session(_ context.Context, info *smtpserver.ConnInfo) (smtpserver.Session, error) {
	return &returnSession{p: p, info: info}, nil
}

// Refusals of the return path.
var (
	unknownAddress = smtp.Refuse(550, smtp.Enhanced{5, 1, 1}, "No such address here")
	strangers      = smtp.Refuse(421, smtp.Enhanced{4, 7, 0}, "Too many unknown recipients; closing")
	noSpace        = smtp.Refuse(452, smtp.Enhanced{4, 3, 1}, "Too little disk space; try again later")
	spoolDown      = smtp.Refuse(451, smtp.Enhanced{4, 3, 0}, "Local trouble; try again later")
	recordDown     = smtp.Refuse(451, smtp.Enhanced{4, 3, 0}, "Nothing can be recorded at present; try again later")
	backlogged     = smtp.Refuse(451, smtp.Enhanced{4, 3, 2}, "Too much waits to be read; try again later")
	busy           = smtp.Refuse(451, smtp.Enhanced{4, 3, 2}, "Too much comes in at once; try again later")
	tooMuch        = smtp.Refuse(451, smtp.Enhanced{4, 7, 1}, "Too much of this came lately; try again later")
	sendApart      = smtp.Refuse(452, smtp.Enhanced{4, 5, 3}, "Send to this recipient in a transaction of its own")
	tooLongToRead  = smtp.Refuse(552, smtp.Enhanced{5, 3, 4}, "Mail to this address may have %d octets", maxWhole)
	looping        = smtp.Refuse(554, smtp.Enhanced{5, 4, 6}, "The message has more than %d Received fields: a loop", smtp.MaxReceived)
)

func (p *ReturnPath) refuse(reason string, e *smtp.ReplyError) error {
	p.refused.WithLabelValues(reason).Inc()
	return e
}

// find says what an address is. Our tokens sign themselves, so every own domain takes them: a platform that has changed
// its return domain still gets the bounces of mail sent before.
func (p *ReturnPath) find(a mail.Address) (addressee, bool) {
	if !p.domains[strings.ToLower(a.Domain)] {
		return "", false
	}
	local := strings.ToLower(a.Local)
	switch {
	case local == "postmaster", local == "abuse": // RFC 5321 §4.5.1, RFC 2142 §4
		return toOperator, true
	case p.reports[local]:
		return toReports, true
	case p.o.Token(local):
		return toToken, true
	}
	return "", false
}

// open reports why nothing can be taken at the moment, or nil.
func (p *ReturnPath) open() error {
	switch {
	case p.o.Inbox.Err() != nil:
		return p.refuse("spool", spoolDown)
	case p.o.Inbox.Space().Low:
		return p.refuse("space", noSpace)
	case p.o.Down() != nil:
		return p.refuse("record", recordDown)
	case p.o.Inbox.Counts().Inbox >= p.o.MaxBacklog:
		return p.refuse("backlog", backlogged)
	}
	return nil
}

// returnSession is one peer handing back mail.
type returnSession struct {
	p         *ReturnPath
	info      *smtpserver.ConnInfo
	strangers int

	from  mail.Address
	size  int64 // declared
	rcpts []mail.Address
	kind  addressee // of all rcpts, as far as it matters
}

// Mail implements smtpserver.Session. Any sender may write, the null sender (RFC 5321 §4.5.5) and others: complaints
// and automatic replies come from addresses.
func (c *returnSession) Mail(_ context.Context, from mail.Address, o smtpserver.MailOptions) error {
	c.from, c.size = from, o.Size
	return nil
}

// Rcpt implements smtpserver.Session.
func (c *returnSession) Rcpt(_ context.Context, to mail.Address, _ smtpserver.RcptOptions) error {
	kind, ok := c.p.find(to)
	if !ok {
		if c.strangers++; c.strangers > maxStrangers {
			return c.p.refuse("strangers", strangers)
		}
		c.p.o.Logger.Debug("unknown recipient", mail.LogClient, c.info.Remote.Addr().Unmap(), mail.LogRcpt, to)
		return c.p.refuse("unknown", unknownAddress)
	}
	if err := c.p.open(); err != nil {
		return err
	}
	if c.p.flood.over(c.p.o.Now(), floodKey(kind, to), c.info.Remote.Addr()) {
		return c.p.refuse("flood", tooMuch)
	}
	if kind == toOperator && c.size > maxWhole {
		return c.p.refuse("size", tooLongToRead)
	}
	to.Local = strings.ToLower(to.Local)
	if slices.Contains(c.rcpts, to) {
		return nil // one copy is enough
	}
	// What the operator reads is taken whole or refused, a report may be cut: one transaction can promise one of them.
	if len(c.rcpts) > 0 && (kind == toOperator) != (c.kind == toOperator) {
		return sendApart
	}
	c.rcpts, c.kind = append(c.rcpts, to), kind
	return nil
}

// floodKey is what a mail to an address is counted under: a return path, or "" for those that everybody knows.
func floodKey(kind addressee, to mail.Address) string {
	if kind == toToken {
		return strings.ToLower(to.Local)
	}
	return ""
}

// Newlines implements smtpserver.NewlinesSession: a report is read however badly it is written.
func (c *returnSession) Newlines() smtp.Newlines { return smtp.NewlinesRepair }

// Reset implements smtpserver.Session.
func (c *returnSession) Reset() {
	c.from, c.size, c.rcpts, c.kind = mail.Address{}, 0, c.rcpts[:0], ""
}

// Close implements smtpserver.Session.
func (c *returnSession) Close() {}
