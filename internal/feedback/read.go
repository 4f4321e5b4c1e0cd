package feedback

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/postroad/postroad/internal/bounce"
	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
)

// reading is one entry of the inbox on its way through the reader.
type reading struct {
	entry *spool.InboxEntry
	row   *store.StoredReport

	// Of reading the mail alone.
	rep      *report.Report
	verdicts []bounce.Verdict
	marks    marks
	aside    bool // it could not be read

	// Of deciding.
	events []*mail.Event
	wait   bool   // decide again later: its delivery's attempt is still going on
	words  []word // what it says of the deliveries it waits for
	failed bool   // what it needs of the record could not be read
	notice bool   // it tells that a notice of ours bounced
}

func newReading(e *spool.InboxEntry) *reading {
	id, err := mail.ParseReportID(e.Meta[spool.MetaReport])
	if err != nil {
		id = standIn(e)
	}
	source := e.Meta[spool.MetaMailbox]
	if source == "" {
		source = e.Meta[spool.MetaAccount]
	}
	truncated, _ := strconv.ParseInt(e.Meta[spool.MetaTruncated], 10, 64)
	return &reading{entry: e, row: &store.StoredReport{
		ID: id, Received: e.Received.UTC(), Door: e.Kind, Kind: string(report.Other), From: e.Meta[spool.MetaFrom], To: e.Meta[spool.MetaRecipient],
		Client: e.Meta[spool.MetaClient], Helo: e.Meta[spool.MetaHelo], TLS: e.Meta[spool.MetaTLS], Source: source,
		Truncated: truncated, Size: int64(len(e.Raw)), Raw: e.Raw,
	}}
}

// standIn is the id of an entry whose door gave it none: always the same for the same entry.
func standIn(e *spool.InboxEntry) mail.ReportID {
	var id mail.ReportID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(0, e.Received.UnixMilli())))
	copy(id[:6], ms[2:])
	id[6] = 0x70 // version 7, as ids that were drawn
	binary.BigEndian.PutUint64(id[8:], e.Seq)
	return id
}

// setAside gives the entry up: its mail is kept, and nothing follows from it.
func (x *reading) setAside(why string) {
	x.aside = true
	x.row.Kind, x.row.Outcome, x.row.Why = string(report.Other), store.ReportSetAside, why
}

// finding is what reading a mail gives.
type finding struct {
	rep      *report.Report
	verdicts []bounce.Verdict
	marks    marks
	author   string
	subject  string
	answers  string // Message-ID of what it answers
	failed   string
}

// read parses the mail and looks for our tokens, in a goroutine of its own that is given up when it takes too long.
func (r *Reader) read(ctx context.Context, x *reading, rules *bounce.Ruleset) {
	done := make(chan finding, 1)
	raw := x.entry.Raw
	go func() {
		defer func() {
			if p := recover(); p != nil {
				r.log.Error("reading a report failed", mail.LogEvent, "report_panic", "report", x.row.ID.String(), mail.LogErr, fmt.Sprint(p), "stack", string(debug.Stack()))
				done <- finding{failed: fmt.Sprintf("reading it failed: %v", p)}
			}
		}()
		done <- r.find(raw, rules)
	}()
	t := time.NewTimer(r.o.ParseTime)
	defer t.Stop()
	select {
	case f := <-done:
		if f.failed != "" {
			x.setAside(f.failed)
			return
		}
		x.rep, x.verdicts, x.marks = f.rep, f.verdicts, f.marks
		x.describe(f)
	case <-t.C:
		x.setAside(fmt.Sprintf("reading it did not end within %v", r.o.ParseTime))
		return
	case <-ctx.Done():
		return
	}
}

func (r *Reader) find(raw []byte, rules *bounce.Ruleset) (f finding) {
	if bytes.IndexByte(raw, 0) >= 0 {
		raw = bytes.ReplaceAll(raw, []byte{0}, nil) // as the listener does; not every way in does
	}
	f.rep = r.o.Parse(raw, report.Limits{})
	f.complete()
	f.verdicts = rules.Report(f.rep)
	f.marks = findMarks(raw, f.rep, &r.o.Key)
	h, _ := message.ReadHeaderLenient(bytes.TrimLeft(raw, " \t\r\n"), maxHeader)
	if v, ok := h.Get("Subject"); ok {
		f.subject = clip(message.DecodeWords(v), mail.MaxSubject)
	}
	if v, ok := h.Get("In-Reply-To"); ok {
		f.answers = strings.Trim(v, "<> \t")
	}
	if v, ok := h.Get("From"); ok {
		for _, a := range message.ParseAddressesLenient(v) {
			f.author = clip(a.Addr, maxAddress)
			break
		}
	}
	return f
}

// Bounds of what is kept beside the mail, in octets.
const (
	maxHeader     = 128 << 10
	maxAddress    = 320
	maxDiagnostic = 2000
	maxWhy        = 300

	// A row is shown in lists of a thousand: the diagnostics of so many recipients are kept whole, those of others short.
	fullDiagnostics = 20
	shortDiagnostic = 200
)

// complete gives a failure that names nobody one recipient without a name: the token says who it is, and the explanation
// what happened.
func (f *finding) complete() {
	if len(f.rep.Recipients) > 0 {
		return
	}
	action := report.Action("")
	switch f.rep.Kind {
	case report.Bounce:
		action = report.Failed
	case report.Delay:
		action = report.Delayed
	case report.Delivered:
		action = report.ActionDelivered
	case report.Complaint:
	default:
		return
	}
	f.rep.Recipients = []report.Recipient{{Action: action, Diagnostic: firstLine(f.rep.Text)}}
}

// describe puts into the row what the mail says.
func (x *reading) describe(f finding) {
	row, rep := x.row, f.rep
	row.Kind, row.Reason, row.Dialect, row.MTA = string(rep.Kind), rep.Reason, rep.Dialect, clip(rep.ReportingMTA, maxAddress)
	row.Author, row.Subject, row.RFC822ID = f.author, f.subject, clip(rep.Original.MessageID, maxAddress)
	if row.RFC822ID == "" && (rep.Kind == report.AutoReply || rep.Kind == report.Challenge) {
		row.RFC822ID = clip(f.answers, maxAddress)
	}
	if rep.Feedback != nil {
		row.Feedback = clip(rep.Feedback.Type, maxAddress)
		if row.MTA == "" {
			row.MTA = clip(rep.Feedback.UserAgent, maxAddress)
		}
	}
	row.Omitted = max(0, len(rep.Recipients)-maxTargets)
	row.Partial = rep.Truncated
	for i := range rep.Recipients[:len(rep.Recipients)-row.Omitted] {
		rc, v := &rep.Recipients[i], &f.verdicts[i]
		longest := maxDiagnostic
		if i >= fullDiagnostics {
			longest = shortDiagnostic
		}
		said := store.ReportRecipient{
			Address: clip(rc.Address, maxAddress), Original: clip(rc.Original, maxAddress), Action: string(rc.Action),
			Class: v.Class, Rule: v.Rule, Diagnostic: clip(rc.Diagnostic, longest),
		}
		if !rc.Status.IsZero() {
			said.Status = rc.Status.String()
		}
		row.Recipients = append(row.Recipients, said)
	}
}

// clip cuts s to at most n octets without breaking a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

func firstLine(s string) string {
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			return clip(line, maxDiagnostic)
		}
	}
	return ""
}
