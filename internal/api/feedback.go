package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/message"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/report"
	"github.com/postroad/postroad/internal/spool"
	"github.com/postroad/postroad/internal/store"
	"github.com/postroad/postroad/internal/submission"
)

// Inbox is where reports are kept until they are read; *spool.Spool implements it.
type Inbox interface {
	// PutInbox returns nil when the entry is on disk.
	PutInbox(ctx context.Context, e spool.InboxEntry) (seq uint64, err error)
	Counts() spool.Counts
}

// Limits of reports handed in.
const (
	// maxBacklog is how many reports may wait to be read; more are refused until it has fallen. It is a tenth of what the
	// return path's listener allows: no account's key can close that.
	maxBacklog = 20_000
	// unreadFor is how long after it came in a report that is not in the record may still be unread.
	unreadFor = 10 * time.Minute
)

type addFeedbackInput struct {
	Account   string `header:"Postroad-Account" doc:"Operators only: the account whose report it is."` // read by authenticate
	Recipient string `query:"recipient" maxLength:"320" doc:"The address it was for, where that is known: a return path says whose report it is."`
	Sender    string `query:"sender" maxLength:"320" doc:"Its envelope sender; empty for the null sender."`
	RawBody   []byte `contentType:"message/rfc822"`
}

type addFeedbackOutput struct {
	Location string `header:"Location"`
	Body     struct {
		ID mail.ReportID `json:"id" doc:"What became of it is at /v1/feedback/{id} as soon as it is read."`
	}
}

