package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postroad/postroad/internal/mail"
	"github.com/postroad/postroad/internal/platform"
	"github.com/postroad/postroad/internal/store"
)

// ArchivedMessage is a message in the archive.
type ArchivedMessage struct {
	mail.Message
	Content  none      `json:"content,omitzero"` // in place of the message's own
	Archived time.Time `json:"archived_at"`
}

type archiveInput struct {
	Account   string    `query:"account" doc:"Operators must name it."`
	From      time.Time `query:"from"`
	To        time.Time `query:"to" doc:"Exclusive."`
	Recipient string    `query:"recipient"`
	Sender    string    `query:"sender" doc:"Envelope or header sender: an address, or a domain."`
	Cursor    string    `query:"cursor"`
	Max       int       `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

type archiveOutput struct {
	Body struct {
		Messages []ArchivedMessage `json:"messages"`
		Next     string            `json:"next,omitempty"`
	}
}

type legalHoldInput struct {
	Name string `path:"name"`
	Body legalHoldBody
}

// legalHoldBody is a legal hold that has its name from the path.
type legalHoldBody struct {
	platform.LegalHold
	Name   string `json:"name,omitempty" doc:"May be left out: the path has it."`
	Author string `json:"author,omitempty" doc:"Who answers for it; the caller when left out."`
}

func (a *API) registerArchive() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "list-archived", Method: http.MethodGet, Path: "/v1/archive/messages", Tags: []string{"archive"},
		Summary: "What is in an account's archive, oldest first",
	}, a.archived)
	a.mux.HandleFunc("GET /v1/archive", func(w http.ResponseWriter, r *http.Request) {
		if err := a.exportArchive(w, r); err != nil {
			writeProblem(w, *a.problemOf(err))
		}
	})
	param := func(name, doc string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	a.huma.OpenAPI().Paths["/v1/archive"] = &huma.PathItem{Get: &huma.Operation{
		OperationID: "export-archive", Summary: "An account's archived mail as one mbox", Tags: []string{"archive"},
		Description: "Streams the messages as they were stored, oldest first (RFC 4155; lines end with LF, From lines are quoted with \">\"). An answer that is cut off is not complete. Needs the scopes `read` and `content`.",
		Parameters: []*huma.Param{
			param("account", "Operators must name it."), param("from", "RFC 3339"), param("to", "RFC 3339, exclusive"),
			param("recipient", ""), param("sender", "An address, or a domain."), param("format", "mbox, the only one."),
		},
		Responses: map[string]*huma.Response{"200": {Description: "The mail.", Content: map[string]*huma.MediaType{"application/mbox": {Schema: &huma.Schema{Type: huma.TypeString}}}}},
	}}
	registerList(a, "/v1/legal-holds", "list-legal-holds", "Legal holds: what must neither expire nor be erased", func(s platform.State) []platform.LegalHold { return s.LegalHolds })
	huma.Register(a.huma, huma.Operation{OperationID: "put-legal-hold", Method: http.MethodPut, Path: "/v1/legal-holds/{name}", Summary: "Keep what an account sent, or what a recipient got, from expiring and from being erased", Tags: []string{"archive"}}, a.putLegalHold)
	huma.Register(a.huma, huma.Operation{OperationID: "delete-legal-hold", Method: http.MethodDelete, Path: "/v1/legal-holds/{name}", Summary: "Release a legal hold", Tags: []string{"archive"}, DefaultStatus: http.StatusOK}, a.deleteLegalHold)
}

func (in *archiveInput) query(ctx context.Context) (store.ArchiveQuery, error) {
	account, err := contentScope(ctx, in.Account)
	if err != nil {
		return store.ArchiveQuery{}, err
	}
	if account == "" {
		return store.ArchiveQuery{}, badRequest("account", "name the account whose archive it is")
	}
	if in.Recipient != "" {
		to, err := mail.ParseAddress(strings.TrimSpace(in.Recipient))
		if err != nil {
			return store.ArchiveQuery{}, badRequest("recipient", "want a whole address, such as ann@example.net")
		}
		in.Recipient = to.String()
	}
	if in.Sender, err = senderOf(in.Sender); err != nil {
		return store.ArchiveQuery{}, err
	}
	return store.ArchiveQuery{Account: account, From: in.From, To: in.To, Recipient: in.Recipient, Sender: in.Sender, Cursor: in.Cursor, Max: in.Max}, nil
}

func (a *API) archived(ctx context.Context, in *archiveInput) (*archiveOutput, error) {
	q, err := in.query(ctx)
	if err != nil {
		return nil, a.problemOf(err)
	}
	if in.Cursor == "" {
		if err := a.auditArchive(ctx, "archive.list", q, 0); err != nil {
			return nil, a.problemOf(err)
		}
	}
	page, err := a.o.Archive.Find(ctx, q)
	if err != nil {
		return nil, a.problemOf(err)
	}
	if len(page.Messages) == 0 && page.Next == "" && in.Cursor == "" {
		if err := a.kept(ctx, q.Account); err != nil {
			return nil, err
		}
	}
	out := &archiveOutput{}
	out.Body.Messages, out.Body.Next = []ArchivedMessage{}, page.Next
	for _, m := range page.Messages {
		out.Body.Messages = append(out.Body.Messages, ArchivedMessage{Message: *m.Message, Archived: m.At})
	}
	return out, nil
}

// kept is known for an archive: that of an account that is gone may still be there.
func (a *API) kept(ctx context.Context, account string) error {
	any, err := a.o.Archive.Find(ctx, store.ArchiveQuery{Account: account, Max: 1})
	if err != nil {
		return a.problemOf(err)
	}
	if len(any.Messages) > 0 || any.Next != "" {
		return nil
	}
	return a.known(account)
}

// auditArchive writes down that an archive was listed or exported. Whom the filter names stays out of the log, so that an
// erasure need not look for it there.
func (a *API) auditArchive(ctx context.Context, action string, q store.ArchiveQuery, count int) error {
	note := "all of it"
	if q.Recipient != "" || q.Sender != "" || !q.From.IsZero() || !q.To.IsZero() {
		note = "a part of it"
	}
	if action == "archive.exported" {
		note += "; messages: " + strconv.Itoa(count)
	}
	return a.o.Store.RecordAudit(ctx, store.AuditEntry{At: a.o.Now().UTC(), Actor: callerOf(ctx).actor(), Action: action, Kind: "archive", Name: q.Account, Note: note})
}

func (a *API) exportArchive(w http.ResponseWriter, r *http.Request) error {
	ctx, v := r.Context(), r.URL.Query()
	in := archiveInput{Account: v.Get("account"), Recipient: v.Get("recipient"), Sender: v.Get("sender")}
	if err := queryTimes(v, map[string]*time.Time{"from": &in.From, "to": &in.To}); err != nil {
		return err
	}
	if f := v.Get("format"); f != "" && f != "mbox" {
		return badRequest("format", "an archive is exported as mbox; single messages are at /v1/messages/{id}/content")
	}
	q, err := in.query(ctx)
	if err != nil {
		return err
	}
	if err := a.auditArchive(ctx, "archive.export", q, 0); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/mbox")
	w.Header().Set("Content-Disposition", `attachment; filename="`+q.Account+`.mbox"`)
	w.Header().Set("Cache-Control", "no-store")
	n, err := a.o.Archive.Export(ctx, w, q)
	if err != nil {
		a.o.Logger.Error("an export of the archive was cut off", mail.LogEvent, "export_failed", mail.LogTenant, q.Account, "messages", n, mail.LogErr, err)
		panic(http.ErrAbortHandler) // the client must not take it for whole
	}
	if err := a.auditArchive(context.WithoutCancel(ctx), "archive.exported", q, n); err != nil {
		a.o.Logger.Error("audit entry not written", mail.LogEvent, "audit_failed", mail.LogErr, err)
	}
	return nil
}

func (a *API) putLegalHold(ctx context.Context, in *legalHoldInput) (*reportOutput, error) {
	return a.edit(ctx, in.Body.Reason, func(s *platform.State) error {
		h := in.Body.LegalHold
		h.Name, h.Author = in.Name, in.Body.Author
		if strings.TrimSpace(h.Author) == "" {
			h.Author = callerOf(ctx).actor()
		}
		i := slices.IndexFunc(s.LegalHolds, func(old platform.LegalHold) bool { return old.Name == h.Name })
		if i < 0 {
			s.LegalHolds = append(s.LegalHolds, h)
			return nil
		}
		if h.Since.IsZero() {
			h.Since = s.LegalHolds[i].Since
		}
		s.LegalHolds[i] = h
		return nil
	})
}

func (a *API) deleteLegalHold(ctx context.Context, in *holdName) (*reportOutput, error) {
	return a.edit(ctx, in.Note, func(s *platform.State) error {
		n := len(s.LegalHolds)
		if s.LegalHolds = slices.DeleteFunc(s.LegalHolds, func(h platform.LegalHold) bool { return h.Name == in.Name }); len(s.LegalHolds) == n {
			return notFound("there is no such legal hold")
		}
		return nil
	})
}