type feedbackListInput struct {
	Account  string    `query:"account"`
	Kind     string    `query:"kind" enum:"bounce,delay,delivered,complaint,auto-reply,challenge,other"`
	Door     string    `query:"door" enum:"return-path,imap,api,provider" doc:"By what way it came."`
	Outcome  string    `query:"outcome" enum:"acted,recorded,replayed,forged,contradicts,unknown,expired,kept,set-aside" doc:"What followed."`
	Delivery string    `query:"delivery" doc:"A delivery it is about."`
	Text     string    `query:"text" maxLength:"320" doc:"Part of its author, subject or an address it names; any case."`
	From     time.Time `query:"from"`
	To       time.Time `query:"to"`
	Cursor   string    `query:"cursor"`
	Max      int       `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

type feedbackListOutput struct {
	Body struct {
		Reports []*store.StoredReport `json:"reports"`
		Next    string                `json:"next,omitempty"`
	}
}

type mailboxInput struct {
	Mailbox string    `query:"mailbox" doc:"postmaster, abuse or another address of ours, without its domain; all of them when left out."`
	Text    string    `query:"text" maxLength:"320" doc:"Part of its author, subject or an address it names; any case."`
	From    time.Time `query:"from"`
	To      time.Time `query:"to"`
	Cursor  string    `query:"cursor"`
	Max     int       `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

type feedbackInput struct {
	ID string `path:"id" example:"rpt_01jdkz3y5x8g0000000000000a"`
}

type feedbackOutput struct{ Body *store.StoredReport }

type feedbackMailOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (a *API) registerFeedback() {
	op := func(id, method, path, summary, description string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description, Tags: []string{"feedback"}}
	}
	add := op("add-feedback", http.MethodPost, "/v1/feedback", "Hand in a report",
		"A bounce, complaint or automatic answer as it came, as `message/rfc822`. With 202 it is on disk and will be read. Of one over 3 MiB the beginning and the end are kept. A report an account hands in is matched with that account's own mail only.")
	add.DefaultStatus, add.MaxBodyBytes, add.BodyReadTimeout = http.StatusAccepted, a.bodyLimit(), readTimeout
	huma.Register(a.huma, add, a.addFeedback)
	huma.Register(a.huma, op("list-feedback", http.MethodGet, "/v1/feedback", "What came back, newest first", "Accounts see the reports on their own mail."), a.feedbackList)
	huma.Register(a.huma, op("get-feedback", http.MethodGet, "/v1/feedback/{id}", "A report, and what followed from it", ""), a.feedback)
	raw := op("get-feedback-mail", http.MethodGet, "/v1/feedback/{id}/raw", "A report as it came",
		"It may return the whole message it is about: accounts need the scope `content`.")
	raw.Responses = map[string]*huma.Response{"200": {
		Description: "The mail.", Content: map[string]*huma.MediaType{"message/rfc822": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	huma.Register(a.huma, raw, a.feedbackMail)
	huma.Register(a.huma, op("list-mailbox", http.MethodGet, "/v1/mailbox", "Mail to the operator, newest first",
		"What came to postmaster@, abuse@ and the report addresses and is no report on a delivery. One mail is at /v1/feedback/{id}."), a.mailbox)
}

func (a *API) addFeedback(ctx context.Context, in *addFeedbackInput) (*addFeedbackOutput, error) {
	account, err := allowed(ctx, "", platform.ScopeSend)
	if err != nil {
		return nil, a.problemOf(err)
	}
	if account != "" && a.o.Manager.Snapshot().Account(account) == nil {
		return nil, notFound("there is no such account")
	}
	if h, _ := message.ReadHeaderLenient(bytes.TrimLeft(in.RawBody, " \t\r\n"), len(in.RawBody)); len(h.Fields()) == 0 {
		return nil, badRequest("body", "it is no mail: it does not begin with header fields")
	}
	for field, address := range map[string]string{"recipient": in.Recipient, "sender": in.Sender} {
		if address == "" {
			continue
		}
		if _, err := mail.ParseAddress(address); err != nil {
			return nil, badRequest(field, "it is not a mail address")
		}
	}
	if a.o.Inbox.Counts().Inbox >= maxBacklog {
		return nil, &Problem{Type: typeOf("busy"), Title: "Too many reports wait to be read", Status: http.StatusServiceUnavailable, Detail: "hand it in again later", after: 60}
	}
	now := a.o.Now().UTC()
	id := mail.NewReportID(now)
	meta := map[string]string{spool.MetaReport: id.String(), spool.MetaFrom: in.Sender}
	for key, value := range map[string]string{spool.MetaAccount: account, spool.MetaRecipient: in.Recipient} {
		if value != "" {
			meta[key] = value
		}
	}
	if ip := callerOf(ctx).ip; ip.IsValid() {
		meta[spool.MetaClient] = ip.String()
	}
	kept, cut := report.Shorten(in.RawBody, spool.MaxReport)
	if cut > 0 {
		meta[spool.MetaTruncated] = strconv.FormatInt(cut, 10)
	}
	_, err = a.o.Inbox.PutInbox(ctx, spool.InboxEntry{Kind: spool.InboxAPI, Received: now, Meta: meta, Raw: kept})
	switch {
	case errors.Is(err, spool.ErrDiskFull):
		return nil, a.problemOf(&submission.Error{Kind: submission.NoSpace, Detail: "the disk is full; hand it in again later"})
	case err != nil:
		return nil, a.problemOf(err)
	}
	a.o.Received()
	out := &addFeedbackOutput{Location: "/v1/feedback/" + id.String()}
	out.Body.ID = id
	return out, nil
}

func (a *API) feedbackList(ctx context.Context, in *feedbackListInput) (*feedbackListOutput, error) {
	account, err := readable(ctx, in.Account)
	if err != nil {
		return nil, a.problemOf(err)
	}
	q := store.ReportQuery{
		Account: account, Kind: in.Kind, Door: in.Door, Outcome: store.ReportOutcome(in.Outcome), Text: in.Text,
		From: in.From, To: in.To, Cursor: in.Cursor, Max: in.Max,
	}
	if in.Delivery != "" {
		if q.Delivery, err = mail.ParseDeliveryID(in.Delivery); err != nil {
			return nil, badRequest("delivery", "it is no delivery id (dlv_ and 26 characters)")
		}
	}
	return a.listReports(ctx, q)
}

func (a *API) listReports(ctx context.Context, q store.ReportQuery) (*feedbackListOutput, error) {
	page, err := a.o.Store.ListReports(ctx, q)
	if err != nil {
		return nil, a.problemOf(err)
	}
	out := &feedbackListOutput{}
	out.Body.Reports, out.Body.Next = orEmpty(page.Reports), page.Next
	return out, nil
}

func (a *API) mailbox(ctx context.Context, in *mailboxInput) (*feedbackListOutput, error) {
	if err := admin(ctx); err != nil {
		return nil, a.problemOf(err)
	}
	q := store.ReportQuery{Mailbox: strings.ToLower(in.Mailbox), Text: in.Text, From: in.From, To: in.To, Cursor: in.Cursor, Max: in.Max}
	if q.Mailbox == "" {
		q.Mailbox = store.AnyMailbox
	}
	return a.listReports(ctx, q)
}

// findReport looks a report up for a caller with the scope.
func (a *API) findReport(ctx context.Context, text string, scope platform.Scope) (*store.StoredReport, error) {
	id, err := mail.ParseReportID(text)
	if err != nil {
		return nil, badRequest("id", "it is no report id (rpt_ and 26 characters)")
	}
	account, err := allowed(ctx, "", scope)
	if err != nil {
		return nil, err
	}
	r, err := a.o.Store.Report(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound) && a.o.Now().Sub(id.Time()) < unreadFor:
		return nil, notFound("there is no such report, or it is not read yet")
	case err != nil:
		return nil, err
	case account != "" && r.Account != account:
		return nil, store.ErrNotFound
	}
	return r, nil
}

func (a *API) feedback(ctx context.Context, in *feedbackInput) (*feedbackOutput, error) {
	r, err := a.findReport(ctx, in.ID, platform.ScopeRead)
	if err != nil {
		return nil, a.problemOf(err)
	}
	return &feedbackOutput{Body: r}, nil
}

func (a *API) feedbackMail(ctx context.Context, in *feedbackInput) (*feedbackMailOutput, error) {
	r, err := a.findReport(ctx, in.ID, platform.ScopeContent)
	if err != nil {
		return nil, a.problemOf(err)
	}
	return &feedbackMailOutput{ContentType: "message/rfc822", Body: r.Raw}, nil
}
